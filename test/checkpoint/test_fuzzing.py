"""Whatever a checkpoint says, reading it (not building its network) is bounded work, or its reason.

The description is changed where its checksum would hide what is behind it: the checksums are made to fit.
"""

import copy
import json
import struct

import pytest
import torch
from checkpoint_files import rewrite, shared_network, write
from counted_work import counted
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from safetensors import safe_open

from impatient_ros.checkpoint import CheckpointError, CheckpointFile, read

fuzzing = {
    'deadline': None,
    'suppress_health_check': list(HealthCheck),
    'phases': (Phase.explicit, Phase.generate),
}
LONG = 300  # examples
CALLS_PER_BYTE = 2
BYTES_PER_BYTE = 60  # of text in the header: numbers and keys as Python's objects


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('tiny') / 'model.safetensors'
    write(shared_network().eval(), path)
    return path


@pytest.fixture(scope='module')
def usual(tiny):
    """The work that the whole file takes."""
    read(tiny)  # imports and caches
    with counted() as work:
        read(tiny)
    return work


numbers = st.sampled_from([0, -1, 1, 2**16, 2**20, 2**31, 2**63, 10**40, 1e-300, 1e300, 0.5, True])
texts = st.sampled_from(['', '\ud800', 'a\0b', 'module', 'torchvision', '../../x'])
small = st.recursive(
    numbers | texts | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
LARGE = {  # drawn by name: a failure prints what was drawn
    'many numbers': [0] * 100_000,
    'many texts': ['x'] * 100_000,
    'many lists': [[]] * 50_000,
    'many keys': {str(i): i for i in range(20_000)},
    'nested': json.loads('[' * 60 + ']' * 60),
    'deeply nested': json.loads('[' * 400 + ']' * 400),
    'a long text': 'x' * 100_000,
}
values = small | st.sampled_from(sorted(LARGE))


def places(document, path=()):
    """Every path into a description."""
    yield path
    inner = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(document, path, value):
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = LARGE.get(value, value) if isinstance(value, str) else value
    return document


def described(path):
    with safe_open(path, 'pt') as file:
        return json.loads(file.metadata()['description'])


def is_read_or_refused(path, usual):
    size = path.stat().st_size
    with counted() as work:
        try:
            file = read(path)
        except CheckpointError as error:
            file, text = None, str(error)
    assert work.calls < 3 * usual.calls + CALLS_PER_BYTE * size
    assert work.peak_bytes < 3 * usual.peak_bytes + BYTES_PER_BYTE * size
    if file is None:
        assert len(text) < 2000
    else:
        assert isinstance(file, CheckpointFile)


def descriptions(data, tiny, target):
    description = described(tiny)
    paths = [path for path in places(description) if path]
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(paths))
        try:
            description = changed(description, path, data.draw(values))
        except (KeyError, TypeError, IndexError):
            continue  # the first change left no such place

    def change(document, metadata, tensors):
        document.clear()
        document.update(description)

    return rewrite(tiny, target, change)


def headers(data, tiny, target):
    content = tiny.read_bytes()
    length = struct.unpack('<Q', content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    paths = [path for path in places(header) if path and path[0] != '__metadata__']
    header = changed(header, data.draw(st.sampled_from(paths)), data.draw(values))
    text = json.dumps(header).encode()
    target.write_bytes(struct.pack('<Q', len(text)) + text + content[8 + length :])
    return target


@pytest.mark.parametrize('kind', [descriptions, headers])
@settings(max_examples=25, **fuzzing)
@given(data=st.data())
def test_a_file_that_says_anything_is_read_or_refused(kind, tiny, usual, tmp_path_factory, data):
    is_read_or_refused(kind(data, tiny, tmp_path_factory.getbasetemp() / 'changed.safetensors'), usual)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize('kind', [descriptions, headers])
@seed(12)
@settings(max_examples=LONG, **fuzzing)
@given(data=st.data())
def test_hundreds_of_files_that_say_anything_are_read_or_refused(kind, tiny, usual, tmp_path_factory, data):
    is_read_or_refused(kind(data, tiny, tmp_path_factory.getbasetemp() / 'changed.safetensors'), usual)
