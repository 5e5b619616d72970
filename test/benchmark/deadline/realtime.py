"""Real time on and off, turn by turn: the same policy, budgets, load and moment with both.

A round has five slots of equal length, in a new order each time: a frame with ordinary scheduling and one in
real time, for each the pass along all paths that says what hindsight would have chosen, scheduled alike, and
one without a frame, which says how fast the load's processes are when they are alone.
"""

import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deadline.bystanders import Bystanders
from deadline.frame import Frame, PlanNoted, budgets, hindsight
from deadline.load import CoRunners, stretch
from deadline.machine import machine
from deadline.policies import equip
from deadline.recording import BREATH, WARM_UP, Pace, accuracies_of, quiet_profiles, run_through
from deadline.subjects import Subject, prepare
from deadline.summary import QUIET, wilson
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.perception.process_threads import COMPUTING, computing, named, schedule

__all__ = ['ORDINARY', 'REAL_TIME', 'Progress', 'compare_models', 'realtime_rows', 'realtime_table']

POLICY = 'adaptive'
ORDINARY, REAL_TIME = POLICY, f'{POLICY}, real time'  # as policies of frames
IDLE = 'idle'


class Progress:
    """Processor time of the load's processes by what we did meanwhile: seconds per second and core."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._taken: defaultdict[str, float] = defaultdict(float)
        self._passed: defaultdict[str, float] = defaultdict(float)
        self._slot: tuple[str, float, float] | None = None

    def begin(self, slot: str, *, counts: bool) -> None:
        """A slot begins, and the one before ends; `counts`: whether the load is on."""
        now, taken = time.perf_counter(), sum(map(_process_seconds, self._pids))
        if self._slot is not None:
            name, since, before = self._slot
            self._taken[name] += taken - before
            self._passed[name] += now - since
        self._slot = (slot, now, taken) if counts else None

    def share(self, slot: str) -> float | None:
        """What they did during such slots, of what they did while we were idle; None: there was no load."""
        if not self._pids or not self._passed[slot] or not self._taken[IDLE]:
            return None
        return self._taken[slot] / self._passed[slot] * self._passed[IDLE] / self._taken[IDLE]


def compare_models(
    models: Sequence[str],
    made: dict,
    loads: Sequence[str],
    frames: int,
    priority: int,
    **options: Any,
) -> tuple[list[Frame], dict, dict, list[dict]]:
    """`run_paired` for each model, first without load: what is reached under load is compared with that.

    Returns all frames, the accuracies of each model's paths, what it was measured on, and `realtime_rows`.
    `made` is how classifiers are made.
    """
    loads = tuple(dict.fromkeys(('none', *loads)))
    records, rows, accuracies, machines = [], [], {}, {}
    with tempfile.TemporaryDirectory() as folder, computing():
        for model in models:
            subject = prepare(model, Path(folder))
            classifier = subject.classifier(**made)
            accuracies[model], machines[model] = accuracies_of(classifier), machine(classifier)
            found, progress = run_paired(subject, classifier, loads, frames, priority, **options)
            records += found
            rows += realtime_rows(found, accuracies[model], progress)
    return records, accuracies, {'simulated': False, 'models': machines}, rows


def run_paired(
    subject: Subject,
    classifier: AnytimeClassifier,
    loads: Sequence[str],
    frames: int,
    priority: int,
    *,
    miss_rate: float = 0.01,
    rate: float = 0.0,
    limit: float = math.inf,
    progress: Callable[[str], None] = print,
) -> tuple[list[Frame], dict[str, Progress]]:
    """`frames` records for each load and way of scheduling, and how the load's processes got on, by load.

    Budgets are drawn once, before any load, and are the same for all. To be called within `computing`, in
    which the classifier was made.

    Args:
        limit: seconds for each load after which no further round begins.
    """
    preparation = np.median([run_through(classifier, subject.image)[0] for _ in range(WARM_UP)], axis=0)
    with _scheduled(priority):  # so that strangers who compute meanwhile do not lengthen the budgets
        profiles = quiet_profiles(classifier)
    drawn = list(budgets(profiles, preparation, frames))
    period = 1 / rate if rate else 1.2 * profiles[-1].costs('contract')[-1]
    records: list[Frame] = []
    by_load = {}
    for load in loads:
        deciding = {
            policy: equip(POLICY, classifier.checkpoint, classifier.runtime, profiles, miss_rate=miss_rate)
            for policy in (ORDINARY, REAL_TIME)
        }
        slots = [(policy, known) for policy in deciding for known in (False, True)] + [(IDLE, False)]
        with CoRunners(load, stretch(load, len(slots), len(slots) * (period + BREATH))) as others:
            bystanders = Bystanders(others.pids)
            by_load[load] = beside = Progress(others.pids)
            pace = Pace(period)
            source = np.random.default_rng(2)
            others.start()
            began = time.perf_counter()
            for index, budget in enumerate(drawn):
                if time.perf_counter() - began > limit:
                    break
                passes, answered = {}, {}
                for number in source.permutation(len(slots)):
                    policy, known = slots[number]
                    pace.wait()
                    phase, on = others.now()
                    beside.begin(policy if not known else f'{policy}, all paths', counts=on)
                    if policy == IDLE:
                        continue
                    with _scheduled(priority if policy == REAL_TIME else 0):
                        if known:
                            passes[policy] = run_through(classifier, subject.image)
                            continue
                        chosen, decisions = deciding[policy]
                        decisions.clear()
                        plan = PlanNoted()
                        answer = chosen.classify(subject.image, budget=budget, observer=plan)
                        answered[policy] = (phase, on, answer, plan, tuple(decisions))
                busy = round(bystanders.look(), 3)
                for policy, (phase, on, answer, plan, decisions) in answered.items():
                    best, feasible, _ = hindsight(*passes[policy], accuracies_of(classifier), budget)
                    about = {'model': subject.model, 'policy': policy, 'load': load, 'index': index}
                    about |= {'phase': phase, 'loaded': on, 'budget': budget, 'bystanders': busy}
                    records.append(
                        Frame.of(
                            classifier, answer, plan, decisions, hindsight=best, feasible=feasible, **about
                        )
                    )
                if index % 200 == 199:
                    progress(
                        f'{subject.model} {load}: {index + 1} rounds, {time.perf_counter() - began:.0f} s'
                    )
    return records, by_load


def realtime_rows(
    frames: Sequence[Frame], accuracies: Sequence[float], progress: dict[str, Progress]
) -> list[dict]:
    """A flat record per load and way of scheduling, of all frames and of those that no stranger disturbed."""
    cells: defaultdict[tuple[str, str], list[Frame]] = defaultdict(list)
    for frame in frames:
        cells[frame.load, frame.policy].append(frame)
    values = [*accuracies, 0.0]  # -1, no answer, counts as wrong

    def expected(some: Sequence[Frame]) -> float:
        return sum(values[frame.path] for frame in some) / len(some) if some else 0.0

    rows = []
    for (load, policy), each in cells.items():
        unloaded = cells.get(('none', policy), [])
        for which in ('all', 'undisturbed'):
            of, without = (
                [f for f in some if which == 'all' or f.bystanders <= QUIET]
                for some in (each, unloaded[: len(each)])
            )
            feasible = [frame for frame in of if frame.feasible]
            missed = sum(frame.path < 0 for frame in feasible)
            low, high = wilson(missed, len(feasible))
            reached, reference = expected(of), expected(without)
            rows.append(
                {
                    'model': each[0].model,
                    'load': load,
                    'scheduling': 'real time' if policy == REAL_TIME else 'ordinary',
                    'which': which,
                    'frames': len(of),
                    'infeasible_rate': _ratio(len(of) - len(feasible), len(of)),
                    'missed': missed,
                    'miss_rate': _ratio(missed, len(feasible)),
                    'miss_rate_low': round(low, 5),
                    'miss_rate_high': round(high, 5),
                    'expected_accuracy': round(reached, 5),
                    'of_unloaded': _ratio(reached, reference),
                    'others_progress': _rounded(progress[load].share(policy)),
                }
            )
    return rows


def realtime_table(rows: Sequence[dict]) -> str:
    """Markdown for people."""
    head = (
        '| model | load | scheduling | frames | infeasible % | misses of feasible % (95%) '
        '| expected accuracy | of unloaded | others get on at |'
    )
    lines = [head, '|' + '---|' * (head.count('|') - 1)]
    for row in rows:
        misses = ''
        if row['miss_rate'] is not None:
            low, high = row['miss_rate_low'] * 100, row['miss_rate_high'] * 100
            misses = f'{row["miss_rate"] * 100:.2f} ({low:.2f}-{high:.2f})'
        cells = (
            row['model'],
            row['load'],
            row['scheduling'],
            f'{row["frames"]} {row["which"]}',
            _shown(row['infeasible_rate'], 100, 2),
            misses,
            f'{row["expected_accuracy"]:.4f}',
            _shown(row['of_unloaded'], 1, 3),
            _shown(row['others_progress'], 1, 2),
        )
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


@contextmanager
def _scheduled(priority: int) -> Iterator[None]:
    """All threads that compute have that real-time priority; 0: ordinary scheduling."""
    if not priority:
        yield
        return
    tids = named(COMPUTING)
    for tid in tids:
        schedule(tid, priority)
    try:
        yield
    finally:
        for tid in tids:
            schedule(tid, 0)


def _process_seconds(pid: int) -> float:
    """Processor time of another process; the clock's number is that of clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 5) if whole else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _shown(value: float | None, factor: float, digits: int) -> str:
    return '' if value is None else f'{value * factor:.{digits}f}'
