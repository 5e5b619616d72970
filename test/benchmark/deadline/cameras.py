"""Several cameras on one model, more than it can do: with the node's rules, and first come, first served.

    rules   earliest deadline first, newest frame per camera, the cheapest path of all before better ones
            of any, equal parts of the time (impatient_ros/perception/time_sharing.py)
    fifo    every frame waits for its turn and takes the full path, as a node with a queue does it

Every frame is to be answered before the next one of its camera.
"""

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deadline.frame import path_number
from deadline.policies import equip
from deadline.recording import accuracies_of
from deadline.replay import Replayed, replayed_checkpoint
from deadline.subjects import Subject
from deadline.summary import wilson
from deadline.trace import Trace
from impatient_ros.anytime import AnytimeClassifier, FrameRequest
from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.latest_frames import Frame, LatestFrames
from impatient_ros.perception.time_sharing import share

__all__ = ['RULES', 'busy_cost', 'live', 'simulated']

RULES = ('rules', 'fifo')
QUEUE = 10  # frames per camera that wait without rules, as a reliable subscription's default depth
PHASE_JITTER = 0.02  # of a period: cameras do not keep step


def simulated(trace: Trace, rule: str, cameras: int = 4, demand: float = 1.5, rounds: int = 500) -> dict:
    """The summary of `rounds` frames per camera on a trace."""
    runtime = Replayed(trace)
    classifier, _ = equip(
        'adaptive' if rule == 'rules' else 'fixed_last',
        replayed_checkpoint(trace, runtime),
        runtime,
        trace.profiles,
        clock=runtime.clock,
    )

    def until(instant: float) -> None:
        runtime.now = max(runtime.now, instant)

    def next_frame() -> None:
        runtime.frame = (runtime.frame + 1) % len(trace)

    run = _Run(classifier, np.zeros((1, 1, 3), np.uint8), runtime.clock, until, next_frame)
    summary = run.summary(rule, cameras, demand, rounds, trace.profiles[-1].costs('contract')[-1])
    return {**summary, 'model': trace.description['model'], 'load': trace.description['load']}


def live(
    subject: Subject,
    classifier: AnytimeClassifier,
    rule: str,
    cameras: int = 4,
    demand: float = 1.5,
    rounds=100,
    *,
    last: float,
) -> dict:
    """The same on this machine; `last` is what `busy_cost` says."""
    equipped, _ = equip(
        'adaptive' if rule == 'rules' else 'fixed_last',
        classifier.checkpoint,
        classifier.runtime,
        classifier.profiles,
    )

    def until(instant: float) -> None:
        time.sleep(max(0.0, instant - time.perf_counter()))

    run = _Run(equipped, subject.image, time.perf_counter, until, lambda: None)
    summary = run.summary(rule, cameras, demand, rounds, last)
    return {**summary, 'model': subject.model, 'load': 'none'}


def busy_cost(subject: Subject, classifier: AnytimeClassifier, frames: int = 100) -> float:
    """Seconds per frame along the full path where one follows the other at once: with warm caches a small
    network takes two thirds of what its profile says, which is measured with pauses.
    """
    equipped, _ = equip('fixed_last', classifier.checkpoint, classifier.runtime, classifier.profiles)
    took = []
    for _ in range(frames):
        begin = time.perf_counter()
        equipped.classify(subject.image)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


class _Run:
    """Frames arrive by a timetable; whoever looks at the clock lets those in that are due."""

    def __init__(
        self,
        classifier: AnytimeClassifier,
        image: np.ndarray,
        clock: Callable[[], float],
        until: Callable[[float], None],
        next_frame: Callable[[], None],
    ) -> None:
        self._classifier, self._image = classifier, image
        self._clock, self._until, self._next_frame = clock, until, next_frame
        self._latest, self._queue = LatestFrames(), deque()
        self._ended: list[tuple[str, str, int]] = []  # camera, outcome, path

    def summary(self, rule: str, cameras: int, demand: float, rounds: int, last: float) -> dict:
        period = cameras * last / demand
        source = np.random.default_rng(0)
        offsets = source.uniform(0, period, cameras)
        start = self._clock() + 0.01
        self._timetable = deque(
            sorted(
                (start + offset + period * (n + PHASE_JITTER * source.uniform(-1, 1)), f'camera {c}')
                for c, offset in enumerate(offsets)
                for n in range(rounds)
            )
        )
        self._period, self._rules = period, rule == 'rules'
        while self._timetable or self._waiting():
            if not self._waiting():
                self._until(self._timetable[0][0])
            self._let_in()
            if self._waiting():
                self._classify()
        return self._figures(rule, cameras, rounds, period, demand)

    def _waiting(self) -> int:
        return len(self._latest.deadlines()) if self._rules else len(self._queue)

    def _let_in(self) -> None:
        while self._timetable and self._timetable[0][0] <= self._clock():
            arrival, camera = self._timetable.popleft()
            arrival_ns = round(arrival * 1e9)
            deadline = Deadline(round((arrival + self._period) * 1e9))
            frame = Frame(camera, None, arrival_ns, arrival_ns, deadline)
            if self._rules:
                older = self._latest.put(frame)
                if older is not None:
                    self._ended.append((camera, 'superseded', -1))
                continue
            mine = [each for each in self._queue if each.camera == camera]
            if len(mine) >= QUEUE:
                self._queue.remove(mine[0])
                self._ended.append((camera, 'superseded', -1))
            self._queue.append(frame)

    def _share(self, left: float) -> float:
        self._let_in()
        now_ns = round(self._clock() * 1e9)
        return share(left, (deadline.budget(now_ns) for deadline in self._latest.deadlines()))

    def _classify(self) -> None:
        frame = self._latest.take() if self._rules else self._queue.popleft()
        assert frame is not None
        self._next_frame()
        settings = replace(self._classifier.settings, finish_late=not self._rules)
        deadline = frame.deadline.at_ns * 1e-9
        answer = self._classifier.run(
            FrameRequest(
                self._image,
                lambda: deadline,
                camera=frame.camera,
                settings=settings,
                time_share=self._share if self._rules else None,
            )
        )
        if answer.infeasible:
            outcome = 'infeasible'
        else:
            outcome = 'answered' if answer.met else 'missed'
        taken = path_number(self._classifier, answer.resolution, answer.exit_index) if answer.met else -1
        self._ended.append((frame.camera, outcome, taken))

    def _figures(self, rule: str, cameras: int, rounds: int, period: float, demand: float) -> dict:
        accuracies = [*accuracies_of(self._classifier), 0.0]
        outcomes = Counter(outcome for _, outcome, _ in self._ended)
        paths = Counter(path for *_, path in self._ended if path >= 0)
        names = [f'camera {c}' for c in range(cameras)]
        answered = [sum(1 for c, o, _ in self._ended if (c, o) == (n, 'answered')) / rounds for n in names]
        tried = outcomes['answered'] + outcomes['missed']
        low, high = wilson(outcomes['missed'], tried)
        return {
            'rule': rule,
            'cameras': cameras,
            'rate_hz': round(1 / period, 2),
            'demand': demand,
            'frames': len(self._ended),
            **{name: outcomes[name] for name in ('answered', 'missed', 'infeasible', 'superseded')},
            'miss_rate': round(outcomes['missed'] / tried, 5) if tried else None,
            'miss_rate_low': round(low, 5),
            'miss_rate_high': round(high, 5),
            'paths': [paths[k] for k in range(len(accuracies) - 1)],
            'expected_accuracy': round(sum(accuracies[k] for *_, k in self._ended) / len(self._ended), 5),
            'answered_worst_camera': round(min(answered), 4),
            'answered_best_camera': round(max(answered), 4),
        }
