"""The bytes of a checkpoint: a .safetensors file whose metadata carries a description and checksums.

write(path, description, tensors, graphs)
contents = unpack(read_bytes(path), check)

Knows NumPy and no torch. What a file says of its own sizes is compared with limits before anything of that
size is allocated.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as save_tensors

try:
    from ml_dtypes import bfloat16
except ModuleNotFoundError:  # only files with tensors of that type need it
    bfloat16 = None

__all__ = ['FORMAT_VERSION', 'CheckpointError', 'Contents', 'read_bytes', 'unpack', 'write']

FORMAT = 'impatient_ros checkpoint'
FORMAT_VERSION = 2
READABLE = ('1', '2')  # version 1 has no graph
_LARGEST_FILE = 8 << 30  # bytes; the largest of torchvision's classifiers takes 2.6 GB
_LONGEST_HEADER = 8 << 20  # bytes; 20,000 labels and 5,000 tensors take 1.5 MB
_MOST_TENSORS = 20_000  # swin_v2_b, among those with the most, has 600
_LONGEST_MESSAGE = 1500  # characters
# The tensors with bytes of graphs; a network's own are called stages.* and exits.*
_GRAPHS = re.compile(r'graph(_int8)?(_[1-9]\d{0,4})?')
_DTYPES: dict[str, Any] = {
    'F64': np.float64, 'F32': np.float32, 'F16': np.float16,
    'I64': np.int64, 'I32': np.int32, 'I16': np.int16, 'I8': np.int8, 'U8': np.uint8, 'BOOL': np.bool_,
    **({'BF16': bfloat16} if bfloat16 is not None else {}),
}  # fmt: skip


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be used, or was about to become one; the message says why.

    Libraries repeat what a file says, however long it is: a long message is cut.
    """

    def __init__(self, message: str) -> None:
        longest = _LONGEST_MESSAGE
        super().__init__(message if len(message) <= longest else f'{message[:longest]}...')


@dataclass(frozen=True)
class Contents:
    """What the bytes hold. `graphs` are by their names ('graph', 'graph_96', 'graph_int8'), `digest` is
    their SHA-256.
    """

    version: int
    description: dict[str, Any]
    tensors: dict[str, NDArray[Any]]
    graphs: dict[str, bytes]
    digest: str


def write(
    path: Path,
    description: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    graphs: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write the file in one step, so that nobody ever reads half of it. Raises CheckpointError, OSError."""
    try:
        text = json.dumps(description, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f'its description holds what JSON cannot: {error}') from error
    stored = dict(tensors) | {name: np.frombuffer(data, np.uint8) for name, data in graphs.items()}
    entries = {
        name: (array.dtype.name, list(array.shape), np.atleast_1d(array).view(np.uint8).data)
        for name, array in stored.items()
    }
    metadata = {
        'format': FORMAT,
        'version': str(FORMAT_VERSION),
        'description': text,
        'description_sha256': _text_checksum(text),
        'tensors_sha256': _tensor_checksum(entries),
    }
    data = _in_order(save_tensors(stored, metadata))
    _header(data, len(data))  # what is written can be read: no limit is passed
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        with temporary.open('wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_bytes(path: str | Path) -> bytes:
    """The whole file, once its header shows that it can be a checkpoint. Raises CheckpointError, OSError."""
    # Opening a FIFO for reading would otherwise wait for a writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError('not a file but a device, a pipe or a folder')
        if status.st_size > _LARGEST_FILE:
            raise CheckpointError(
                f'{status.st_size} bytes, checkpoints have at most {_LARGEST_FILE}: not a checkpoint'
            )
        start = file.read(8)
        start += file.read(min(int.from_bytes(start, 'little'), _LONGEST_HEADER))
        _header(start, status.st_size)
        return start + file.read(status.st_size - len(start))


def unpack(data: bytes, check: Callable[[Mapping[str, Any]], None] = lambda description: None) -> Contents:
    """Description and tensors of a checkpoint's bytes.

    `check` sees the description before its own checksum is compared, so that what it refuses is named. Raises
    CheckpointError.
    """
    metadata = _header(data, len(data)).get('__metadata__')
    if not isinstance(metadata, dict) or metadata.get('format') != FORMAT:
        raise CheckpointError('a safetensors file, but not a checkpoint of impatient_ros')
    if metadata.get('version') not in READABLE:
        raise CheckpointError(
            f'of format version {str(metadata.get("version"))[:20]}, this program reads versions up to '
            f'{FORMAT_VERSION}: write it anew, or use the matching version of impatient_ros'
        )
    text = str(metadata.get('description'))
    description = _json(text, 'its description')
    check(description)
    if metadata.get('description_sha256') != _text_checksum(text):
        raise CheckpointError('damaged: its description does not match its checksum')
    try:
        stored = deserialize(data)
        tensors = {
            name: np.frombuffer(each['data'], _DTYPES[each['dtype']]).reshape(each['shape'])
            for name, each in stored
        }
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f'damaged: {error}') from error
    except KeyError as error:
        missing = ' (the package ml_dtypes is not installed)' if bfloat16 is None else ''
        raise CheckpointError(f'a tensor is of type {error}: not one of a checkpoint{missing}') from error
    entries = {name: (tensors[name].dtype.name, each['shape'], each['data']) for name, each in stored}
    if metadata.get('tensors_sha256') != _tensor_checksum(entries):
        raise CheckpointError('damaged: its tensors do not match their checksum')
    return Contents(
        version=int(metadata['version']),
        description=description,
        graphs=_graphs_in(tensors) if int(metadata['version']) > 1 else {},
        tensors=tensors,
        digest=hashlib.sha256(data).hexdigest(),
    )


def _graphs_in(tensors: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    graphs = {name: tensors.pop(name) for name in [*tensors] if _GRAPHS.fullmatch(name)}
    for name, graph in graphs.items():
        if graph.dtype != np.uint8 or graph.ndim != 1:
            raise CheckpointError(f'its {name} is {graph.dtype} {list(graph.shape)}, not bytes')
    return {name: graph.tobytes() for name, graph in graphs.items()}


def _in_order(data: bytes) -> bytes:
    """The same file with sorted metadata: the library shuffles them, and equal files should be equal."""
    end = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:end])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # tensors stay aligned
    return len(text).to_bytes(8, 'little') + text + data[end:]


def _header(data: bytes, size: int) -> dict[str, Any]:
    """The header of a file of `size` bytes; `data` is at least its part before the tensors."""
    length = int.from_bytes(data[:8], 'little')
    if len(data) < 8 or data[8:9] not in (b'{', b''):
        raise CheckpointError('not a safetensors file')
    if length > _LONGEST_HEADER:
        raise CheckpointError(
            f'not a safetensors file, or its header takes more than {_LONGEST_HEADER} bytes'
        )
    if 8 + length > size:
        raise CheckpointError(f'truncated: {size} bytes, its header alone takes {8 + length}')
    try:
        header = _json(data[8 : 8 + length].decode(), 'its header')
        ends = [each['data_offsets'][1] for name, each in header.items() if name != '__metadata__']
    except (UnicodeDecodeError, LookupError, TypeError) as error:
        raise CheckpointError(f'damaged: its header is not one of safetensors ({error})') from error
    if len(ends) > _MOST_TENSORS:
        raise CheckpointError(f'{len(ends)} tensors, networks have at most {_MOST_TENSORS}')
    whole = 8 + length + max((end for end in ends if type(end) is int), default=0)
    if whole > size:
        raise CheckpointError(f'truncated: {size} bytes of {whole}')
    if whole < size:
        raise CheckpointError(f'damaged: {size - whole} bytes more than its header says')
    return header


def _json(text: str, what: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f'{constant} is not a number')

    try:
        document = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f'damaged: {what} is not JSON ({error})') from error
    if not isinstance(document, dict):
        raise CheckpointError(f'damaged: {what} is not a JSON object')
    return document


def _text_checksum(text: str) -> str:
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()


def _tensor_checksum(entries: Mapping[str, tuple[str, list[int], Any]]) -> str:
    """Of each tensor's dtype (as version 1 names it), shape and bytes."""
    digest = hashlib.sha256()
    for name in sorted(entries):
        dtype, shape, data = entries[name]
        digest.update(f'{name} torch.{dtype} {shape}\n'.encode('utf-8', 'surrogatepass'))
        digest.update(data)
    return digest.hexdigest()
