"""The placement of a training's exits in its run's folder, so that a resumed training repeats nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning
import torch

from training.data.data_module import PictureData
from training.model.networks import NetworkOptions
from training.model.saving import STATE
from training.placement.choice import place
from training.placement.placement import Placement, wanted
from training.risk.options import RiskOptions

__all__ = ['FILE', 'placed', 'with_exits']

log = logging.getLogger(__name__)

FILE = 'placement.json'


def with_exits(
    network: NetworkOptions, risk: RiskOptions, trainer: lightning.Trainer
) -> tuple[NetworkOptions, Placement | None]:
    """`network` with its exits placed by budgets where that is `wanted`, and the placement.

    One process of the training places them and tells the others. Raises ValueError, OSError.
    """
    if not wanted(network, risk):
        return network, None
    found: Placement | ValueError | OSError | None = None
    if trainer.is_global_zero:
        data = trainer.datamodule  # type: ignore[attr-defined]
        folder, device = Path(trainer.default_root_dir), trainer.strategy.root_device
        try:
            found = placed(network, risk, data, folder, device)
        except (ValueError, OSError) as error:
            found = error  # the others are waiting to be told
    told: Placement | Exception = trainer.strategy.broadcast(found)  # type: ignore[assignment]
    if isinstance(told, Exception):
        raise told
    return told.options(network), told


def placed(
    network: NetworkOptions, risk: RiskOptions, data: PictureData, folder: Path, device: torch.device
) -> Placement:
    """The placement in `folder`, or a new one, which is then kept there. Raises ValueError, OSError; so where
    a training that is resumed would get other exits.
    """
    path, key = folder / FILE, _key(network, risk, data)
    if path.exists():
        try:
            kept = Placement.from_dict(json.loads(path.read_text(encoding='utf-8')))
        except ValueError as error:
            raise ValueError(f'{path}: {error}; remove it') from error
        if kept.key == key:
            log.info('exits stand as %s says', path)
            return kept
        other = ', '.join(name for name, value in key.items() if kept.key.get(name) != value)
        if (folder / STATE).exists():
            raise ValueError(
                f'{path} was made with other {other} than those given now: give the same to go on with the '
                'training, or write another --output, or --resume false to start anew'
            )
        log.info('%s is of other %s: exits are placed anew', path, other)
    elif (folder / STATE).exists():
        raise ValueError(
            f'{folder} holds a training whose {FILE} is missing, which says where its exits stand: put it '
            'back, or write another --output, or --resume false to start anew'
        )
    with torch.random.fork_rng():  # what is learned afterwards does not depend on whether this was repeated
        torch.manual_seed(data.seed)
        found = replace(place(network, risk, data, device), key=key)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_text(json.dumps(found.to_dict(), indent=1), encoding='utf-8')
    os.replace(part, path)
    return found


def _key(network: NetworkOptions, risk: RiskOptions, data: PictureData) -> dict[str, Any]:
    """All that a placement depends on: files by path and content, pictures by name."""
    views = [data.preprocessing.to_dict(), asdict(data.augmentation), data.sizes, data.seed]
    values = {
        'network': [asdict(network), _content(network.start), _content(network.weights)],
        'budgets': [risk.budgets, _content(risk.budgets)],
        'costs': [risk.costs, _content(risk.costs), risk.mode, risk.overhead],
        'method': risk.method,
        'pictures': data.digest,
        'views': views,
    }
    return dict(json.loads(json.dumps(values)))


def _content(path: str | Sequence[float] | None) -> str:
    """SHA-256 of a file, hexadecimal; '' where it is none."""
    if not isinstance(path, str) or not Path(path).is_file():
        return ''
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
