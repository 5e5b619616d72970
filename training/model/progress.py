"""A progress bar over a whole training, with the time left."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar

from training.terminal import progress_bar

__all__ = ['TrainingProgress']


class TrainingProgress(ProgressBar):
    """One bar over the batches of all epochs. Lightning's own bars show the time left of one epoch alone."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._bar = progress_bar()
        batches, epochs = int(trainer.num_training_batches), trainer.max_epochs or 1
        done = trainer.current_epoch * batches
        self._task = self._bar.add_task('', total=epochs * batches, completed=done)
        self._bar.start()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epoch = f'epoch {trainer.current_epoch + 1} of {trainer.max_epochs}'
        self._bar.update(self._task, description=epoch)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._bar.advance(self._task)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._bar.stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, '_bar'):  # it may have come before the first batch
            self._bar.stop()

    def disable(self) -> None:
        """Lightning's way to keep all processes but the first silent; the bar knows by itself."""
