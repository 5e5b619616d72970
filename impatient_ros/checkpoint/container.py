"""The bytes of a checkpoint: a .safetensors file whose metadata carries a description and checksums.

write(path, description, tensors)
description, tensors, intact = unpack(path.read_bytes())
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

__all__ = ['FORMAT_VERSION', 'CheckpointError', 'unpack', 'write']

FORMAT = 'impatient_ros checkpoint'
FORMAT_VERSION = 1
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be used, or was about to become one; the message says why."""


def write(path: Path, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the file in one step, so that nobody ever reads half of it. Raises CheckpointError, OSError."""
    try:
        text = json.dumps(description, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f'its description holds what JSON cannot: {error}') from error
    metadata = {
        'format': FORMAT,
        'version': str(FORMAT_VERSION),
        'description': text,
        'description_sha256': _text_checksum(text),
        'tensors_sha256': _tensor_checksum(tensors),
    }
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        with temporary.open('wb') as file:
            file.write(_in_order(save_tensors(dict(tensors), metadata)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def unpack(
    data: bytes, check: Callable[[Mapping[str, Any]], None] = lambda description: None
) -> tuple[dict[str, Any], dict[str, Tensor], bool]:
    """Description and tensors of a checkpoint's bytes, and whether the tensors match their checksum.

    `check` sees the description before its own checksum is compared, so that what it refuses is named. Raises
    CheckpointError.
    """
    metadata = _header(data).get('__metadata__')
    if not isinstance(metadata, dict) or metadata.get('format') != FORMAT:
        raise CheckpointError('a safetensors file, but not a checkpoint of impatient_ros')
    if metadata.get('version') != str(FORMAT_VERSION):
        raise CheckpointError(
            f'of format version {metadata.get("version")}, this program reads version {FORMAT_VERSION}: '
            'write it anew, or use the matching version of impatient_ros'
        )
    text = str(metadata.get('description'))
    description = _json(text, 'its description')
    check(description)
    if metadata.get('description_sha256') != _text_checksum(text):
        raise CheckpointError('damaged: its description does not match its checksum')
    try:
        tensors = load_tensors(data)
    except Exception as error:
        raise CheckpointError(f'damaged: {error}') from error
    return description, tensors, metadata.get('tensors_sha256') == _tensor_checksum(tensors)


def _in_order(data: bytes) -> bytes:
    """The same file with sorted metadata: the library shuffles them, and equal files should be equal."""
    end = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:end])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # tensors stay aligned
    return len(text).to_bytes(8, 'little') + text + data[end:]


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], 'little')
    if len(data) < 8 or data[8:9] not in (b'{', b'') or length > _LONGEST_HEADER:
        raise CheckpointError('not a safetensors file')
    if 8 + length > len(data):
        raise CheckpointError(f'truncated: {len(data)} bytes, its header alone takes {8 + length}')
    try:
        header = _json(data[8 : 8 + length].decode(), 'its header')
        ends = [each['data_offsets'][1] for name, each in header.items() if name != '__metadata__']
    except (UnicodeDecodeError, LookupError, TypeError) as error:
        raise CheckpointError(f'damaged: its header is not one of safetensors ({error})') from error
    whole = 8 + length + max((end for end in ends if type(end) is int), default=0)
    if whole > len(data):
        raise CheckpointError(f'truncated: {len(data)} bytes of {whole}')
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


def _tensor_checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f'{name} {tensor.dtype} {list(tensor.shape)}\n'.encode('utf-8', 'surrogatepass'))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
