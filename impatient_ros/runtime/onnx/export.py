"""A staged network as ONNX: exported once as a whole, then cut into pieces at the stages' boundaries.

    model = export_whole(network)                                       # one graph with every boundary in it
    part = extract(model, 'features_0', ['features_1', 'logits_1'])     # stage 1 and its head

Tensors are named `image`, `features_<t>` (what stage t returns) and `logits_<t>`. Exporting the whole and
cutting is some fifteen times quicker than exporting every piece.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from impatient_ros.checkpoint.graph import boundary, logits

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = [
    'OPSET',
    'ExportError',
    'boundary',
    'export_whole',
    'extract',
    'feature_shapes',
    'logits',
    'standalone',
]

OPSET = 17


class ExportError(RuntimeError):
    """The network cannot be written as ONNX; the message says why."""


class _Everything(nn.Module):
    """All stages and heads; returns the boundaries' tensors and the scores in turn."""

    def __init__(self, network: ImpatientNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        for stage, head in zip(self.network.stages, self.network.exits, strict=True):
            x = stage(x)
            outputs += [x, head(x)]
        return tuple(outputs)


def export_whole(network: ImpatientNetwork) -> Any:
    """The network for one image, float32 [1, 3, H, W], as an onnx.ModelProto. Raises ExportError."""
    try:
        import onnx
    except ImportError as error:
        raise ExportError('the package onnx is not installed: pip install onnx') from error
    whole = _Everything(network).eval()
    example = torch.zeros(1, *network.input_shape)
    outputs = [name for t in range(len(network.stages)) for name in (boundary(t + 1), logits(t))]
    failures = []
    # The exporter by tracing takes half a second where the one by torch.export takes five, but its days are
    # counted; the second needs the package onnxscript.
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    for dynamo in (False, True):
        buffer = io.BytesIO()
        quietly: dict[str, Any] = {'verbose': False} if dynamo else {}
        try:
            # The operator that eval() uses for attention has no ONNX form.
            torch.backends.mha.set_fastpath_enabled(False)
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter('ignore')
                torch.onnx.export(
                    whole,
                    (example,),
                    buffer,  # type: ignore[arg-type]
                    input_names=[boundary(0)],
                    output_names=outputs,
                    opset_version=OPSET,
                    dynamo=dynamo,
                    **quietly,
                )
            model = onnx.load_from_string(buffer.getvalue())
            _check_boundaries(model, outputs)
            return model
        except Exception as error:  # noqa: BLE001  exporters fail in ways of their own
            failures.append(str(error).strip().split('\n', 1)[0] or type(error).__name__)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)
    raise ExportError(f'torch cannot export this network: {"; ".join(failures)}')


def extract(model: Any, start: str, ends: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """The nodes that compute tensors `ends` from tensor `start`, in order, and the initializers they use.

    Raises ExportError where something before `start` is needed, too.
    """
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    initializers = {each.name: each for each in graph.initializer}
    needed, used, seen = set(), [], {start, ''}
    waiting = list(ends)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in initializers:
            used.append(initializers[name])
        elif name in makers:
            needed.add(id(makers[name]))
            waiting += makers[name].input
        else:
            raise ExportError(f'{", ".join(ends)} cannot be computed from {start} alone: {name} is needed')
    return [node for node in graph.node if id(node) in needed], used


def standalone(model: Any, start: str, shape: Sequence[int], ends: Sequence[str]) -> Any:
    """A model of its own: tensors `ends` from `start`, float32 of `shape`. Raises ExportError."""
    from onnx import TensorProto, helper

    nodes, weights = extract(model, start, ends)
    inputs = [helper.make_tensor_value_info(start, TensorProto.FLOAT, list(shape))]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ends]
    graph = helper.make_graph(nodes, ends[-1], inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def feature_shapes(network: ImpatientNetwork) -> list[tuple[int, ...]]:
    """The shape of the tensor at each boundary, from the image on [T + 1]."""
    shapes = []
    x = torch.zeros(1, *network.input_shape)
    network.eval()
    with torch.no_grad():
        for stage in network.stages:
            shapes.append(tuple(x.shape))
            x = stage(x)
    return [*shapes, tuple(x.shape)]


def _check_boundaries(model: Any, outputs: Sequence[str]) -> None:
    exits = len(outputs) // 2
    for t in range(exits):
        extract(model, boundary(t), [boundary(t + 1)])
        extract(model, boundary(t + 1), [logits(t)])
