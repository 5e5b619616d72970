"""Two runtimes of the same device in one process, run by run.

    python test/benchmark/runtimes.py openvino eager --json OUT [--models A,B] [--seconds 10]
    python test/benchmark/runtimes.py --markdown OUT

Contract (each exit in one call) and interruptible (all exits in turn), with one and with two threads, quiet
and beside a busy process per core. The two take turns for every run, who is first changes, and a run starts
4 ms after the last one, as between frames. One case is measured after the other, so that neither finds its
weights in the cache because another case has just used the same. Each pair's ratio is taken and the median
of these is given, so that what else the machine does meets both alike. OUT is a list of records: model,
threads, load, case, pairs; first_ms and second_ms, lower quartiles; ratio (first / second), and cpu_ratio,
of the processor time of all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import numpy as np  # noqa: E402
from benchmark.models import MODELS, picture, source  # noqa: E402

from impatient_ros.runtime import Runtime, select_runtime  # noqa: E402

BUSY = 'while True: pass'
PAUSE = 0.004  # s before each run
THREADS = (1, 2)
LEAST, MOST = 6, 60  # pairs per case
Record = dict[str, Any]


def compare(names: Sequence[str], model: str, threads: int, seconds: float) -> Iterator[Record]:
    """Every case, quiet and beside load; `seconds` for each of the two."""
    of = source(model)
    image = picture(of.graph.input_shape)
    runtimes = [select_runtime(of, name, 'cpu', threads=threads) for name in names]
    cases: dict[str, Callable[[Runtime], None]] = {
        f'contract {t + 1}': lambda runtime, t=t: _contract(runtime, image, t) for t in range(of.graph.exits)
    }
    cases['interruptible'] = lambda runtime: _interruptible(runtime, image)
    for run in cases.values():
        for runtime in runtimes:
            run(runtime)  # the first one allocates
    for load in (False, True):
        took: dict[str, list[Any]] = {case: [] for case in cases}
        with ExitStack() as stack:
            for _ in range(os.cpu_count() or 1) if load else ():
                busy = stack.enter_context(subprocess.Popen([sys.executable, '-c', BUSY]))
                stack.callback(busy.kill)
            for case, run in cases.items():
                until = time.monotonic() + seconds / len(cases)
                while len(took[case]) < LEAST or (len(took[case]) < MOST and time.monotonic() < until):
                    order = (0, 1) if len(took[case]) % 2 == 0 else (1, 0)
                    pair = {side: _timed(run, runtimes[side]) for side in order}
                    took[case].append((pair[0], pair[1]))
        for case, pairs in took.items():
            yield {
                'model': model,
                'threads': threads,
                'load': load,
                'case': case,
                **_summary(np.array(pairs)),
            }


def _timed(run: Callable[[Runtime], None], runtime: Runtime) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    time.sleep(PAUSE)
    begin, used = time.perf_counter(), time.process_time()
    run(runtime)
    return time.perf_counter() - begin, time.process_time() - used


def _contract(runtime: Runtime, image: np.ndarray, exit_index: int) -> None:
    run = runtime.start(image)
    while run.position <= exit_index:
        run.stage(exit_index)
    run.exit()


def _interruptible(runtime: Runtime, image: np.ndarray) -> None:
    run = runtime.start(image)
    while run.position < runtime.exits:
        run.stage(run.position)
        run.exit()


def _summary(pairs: np.ndarray) -> Record:
    """From [pairs, side, (clock, processor)] in seconds."""
    first, second = np.quantile(pairs[:, :, 0], 0.25, axis=0) * 1e3
    ratio, cpu_ratio = np.median(pairs[:, 0] / pairs[:, 1], axis=0)
    found = {'first_ms': first, 'second_ms': second, 'ratio': ratio, 'cpu_ratio': cpu_ratio}
    return {'pairs': len(pairs), **{name: round(float(value), 3) for name, value in found.items()}}


def markdown(records: Sequence[Record]) -> str:
    """A row per model, threads and load: clock / processor ratios by case, the last exit's milliseconds."""
    cases = list(dict.fromkeys(record['case'] for record in records))
    lines = [
        '| model | threads | beside load | ' + ' | '.join(cases) + ' | last exit, ms |',
        '|' + '---|' * (len(cases) + 4),
    ]
    for key in dict.fromkeys((r['model'], r['threads'], r['load']) for r in records):
        row = {r['case']: r for r in records if (r['model'], r['threads'], r['load']) == key}
        ratios = ' | '.join(f'{row[case]["ratio"]:.2f} / {row[case]["cpu_ratio"]:.2f}' for case in cases)
        model, threads, load = key
        last = row[cases[-2]]
        times = f'{last["first_ms"]:.2f} / {last["second_ms"]:.2f}'
        lines.append(f'| {model} | {threads} | {"yes" if load else "no"} | {ratios} | {times} |')
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('runtimes', nargs='*', help='two runtimes, as the parameter `runtime` names them')
    parser.add_argument('--models', default=','.join(MODELS))
    parser.add_argument('--seconds', type=float, default=10.0, help='for the cases of one row of the table')
    parser.add_argument('--json', type=Path)
    parser.add_argument('--markdown', type=Path, help='print the table of a result')
    options = parser.parse_args(arguments)
    if options.markdown:
        print(markdown(json.loads(options.markdown.read_text())), end='')
        return 0
    if len(options.runtimes) != 2 or not options.json:
        parser.error('give two runtimes and --json OUT, or --markdown RESULT')
    records: list[Record] = []
    for model in options.models.split(','):
        for threads in THREADS:
            for record in compare(options.runtimes, model, threads, options.seconds):
                records.append(record)
                print(record, file=sys.stderr, flush=True)
            options.json.write_text(json.dumps(records, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
