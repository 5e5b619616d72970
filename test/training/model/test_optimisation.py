"""training.model.optimisation: which parameters learn at which rate, and when."""

from __future__ import annotations

import math
import re

import pytest
import torch

from impatient_ros.network import ImpatientNetwork
from training.model.networks import NetworkOptions, build
from training.model.optimisation import OptimiserOptions, check_optimiser, optimiser_and_schedule


@pytest.fixture(scope='module')
def network() -> ImpatientNetwork:
    options = NetworkOptions(module='training.model.small_backbones.SmallResNet', exits=3)
    return build(options, classes=3, image_size=(32, 32))


def rates(network: ImpatientNetwork, options: OptimiserOptions, steps: int) -> list[float]:
    made = optimiser_and_schedule(network, options, steps)
    optimiser, schedule = made['optimizer'], made['lr_scheduler']['scheduler']
    found = []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]['lr'])
        optimiser.step()
        schedule.step()
    return found


@pytest.mark.parametrize(('steps', 'warm_up'), [(40, 0.1), (40, 0.0), (40, 1.0), (1, 0.1), (20, 0.05)])
def test_the_rate_warms_up_linearly_and_falls_along_a_cosine(
    steps: int, warm_up: float, network: ImpatientNetwork
) -> None:
    rising = max(1, round(warm_up * steps))
    expected = [(step + 1) / rising for step in range(rising)]
    expected += [
        max(1e-4, 0.5 * (1 + math.cos(math.pi * step / (steps - rising)))) for step in range(steps - rising)
    ]
    found = rates(network, OptimiserOptions(learning_rate=0.1, warm_up=warm_up), steps)
    assert found == pytest.approx([0.1 * each for each in expected], rel=1e-6)


def test_every_parameter_learns_once_and_only_matrices_decay(network: ImpatientNetwork) -> None:
    options = OptimiserOptions('sgd', learning_rate=0.2, head_rate=3.0, weight_decay=0.01)
    optimiser = optimiser_and_schedule(network, options, 10)['optimizer']
    assert isinstance(optimiser, torch.optim.SGD)
    heads = {id(p) for p in network.exits.parameters()}
    seen = []
    for group in optimiser.param_groups:
        assert group['nesterov']
        for parameter in group['params']:
            seen.append(id(parameter))
            assert group['weight_decay'] == (0.01 if parameter.ndim > 1 else 0.0)
            assert group['initial_lr'] == pytest.approx(0.6 if id(parameter) in heads else 0.2)
    assert sorted(seen) == sorted(id(p) for p in network.parameters())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (OptimiserOptions('adam'), "kind is 'adam': write one of adamw, sgd"),
        (OptimiserOptions(averaging=1.0), 'averaging is 1.0: write a decay below 1, or 0'),
        (OptimiserOptions(learning_rate=0.0), 'learning_rate is 0.0: write a number above 0'),
        (OptimiserOptions(head_rate=-1.0), 'head_rate is -1.0: write a number above 0'),
    ],
)
def test_what_cannot_work_is_refused(options: OptimiserOptions, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_optimiser(options)
