"""When a training ends, and when it had better: early stopping, and a warning at chance level."""

from __future__ import annotations

import logging
import math
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import EarlyStopping

from training.model.training_module import VALIDATION_RISK, ImpatientModule

__all__ = ['ChanceWarning', 'Patience']

log = logging.getLogger(__name__)

LEARNT_BY = 3  # epochs, after which a network that learns is better than chance


class Patience(EarlyStopping):
    """Ends a training whose risk on the validation pictures has not fallen for `patience` epochs.

    A training that it ended stays ended, unless it is to have another number of epochs.
    """

    patience: int

    def __init__(self, patience: int) -> None:
        super().__init__(VALIDATION_RISK, patience=patience, check_on_train_epoch_end=True)
        self._epochs: int | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._epochs != trainer.max_epochs:
            self.wait_count = 0
        self._epochs = trainer.max_epochs
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.wait_count >= self.patience:
            log.info('stopped: the risk on validation has not fallen for %d epochs', self.wait_count)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {'epochs': self._epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = self.patience  # another one may be asked for now
        super().load_state_dict(state_dict)
        self.patience, self._epochs = own, state_dict['epochs']


class ChanceWarning(lightning.Callback):
    """Says so, after the third epoch and after the last, where no exit is better than naming one class."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, ImpatientModule)
        done = trainer.current_epoch + 1
        if pl_module.unlabelled or done not in (LEARNT_BY, trainer.max_epochs):
            return
        pictures = trainer.datamodule.validation  # type: ignore[attr-defined]
        counts = np.bincount(pictures.targets)
        chance = counts.max() / len(pictures)
        best = max(pl_module.validation[-1]['accuracy'])
        # Two standard errors above, so that luck is no proof of having learnt.
        if best > chance + 2 * math.sqrt(chance * (1 - chance) / len(pictures)):
            return
        log.warning(
            'at chance level after epoch %d: the best exit is right on %.1f%% of the validation pictures, '
            'and always answering %r would be on %.1f%%. Do the pictures lie in the right class folders? '
            'If so, try a lower model.optimiser.learning_rate, a pretrained network (model.network.start) '
            'or more epochs',
            done, 100 * best, pictures.labels[int(counts.argmax())], 100 * chance,
        )  # fmt: skip
