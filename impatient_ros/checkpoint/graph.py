"""A checkpoint's computation graph: the whole network with all its exits, as ONNX without its weights.

    graph.part(0, ['logits_0'])                     # from the image to the first exit's scores
    graph.part(1, [boundary(2), logits(1)])         # the second stage and its head

The stored model is one of ONNX whose inputs are the image and every weight, by the names that the file's own
tensors have; its outputs are in turn what each stage returns and the scores of its exit. Nothing of it is
trusted: `graph_check` looks at all of it first. Knows NumPy and onnx, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from impatient_ros.checkpoint.container import CheckpointError

if TYPE_CHECKING:
    import onnx

__all__ = ['Graph', 'boundary', 'logits']

_LARGEST_MESSAGE = (1 << 31) - (1 << 20)  # bytes; protobuf's limit is 2 GB, the nodes take a part of it


def boundary(position: int) -> str:
    """The tensor at a stage boundary: what is there after `position` stages."""
    return 'image' if position == 0 else f'features_{position - 1}'


def logits(exit_index: int) -> str:
    """The tensor with the scores of an exit, [1, classes]."""
    return f'logits_{exit_index}'


class Graph:
    """The computation of a staged network for one image, float32 [1, 3, H, W], and the weights it uses.

    `weights` are the file's tensors by name. A graph that was read from a file has been checked; see
    `impatient_ros.checkpoint.graph_check`.
    """

    def __init__(self, model: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]) -> None:
        self.model = model
        self.weights = weights
        self._values = {each.name: each for each in (*model.graph.input, *model.graph.output)}
        self._nodes = list(model.graph.node)
        self._makers = {name: index for index, node in enumerate(self._nodes) for name in node.output}
        self._constants = {each.name: each for each in model.graph.initializer}

    @property
    def exits(self) -> int:
        """T, the number of exits."""
        return len(self.model.graph.output) // 2

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (3, H, W)."""
        return self.shape(boundary(0))[1:]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the image, a boundary's tensor or scores, with the leading 1 of the batch."""
        return tuple(dim.dim_value for dim in self._values[name].type.tensor_type.shape.dim)

    def part(self, source: int, outputs: Sequence[str]) -> onnx.ModelProto:
        """A model of its own, weights included: `outputs` from what is there after `source` stages.

        Raises CheckpointError where they cannot be computed from it alone, or where the weights exceed what
        one message of protobuf can hold.
        """
        from onnx import helper, numpy_helper

        start = boundary(source)
        nodes, weights, constants = self._needed(start, outputs)
        size = sum(self.weights[name].nbytes for name in weights)
        if size > _LARGEST_MESSAGE:
            raise CheckpointError(
                f'its graph: {size / 1e9:.1f} GB of weights from {start} to {outputs[-1]}, an ONNX model '
                'holds 2 GB; use the network in torch (device cuda or runtime eager)'
            )
        tensors = [numpy_helper.from_array(self.weights[name], name) for name in weights]
        graph = helper.make_graph(
            nodes,
            outputs[-1],
            [self._values[start]],
            [self._values[name] for name in outputs],
            [*tensors, *(self._constants[name] for name in constants)],
        )
        return helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )

    def used(self) -> set[str]:
        """The names of all weights that the outputs depend on. Raises CheckpointError as `part` does."""
        names: set[str] = set()
        for t in range(self.exits):
            for start, end in ((boundary(t), boundary(t + 1)), (boundary(t + 1), logits(t))):
                names.update(self._needed(start, [end])[1])
        return names

    def _needed(
        self, start: str, outputs: Iterable[str]
    ) -> tuple[list[onnx.NodeProto], list[str], list[str]]:
        """The nodes that compute `outputs` from `start`, in order, and their weights and constants."""
        makers: set[int] = set()
        weights, constants, seen = [], [], {start, ''}
        waiting = list(outputs)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.weights:
                weights.append(name)
            elif name in self._constants:
                constants.append(name)
            elif name in self._makers:
                makers.add(self._makers[name])
                waiting += self._nodes[self._makers[name]].input
            else:
                raise CheckpointError(
                    f'its graph: {name[:60]} is needed beside {start} to compute {", ".join(outputs)}'
                )
        return [self._nodes[index] for index in sorted(makers)], weights, constants
