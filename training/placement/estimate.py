"""A cheap estimate of how accurate an exit at each cut point would be.

Heads of every size at every cut point learn at once, each from the features there and nothing from each
other: no gradient goes from a head into the backbone, so that one head's presence changes nothing for the
others (as in "linear probes", Alain and Bengio, 2016). A backbone with given weights stays as it is. One
without learns at the same time, as the plain classifier, for its last exit alone: features that nothing was
learned in say little of what deep cut points are worth.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from impatient_ros.network import ImpatientNetwork
from training.data.batches import PreparedOf, ViewsOf, finished, loader, orders
from training.data.data_module import PictureData, workers_for
from training.data.labelled_pictures import DataError
from training.model.networks import memory_layout

__all__ = ['Estimate', 'estimated', 'views_for']

log = logging.getLogger(__name__)

# Pictures, of those to train on. Accuracies of 2,000 have a standard error of 1.1 points; they are paired, so
# that differences between cut points have less.
LEARNED, HELD_OUT, HELD_OUT_SHARE = 4000, 2000, 0.25
# Views that are learned: six epochs of 4,000, or three where the heads alone learn.
VIEWS, VIEWS_OF_HEADS = 24_000, 12_000
MOST_EPOCHS = 30  # of few pictures: more of them learn these by heart
BATCH = 64
# AdamW's, as that of config/train/cifar10.yaml; it rises over a tenth of the steps and falls to 0.
RATE, WEIGHT_DECAY = 3e-3, 0.05
CLIP = 5.0  # of the gradients' norm, for each head, as training.train has it


@dataclass(frozen=True)
class Estimate:
    """Accuracies of heads [size][cut point] and of the last exit, on pictures that were not learned."""

    heads: tuple[tuple[float, ...], ...]
    last: float
    learned: int
    held_out: int
    views: int


def views_for(pictures: int, *, frozen: bool) -> int:
    """How many views the estimate learns, of so many pictures to train on; `frozen` as of `estimated`."""
    learned = min(LEARNED, pictures - _held_out(pictures))
    return _epochs(learned, frozen=frozen) * learned


def _held_out(pictures: int) -> int:
    return min(HELD_OUT, int(HELD_OUT_SHARE * pictures))


def _epochs(learned: int, *, frozen: bool) -> int:
    return min(MOST_EPOCHS, max(1, round((VIEWS_OF_HEADS if frozen else VIEWS) / learned)))


def estimated(
    network: ImpatientNetwork,
    heads: Sequence[Sequence[nn.Module]],
    data: PictureData,
    *,
    frozen: bool,
    device: torch.device,
) -> Estimate:
    """Teach `heads` [size][cut point] (0-based, of all exits of `network` but the last) and score them.

    Only pictures of `data` to train on are used, a part of them for the scores: those that validate say in
    the end what the exits are worth. `frozen` says that the backbone has weights. Without labels (see
    `PictureData`) the last exit's answers are the labels. `network` is left changed. Raises DataError.
    """
    count = len(data.pictures)
    held_out = _held_out(count)
    order = np.random.default_rng(data.seed).permutation(count)
    held, learned = np.sort(order[:held_out]), order[held_out:][:LEARNED]
    if held_out < len(data.labels):
        raise DataError(
            f'{count} pictures to train on are too few to say where exits pay: write model.network.cuts even'
        )
    layout = memory_layout(network)
    network.to(device).to(memory_format=layout)
    every = nn.ModuleList(head for of_size in heads for head in of_size).to(device)
    relative = data.labels_from is not None
    network.requires_grad_(not frozen)
    every.requires_grad_(True)
    network.exits[-1].requires_grad_(not relative)  # after `every`: heads may share its final layer
    learning = {id(p): p for part in (every, network.stages, network.exits[-1]) for p in part.parameters()}
    parameters = [p for p in learning.values() if p.requires_grad]
    epochs = _epochs(len(learned), frozen=frozen)
    steps = epochs * max(1, len(learned) // BATCH)
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    network.train(not frozen)
    every.train()
    network.exits[-1].train(not relative)
    for epoch in range(epochs):
        total = 0.0
        for x, target in _views(data, learned, epoch, device):
            features, last = _forward(network, x.to(memory_format=layout), learning=not frozen)
            scores = [head(each.detach()) for head, each in zip(every, features * len(heads), strict=True)]
            if relative:
                target = last.detach().softmax(1)
            else:
                scores.append(last)
            risk = torch.stack([functional.cross_entropy(each, target) for each in scores]).sum()
            optimiser.zero_grad(set_to_none=True)
            risk.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP * len(scores))
            optimiser.step()
            schedule.step()
            total += float(risk.detach()) / len(scores)
        if (epoch + 1) % max(1, epochs // 6) == 0:
            log.info(
                'where exits pay: epoch %d of %d, mean loss %.3f', epoch + 1, epochs, total * epochs / steps
            )
    *of_heads, last_accuracy = _accuracies(network, every, data, held, relative, layout)
    points = len(network.stages) - 1
    by_size = tuple(tuple(of_heads[start : start + points]) for start in range(0, len(of_heads), points))
    return Estimate(by_size, last_accuracy, len(learned), held_out, epochs * len(learned))


def _forward(
    network: ImpatientNetwork, x: torch.Tensor, *, learning: bool
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The features at every cut point but the last, and the last exit's scores."""
    features = []
    with torch.set_grad_enabled(learning):
        for stage in network.stages:
            x = stage(x)
            features.append(x)
    return features[:-1], network.exits[-1](features[-1])


def _views(
    data: PictureData, learned: np.ndarray, epoch: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    batches = orders(len(learned), BATCH, size=data.sizes[-1], seed=data.seed, epoch=epoch)
    chosen = [batch._replace(indices=learned[batch.indices]) for batch in batches]
    workers = workers_for(1) if data.workers is None else data.workers
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1)
        for values in (data.preprocessing.mean, data.preprocessing.std)
    )
    for views in loader(ViewsOf(data.pictures, data.augmentation), chosen, workers=workers):
        own = views._replace(pixels=views.pixels.to(device), targets=views.targets.to(device))
        yield finished(own, data.augmentation, len(data.labels), mean, std)


@torch.inference_mode()
def _accuracies(
    network: ImpatientNetwork,
    every: nn.ModuleList,
    data: PictureData,
    held: np.ndarray,
    relative: bool,
    layout: torch.memory_format,
) -> list[float]:
    """Of all heads, by size and cut point, and of the last exit; by agreement with that one if `relative`."""
    network.eval()
    every.eval()
    chunks = [held[start : start + BATCH].tolist() for start in range(0, len(held), BATCH)]
    right = torch.zeros(len(every) + 1)
    device = next(network.parameters()).device
    for x, target in loader(PreparedOf(data.pictures, data.preprocessing, chunks)):
        features, last = _forward(network, x.to(device, memory_format=layout), learning=False)
        sizes = len(every) // len(features)
        scores = [head(each) for head, each in zip(every, features * sizes, strict=True)]
        answers = torch.stack([each.argmax(1).cpu() for each in (*scores, last)])
        right += (answers == (answers[-1] if relative else target)).sum(1)
    return (right / len(held)).tolist()
