"""One frame against one deadline.

    clf = AnytimeClassifier.from_checkpoint('models/clothing10.safetensors')
    answer = clf.classify(rgb, budget=0.020)      # rgb: uint8 [H, W, 3]; budget in seconds

The classifier plans which exits to evaluate, executes exactly the stages that the plan needs, replans at
the stage boundaries, and tells its observer every answer as soon as it is there, so that somebody else can
publish it at the deadline while a later stage is still being executed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.anytime.execution import FrameExecution
from impatient_ros.anytime.profile import Progress, cached_or_measured, run_all_exits
from impatient_ros.anytime.request import FrameObserver, FrameRequest, FrameSettings, Image, no_deadline
from impatient_ros.checkpoint import CheckpointFile, read
from impatient_ros.planning.frame_timing import ExitTime, FrameTiming
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.planners import Planners, PlanningState
from impatient_ros.planning.preparation_cost import PreparationCost
from impatient_ros.runtime import Runtime, Source, select_runtime

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = ['AnytimeClassifier']

# Infeasible frames in a row after which costs are measured again: nothing is executed for such frames, so
# nothing would ever tell that the machine has become faster.
RETRY_AFTER = 5
WARM_UP_SHAPE = (480, 640, 3)  # any usual camera's: it is the first call of all that is slow


class AnytimeClassifier:
    """A staged network, its runtime and its planners.

    `run`, `classify`, `warm_up` and `reprofile` may be called from any thread and exclude each other (a
    lock that is held for a whole frame); `state` does not wait.

    Args:
        checkpoint: labels, preprocessing, accuracies and temperatures.
        runtime: executes the network.
        profile: latencies of that runtime on this machine.
        mode, miss_rate, confidence_threshold: what `classify` takes where it is not told otherwise; see
            `FrameSettings`.
        planners: makes the planners on a profile and accuracies, for those who decide in another way.
        clock: steady, seconds.
    """

    def __init__(
        self,
        checkpoint: CheckpointFile,
        runtime: Runtime,
        profile: LatencyProfile,
        *,
        mode: str = 'adaptive',
        miss_rate: float = 0.01,
        confidence_threshold: float = 0.0,
        planners: Callable[[LatencyProfile, Sequence[float]], Planners] = Planners,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.checkpoint = checkpoint
        self.runtime = runtime
        self.settings = FrameSettings(mode, miss_rate, confidence_threshold)
        self._preparation: defaultdict[str, PreparationCost] = defaultdict(PreparationCost)  # by camera
        self._make_planners = planners
        self._planners = planners(profile, checkpoint.accuracies)
        self.clock = clock
        self._infeasible = 0  # frames in a row
        self._lock = threading.Lock()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = 'auto',
        runtime: str = 'auto',
        mode: str = 'adaptive',
        *,
        cpu_threads: int = 0,
        miss_rate: float = 0.01,
        confidence_threshold: float = 0.0,
        progress: Progress | None = None,
    ) -> AnytimeClassifier:
        """Load, warm up and profile (or take the profile of this machine, model and runtime from the cache).

        Args:
            cpu_threads: how many threads compute on a CPU; 0: measured.
            progress: called with the share done (0..1) and a text while profiling.

        Raises:
            CheckpointError: the file is refused.
            RuntimeUnavailableError: device or runtime do not exist here.
        """
        checkpoint = read(path)
        chosen = select_runtime(_source(checkpoint, path), runtime, device, threads=cpu_threads)
        profile = cached_or_measured(checkpoint, chosen, progress)
        classifier = cls(
            checkpoint,
            chosen,
            profile,
            mode=mode,
            miss_rate=miss_rate,
            confidence_threshold=confidence_threshold,
        )
        classifier.warm_up()
        return classifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The text of each class [classes]."""
        return self.checkpoint.labels

    @property
    def exits(self) -> int:
        """T, the number of exits."""
        return self.runtime.exits

    @property
    def profile(self) -> LatencyProfile:
        return self._planners.profile

    def state(self) -> PlanningState:
        """How fast the machine is, how well that is forecast and how miss rates are held; for people."""
        return self._planners.state()

    def reprofile(self, progress: Progress | None = None) -> LatencyProfile:
        """Measure the latency profile anew, replace the cached one, and forget what frames have shown."""
        with self._lock:
            profile = cached_or_measured(self.checkpoint, self.runtime, progress, refresh=True)
            self._planners = self._make_planners(profile, self.checkpoint.accuracies)
        return profile

    def warm_up(self) -> None:
        """Preprocess an empty image and run all exits, without learning anything from it.

        For the thread that will classify: a thread's first frame starts the libraries' worker threads and
        takes several times as long as the next one.
        """
        with self._lock:
            tensor = self.checkpoint.preprocessing(np.zeros(WARM_UP_SHAPE, np.uint8))
            run_all_exits(self.runtime, tensor)

    def classify(
        self,
        image: Image,
        budget: float | None = None,
        *,
        deadline: float | Callable[[], float] | None = None,
        settings: FrameSettings | None = None,
        observer: FrameObserver | None = None,
    ) -> Answer:
        """Classify one image as well as its deadline allows.

        Args:
            image: RGB, uint8 [H, W, 3], or a function that returns one.
            budget: seconds from now to the deadline. Without budget and deadline the last exit answers.
            deadline: instead of `budget`, the instant on this classifier's clock (`time.perf_counter`), or a
                function that returns it.
            settings: None: those of this classifier.

        Raises:
            ValueError: both budget and deadline, one of them not a number, or not an image.
        """
        if budget is not None and deadline is not None:
            raise ValueError('give budget or deadline, not both')
        for given in (budget, deadline):
            if isinstance(given, float) and math.isnan(given):
                raise ValueError('the budget is NaN; give seconds')
        if budget is not None:
            deadline = self.clock() + budget
        if deadline is None:
            until = no_deadline
        elif callable(deadline):
            until = deadline
        else:
            instant = deadline

            def until() -> float:
                return instant

        return self.run(FrameRequest(image, until, settings=settings or self.settings), observer)

    def run(self, request: FrameRequest, observer: FrameObserver | None = None) -> Answer:
        """Classify one frame as well as its deadline, an instant on `clock`, allows.

        Raises:
            ValueError: not an image. What decoding raises passes through.
        """
        with self._lock:
            start = self.clock()
            settings = request.settings
            planner = self._planners.planner(request.camera, settings.mode, settings.miss_rate)
            preparation = self._preparation[request.camera]
            execution = FrameExecution(
                self.checkpoint,
                self.runtime,
                planner,
                request,
                clock=self.clock,
                start=start,
                observer=observer,
            )
            answer = execution.run(preparation)
            self._infeasible = self._infeasible + 1 if answer.infeasible else 0
            # Of each camera by itself: frames of others say nothing of what this one's preparation costs.
            preparation.infeasible = preparation.infeasible + 1 if answer.infeasible else 0
            if preparation.infeasible >= RETRY_AFTER:
                preparation.forget()
            if self._infeasible >= RETRY_AFTER:
                self._time_first_exit()
            return answer

    def _time_first_exit(self) -> None:
        """Run the first exit on an empty image to learn how fast the machine is now."""
        self._infeasible = 0
        run = self.runtime.start(np.zeros((1, *self.checkpoint.input_shape), np.float32))
        begin = self.clock()
        run.stage(0)
        run.exit()
        timing = FrameTiming(begin, [0.0, math.nan], [ExitTime(0, self.clock() - begin)])
        self._planners.forecast.learn(timing)


def _source(checkpoint: CheckpointFile, path: str | Path) -> Source:
    def network() -> ImpatientNetwork:
        from impatient_ros.checkpoint import load  # imports torch

        return load(path).network

    return Source((checkpoint.graph,) if checkpoint.graph else (), network, checkpoint.digest)
