"""Endurance: the real node for N minutes, under attacks one after the other.

    python test/endurance/run.py --minutes 40 --out runs/endurance --seed 1

Needs ROS 2; runs in ROS_DOMAIN_ID, or in a domain of its own where that is not set. It writes `table.md`,
`report.json` and the node's log into the folder, and ends with 1 and what failed, where something did:

- accounting: a frame that was published is neither recorded nor counted, or counted twice
- ended: the node's process ended, or did not end with 0 when it was told to
- answers: a request that was to be refused was taken, or the other way round; an internal error
- resources: memory grows, or threads or files are not what they were
- misses: the miss rate of an undisturbed time before and after differs by more than chance
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test'), str(ROOT / 'test' / 'ros')]

from endurance.arena import Arena  # noqa: E402
from endurance.attacks import ATTACKS  # noqa: E402
from endurance.measures import MissRate, Resources, differ, growth, miss_rate, resources_of  # noqa: E402
from endurance.report import Entry, markdown  # noqa: E402

from impatient_ros.demo.processes import free_domain  # noqa: E402

LONG = 10.0  # minutes from which on the undisturbed times are a minute, and a quarter of one below
# Bytes that the node may grow by, after every attack was made once, over the rest of the run. Chosen: a
# fragment of what one leaked picture per attack comes to in an hour, and above what allocators differ by.
GROWTH = 48 * 2**20
# Bytes that the first time of every attack may add: buffers for the largest messages stay. Twice the 64 MiB
# that were seen.
FIRST_ROUND = 128 * 2**20
SPARE_ATTACKS = 8  # samples from which on a slope means something


class Run:
    """One run; `failures` are pairs of a kind and a text."""

    def __init__(self, minutes: float, seed: int, folder: Path) -> None:
        self.minutes, self.seed, self.folder = minutes, seed, folder
        self.entries = {name: Entry() for name in ('undisturbed', *ATTACKS)}
        self.failures: list[tuple[str, str]] = []
        self.samples: list[Resources] = []  # after each attack, from the second round on
        self._random = random.Random(seed)
        self._start = time.monotonic()
        self._end = self._start + 60 * minutes
        self._quiet = 60.0 if minutes >= LONG else 15.0

    def go(self) -> dict[str, Any]:
        arena = Arena(self.folder, self.seed)
        try:
            self._undisturbed(arena)
            before = self._undisturbed(arena)
            self._attack_until_the_end(arena)
            after = self._undisturbed(arena)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the report tells what came before, and this
            self.failures.append(('ended' if not arena.alive else 'answers', repr(error)))
            before = after = (MissRate(0, 0, 1.0), None)
        finally:
            alive = arena.alive
            code = arena.close()
        if not alive or code:
            self.failures.append(('ended', f'the node ended with {code}'))
        self._judge(before, after, arena)
        return self._report(before, after, arena, ended=int(not alive))

    def _undisturbed(self, arena: Arena) -> tuple[MissRate, Resources]:
        """The miss rate, and the resources then."""
        arena.wait_alone()
        self._account('undisturbed', arena, times=0)
        time.sleep(self._quiet)
        with arena.observer.lock:
            # Camera by camera: neighbours in time make a block.
            outcomes = [outcome for camera in arena.observer.outcomes.values() for outcome in camera]
        self._account('undisturbed', arena)
        return miss_rate(outcomes), resources_of(arena.pid, self._now())

    def _attack_until_the_end(self, arena: Arena) -> None:
        """In rounds of all attacks, each round in another order; the first one is always whole."""
        first = True
        while first or time.monotonic() < self._end - self._quiet:
            for name in self._random.sample(list(ATTACKS), len(ATTACKS)):
                if not first and time.monotonic() > self._end - self._quiet:
                    break
                if self.minutes >= LONG:
                    arena.pause(0, 5)
                ATTACKS[name](arena)
                self._account(name, arena)
                if not first:
                    self.samples.append(resources_of(arena.pid, self._now()))
            first = False

    def _account(self, name: str, arena: Arena, times: int = 1) -> None:
        entry = self.entries[name]
        entry.times += times
        for camera, balance in arena.settle().items():
            entry.balance.add(balance)
            self.failures += [('accounting', f'{name}, {camera}: {fault}') for fault in balance.faults]
        entry.requests += arena.requests
        entry.said += arena.said()
        entry.failures += arena.failures
        self.failures += [('answers', f'{name}: {text}') for text in arena.failures]
        arena.requests.clear()
        arena.failures.clear()
        with arena.observer.lock:
            for outcomes in arena.observer.outcomes.values():
                outcomes.clear()
        say = f'{self._now() / 60:6.1f} min  {name}: {sum(entry.balance.outcomes.values())} records'
        print(f'{say}, difference {entry.balance.difference}', flush=True)

    def _judge(self, before: Any, after: Any, arena: Arena) -> None:
        errors = arena.observer.internal_errors
        if errors:
            self.failures.append(('answers', f'{errors} internal errors'))
        if before[1] is None:
            return
        if differ(before[0], after[0]):
            self.failures.append(('misses', f'{before[0].rate:.4f} before, {after[0].rate:.4f} after'))
        for name in ('threads', 'files'):
            was, now = getattr(before[1], name), getattr(after[1], name)
            if now != was:
                self.failures.append(('resources', f'{name}: {was} before, {now} after'))
        grown = after[1].private - before[1].private
        if grown > FIRST_ROUND + GROWTH:
            self.failures.append(('resources', f'the private memory has grown by {grown / 2**20:.0f} MiB'))
        if len(self.samples) >= SPARE_ATTACKS and self.growth > GROWTH:
            text = f'the private memory grows by {self.growth / 2**20:.0f} MiB after the first round'
            self.failures.append(('resources', text))

    @property
    def growth(self) -> float:
        """Bytes of private memory over the rounds but the first."""
        # Its cost grows with the square of the number; a few hundred of a long run tell the same.
        some = self.samples[:: max(1, len(self.samples) // 500)]
        _, grown = growth([each.time for each in some], [each.private for each in some])
        return grown

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _report(self, before: Any, after: Any, arena: Arena, *, ended: int) -> dict[str, Any]:
        pairs = {'misses / tried': [f'{rate.misses} / {rate.tried}' for rate, _ in (before, after)]}
        if before[1] is not None:
            for name in ('rss', 'pss', 'private'):
                sizes = [getattr(each[1], name) / 2**20 for each in (before, after)]
                pairs[f'{name} (MiB)'] = [f'{size:.1f}' for size in sizes]
            for name in ('threads', 'files'):
                pairs[name] = [str(getattr(each[1], name)) for each in (before, after)]
        balances = [entry.balance for entry in self.entries.values()]
        return {
            'minutes': self._now() / 60,
            'seed': self.seed,
            'machine': f'{len(os.sched_getaffinity(0))} cores, {platform.platform()}',
            'attacks_made': sum(entry.times for name, entry in self.entries.items() if name != 'undisturbed'),
            'published': sum(balance.published for balance in balances),
            'difference': sum(balance.difference for balance in balances),
            'ended': ended,
            'internal_errors': arena.observer.internal_errors,
            'growth_mib': self.growth / 2**20,
            'before_and_after': pairs,
            'attacks': {name: entry.as_values() for name, entry in self.entries.items()},
            'samples': [asdict(sample) for sample in self.samples],
            'failures': self.failures,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument('--minutes', type=float, required=True, help='one round of all attacks at least')
    parser.add_argument('--out', type=Path, help='folder for the table; default: a temporary one')
    parser.add_argument('--seed', type=int, default=0, help='of the order, the times and the contents')
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix='endurance-'))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault('ROS_DOMAIN_ID', str(free_domain()))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    # An end with a report of what came before, and with no process left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Run(options.minutes, options.seed, folder).go()
    (folder / 'report.json').write_text(json.dumps(report, indent=1))
    table = markdown(report)
    (folder / 'table.md').write_text(table)
    print(table)
    return 1 if report['failures'] else 0


if __name__ == '__main__':
    sys.exit(main())
