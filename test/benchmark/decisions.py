"""What a decision takes: thread time of the planner, for networks of one to ten resolutions.

    python test/benchmark/decisions.py [--json OUT]

Profiles are made up: passes from 0.5 to 2.4 ms, accuracies that grow with the cost. Each frame gets a budget
of 0.3 to 4 ms, is planned from the start, and every third one teaches the forecast, as frames do. OUT is a
list of flat records: resolutions, exits, mode, decisions, p50_us and p99_us (of `Planner.plan`), cold_p50_us
and cold_p99_us (the same right after 16 MiB of memory were written, as by inference), learn_p50_us (after the
answer is out), build_s (of all tables of sets, once per model). Decisions are made in turns, cold and warm;
each quantile is that of its best turn, since other work on the machine can only add to it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from simulation import profile  # noqa: E402

from impatient_ros.planning.frame_timing import ExitTime, FrameTiming  # noqa: E402
from impatient_ros.planning.options import MODES  # noqa: E402
from impatient_ros.planning.planners import Planners  # noqa: E402

LADDERS = ((1, 5), (8, 1), (4, 5), (10, 2))  # resolutions and exits
RESIZE = 2e-4  # s, at every resolution
TURNS = 5
BESIDES = np.zeros(2 << 20)  # 16 MiB
Record = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    records = [record for ladder in LADDERS for record in measured(*ladder, decisions=options.decisions)]
    if options.json:
        Path(options.json).write_text(json.dumps(records, indent=1) + '\n')
    table = Table()
    for name in records[0]:
        table.add_column(name, justify='right')
    for record in records:
        table.add_row(*(f'{v:.3g}' if isinstance(v, float) else str(v) for v in record.values()))
    Console(width=110 if not sys.stdout.isatty() else None).print(table)
    return 0


def measured(resolutions: int, exits: int, *, decisions: int) -> list[Record]:
    """One record per mode."""
    costs = np.geomspace(0.5e-3, 2.4e-3, resolutions).tolist() if resolutions > 1 else [2.4e-3]
    profiles = [profile([cost / exits] * exits, [0.02 * cost] * exits) for cost in costs]
    accuracies = [
        0.2 + 0.6 * (cost / costs[-1]) ** 0.4 * ((t + 1) / exits) ** 0.3
        for cost in costs
        for t in range(exits)
    ]
    began = time.perf_counter()
    planners = Planners(profiles, accuracies)
    build = time.perf_counter() - began
    return [
        {
            'resolutions': resolutions,
            'exits': exits,
            'mode': mode,
            'decisions': decisions,
            **_decided(planners, mode, costs, decisions),
            'build_s': build,
        }
        for mode in MODES
    ]


def _decided(planners: Planners, mode: str, costs: Sequence[float], decisions: int) -> Record:
    """The quantiles of one mode."""
    chance = random.Random(1)
    took: dict[bool, list[list[float]]] = {False: [], True: []}  # by whether cold
    learned: list[float] = []
    for turn in range(2 * TURNS):
        took[turn % 2 == 1].append([])
        for number in range(decisions // TURNS):
            planner = planners.planner('', mode, 0.01)
            budget = chance.uniform(0.3e-3, 4e-3)
            if turn % 2:
                np.add(BESIDES, 1.0, out=BESIDES)
            begin = time.thread_time_ns()
            plan = planner.plan(budget, resolution=None, preparation=(RESIZE,) * len(costs))
            took[turn % 2 == 1][-1].append((time.thread_time_ns() - begin) * 1e-3)
            if plan.paths and number % 3 == 0:
                exits = planner.options.exits
                r, t = divmod(plan.paths[0], exits)
                seconds = costs[r] * ((t + 1) / exits + 0.02) * chance.lognormvariate(0, 0.1)
                boundaries = [0.0, *[float('nan')] * (t + 1)]
                timing = FrameTiming(0.0, boundaries, [ExitTime(t, seconds)], resolution=r)
                begin = time.thread_time_ns()
                planner.learn([timing])
                learned.append((time.thread_time_ns() - begin) * 1e-3)

    def least(cold: bool, probability: float) -> float:
        return min(float(np.quantile(turn, probability)) for turn in took[cold])

    return {
        'p50_us': least(False, 0.5),
        'p99_us': least(False, 0.99),
        'cold_p50_us': least(True, 0.5),
        'cold_p99_us': least(True, 0.99),
        'learn_p50_us': float(np.median(learned)),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--decisions', type=int, default=5000, help='per ladder and mode')
    parser.add_argument('--json', help='where to write the records')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
