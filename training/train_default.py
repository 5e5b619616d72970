"""Train the default model: a small impatient network whose exits learn jointly, written as one checkpoint.

    python -m training.train_default --data clothing10.zip --pretrain cifar10.zip --output model.safetensors

The backbone may first learn on another data set (`--pretrain`); then all exits learn jointly on `--data`,
weighted by the budgets' uniform distribution over [0, 1.2 c_T] with costs proportional to MACs. The weights
are averaged over the last steps. Accuracy is measured on the split `validation` from the picture files with
the runtime's own preprocessing. Nothing is chosen on that split but the temperatures, which do not change the
accuracy; the calibration error is that of each half of it with the temperatures of the other half.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import hashlib
import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from impatient_ros.budgets import SUPPORT, Uniform, exit_weights
from impatient_ros.checkpoint import save
from impatient_ros.network import ImpatientNetwork
from impatient_ros.preprocess import Preprocessing
from training.augmentation import Augmentation
from training.data import Pictures, batches, read
from training.evaluate import evaluate
from training.objective import JointRisk

__all__ = ['Schedule', 'fit', 'main']

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn; the learning rate warms up and then falls along a cosine."""

    epochs: int
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warm_up: float = 0.1  # share of the steps
    averaging: float = 0.996  # decay of the weights' running average per step


def fit(
    network: ImpatientNetwork,
    pictures: Pictures,
    schedule: Schedule,
    *,
    sizes: Sequence[int],
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    seed: int = 0,
    each_epoch: Callable[[int, ImpatientNetwork, dict[str, Any]], None] | None = None,
) -> ImpatientNetwork:
    """Learn all exits jointly and return the averaged network in eval mode.

    `sizes` are the side lengths (px) of the pictures, one after the other over equal parts of the epochs:
    small ones first save time. After every epoch `each_epoch(epoch, averaged network, report)` is called, the
    report with loss (per exit), seconds and size.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    costs = network.costs('contract')
    risk = JointRisk(
        exit_weights(Uniform(0.0, SUPPORT * costs[-1]), costs).tolist(),
        label_smoothing=schedule.label_smoothing,
    )
    log.info('exit weights %s', ' '.join(f'{w:.3f}' for w in risk.weights))
    network = network.to(memory_format=torch.channels_last).train()
    averaged = copy.deepcopy(network).eval()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]  # biases and norms: decay would only shrink them
    optimiser = torch.optim.AdamW(
        [{'params': decayed, 'weight_decay': schedule.weight_decay}, {'params': plain, 'weight_decay': 0.0}],
        lr=schedule.learning_rate,
    )
    steps = schedule.epochs * max(1, len(pictures) // schedule.batch_size)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        schedule.learning_rate,
        total_steps=steps + 1,
        pct_start=schedule.warm_up,
        cycle_momentum=False,
    )
    step = 0
    for epoch in range(schedule.epochs):
        start = time.monotonic()
        size = sizes[epoch * len(sizes) // schedule.epochs]
        total = torch.zeros(len(costs))
        count = 0
        for x, target in batches(
            pictures,
            size=size,
            batch_size=schedule.batch_size,
            mean=preprocessing.mean,
            std=preprocessing.std,
            rng=rng,
            augmentation=augmentation,
        ):
            optimiser.zero_grad(set_to_none=True)
            loss, losses = risk(network(x), target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            rate.step()
            step += 1
            _average(averaged, network, min(schedule.averaging, step / (step + 10)))
            total += losses
            count += 1
        report = {'loss': (total / count).tolist(), 'seconds': time.monotonic() - start, 'size': size}
        if each_epoch is not None:
            each_epoch(epoch, averaged, report)
    return averaged


@torch.no_grad()
def _average(averaged: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """averaged = decay * averaged + (1 - decay) * network, statistics of batch norm included."""
    theirs = network.state_dict()
    for name, mine in averaged.state_dict().items():
        if mine.is_floating_point():
            mine.lerp_(theirs[name], 1 - decay)
        else:
            mine.copy_(theirs[name])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the data or an option cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        _train(options, shlex.join(sys.argv[1:] if arguments is None else arguments))
    except (ValueError, FloatingPointError, OSError) as error:
        print(f'train_default: {error}', file=sys.stderr)
        return 2
    return 0


def _train(options: argparse.Namespace, command: str) -> None:
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', datefmt='%H:%M:%S')
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)
    preprocessing = Preprocessing(options.size, options.resize)
    started = time.monotonic()

    def build(classes: int) -> ImpatientNetwork:
        return ImpatientNetwork.from_torchvision(
            options.backbone,
            exits=options.exits,
            classes=classes,
            image_size=options.size,
            cuts=options.cuts.split(',') if options.cuts else None,
        )

    carried: dict[str, torch.Tensor] = {}
    if options.pretrain:
        other = read(options.pretrain, 'train', shorter_side=options.pretrain_size)
        carried = _pretrained(build(len(other.labels)), other, options, preprocessing)
    elif options.start:
        carried = torch.load(options.start, weights_only=True)
    if not options.epochs:
        return

    # A quarter more than the network sees leaves room for crops and costs no sharpness.
    pictures = read(options.data, 'train', shorter_side=round(1.25 * preprocessing.resize))
    validation = read(options.data, 'validation')
    network = build(len(pictures.labels))
    _carry_over(network, carried)

    def finish(averaged: ImpatientNetwork, epochs: int) -> None:
        evaluation = evaluate(averaged, validation, preprocessing)
        before, after = evaluation.calibration_errors(), evaluation.held_out_calibration_errors()
        log.info('validation accuracy %s', _percent(evaluation.accuracies))
        log.info('calibration error %s before, %s after temperature', _percent(before), _percent(after))
        save(
            averaged,
            options.output,
            labels=pictures.labels,
            preprocessing=preprocessing,
            accuracies=evaluation.accuracies,
            temperatures=evaluation.temperatures(),
            provenance={
                'command': f'python -m training.train_default {command}',
                'data': f'{Path(options.data).name} sha256 {_digest(Path(options.data))}',
                'pretraining': options.started_from
                or (Path(options.pretrain).name if options.pretrain else 'none'),
                'training_pictures': len(pictures),
                'epochs': epochs,
                'seed': options.seed,
                'budgets': f'uniform over 0 to {SUPPORT} of the last cost, costs as MACs, floor 0.05',
                'accuracy': f'split validation, {len(validation)} pictures, none of them trained on',
                'temperature': 'fitted on the split validation; calibration errors by halves',
                'calibration_error': [round(e, 4) for e in after],
                'calibration_error_uncalibrated': [round(e, 4) for e in before],
                'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
                'torch': torch.__version__,
                'seconds': round(time.monotonic() - started),
            },
        )

    def each_epoch(epoch: int, averaged: ImpatientNetwork, report: dict[str, Any]) -> None:
        log.info('epoch %d %s', epoch + 1, _line(report))
        if (epoch + 1) % options.save_every == 0:
            finish(averaged, epoch + 1)

    schedule = Schedule(options.epochs, learning_rate=options.learning_rate, batch_size=options.batch_size)
    averaged = fit(
        network,
        pictures,
        schedule,
        sizes=options.sizes or [options.size],
        preprocessing=preprocessing,
        augmentation=Augmentation(),
        seed=options.seed,
        each_epoch=each_epoch,
    )
    finish(averaged, options.epochs)


def _pretrained(
    network: ImpatientNetwork, pictures: Pictures, options: argparse.Namespace, preprocessing: Preprocessing
) -> dict[str, torch.Tensor]:
    """Learn another data set with the same exits; its state, also written to --start where that is given."""

    def each_epoch(epoch: int, averaged: ImpatientNetwork, report: dict[str, Any]) -> None:
        log.info('pretraining epoch %d %s', epoch + 1, _line(report))
        if options.start:
            torch.save(averaged.state_dict(), options.start)

    averaged = fit(
        network,
        pictures,
        Schedule(options.pretrain_epochs, batch_size=128, learning_rate=3e-3, label_smoothing=0.0),
        sizes=[options.pretrain_size],
        preprocessing=preprocessing,
        augmentation=Augmentation(area=(0.4, 1.0), rotation=5.0, erase=0.0, mix=0.0),
        seed=options.seed,
        each_epoch=each_epoch,
    )
    return averaged.state_dict()


def _carry_over(network: ImpatientNetwork, state: dict[str, torch.Tensor]) -> None:
    """Start from another network of the same build; layers whose shape differs start afresh."""
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
    if state:
        log.info('carried over %d of %d tensors', len(fitting), len(own))


def _line(report: dict[str, Any]) -> str:
    loss = ' '.join(f'{value:.3f}' for value in report['loss'])
    return f'{report["size"]} px, loss {loss}, {report["seconds"]:.0f} s'


def _percent(values: Sequence[float]) -> str:
    return ' '.join(f'{100 * value:.1f}%' for value in values)


def _digest(path: Path) -> str:
    if path.is_dir():
        return 'of a folder: none'
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m training.train_default', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument(
        '--data', default='../shared/data/clothing10.zip', help='folder or zip, splits train and validation'
    )
    parser.add_argument('--output', default='models/clothing10.safetensors', help='the checkpoint to write')
    parser.add_argument('--backbone', default='shufflenet_v2_x1_0', help='a torchvision classifier')
    parser.add_argument('--exits', type=int, default=5)
    parser.add_argument('--cuts', default='', help='cut points, separated by commas; default: evenly by cost')
    parser.add_argument('--size', type=int, default=128, help='side of the network input, px')
    parser.add_argument('--resize', type=int, default=136, help='shorter side before the centre crop, px')
    parser.add_argument(
        '--sizes', type=int, nargs='+', help='training sizes over the epochs, px; default: --size'
    )
    parser.add_argument('--epochs', type=int, default=100)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--learning-rate', type=float, default=2e-3)
    parser.add_argument('--save-every', type=int, default=10, help='epochs between checkpoints')
    parser.add_argument('--pretrain', help='another data set to learn first, split train')
    parser.add_argument('--pretrain-epochs', type=int, default=8)
    parser.add_argument('--pretrain-size', type=int, default=64, help='px')
    parser.add_argument('--start', help='state file: written by --pretrain, read without it')
    parser.add_argument(
        '--started-from', default='', help='what the state file was learnt on, for the provenance'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=2)
    return parser


if __name__ == '__main__':
    sys.exit(main())
