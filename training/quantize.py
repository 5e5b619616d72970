"""A checkpoint with its network in int8 as well, and what its paths are worth in it.

    python -m training.quantize model.safetensors --data camera.mcap --validation pictures.zip --out NEW

Layers are quantised by NNCF on calibration pictures (--data: a folder, a zip, a bag or a video; they need no
labels). The layers that give the exits' scores stay in single precision, and so do the most sensitive ones,
until no path's accuracy on the labelled pictures falls by more than 0.2 points; where that is not reached,
the best that was found is written, and said. The file's weights serve both precisions: it grows by the int8
graph alone.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from impatient_ros.checkpoint import CheckpointError, read
from impatient_ros.checkpoint.amending import add_precision
from impatient_ros.checkpoint.precisions import MOST_DROP, int8_names
from impatient_ros.runtime import RuntimeUnavailableError
from impatient_ros.standard_output import run_command
from training.data.labelled_pictures import read as read_labelled
from training.data.unlabelled_pictures import read_unlabelled
from training.quantization.search import best_candidate
from training.scoring.classes import with_labels
from training.scoring.precision import precision_table

__all__ = ['main']

PICTURES = 300  # NNCF's own default


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where something that was given cannot be used."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('training').setLevel(logging.INFO)
    try:
        print(_quantized(given))
    except (ValueError, CheckpointError, RuntimeUnavailableError, OSError) as error:
        print(f'quantize: {error}', file=sys.stderr)
        return 2
    return 0


def _quantized(given: argparse.Namespace) -> str:
    """Write the new checkpoint; returns what it is worth, for people."""
    file = read(given.checkpoint)
    if file.graph is None:
        raise CheckpointError(
            f'{given.checkpoint} has no graph: write it anew with python -m impatient_ros.checkpoint convert'
        )
    side = max(each.preprocessing.target_side for each in file.resolutions)
    # All of them calibrate, but for one, which has to be held out.
    learn, _ = read_unlabelled(given.data, file.labels, shorter_side=side, hold_out=1, limit=given.pictures)
    validating = read_labelled(given.validation, given.split, keep=False)
    pictures = with_labels(validating, file.labels, 'the checkpoint')
    about = f'{Path(given.validation).name}, {given.split}'
    found = best_candidate(given.checkpoint, file, learn, pictures, about)
    Path(given.out).parent.mkdir(parents=True, exist_ok=True)
    add_precision(given.checkpoint, given.out, 'int8', found.record, int8_names(found.stored))
    lines = [
        precision_table(file, 'int8', found.record),
        f'{given.out}: {found.layers - len(found.single)} of {found.layers} layers in int8',
    ]
    if not found.holds:
        lines.append(
            f'no choice of layers kept every path within {100 * MOST_DROP:g} points: this one loses least; '
            'calibration pictures that are more like those of the camera may help'
        )
    return '\n'.join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.quantize', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('checkpoint', help='the .safetensors file')
    parser.add_argument(
        '--data', required=True, help='to calibrate on, without labels: folder, zip, bag or video'
    )
    parser.add_argument(
        '--validation', required=True, help='with labels: folder, zip, or torchvision:<data set>:<folder>'
    )
    parser.add_argument('--split', default='val', help='of --validation; default: %(default)s')
    parser.add_argument('--out', required=True, help='the checkpoint to write; may be the same')
    parser.add_argument(
        '--pictures', type=int, default=PICTURES, help='of --data, at most; default: %(default)s'
    )
    return parser


if __name__ == '__main__':
    run_command(main)
