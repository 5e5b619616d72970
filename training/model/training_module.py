"""The training of one network as a LightningModule: its steps, its optimiser, its averaged weights.

The network is built in `setup`, from the data module's labels and picture size. Where averaging is on, the
running average of the weights is validated and saved. With several resolutions each batch is learned at some
of them (see `resolutions`), and what is weighted are paths, numbered r * T + t: exit t of T at the resolution
of index r, the smallest first.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import lightning
import numpy as np
import torch

from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.private_tensors import private_of_exits
from training.data.data_module import PictureData
from training.model.averaging import RunningAverage
from training.model.checks import check_features, check_pictures
from training.model.frozen_features import scores_from
from training.model.networks import NetworkOptions, build, memory_layout
from training.model.optimisation import OptimiserOptions, check_optimiser, optimiser_and_schedule
from training.model.path_scores import PathScores
from training.model.resolutions import at_sides, path_names, resized, sides_of
from training.model.steps import joint_step, separate_step
from training.model.without_labels import WithoutLabels
from training.placement.kept import with_exits
from training.placement.placement import Placement, wanted
from training.risk.class_weights import balanced
from training.risk.methods import (
    FROZEN,
    check_options,
    check_several_resolutions,
    chosen_exits,
    fixed_weights,
    frozen,
    joint_risk,
    learns_like,
    set_modes,
    trainable,
)
from training.risk.objective import JointRisk, floored, teaching
from training.risk.options import RiskOptions
from training.risk.path_weights import BudgetedPaths

__all__ = ['VALIDATION_RISK', 'ImpatientModule']

log = logging.getLogger(__name__)

VALIDATION_RISK = 'validation_risk'  # what Lightning knows it as
CHECKED = 50  # steps: on a device, losses are looked at so seldom, since the processor waits for them
NO_RISK_OPTIONS, NO_OPTIMISER_OPTIONS = RiskOptions(), OptimiserOptions()


class ImpatientModule(lightning.LightningModule):
    """Learns the exits of one network. Raises ValueError for options that do not fit together."""

    network: ImpatientNetwork
    averaged: ImpatientNetwork | None
    risk: JointRisk

    def __init__(
        self,
        network: NetworkOptions,
        risk: RiskOptions = NO_RISK_OPTIONS,
        optimiser: OptimiserOptions = NO_OPTIMISER_OPTIONS,
    ) -> None:
        super().__init__()
        self.options = network
        self.risk_options = risk
        self.optimiser_options = optimiser
        check_options(risk, frozen_from=network.start or network.weights)
        check_optimiser(optimiser)
        self.placement: Placement | None = None  # where exits were placed by budgets
        self.exit_share: tuple[float, ...] | None = None  # of the budgets, [R * T + 1]; joint training only
        self.exit_costs: tuple[float, ...] = ()  # of all paths, [R * T]
        self.path_weights: tuple[float, ...] = ()  # w' of the risk, [R * T]
        self.class_weights: tuple[float, ...] | None = None
        self.sides: tuple[int, ...] = ()
        self.chosen: tuple[int, ...] = ()
        self._like = learns_like(risk)
        self.without_labels: WithoutLabels | None = None
        self.validation: list[dict[str, Any]] = []  # per epoch: accuracies and losses of all paths
        self._random = np.random.default_rng(0)  # draws resolutions; a new one for every epoch
        self._built = False

    def setup(self, stage: str) -> None:
        """Build the network for the data module's pictures and labels."""
        if self._built:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.options, self.placement = with_exits(self.options, self.risk_options, self.trainer)
        self.prepare_for(data)

    @property
    def places_exits(self) -> bool:
        """Whether the exits are still to be placed by budgets, for which pictures are needed."""
        return self.placement is None and wanted(self.options, self.risk_options)

    def prepare_for(self, data: PictureData) -> None:
        """Build the network for what is known of `data` before it is decoded; where exits are still to be
        placed, with even ones for now. Raises ValueError, OSError.
        """
        check_pictures(self.options, self.risk_options, sizes=data.sizes, labelled=data.labels_from is None)
        if self.risk_options.class_weights == 'balanced':
            self.class_weights = balanced(data.class_counts())
        self.prepare(len(data.labels), data.preprocessing.size)

    def prepare(self, classes: int, image_size: tuple[int, int]) -> None:
        """Build the network and its risk. Raises ValueError, OSError."""
        chosen = replace(self.options, cuts='even') if self.places_exits else self.options
        network = build(chosen, classes=classes, image_size=image_size, whole=self.unlabelled)
        options, exits = self.risk_options, len(network.exits)
        check_features(network, options)
        self.sides = sides_of(self.options.resolutions, image_size)
        if len(self.sides) > 1:
            check_several_resolutions(options.method, options.mode)
        networks = at_sides(network, self.sides)
        given = self.options.start is not None
        self.chosen = chosen_exits(self._like, exits, options.exit, classifier_given=given)
        fixed = fixed_weights(options.method, self.chosen, exits)
        if fixed is None:
            self._budgeted = BudgetedPaths.of(networks, options)
            self.exit_costs = self._budgeted.costs
            self.exit_share = self._budgeted.plain_share()
            self.path_weights = floored(self.exit_share, options.floor)
        else:
            self.path_weights = tuple(w / len(networks) for _ in networks for w in fixed)
        names = path_names(self.sides, exits)
        self.risk = joint_risk(options, self.path_weights, self.class_weights, names)
        log.debug('exit weights %s', ' '.join(f'{w:.3f}' for w in self.risk.weights))
        self._layout = memory_layout(network)
        self.network = network.to(memory_format=self._layout)
        frozen(self.network, trainable(self.network, self._like, self.chosen), self._like)
        self._exit_weights = self._weights_of_exits()
        self.averaged = None
        if self.optimiser_options.averaging:
            self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        if self.unlabelled:
            self.without_labels = WithoutLabels(self.network, options, len(self.sides))
        self._built = not self.places_exits

    # Made when first used: the network is on its device then.
    @cached_property
    def _learning(self) -> list[ImpatientNetwork]:
        return at_sides(self.network, self.sides)

    @cached_property
    def _validated(self) -> list[ImpatientNetwork]:
        return at_sides(self.kept, self.sides)

    @cached_property
    def _average(self) -> RunningAverage:
        return RunningAverage(self.network, self.kept)

    def _weights_of_exits(self) -> list[float]:
        """Over all resolutions; kept for an epoch, since to read them the processor waits for the device."""
        return list(map(float, self.risk.weights.view(len(self.sides), -1).sum(0).tolist()))

    @property
    def trained(self) -> tuple[int, ...]:
        """The exits (0-based) whose answers count in the end; a frozen backbone has a trained last exit."""
        every = self._like in FROZEN
        return tuple(range(len(self.network.exits))) if every else self.chosen

    @property
    def unlabelled(self) -> bool:
        """Whether the full path's answers are all that is learned, and accuracies are agreement with them."""
        return self.risk_options.method == 'distil'

    @property
    def kept(self) -> ImpatientNetwork:
        """The network that is validated and written."""
        return self.network if self.averaged is None else self.averaged

    def on_fit_start(self) -> None:
        if self.without_labels is not None:
            self.without_labels.begin(self.device, str(self.trainer.precision))

    def on_train_epoch_start(self) -> None:
        for network in self._learning:
            set_modes(network, self._like, self.chosen)
        # Derived from the epoch's number, like the pictures' order, so that a resumed run repeats exactly.
        torch.manual_seed((self._seed * 100_003 + self.current_epoch) * 1009 + self.global_rank)
        self._exit_weights = self._weights_of_exits()
        self._random = np.random.default_rng([self._seed, self.current_epoch])  # alike in all processes

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """The joint risk of one batch."""
        x, target = batch
        risk, _ = self.risk_of(x.to(memory_format=self._layout), target)
        self.log('risk', risk.detach(), prog_bar=True, on_step=False, on_epoch=True, sync_dist=True)
        return risk

    def risk_of(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is minimised (scalar), and the losses of the exits that are trained, at this batch's sizes."""
        options = self.risk_options
        if options.method in ('joint', 'distil', 'uniform'):
            without = self.without_labels
            return joint_step(
                self._learning,
                self.sides,
                self.risk,
                x,
                target if without is None else None,
                self._random,
                teacher=None if without is None else without.answers(x),
                features_of=None if without is None else without.features_of,
                backbone_first=self._backbone_first,
                equilibrium=self._exit_weights if options.equilibrium else None,
                checked=self._checked(x),
            )
        learns = options.method != 'separate'
        return separate_step(
            self.network, self.chosen, self.risk, x, target, backbone=learns, checked=self._checked(x)
        )

    def _checked(self, x: torch.Tensor) -> bool:
        return x.device.type == 'cpu' or self.global_step % CHECKED == 0

    @property
    def _backbone_first(self) -> bool:
        return self.current_epoch < self.risk_options.mixed * (self.trainer.max_epochs or 1)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.risk_options.mixed and self._backbone_first:
            learning = set(self.network.exits[-1].parameters())  # heads may share its final layer
            heads = self.network.exits[:-1]
            own = private_of_exits(self.network, len(heads))
            for parameter in {*heads.parameters(), *own} - learning:
                parameter.grad = None  # otherwise weight decay and momentum would change these heads

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.averaged is not None:
            step = self.global_step
            self._average.update(min(self.optimiser_options.averaging, step / (step + 10)))

    def on_train_epoch_end(self) -> None:
        if self.averaged is not None:
            self._average.copy_counts()

    def on_validation_epoch_start(self) -> None:
        for network in self._validated:
            network.eval()
        self._scores = PathScores(len(self.path_weights), self.device, self.class_weights)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        """Right answers and losses of every path of the averaged network."""
        x, target = batch
        x = x.to(memory_format=self._layout)
        without = self.without_labels
        if without is not None and without.features_of is not None:
            scores = scores_from(self._validated[0], without.features_of(x))
        else:
            scores = [
                logits
                for network, side in zip(self._validated, self.sides, strict=True)
                for logits in network(resized(x, side))
            ]
        if without is not None:
            taught = without.answers(x)
            target = (scores[-1] if taught is None else taught).argmax(1)
        self._scores.add(scores, target)

    def on_validation_epoch_end(self) -> None:
        reduce = self.trainer.strategy.reduce
        accuracies, losses = self._scores.means(lambda sums: reduce(sums, reduce_op='sum'))
        self.validation.append({'accuracy': list(accuracies), 'loss': list(losses)})
        exits, last = len(self.network.exits), len(accuracies) - 1
        for k, path in enumerate(path_names(self.sides, exits)):
            if k % exits in self.chosen:
                name = f'exit_{path}'
                self.log(f'{name}/accuracy', accuracies[k], prog_bar=k == last, rank_zero_only=True)
                self.log(f'{name}/loss', losses[k], rank_zero_only=True)
        if len(self.sides) > 1 and self.exit_share is not None:
            self._choose_by(accuracies)
        # By these accuracies' own weights: what the node would answer with the network as it is now.
        risk = sum(w * loss for w, loss in zip(self.path_weights, losses, strict=True))
        self.log(VALIDATION_RISK, risk, prog_bar=True)

    def _choose_by(self, accuracies: Sequence[float]) -> None:
        """Weigh the paths by how often the planner chooses them, now that validation accuracies are known.

        Exits of one network mostly get better with their cost, so that the plain rule serves for them. A path
        at a low resolution is dearer and better than one at a high resolution, or not, as it turns out.
        """
        self.exit_share = self._budgeted.chosen_share(accuracies)
        self.path_weights = floored(self.exit_share, self.risk_options.floor)
        weights = teaching(self.path_weights, self.risk.distillation)
        self.risk.weights.copy_(self.risk.weights.new_tensor(weights))

    def configure_optimizers(self) -> dict[str, Any]:
        """See `optimiser_and_schedule`."""
        steps = int(self.trainer.estimated_stepping_batches)
        return optimiser_and_schedule(self.network, self.optimiser_options, steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint['exit_share'] = self.exit_share
        checkpoint['pictures'] = self._pictures

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises ValueError where the state belongs to other pictures: what validated may be learned from."""
        if checkpoint.get('pictures', self._pictures) != self._pictures:
            raise ValueError(
                'the pictures, or their classes, are no longer those of the saved state: write another '
                '--output, or --resume false to start anew'
            )
        self.exit_share = checkpoint['exit_share']

    @property
    def _pictures(self) -> str:
        return str(getattr(self.trainer.datamodule, 'digest', ''))  # type: ignore[attr-defined]

    @property
    def _seed(self) -> int:
        return int(getattr(self.trainer.datamodule, 'seed', 0))  # type: ignore[attr-defined]
