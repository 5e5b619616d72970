"""A tiny model and running nodes for the tests of the node."""

import pytest


@pytest.fixture(scope='session')
def tiny_model(tmp_path_factory):
    """A checkpoint that answers in a few milliseconds; what it says means nothing."""
    import torch

    from impatient_ros.checkpoint import save
    from impatient_ros.images.preprocessing import Preprocessing
    from impatient_ros.network import ImpatientNetwork

    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', exits=4, classes=3, image_size=64)
    path = tmp_path_factory.mktemp('model') / 'tiny.safetensors'
    save(
        network,
        path,
        labels=('cat', 'dog', 'house'),
        preprocessing=Preprocessing.for_image_size(64),
        accuracies=(0.5, 0.6, 0.7, 0.8),
    )
    return path
