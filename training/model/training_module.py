"""The training of one network as a LightningModule: its steps, its optimiser, its averaged weights.

The network is built in `setup`, from the data module's labels and picture size. Where averaging is on, the
running average of the weights is validated and saved.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import nn

from impatient_ros.network import ImpatientNetwork
from training.model import gradient_equilibrium
from training.model.networks import NetworkOptions, build
from training.risk.costs import exit_costs, increasing
from training.risk.expected_accuracy import chosen_share, distribution_of
from training.risk.methods import chosen_exits, fixed_weights, frozen, trainable
from training.risk.objective import FLOOR, JointRisk, floored, teaching

__all__ = ['ImpatientModule', 'OptimiserOptions', 'RiskOptions']

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RiskOptions:
    """What is minimised.

    Attributes:
        method: joint, or a baseline: uniform, separate, last, truncated (see training.risk.methods).
        exit: with method truncated: the exit (1 to T) at which that network ends.
        budgets: uniform, normal, early, late, bimodal, or a .yaml file with budgets in seconds.
        costs: macs, measured, a latency profile (.json), or seconds per exit.
        mode: contract or interruptible, as the network will run.
        overhead: seconds for decoding, preprocessing and publishing, added to costs in seconds.
        floor: share of the weights that all exits get alike.
        label_smoothing: share of the target's probability that all classes get alike.
        distillation: share of the last exit's answers in what earlier exits learn; its own weight then
            includes what they learn from it (see training.risk.objective.teaching).
        distillation_temperature: at which these answers are compared.
        equilibrium: mix the exits' gradients by the budgets behind them (see model.gradient_equilibrium).
        mixed: share of the epochs, at the start, in which only the last exit learns.
    """

    method: str = 'joint'
    exit: int | None = None
    budgets: str = 'uniform'
    costs: str | list[float] = 'macs'
    mode: str = 'contract'
    overhead: float = 0.0
    floor: float = FLOOR
    label_smoothing: float = 0.0
    distillation: float = 0.0
    distillation_temperature: float = 2.0
    equilibrium: bool = False
    mixed: float = 0.0


@dataclass(frozen=True)
class OptimiserOptions:
    """AdamW, whose learning rate warms up and then falls along a cosine, and the average of its weights."""

    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.1  # share of the steps
    averaging: float = 0.996  # decay of the weights' running average per step; 0 is off


class ImpatientModule(lightning.LightningModule):
    """Learns the exits of one network. Raises ValueError for options that do not fit together."""

    network: ImpatientNetwork
    averaged: ImpatientNetwork | None
    risk: JointRisk

    def __init__(
        self,
        network: NetworkOptions,
        risk: RiskOptions = RiskOptions(),
        optimiser: OptimiserOptions = OptimiserOptions(),
    ) -> None:
        super().__init__()
        self.options = network
        self.risk_options = risk
        self.optimiser_options = optimiser
        if not 0 <= self.risk_options.mixed < 1:
            raise ValueError(f'model.risk.mixed is {risk.mixed}: write a share from 0 to below 1')
        if not 0 <= self.optimiser_options.averaging < 1:
            raise ValueError(
                f'model.optimiser.averaging is {optimiser.averaging}: write a decay below 1, or 0'
            )
        if self.risk_options.method == 'separate' and not (network.start or network.weights):
            raise ValueError(
                'method separate trains heads on a frozen backbone: write which, model.network.start (the '
                'checkpoint of a run with method last) or model.network.weights'
            )
        self.exit_share: tuple[float, ...] | None = None  # of the budgets, [T + 1]; joint training only
        self.exit_costs: tuple[float, ...] = ()
        self.chosen: tuple[int, ...] = ()
        self.validation: list[dict[str, Any]] = []  # per epoch: accuracies and losses of all exits
        self._built = False

    def setup(self, stage: str) -> None:
        """Build the network for the data module's pictures and labels."""
        if self._built:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.prepare(len(data.labels), data.preprocessing.size)

    def prepare(self, classes: int, image_size: tuple[int, int]) -> None:
        """Build the network and its risk. Raises ValueError, OSError."""
        network = build(self.options, classes=classes, image_size=image_size)
        options, exits = self.risk_options, len(network.exits)
        given = self.options.start is not None
        self.chosen = chosen_exits(options.method, exits, options.exit, classifier_given=given)
        weights = fixed_weights(options.method, self.chosen, exits)
        if weights is None:
            self.exit_costs = exit_costs(network, options.costs, options.mode, options.overhead)
            distribution, unit = distribution_of(options.budgets, self.exit_costs[-1])
            if unit == 's' and options.costs == 'macs':
                raise ValueError(
                    f'{options.budgets} has budgets in seconds: write model.risk.costs, too (measured, a '
                    'latency profile, or seconds per exit)'
                )
            # By the plain rule, the deepest exit that fits: accuracies are not known before training.
            share = chosen_share(distribution, increasing(self.exit_costs), range(exits))
            if not share[1:].any():
                raise ValueError(
                    f'no budget of {options.budgets} reaches even the first exit, which costs '
                    f'{self.exit_costs[0]:g}: are they in the unit of model.risk.costs?'
                )
            self.exit_share = tuple(float(w) for w in share)
            weights = floored(self.exit_share, options.floor)
        distillation = options.distillation if options.method in ('joint', 'uniform') else 0.0
        weights = teaching(weights, distillation)
        log.info('exit weights %s', ' '.join(f'{w:.3f}' for w in weights))
        self.risk = JointRisk(
            weights,
            label_smoothing=options.label_smoothing,
            distillation=distillation,
            temperature=options.distillation_temperature,
        )
        self._layout = memory_layout(network)
        self.network = network.to(memory_format=self._layout)
        learning = trainable(self.network, options.method, self.chosen)
        self._frozen = frozen(self.network, learning)
        self.averaged = None
        if self.optimiser_options.averaging:
            self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self._built = True

    @property
    def trained(self) -> tuple[int, ...]:
        """The exits (0-based) whose answers count in the end; a frozen backbone has a trained last exit."""
        every = self.risk_options.method == 'separate'
        return tuple(range(len(self.network.exits))) if every else self.chosen

    @property
    def kept(self) -> ImpatientNetwork:
        """The network that is validated and written."""
        return self.network if self.averaged is None else self.averaged

    def on_train_epoch_start(self) -> None:
        self.network.train()
        for part in self._frozen:
            part.eval()
        # Derived from the epoch's number, like the pictures' order, so that a resumed run repeats exactly.
        torch.manual_seed((self._seed * 100_003 + self.current_epoch) * 1009 + self.global_rank)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """The joint risk of one batch."""
        x, target = batch
        risk, _ = self.risk_of(x.to(memory_format=self._layout), target)
        self.log('risk', risk.detach(), prog_bar=True, on_step=False, on_epoch=True, sync_dist=True)
        return risk

    def risk_of(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is minimised (scalar), and the losses [len(chosen)] of the exits that are trained."""
        options = self.risk_options
        weights = self.risk.weights
        if options.method in ('joint', 'uniform'):
            if self._backbone_first:
                losses = self.risk.losses(self.network(x), target)
                return losses[-1] + 0 * losses[:-1].sum(), losses.detach()
            if options.equilibrium:
                losses = self.risk.losses(
                    gradient_equilibrium.forward(self.network, x, weights.tolist()), target
                )
                return losses.sum(), losses.detach()
            return self.risk(self.network(x), target)
        logits = []
        with torch.set_grad_enabled(torch.is_grad_enabled() and options.method != 'separate'):
            features = []
            for stage in self.network.stages[: max(self.chosen) + 1]:
                x = stage(x)
                features.append(x)
        logits = [self.network.exits[t](features[t]) for t in self.chosen]
        losses = self.risk.losses(logits, target, self.chosen)
        # These exits share no part that learns: weights would only scale their learning rates.
        return losses.sum(), losses.detach()

    @property
    def _backbone_first(self) -> bool:
        return self.current_epoch < self.risk_options.mixed * (self.trainer.max_epochs or 1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.risk_options.mixed and self._backbone_first:
            for parameter in self.network.exits[:-1].parameters():
                parameter.grad = None  # otherwise weight decay and momentum would change these heads

    @torch.no_grad()
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.averaged is None:
            return
        step = self.global_step
        decay = min(self.optimiser_options.averaging, step / (step + 10))
        theirs = self.network.state_dict()
        for name, mine in self.averaged.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - decay)
            else:
                mine.copy_(theirs[name])

    def on_validation_epoch_start(self) -> None:
        self.kept.eval()
        # Per exit: right answers, summed loss; and how many pictures.
        self._sums = torch.zeros(2, len(self.network.exits), device=self.device, dtype=torch.double)
        self._count = torch.zeros((), device=self.device, dtype=torch.double)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Right answers and losses of every exit of the averaged network."""
        x, target = batch
        for t, logits in enumerate(self.kept(x.to(memory_format=self._layout))):
            self._sums[0, t] += (logits.argmax(1) == target).sum()
            self._sums[1, t] += nn.functional.cross_entropy(logits.float(), target, reduction='sum')
        self._count += len(target)

    def on_validation_epoch_end(self) -> None:
        sums = self.trainer.strategy.reduce(self._sums, reduce_op='sum')
        count = float(self.trainer.strategy.reduce(self._count, reduce_op='sum'))
        accuracies, losses = (sums / count).tolist()
        self.validation.append({'accuracy': accuracies, 'loss': losses})
        for t in self.chosen:
            name = f'exit_{t + 1}'
            self.log(f'{name}/accuracy', accuracies[t], prog_bar=t == self.chosen[-1], rank_zero_only=True)
            self.log(f'{name}/loss', losses[t], rank_zero_only=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, without weight decay for biases and norms; the learning rate warms up and falls once."""
        options = self.optimiser_options
        learning = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {'params': _of(learning, matrices=True), 'weight_decay': options.weight_decay},
            {'params': _of(learning, matrices=False), 'weight_decay': 0.0},
        ]
        optimiser = torch.optim.AdamW([g for g in groups if g['params']], lr=options.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        warm_up = max(1, round(options.warm_up * steps))

        def rate(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            done = (step - warm_up) / max(1, steps - warm_up)
            return max(1e-4, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
        return {'optimizer': optimiser, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}

    @property
    def _seed(self) -> int:
        return int(getattr(self.trainer.datamodule, 'seed', 0))  # type: ignore[attr-defined]


def _of(parameters: Iterable[nn.Parameter], *, matrices: bool) -> list[nn.Parameter]:
    return [p for p in parameters if (p.ndim > 1) == matrices]


def memory_layout(network: nn.Module) -> torch.memory_format:
    """Channels last, the faster layout, unless torch would crash with it.

    oneDNN 3.12 (torch 2.14) on processors without AVX-512 writes beyond its memory in the weight gradient of
    a strided 1x1 convolution with fewer than 8 input channels.
    """
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d) or layer.in_channels >= 8:
            continue
        if layer.kernel_size == (1, 1) and layer.stride != (1, 1):
            return torch.contiguous_format
    return torch.channels_last
