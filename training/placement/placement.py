"""Whether exits are placed by budgets, and the placement: all exits that might be, and those chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from training.model.networks import NetworkOptions
from training.placement.search import Candidate
from training.risk.options import RiskOptions

__all__ = ['Placement', 'wanted']


@dataclass(frozen=True)
class Placement:
    """What was estimated, and what was chosen by it.

    Attributes:
        budgets, unit: the distribution's name and the unit of costs, MACs or s.
        candidates: all that were offered.
        chosen, even: numbers of the candidates that were chosen, and of those that stand evenly by cost.
        last_cost, last_accuracy: of the classifier's own exit.
        expected, expected_even: the expected accuracies of both, as estimated.
        about: how: pictures, views, seconds, what the backbone was.
        key: what it depends on.
    """

    budgets: str
    unit: str
    candidates: tuple[Candidate, ...]
    chosen: tuple[int, ...]
    even: tuple[int, ...]
    last_cost: float
    last_accuracy: float
    expected: float
    expected_even: float
    about: Mapping[str, Any]
    key: Mapping[str, Any]

    def options(self, network: NetworkOptions) -> NetworkOptions:
        """`network` with the exits that were chosen."""
        exits = [self.candidates[k] for k in self.chosen]
        return replace(
            network,
            exits=len(exits) + 1,
            cuts=[each.name for each in exits],
            head_share=[each.share for each in exits] or network.head_share,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Placement:
        """The inverse of `to_dict`. Raises ValueError."""
        try:
            own: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in values.items()}
            return cls(**(own | {'candidates': tuple(Candidate(**each) for each in own['candidates'])}))
        except (TypeError, KeyError) as error:
            raise ValueError(f'not a placement of exits: {error}') from error


def wanted(network: NetworkOptions, risk: RiskOptions) -> bool:
    """Whether exits are to be placed by budgets: where cuts is budgets, or left out and

    - budgets are others than the default (uniform),
    - the training is weighted by them: method joint or distil,
    - nothing of what is asked for needs exits that are known: several resolutions, a single exit, a list of
      head shares, costs of certain exits (seconds per exit or a latency profile),
    - and the checkpoint that is started from does not bring its own exits along (model.network.start alone).

    Raises ValueError where cuts is budgets and that is impossible.
    """
    against = [
        reason
        for reason, stands in (
            ('model.network.exits is 1, the last', network.exits == 1),
            ('paths at several resolutions (model.network.resolutions) are not placed', network.resolutions),
            (
                f'model.risk.costs is {risk.costs}, of certain exits: write macs or measured',
                risk.costs not in ('macs', 'measured'),
            ),
            ('model.network.head_share names heads one by one', isinstance(network.head_share, list)),
        )
        if stands
    ]
    if network.cuts == 'budgets':
        if against:
            raise ValueError(f'model.network.cuts is budgets, but {against[0]}')
        return True
    brought = network.start is not None and network.backbone is None and network.module is None
    return (
        network.cuts is None
        and risk.budgets != RiskOptions().budgets
        and risk.method in ('joint', 'distil')
        and not brought
        and not against
    )
