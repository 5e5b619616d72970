"""The pieces of a staged network as ONNX models that share their weights.

Pieces, T of each kind: `path` t, from the image to the scores of exit t in one go; `stage` t; `stage_exit` t,
the stage and its scores; `exit` t, the head alone.

Each piece is a model of its own, as the plain network would be, for whoever computes with one thread. For
several threads, all but the paths are one more model, `switch`, that executes one of them per run: ONNX
Runtime gives every session threads of its own. With a session per piece each boundary then waits for sleeping
threads (0.1 ms and more on a small machine), or spinning threads slow all other sessions down. One session's
threads stay awake over the few microseconds between two pieces. Within the model a tree of `If` nodes leads
to the piece; every level costs some ten microseconds, so the pieces that follow each other in interruptible
mode are nearest to its root. `switch` takes the tensor `v` and gives two tensors, features and scores; what a
piece does not compute is empty.

Why optimised before: branches can share weights that lie outside of them, but those ONNX Runtime does not
bring into the layout that its convolutions want (1.4 to 2 times slower). So each piece is optimised by itself
first, and equal weights of the results are stored once (resnet18: 49 MB instead of a gigabyte in memory). The
models then fit only the kind of processor that they were made on, and are loaded as they are.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impatient_ros.runtime.onnx.export import ExportError, boundary, logits, standalone
from impatient_ros.runtime.onnx.shared_weights import Models, Weights

__all__ = ['INPUT', 'OUTPUTS', 'SWITCH', 'SWITCHES', 'Piece', 'build_models', 'codes', 'pieces']

INPUT = 'v'
SWITCH = 'switch'
SWITCHES = 'switch_'
OUTPUTS = ('features', 'scores')
KINDS = ('stage_exit', 'stage', 'exit', 'path')

Tree = Any  # a piece's key, or a pair of trees


@dataclass(frozen=True)
class Piece:
    """What one run executes: from tensor `start` to `features` and `scores` ('' where it has none)."""

    start: str
    features: str
    scores: str

    @property
    def outputs(self) -> list[str]:
        return [name for name in (self.features, self.scores) if name]


def pieces(exits: int) -> dict[tuple[str, int], Piece]:
    """The pieces of a network with `exits` exits, by kind and index."""
    found = {}
    for t in range(exits):
        here, there = boundary(t), boundary(t + 1)
        found['path', t] = Piece(boundary(0), '', logits(t))
        found['stage', t] = Piece(here, there, '')
        found['stage_exit', t] = Piece(here, there, logits(t))
        found['exit', t] = Piece(there, '', logits(t))
    return dict(sorted(found.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1])))


def codes(exits: int) -> dict[tuple[str, int], list[bool]]:
    """The values of the switches that lead to each piece of the model `switch`, all of one length."""
    found: dict[tuple[str, int], list[bool]] = {}

    def walk(tree: Tree, taken: list[bool]) -> None:
        if _is_leaf(tree):
            found[tree] = taken
        else:
            walk(tree[0], [*taken, True])
            walk(tree[1], [*taken, False])

    walk(_tree(exits), [])
    longest = max(map(len, found.values()))
    return {piece: taken + [False] * (longest - len(taken)) for piece, taken in found.items()}


def _tree(exits: int) -> Tree:
    """A stage with its head is likelier than anything else, as Huffman's algorithm takes it."""
    # The number keeps equal weights in order: pieces are not compared.
    waiting: list[tuple[int, int, Tree]] = [
        (4 if key[0] == 'stage_exit' else 1, number, key)
        for number, key in enumerate(key for key in pieces(exits) if key[0] != 'path')
    ]
    heapq.heapify(waiting)
    number = len(waiting)
    while len(waiting) > 1:
        (first, _, one), (second, _, other) = heapq.heappop(waiting), heapq.heappop(waiting)
        heapq.heappush(waiting, (first + second, number, (other, one)))
        number += 1
    return waiting[0][2]


def _is_leaf(tree: Tree) -> bool:
    return isinstance(tree[0], str)


def build_models(model: Any, shapes: Sequence[tuple[int, ...]]) -> Models:
    """The models of all pieces, optimised for this processor.

    `model` is the whole network (`export_whole`), `shapes` those of its boundaries' tensors [T + 1]. Raises
    ExportError where ONNX Runtime refuses a piece.
    """
    exits = len(shapes) - 1
    starts = {boundary(position): shape for position, shape in enumerate(shapes)}
    every = pieces(exits)
    parts = {key: _optimised(model, piece, starts[piece.start]) for key, piece in every.items()}
    weights = Weights()
    stored = {key: weights.take(part.graph) for key, part in parts.items()}
    models = Models({}, {}, weights.large)
    models.graphs[SWITCH], models.uses[SWITCH] = _switch(exits, parts, starts, weights, stored)
    for (kind, t), part in parts.items():
        own, name = stored[kind, t], f'{kind}_{t}'
        for node in part.graph.node:
            node.input[:] = [own.get(each, each) for each in node.input]
        models.uses[name] = weights.declare(part.graph, own.values())
        models.graphs[name] = part.SerializeToString()
    return models


def _switch(
    exits: int,
    parts: dict[Any, Any],
    starts: dict[str, tuple[int, ...]],
    weights: Weights,
    stored: dict[Any, dict[str, str]],
) -> tuple[bytes, list[str]]:
    """The model of all pieces but the paths, and the weights that it uses; `stored` has their names."""
    from onnx import ModelProto, TensorProto

    every = pieces(exits)
    whole = ModelProto(ir_version=next(iter(parts.values())).ir_version)
    whole.graph.name = SWITCH
    domains: dict[str, int] = {}
    used: set[str] = set()

    # Everything is written where it will stay: the helpers of onnx copy a graph into the one around it.
    def fill(graph: Any, tree: Tree, level: int, name: str) -> list[str]:
        if _is_leaf(tree):
            part, piece = parts[tree], every[tree]
            domains.update((each.domain, each.version) for each in part.opset_import)
            used.update(stored[tree].values())
            return _write_piece(graph, part.graph, piece, f'{name}_', starts[piece.start], stored[tree])
        node = graph.node.add(op_type='If', name=name, input=[f'{SWITCHES}{level}'])
        node.output[:] = [f'{name}_{kind}' for kind in OUTPUTS]
        for attribute, branch in zip(('then_branch', 'else_branch'), tree, strict=True):
            inner = node.attribute.add(name=attribute, type=5)  # 5: a graph
            inner.g.name = f'{name}_{attribute}'
            outputs = fill(inner.g, branch, level + 1, f'{name}{attribute[0]}')
            _declare(inner.g.output, outputs, TensorProto.FLOAT)
        return list(node.output)

    chosen = fill(whole.graph, _tree(exits), 0, 'if')
    for inner, kind in zip(chosen, OUTPUTS, strict=True):
        whole.graph.node.add(op_type='Identity', input=[inner], output=[kind])
    uses = weights.declare(whole.graph, used)
    _declare(whole.graph.output, OUTPUTS, TensorProto.FLOAT)
    _declare(whole.graph.input, [INPUT], TensorProto.FLOAT)
    for level in range(len(next(iter(codes(exits).values())))):
        _declare(whole.graph.input, [f'{SWITCHES}{level}'], TensorProto.BOOL)
        whole.graph.input[-1].type.tensor_type.shape.SetInParent()  # a scalar
    for domain, version in domains.items():
        whole.opset_import.add(domain=domain, version=version)
    return whole.SerializeToString(), uses


def _optimised(model: Any, piece: Piece, shape: tuple[int, ...]) -> Any:
    """A piece as a model of its own after ONNX Runtime's optimisation for this processor."""
    import onnx
    import onnxruntime

    part = standalone(model, piece.start, shape, piece.outputs)
    with tempfile.TemporaryDirectory(prefix='impatient_ros-') as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = os.path.join(folder, 'piece.onnx')
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            data = part.SerializeToString()
            onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
            return onnx.load(options.optimized_model_filepath)
        except Exception as error:
            raise ExportError(f'ONNX Runtime refuses {piece}: {error}') from error


def _declare(values: Any, names: Sequence[str], kind: int) -> None:
    """Inputs or outputs of a graph: tensors of that type, of any shape."""
    for name in names:
        values.add(name=name).type.tensor_type.elem_type = kind


def _write_piece(
    graph: Any, part: Any, piece: Piece, prefix: str, shape: tuple[int, ...], stored: dict[str, str]
) -> list[str]:
    """Write a piece into a branch of an `If`, with names of its own; returns its outputs' names.

    `stored` says how the piece's weights are called outside.
    """
    from onnx import numpy_helper

    def renamed(names: Sequence[str]) -> list[str]:
        return [stored.get(name, prefix + name) if name else '' for name in names]

    # Of the common input only the type is known.
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f'{prefix}shape'))
    entry = graph.node.add(op_type='Reshape', name=f'{prefix}in')
    entry.input[:], entry.output[:] = [INPUT, f'{prefix}shape'], [prefix + piece.start]
    for index, node in enumerate(part.node):
        twin = graph.node.add()
        twin.CopyFrom(node)
        twin.name = f'{prefix}{index}'
        twin.input[:], twin.output[:] = renamed(node.input), renamed(node.output)
    outputs = []
    for end, kind in zip((piece.features, piece.scores), OUTPUTS, strict=True):
        outputs.append(prefix + (end or f'no_{kind}'))
        if not end:
            graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), f'{prefix}none_{kind}'))
            graph.node.add(op_type='Identity', input=[f'{prefix}none_{kind}'], output=[outputs[-1]])
    return outputs
