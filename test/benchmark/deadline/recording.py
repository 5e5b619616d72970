"""Running frames through every stage and head at every resolution, and noting what each took."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from deadline.bystanders import Bystanders
from deadline.load import STEP, CoRunners
from deadline.machine import machine
from deadline.subjects import Subject
from deadline.trace import Trace
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.anytime.profile import used
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.profiling import measure

__all__ = ['Pace', 'accuracies_of', 'quiet_profiles', 'record', 'run_through']

WARM_UP = 20
BREATH = 0.002  # s
QUIET = 0.3  # cores that others may keep busy
PHASES = 4  # of a step that a trace shows at least
LONGEST = 100  # frames that wait for the next look at the bystanders


class Pace:
    """Frames at a rate: `wait` returns when the next one is due.

    Where the last one took longer it sleeps BREATH all the same: a frame wakes up the thread that waits for
    it, and the scheduler treats who has just slept better than who has just computed.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._next = time.perf_counter()

    def wait(self) -> None:
        time.sleep(max(BREATH, self._next - time.perf_counter()))
        self._next = max(self._next, time.perf_counter()) + self._period


def accuracies_of(classifier: AnytimeClassifier) -> tuple[float, ...]:
    """Of each path, by number."""
    resolutions = used(classifier.checkpoint, classifier.runtime)
    return tuple(accuracy for each in resolutions for accuracy in each.accuracies)


def quiet_profiles(
    classifier: AnytimeClassifier, seconds: float = 6.0, tries: int = 4
) -> tuple[LatencyProfile, ...]:
    """The latency profile of each resolution from `seconds` of measuring during which nobody else computed;
    if that never happens in all `tries`, those during which others did least.
    """
    runtime = classifier.runtime
    tensors = [
        np.zeros((1, 3, *each.preprocessing.size), np.float32)
        for each in used(classifier.checkpoint, runtime)
    ]
    found = []
    for _ in range(tries):
        bystanders = Bystanders()
        profiles = measure(
            [partial(runtime.start, tensor) for tensor in tensors],
            runtime.exits,
            time.perf_counter,
            time_limit=seconds,
            rounds=400,
            rest=lambda: time.sleep(BREATH),
        )
        found.append((bystanders.look(), tuple(profiles)))
        if found[-1][0] <= QUIET:
            break
    return min(found, key=lambda each: each[0])[1]


def run_through(
    classifier: AnytimeClassifier, image: np.ndarray
) -> tuple[list[float], list[list[float]], list[list[float]]]:
    """Seconds of preprocessing [R], of every stage [R, T] and of every head [R, T] of one frame."""
    clock = time.perf_counter
    preparation, stages, heads = [], [], []
    for resolution in used(classifier.checkpoint, classifier.runtime):
        last = clock()
        run = classifier.runtime.start(resolution.preprocessing(image))
        marks = [clock()]
        for _ in range(classifier.exits):
            run.stage()
            marks.append(clock())
            run.exit()
            marks.append(clock())
        took = np.diff(marks).tolist()
        preparation.append(marks[0] - last)
        stages.append(took[::2])
        heads.append(took[1::2])
    return preparation, stages, heads


def record(
    subject: Subject,
    load: str,
    frames: int,
    *,
    runtime: str = 'auto',
    threads: int = 0,
    limit: float = 500.0,
    quiet: float = QUIET,
    progress: Callable[[str], None] = print,
) -> Trace:
    """Record a trace of `frames` frames, at 0.8 of the rate that passes to the last exit at every resolution
    could keep, or slower so that it spans several phases of a step; of fewer frames where that takes longer
    than `limit` seconds, since frames during which strangers kept more than `quiet` cores busy are left out.
    """
    began = time.perf_counter()
    classifier = subject.classifier(runtime=runtime, cpu_threads=threads)
    with CoRunners(load) as others:
        for _ in range(WARM_UP):
            run_through(classifier, subject.image)
        profiles = quiet_profiles(classifier)
        period = 1.2 * sum(profile.costs('contract')[-1] for profile in profiles)
        if load == 'step':
            period = max(period, PHASES * STEP / frames)
        pace = Pace(period)
        bystanders = Bystanders(others.pids)
        rows: list[tuple[list[float], list[list[float]], list[list[float]], int, bool]] = []
        left_out, waiting = 0, []
        others.start()
        while len(rows) < frames and time.perf_counter() - began < limit:
            pace.wait()
            phase, on = others.now()
            waiting.append((*run_through(classifier, subject.image), phase, on))
            before = bystanders.busy
            if bystanders.look() == before and len(waiting) < LONGEST:
                continue  # not known yet whether somebody else computed during these frames
            if bystanders.busy <= quiet:
                rows += waiting
            else:
                left_out += len(waiting)
            waiting = []
    rows = rows[:frames]
    progress(f'{left_out} frames left out because others computed')
    description = {'model': subject.model, 'load': load, 'period': period, **machine(classifier)}
    description |= {'left_out': left_out, 'quiet': quiet}
    if not rows:
        raise RuntimeError(f'others kept more than {quiet} cores busy all the time: there is no quiet frame')
    return Trace(
        description,
        classifier.resolutions,
        accuracies_of(classifier),
        profiles,
        *(np.array(column) for column in zip(*rows, strict=True)),
    )
