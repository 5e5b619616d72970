"""Does inference hold up a timer in the same process? A thread that ought to wake up every 100 ms says."""

import threading
import time

import numpy as np

from deadline.subjects import Subject
from impatient_ros.anytime import AnytimeClassifier

__all__ = ['compare']

PERIOD = 0.1


def compare(subject: Subject, classifier: AnytimeClassifier, seconds: float) -> dict:
    """How late the timer's wake-ups are alone and beside inference without pause, half of `seconds` each."""
    alone = _lateness(seconds / 2)
    ended = threading.Event()

    def infer() -> None:
        while not ended.is_set():
            classifier.classify(subject.image)

    thread = threading.Thread(target=infer, daemon=True)
    thread.start()
    beside = _lateness(seconds / 2)
    ended.set()
    thread.join()
    return {'model': subject.model, **_figures('alone', alone), **_figures('beside_inference', beside)}


def _lateness(seconds: float) -> np.ndarray:
    """Milliseconds that each wake-up came after its instant."""
    late = []
    start = time.perf_counter()
    for tick in range(1, int(seconds / PERIOD) + 1):
        at = start + tick * PERIOD
        time.sleep(max(0.0, at - time.perf_counter()))
        late.append((time.perf_counter() - at) * 1e3)
    return np.array(late)


def _figures(name: str, late: np.ndarray) -> dict:
    return {
        f'{name}_periods': len(late),
        f'{name}_p50_ms': round(float(np.median(late)), 3),
        f'{name}_p99_ms': round(float(np.quantile(late, 0.99)), 3),
        f'{name}_max_ms': round(float(late.max()), 3),
        f'{name}_over_5_ms': int((late > 5.0).sum()),
    }
