"""Writes checkpoints of older formats anew, with their graph, so that they run without torch."""

import argparse
import sys
from collections.abc import Sequence

from impatient_ros.checkpoint import CheckpointError, load, save
from impatient_ros.checkpoint.amending import carry_precisions
from impatient_ros.checkpoint.reading import contents_of
from impatient_ros.standard_output import run_command

__all__ = ['main']


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a checkpoint anew in the format of this version."""
    parser = argparse.ArgumentParser(prog='python -m impatient_ros.checkpoint', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    convert = commands.add_parser('convert', help=main.__doc__, description=main.__doc__)
    convert.add_argument('old', help='the file to read')
    convert.add_argument('new', help='the file to write; may be the same')
    given = parser.parse_args(arguments)
    try:
        old = contents_of(given.old)  # the new one may take its place
        checkpoint = load(given.old)
        resolutions = checkpoint.resolutions
        save(
            checkpoint.network,
            given.new,
            labels=checkpoint.labels,
            preprocessing=checkpoint.preprocessing,
            resolutions=[each.side for each in resolutions] if len(resolutions) > 1 else (),
            accuracies=[each.accuracies for each in resolutions] if checkpoint.accuracies_measured else None,
            temperatures=[each.temperatures for each in resolutions],
            provenance=checkpoint.provenance,
            half=checkpoint.half,
        )
        if not carry_precisions(old, given.new):
            sys.stderr.write(
                f'{given.new} says less of other precisions than {given.old}, its weights, paths or graphs '
                'are others: measure them anew (python -m training.evaluate --precision, training.quantize)\n'
            )
    except (CheckpointError, OSError) as error:
        sys.stderr.write(f'{error}\n')
        return 1
    return 0


if __name__ == '__main__':
    run_command(main)
