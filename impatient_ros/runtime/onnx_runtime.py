"""Stages on ONNX Runtime, on the CPU: a session per piece of the graph. Needs no torch.

The second choice. With two threads OpenVINO is faster; with one, ONNX Runtime was 2 to 20 % faster in places
(test/benchmark/results/runtimes). It is a package more, so it is used where somebody has installed it and
asks for it, or where OpenVINO does not work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from impatient_ros.runtime.base import RuntimeUnavailableError
from impatient_ros.runtime.packages import import_package
from impatient_ros.runtime.pieces import PieceRuntime, pieces

if TYPE_CHECKING:
    from impatient_ros.checkpoint.graph import Graph

__all__ = ['OnnxRuntime']

# Microseconds that a worker thread looks for work before it sleeps: ONNX Runtime's default takes 20-40 ms of
# processor time after every frame, and much less than this makes networks of 1 to 3 ms up to twice as slow.
SPIN_US = '200'
NOTHING = np.empty(0, np.float32)


class OnnxRuntime(PieceRuntime):
    """Runs the pieces of a network's graph in sessions of their own.

    Args:
        graph: the whole network.
        threads: how many compute; 0: one. Every session has threads of its own, which a boundary waits for.

    Raises:
        RuntimeUnavailableError: the package is missing, or it refuses the network.
    """

    name = 'onnxruntime'
    device = 'cpu'

    def __init__(self, graph: Graph, *, threads: int = 0) -> None:
        self._onnxruntime = import_package('onnxruntime', "runtime 'onnxruntime'", 'write runtime openvino')
        self.exits = graph.exits
        self.threads = threads or 1
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry('session.intra_op.spin_duration_us', SPIN_US)
        self._sessions = {}
        try:
            for piece in pieces(self.exits):
                model = graph.part(piece.source, piece.outputs).SerializeToString()
                session = self._onnxruntime.InferenceSession(
                    model, options, providers=['CPUExecutionProvider']
                )
                self._sessions[piece.kind, piece.index] = session, session.get_inputs()[0].name, piece
            wrong = self.disagreement((1, *graph.input_shape))
        except Exception as error:  # its own types, which are no public ones
            raise RuntimeUnavailableError(
                f"runtime 'onnxruntime' cannot run this network ({error}); write runtime openvino"
            ) from error
        if wrong:
            raise RuntimeUnavailableError(
                f"runtime 'onnxruntime' computes wrongly here: {wrong}; write runtime openvino"
            )

    def upload(self, image: np.ndarray) -> np.ndarray:
        return image

    def execute(self, kind: str, index: int, value: Any) -> tuple[Any, np.ndarray]:
        session, entry, piece = self._sessions[kind, index]
        found = session.run(piece.outputs, {entry: value})
        return found[0] if piece.features else None, found[-1][0] if piece.scores else NOTHING

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            'threads': self.threads,
            'onnxruntime': self._onnxruntime.__version__,
        }
