"""Train an impatient network, or a baseline, and write its checkpoint.

    python -m training.train fit --config config/train/cifar10.yaml --data.source cifar10.zip --output runs/a

`--help` lists every option. The folder --output gets `model.safetensors` (what the node loads), `curve.csv`,
`config.yaml` and the state from which the same command resumes an interrupted training.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from impatient_ros.standard_output import run_command
from training.data.data_module import PictureData
from training.model.callbacks import LearningCurve
from training.model.training_module import ImpatientModule
from training.placement.kept import FILE as PLACEMENT
from training.trained_checkpoint import write_checkpoint

__all__ = ['TrainingCLI', 'main']

log = logging.getLogger(__name__)

STATE = 'last.ckpt'
LOGS = ('csv', 'tensorboard', 'none')
DEFAULTS = {
    'max_epochs': 50,
    'gradient_clip_val': 5.0,
    'num_sanity_val_steps': 0,
    'enable_model_summary': False,
    'use_distributed_sampler': False,  # the data module shares every batch out among the processes
    'log_every_n_steps': 10,
}
# Warnings about choices that are intended here, and about Lightning's own code.
EXPECTED = (
    r"LightningCLI's args parameter",
    r'Checkpoint directory .* exists and is not empty',
    r'Found \d+ module\(s\) in eval mode',
    r'`isinstance\(treespec, LeafSpec\)` is deprecated',
    r'GPU available but not used',
    r'The number of training batches \(\d+\) is smaller than the logging interval',
)
# Options that may differ when an interrupted training is resumed: they do not change what is learned.
MAY_DIFFER = (
    'config',
    'output',
    'resume',
    'threads',
    'log',
    'data.workers',
    'trainer.enable_progress_bar',
    'trainer.default_root_dir',
)


class TrainingCLI(LightningCLI):
    """LightningCLI with an output folder, resuming, and the checkpoint at the end."""

    def __init__(self, arguments: Sequence[str] | None = None) -> None:
        self.arguments = list(sys.argv[1:] if arguments is None else arguments)
        super().__init__(
            ImpatientModule,
            PictureData,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults=DEFAULTS | {'enable_progress_bar': sys.stderr.isatty()},
            auto_configure_optimizers=False,
            args=None if arguments is None else self.arguments,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {
            'fit': {
                'model',
                'train_dataloaders',
                'val_dataloaders',
                'datamodule',
                'ckpt_path',
                'weights_only',
            }
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument('--output', default='runs/latest', help='folder for all files of this training')
        parser.add_argument(
            '--resume',
            type=bool,
            default=True,
            help='resume the interrupted training in that folder, if there is one',
        )
        parser.add_argument('--log', default='csv', help=f'metrics of every step: {", ".join(LOGS)}')
        parser.add_argument(
            '--threads', type=int, default=0, help='of the processor; 0: as many as torch takes'
        )
        parser.link_arguments('seed_everything', 'data.seed')

    def before_instantiate_classes(self) -> None:
        own = self.config[self.subcommand]
        if own.threads > 0:
            torch.set_num_threads(own.threads)
        if own.log not in LOGS:
            raise ValueError(f'log is {own.log!r}: write one of {", ".join(LOGS)}')
        self.output = Path(own.output)
        if own.model.risk.method == 'distil' and own.data.labels_from is None:
            if own.model.network.start is None:
                raise ValueError(
                    'method distil learns from the answers of a trained network: write which, '
                    'model.network.start (a checkpoint, such as that of a run with method last)'
                )
            own.data.labels_from = own.model.network.start

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        own = self.config_init[self.subcommand]
        callbacks = list(own['trainer'].get('callbacks') or [])
        self.curve = LearningCurve(self.output / 'curve.csv')
        callbacks += [
            self.curve,
            ModelCheckpoint(
                self.output,
                Path(STATE).stem,
                save_on_train_epoch_end=True,  # after the validation
                enable_version_counter=False,
            ),
        ]
        logger: Logger | bool = own['trainer'].get('logger') or False
        if not logger and own['log'] == 'csv':
            logger = CSVLogger(self.output, 'log')
        elif not logger and own['log'] == 'tensorboard':
            logger = TensorBoardLogger(self.output, 'log')
        return super().instantiate_trainer(
            callbacks=callbacks, logger=logger, default_root_dir=str(self.output), **kwargs
        )

    def fit(self, model: ImpatientModule, datamodule: PictureData, **_: Any) -> None:
        """Train, from the folder's state where there is one, and write the checkpoint."""
        own = self.config[self.subcommand]
        text = self._parser(self.subcommand).dump(own, skip_none=False)
        state = self._state(text, own.resume)
        if self.trainer.is_global_zero:
            self.output.mkdir(parents=True, exist_ok=True)
            if not own.resume:
                (self.output / PLACEMENT).unlink(missing_ok=True)
            (self.output / 'config.yaml').write_text(text, encoding='utf-8')
        self.trainer.fit(model, datamodule=datamodule, ckpt_path=state)
        if self.trainer.is_global_zero and self.trainer.state.finished:
            provenance = {
                'command': shlex.join(['python', '-m', 'training.train', *self.arguments]),
                'seed': datamodule.seed,
                'epochs': self.trainer.max_epochs,
                'precision': str(self.trainer.precision),
                'processes': self.trainer.world_size,
                'seconds': self.curve.seconds,
            }
            write_checkpoint(self.output / 'model.safetensors', model, datamodule, provenance)

    def _state(self, text: str, resume: bool) -> str | None:
        """The saved state to resume from. Raises ValueError where it belongs to another configuration."""
        state, config = self.output / STATE, self.output / 'config.yaml'
        if not resume or not state.exists():
            return None
        if config.exists():
            before, now = (_flat(yaml.safe_load(each)) for each in (config.read_text('utf-8'), text))
            other = sorted(
                key
                for key in before.keys() | now.keys()
                if before.get(key) != now.get(key) and not key.startswith(MAY_DIFFER)
            )
            if other:
                raise ValueError(
                    f'{self.output} holds an interrupted training that differs in {", ".join(other)}: write '
                    'another --output, or --resume false to start anew'
                )
        log.info('resuming from %s', state)
        return str(state)


def _flat(values: Any, prefix: str = '') -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f'{prefix}.{key}' if prefix else str(key))
    return flat


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the data or an option cannot be used."""
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', datefmt='%H:%M:%S')
    # Lightning's own lines about devices, and its tips, add nothing to ours.
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    os.environ.setdefault('JSONARGPARSE_DEPRECATION_WARNINGS', 'off')  # Lightning's own use of it
    for message in EXPECTED:
        warnings.filterwarnings('ignore', message=message)
    try:
        TrainingCLI(arguments)
    except (ValueError, FloatingPointError, OSError) as error:
        print(f'train: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    torch.set_flush_denormal(True)  # for the whole process: tiny numbers would slow it down
    run_command(main)
