"""Does inference hold up a timer in the same process? A thread that ought to wake up every 100 ms says.

Alone, beside inference without pause, and with what may help: a short switch interval of the interpreter, a
real-time priority of the timer's thread (where the system permits it).
"""

import sys
import threading
import time

import numpy as np

from deadline.subjects import Subject
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.perception.process_threads import schedule

__all__ = ['compare']

PERIOD = 0.1
SWITCH = 0.0005  # s
PRIORITY = 10


def compare(subject: Subject, classifier: AnytimeClassifier, seconds: float) -> dict:
    """How late the timer's wake-ups are, a quarter of `seconds` for each of the four ways."""
    part = seconds / 4
    found = _figures('alone', _lateness(part))
    ended = threading.Event()

    def infer() -> None:
        while not ended.is_set():
            classifier.classify(subject.image)

    thread = threading.Thread(target=infer, daemon=True)
    thread.start()
    try:
        found |= _figures('beside_inference', _lateness(part))
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        found |= _figures('with_switch_interval', _lateness(part))
        sys.setswitchinterval(usual)
        found |= _figures('with_priority', _lateness(part, PRIORITY))
    finally:
        ended.set()
        thread.join()
    return {'model': subject.model, **found}


def _lateness(seconds: float, priority: int = 0) -> np.ndarray:
    """Milliseconds that each wake-up came after its instant; nothing where the priority is not permitted."""
    late: list[float] = []

    def run() -> None:
        try:
            schedule(threading.get_native_id(), priority)
        except OSError:
            return
        start = time.perf_counter()
        for tick in range(1, int(seconds / PERIOD) + 1):
            at = start + tick * PERIOD
            time.sleep(max(0.0, at - time.perf_counter()))
            late.append((time.perf_counter() - at) * 1e3)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return np.array(late)


def _figures(name: str, late: np.ndarray) -> dict:
    if not late.size:
        return {f'{name}_periods': 0}
    return {
        f'{name}_periods': len(late),
        f'{name}_p50_ms': round(float(np.median(late)), 3),
        f'{name}_p99_ms': round(float(np.quantile(late, 0.99)), 3),
        f'{name}_max_ms': round(float(late.max()), 3),
        f'{name}_over_5_ms': int((late > 5.0).sum()),
    }
