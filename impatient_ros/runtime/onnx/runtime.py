"""Stages on ONNX Runtime, on the CPU."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from impatient_ros.runtime.base import Run, Runtime, RuntimeUnavailableError
from impatient_ros.runtime.machine import processor_name
from impatient_ros.runtime.onnx.export import (
    ExportError,
    boundary,
    export_whole,
    feature_shapes,
    logits,
)
from impatient_ros.runtime.onnx.model_cache import model_cache
from impatient_ros.runtime.onnx.shared_weights import Models
from impatient_ros.runtime.onnx.switch import (
    INPUT,
    OUTPUTS,
    SWITCH,
    SWITCHES,
    build_models,
    codes,
    pieces,
)
from impatient_ros.runtime.thread_choice import faster_with_several

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = ['OnnxRuntime', 'onnxruntime_installed']

FORMAT = 6  # of what is cached and of the pieces; part of the keys of caches
# Microseconds that a worker thread looks for work before it sleeps. Within a run, and between two pieces of
# one, work comes within microseconds, after an operation that uses one thread in a hundred or two; waking a
# sleeping thread costs 0.1 ms and more (with 50 us, networks of 1 to 3 ms take 1.3 to 2 times as long). More
# only burns the core that the deadline's thread, or another process or session, could use: ONNX Runtime's
# default takes 20-40 ms of CPU time after every frame.
SPIN_US = '200'
# The first release in which that limit was tried; where it is unknown, threads must not spin at all.
SPIN_LIMIT_SINCE = (1, 32)
# How far ONNX Runtime may be from torch, relative to the largest score.
TOLERANCE = 1e-4
NOTHING = np.empty(0, np.float32)

_log = logging.getLogger(__name__)


def onnxruntime_installed() -> bool:
    """Whether the package can be imported."""
    try:
        import onnxruntime  # noqa: F401
    except Exception:  # noqa: BLE001  a wheel that does not fit this machine fails in ways of its own
        return False
    return True


class OnnxRuntime(Runtime):
    """Runs a network's pieces in ONNX Runtime sessions: one per contract path, and one for the rest; with one
    thread, one per piece.

    What the pieces are, and why so few sessions, says `onnx_switch`.

    Args:
        network: is put into eval(); it must be on the CPU.
        digest: identifies the network's weights; with it the export is kept in the user's cache.
        threads: how many compute; default: as many as torch uses, or one where that is as fast (see
            `thread_choice`).

    Raises:
        RuntimeUnavailableError: the package is missing, or the network cannot be exported faithfully.
    """

    name = 'onnxruntime'
    device = 'cpu'

    def __init__(
        self,
        network: ImpatientNetwork,
        digest: str | None = None,
        *,
        threads: int | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        if not onnxruntime_installed():
            raise RuntimeUnavailableError(
                "runtime 'onnxruntime': the package is not installed; pip install onnxruntime onnx, "
                'or write auto or eager'
            )
        self.exits = len(network.stages)
        self.threads = threads or torch.get_num_threads()
        self._threads_given = threads is not None
        self._shape = (1, *network.input_shape)
        self._feeds = {
            piece: {f'{SWITCHES}{i}': np.array(value) for i, value in enumerate(taken)}
            for piece, taken in codes(self.exits).items()
        }
        try:
            self._open(network.eval(), digest, environ)
        except ExportError as error:
            raise RuntimeUnavailableError(
                f"runtime 'onnxruntime' cannot run this network ({error}); write auto or eager"
            ) from error

    def upload(self, image: np.ndarray) -> np.ndarray:
        return image

    def stage(self, index: int, features: Any) -> np.ndarray:
        return self.execute('stage', index, features)[0]

    def exit(self, index: int, features: Any) -> np.ndarray:
        return self.execute('exit', index, features)[1]

    def execute(self, kind: str, index: int, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Execute a piece of `onnx_switch` on a tensor; features [1, ...] and scores [classes], or empty."""
        own = self._sessions.get((kind, index))
        if own is not None:
            session, piece = own
            found = session.run(piece.outputs, {piece.start: value})
            return found[0] if piece.features else NOTHING, found[-1].reshape(-1) if piece.scores else NOTHING
        feeds = self._feeds[kind, index]
        feeds[INPUT] = value
        features, scores = self._switch.run(OUTPUTS, feeds)
        del feeds[INPUT]
        return features, scores.reshape(-1)

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
            'format': FORMAT,
            **_versions(),
        }

    def _open(self, network: ImpatientNetwork, digest: str | None, environ: Mapping[str, str]) -> None:
        cache = None
        if digest is not None:
            key = {'checkpoint': digest, 'format': FORMAT, 'processor': processor_name(), **_versions()}
            cache = model_cache(key, environ)
            stored = cache.read()
            if stored is not None:
                try:
                    self._load(Models.from_bytes(stored))
                    self._compare(network)
                    return
                except Exception as error:  # noqa: BLE001  ONNX Runtime's own types
                    _log.warning('the export in %s is of no use and is made anew: %s', cache.path, error)
        _log.info('exporting the network for ONNX Runtime (once per checkpoint)')
        models = build_models(export_whole(network), feature_shapes(network))
        try:
            self._load(models)
        except Exception as error:
            raise ExportError(f'ONNX Runtime refuses the export: {error}') from error
        self._compare(network)
        if cache is not None:
            cache.write(models.to_bytes())

    def _load(self, models: Models) -> None:
        """Make the sessions and warm them up; raises what ONNX Runtime raises."""
        import onnxruntime

        # The sessions compute on this memory: it must live as long as they do.
        self._weights = {
            name: (value, onnxruntime.OrtValue.ortvalue_from_numpy(value))
            for name, value in models.weights.items()
        }
        if self.threads > 1 and not self._threads_given:
            self.threads = self._worth_while(models)
        # One thread waits for no other between two sessions; several share the one of the switch.
        self._switch: Any = self._session(models, SWITCH) if self.threads > 1 else None
        self._sessions = {
            (kind, t): (self._session(models, f'{kind}_{t}'), piece)
            for (kind, t), piece in pieces(self.exits).items()
            if kind == 'path' or self._switch is None
        }
        # The first run of a piece allocates and is its slowest by far.
        for _ in range(2):
            self._scores_of_every_exit(np.zeros(self._shape, np.float32), in_one_go=True)
            self._scores_of_every_exit(np.zeros(self._shape, np.float32), in_one_go=False)

    def _worth_while(self, models: Models) -> int:
        """As many threads as were asked for, or one where several do not make frames clearly faster."""
        last, image = self.exits - 1, np.zeros(self._shape, np.float32)

        def frame(threads: int) -> Callable[[], object]:
            session = self._session(models, f'path_{last}', threads)

            def run() -> object:
                return session.run([logits(last)], {boundary(0): image})

            run()  # the first one allocates
            return run

        return self.threads if faster_with_several(frame(1), frame(self.threads)) else 1

    def _session(self, models: Models, name: str, threads: int | None = None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The pieces were optimised one by one.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        release = tuple(int(part) for part in onnxruntime.__version__.split('.')[:2])
        if release >= SPIN_LIMIT_SINCE:
            options.add_session_config_entry('session.intra_op.spin_duration_us', SPIN_US)
        else:
            options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        uses = models.uses[name]
        options.add_external_initializers(uses, [self._weights[each][1] for each in uses])
        return onnxruntime.InferenceSession(models.graphs[name], options, providers=['CPUExecutionProvider'])

    def _scores_of_every_exit(self, image: np.ndarray, *, in_one_go: bool) -> list[np.ndarray]:
        scores, every = [], self.start(image)
        for t in range(self.exits):
            path = self.start(image)
            while path.position <= t:
                path.stage(t if in_one_go else None)
            scores.append(path.exit())
            every.stage(t)
            every.exit()
        return scores

    def _compare(self, network: ImpatientNetwork) -> None:
        """Refuse an export that does not say what torch says."""
        image = np.random.default_rng(0).normal(size=self._shape).astype(np.float32)
        with torch.inference_mode():
            expected = [scores[0].numpy() for scores in network(torch.from_numpy(image))]
        for in_one_go in (True, False):
            found = self._scores_of_every_exit(image, in_one_go=in_one_go)
            for t, (ours, wanted) in enumerate(zip(found, expected, strict=True)):
                difference = float(np.abs(ours - wanted).max())
                if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
                    raise ExportError(f'exit {t + 1} differs from torch by {difference:.2g}')


class _FusedRun(Run):
    """Executes a whole contract path, or a stage with its head, in one go where it is told what comes."""

    _runtime: OnnxRuntime

    def __init__(self, runtime: OnnxRuntime, image: np.ndarray) -> None:
        super().__init__(runtime, image)
        self._scores: np.ndarray | None = None

    @property
    def ready(self) -> bool:
        return self._scores is not None

    def stage(self, toward: int | None = None, then: int | None = None) -> None:
        self._scores = None
        if toward is not None and toward == self.position:
            self._features, self._scores = self._runtime.execute('stage_exit', toward, self._features)
        elif toward is not None and self.position == 0:
            _, self._scores = self._runtime.execute('path', toward, self._features)
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


def _versions() -> dict[str, str]:
    return {
        'torch': torch.__version__,
        **{package: importlib.metadata.version(package) for package in ('onnxruntime',)},
    }
