"""The checkpoint of a trained network: measured on the validation pictures, and with where it comes from."""

from __future__ import annotations

import datetime
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from impatient_ros.budgets import SUPPORT
from impatient_ros.checkpoint import save
from training.data.data_module import PictureData
from training.model.resolutions import at_sides, macs_per_picture
from training.model.training_module import ImpatientModule
from training.scoring.exit_scores import evaluate

__all__ = ['write_checkpoint']

log = logging.getLogger(__name__)


def write_checkpoint(
    path: Path, module: ImpatientModule, data: PictureData, provenance: Mapping[str, Any]
) -> None:
    """Measure the trained network on the validation pictures and write it with what the node needs."""
    device = module.trainer.strategy.root_device
    network = module.kept.to(device)
    teacher = None if module.without_labels is None else module.without_labels.teacher(device)
    sides = module.sides
    evaluations = [
        evaluate(
            each, data.validation, data.preprocessing if each is network else data.preprocessing.at(side)
        )
        for side, each in zip(sides, at_sides(network, sides), strict=True)
    ]
    soft = None
    if module.unlabelled:
        # Accuracy is agreement with the full path, and confidences are to be its own; as it was given.
        of = evaluations[-1]
        if teacher is not None:
            of = evaluate(teacher, data.validation, data.preprocessing)
        full = of.logits[-1]
        evaluations = [replace(each, target=full.argmax(1)) for each in evaluations]
        soft = (full.double() / data.temperature).softmax(1)
    network.cpu()
    before = [error for each in evaluations for error in each.calibration_errors()]
    after = [error for each in evaluations for error in each.held_out_calibration_errors()]
    for side, each in zip(sides, evaluations, strict=True):
        log.info('validation accuracy at %d px %s', side, _percent(each.accuracies))
    log.info('calibration error %s before, %s after temperature', _percent(before), _percent(after))
    accuracies = [each.accuracies for each in evaluations]
    temperatures = [each.temperatures(soft) for each in evaluations]
    several = len(sides) > 1
    risk = module.risk_options
    save(
        network,
        path,
        labels=data.labels,
        preprocessing=data.preprocessing,
        resolutions=sides if several else (),
        accuracies=accuracies if several else accuracies[0],
        temperatures=temperatures if several else temperatures[0],
        provenance={
            **provenance,
            'method': risk.method,
            'trained_exits': list(module.trained),
            'network': module.options.described(),
            **_features(module),
            **({} if module.placement is None else {'placement': module.placement.to_dict()}),
            'budgets': _budgets(module),
            'risk': {key: value for key, value in vars(risk).items() if value is not None},
            'optimiser': vars(module.optimiser_options),
            'data': f'{Path(data.source).name}{_digest(Path(data.source))}',
            'training_pictures': len(data.pictures),
            **_passes(module, data, provenance['epochs']),
            'rejected_pictures': [*data.pictures.rejected, *data.validation.rejected],
            'relative': module.unlabelled,
            'accuracy': f'{data.validation_is}, {len(data.validation)} pictures, none of them trained on'
            + (', agreement with the full path' if module.unlabelled else '')
            + (' of the network that it began from' if teacher is not None else ''),
            'temperature': 'fitted on the same pictures'
            + (" to the full path's probabilities" if module.unlabelled else '')
            + '; calibration errors by halves',
            'calibration_error': [round(e, 4) for e in after],
            'calibration_error_uncalibrated': [round(e, 4) for e in before],
            'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            'torch': torch.__version__,
        },
    )
    log.info('wrote %s', path)


def _passes(module: ImpatientModule, data: PictureData, epochs: int) -> dict[str, float]:
    """How many pictures went through the network, each resolution counted, and what that cost, in MACs of the
    forward passes; known where all exits are trained.
    """
    if module.risk_options.method not in ('joint', 'uniform'):
        return {}
    pictures = epochs * len(data.train_dataloader()) * min(data.batch_size, len(data.pictures))
    macs = macs_per_picture(at_sides(module.kept, module.sides))
    return {'processed_pictures': pictures * min(len(module.sides), 3), 'processed_macs': pictures * macs}


def _features(module: ImpatientModule) -> dict[str, str]:
    """Who computed what a frozen backbone gives, where that was not the network itself."""
    features_of = module.without_labels and module.without_labels.features_of
    return {'features': features_of.by} if features_of else {}


def _budgets(module: ImpatientModule) -> str:
    risk = module.risk_options
    if module.exit_share is None:
        return 'none: the exits are not weighted by budgets'
    costs = 'MACs' if risk.costs == 'macs' else 'seconds'
    support = '' if risk.budgets.endswith(('.yaml', '.yml')) else f' over 0 to {SUPPORT} of the last cost'
    at = f' at {", ".join(map(str, module.sides))} px' if len(module.sides) > 1 else ''
    shares = ' '.join(f'{w:.3f}' for w in module.exit_share)
    return f'{risk.budgets}{support}, costs in {costs}, {risk.mode}; no answer and each exit{at}: {shares}'


def _digest(path: Path) -> str:
    """Identifies a zip; a folder has no digest."""
    if not path.is_file():
        return ''
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):  # a recording does not fit into memory
            digest.update(block)
    return f' sha256 {digest.hexdigest()}'


def _percent(values: Sequence[float]) -> str:
    return ' '.join(f'{100 * value:.1f}%' for value in values)
