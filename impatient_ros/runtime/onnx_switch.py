"""All pieces of a staged network in one ONNX model that executes one piece per run.

Why one model: ONNX Runtime gives every session threads of its own. With a session per piece each boundary
waits for sleeping threads (0.1 ms and more on a small machine), and threads that spin instead slow all other
sessions down tenfold. One session's threads stay awake over the few microseconds between two pieces. Within
the model a tree of `If` nodes leads to the piece. Every piece has its own copy of its weights: shared ones
would have to lie outside the branches, and there ONNX Runtime does not bring them into its blocked layout
(measured: 1.4 to 2 times slower).

Pieces, T of each kind: `path` t, from the image to the scores of exit t in one go; `stage` t; `stage_exit` t,
the stage and its scores; `exit` t, the head alone. Large networks do with `stage` and `exit` to save memory;
what a boundary costs hardly shows there. Every piece takes the tensor `v` and gives two tensors,
features and scores; what a piece does not compute is empty.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impatient_ros.runtime.onnx_export import ExportError, boundary, extract, logits

__all__ = ['INPUT', 'OUTPUTS', 'SWITCHES', 'Piece', 'affordable_kinds', 'build_switch', 'pieces', 'switches']

INPUT = 'v'
SWITCHES = 'switch_'
OUTPUTS = ('features', 'scores')
KINDS = ('path', 'stage', 'stage_exit', 'exit')
SEPARATE = ('stage', 'exit')
# Bytes of weights over all pieces, beyond which there are only separate ones.
LARGEST_FUSED = 600_000_000


@dataclass(frozen=True)
class Piece:
    """What one run executes: from tensor `start` to `features` and `scores` ('' where it has none)."""

    start: str
    features: str
    scores: str


def pieces(exits: int, kinds: Sequence[str] = KINDS) -> dict[tuple[str, int], Piece]:
    """The pieces of a network with `exits` exits, by kind and index, in the order of the switches."""
    found = {}
    for t in range(exits):
        here, there = boundary(t), boundary(t + 1)
        found['path', t] = Piece(boundary(0), '', logits(t))
        found['stage', t] = Piece(here, there, '')
        found['stage_exit', t] = Piece(here, there, logits(t))
        found['exit', t] = Piece(there, '', logits(t))
    chosen = (item for item in found.items() if item[0][0] in kinds)
    return dict(sorted(chosen, key=lambda item: (KINDS.index(item[0][0]), item[0][1])))


def affordable_kinds(model: Any, exits: int) -> tuple[str, ...]:
    """The kinds of pieces that a network of this size (`export_whole`) should have."""
    size = 0
    for piece in pieces(exits).values():
        _, weights = extract(model, piece.start, [name for name in (piece.features, piece.scores) if name])
        size += sum(each.ByteSize() for each in weights)
    return KINDS if size <= LARGEST_FUSED else SEPARATE


def switches(count: int, index: int) -> list[bool]:
    """The values of the switches that lead to piece `index` of `count`."""
    values, low, high = [], 0, count
    while high - low > 1:
        middle = (low + high + 1) // 2
        values.append(index < middle)
        low, high = (low, middle) if index < middle else (middle, high)
    return values + [False] * (depth(count) - len(values))


def depth(count: int) -> int:
    """How many switches `count` pieces need."""
    return (count - 1).bit_length()


def build_switch(model: Any, shapes: Sequence[tuple[int, ...]], kinds: Sequence[str] = KINDS) -> bytes:
    """The model of all pieces of those kinds, serialised.

    `model` is the whole network (`export_whole`), `shapes` those of its boundaries' tensors [T + 1]. Raises
    ExportError where it is too large for one file of ONNX.
    """
    from onnx import TensorProto, helper

    every = list(pieces(len(shapes) - 1, kinds).values())
    starts = {boundary(position): shape for position, shape in enumerate(shapes)}

    def branch(index: int) -> Any:
        return _branch(model, every[index], f'p{index}_', starts[every[index].start])

    def tree(low: int, high: int, level: int, name: str) -> Any:
        if high - low == 1:
            return branch(low)
        middle = (low + high + 1) // 2
        outputs = [f'{name}_{kind}' for kind in OUTPUTS]
        node = helper.make_node(
            'If',
            [f'{SWITCHES}{level}'],
            outputs,
            name=name,
            then_branch=tree(low, middle, level + 1, f'{name}t'),
            else_branch=tree(middle, high, level + 1, f'{name}e'),
        )
        values = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs]
        return helper.make_graph([node], f'{name}_graph', [], values)

    graph = tree(0, len(every), 0, 'if')
    for node, kind in zip(list(graph.output), OUTPUTS, strict=True):
        graph.node.append(helper.make_node('Identity', [node.name], [kind]))
        node.name = kind
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, None))
    for level in range(depth(len(every))):
        graph.input.append(helper.make_tensor_value_info(f'{SWITCHES}{level}', TensorProto.BOOL, []))
    whole = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        return whole.SerializeToString()
    except Exception as error:
        raise ExportError(f'the network is too large for one ONNX file: {error}') from error


def _branch(model: Any, piece: Piece, prefix: str, shape: tuple[int, ...]) -> Any:
    """A piece as a branch of an `If`, with names of its own."""
    from onnx import TensorProto, helper, numpy_helper

    ends = [name for name in (piece.features, piece.scores) if name]
    nodes, used = extract(model, piece.start, ends)

    def renamed(names: Sequence[str]) -> Iterator[str]:
        return (prefix + name if name else '' for name in names)

    # The layout optimisation needs a shape; of the common input only its type is known.
    fixed = numpy_helper.from_array(np.array(shape, np.int64), f'{prefix}shape')
    inside = [helper.make_node('Reshape', [INPUT, fixed.name], [prefix + piece.start], name=f'{prefix}in')]
    for node in nodes:
        twin = copy.deepcopy(node)
        twin.name = prefix + node.name
        twin.input[:] = renamed(node.input)
        twin.output[:] = renamed(node.output)
        inside.append(twin)
    weights = [fixed]
    for each in used:
        weights.append(copy.deepcopy(each))
        weights[-1].name = prefix + each.name
    outputs = []
    for end, kind in zip((piece.features, piece.scores), OUTPUTS, strict=True):
        if not end:
            nothing = numpy_helper.from_array(np.zeros(0, np.float32))
            inside.append(helper.make_node('Constant', [], [f'{prefix}no_{kind}'], value=nothing))
        name = prefix + end if end else f'{prefix}no_{kind}'
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return helper.make_graph(inside, f'{prefix}graph', [], outputs, weights)
