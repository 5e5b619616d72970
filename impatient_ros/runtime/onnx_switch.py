"""All pieces of a staged network in one ONNX model that executes one piece per run.

Why one model: ONNX Runtime gives every session threads of its own. With a session per piece each boundary
waits for sleeping threads (0.1 ms and more on a small machine), and threads that spin instead slow all other
sessions down tenfold. One session's threads stay awake over the few microseconds between two pieces. Within
the model a tree of `If` nodes leads to the piece.

Why optimised before: branches can share weights that lie outside of them, but those ONNX Runtime does not
bring into the layout that its convolutions want (1.4 to 2 times slower). So each piece is optimised by itself
first, and equal weights of the results are stored once (resnet18: 49 MB instead of a gigabyte in memory). The
model then fits only the kind of processor that it was made on, and is loaded without further optimisation.

Pieces, T of each kind: `path` t, from the image to the scores of exit t in one go; `stage` t; `stage_exit` t,
the stage and its scores; `exit` t, the head alone. Every piece takes the tensor `v` and gives two tensors,
features and scores; what a piece does not compute is empty.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impatient_ros.runtime.onnx_export import ExportError, boundary, logits, standalone

__all__ = ['INPUT', 'OUTPUTS', 'SWITCHES', 'Piece', 'build_switch', 'pieces', 'switches']

INPUT = 'v'
SWITCHES = 'switch_'
OUTPUTS = ('features', 'scores')
KINDS = ('path', 'stage', 'stage_exit', 'exit')


@dataclass(frozen=True)
class Piece:
    """What one run executes: from tensor `start` to `features` and `scores` ('' where it has none)."""

    start: str
    features: str
    scores: str


def pieces(exits: int) -> dict[tuple[str, int], Piece]:
    """The pieces of a network with `exits` exits, by kind and index, in the order of the switches."""
    found = {}
    for t in range(exits):
        here, there = boundary(t), boundary(t + 1)
        found['path', t] = Piece(boundary(0), '', logits(t))
        found['stage', t] = Piece(here, there, '')
        found['stage_exit', t] = Piece(here, there, logits(t))
        found['exit', t] = Piece(there, '', logits(t))
    return dict(sorted(found.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1])))


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


def build_switch(model: Any, shapes: Sequence[tuple[int, ...]]) -> bytes:
    """The model of all pieces, optimised for this processor, serialised.

    `model` is the whole network (`export_whole`), `shapes` those of its boundaries' tensors [T + 1]. Raises
    ExportError where ONNX Runtime refuses a piece or the result is too large for one file of ONNX.
    """
    from onnx import ModelProto, TensorProto

    every = list(pieces(len(shapes) - 1).values())
    starts = {boundary(position): shape for position, shape in enumerate(shapes)}
    whole = ModelProto(ir_version=model.ir_version)
    whole.graph.name = 'switch'
    weights = _Weights(whole.graph)
    domains: dict[str, int] = {}

    # Everything is written where it will stay: the helpers of onnx copy a graph into the one around it.
    def fill(graph: Any, low: int, high: int, level: int, name: str) -> list[str]:
        if high - low == 1:
            piece = every[low]
            part = _optimised(model, piece, starts[piece.start])
            domains.update((each.domain, each.version) for each in part.opset_import)
            return _write_piece(graph, part.graph, piece, f'p{low}_', starts[piece.start], weights)
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
    for domain, version in domains.items():
        whole.opset_import.add(domain=domain, version=version)
    try:
        return whole.SerializeToString()
    except Exception as error:
        raise ExportError(f'the network is too large for one ONNX file: {error}') from error


class _Weights:
    """The outer graph's initializers, each content once."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._names: dict[bytes, str] = {}

    def name(self, tensor: Any) -> str:
        """The name under which `tensor` is stored, now or since before."""
        own, tensor.name = tensor.name, ''
        digest = hashlib.sha256(tensor.SerializeToString()).digest()
        tensor.name = own
        if digest not in self._names:
            self._names[digest] = f'w{len(self._names)}'
            stored = self._graph.initializer.add()
            stored.CopyFrom(tensor)
            stored.name = self._names[digest]
        return self._names[digest]


def _optimised(model: Any, piece: Piece, shape: tuple[int, ...]) -> Any:
    """A piece as a model of its own after ONNX Runtime's optimisation for this processor."""
    import onnx
    import onnxruntime

    part = standalone(model, piece.start, shape, [name for name in (piece.features, piece.scores) if name])
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
    graph: Any, part: Any, piece: Piece, prefix: str, shape: tuple[int, ...], weights: _Weights
) -> list[str]:
    """Write a piece into a branch of an `If`, with names of its own; returns its outputs' names."""
    from onnx import numpy_helper

    stored = {each.name: weights.name(each) for each in part.initializer}

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
