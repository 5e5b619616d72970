"""Cutting a classifier into stages, at cut points that are known by name.

The stages call the classifier's own layers:

    *stages, classifier = cut(module, ['layer2.0', 'layer4.1'])     # two stages, and what follows the second
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

from torch import fx, nn

from impatient_ros.network.macs import Observation, observe, without_data
from impatient_ros.network.shape_values import ShapeValues, shape_values
from impatient_ros.network.tracing import CONSTANT, CutError, Trace, trace, undisturbed

__all__ = ['cut']


def cut(
    module: nn.Module, names: Sequence[str], input_shape: Sequence[int] | None = None
) -> list[fx.GraphModule]:
    """Cut `module` after the nodes `names`: one stage per name, and what is left after the last.

    The stages use the module's own layers, not copies. `input_shape` is that of one input; without it a size
    that is read before a cut and needed after it is refused. Raises CutError.
    """
    what = type(module).__name__
    opened = {'.'.join(name.split('.')[:n]) for name in names for n in range(1, name.count('.') + 1)}
    with undisturbed(module):
        traced = trace(module, opened)
        with undisturbed(module, training=True):
            _follow_training(traced, trace(module, opened), what)
        missing = [name for name in names if name not in traced.aliases]
        if missing:
            raise CutError(f'{what} has no {missing[0]!r} to cut after')
        ends = [traced.input, *(traced.aliases[name] for name in names), traced.output]
        order = {node: position for position, node in enumerate(traced.graph.nodes)}
        if any(order[first] >= order[second] for first, second in pairwise(ends)):
            raise CutError(f'{what} does not run in the order of the cuts {", ".join(names)}')
        sizes = _Sizes(module, traced, input_shape)
        return [_segment(module, traced, sizes, start, end) for start, end in pairwise(ends)]


class _Sizes:
    """The values of a trace that follow from the input's shape; looked at only where a stage lacks one."""

    def __init__(self, module: nn.Module, traced: Trace, input_shape: Sequence[int] | None) -> None:
        self._module, self._graph, self._shape = module, traced.graph, input_shape

    @cached_property
    def seen(self) -> dict[fx.Node, Observation]:
        return self._observe(1)

    @cached_property
    def values(self) -> dict[fx.Node, Any]:
        return shape_values(self.seen, self._observe(2))

    def _observe(self, batch: int) -> dict[fx.Node, Observation]:
        if self._shape is None:
            return {}
        return observe(without_data(self._module), self._graph, (batch, *self._shape), partial=True)


def _segment(module: nn.Module, traced: Trace, sizes: _Sizes, start: fx.Node, end: fx.Node) -> fx.GraphModule:
    """The nodes after `start` up to `end` as a module of their own that takes the value of `start`."""
    graph = fx.Graph()
    values: dict[fx.Node, Any] = {start: graph.placeholder('x')}

    def value(node: fx.Node) -> Any:
        if node not in values:
            if node.op == 'get_attr':
                values[node] = graph.create_node('get_attr', node.target)
            elif node in sizes.values:
                values[node] = written().write(sizes.values[node])
            else:
                raise CutError(
                    f'{traced.names.get(node, node)} is still needed after {traced.names.get(start, start)}: '
                    'not a place to cut'
                )
        return values[node]

    @cache
    def written() -> ShapeValues:
        seen = sizes.seen[start]
        return ShapeValues(graph, values[start], seen.shape, seen.dtype)

    nodes = list(traced.graph.nodes)
    for node in nodes[nodes.index(start) + 1 : nodes.index(end) + 1]:
        if node.op in ('get_attr', 'placeholder', 'output'):
            continue
        before = [each for each in node.all_input_nodes if each not in values and each.op != 'get_attr']
        if before and node in sizes.values:
            continue  # a size of something before this stage: `value` writes it where it is used
        values[node] = graph.node_copy(node, value)
    graph.output(values[end])
    return fx.GraphModule(module, graph, class_name='Stage')


def _follow_training(traced: Trace, training: Trace, what: str) -> None:
    """Let what depends on the mode in the opened forwards depend on it in the stages, too.

    Tracing freezes `training=self.training`. Where the traces of both modes differ in nothing but such flags,
    the flags become the stage's own `training`; auxiliary answers of training are left out. Raises CutError
    where they differ more.
    """
    flags = _Flags(traced.graph, traced.input)
    twins: dict[Any, fx.Node] = {}
    ours, theirs = _needed(traced), _needed(training)
    for a, b in zip(ours, theirs, strict=False):
        constants = all(node.op == 'get_attr' and str(node.target).startswith(CONSTANT) for node in (a, b))
        try:
            if a.op != b.op or (a.target != b.target and not constants):
                raise _Unlike
            twins[b] = flags.user = a
            a.args, a.kwargs = flags.merge(a.args, b.args, twins), flags.merge(a.kwargs, b.kwargs, twins)
        except _Unlike as error:
            raise _modes_differ(what, f'at {traced.names.get(a, str(a))}') from error
    if len(ours) != len(theirs):
        raise _modes_differ(what, 'in its last operations')


class _Unlike(Exception):
    """Arguments of the two modes that differ in more than flags."""


class _Flags:
    """Merges the arguments of `user` in both modes; a flag that differs becomes the stage's own mode."""

    def __init__(self, graph: fx.Graph, after: fx.Node) -> None:
        self.user = after
        self._graph = graph
        self._after = after
        self._training: fx.Node | None = None

    def merge(self, ours: Any, theirs: Any, twins: dict[Any, fx.Node]) -> Any:
        if isinstance(ours, fx.Node):
            if twins.get(theirs) is not ours:
                raise _Unlike
            return ours
        if isinstance(ours, bool) and isinstance(theirs, bool) and ours != theirs:
            return self._flag(when_training=theirs)
        if type(ours) is not type(theirs):
            raise _Unlike
        if isinstance(ours, (tuple, list)) and len(ours) == len(theirs):
            return type(ours)([self.merge(a, b, twins) for a, b in zip(ours, theirs, strict=True)])
        if isinstance(ours, dict) and ours.keys() == theirs.keys():
            return {key: self.merge(ours[key], theirs[key], twins) for key in ours}
        if isinstance(ours, slice):
            return slice(*(self.merge(getattr(ours, end), getattr(theirs, end), twins) for end in _SLICE))
        if ours != theirs:
            raise _Unlike
        return ours

    def _flag(self, when_training: bool) -> fx.Node:
        if self._training is None:
            with self._graph.inserting_after(self._after):
                self._training = self._graph.create_node('get_attr', 'training')
        if when_training:
            return self._training
        with self._graph.inserting_before(self.user):
            return self._graph.call_function(operator.not_, (self._training,))


_SLICE = ('start', 'stop', 'step')


def _modes_differ(what: str, where: str) -> CutError:
    return CutError(
        f'{what} computes something else in train() than in eval(), {where}: move what is for training only '
        'into a submodule, which is then kept whole'
    )


def _needed(traced: Trace) -> list[fx.Node]:
    """The nodes from which the answer is computed, in order."""
    needed = {traced.output}
    for node in reversed(traced.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return [node for node in traced.graph.nodes if node in needed]
