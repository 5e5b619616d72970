"""Stages on ONNX Runtime, on the CPU: a session per piece of the graph. Needs no torch.

The second choice. With two threads OpenVINO is faster; with one, ONNX Runtime was 2 to 20 % faster in places
(test/benchmark/results/runtimes). It is a package more, so it is used where somebody has installed it and
asks for it, or where it is measured to be faster, or where OpenVINO does not work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from impatient_ros.runtime.base import RuntimeUnavailableError
from impatient_ros.runtime.machine import process_memory
from impatient_ros.runtime.memory_limit import prepare_within
from impatient_ros.runtime.packages import import_package
from impatient_ros.runtime.pieces import Piece, PieceRuntime, pieces

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
        graphs: the whole network, at each resolution, ascending.
        threads: how many compute; 0: one. Every session has threads of its own, which a boundary waits for.
        memory_limit: MiB that the network may take; resolutions beyond it are left out. 0: none.
        precision: 'f32', or 'int8' where `graphs` are quantised.

    Raises:
        RuntimeUnavailableError: the package is missing, or it refuses the network.
    """

    name = 'onnxruntime'
    device = 'cpu'

    def __init__(
        self,
        graphs: Sequence[Graph],
        *,
        threads: int = 0,
        memory_limit: float = 0.0,
        precision: str = 'f32',
    ) -> None:
        self._onnxruntime = import_package('onnxruntime', "runtime 'onnxruntime'", 'write runtime openvino')
        self.precision = precision
        self.exits = graphs[-1].exits
        by_side = {graph.input_shape[1]: graph for graph in graphs}
        self.sides = tuple(by_side)
        self.threads = threads or 1
        self._options = self._onnxruntime.SessionOptions()
        self._options.intra_op_num_threads, self._options.inter_op_num_threads = self.threads, 1
        self._options.log_severity_level = 3
        self._options.add_session_config_entry('session.intra_op.spin_duration_us', SPIN_US)
        # By resolution, and kind and index of the piece: the session, its input's name, the piece.
        self._sessions: dict[int, dict[tuple[str, int], tuple[Any, str, Piece]]] = {}
        self._current: dict[tuple[str, int], tuple[Any, str, Piece]] = {}  # of the frame's resolution
        try:
            self.sides = prepare_within(
                memory_limit,
                self.sides,
                lambda sides: self._prepare({side: by_side[side] for side in sides}),
                before=process_memory(),
            )
        except RuntimeUnavailableError:
            raise
        except Exception as error:  # its own types, which are no public ones
            raise RuntimeUnavailableError(
                f"runtime 'onnxruntime' cannot run this network ({error}); write runtime openvino"
            ) from error

    def upload(self, image: np.ndarray) -> np.ndarray:
        self._current = self._sessions[self.side(image.shape[2])]
        return image

    def execute(self, kind: str, index: int, value: Any) -> tuple[Any, np.ndarray]:
        session, entry, piece = self._current[kind, index]
        found = session.run(piece.outputs, {entry: value})
        return found[0] if piece.features else None, found[-1][0] if piece.scores else NOTHING

    def _prepare(self, graphs: Mapping[int, Graph]) -> None:
        """Sessions for exactly these resolutions; those that are there already stay."""
        for side in set(self._sessions) - set(graphs):
            del self._sessions[side]
        for side in set(graphs) - set(self._sessions):
            self._add(side, graphs[side])

    def _add(self, side: int, graph: Graph) -> None:
        sessions = self._sessions[side] = {}
        for piece in pieces(self.exits):
            model = graph.part(piece.source, piece.outputs).SerializeToString()
            session = self._onnxruntime.InferenceSession(
                model, self._options, providers=['CPUExecutionProvider']
            )
            sessions[piece.kind, piece.index] = session, session.get_inputs()[0].name, piece
        wrong = self.disagreement((1, *graph.input_shape))
        if wrong:
            raise RuntimeUnavailableError(
                f"runtime 'onnxruntime' computes wrongly here: {wrong}; write runtime openvino"
            )

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            'threads': self.threads,
            'onnxruntime': self._onnxruntime.__version__,
        }
