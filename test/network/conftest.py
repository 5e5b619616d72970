import pytest
import torch


@pytest.fixture(scope='module', autouse=True)
def _one_thread():
    """Small networks are slower with several threads, and far slower where these wait for a busy core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
