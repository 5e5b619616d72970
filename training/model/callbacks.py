"""Writes the learning curve to a file, and one line to the log, after every epoch."""

from __future__ import annotations

import csv
import datetime
import logging
import os
import time
from pathlib import Path
from typing import Any

import lightning

from training.model.resolutions import path_names
from training.model.training_module import VALIDATION_RISK, ImpatientModule

__all__ = ['LearningCurve']

log = logging.getLogger(__name__)


class LearningCurve(lightning.Callback):
    """Writes `curve.csv`: per epoch the risk, the seconds, and every path's validation accuracy and loss.

    Its rows are part of the training's saved state: a resumed training continues the file from there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._started = time.monotonic()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, ImpatientModule)
        last = pl_module.validation[-1]
        row: dict[str, float] = {'epoch': trainer.current_epoch + 1}
        paths = path_names(pl_module.sides, len(pl_module.network.exits))
        for what in ('accuracy', 'loss'):
            row |= {f'{what}_{path}': value for path, value in zip(paths, last[what], strict=True)}
        self.rows.append(row)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        row = self.rows[-1]
        row['risk'] = float(trainer.callback_metrics['risk'])
        row[VALIDATION_RISK] = float(trainer.callback_metrics[VALIDATION_RISK])
        row['seconds'] = round(time.monotonic() - self._started, 1)
        if not trainer.is_global_zero:
            return
        text = self.path.with_suffix('.part')
        with open(text, 'w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(text, self.path)
        accuracies = ' '.join(
            f'{100 * value:.1f}%' for key, value in row.items() if key.startswith('accuracy')
        )
        left = ((trainer.max_epochs or 0) - row['epoch']) * self.seconds / len(self.rows)
        log.info(
            'epoch %d of %s: risk %.4f, on validation %.4f, accuracy there %s, %.0f s%s',
            row['epoch'], trainer.max_epochs, row['risk'], row[VALIDATION_RISK], accuracies, row['seconds'],
            f'; {datetime.timedelta(seconds=round(left))} left' if left > 0 else '',
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """What all epochs took, validation included."""
        return round(sum(row['seconds'] for row in self.rows), 1)

    def state_dict(self) -> dict[str, Any]:
        return {'rows': [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [dict(row) for row in state_dict['rows']]
