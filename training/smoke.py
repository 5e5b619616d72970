"""Trains, evaluates and reports in seconds, on generated pictures of three classes, for `make train-smoke`.

python -m training.smoke runs/smoke             # a folder for the pictures, the checkpoint and the report
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from impatient_ros.standard_output import run_command
from training import evaluate, report, train

__all__ = ['CLASSES', 'main', 'picture', 'write']

CLASSES = ('disc', 'ring', 'square')
CONFIG = Path(__file__).resolve().parents[1] / 'config' / 'train' / 'smoke.yaml'


def picture(label: str, rng: np.random.Generator, side: int = 40) -> np.ndarray:
    """A bright shape on a noisy ground, [side, side, 3] uint8 RGB."""
    ground = rng.integers(30, 110, 3)
    image = np.clip(ground + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)
    colour = tuple(int(c) for c in rng.integers(150, 256, 3))
    radius = int(rng.integers(side // 5, side // 3))
    x, y = (int(v) for v in rng.integers(radius + 1, side - radius - 1, 2))
    if label == 'square':
        cv2.rectangle(image, (x - radius, y - radius), (x + radius, y + radius), colour, -1)
    else:
        cv2.circle(image, (x, y), radius, colour, -1 if label == 'disc' else max(2, radius // 4))
    return image


def write(folder: Path, counts: dict[str, int], seed: int = 0) -> None:
    """`counts[split]` pictures of every class as PNG files, <folder>/<split>/<class>/<number>.png."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                image = cv2.cvtColor(picture(label, rng), cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(folder / split / label / f'{index:03}.png'), image)


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate the pictures, train two epochs, evaluate, report; all of it in one folder."""
    parser = argparse.ArgumentParser(prog='python -m training.smoke', description=main.__doc__)
    parser.add_argument('folder', type=Path, help='where everything is written')
    folder = parser.parse_args(arguments).folder
    data, model, found = folder / 'data', folder / 'model.safetensors', folder / 'evaluation.json'
    write(data, {'train': 100, 'validation': 40})
    fit = ['fit', '--config', str(CONFIG), '--data.source', str(data), '--output', str(folder)]
    score = ['--checkpoint', str(model), '--data', str(data), '--split', 'validation', '--json', str(found)]
    steps = (
        (train.main, [*fit, '--resume', 'false']),
        (evaluate.main, [*score, '--threads', '1']),
        (report.main, [str(found), '-o', str(folder / 'report.html')]),
    )
    return next((code for step, options in steps if (code := step(options))), 0)


if __name__ == '__main__':
    run_command(main)
