"""What a forward computes from the shape of its input alone: sizes, and numbers made of them.

Such a value needs no place at a cut. The stage that needs it has it anew: what is proportional to the batch
from the batch of the stage's own input, all else as a constant of the image size that the network is cut for.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from impatient_ros.network.macs import Observation

__all__ = ['PerImage', 'ShapeValues', 'shape_values']

_CONSTANTS = (int, float, str, torch.dtype, torch.device, torch.memory_format, type(None))


@dataclass(frozen=True)
class PerImage:
    """A whole number that is `count` times the batch."""

    count: int


class _Other(Exception):
    """A value that is neither constant nor proportional to the batch."""


def shape_values(
    one: Mapping[fx.Node, Observation], two: Mapping[fx.Node, Observation]
) -> dict[fx.Node, Any]:
    """The nodes of a graph whose values follow from the input's shape, each value with PerImage in it.

    `one` and `two` were seen of the same graph without data (on torch's meta device), on one image and on
    two: whatever is no tensor there cannot have come from anything but shapes.
    """
    found = {}
    for node, first in one.items():
        if first.value is None and node.op not in ('placeholder', 'output', 'get_attr') and node in two:
            try:
                found[node] = _merged(first.plain, two[node].plain)
            except _Other:
                continue
    return found


def _merged(one: Any, two: Any) -> Any:
    if type(one) is not type(two):
        raise _Other
    if isinstance(one, (tuple, list)) and len(one) == len(two):
        parts = [_merged(a, b) for a, b in zip(one, two, strict=True)]
        return parts if isinstance(one, list) else tuple(parts)
    if isinstance(one, slice):
        return slice(*(_merged(getattr(one, end), getattr(two, end)) for end in ('start', 'stop', 'step')))
    if isinstance(one, _CONSTANTS) and one == two:
        return one
    if type(one) is int and two == 2 * one:
        return PerImage(one)
    raise _Other


class ShapeValues:
    """Writes shape values into the graph of a stage whose input is `x` [N, ...], seen with `shape`."""

    def __init__(
        self, graph: fx.Graph, x: fx.Node, shape: tuple[int, ...], dtype: torch.dtype | None
    ) -> None:
        self._graph, self._x, self._shape, self._dtype = graph, x, shape, dtype
        self._batch: fx.Node | None = None
        self._checked = False

    def write(self, value: Any) -> Any:
        """The argument of a node that stands for `value`, which may hold PerImage."""
        if isinstance(value, PerImage):
            if self._batch is None:
                self._batch = self._graph.call_method('size', (self._x, 0))
            if value.count == 1:
                return self._batch
            return self._graph.call_function(operator.mul, (self._batch, value.count))
        if isinstance(value, tuple):
            return tuple(self.write(each) for each in value)
        if isinstance(value, list):
            return [self.write(each) for each in value]
        if isinstance(value, slice):
            return slice(*(self.write(getattr(value, end)) for end in ('start', 'stop', 'step')))
        # A network may be moved and cast after it was cut.
        if isinstance(value, torch.device):
            return self._graph.call_function(getattr, (self._x, 'device'))
        if isinstance(value, torch.dtype) and value == self._dtype:
            return self._graph.call_function(getattr, (self._x, 'dtype'))
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not self._checked:
            self._graph.call_function(check_shape, (self._x, self._shape[1:]))
            self._checked = True
        return value


def check_shape(x: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError where `x` [N, *shape] has another shape: sizes in this stage are those of `shape`."""
    if tuple(x.shape[1:]) != shape:
        raise ValueError(
            f'this stage was cut for inputs of {"x".join(map(str, shape))} and got '
            f'{"x".join(map(str, x.shape[1:]))}: its network works at the image size that it was made for'
        )
