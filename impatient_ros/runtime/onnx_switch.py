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

from collections.abc import Sequence
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
    from onnx import ModelProto, TensorProto

    every = list(pieces(len(shapes) - 1, kinds).values())
    starts = {boundary(position): shape for position, shape in enumerate(shapes)}
    whole = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    whole.graph.name = 'switch'

    # Everything is written where it will stay: the helpers of onnx copy a graph into the one around it,
    # and so all weights once per level of the tree.
    def fill(graph: Any, low: int, high: int, level: int, name: str) -> list[str]:
        if high - low == 1:
            return _write_piece(graph, model, every[low], f'p{low}_', starts[every[low].start])
        middle = (low + high + 1) // 2
        node = graph.node.add(op_type='If', name=name, input=[f'{SWITCHES}{level}'])
        node.output[:] = [f'{name}_{kind}' for kind in OUTPUTS]
        for attribute, bounds in (('then_branch', (low, middle)), ('else_branch', (middle, high))):
            branch = node.attribute.add(name=attribute, type=5)  # 5: a graph
            branch.g.name = f'{name}_{attribute}'
            outputs = fill(branch.g, *bounds, level + 1, f'{name}{attribute[0]}')
            _declare(branch.g.output, outputs, TensorProto.FLOAT)
        return list(node.output)

    chosen = fill(whole.graph, 0, len(every), 0, 'if')
    for inner, kind in zip(chosen, OUTPUTS, strict=True):
        whole.graph.node.add(op_type='Identity', input=[inner], output=[kind])
    _declare(whole.graph.output, OUTPUTS, TensorProto.FLOAT)
    _declare(whole.graph.input, [INPUT], TensorProto.FLOAT)
    for level in range(depth(len(every))):
        _declare(whole.graph.input, [f'{SWITCHES}{level}'], TensorProto.BOOL)
        whole.graph.input[-1].type.tensor_type.shape.SetInParent()  # a scalar
    try:
        return whole.SerializeToString()
    except Exception as error:
        raise ExportError(f'the network is too large for one ONNX file: {error}') from error


def _declare(values: Any, names: Sequence[str], kind: int) -> None:
    """Inputs or outputs of a graph: tensors of that type, of any shape."""
    for name in names:
        values.add(name=name).type.tensor_type.elem_type = kind


def _write_piece(graph: Any, model: Any, piece: Piece, prefix: str, shape: tuple[int, ...]) -> list[str]:
    """Write a piece into a branch of an `If`, with names of its own; returns its outputs' names."""
    from onnx import numpy_helper

    nodes, used = extract(model, piece.start, [name for name in (piece.features, piece.scores) if name])
    for each in used:
        weight = graph.initializer.add()
        weight.CopyFrom(each)
        weight.name = prefix + each.name
    # The layout optimisation needs a shape; of the common input only its type is known.
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f'{prefix}shape'))
    entry = graph.node.add(op_type='Reshape', name=f'{prefix}in')
    entry.input[:], entry.output[:] = [INPUT, f'{prefix}shape'], [prefix + piece.start]
    for node in nodes:
        twin = graph.node.add()
        twin.CopyFrom(node)
        twin.name = prefix + node.name
        twin.input[:] = [prefix + name if name else '' for name in node.input]
        twin.output[:] = [prefix + name if name else '' for name in node.output]
    outputs = []
    for end, kind in zip((piece.features, piece.scores), OUTPUTS, strict=True):
        outputs.append(prefix + (end or f'no_{kind}'))
        if not end:
            graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), f'{prefix}none_{kind}'))
            graph.node.add(op_type='Identity', input=[f'{prefix}none_{kind}'], output=[outputs[-1]])
    return outputs
