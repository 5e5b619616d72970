"""One optimiser step by Lightning in as many processes as torchrun starts; what the first one saw.

python -m torch.distributed.run --nproc_per_node 2 test/training/joint_batch.py DATA OUT.pt
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from torch import nn

from training.data.augmentation import Augmentation
from training.data.data_module import PictureData
from training.model.networks import NetworkOptions
from training.model.optimisation import OptimiserOptions
from training.model.training_module import ImpatientModule
from training.risk.options import RiskOptions

OPTIONS = {'widths': [4, 8], 'blocks': 2, 'norm': False}


class Plain(Augmentation):
    """The picture itself: random views would be others in another number of processes."""

    def view(self, picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(cv2.resize(picture, (size, size)))


class Probe(ImpatientModule):
    """Has no batch norm in its heads either, and keeps its first gradients."""

    def prepare(self, classes: int, image_size: tuple[int, int]) -> None:
        super().prepare(classes, image_size)
        for part in self.network.modules():
            for name, child in part.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(part, name, nn.Identity())

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.gradients = {n: p.grad.clone() for n, p in self.network.named_parameters()}


def step(data: str, processes: int) -> dict[str, Any]:
    """The risk and the gradients of one batch of 16 pictures over all processes."""
    torch.set_num_threads(1)
    lightning.seed_everything(0, verbose=False)
    network = NetworkOptions(
        module='training.model.small_backbones.SmallResNet', module_options=OPTIONS, exits=3
    )
    module = Probe(network, RiskOptions(budgets='early'), OptimiserOptions(averaging=0.0))
    pictures = PictureData(
        data, size=32, resize=32, batch_size=16, augmentation=Plain(colour=0, erase=0, mix=0)
    )
    trainer = lightning.Trainer(
        accelerator='cpu',
        devices=processes,
        strategy='ddp' if processes > 1 else 'auto',
        max_epochs=1,
        limit_train_batches=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        trainer.fit(module, datamodule=pictures)
    return {
        'gradients': module.gradients,
        'risk': trainer.callback_metrics['risk'],
        'validation': module.validation,
        'rank': trainer.global_rank,
    }


if __name__ == '__main__':
    seen = step(sys.argv[1], int(os.environ['WORLD_SIZE']))
    if seen['rank'] == 0:
        torch.save(seen, Path(sys.argv[2]))
