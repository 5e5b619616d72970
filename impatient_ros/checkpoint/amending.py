"""A checkpoint with more in it: what it is worth in another precision, and the graph for that.

    add_precision('model.safetensors', 'new.safetensors', 'bf16', record)

Weights, graphs and everything else stay byte for byte. Needs no torch.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from impatient_ros.checkpoint.container import CheckpointError, Contents, write
from impatient_ros.checkpoint.description import check_description
from impatient_ros.checkpoint.precisions import PrecisionRecord, int8_names, split_stored
from impatient_ros.checkpoint.reading import contents_of, graphs_of

__all__ = ['add_precision', 'carry_precisions']


def add_precision(
    path: str | pathlib.Path,
    new: str | pathlib.Path,
    precision: str,
    record: PrecisionRecord,
    graphs: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write the checkpoint `path` again as `new`, which may be the same, with a record.

    Args:
        graphs: for int8, by the names that the file gives them; with none the file's own stay.

    Raises:
        CheckpointError: a file is refused, or what is added does not fit it.
        OSError: it cannot be read or written.
    """
    contents = contents_of(path)
    precisions = {**contents.description.get('precisions', {}), precision: record.to_dict()}
    single, quantised = split_stored(contents.graphs)
    try:
        _write(pathlib.Path(new), contents, precisions, {**single, **(graphs or int8_names(quantised))})
    except CheckpointError as error:
        raise CheckpointError(f'{path} cannot be given {precision}: {error}') from error


def carry_precisions(old: Contents, new: str | pathlib.Path) -> bool:
    """Give `new`, written from what `old` holds, its precisions; False where something of it holds no more:
    all of it where the weights or the paths are others, int8 where it has no graph.

    Raises CheckpointError, OSError.
    """
    records = old.description.get('precisions', {})
    if not records:
        return True
    contents = contents_of(new)
    same = (
        old.tensors.keys() == contents.tensors.keys()
        and all(_equal(each, contents.tensors[name]) for name, each in old.tensors.items())
        and _inputs(old.description) == _inputs(contents.description)
    )
    if not same:
        return False
    kept = {name: each for name, each in records.items() if name != 'int8' or contents.graphs}
    _, quantised = split_stored(old.graphs if 'int8' in kept else {})
    _write(pathlib.Path(new), contents, kept, {**contents.graphs, **int8_names(quantised)})
    return len(kept) == len(records)


def _write(
    path: pathlib.Path,
    contents: Contents,
    precisions: Mapping[str, Mapping[str, Any]],
    graphs: Mapping[str, bytes],
) -> None:
    """The contents with these precisions and graphs, once they fit each other."""
    description = {**contents.description, 'precisions': dict(precisions)}
    check_description(description)
    if graphs or 'int8' in precisions:
        graphs_of(graphs, description, contents.tensors)
    write(path, description, contents.tensors, graphs)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def _inputs(description: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes inputs of pictures."""
    smaller = description.get('resolutions', [])
    return description['preprocessing'], [each['side'] for each in smaller]
