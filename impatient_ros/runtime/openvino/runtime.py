"""Stages on OpenVINO: every piece compiled for several resolutions, tensors passed on without copies."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from impatient_ros.cache import CacheFile, cache_folder
from impatient_ros.checkpoint.graph import boundary
from impatient_ros.runtime.base import RunCancelledError, RuntimeUnavailableError
from impatient_ros.runtime.machine import process_memory, usable_cores
from impatient_ros.runtime.memory_limit import prepare_within
from impatient_ros.runtime.openvino.branches import Branch, compile_joined, groups
from impatient_ros.runtime.openvino.capabilities import integrated_gpu, openvino_core, openvino_package
from impatient_ros.runtime.openvino.cutting import cut
from impatient_ros.runtime.openvino.models import read_model, read_sharing
from impatient_ros.runtime.pieces import Piece, PieceRuntime
from impatient_ros.runtime.precision import TOLERANCES
from impatient_ros.runtime.thread_choice import faster_with_several

if TYPE_CHECKING:
    from impatient_ros.checkpoint.graph import Graph

__all__ = ['OpenVinoRuntime', 'compiled_cache']

NOTHING = np.empty((1, 0), np.float32)
NOWHERE = CacheFile(None, 1)  # keeps nothing
# How far scores may differ from the checkpoint's, relative to the largest: a GPU sums in another order.
FROM_GRAPH = 1e-3
KEPT = 8  # checkpoints; compiled pieces take about five times the space of the weights

_log = logging.getLogger(__name__)


class _Prepared(NamedTuple):
    """A compiled piece at one resolution and the tensors that it reads and writes.

    Attributes:
        request: executes it.
        entry: which of its inputs is the piece's.
        given: the features that it reads, set once; None: it reads an image, a new one for every frame.
        features: where it leaves features, if it makes any.
        scores: where it leaves scores; empty: it makes none.
    """

    request: Any
    entry: int
    given: Any
    features: Any
    scores: np.ndarray


class OpenVinoRuntime(PieceRuntime):
    """Runs the pieces of a network's graph, compiled for this machine.

    Features and scores have fixed places, which the next run overwrites.
    The calling thread computes, together with OpenVINO's one pool of threads; they sleep between runs.
    Another one may cancel it, between two operators: joined models (see `branches`) are one to their end.

    Args:
        graphs: the whole network, at each resolution, ascending.
        device: 'cpu', or 'igpu' for Intel's integrated GPU.
        threads: how many compute on the CPU; 0: as many as there are cores to use, or one where that is as
            fast (see `thread_choice`).
        choice: that number is read from it, or measured and written into it.
        precision: one that is native, which OpenVINO does not check; 'int8' is what `graphs` are themselves.
        cache: folder for compiled pieces of exactly this network; None: compiled at every start. On the CPU
            several resolutions do without: what comes from the cache takes 250 MiB more for the default
            model and saves half a second (test/benchmark/results/runtimes).
        memory_limit: MiB that the network may take; resolutions beyond it are left out. 0: none.

    Raises:
        RuntimeUnavailableError: the package or the device is missing, or OpenVINO refuses the network.
    """

    name = 'openvino'

    def __init__(
        self,
        graphs: Sequence[Graph],
        device: str = 'cpu',
        *,
        threads: int = 0,
        precision: str = 'f32',
        choice: CacheFile = NOWHERE,
        cache: Path | None = None,
        memory_limit: float = 0.0,
    ) -> None:
        self._openvino = openvino_package()
        self.device = device
        self.precision = precision
        self.exits = graphs[-1].exits
        self.sides = tuple(graph.input_shape[1] for graph in graphs)
        self._core = openvino_core()
        self._target = integrated_gpu(self._core) if device == 'igpu' else 'CPU'
        self._cache = cache if device == 'igpu' or len(graphs) == 1 else None
        # By resolution: by kind and index of the piece.
        self._prepared: dict[int, dict[tuple[str, int], _Prepared]] = {}
        self._current: dict[tuple[str, int], _Prepared] = {}  # of the frame's resolution
        self._running: Any = None  # the request that is being executed
        self._cancelled = False  # whether that was cancelled
        before = process_memory()
        try:
            read = (
                [read_model(self._core, graphs[0])] if len(graphs) == 1 else read_sharing(self._core, graphs)
            )
            wholes = dict(zip(self.sides, zip(graphs, read, strict=True), strict=True))
            self.threads = (
                1 if device == 'igpu' else threads or self._chosen_threads(choice, *wholes[self.sides[-1]])
            )
            self.sides = prepare_within(
                memory_limit,
                self.sides,
                lambda sides: self._compile({side: wholes[side] for side in sides}),
                before=before,
            )
        except RuntimeUnavailableError:
            raise
        except (RuntimeError, ValueError) as error:  # what OpenVINO and the graph raise
            raise RuntimeUnavailableError(
                f"runtime 'openvino' cannot run this network ({_first_line(error)}); write runtime eager"
            ) from error

    def upload(self, image: np.ndarray) -> Any:
        self._current = self._prepared[self.side(image.shape[2])]
        return self._shared(image)

    def execute(self, kind: str, index: int, value: Any) -> tuple[Any, np.ndarray]:
        request, entry, given, features, scores = self._current[kind, index]
        if value is not given:  # an image; features are where they always are
            request.set_input_tensor(entry, value)
        self._cancelled, self._running = False, request
        try:
            # `cancel` ends this as it ends an asynchronous call.
            request.infer(share_outputs=True)
        except RuntimeError as error:
            if not self._cancelled:
                raise
            raise RunCancelledError(index + 1, scores=kind != 'stage') from error
        finally:
            self._running = None
        return features, scores[0].copy()

    def cancel(self) -> None:
        if (request := self._running) is not None:
            self._cancelled = True
            request.cancel()

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            'threads': self.threads,
            'openvino': self._openvino.__version__,
            'target': self._core.get_property(self._target, 'FULL_DEVICE_NAME'),
        }

    def _options(self, threads: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY',
            'NUM_STREAMS': '1',
            # Which layers are int8 the graph says; the others stay in f32.
            'INFERENCE_PRECISION_HINT': 'f32' if self.precision == 'int8' else self.precision,
        }
        if self.device == 'cpu':
            options['INFERENCE_NUM_THREADS'] = threads
            # Pinned threads cannot move away from other work: beside two busy workers the default model took
            # 10.2 ms pinned and 4.4 ms free (median, two threads on two cores).
            options['ENABLE_CPU_PINNING'] = False
            if threads == 1:
                # No stream: the calling thread computes alone, and no piece gets a thread of its own.
                options['NUM_STREAMS'] = '0'
        if self._cache is not None:
            options['CACHE_DIR'] = str(self._cache)
        return options

    def _chosen_threads(self, choice: CacheFile, graph: Graph, whole: Any) -> int:
        """All cores that may be used, or one thread where several do not make frames clearly faster."""
        cores = usable_cores()
        if cores == 1:
            return 1
        chosen = choice.read(lambda content: int(json.loads(content)['threads']))
        if chosen is None:
            chosen = cores if self._several_are_faster(cores, graph, whole) else 1
            choice.write(json.dumps({'threads': chosen}).encode())
        return chosen

    def _several_are_faster(self, cores: int, graph: Graph, whole: Any) -> bool:
        last = [model for piece, model in cut(whole, self.exits) if not piece.source and piece.scores][-1]
        image = self._shared(np.zeros((1, *graph.input_shape), np.float32))

        def frame(threads: int) -> Callable[[], object]:
            compiled = self._core.compile_model(last, self._target, self._options(threads))
            request = compiled.create_infer_request()
            request.set_input_tensor(0, image)
            request.infer()  # the first one allocates
            return lambda: request.infer(share_outputs=True)

        return faster_with_several(frame(1), frame(cores))

    def _compile(self, wholes: Mapping[int, tuple[Graph, Any]]) -> None:
        """Prepare exactly these resolutions, and check that they compute rightly, which warms them up."""
        self._prepare(wholes)
        way = self._disagreement(wholes) or self._difference_from_graph(wholes)
        if way and self._cache is not None:
            # OpenVINO notices a cached file that is cut off, not one that computes something else.
            _log.warning('the compiled network in %s is of no use and is made anew: %s', self._cache, way)
            shutil.rmtree(self._cache, ignore_errors=True)
            self._prepare(wholes)
            way = self._disagreement(wholes)
        if way:
            raise RuntimeUnavailableError(
                f"runtime 'openvino' computes wrongly here: {way}; write runtime eager"
            )

    def _disagreement(self, wholes: Mapping[int, tuple[Graph, Any]]) -> str:
        found = (self.disagreement((1, *graph.input_shape)) for graph, _ in wholes.values())
        return next(filter(None, found), '')

    def _difference_from_graph(self, wholes: Mapping[int, tuple[Graph, Any]]) -> str:
        """How what comes from the cache differs from the checkpoint, compiled without it; '' if not.

        On a random image that nobody can know beforehand. All pieces agree by then: one way is enough.
        """
        if self._cache is None or not self._from_cache():
            return ''
        for graph, whole in wholes.values():
            image = np.random.default_rng().normal(size=(1, *graph.input_shape)).astype(np.float32)
            results = self._core.compile_model(whole, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})(image)
            value: Any = self.upload(image)
            for t in range(self.exits):
                value, scores = self.execute('stage_exit', t, value)
                wanted = results[self.exits + t]
                difference = float(np.abs(scores - wanted).max())
                if not difference <= max(FROM_GRAPH, TOLERANCES[self.precision]) * max(
                    1.0, float(np.abs(wanted).max())
                ):
                    return f'exit {t + 1} differs by {difference:.2g} from the checkpoint'
        return ''

    def _from_cache(self) -> bool:
        """Whether any piece was not compiled now."""
        return any(
            piece.request.get_compiled_model().get_property('LOADED_FROM_CACHE')
            for pieces in self._prepared.values()
            for piece in pieces.values()
        )

    def _prepare(self, wholes: Mapping[int, tuple[Graph, Any]]) -> None:
        """Compile every piece and give it its tensors, for each resolution."""
        self._prepared, self._current = {}, {}  # what there was is freed first
        self._prepared = {side: {} for side in wholes}
        sides = list(wholes)
        # Joined on the CPU alone, where that was measured.
        for together in groups(sides) if self.device == 'cpu' else [(side,) for side in sides]:
            boundaries = [
                [self._tensor(wholes[side][0].shape(boundary(t + 1)))[1] for t in range(self.exits - 1)]
                for side in together
            ]
            for cuts in zip(*(cut(wholes[side][1], self.exits) for side in together), strict=True):
                piece = cuts[0][0]
                branches = compile_joined(self._compile_model, [model for _, model in cuts])
                for side, branch, given in zip(together, branches, boundaries, strict=True):
                    prepared = self._with_tensors(piece, branch, given)
                    self._prepared[side][piece.kind, piece.index] = prepared

    def _compile_model(self, model: Any) -> Any:
        return self._core.compile_model(model, self._target, self._options(self.threads))

    def _with_tensors(self, piece: Piece, branch: Branch, boundaries: Sequence[Any]) -> _Prepared:
        request, entry, outputs = branch
        given, features, scores = None, None, NOTHING
        if piece.source:
            given = boundaries[piece.source - 1]
            request.set_input_tensor(entry, given)
        if piece.features:
            features = boundaries[piece.index]
            request.set_output_tensor(min(outputs), features)
        if piece.scores:
            last = max(outputs)
            scores, tensor = self._tensor(outputs[last])
            request.set_output_tensor(last, tensor)
        return _Prepared(request, entry, given, features, scores)

    def _shared(self, image: np.ndarray) -> Any:
        """A tensor that reads from the array itself."""
        return self._openvino.Tensor(np.require(image, np.float32, ('C', 'W')), shared_memory=True)

    def _tensor(self, shape: Any) -> tuple[np.ndarray, Any]:
        """Memory for a result, as an array and as a tensor of OpenVINO's."""
        tensor = self._openvino.Tensor(self._openvino.Type.f32, list(shape))
        return tensor.data, tensor


def compiled_cache(digest: str | None) -> Path | None:
    """The folder for what is compiled from the weights with that digest; None where nothing can be kept."""
    return None if digest is None else cache_folder('openvino', {'checkpoint': digest}, keep=KEPT)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
