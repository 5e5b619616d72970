"""From an existing classifier to a checkpoint that the node runs, without training.

    python -m training.import_network --timm resnet10t --weights DEFAULT --output resnet10t.safetensors
    python -m training.import_network --torchvision resnet18 --weights own.pth --labels names.txt --data D
    python -m training.import_network --factory package.module:function --weights own.pth --image-size 96
    python -m training.import_network --timm tf_efficientnet_lite0 --weights own.pth --resolutions 96,160,224

By default the network has one exit, the classifier's own. With --exits it gets more, whose heads are
untrained: such a file is a start for training.train (model.network.start), not yet something to deploy. With
--resolutions a network that takes images of several sizes answers at each of them, so that a robot can take
the best one that its deadline allows; --data measures what each is worth. A factory is a function (or class)
that gives a torch.nn.Module; it is imported and called, so name only code that you trust.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from impatient_ros.checkpoint import CheckpointError, Preprocessing, save
from impatient_ros.checkpoint.store import rounded_to_half
from impatient_ros.images.preprocessing import FITS
from impatient_ros.network import ImpatientNetwork, families
from impatient_ros.network.families.weights import read_state
from impatient_ros.standard_output import run_command
from training.data.labelled_pictures import Pictures, read
from training.model.networks import module_of
from training.scoring.classes import with_labels
from training.scoring.paths import ResolutionScores, evaluate_resolutions, path_rows, path_table, sides_of

__all__ = ['main']

log = logging.getLogger(__name__)

_SHORT = ('torchvision', 'timm')  # families with an option of their own


@dataclass(frozen=True)
class _Imported:
    """A network and what its source says of its images and classes."""

    network: ImpatientNetwork
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None
    about: dict[str, Any]  # for the checkpoint's provenance


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the classifier, its weights or the data cannot be used."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    try:
        _import(given, shlex.join(['python', '-m', 'training.import_network', *arguments]))
    except (ValueError, OSError, CheckpointError) as error:
        print(f'import_network: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    return 0


def _import(given: argparse.Namespace, command: str) -> None:
    own = None if given.labels is None else _lines(Path(given.labels))
    if own is not None and given.classes not in (None, len(own)):
        raise ValueError(f'{given.labels} has {len(own)} labels, --classes says {given.classes}')
    pictures = None if given.data is None else read(given.data, given.split)
    if own is not None and pictures is not None:
        pictures = with_labels(pictures, own, given.labels)
    wanted = own or (pictures.labels if pictures is not None else None)
    classes = given.classes or (len(wanted) if wanted else None)
    imported = _from_factory(given, classes) if given.factory else _from_family(given, classes)
    network, exits = imported.network, len(imported.network.exits)
    labels = wanted or imported.labels
    if labels is None or len(labels) != network.classes:
        if wanted is not None:
            raise ValueError(f'{len(wanted)} labels for a network of {network.classes} classes')
        labels = tuple(f'class {number}' for number in range(network.classes))
        log.warning('the classes have no names, they are called "class 0" and so on: write --labels FILE')
    if given.half:
        rounded_to_half(network)  # before it is measured
    sides = _sides(given, imported.preprocessing)
    found = None if pictures is None else _evaluated(network, pictures, imported.preprocessing, sides)
    if found is None and len(sides) > 1:
        log.warning(
            'nobody measured what the resolutions are worth; the largest that a deadline allows counts as '
            'best: '
            'write --data, or measure them later with python -m training.evaluate --write'
        )
    if exits > 1:
        log.warning(
            'only the last of %d exits is trained, the others answer at random: train them before a robot '
            'relies on them (python -m training.train fit --model.network.start %s ...)', exits, given.output,
        )  # fmt: skip
    temperatures = None if found is None else [each.scores.temperatures() for each in found]
    output = Path(given.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    save(
        network,
        output,
        labels=labels,
        preprocessing=imported.preprocessing,
        resolutions=sides,
        accuracies=None if found is None else [each.scores.accuracies for each in found],
        temperatures=temperatures,
        half=given.half,
        provenance={
            'command': command,
            'method': 'imported, not trained here',
            'trained_exits': [exits - 1],
            **imported.about,
            'accuracy': f'{given.split}, {len(pictures)} pictures'
            if pictures is not None
            else 'not measured',
            'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            'torch': torch.__version__,
        },
    )
    if found is None or temperatures is None:
        print(path_table(_unmeasured(network, sides)))
    else:
        print(path_table(path_rows(found, temperatures)))
    log.info('wrote %s, %.2f MB', output, output.stat().st_size / 1e6)


def _from_family(given: argparse.Namespace, classes: int | None) -> _Imported:
    short = ((family, getattr(given, family)) for family in _SHORT)
    family, name = given.family or next(pair for pair in short if pair[1] is not None)
    source = families.find(family)
    source.check(name)
    preprocessing = _preprocessing(given, source.preprocessing(name))
    log.info('building %s of %s for images of %dx%d', name, family, *preprocessing.size)
    if given.weights is None:
        log.warning('no --weights: this network answers at random until it is trained')
    network = ImpatientNetwork.from_family(
        family, name, given.exits, classes, given.weights, preprocessing.size
    )
    labels = source.labels(name, given.weights)
    return _Imported(
        network,
        preprocessing,
        # Where the last layer was replaced, the classes are not those of the weights any more.
        labels if labels is not None and classes in (None, len(labels)) else None,
        {'network': {'family': family, 'backbone': name, 'exits': given.exits, 'weights': given.weights}},
    )


def _from_factory(given: argparse.Namespace, classes: int | None) -> _Imported:
    path = given.factory.replace(':', '.')
    preprocessing = _preprocessing(given, Preprocessing.for_image_size(224))
    log.info('calling %s', given.factory)
    module = module_of(path, {}, classes)
    if given.weights is not None:
        try:
            module.load_state_dict(read_state(given.weights))
        except RuntimeError as error:  # torch's list of all that does not fit
            raise ValueError(f'{given.weights} does not fit {given.factory}: {str(error)[:300]}') from error
    network = ImpatientNetwork.from_module(
        module, torch.zeros(1, 3, *preprocessing.size), given.exits, classes
    )
    about = {'module': path, 'exits': given.exits, 'weights': given.weights}
    return _Imported(network, preprocessing, None, {'network': about})


def _preprocessing(given: argparse.Namespace, default: Preprocessing) -> Preprocessing:
    """The default one at the size and with the colours asked for; its margin grows with the size."""
    largest = (sides_of(given.resolutions)[-1],) if given.resolutions else default.size
    size = given.image_size or largest
    size = (size[0], size[0]) if len(size) == 1 else size
    resize = round(min(size) * default.resize / min(default.size))
    mean, std = given.mean or default.mean, given.std or default.std
    return Preprocessing(size, resize, mean, std, fit=given.fit or default.fit)


def _sides(given: argparse.Namespace, preprocessing: Preprocessing) -> tuple[int, ...]:
    """The resolutions asked for, with the network's own; () where there are no squares."""
    height, width = preprocessing.size
    if height != width:
        if given.resolutions:
            raise ValueError(
                f'--resolutions: images are of {height}x{width}, only squares have several sizes'
            )
        return ()
    return sides_of(given.resolutions or str(height), height)


def _evaluated(
    network: ImpatientNetwork, pictures: Pictures, preprocessing: Preprocessing, sides: Sequence[int]
) -> list[ResolutionScores]:
    if len(pictures.labels) != network.classes:
        raise ValueError(f'the data has {len(pictures.labels)} classes, the network {network.classes}')
    log.info('running %d pictures', len(pictures))
    return evaluate_resolutions(network, pictures, preprocessing, sides)


def _unmeasured(network: ImpatientNetwork, sides: Sequence[int]) -> list[dict[str, Any]]:
    networks = [network.at(side) for side in sides] or [network]
    return [
        {'resolution': min(each.input_shape[1:]), 'exit_index': t, 'macs': macs}
        for each in networks
        for t, macs in enumerate(each.costs())
    ]


def _lines(path: Path) -> tuple[str, ...]:
    labels = tuple(line.strip() for line in path.read_text(encoding='utf-8').splitlines() if line.strip())
    if not labels:
        raise ValueError(f'{path} is empty: write one label per line, in the order of the scores')
    return labels


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.import_network',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    for family in _SHORT:
        source.add_argument(f'--{family}', metavar='NAME', help=f'a classifier of {family}')
    source.add_argument(
        '--family', nargs=2, metavar=('FAMILY', 'NAME'), help='a classifier of another installed family'
    )
    source.add_argument(
        '--factory', metavar='PACKAGE.MODULE:FUNCTION', help='what makes a torch.nn.Module; code you trust'
    )
    parser.add_argument('--weights', help='DEFAULT (downloaded where it is not cached), or a state dict')
    parser.add_argument('--classes', type=int, help="how many; default: the labels', or the weights'")
    parser.add_argument(
        '--labels',
        metavar='FILE',
        help="one per line, in the scores' order; default: the data's or the weights'",
    )
    parser.add_argument('--exits', type=int, default=1, help='default: %(default)s, the classifier as it is')
    parser.add_argument(
        '--image-size',
        type=int,
        nargs='+',
        metavar='PIXELS',
        help="a square's side, or height and width; default: the largest resolution, or that of the family's "
        'own weights, or 224',
    )
    parser.add_argument(
        '--resolutions',
        metavar='SIDES',
        help='sides in pixels to answer at, as 96,128,160,192,224; default: the image size alone',
    )
    parser.add_argument(
        '--fit',
        choices=FITS,
        help='how a picture becomes a square: crop, its centre, or squash, all of it; default: crop',
    )
    parser.add_argument('--half', action='store_true', help='store the weights in half precision')
    for name in ('mean', 'std'):
        parser.add_argument(
            f'--{name}',
            type=float,
            nargs=3,
            metavar=('R', 'G', 'B'),
            help="of colours from 0 to 1; default: that of the family's own weights, or ImageNet's",
        )
    parser.add_argument(
        '--data', help='folder, zip, or torchvision:<data set>:<folder> to measure accuracies on'
    )
    parser.add_argument('--split', default='validation', help='of the data; default: %(default)s')
    parser.add_argument('--output', default='model.safetensors', help='default: %(default)s')
    return parser


if __name__ == '__main__':
    torch.set_flush_denormal(True)  # for the whole process: tiny numbers would slow it down
    run_command(main)
