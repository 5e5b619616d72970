"""Stages on OpenVINO: every piece of the network compiled once, tensors passed on without copies."""

from __future__ import annotations

import logging
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impatient_ros.runtime.base import Run, Runtime, RuntimeUnavailableError
from impatient_ros.runtime.machine import processor_name, usable_cores
from impatient_ros.checkpoint.graph import boundary, logits
from impatient_ros.runtime.openvino.pieces import Key, feature_shapes, pieces
from impatient_ros.runtime.packages import import_package
from impatient_ros.runtime.thread_choice import faster_with_several

if TYPE_CHECKING:
    from impatient_ros.checkpoint.graph import Graph

__all__ = ['OpenVinoRuntime', 'compiled_cache']

# How far the scores of one exit may differ between the ways to it, relative to the largest. Single precision
# is used everywhere; fusing and blocking in another order rounds differently (1e-6 and less was seen).
TOLERANCE = 1e-4
NOTHING = np.empty((1, 0), np.float32)
KEPT = 8  # checkpoints; compiled pieces take about five times the space of the weights

_log = logging.getLogger(__name__)


class OpenVinoRuntime(Runtime):
    """Runs the pieces of a network's graph, compiled for this machine.

    One frame is on its way at a time: features and scores have fixed places, which the next run overwrites.
    The calling thread computes, together with OpenVINO's one pool of threads; they sleep between runs.

    Args:
        graph: the whole network.
        device: 'cpu', or 'igpu' for Intel's integrated GPU.
        threads: how many compute on the CPU; 0: as many as there are cores to use, or one where that is as
            fast (see `thread_choice`).
        cache: folder for compiled pieces of exactly this graph; None: compiled at every start.

    Raises:
        RuntimeUnavailableError: the package or the device is missing, or OpenVINO refuses the network.
    """

    name = 'openvino'

    def __init__(
        self, graph: Graph, device: str = 'cpu', *, threads: int = 0, cache: Path | None = None
    ) -> None:
        self._openvino = import_package('openvino', "runtime 'openvino'", 'write runtime eager')
        self.device = device
        self.exits = graph.exits
        self._shape = (1, *graph.input_shape)
        self._core = self._openvino.Core()
        self._target = self._integrated_gpu() if device == 'igpu' else 'CPU'
        try:
            outputs = [name for t in range(self.exits) for name in (boundary(t + 1), logits(t))]
            whole = self._core.read_model(graph.part(0, outputs).SerializeToString())
            self._features = [self._tensor(shape)[1] for shape in feature_shapes(whole, self.exits)]
            self.threads = 1 if device == 'igpu' else threads or self._measured_threads(whole, cache)
            self._compile(whole, cache)
        except RuntimeUnavailableError:
            raise
        except (RuntimeError, ValueError) as error:  # what OpenVINO and the graph raise
            raise RuntimeUnavailableError(
                f"runtime 'openvino' cannot run this network ({_first_line(error)}); write runtime eager"
            ) from error

    def upload(self, image: np.ndarray) -> Any:
        # OpenVINO reads from the array itself.
        return self._openvino.Tensor(np.require(image, np.float32, ('C', 'W')), shared_memory=True)

    def stage(self, index: int, features: Any) -> Any:
        self._execute('stage', index, features)
        return self._features[index]

    def exit(self, index: int, features: Any) -> np.ndarray:
        return self._execute('exit', index, features)

    def stage_exit(self, index: int, features: Any) -> tuple[Any, np.ndarray]:
        """Stage `index` and the scores of its exit in one go: features, and logits float32 [classes]."""
        scores = self._execute('stage_exit', index, features)
        return self._features[index], scores

    def path(self, index: int, image: Any) -> np.ndarray:
        """Everything from an uploaded image to the logits of exit `index`, float32 [classes]."""
        return self._execute('path', index, image)

    def _execute(self, kind: str, index: int, value: Any) -> np.ndarray:
        """Execute a piece on an uploaded image or on features; returns its scores, memory of their own."""
        request, scores, given = self._prepared[kind, index]
        if value is not given:  # an image; features are where they always are
            request.set_input_tensor(0, value)
        request.infer(share_outputs=True)
        return scores[0].copy()

    def start(self, image: np.ndarray) -> Run:
        return _FusedRun(self, image)

    def describe(self) -> dict[str, Any]:
        return {
            'runtime': self.name,
            'device': self.device,
            'machine': platform.machine(),
            'processor': processor_name(),
            'cores': os.cpu_count(),
            'threads': self.threads,
            'openvino': self._openvino.__version__,
            'target': self._core.get_property(self._target, 'FULL_DEVICE_NAME'),
        }

    def _integrated_gpu(self) -> str:
        for name in self._core.available_devices:
            if name.startswith('GPU') and 'INTEGRATED' in str(self._core.get_property(name, 'DEVICE_TYPE')):
                return name
        raise RuntimeUnavailableError(
            f"device 'igpu': OpenVINO finds no integrated GPU of Intel's here, only "
            f'{", ".join(self._core.available_devices)}; install its OpenCL driver (intel-opencl-icd) and allow '
            'access to /dev/dri, or write device cpu'
        )

    def _options(self, threads: int, cache: Path | None = None) -> dict[str, Any]:
        options: dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY',
            'NUM_STREAMS': '1',
            'INFERENCE_PRECISION_HINT': 'f32',
        }
        if self.device == 'cpu':
            options['INFERENCE_NUM_THREADS'] = threads
            # Pinned threads cannot move away from other work: beside two busy workers the default model took
            # 10.2 ms pinned and 4.4 ms free (median, two threads on two cores).
            options['ENABLE_CPU_PINNING'] = False
            if threads == 1:
                # No stream: the calling thread computes alone, and no piece gets a thread of its own.
                options['NUM_STREAMS'] = '0'
        if cache is not None:
            options['CACHE_DIR'] = str(cache)
        return options

    def _measured_threads(self, whole: Any, cache: Path | None) -> int:
        """All cores that may be used, or one thread where several do not make frames clearly faster."""
        cores = usable_cores()
        if cores == 1:
            return 1
        last = dict(pieces(whole, self.exits))['path', self.exits - 1]
        image = self.upload(np.zeros(self._shape, np.float32))

        def frame(threads: int) -> Callable[[], object]:
            compiled = self._core.compile_model(last, self._target, self._options(threads, cache))
            request = compiled.create_infer_request()
            request.set_input_tensor(0, image)
            request.infer()  # the first one allocates
            return lambda: request.infer(share_outputs=True)

        return cores if faster_with_several(frame(1), frame(cores)) else 1

    def _compile(self, whole: Any, cache: Path | None) -> None:
        self._prepare(whole, cache)
        way = self._disagreement()
        if way and cache is not None:
            # OpenVINO notices a cached file that is cut off, not one whose weights have changed on the disk.
            _log.warning('the compiled network in %s is of no use and is made anew: %s', cache, way)
            shutil.rmtree(cache, ignore_errors=True)
            self._prepare(whole, cache)
            way = self._disagreement()
        if way:
            raise RuntimeUnavailableError(
                f"runtime 'openvino' computes wrongly here: {way}; write runtime eager"
            )

    def _prepare(self, whole: Any, cache: Path | None) -> None:
        """Compile the pieces and give each its tensors."""
        self._prepared: dict[Key, tuple[Any, np.ndarray, Any]] = {}  # request, its scores and its input
        options = self._options(self.threads, cache)
        for (kind, t), piece in pieces(whole, self.exits):
            request = self._core.compile_model(piece, self._target, options).create_infer_request()
            source = t + 1 if kind == 'exit' else 0 if kind == 'path' else t
            given = self._features[source - 1] if source else None
            if given is not None:
                request.set_input_tensor(0, given)
            scores = NOTHING
            if kind.startswith('stage'):
                request.set_output_tensor(0, self._features[t])
            if kind != 'stage':
                last = len(piece.outputs) - 1
                scores, tensor = self._tensor(piece.output(last).get_shape())
                request.set_output_tensor(last, tensor)
            self._prepared[kind, t] = request, scores, given

    def _tensor(self, shape: Any) -> tuple[np.ndarray, Any]:
        """Memory for a result, as an array and as a tensor of OpenVINO's."""
        tensor = self._openvino.Tensor(self._openvino.Type.f32, list(shape))
        return tensor.data, tensor

    def _disagreement(self) -> str:
        """Compare the ways to every exit on a random image, which warms all pieces up; '' if they agree."""
        image = self.upload(np.random.default_rng(0).normal(size=self._shape))
        features = image
        for t in range(self.exits):
            wanted = self.path(t, image)
            fused, scores = self.stage_exit(t, features)
            ways = {'stage and exit in one go': scores, 'stage_exit, then exit': self.exit(t, fused)}
            features = self.stage(t, features)
            ways['stage, then exit'] = self.exit(t, features)
            for way, scores in ways.items():
                difference = float(np.abs(scores - wanted).max())
                if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
                    return f'exit {t + 1}, {way}, differs by {difference:.2g} from the path to it'
        return ''


def compiled_cache(digest: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder for what is compiled from the weights with that digest; None where nothing can be kept.

    In the user's cache; those of the least recently used checkpoints are deleted.
    """
    base = environ.get('XDG_CACHE_HOME') or (environ.get('HOME') and os.path.join(environ['HOME'], '.cache'))
    if digest is None or not base:
        return None
    folder = Path(base) / 'impatient_ros' / 'openvino' / digest[:24]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.touch()
        others = sorted(folder.parent.iterdir(), key=lambda each: each.stat().st_mtime)
    except OSError:
        return None
    for old in others[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


class _FusedRun(Run):
    """Executes a whole contract path, or a stage with its head, in one go where it is told what comes."""

    _runtime: OpenVinoRuntime

    def __init__(self, runtime: OpenVinoRuntime, image: np.ndarray) -> None:
        super().__init__(runtime, image)
        self._scores: np.ndarray | None = None

    @property
    def ready(self) -> bool:
        return self._scores is not None

    def stage(self, toward: int | None = None, then: int | None = None) -> None:
        self._scores = None
        if toward is not None and toward == self.position:
            self._features, self._scores = self._runtime.stage_exit(toward, self._features)
        elif toward is not None and self.position == 0:
            self._scores = self._runtime.path(toward, self._features)
            self._features = None  # a path leaves no features behind
            self.position = toward
        else:
            super().stage()
            return
        self.position += 1

    def exit(self) -> np.ndarray:
        if self._scores is None:
            return super().exit()
        scores, self._scores = self._scores, None
        return scores


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
