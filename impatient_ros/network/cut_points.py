"""Where a classifier can be cut.

A classifier can be cut where a single tensor is live: everything after the cut is computed from that tensor
(and from parameters, which travel with the stage that uses them).

    points = find_cut_points(module, (3, 224, 224))
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import fx, nn

from impatient_ros.network.final_layer import FinalLayer, final_layer
from impatient_ros.network.macs import Observation, observe, run, without_data
from impatient_ros.network.shape_values import shape_values
from impatient_ros.network.tracing import CutError, Trace, trace, undisturbed
from impatient_ros.suggestions import did_you_mean

__all__ = ['CutError', 'CutPoint', 'CutPoints', 'find_cut_points']

logger = logging.getLogger(__name__)

# Not offered: a module that is called whole gives a tuple where, opened, it gives the items, so that their
# numbers (getitem_3) are others when stages are built.
_ITEMS = ('getitem', 'getattr')


@dataclass(frozen=True)
class CutPoint:
    """A place where one tensor is live.

    `shape` is the tensor's without the batch, `cost_share` the part of the classifier's MACs up to here,
    `layout` names its axes: NCHW, NHWC, NLC (tokens), NCL or NC. `depth` is 0 between the classifier's own
    blocks and grows within them.
    """

    name: str
    shape: tuple[int, ...]
    cost_share: float
    macs: int
    layout: str
    depth: int


@dataclass(frozen=True)
class CutPoints:
    """All cut points of a classifier in order, and `last`, the one before its own last classifier.

    `macs` and `classes` are the classifier's, `final` is the Linear layer that it ends in, where it does;
    `aliases` gives the names of points that have several.
    """

    points: tuple[CutPoint, ...]
    last: CutPoint
    macs: int
    classes: int
    aliases: dict[str, str]
    final: FinalLayer | None

    def find(self, name: str) -> CutPoint:
        """The point of that name. Raises CutError with near ones."""
        canonical = self.aliases.get(name, name)
        for point in self.points:
            if point.name == canonical:
                return point
        names = [point.name for point in self.points]
        hint = did_you_mean(name, names, f'there are {len(names)}, see cut_points()')
        raise CutError(f'{name!r} is not a cut point ({hint})')


def find_cut_points(module: nn.Module, input_shape: Sequence[int]) -> CutPoints:
    """Find where `module` can be cut; `input_shape` is that of one input, such as (3, 224, 224).

    Nothing is computed, except where a forward looks at values. Raises CutError, with the reason, where the
    classifier cannot be traced or cut, or does not take such an input.
    """
    shape = tuple(input_shape)
    try:
        twin = without_data(module)
        with torch.device('meta'):
            traced = trace(twin)
            views = _views(twin, traced, shape)
    except Exception as error:
        if any(each.is_meta for each in module.parameters()):
            raise error if isinstance(error, CutError) else _refusal(module, shape, error) from error
        logger.debug('%s has to be run with data: %s', type(module).__name__, error)
    else:
        return _find(twin, traced, shape, views)
    with undisturbed(module):
        traced = trace(module)
        try:
            views = _views(module, traced, shape)
        except Exception as error:
            raise _refusal(module, shape, error) from error
        return _find(module, traced, shape, views)


@dataclass(frozen=True)
class _Views:
    """What was seen of a graph: on one image, on two that are larger where it takes these, and its sizes.

    `sizes` are the nodes whose values follow from the input's shape, which a stage can have anew.
    """

    one: dict[fx.Node, Observation]
    other: dict[fx.Node, Observation]
    sizes: Collection[fx.Node]


def _views(module: nn.Module, traced: Trace, shape: tuple[int, ...]) -> _Views:
    graph = traced.graph
    one = observe(module, graph, (1, *shape))
    # Where the image is doubled, the axes that grow are the picture's. Some classifiers take only one size.
    larger = (shape[0], *(2 * side for side in shape[1:])) if len(shape) == 3 else shape
    other = observe(module, graph, (2, *larger), partial=True)
    answer = one[traced.output].value
    # With data, a number may come from the data: then no value counts as a size.
    plain = any(each.plain is not None for each in one.values()) and answer is not None and answer.is_meta
    again = plain or traced.output not in other
    two = observe(module, graph, (2, *shape), partial=True) if again else {}
    if traced.output not in other:
        other = two | other
    return _Views(one, other, shape_values(one, two) if plain else ())


def _find(module: nn.Module, traced: Trace, shape: tuple[int, ...], views: _Views) -> CutPoints:
    what = type(module).__name__
    seen, probe = views.one, views.other
    answer = seen[traced.output]
    if len(answer.shape) != 2 or answer.shape[0] != 1:
        raise CutError(f'{what} answers {list(answer.shape)}: a classifier answers one score per class')

    points: dict[fx.Node, CutPoint] = {}
    for node in _single_live(traced, views.sizes):
        value = seen[node]
        item = traced.names[node].rpartition('.')[2].startswith(_ITEMS)
        if (
            not item
            and node in traced.depths
            and node in probe
            and _carries(node, module, value, probe[node])
        ):
            points[node] = CutPoint(
                name=traced.names[node],
                shape=value.shape[1:],
                cost_share=value.macs / max(answer.macs, 1),
                macs=value.macs,
                layout=_layout(value.shape, probe[node].shape),
                depth=traced.depths[node],
            )
    found = tuple(points.values())
    last = _last(found, answer.macs)
    if last is None:
        raise CutError(
            f'{what} has no place before its classifier where a single tensor is live: nowhere to cut'
        )
    aliases = {name: points[node].name for name, node in traced.aliases.items() if node in points}
    final = final_layer(module, traced)
    return CutPoints(found, last, answer.macs, answer.shape[1], aliases, final)


def _single_live(traced: Trace, sizes: Collection[fx.Node]) -> list[fx.Node]:
    """The nodes after which theirs is the only value that later nodes need, `sizes` aside."""
    nodes = [node for node in traced.graph.nodes if node not in sizes]
    position = {node: index for index, node in enumerate(nodes)}
    last_use = {
        node: max((position[user] for user in node.users if user in position), default=-1) for node in nodes
    }
    live: set[fx.Node] = set()
    found: dict[fx.Node, None] = {}
    for index, node in enumerate(nodes[: position[traced.output]]):
        if node.op != 'get_attr':
            live.add(node)
        live = {each for each in live if last_use[each] > index}
        if len(live) == 1:
            found.setdefault(next(iter(live)))
    found.pop(traced.input, None)
    return list(found)


def _carries(node: fx.Node, module: nn.Module, value: Observation, other: Observation) -> bool:
    """Whether a value can be handed on: one row per image, not dropped out, not written to later."""
    operation = module.get_submodule(str(node.target)) if node.op == 'call_module' else node.target
    dropout = isinstance(operation, nn.modules.dropout._DropoutNd) or 'dropout' in getattr(
        operation, '__name__', ''
    )
    return (
        not dropout
        and value.value is not None
        and value.value.is_floating_point()
        and not value.overwritten
        and 2 <= len(value.shape) <= 4
        and len(value.shape) == len(other.shape)
        and (value.shape[0], other.shape[0]) == (1, 2)
    )


def _layout(shape: tuple[int, ...], larger: tuple[int, ...]) -> str:
    """The axes of a feature map: those that grow with the image are its height and width (or its tokens)."""
    grown = tuple(axis for axis in range(1, len(shape)) if shape[axis] != larger[axis])
    if len(shape) == 4:
        if grown in ((1, 2), (2, 3)):
            return 'NHWC' if grown == (1, 2) else 'NCHW'
        # Known at one size only: the odd one out is the channels.
        return 'NHWC' if shape[1] == shape[2] != shape[3] else 'NCHW'
    if len(shape) == 3:
        return 'NCL' if grown == (2,) else 'NLC'
    return 'NC'


def _last(points: Sequence[CutPoint], macs: int) -> CutPoint | None:
    """The cut before the own classifier: the last feature map before it is pooled and classified."""
    before = [point for point in points if point.macs < macs]
    maps = [point for point in before if len(point.shape) > 1] or before
    run = [point for point in maps if point.macs == maps[-1].macs]
    return next((point for point in reversed(run) if prod(point.shape) == prod(run[0].shape)), None)


def _refusal(module: nn.Module, shape: Sequence[int], error: Exception) -> CutError:
    """What to say of a graph that failed with `error`: the input may be at fault, or the tracing."""
    what, size = type(module).__name__, 'x'.join(str(side) for side in shape)
    try:
        run(module, (1, *shape))
    except Exception as own:  # noqa: BLE001  a forward fails in ways of its own
        return CutError(f'{what} does not take an input of {size}: {_reason(own)}')
    return CutError(
        f'{what} cannot be cut: it takes an input of {size}, but fails when it runs as torch.fx has traced '
        f'it: {_reason(error)}'
    )


def _reason(error: Exception) -> str:
    return str(error).strip().split('\n', 1)[0] or type(error).__name__
