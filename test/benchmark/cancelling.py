"""How long after it is cancelled a run on OpenVINO goes on, and what it costs to be able to.

    python test/benchmark/cancelling.py [--models resnet50,default] [--threads 1,2] [--json OUT]

The whole path to the last exit (of `default`, at the largest resolution) is cancelled by another thread after
a quarter, a half and three quarters of its time. free_ms is how long after that the calling thread has the
processor again, left_ms what the run would still have taken; quantiles p10, p50 and p90 over the runs. infer
and asynchronous are the two ways to execute that can be cancelled, run in turns: p10, and async_ratio the
median of the ratios of pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import numpy as np  # noqa: E402
from benchmark.models import picture, source  # noqa: E402

from impatient_ros.runtime import select_runtime  # noqa: E402
from impatient_ros.runtime.base import RunCancelledError  # noqa: E402

SHARES = (0.25, 0.5, 0.75)  # of a run's time, after which it is cancelled
Record = dict[str, Any]


def measured(name: str, threads: int, runs: int) -> Iterator[Record]:
    """One record of the ways to execute, one for each share."""
    runtime = select_runtime(source(name), 'openvino', 'cpu', threads=threads)
    side, last = runtime.sides[-1], runtime.exits - 1
    image = picture((3, side, side))
    known = {'model': name, 'threads': threads}

    def infer() -> None:
        runtime.start(image).stage(last)

    prepared = runtime._current['path' if last else 'stage_exit', last]  # type: ignore[attr-defined]

    def asynchronous() -> None:
        prepared.request.start_async(share_inputs=True)
        prepared.request.wait()

    infer()
    took = np.array([[_seconds(infer), _seconds(asynchronous)] for _ in range(3 + runs)])[3:]
    ways = np.quantile(took, 0.1, axis=0) * 1e3
    ratio = float(np.median(took[:, 1] / took[:, 0]))
    found = {'infer_ms': ways[0], 'asynchronous_ms': ways[1], 'async_ratio': ratio}
    yield {**known, **{name: round(float(value), 3) for name, value in found.items()}}
    usual = float(np.quantile(took[:, 0], 0.1))
    for share in SHARES:
        free, left = [], []
        for _ in range(runs):
            moment = _cancelled(runtime, infer, share * usual)
            if moment is not None:
                free.append(moment)
                left.append((1 - share) * usual)
        yield {
            **known,
            'share': share,
            'cancelled': len(free),
            'of': runs,
            'free_ms': [round(float(q) * 1e3, 2) for q in np.quantile(free, (0.1, 0.5, 0.9))] if free else [],
            'left_ms': round((1 - share) * usual * 1e3, 2),
        }


def _cancelled(runtime: Any, run: Callable[[], None], after: float) -> float | None:
    """Seconds from the cancellation to the end of the run; None where it came too late."""
    cancelled_at = 0.0
    begun = threading.Event()

    def cancel() -> None:
        nonlocal cancelled_at
        begun.wait()
        time.sleep(after)
        cancelled_at = time.perf_counter()
        runtime.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    begun.set()
    try:
        run()
    except RunCancelledError:
        ended = time.perf_counter()
        thread.join()
        return ended - cancelled_at
    thread.join()
    return None


def _seconds(run: Callable[[], None]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--models', default='resnet50,default')
    parser.add_argument('--threads', default='1,2')
    parser.add_argument('--runs', type=int, default=40)
    parser.add_argument('--json', type=Path)
    options = parser.parse_args(arguments)
    records = []
    for name in options.models.split(','):
        for threads in options.threads.split(','):
            for record in measured(name, int(threads), options.runs):
                records.append(record)
                print(record, flush=True)
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
