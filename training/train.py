"""Train an impatient network, or a baseline, and write its checkpoint.

    python -m training.train fit --config config/train/own_pictures.yaml --data.source PICTURES --output A

`--help` begins with the options that people use. The folder --output gets `model.safetensors` (what the node
loads), `curve.csv`, `config.yaml` and the state from which the same command resumes an interrupted
training; with more epochs it goes on with a finished one.
"""

from __future__ import annotations

import argparse
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
from jsonargparse import DefaultHelpFormatter
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from impatient_ros.standard_output import run_command
from training.data.data_module import PictureData
from training.model.callbacks import LearningCurve
from training.model.networks import pretrained_preprocessing
from training.model.progress import TrainingProgress
from training.model.saving import BEST, STATE, saving
from training.model.stopping import ChanceWarning, Patience
from training.model.training_module import VALIDATION_RISK, ImpatientModule
from training.placement.kept import FILE as PLACEMENT
from training.reporting.training_summary import training_summary
from training.terminal import CONSOLE, start_log
from training.trained_checkpoint import write_checkpoint

__all__ = ['TrainingCLI', 'main']

log = logging.getLogger(__name__)

METRICS = ('csv', 'tensorboard', 'none')
KEPT = ('best', 'last')
DEFAULTS = {
    'max_epochs': 50,
    'gradient_clip_val': 5.0,
    'num_sanity_val_steps': 0,
    'enable_model_summary': False,
    'use_distributed_sampler': False,  # the data module shares every batch out among the processes
    'log_every_n_steps': 10,
}
USAGE = 'python -m training.train fit --data.source PICTURES --output FOLDER [options]'
OFTEN_USED = """Learn an impatient network from pictures and write its checkpoint, FOLDER/model.safetensors.

What people use; all there is follows below, and any of it goes into a .yaml file for --config:

  --data.source PICTURES           a folder or zip of <class>/<picture>, or of <split>/<class>/<picture>
  --output FOLDER                  what is written; the same command again goes on where it was interrupted
  --model.network.start FILE       the checkpoint to begin from, such as models/imagenet.safetensors
  --model.network.exits N          at how many points the network can answer
  --data.size PX                   side of the network's input
  --trainer.max_epochs N           more of them go on with a finished training
  --model.risk.budgets WHICH       what answers have time for: uniform, early, late, or a robot's .yaml
  --model.risk.class_weights W     balanced: all classes count alike, however many pictures they have
  --data.augmentation.mirror 0     no view is mirrored: for arrows, digits and signs
  --patience N                     end after N epochs without progress; the best epoch is what is written
"""
# Warnings about choices that are intended here, and about Lightning's own code.
EXPECTED = (
    r"LightningCLI's args parameter",
    r'Checkpoint directory .* exists and is not empty',
    r'Found \d+ module\(s\) in eval mode',
    r'`isinstance\(treespec, LeafSpec\)` is deprecated',
    r'GPU available but not used',
    r'The number of training batches \(\d+\) is smaller than the logging interval',
)
# May differ when a training is resumed: options that do not change what is learned, or only prolong it.
MAY_DIFFER = (
    'config',
    'output',
    'resume',
    'threads',
    'metrics',
    'keep',
    'patience',
    'data.workers',
    'trainer.max_epochs',
    'trainer.enable_progress_bar',
    'trainer.default_root_dir',
)


class Help(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of OFTEN_USED."""


class TrainingCLI(LightningCLI):
    """LightningCLI with an output folder, resuming, and the checkpoint at the end."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)
        super().__init__(
            ImpatientModule,
            PictureData,
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={'formatter_class': Help},
            trainer_defaults=DEFAULTS | {'enable_progress_bar': CONSOLE.is_terminal},
            auto_configure_optimizers=False,
            args=self.arguments,
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
        parser.add_argument(
            '--metrics', default='csv', help=f'where metrics of every step go: {", ".join(METRICS)}'
        )
        parser.add_argument(
            '--keep',
            default='best',
            help='the epoch whose network is written: best (of the lowest risk on validation) or last',
        )
        parser.add_argument(
            '--patience',
            type=int,
            default=0,
            help='end after so many epochs without a lower risk on validation; 0: never',
        )
        parser.add_argument(
            '--threads', type=int, default=0, help='of the processor; 0: as many as torch takes'
        )
        parser.link_arguments('seed_everything', 'data.seed')
        parser.usage, parser.description = USAGE, OFTEN_USED

    def before_instantiate_classes(self) -> None:
        own = self.config[self.subcommand]
        if own.threads > 0:
            torch.set_num_threads(own.threads)
        for name, choices in (('metrics', METRICS), ('keep', KEPT)):
            if own[name] not in choices:
                raise ValueError(f'{name} is {own[name]!r}: write one of {", ".join(choices)}')
        if own.patience < 0:
            raise ValueError(f'patience is {own.patience}: write a number of epochs, or 0 for no end before')
        self.output = Path(own.output)
        if own.model.risk.method == 'distil' and own.data.labels_from is None:
            if own.model.network.start is None:
                raise ValueError(
                    'method distil learns from the answers of a trained network: write which, '
                    'model.network.start (a checkpoint, such as that of a run with method last)'
                )
            own.data.labels_from = own.model.network.start
        given = pretrained_preprocessing(own.model.network)
        if given is not None and own.data.labels_from is None:
            # What it has learnt about pictures of another size still holds, but not of other colours.
            own.data.mean, own.data.std = own.data.mean or given.mean, own.data.std or given.std
            if own.data.size is None and own.model.network.start is not None:
                own.data.size, own.data.resize = given.size[0], own.data.resize or given.resize

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        own = self.config_init[self.subcommand]
        callbacks = list(own['trainer'].get('callbacks') or [])
        self.curve = LearningCurve(self.output / 'curve.csv')
        callbacks += [self.curve, ChanceWarning()]
        if own['patience']:
            callbacks.append(Patience(own['patience']))
        if own['trainer'].get('enable_progress_bar'):
            callbacks.append(TrainingProgress())
        callbacks += saving(self.output, VALIDATION_RISK)  # after the validation
        logger: Logger | bool = own['trainer'].get('logger') or False
        if not logger and own['metrics'] == 'csv':
            logger = CSVLogger(self.output, 'log')
        elif not logger and own['metrics'] == 'tensorboard':
            logger = TensorBoardLogger(self.output, 'log')
        return super().instantiate_trainer(
            callbacks=callbacks, logger=logger, default_root_dir=str(self.output), **kwargs
        )

    def fit(self, model: ImpatientModule, datamodule: PictureData, **_: Any) -> None:
        """Train, from the folder's state where there is one, and write the checkpoint."""
        own = self.config[self.subcommand]
        text = self._parser(self.subcommand).dump(own, skip_none=False)
        state = self._state(text, own.resume)
        model.prepare_for(datamodule)  # before anything is decoded: most mistakes show here
        if self.trainer.is_global_zero:
            CONSOLE.print(training_summary(datamodule, model, epochs=self.trainer.max_epochs or 0))
            self.output.mkdir(parents=True, exist_ok=True)
            if not own.resume:  # nothing of it may be resumed from under this configuration
                for name in (PLACEMENT, STATE, BEST):
                    (self.output / name).unlink(missing_ok=True)
            (self.output / 'config.yaml').write_text(text, encoding='utf-8')
        self.trainer.fit(model, datamodule=datamodule, ckpt_path=state)
        if self.trainer.is_global_zero and self.trainer.state.finished:
            kept = self._keep_best(model) if own.keep == 'best' else len(self.curve.rows)
            provenance = {
                'command': shlex.join(['python', '-m', 'training.train', *self.arguments]),
                'seed': datamodule.seed,
                'epochs': len(self.curve.rows),
                'kept_epoch': kept,
                'precision': str(self.trainer.precision),
                'processes': self.trainer.world_size,
                'seconds': self.curve.seconds,
            }
            write_checkpoint(self.output / 'model.safetensors', model, datamodule, provenance)

    def _keep_best(self, model: ImpatientModule) -> int:
        """Load the weights of the epoch of the lowest risk on validation; returns its number."""
        best = torch.load(self.output / BEST, map_location='cpu', weights_only=True)
        model.on_load_checkpoint(best)
        model.load_state_dict(best['state_dict'])
        epoch = int(best['epoch']) + 1
        log.info('epoch %d of %d has the lowest risk on validation and is kept', epoch, len(self.curve.rows))
        return epoch

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
                    f'{self.output} holds a training that differs in {", ".join(other)}: write '
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
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in ([], ['-h'], ['--help']):
        given = ['fit', '--help']  # all that there is
    start_log()
    # Lightning's own lines about devices, and its tips, add nothing to ours.
    for name in ('lightning.pytorch', 'lightning.fabric'):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault('JSONARGPARSE_DEPRECATION_WARNINGS', 'off')  # Lightning's own use of it
    for message in EXPECTED:
        warnings.filterwarnings('ignore', message=message)
    try:
        TrainingCLI(given)
    except (ValueError, FloatingPointError, OSError) as error:
        print(f'train: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    torch.set_flush_denormal(True)  # for the whole process: tiny numbers would slow it down
    run_command(main)
