"""One frame against one deadline.

    clf = AnytimeClassifier.from_checkpoint('models/clothing10.safetensors')
    answer = clf.classify(rgb, budget=0.020)      # rgb: uint8 [H, W, 3]; budget in seconds

The classifier plans which exits to evaluate, executes exactly the stages that the plan needs, replans at
the stage boundaries, and gives every answer away as soon as it is there (`on_answer`), so that somebody
else can publish it at the deadline while a later stage is still being executed.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.anytime.execution import FrameExecution, Image
from impatient_ros.cache import cache_file
from impatient_ros.checkpoint import Checkpoint, load
from impatient_ros.planning.forecast import Forecast
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.planner import Plan, Planner
from impatient_ros.planning.preparation_cost import PreparationCost
from impatient_ros.planning.profiling import PAUSE, measure
from impatient_ros.runtime import Runtime, select_runtime

__all__ = ['Answer', 'AnytimeClassifier']

Progress = Callable[[float, str], None]
# Infeasible frames in a row after which costs are looked at again: nothing is executed for such frames, so
# nothing would ever tell that the machine has become faster.
LOOK_AGAIN = 5
PROFILES_KEPT = 64  # in the cache: a few kilobytes each, one per model, runtime and number of threads
WARM_UP_SHAPE = (480, 640, 3)  # any usual camera's: it is the first call of all that is slow


class AnytimeClassifier:
    """A staged network, its runtime and its planner.

    `classify` and `reprofile` exclude each other (a lock); `mode`, `miss_rate` and `confidence_threshold`
    may be set from any thread and count from the next frame on.

    Args:
        checkpoint: network, labels, preprocessing, accuracies and temperatures.
        runtime: executes the network.
        profile: latencies of that runtime on this machine.
        mode: 'contract', 'interruptible' or 'adaptive'.
        miss_rate: accepted long-run rate of overruns of protected answers.
        confidence_threshold: an answer this sure (0..1) ends the frame; 0 switches it off.
        clock: steady, seconds.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        runtime: Runtime,
        profile: LatencyProfile,
        *,
        mode: str = 'adaptive',
        miss_rate: float = 0.01,
        confidence_threshold: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.checkpoint = checkpoint
        self.runtime = runtime
        self.confidence_threshold = confidence_threshold
        self._preparation = PreparationCost()
        self._planner = Planner(profile, checkpoint.accuracies, mode, miss_rate)
        self._clock = clock
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
        miss_rate: float = 0.01,
        confidence_threshold: float = 0.0,
        progress: Progress | None = None,
    ) -> AnytimeClassifier:
        """Load, warm up and profile (or take the profile of this machine, model and runtime from the cache).

        Args:
            progress: called with the share done (0..1) and a text while profiling.

        Raises:
            CheckpointError: the file is refused.
            RuntimeUnavailableError: device or runtime do not exist here.
        """
        checkpoint = load(path)
        chosen = select_runtime(checkpoint.network, runtime, device, digest=checkpoint.digest)
        profile = _profile(checkpoint, chosen, progress, refresh=False)
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
        return self._planner.profile

    @property
    def forecast(self) -> Forecast:
        """What frames are forecast to cost now."""
        return self._planner.forecast

    @property
    def mode(self) -> str:
        return self._planner.mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._planner.mode = mode

    @property
    def miss_rate(self) -> float:
        return self._planner.miss_rate

    @miss_rate.setter
    def miss_rate(self, miss_rate: float) -> None:
        self._planner.miss_rate = miss_rate

    def reprofile(self, progress: Progress | None = None) -> LatencyProfile:
        """Measure the latency profile anew, replace the cached one, and forget what frames have shown."""
        with self._lock:
            profile = _profile(self.checkpoint, self.runtime, progress, refresh=True)
            self._planner = Planner(profile, self.checkpoint.accuracies, self.mode, self.miss_rate)
        return profile

    def warm_up(self) -> None:
        """Preprocess an empty image and run all exits, without learning anything from it.

        For the thread that will classify: a thread's first frame starts the libraries' worker threads and
        takes several times as long as the next one.
        """
        with self._lock:
            tensor = self.checkpoint.preprocessing(np.zeros(WARM_UP_SHAPE, np.uint8))
            _run_all_exits(self.runtime, tensor)

    def plan(self, budget: float, preparation: PreparationCost | None = None) -> Plan:
        """What would be done with a frame of this budget (seconds) if it were picked up now."""
        cost = (preparation or self._preparation).value
        return self._planner.plan(budget - cost)

    def classify(
        self,
        image: Image,
        budget: float | None = None,
        *,
        deadline: float | Callable[[], float] | None = None,
        reserve: float = 0.0,
        preparation: PreparationCost | None = None,
        on_plan: Callable[[Plan, float], None] | None = None,
        on_answer: Callable[[Answer], None] | None = None,
        on_final: Callable[[Answer], None] | None = None,
        finish_late: bool = False,
        delay_price: float = 0.0,
        share: Callable[[float], float] | None = None,
    ) -> Answer:
        """Classify one frame as well as its deadline allows.

        Args:
            image: RGB, uint8 [H, W, 3], or a function that returns one: decoding then counts as preparation
                and is left out for an infeasible frame. What it raises passes through.
            budget: seconds from now to the deadline. Without budget and deadline the last exit answers.
            deadline: instead of `budget`, the instant on this classifier's clock (`time.perf_counter`), or a
                function that returns it: a deadline that moves applies from the next stage boundary on.
            reserve: seconds to keep free before the deadline, for whoever publishes.
            preparation: learned cost of decode and preprocessing of this kind of image (its camera's).
            on_plan: called in this thread with the first plan made on the preprocessed image (without heads
                no stage is executed) and the slowdown that it assumes; not for an infeasible frame.
            on_answer: called in this thread with every answer at once, best last.
            on_final: called in this thread with the best answer, if any, when nothing more is executed and
                nothing was learned from the frame yet.
            finish_late: whether the first answer is still worth having after the deadline. If not, a frame
                without an answer is abandoned at the first stage boundary after its deadline.
            delay_price: see `Planner.plan`.
            share: while other frames wait, how many of the seconds that are left the network may take beyond
                the first exit; asked before every decision (see `impatient_ros.perception.time_sharing`).

        Raises:
            ValueError: both budget and deadline, one of them not a number, or not an image.
        """
        if budget is not None and deadline is not None:
            raise ValueError('give budget or deadline, not both')
        for given in (budget, deadline):
            if isinstance(given, float) and math.isnan(given):
                raise ValueError('the budget is NaN; give seconds')
        with self._lock:
            start = self._clock()
            if callable(deadline):
                until = deadline
            else:
                at = math.inf if deadline is None else deadline
                instant = at if budget is None else start + budget

                def until() -> float:
                    return instant

            execution = FrameExecution(
                self.checkpoint,
                self.runtime,
                self._planner,
                clock=self._clock,
                start=start,
                deadline=until,
                reserve=reserve,
                delay_price=delay_price,
                confidence_threshold=self.confidence_threshold,
                on_plan=on_plan,
                on_answer=on_answer,
                on_final=on_final,
                finish_late=finish_late,
                share=share,
            )
            preparation = preparation or self._preparation
            answer = execution.classify(image, preparation)
            self._infeasible = self._infeasible + 1 if answer.infeasible else 0
            # Of each camera by itself: frames of others say nothing of what this one's preparation costs.
            preparation.turned_down = preparation.turned_down + 1 if answer.infeasible else 0
            if preparation.turned_down >= LOOK_AGAIN:
                preparation.forget()
            if self._infeasible >= LOOK_AGAIN:
                self._look_again()
            return answer

    def _look_again(self) -> None:
        """Run the first exit on an empty image to see how fast the machine is now."""
        self._infeasible = 0
        run = self.runtime.start(np.zeros((1, *self.checkpoint.network.input_shape), np.float32))
        begin = self._clock()
        run.stage(0)
        run.exit()
        self.forecast.learn([0.0, math.nan], [(0, self._clock() - begin)])


def _profile(
    checkpoint: Checkpoint, runtime: Runtime, progress: Progress | None, *, refresh: bool
) -> LatencyProfile:
    size = checkpoint.network.input_shape
    tensor = np.zeros((1, *size), np.float32)

    key = {**runtime.describe(), 'model': checkpoint.digest, 'pause': PAUSE}
    file = cache_file('latency', key, suffix='.json', keep=PROFILES_KEPT)

    def decode(content: bytes) -> LatencyProfile:
        profile = LatencyProfile.from_dict(json.loads(content)['profile'])
        if profile.exits != runtime.exits:
            raise ValueError(f'{profile.exits} exits instead of {runtime.exits}')
        return profile

    if not refresh and (cached := file.read(decode)) is not None:
        # A cached profile spares the measurement, not the warm-up: a process's first runs are its slowest.
        for _ in range(3):
            _run_all_exits(runtime, tensor)
        if progress is not None:
            progress(1.0, 'latency profile taken from the cache')
        return cached
    profile = measure(
        lambda: runtime.start(tensor),
        runtime.exits,
        time.perf_counter,
        progress=progress,
        rest=lambda: time.sleep(PAUSE),
    )
    file.write(json.dumps({'key': key, 'profile': profile.to_dict()}).encode())
    return profile


def _run_all_exits(runtime: Runtime, tensor: np.ndarray) -> None:
    run = runtime.start(tensor)
    for _ in range(runtime.exits):
        run.stage()
        run.exit()
