"""A staged network in torch to the graph of a checkpoint: ONNX whose inputs are the image and the weights.

    data = export(network, tensors, same)

Weights are inputs while it is traced, not parameters: the exporter then cannot merge, fold or rename them,
and the graph names the file's own tensors. What depends on sizes alone is computed when it is exported.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from impatient_ros.checkpoint.graph import boundary, logits
from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.tracing import undisturbed

if TYPE_CHECKING:
    import onnx

__all__ = ['ExportError', 'export', 'lent']

_OPSET = 17
_SIZES = (Tensor.size, Tensor.shape.__get__)  # type: ignore[attr-defined]  # as modes see them
_LARGEST_CONSTANT = 4096  # elements; what is computed from sizes alone is small, masks of attention are not


class ExportError(RuntimeError):
    """The network cannot be written as ONNX; the message says why."""


def export(network: ImpatientNetwork, tensors: Mapping[str, Tensor], same: Mapping[str, str]) -> bytes:
    """The graph for one image, float32 [1, 3, H, W], serialised. Raises ExportError.

    `tensors` are the weights by name, each once; `same` says which other names stand for which of them.
    """
    weights = {name: each.float() if each.is_floating_point() else each for name, each in tensors.items()}
    outputs = [name for t in range(len(network.stages)) for name in (boundary(t + 1), logits(t))]
    buffer = io.BytesIO()
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    try:
        import onnx  # here: loading a network takes parts of this module, and no onnx
        from onnx import TensorProto, helper

        # The operator that eval() uses for attention has no ONNX form.
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad(), warnings.catch_warnings(), undisturbed(network):
            warnings.simplefilter('ignore')
            functional = _Functional(network, [*weights], same)
            torch.onnx.export(
                functional,
                (torch.zeros(1, *network.input_shape), *weights.values()),
                buffer,  # type: ignore[arg-type]
                input_names=[boundary(0), *weights],
                output_names=outputs,
                opset_version=_OPSET,
                # By tracing: half a second where the one by torch.export takes five.
                dynamo=False,
            )
        model = onnx.load_model_from_string(buffer.getvalue())
        shapes = zip(outputs, functional.shapes, strict=True)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes]
        _replace(model.graph.output, values)
        _fold(model)
    except Exception as error:
        reason = str(error).strip().split('\n', 1)[0] or type(error).__name__
        raise ExportError(f'torch cannot export this network: {reason}') from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
    used = {name for node in model.graph.node for name in node.input}
    _replace(model.graph.input, [each for each in model.graph.input if each.name in used])
    return model.SerializeToString(deterministic=True)


class _Functional(nn.Module):
    """The network as a function of image and weights; gives boundaries' tensors and scores in turn."""

    def __init__(self, network: ImpatientNetwork, names: list[str], same: Mapping[str, str]) -> None:
        super().__init__()
        self._network = (network,)  # in a tuple it is no submodule, its parameters are none of this module
        self._names = names
        self._same = same
        self.shapes: list[tuple[int, ...]] = []  # of what it returned last
        self.eval()

    def forward(self, image: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        (network,) = self._network
        given = dict(zip(self._names, weights, strict=True))
        given |= {alias: given[name] for alias, name in self._same.items()}
        outputs = []
        with lent(network, given), _PlainSizes():
            for stage, head in zip(network.stages, network.exits, strict=True):
                image = stage(image)
                outputs += [image, head(image)]
        self.shapes = [tuple(int(side) for side in each.shape) for each in outputs]
        return tuple(outputs)


class _PlainSizes(TorchFunctionMode):
    """Sizes are plain numbers while the exporter looks on.

    It would write what a forward computes from them into the graph, and its division rounds negative numbers
    the other way (seen in 2.14), so that padding by -(-side // 2) would be wrong at odd sizes.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        value = func(*args, **(kwargs or {}))
        if func in _SIZES:
            return torch.Size(map(int, value)) if isinstance(value, tuple) else int(value)
        return value


@contextmanager
def lent(network: nn.Module, tensors: Mapping[str, Tensor], device: str = 'cpu') -> Iterator[None]:
    """Lets the network compute with `tensors` for a while, and on `device` with what is not among them."""
    before = []
    for path, module in network.named_modules(remove_duplicate=False):
        prefix = f'{path}.' if path else ''
        for own in (module._parameters, module._buffers):
            for name, old in own.items():
                if old is not None:
                    before.append((own, name, old))
                    given = tensors.get(prefix + name)
                    own[name] = old.detach().to(device) if given is None else given  # type: ignore[assignment]
    try:
        yield
    finally:
        for own, name, old in reversed(before):
            own[name] = old


def _fold(model: onnx.ModelProto) -> None:
    """Compute now what depends on sizes alone, so that whoever reads the graph knows every size."""
    import onnx
    from onnx import helper, numpy_helper

    progress = True
    while progress:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        shapes = {
            each.name: tuple(side.dim_value for side in each.type.tensor_type.shape.dim)
            for each in (*inferred.input, *inferred.value_info, *inferred.output)
            if all(side.HasField('dim_value') for side in each.type.tensor_type.shape.dim)
        }
        folded: list[onnx.NodeProto] = []
        rest: list[onnx.NodeProto] = []
        known = {''}
        progress = False
        for node in model.graph.node:
            small = all(
                prod(shapes.get(name, (_LARGEST_CONSTANT + 1,))) <= _LARGEST_CONSTANT for name in node.output
            )
            if node.op_type == 'Shape' and node.input[0] in shapes and not node.attribute:
                shape = np.array(shapes[node.input[0]], np.int64)
                node = helper.make_node('Constant', [], node.output, value=numpy_helper.from_array(shape))
                progress = True
            elif node.op_type != 'Constant' and known.issuperset(node.input) and small:
                progress = True
            elif node.op_type != 'Constant':
                rest.append(node)
                continue
            folded.append(node)
            known.update(node.output)
        wanted = {name for node in rest for name in node.input} | {each.name for each in model.graph.output}
        _replace(model.graph.node, [*_computed(model, folded, sorted(wanted & known - {''})), *rest])


def _computed(model: onnx.ModelProto, nodes: list[onnx.NodeProto], names: list[str]) -> list[onnx.NodeProto]:
    """The values `names`, which `nodes` compute from nothing, as constants."""
    import onnx
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    if not names:
        return []
    outputs = [onnx.ValueInfoProto(name=name) for name in names]
    graph = helper.make_graph(nodes, 'sizes', [], outputs)
    sizes = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    values = ReferenceEvaluator(sizes).run(None, {})
    return [
        helper.make_node('Constant', [], [name], value=numpy_helper.from_array(np.asarray(value)))
        for name, value in zip(names, values, strict=True)
    ]


def _replace(field: Any, values: Iterable[Any]) -> None:
    kept = list(values)
    del field[:]
    field.extend(kept)
