"""A whole training step: on a GPU the processor never waits for it, apart from the looks at the losses."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from training.data.augmentation import Augmentation
from training.data.batches import Views, ViewsOf, finished, loader, orders
from training.data.labelled_pictures import Pictures
from training.model.networks import NetworkOptions
from training.model.optimisation import OptimiserOptions, optimiser_and_schedule
from training.model.training_module import ImpatientModule
from training.risk.options import RiskOptions

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=[pytest.mark.cuda, needs_cuda])])
def test_steps_lower_the_risk_and_a_gpu_is_not_waited_for(device: str) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    # Class 0 is dark, class 1 is bright.
    images = [rng.integers(0, 100, (32, 32, 3), np.uint8) + np.uint8(100 * (i % 2)) for i in range(32)]
    names = tuple(map(str, range(32)))
    pictures = Pictures(('dark', 'bright'), images, np.arange(32) % 2, names)
    augmentation = Augmentation(colour=0.1, erase=0.5, mix=0.5)
    network = NetworkOptions(
        module='training.model.small_backbones.SmallResNet',
        module_options={'widths': [8, 16]},
        exits=3,
        resolutions=[16, 24, 32],
    )
    options = OptimiserOptions('sgd', learning_rate=0.05, weight_decay=5e-4, averaging=0.9)
    module = ImpatientModule(network, RiskOptions(distillation=0.5, equilibrium=True), options)
    module.prepare(2, (32, 32))
    module.to(device)
    trainer = SimpleNamespace(max_epochs=1, current_epoch=0, global_step=1)
    module._trainer = trainer  # type: ignore[assignment]
    module.network.train()
    optimiser = optimiser_and_schedule(module.network, options, 20)['optimizer']
    before = copy.deepcopy(module.kept.state_dict())
    mean, std = torch.full((2, 3, 1, 1), 0.5, device=device)
    risks = []

    def step(views: Views) -> None:
        x, target = finished(views, augmentation, 2, mean, std)
        risk, _ = module.risk_of(x, target)
        optimiser.zero_grad()
        risk.backward()
        torch.nn.utils.clip_grad_norm_(module.network.parameters(), 5.0)
        optimiser.step()
        trainer.global_step += 1
        module.on_train_batch_end(None, None, 0)
        risks.append(risk.detach())

    batches = [
        Views(*(each.to(device) if isinstance(each, torch.Tensor) else each for each in views))
        for epoch in range(10)
        for views in loader(ViewsOf(pictures, augmentation), orders(32, 16, size=32, seed=0, epoch=epoch))
    ]
    step(batches[0])  # sets things up
    if device == 'cuda':
        torch.cuda.set_sync_debug_mode('error')
    try:
        for views in batches[1:]:
            step(views)
    finally:
        if device == 'cuda':
            torch.cuda.set_sync_debug_mode('default')
    assert torch.stack(risks[-4:]).mean() < 0.8 * torch.stack(risks[:4]).mean()
    after = module.kept.state_dict()
    assert not torch.equal(before['exits.0.classify.weight'], after['exits.0.classify.weight'])
