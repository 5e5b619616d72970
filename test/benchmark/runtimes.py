"""This checkout's CPU runtime against another checkout's, by turns.

    python test/benchmark/runtimes.py --other CHECKOUT --json OUT [--models A,B] [--rounds 9] [--seconds 20]
    python test/benchmark/runtimes.py --markdown OUT

Contract (each exit in one go) and interruptible (all exits in turn), with one and with two threads, quiet and
beside a busy process per core. Each side runs in a process of its own with its own checkout's code, takes its
turn directly after the other's, and starts every run 4 ms after the last one, as between frames; a ratio is
the median over the rounds of the ratio of neighbouring turns' medians, so that what else the machine does
meets both sides alike. OUT is a list of records: model, threads, load, case, ours_ms, other_ms, ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUSY = 'while True: pass'
PAUSE = 0.004  # s before each run
RUNS = 4  # per turn
THREADS = (1, 2)
Record = dict[str, Any]


class Side:
    """A process with one checkout's runtime."""

    def __init__(self, checkout: Path, model: str, threads: int) -> None:
        command = [sys.executable, __file__, '--serve', str(checkout), model, str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.exits = int(self._answer())

    def turn(self, case: str) -> list[float]:
        """Seconds of `RUNS` runs."""
        assert self._process.stdin is not None
        print(case, file=self._process.stdin, flush=True)
        return json.loads(self._answer())

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError('a side of the comparison ended; its message stands above')
        return line


def serve(checkout: str, model: str, threads: int) -> None:
    """Answer each case on stdin with the durations of one turn."""
    sys.path[:0] = [checkout, f'{checkout}/test']
    runtime, image = _runtime(model, threads)
    cases: dict[str, Callable[[], None]] = {'interruptible': lambda: _interruptible(runtime, image)}
    for t in range(runtime.exits):
        cases[f'contract {t + 1}'] = lambda t=t: _contract(runtime, image, t)
    print(runtime.exits, flush=True)
    for line in sys.stdin:
        durations = []
        for _ in range(RUNS):
            time.sleep(PAUSE)
            begin = time.perf_counter()
            cases[line.strip()]()
            durations.append(time.perf_counter() - begin)
        print(json.dumps(durations), flush=True)


def _runtime(model: str, threads: int) -> tuple[Any, Any]:
    """The runtime of the checkout that comes first in sys.path, and an image."""
    from benchmark import models
    from impatient_ros import runtime

    if hasattr(runtime, 'Source'):
        made = runtime.select_runtime(models.source(model), 'auto', 'cpu', threads=threads)
        return made, models.picture(made.shape[1:])
    from impatient_ros.runtime.onnx.runtime import OnnxRuntime  # checkouts before OpenVINO

    network = models.network(model)
    return OnnxRuntime(network, models.digest(model), threads=threads), models.picture(network.input_shape)


def _contract(runtime: Any, image: Any, exit_index: int) -> None:
    run = runtime.start(image)
    run.stage(exit_index)
    run.exit()


def _interruptible(runtime: Any, image: Any) -> None:
    run = runtime.start(image)
    while run.position < runtime.exits:
        run.stage(run.position)
        run.exit()


def compare(other: Path, model: str, threads: int, *, rounds: int, seconds: float) -> Iterator[Record]:
    """Every case, quiet and beside load."""
    import numpy as np

    with closing(Side(ROOT, model, threads)) as ours, closing(Side(other, model, threads)) as theirs:
        cases = [*(f'contract {t + 1}' for t in range(ours.exits)), 'interruptible']
        for load in (False, True):
            took: dict[str, list[tuple[list[float], list[float]]]] = {case: [] for case in cases}
            with ExitStack() as stack:
                for _ in range(os.cpu_count() or 1) if load else ():
                    stack.callback(subprocess.Popen([sys.executable, '-c', BUSY]).kill)
                until = time.monotonic() + seconds
                for done in range(rounds):
                    if done >= 3 and time.monotonic() > until:
                        break
                    for case in cases:
                        took[case].append((ours.turn(case), theirs.turn(case)))
            for case, turns in took.items():
                medians = np.median(np.array(turns), axis=2)  # [rounds, side]
                mine, its = np.median(medians, axis=0) * 1e3
                yield {
                    'model': model,
                    'threads': threads,
                    'load': load,
                    'case': case,
                    'rounds': len(turns),
                    'ours_ms': round(float(mine), 3),
                    'other_ms': round(float(its), 3),
                    'ratio': round(float(np.median(medians[:, 0] / medians[:, 1])), 3),
                }


def markdown(records: Sequence[Record]) -> str:
    """A row per model, threads and load: ratios (ours / other) by case, and the last exit's milliseconds."""
    cases = list(dict.fromkeys(record['case'] for record in records))
    lines = [
        '| model | threads | beside load | ' + ' | '.join(cases) + ' | last exit, ours / other, ms |',
        '|' + '---|' * (len(cases) + 4),
    ]
    for key in dict.fromkeys((r['model'], r['threads'], r['load']) for r in records):
        row = {r['case']: r for r in records if (r['model'], r['threads'], r['load']) == key}
        last = row[cases[-2]]
        ratios = ' | '.join(f'{row[case]["ratio"]:.2f}' for case in cases)
        model, threads, load = key
        times = f'{last["ours_ms"]:.2f} / {last["other_ms"]:.2f}'
        lines.append(f'| {model} | {threads} | {"yes" if load else "no"} | {ratios} | {times} |')
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--other', type=Path, help='a checkout with the runtime to compare with')
    parser.add_argument('--models', default='resnet18,resnet50,mobilenet_v3_large,efficientnet_b0,default')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--seconds', type=float, default=20.0, help='after these no further round starts')
    parser.add_argument('--json', type=Path)
    parser.add_argument('--markdown', type=Path, help='print the table of a result')
    parser.add_argument('--serve', nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        checkout, model, threads = options.serve
        serve(checkout, model, int(threads))
        return 0
    if options.markdown:
        print(markdown(json.loads(options.markdown.read_text())), end='')
        return 0
    if not options.other or not options.json:
        parser.error('give --other CHECKOUT and --json OUT, or --markdown RESULT')
    records: list[Record] = []
    for model in options.models.split(','):
        for threads in THREADS:
            for record in compare(
                options.other, model, threads, rounds=options.rounds, seconds=options.seconds
            ):
                records.append(record)
                print(record, file=sys.stderr, flush=True)
            options.json.write_text(json.dumps(records, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
