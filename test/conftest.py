"""What every test run needs: a ROS domain of its own, and no traces in the user's home."""

import contextlib
import fcntl
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import IO

import pytest

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # on a machine with a GPU, where only tests without hypotheses run
    pass
else:
    # What `make test` says must depend neither on chance nor on how busy the machine is; `make test-all`
    # looks elsewhere every time.
    patient = {'deadline': None, 'suppress_health_check': [HealthCheck.too_slow]}
    settings.register_profile('repeatable', derandomize=True, **patient)
    settings.register_profile('searching', print_blob=True, **patient)
    settings.load_profile('repeatable')

# The domains whose ports lie below Linux' ephemeral ones; 0 is what everybody else uses.
DOMAINS = range(1, 102)
HOME = pytest.StashKey[Path]()
CLAIM = pytest.StashKey[IO]()


def claim_domain() -> tuple[int, IO]:
    """A ROS domain that no other test run on this machine holds, as long as the file with it stays open."""
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        with contextlib.suppress(OSError):  # held by another run, or another user's file
            claim = open(Path(tempfile.gettempdir()) / f'impatient_ros-domain-{domain}.lock', 'a')  # noqa: SIM115
            with contextlib.ExitStack() as unless_claimed:
                unless_claimed.enter_context(claim)
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                unless_claimed.pop_all()
                return domain, claim
    raise RuntimeError('every ROS domain is held by another test run on this machine')


def pytest_configure(config):
    config.stash[HOME] = home = Path(tempfile.mkdtemp(prefix='impatient_ros-test-'))
    domain, config.stash[CLAIM] = claim_domain()
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOG_DIR'] = str(home / 'ros')
    os.environ['ORT_DISABLE_TELEMETRY'] = '1'  # read when it is imported, which some tests do
    os.environ['XDG_CACHE_HOME'] = str(home / 'cache')


def pytest_unconfigure(config):
    config.stash[CLAIM].close()
    shutil.rmtree(config.stash[HOME], ignore_errors=True)
