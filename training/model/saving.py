"""What a training leaves in its folder after every epoch: the state to resume from, and the best weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint

__all__ = ['BEST', 'STATE', 'saving']

log = logging.getLogger(__name__)

STATE, BEST = 'last.ckpt', 'best.ckpt'


def saving(folder: Path, monitor: str) -> list[lightning.Callback]:
    """Callbacks that write STATE, and BEST: the weights of the epoch where `monitor` was lowest.

    The best one comes first, so that the state to resume from knows of it. It is written whichever epoch is
    to be kept: a training that goes on may be asked for the other one.
    """
    each_epoch = {'save_on_train_epoch_end': True, 'enable_version_counter': False}
    best = {'monitor': monitor, 'save_weights_only': True}
    return [
        _Saved(folder, Path(BEST).stem, **best, **each_epoch),
        _Saved(folder, Path(STATE).stem, **each_epoch),
    ]


class _Saved(ModelCheckpoint):
    """Goes on in whichever folder it is resumed. Lightning's forgets what it had reached where that is
    another one, and would replace the best weights by worse ones.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """`state_dict` with its paths moved to this folder; what is no longer there is forgotten."""
        folder = Path(self.dirpath or '')

        def moved(path: str) -> str:
            there = folder / Path(path).name
            return str(there) if path and there.exists() else ''

        paths = ('best_model_path', 'kth_best_model_path', 'last_model_path')
        best = {moved(path): score for path, score in state_dict['best_k_models'].items()}
        kept = {path: score for path, score in best.items() if path}
        if len(kept) < len(state_dict['best_k_models']):
            log.warning('%s has no %s: the best epoch is looked for anew', folder, f'{self.filename}.ckpt')
        super().load_state_dict(
            {
                **state_dict,
                'dirpath': self.dirpath,
                'best_k_models': kept,
                **{name: moved(state_dict[name]) for name in paths},
                **({} if kept else {'best_model_score': None, 'kth_value': None}),
            }
        )
