"""One frame against one deadline.

    clf = AnytimeClassifier.from_checkpoint('models/imagenet.safetensors')
    answer = clf.classify(rgb, budget=0.020)      # rgb: uint8 [H, W, 3]; budget in seconds

The classifier plans which paths to take (exits at resolutions), executes exactly what the plan needs, replans
at the stage boundaries, and tells its observer every answer as soon as it is there, so that somebody else can
publish it at the deadline while a later stage is still being executed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.anytime.execution import FrameExecution
from impatient_ros.anytime.loading import loaded
from impatient_ros.anytime.one_path import answer_along
from impatient_ros.anytime.paths import Paths
from impatient_ros.anytime.profile import Progress, cached_or_measured, run_all_exits, used
from impatient_ros.anytime.request import FrameObserver, FrameRequest, FrameSettings, Image, no_deadline
from impatient_ros.checkpoint import CheckpointFile, Path
from impatient_ros.planning.frame_timing import ExitTime, FrameTiming
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.planners import Planners, PlanningState
from impatient_ros.planning.preparation_cost import PreparationCost
from impatient_ros.runtime import Runtime

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
        checkpoint: labels, and for each resolution preprocessing, accuracies and temperatures.
        runtime: executes the network, at all of these resolutions or some.
        profiles: latencies of that runtime on this machine, one per resolution that it executes, ascending.
        mode, miss_rate, confidence_threshold, unknown_below: what `classify` takes where it is not told
            otherwise; see `FrameSettings`.
        labels: only these classes compete; (): all.
        planners: makes the planners on profiles and accuracies, for those who decide in another way.
        clock: steady, seconds.

    Raises:
        LabelError: the model has none of a name, or one is given twice.
    """

    def __init__(
        self,
        checkpoint: CheckpointFile,
        runtime: Runtime,
        profiles: Sequence[LatencyProfile],
        *,
        mode: str = 'adaptive',
        miss_rate: float = 0.01,
        confidence_threshold: float = 0.0,
        unknown_below: float = 0.0,
        labels: Sequence[str] = (),
        planners: Callable[[Sequence[LatencyProfile], Sequence[float]], Planners] = Planners,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.checkpoint = checkpoint
        self.runtime = runtime
        self.settings = FrameSettings(mode, miss_rate, confidence_threshold, unknown_below=unknown_below)
        self._paths = Paths(used(checkpoint, runtime), checkpoint.labels, labels)
        resolutions = self._paths.resolutions
        self._preparation: defaultdict[str, PreparationCost] = defaultdict(  # by camera
            lambda: PreparationCost(resolutions)
        )
        self._make_planners = planners
        self._planners = planners(profiles, self._paths.accuracies)
        self.clock = clock
        self._infeasible = 0  # frames in a row
        self._lock = threading.Lock()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | FilePath,
        device: str = 'auto',
        runtime: str = 'auto',
        mode: str = 'adaptive',
        *,
        precision: str = 'auto',
        cpu_threads: int = 0,
        memory_limit: float = 0.0,
        labels: Sequence[str] = (),
        unknown_below: float = 0.0,
        fit: str = '',
        miss_rate: float = 0.01,
        confidence_threshold: float = 0.0,
        progress: Progress | None = None,
    ) -> AnytimeClassifier:
        """Load, warm up and profile (or take the profile of this machine, model and runtime from the cache).

        Args:
            precision: 'f32', 'bf16', 'f16' or 'int8', where the runtime computes it natively here; 'auto':
                the fastest such that keeps the accuracy, as the checkpoint says, else 'f32'.
            cpu_threads: how many threads compute on a CPU; 0: measured.
            memory_limit: MiB that the compiled network may take; 0: no limit. Resolutions that exceed it are
                left out.
            labels: only these classes compete; (): all.
            fit: how a picture becomes a square, 'crop' or 'squash'; '': as the model was validated.
            progress: called with the share done (0..1) and a text while profiling.

        Raises:
            CheckpointError: the file is refused.
            LabelError: the model has none of a name, or one is given twice.
            RuntimeUnavailableError: device, runtime or precision do not exist here.
        """
        checkpoint, chosen, profiles = loaded(
            path, device, runtime, cpu_threads, memory_limit, labels, fit, progress, precision
        )
        classifier = cls(
            checkpoint,
            chosen,
            profiles,
            mode=mode,
            miss_rate=miss_rate,
            confidence_threshold=confidence_threshold,
            unknown_below=unknown_below,
            labels=labels,
        )
        classifier.warm_up()
        return classifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The text of each class that competes [classes]."""
        return self._paths.labels

    @property
    def exits(self) -> int:
        """T, the number of exits at each resolution."""
        return self._paths.exits

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The resolutions in use, px, ascending."""
        return self._paths.sides

    @property
    def paths(self) -> tuple[Path, ...]:
        """All paths in use, cheapest (MACs) first."""
        return self._paths.cheapest_first

    @property
    def profiles(self) -> tuple[LatencyProfile, ...]:
        """One per resolution, ascending."""
        return self._planners.forecast.profiles

    @property
    def target_side(self) -> int:
        """A hint for decoders: see `Preprocessing.target_side`, at the largest resolution."""
        return max(each.target_side for each in self._paths.preprocessing)

    def costs(self, mode: str = 'contract') -> dict[Path, float]:
        """The median latency of each path from its prepared picture on, seconds; cheapest (MACs) first."""
        measured = [cost for profile in self.profiles for cost in profile.costs(mode)]
        return {path: measured[self._paths.numbered(path)] for path in self.paths}

    def state(self) -> PlanningState:
        """How fast the machine is, how well that is forecast and how miss rates are held; for people."""
        return self._planners.state()

    def reprofile(self, progress: Progress | None = None) -> None:
        """Measure the latency profiles anew, replace the cached ones, and forget what frames have shown."""
        with self._lock:
            profiles = cached_or_measured(self.checkpoint, self.runtime, progress, refresh=True)
            self._planners = self._make_planners(profiles, self._paths.accuracies)

    def warm_up(self) -> None:
        """Preprocess an empty image and run all paths, without learning anything from it.

        For the thread that will classify: a thread's first frame starts the libraries' worker threads and
        takes several times as long as the next one.
        """
        with self._lock:
            picture = np.zeros(WARM_UP_SHAPE, np.uint8)
            for preprocessing in self._paths.preprocessing:
                run_all_exits(self.runtime, preprocessing(picture))

    def classify(
        self,
        image: Image,
        budget: float | None = None,
        *,
        deadline: float | Callable[[], float] | None = None,
        path: Path | None = None,
        settings: FrameSettings | None = None,
        observer: FrameObserver | None = None,
    ) -> Answer:
        """Classify one image as well as its deadline allows.

        Args:
            image: RGB, uint8 [H, W, 3], or a function that returns one.
            budget: seconds from now to the deadline. Without budget and deadline the last exit answers.
            deadline: instead of `budget`, the instant on this classifier's clock (`time.perf_counter`), or a
                function that returns it.
            path: instead of both, exactly this path (one of `paths`) answers, whatever it takes, and nothing
                is learned: for evaluation.
            settings: None: those of this classifier.

        Raises:
            ValueError: more than one of budget, deadline and path, one of them not a number or not one of
                these paths, or not an image.
        """
        if path is not None:
            if budget is not None or deadline is not None:
                raise ValueError('give path, or budget or deadline, not both')
            with self._lock:
                below = (settings or self.settings).unknown_below
                return answer_along(self._paths, self.runtime, path, image, below, self.clock)
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
            answer = FrameExecution(
                self._paths,
                self.runtime,
                planner,
                preparation,
                request,
                clock=self.clock,
                start=start,
                observer=observer,
            ).run()
            self._infeasible = self._infeasible + 1 if answer.infeasible else 0
            # Of each camera by itself: frames of others say nothing of what this one's preparation costs.
            preparation.infeasible = preparation.infeasible + 1 if answer.infeasible else 0
            if preparation.infeasible >= RETRY_AFTER:
                preparation.forget()
            if self._infeasible >= RETRY_AFTER:
                self._time_first_exit()
            return answer

    def _time_first_exit(self) -> None:
        """Run the cheapest exit on an empty image to learn how fast the machine is now."""
        self._infeasible = 0
        run = self.runtime.start(np.zeros((1, 3, *self._paths.preprocessing[0].size), np.float32))
        begin = self.clock()
        run.stage(0)
        run.exit()
        timing = FrameTiming(begin, [0.0, math.nan], [ExitTime(0, self.clock() - begin)])
        self._planners.forecast.learn(timing)
