"""Bytes that are no whole checkpoint are refused, and say why; none makes reading hang or allocate much."""

import os
import struct

import pytest
import torch
from checkpoint_files import LABELS, SIZE, Shared, rewrite, shared_network, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impatient_ros.checkpoint import Checkpoint, CheckpointError, load, read


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A checkpoint of a few kilobytes, of which header and graph are the greater part."""
    torch.manual_seed(0)
    network = shared_network().eval()
    path = tmp_path_factory.mktemp('tiny') / 'model.safetensors'
    write(network, path)
    return path, network


@pytest.fixture
def written(tiny):
    return tiny[0]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / 'gone')


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', tmp_path, '/dev/zero'):
        with pytest.raises((CheckpointError, IsADirectoryError), match=r'pipe|[Dd]irectory'):
            read(path)


def test_a_huge_file_is_refused_before_it_is_read(written, tmp_path, monkeypatch):
    path = tmp_path / 'sparse'
    path.write_bytes(written.read_bytes())
    os.truncate(path, 1 << 32)
    with pytest.raises(CheckpointError, match='bytes more than its header says'):
        read(path)
    os.truncate(path, 1 << 40)
    with pytest.raises(CheckpointError, match='checkpoints have at most'):
        read(path)


def test_a_header_of_too_many_tensors_is_refused(tmp_path):
    entries = ','.join(f'"t{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(20_001))
    header = f'{{{entries}}}'.encode()
    (tmp_path / 'many').write_bytes(struct.pack('<Q', len(header)) + header)
    with pytest.raises(CheckpointError, match='20001 tensors'):
        read(tmp_path / 'many')


def test_shapes_that_overflow_or_lie_are_refused(tmp_path, written):
    data = written.read_bytes()
    for shape in (b'[4611686018427387904,4]', b'[5]', b'[-1]'):
        length = struct.unpack('<Q', data[:8])[0]
        header = data[8 : 8 + length].replace(b'"shape":[4]', b'"shape":' + shape, 1)
        (tmp_path / 'lie').write_bytes(struct.pack('<Q', len(header)) + header + data[8 + length :])
        with pytest.raises(CheckpointError, match='damaged'):
            read(tmp_path / 'lie')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d, m, t: m.pop('format'), 'not a checkpoint of impatient_ros'),
        (lambda d, m, t: m.update(version='3'), 'of format version 3, this program reads versions up to 2'),
        (
            lambda d, m, t: d['network']['backbone'].update(name='x'),
            'its description does not match its checksum',
        ),
        (lambda d, m, t: d.update(temperatures=[1.0, 1.0, 1e999]), 'description is not JSON'),
    ],
)
def test_metadata_that_do_not_fit_are_refused_with_the_reason(written, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        read(rewrite(written, tmp_path / 'changed', change, checksums=False))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (lambda data: b'', 'not a safetensors file'),
        (lambda data: b'no checkpoint at all', 'not a safetensors file'),
        (lambda data: b'\xff\xd8\xff\xe0' * 100, 'not a safetensors file'),
        (lambda data: data[:6], 'not a safetensors file'),
        (lambda data: data[:100], 'truncated: 100 bytes, its header alone takes'),
        (lambda data: data[:-1], 'truncated: .* bytes of'),
        (lambda data: data[: len(data) // 2], 'truncated'),
        (lambda data: data + b'more', 'damaged: 4 bytes more than its header says'),
        (lambda data: data[:8] + b'{' * 100 + data[108:], 'damaged: its header is not JSON'),
        (lambda data: struct.pack('<Q', 1 << 62) + data[8:], 'not a safetensors file'),
        (lambda data: struct.pack('<Q', 9 << 20) + b'{' * (9 << 20), 'header takes more than'),
        (lambda data: struct.pack('<Q', 200_000) + b'{"a":' * 40_000, 'damaged: its header is not JSON'),
        (
            lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
            'its tensors do not match their checksum',
        ),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(written, tmp_path, content, message):
    path = tmp_path / 'damaged.safetensors'
    path.write_bytes(content(written.read_bytes()))
    with pytest.raises(CheckpointError, match=rf'damaged.safetensors: .*{message}'):
        read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_corruption_is_refused_or_harmless(tiny, tmp_path, data):
    path, network = tiny
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        # Half of them in the header, where more can go wrong.
        end = (
            len(content)
            if data.draw(st.booleans())
            else min(8 + struct.unpack('<Q', content[:8])[0], len(content)) or 1
        )
        at = data.draw(st.integers(0, max(end - 1, 0)))
        kind = data.draw(st.sampled_from(['flip', 'set', 'cut', 'insert', 'erase']))
        if kind == 'flip':
            content[at : at + 1] = bytes(
                each ^ (1 << data.draw(st.integers(0, 7))) for each in content[at : at + 1]
            )
        elif kind == 'set':
            content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
        elif kind == 'cut':
            del content[at:]
        elif kind == 'insert':
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            del content[at : at + data.draw(st.integers(1, 9))]
        content = content if len(content) > 8 else bytearray(9)
    broken = tmp_path / 'broken'
    broken.write_bytes(bytes(content))
    try:
        checkpoint = load(broken, module=Shared())
    except CheckpointError:
        return
    assert isinstance(checkpoint, Checkpoint)
    x = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(checkpoint.network(x), network(x), strict=True))
    assert checkpoint.labels == LABELS
