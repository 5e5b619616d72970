"""Running frames through every stage and head, and noting what each took."""

import time
from collections.abc import Callable

import numpy as np

from deadline.bystanders import Bystanders
from deadline.load import STEP, CoRunners
from deadline.machine import machine
from deadline.subjects import Subject
from deadline.trace import Trace
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.planning.profiling import measure

__all__ = ['Pace', 'quiet_profile', 'record', 'run_through']

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


def quiet_profile(classifier: AnytimeClassifier, seconds: float = 6.0, tries: int = 4) -> LatencyProfile:
    """A latency profile from `seconds` of measuring during which nobody else computed; if that never happens
    in all `tries`, the one during which others did least.
    """
    tensor = np.zeros((1, *classifier.checkpoint.input_shape), np.float32)
    runtime = classifier.runtime
    found = []
    for _ in range(tries):
        bystanders = Bystanders()
        [profile] = measure(
            [lambda: runtime.start(tensor)],
            runtime.exits,
            time.perf_counter,
            time_limit=seconds,
            rounds=400,
            rest=lambda: time.sleep(BREATH),
        )
        found.append((bystanders.look(), profile))
        if found[-1][0] <= QUIET:
            break
    return min(found, key=lambda each: each[0])[1]


def run_through(classifier: AnytimeClassifier, image: np.ndarray) -> tuple[float, list[float], list[float]]:
    """Seconds of preprocessing, of every stage [T] and of every head [T] of one frame."""
    clock = time.perf_counter
    stages, heads = [], []
    last = clock()
    tensor = classifier.checkpoint.preprocessing(image)
    run = classifier.runtime.start(tensor)
    now = clock()
    preparation = now - last
    for _ in range(classifier.exits):
        last = now
        run.stage()
        now = clock()
        stages.append(now - last)
        last = now
        run.exit()
        now = clock()
        heads.append(now - last)
    return preparation, stages, heads


def record(
    subject: Subject,
    load: str,
    frames: int,
    *,
    runtime: str = 'auto',
    limit: float = 500.0,
    progress: Callable[[str], None] = print,
) -> Trace:
    """Record a trace of `frames` frames, at 0.8 of the rate that the last exit could keep alone, or slower so
    that it spans several phases of a step; of fewer frames where that takes longer than `limit` seconds,
    since frames beside strangers' work are left out.
    """
    began = time.perf_counter()
    classifier = subject.classifier(runtime=runtime)
    with CoRunners(load) as others:
        for _ in range(WARM_UP):
            run_through(classifier, subject.image)
        profile = quiet_profile(classifier)
        period = 1.2 * profile.costs('contract')[-1]
        if load == 'step':
            period = max(period, PHASES * STEP / frames)
        pace = Pace(period)
        bystanders = Bystanders(others.pids)
        rows: list[tuple[float, list[float], list[float], int, bool]] = []
        left_out, waiting = 0, []
        others.start()
        while len(rows) < frames and time.perf_counter() - began < limit:
            pace.wait()
            phase, on = others.now()
            waiting.append((*run_through(classifier, subject.image), phase, on))
            before = bystanders.busy
            if bystanders.look() == before and len(waiting) < LONGEST:
                continue  # not known yet whether somebody else computed during these frames
            if bystanders.busy <= QUIET:
                rows += waiting
            else:
                left_out += len(waiting)
            waiting = []
    rows = rows[:frames]
    progress(f'{left_out} frames left out because others computed')
    description = {'model': subject.model, 'load': load, 'period': period, **machine(classifier)}
    description['left_out'] = left_out
    return Trace(
        description,
        classifier.checkpoint.accuracies,
        profile,
        *(np.array(column) for column in zip(*rows, strict=True)),
    )
