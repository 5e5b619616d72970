"""What a classifier computes, without computing it: shapes and multiply-accumulates on torch's meta device.

A tensor on the meta device has a shape and no data, so the largest classifiers are measured in a second and
in no memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ['Observation', 'observe', 'run', 'without_data']


class Observation:
    """What was seen of one node: its shape, () where it is no tensor, and the MACs up to it.

    `value` is the tensor, `plain` whatever else it was.
    """

    def __init__(self, value: Any, macs: int) -> None:
        self.value = value if isinstance(value, Tensor) else None
        self.plain = None if isinstance(value, Tensor) else value
        self.shape: tuple[int, ...] = tuple(value.shape) if isinstance(value, Tensor) else ()
        self.dtype = value.dtype if isinstance(value, Tensor) else None
        self.macs = macs
        self._version = value._version if isinstance(value, Tensor) else 0

    @property
    def overwritten(self) -> bool:
        """Whether a later node wrote into this value, as ReLU(inplace=True) does."""
        return self.value is not None and self.value._version != self._version


class _Observer(fx.Interpreter):
    def __init__(self, module: nn.Module, graph: fx.Graph, counter: FlopCounterMode) -> None:
        super().__init__(module, graph=graph, garbage_collect_values=False)
        self.counter = counter
        self.seen: dict[fx.Node, Observation] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.seen[n] = Observation(value, self.counter.get_total_flops() // 2)
        return value


def without_data(module: nn.Module) -> nn.Module:
    """A copy of `module` on the meta device, in eval mode; its weights are not copied."""
    twins: dict[int, Any] = {}
    for each in module.modules():
        for value in [*each._parameters.values(), *each._buffers.values(), *vars(each).values()]:
            if isinstance(value, Tensor):
                twin = torch.empty_like(value, device='meta', requires_grad=False)
                parameter = isinstance(value, nn.Parameter)
                twins[id(value)] = nn.Parameter(twin, value.requires_grad) if parameter else twin
    return copy.deepcopy(module, twins).eval()


def observe(
    module: nn.Module, graph: fx.Graph, shape: Sequence[int], *, partial: bool = False
) -> dict[fx.Node, Observation]:
    """Run `graph` of `module` on an input of `shape` on its device; with `partial` as far as it goes.

    `shape` includes the batch. Without data (see `without_data`) nothing is computed.
    """
    with _counting(module) as (counter, image):
        observer = _Observer(module, graph, counter)
        # Further placeholders are arguments at their defaults; tracing has made them constants.
        placeholders = sum(node.op == 'placeholder' for node in graph.nodes)
        try:
            observer.run(image(shape), *[None] * (placeholders - 1))
        except Exception:
            if not partial:
                raise
    return observer.seen


def run(module: nn.Module, shape: Sequence[int]) -> int:
    """Run `module` on an input of `shape` with its batch, on its device. Returns its multiply-accumulates, in
    convolutions and matrix products; without data (see `without_data`) nothing is computed.
    """
    with _counting(module) as (counter, image):
        module(image(shape))
    return counter.get_total_flops() // 2


@contextmanager
def _counting(module: nn.Module) -> Iterator[tuple[FlopCounterMode, Any]]:
    """A counter, and what makes an input of a given shape for `module`."""
    first = next((each for each in module.parameters() if each.is_floating_point()), torch.empty(0))

    def image(shape: Sequence[int]) -> Tensor:
        if first.is_meta:
            return torch.empty(tuple(shape), dtype=first.dtype)
        numbers = torch.rand(tuple(shape), generator=torch.Generator().manual_seed(0), device='cpu')
        return numbers.to(first)

    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(
        False
    )  # eval()'s fused attention is one operator that nobody counts
    try:
        with first.device, torch.no_grad(), FlopCounterMode(display=False) as counter:
            yield counter, image
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
