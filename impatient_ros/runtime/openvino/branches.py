"""Models of one piece at several resolutions as one model that executes the one it is told to.

What OpenVINO packs of the weights is shared only within one compiled model, and a dynamic shape makes small
networks slower. So every resolution keeps its static model, in an If of its own. The Ifs lie side by side,
since each one that an image passes through copies it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ['Branch', 'compile_joined', 'groups', 'join']

# How many are joined at most: an If that is passed over takes 4 us and more. Eight resolutions of the default
# model took 2 to 8 % longer than static ones when all were joined, in two groups -1 to 6 % (medians 2.4 and
# 0.5 %), for 30 MiB more; each by itself takes 130 MiB more (test/benchmark/results/runtimes).
TOGETHER = 4


class Branch(NamedTuple):
    """One of several models that were compiled as one.

    Attributes:
        request: executes it; its other inputs are set once and for all.
        entry: which input of the request is this model's.
        outputs: which outputs are this model's, by their shapes.
    """

    request: Any
    entry: int
    outputs: dict[int, list[int]]


def groups(sides: Sequence[int]) -> list[tuple[int, ...]]:
    """The sides that are joined: as few groups as possible, of about the same size."""
    count = math.ceil(len(sides) / TOGETHER)
    size = math.ceil(len(sides) / count)
    return [tuple(sides[start : start + size]) for start in range(0, len(sides), size)]


def compile_joined(compile_model: Callable[[Any], Any], models: Sequence[Any]) -> list[Branch]:
    """Compile models with one input each; with one of them alone there is nothing to choose."""
    shapes = [[list(output.shape) for output in model.outputs] for model in models]
    if len(models) == 1:
        request = compile_model(models[0]).create_infer_request()
        return [Branch(request, 0, dict(enumerate(shapes[0])))]
    from openvino import Tensor

    inputs = [list(model.inputs[0].shape) for model in models]
    compiled = compile_model(join(models))
    # What is not executed reads nothing, but wants a tensor of the right size: all have one memory.
    unused = np.zeros(max(int(np.prod(shape)) for shape in inputs), np.float32)
    branches = []
    for place, found in enumerate(shapes):
        request = compiled.create_infer_request()
        request.set_input_tensor(0, Tensor(np.array(place, np.int32)))
        for entry, shape in enumerate(inputs, 1):
            array = unused[: int(np.prod(shape))].reshape(shape)
            request.set_input_tensor(entry, Tensor(array, shared_memory=True))
        branches.append(Branch(request, 1 + place, dict(enumerate(found, place * len(found)))))
    return branches


def join(models: Sequence[Any]) -> Any:
    """One openvino.Model of several, each with one input and as many outputs as the others.

    Its inputs: the index of the model to execute, int32 [], then each one's. Its outputs: each one's in turn;
    those of a model that is not executed are empty.
    """
    from openvino import Model, Type
    from openvino import opset14 as op

    chosen = op.parameter([], Type.i32)
    entries, outputs = [], []
    for place, model in enumerate(models):
        [inner] = model.get_parameters()
        entry = op.parameter(inner.get_partial_shape(), Type.f32)
        empty = [op.constant(np.empty([0] * len(each.partial_shape), np.float32)) for each in model.outputs]
        otherwise = Model([each.output(0) for each in empty], [], 'otherwise')
        branch = op.if_op(op.equal(chosen, op.constant(np.int32(place))).output(0))
        branch.set_then_body(model)
        branch.set_else_body(otherwise)
        branch.set_input(entry.output(0), inner, None)
        pairs = zip(model.get_results(), otherwise.get_results(), strict=True)
        outputs += [branch.set_output(result, none) for result, none in pairs]
        entries.append(entry)
    return Model(outputs, [chosen, *entries], 'branches')
