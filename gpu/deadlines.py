"""Frames against deadlines on CUDA, one network: python3 gpu/deadlines.py MODEL OUT.json [--dry]

Each frame, from the picture (VGA) to the answer, has a budget, drawn evenly between what the cheapest path
and the dearest took at their 99th percentile; adaptive mode, one frame after the other.
--dry does it with eager torch on the CPU, ten frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import numpy as np  # noqa: E402
from benchmark.models import CLASSES, SHIPPED, SIZE, network, torch_source  # noqa: E402
from benchmark.stages import made  # noqa: E402

from impatient_ros.anytime import AnytimeClassifier  # noqa: E402
from impatient_ros.anytime.profile import cached_or_measured  # noqa: E402
from impatient_ros.checkpoint import CheckpointFile, Resolution  # noqa: E402
from impatient_ros.checkpoint import Path as NetworkPath  # noqa: E402
from impatient_ros.images.preprocessing import Preprocessing  # noqa: E402
from impatient_ros.perception.path_text import path_text  # noqa: E402
from impatient_ros.resources import resource_path  # noqa: E402

MODE = 'adaptive'
FRAMES, PROBES = 400, 100
BREATH = 0.005  # s between two frames
# Of networks with random weights, whose classes say nothing: what a trained one mostly gets.
PRECISION = 'f16'


class BestInTime:
    """An observer that keeps the last answer that was there before the deadline."""

    def __init__(self) -> None:
        self.path: tuple[int, int] | None = None  # resolution, exit

    def planned(self, path: NetworkPath | None, protected: NetworkPath | None, slowdown: float) -> None:
        pass

    def answered(self, answer: Any) -> None:
        if answer.met:
            self.path = (answer.resolution, answer.exit_index)

    def completed(self, answer: Any) -> None:
        pass


def classifier(name: str, device: str, kind: str, precision: str) -> AnytimeClassifier:
    """With latencies measured now. Raises CheckpointError, RuntimeUnavailableError."""
    if name in SHIPPED:
        return AnytimeClassifier.from_checkpoint(resource_path('models', SHIPPED[name]), device, kind, MODE)
    runtime = made(torch_source(name), kind, precision, device)
    checkpoint = untrained(name)
    return AnytimeClassifier(
        checkpoint, runtime, cached_or_measured(checkpoint, runtime, refresh=True), mode=MODE
    )


def untrained(name: str) -> CheckpointFile:
    """What a checkpoint would say of a network whose accuracies nobody measured: that more work is better."""
    of = network(name)
    own = Resolution(
        side=SIZE,
        preprocessing=Preprocessing.for_image_size(SIZE),
        accuracies=tuple((t + 1) / (len(of.exits) + 1) for t in range(len(of.exits))),
        temperatures=(1.0,) * len(of.exits),
        macs=tuple(int(macs) for macs in of.costs()),
        graph=None,
    )
    return CheckpointFile(
        labels=tuple(f'class {index}' for index in range(CLASSES)),
        preprocessing=own.preprocessing,
        accuracies=own.accuracies,
        temperatures=own.temperatures,
        provenance={},
        config=of.config,
        graph=None,
        resolutions=(own,),
        digest=name,
        accuracies_measured=False,
    )


def loop(clf: AnytimeClassifier, frames: int, probes: int) -> dict[str, Any]:
    """The record of a run."""
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    clf.warm_up()
    costs = clf.costs()
    cheapest, dearest = min(costs, key=costs.__getitem__), max(costs, key=costs.__getitem__)
    low, high = (
        float(np.percentile(timed_paths(clf, picture, path, probes), 99)) for path in (cheapest, dearest)
    )
    accuracies = {(path.resolution, path.exit_index): path.accuracy for path in clf.paths}
    found: Counter[str] = Counter()
    met = infeasible = 0
    values: list[float] = []
    late: list[float] = []
    for budget in np.random.default_rng(1).permutation(np.linspace(min(low, high), max(low, high), frames)):
        time.sleep(BREATH)
        best = BestInTime()
        answer = clf.classify(picture, budget=float(budget), observer=best)
        infeasible += answer.infeasible
        met += best.path is not None
        values.append(accuracies.get(best.path, 0.0) if best.path else 0.0)
        if best.path is None:
            late.append(-(answer.slack or 0.0))
            found['none'] += 1
        else:
            size, exit_index = best.path
            found[path_text(size, exit_index, resolutions=len(clf.resolutions), exits=clf.exits)] += 1
    order = [
        path_text(p.resolution, p.exit_index, resolutions=len(clf.resolutions), exits=clf.exits)
        for p in clf.paths
    ]
    real = clf.checkpoint.accuracies_measured
    return {
        'mode': MODE,
        'frames': frames,
        'budget_ms': [round(low * 1e3, 4), round(high * 1e3, 4)],
        'met': met,
        'infeasible': infeasible,
        'late_ms_max': round(max(late) * 1e3, 4) if late else None,
        'paths': {text: found[text] for text in [*order, 'none'] if found[text]},
        'expected_accuracy': round(float(np.mean(values)), 4) if real else None,
        'best_accuracy': max(accuracies.values()) if real else None,
    }


def timed_paths(clf: AnytimeClassifier, picture: np.ndarray, path: NetworkPath, count: int) -> list[float]:
    """Seconds from the picture to the answer of a path; the first runs, a tenth, do not count."""
    took: list[float] = []
    for _ in range(count + count // 10 + 1):
        time.sleep(BREATH)
        begin = time.perf_counter()
        clf.classify(picture, path=path)
        took.append(time.perf_counter() - begin)
    return took[-count:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model')
    parser.add_argument('out', type=Path)
    parser.add_argument('--dry', action='store_true')
    options = parser.parse_args()
    device, kind = ('cpu', 'eager') if options.dry else ('cuda', 'cuda_graph')
    frames, probes = (10, 5) if options.dry else (FRAMES, PROBES)
    clf = classifier(options.model, device, kind, PRECISION)
    about = clf.runtime.describe()
    known = {
        'model': options.model,
        'device': device,
        'runtime': kind,
        'precision': about.get('precision', 'f32'),
    }
    record = known | loop(clf, frames, probes)
    options.out.write_text(json.dumps([record], indent=1) + '\n')
    print('  '.join(f'{key} {value}' for key, value in record.items() if value is not None), flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
