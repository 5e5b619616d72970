"""How a robot's overhead and slowdown decide which path answers a frame, fitted on recorded frames.

Path k of cost c_k (s, by the latency profile) answers a frame of budget b where no better one fits, and fits
where

    b >= f (o S + (m_0 + m_1 S) g_k c_k),    log f ~ logistic(0, spread S^growth)

S is the slowdown that the node recorded, smoothed over neighbouring frames; o S the overhead (waiting,
decoding, preprocessing, publishing), which takes longer on a slow machine as all else does; m_0 + m_1 S by
how much more than its profile a path needed, the planner's margins and insurances included; g_k what the
profile has wrong about single paths. A share `lost` of the frames has no answer whatever its budget:
something else had the processor.

The constant part m_0 has a reason: the recorded slowdown is mostly that of cheap paths, of which a wait of
some milliseconds is a larger part than of dear ones. On two recorded bags without it (m_0 = 0) a fit on the
less loaded one underestimated the dearest path's share on the other by 4 points instead of 0.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import softplus

from impatient_ros.planning.options import undominated
from training.recorded.frames import UNKNOWN, RecordedFrames
from training.risk.loaded_budgets import LoadedBudgets

__all__ = ['FEWEST', 'LoadModel', 'fit', 'real_shares']

# Frames to either side that the smoothed slowdown looks at. On two recorded bags of 3,000 frames the worst
# share predicted for second halves and for the other bag was 2.6 to 5.5 points off with 3, 2.4 to 4.7 with
# 15, 2.3 to 6.5 with 30.
NEIGHBOURS = 15
FEWEST = 100  # frames: the standard error of a share is 5 points then, and a fit means nothing
DRAWS = 40  # of f per frame, evenly over its distribution
# log g_k ~ normal(0, this): a profile is taken to be 30% wrong about a path. Chosen, not measured.
PROFILE_ERROR = 0.3
LEAST_CHANCE = 1e-5  # of what did happen, so that a single odd frame does not outweigh all others


@dataclass(frozen=True)
class LoadModel:
    """The parameters of the model, o = `overhead` in seconds, m_0 = `constant`, m_1 = `proportional`.

    The defaults are a robot without overhead whose paths take what its recorded slowdown says.

    Attributes:
        smoothing: weight of the smoothed slowdown beside the frame's own, 0..1.
        spread, growth: of log f, see above.
        lost: share of the frames without an answer whatever their budget.
        corrections: g_k of each path; (): all 1.
    """

    overhead: float = 0.0
    constant: float = 0.0
    proportional: float = 1.0
    smoothing: float = 0.0
    spread: float = 0.0
    growth: float = 0.0
    lost: float = 0.0
    corrections: tuple[float, ...] = ()

    def costs(self, costs: Sequence[float]) -> tuple[float, ...]:
        """Of each path, corrected, in seconds of the latency profile."""
        if not self.corrections:
            return tuple(costs)
        return tuple(c * g for c, g in zip(costs, self.corrections, strict=True))

    def budgets(self, frames: RecordedFrames) -> LoadedBudgets:
        """The distribution of what is left to the network; uses the frames' budgets and slowdowns alone."""
        budgets, slowdowns = frames.budgets, _smoothed(frames.slowdowns, self.smoothing)
        draws = DRAWS if self.spread > 0 else 1
        middle = (np.arange(draws) + 0.5) / draws
        logistic = np.log(middle / (1 - middle))  # [draws]
        factor = np.exp(self.spread * slowdowns[:, None] ** self.growth * logistic)  # [N, draws]
        overheads = factor * (self.overhead * slowdowns)[:, None]
        needs = factor * (self.constant + self.proportional * slowdowns)[:, None]
        return LoadedBudgets(np.repeat(budgets, draws), overheads.ravel(), needs.ravel(), self.lost)


def real_shares(frames: RecordedFrames, paths: Sequence[tuple[int, int]]) -> np.ndarray:
    """How often each of K paths (resolution in px, exit) did answer in time, [K + 1], no answer first."""
    answers = frames.answers(paths)
    known = answers[answers != UNKNOWN]
    return np.bincount(known + 1, minlength=len(paths) + 1) / max(1, len(known))


def fit(
    frames: RecordedFrames,
    paths: Sequence[tuple[int, int]],
    costs: Sequence[float],
    accuracies: Sequence[float],
) -> LoadModel:
    """The model under which what became of these frames is most likely.

    Args:
        paths: K of them, (resolution in px, exit).
        costs: of each, s, by the latency profile of the robot.
        accuracies: of each; where a path costs more than a more accurate one it is not modelled.

    Raises:
        ValueError: fewer than FEWEST frames of which it is known what became of them, or no answer at all.
    """
    answers = frames.answers(paths)
    known = answers != UNKNOWN
    if known.sum() < FEWEST or (answers[known] >= 0).sum() == 0:
        raise ValueError(
            f'{known.sum()} frames of which it is known which path answered: {FEWEST} are needed'
        )
    chain = sorted(undominated(costs, accuracies), key=costs.__getitem__)
    steps = np.array([costs[k] for k in chain])
    reached = [0, *(int((steps <= c).sum()) for c in costs)]  # how far up the chain an answer shows
    level = np.array(reached)[answers[known] + 1]
    unit = math.exp(float(np.log(steps).mean()))  # costs may be microseconds or seconds
    budgets = torch.tensor(frames.budgets[known] / unit)
    own, smooth = (torch.tensor(np.log(_smoothed(frames.slowdowns, weight))[known]) for weight in (0.0, 1.0))
    log_costs = torch.tensor(np.log(steps / unit))

    # [overhead, constant, proportional; smoothing, spread, growth, lost; corrections of the chain]
    start = torch.tensor([0.0, 0.0, 0.0, 0.0, -1.0, 0.0, -3.0] + [0.0] * len(chain), dtype=torch.float64)
    scale = torch.tensor([1.0, 1.0, 1.0, 2.0, 1.0, 0.5, 2.0] + [PROFILE_ERROR] * len(chain)).double()
    deviation = torch.zeros_like(start).requires_grad_()  # from `start`, in units of `scale`
    target = torch.tensor(level)[:, None]

    def loss() -> torch.Tensor:
        likely = _chances(start + scale * deviation, budgets, own, smooth, log_costs).gather(1, target)
        # A chance of 0 would have no gradient.
        return deviation.square().sum() / 2 - (likely + LEAST_CHANCE).log().sum()

    # A change of the logarithm of the likelihood by less than the tolerance means nothing.
    optimiser = torch.optim.LBFGS(
        [deviation], max_iter=300, tolerance_change=1e-5, line_search_fn='strong_wolfe'
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # of so small tensors; two threads that wait for each other took 90 s on a busy machine
    try:
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    finally:
        torch.set_num_threads(threads)
    found = (start + scale * deviation).detach()
    if not torch.isfinite(found).all():
        raise ValueError('the recorded frames fit no model of overhead and slowdown')
    overhead, constant, proportional = softplus(found[:3]).tolist()
    smoothing, lost = torch.sigmoid(found[[3, 6]]).tolist()
    corrected = unit * _corrected(found, log_costs).exp().numpy()
    return LoadModel(
        overhead * unit,
        constant,
        proportional,
        smoothing,
        math.exp(found[4].item()),
        found[5].item(),
        lost,
        _corrections(costs, steps, corrected),
    )


def _chances(
    free: torch.Tensor,
    budgets: torch.Tensor,
    own: torch.Tensor,
    smooth: torch.Tensor,
    log_costs: torch.Tensor,
) -> torch.Tensor:
    """P(no answer, then each path of the chain), [N, chain + 1], of frames of logarithmic slowdowns."""
    weight = torch.sigmoid(free[3])
    slowdowns = ((1 - weight) * own + weight * smooth).exp()[:, None]
    overhead, constant, proportional = softplus(free[:3])
    needs = overhead * slowdowns + (constant + proportional * slowdowns) * _corrected(free, log_costs).exp()
    spread = free[4].exp() * slowdowns ** free[5]
    surplus = (budgets.clamp_min(1e-6).log()[:, None] - needs.log()) / spread
    fits = (1 - torch.sigmoid(free[6])) * torch.sigmoid(surplus)
    edge = torch.ones(len(budgets), 1, dtype=fits.dtype)
    fits = torch.cat([edge, fits, 0 * edge], 1)
    return fits[:, :-1] - fits[:, 1:]


def _corrected(free: torch.Tensor, log_costs: torch.Tensor) -> torch.Tensor:
    return torch.cummax(log_costs + free[7:], 0)[0]  # none cheaper than a worse one


def _corrections(costs: Sequence[float], steps: np.ndarray, corrected: np.ndarray) -> tuple[float, ...]:
    """g_k of all paths; those that are dominated stay so: by the dearest of the chain that costs no more."""
    found = []
    for cost in costs:
        below = int((steps <= cost).sum()) - 1
        found.append(max(cost if cost not in steps else 0.0, corrected[below]) / cost)
    return tuple(float(g) for g in found)


def _smoothed(slowdowns: np.ndarray, weight: float) -> np.ndarray:
    """exp of the mean of the logarithms: with that weight over the neighbours, else the frame's own."""
    logarithms = np.log(np.maximum(slowdowns, 1e-3))
    total = np.concatenate([[0.0], np.cumsum(logarithms)])
    place = np.arange(len(logarithms))
    first, end = np.maximum(place - NEIGHBOURS, 0), np.minimum(place + NEIGHBOURS + 1, len(logarithms))
    around = (total[end] - total[first]) / (end - first)
    return np.exp((1 - weight) * logarithms + weight * around)
