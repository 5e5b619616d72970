"""How one frame ended, and the texts that carry it through frame_status."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from impatient_ros.perception.path_text import path_text

__all__ = ['ARRIVED_LATE', 'CONFIDENT', 'INTERNAL_ERROR', 'FrameRecord', 'Outcome']

CONFIDENT = 'confident'  # the reason of an answer that stopped before its planned path: it was sure enough
ARRIVED_LATE = (
    'arrived after its deadline'  # the reason of an infeasible frame that could not be anything else
)
INTERNAL_ERROR = 'internal_error'  # the reason of a frame that an error of our own ended


class Outcome(str, Enum):
    """How a frame ended."""

    answered = 'answered'  # an answer went out by the deadline
    late = 'late'  # an answer went out, after the deadline
    missed = 'missed'  # it was tried; no answer went out
    infeasible = 'infeasible'  # the budget was below the cost of the cheapest path
    superseded = 'superseded'  # a newer frame of its camera arrived before its turn
    dropped = 'dropped'  # it could not be used, see the reason

    def __str__(self) -> str:  # the same text in f-strings on every Python
        return self.value

    __hash__ = str.__hash__  # Enum's is interpreted, and every frame is counted by outcome


_TRIED = (Outcome.answered, Outcome.late, Outcome.missed)


@dataclass(frozen=True)
class FrameRecord:
    """One frame's end.

    `stamp` is the image's (s, ROS clock); `budget` what was left when it was picked up, `elapsed` from there
    to the answer, `slack` what was left at the answer (negative: late). `resolution` and `exit_index` are the
    path that answered, px and 0-based, `planned_*` the one that the plan aimed at; `resolutions` and `exits`
    are how many the network has (0: not known). `unknown`: the answer said so, and `label` with it.
    `overrun` says whether the path that the plan protected came later than planned (None: it protected none).
    `superseded` counts the frames that this one replaced; they have records of their own, so it is not added
    up again.
    """

    camera: str
    stamp: float
    outcome: Outcome
    reason: str = ''
    exit_index: int | None = None
    planned_exit_index: int | None = None
    exits: int = 0
    budget: float | None = None
    elapsed: float | None = None
    slack: float | None = None
    slowdown: float = 1.0
    superseded: int = 0
    fault: str | None = None
    label: str | None = None
    confidence: float | None = None
    overrun: bool | None = None
    resolution: int | None = None
    planned_resolution: int | None = None
    resolutions: int = 0
    unknown: bool = False

    @property
    def tried(self) -> bool:
        """Whether its budget admitted an answer."""
        return self.outcome in _TRIED

    @property
    def miss(self) -> bool:
        """Whether it was tried and had no answer by its deadline."""
        return self.outcome in (Outcome.late, Outcome.missed)

    @property
    def path(self) -> str:
        """The path that answered, for people: '160 px, exit 4 of 5'; '' where none did."""
        return path_text(self.resolution, self.exit_index, resolutions=self.resolutions, exits=self.exits)

    @property
    def planned_path(self) -> str:
        """The path that the plan aimed at, in the same words."""
        return path_text(
            self.planned_resolution, self.planned_exit_index, resolutions=self.resolutions, exits=self.exits
        )

    def to_values(self) -> dict[str, str]:
        """The record as frame_status carries it: texts by key, '' for None.

        `overrun`, `fault` and `unknown` are there only where there is one.

        The demo and training (budgets from a bag) read it back.
        """
        values = {
            'outcome': self.outcome.value,
            'reason': self.reason,
            'exit_index': _whole_text(self.exit_index),
            'planned_exit_index': _whole_text(self.planned_exit_index),
            'exits': str(self.exits),
            'resolution': _whole_text(self.resolution),
            'planned_resolution': _whole_text(self.planned_resolution),
            'resolutions': str(self.resolutions),
            'budget_s': _number_text(self.budget),
            'elapsed_s': _number_text(self.elapsed),
            'slack_s': _number_text(self.slack),
            'slowdown': _number_text(self.slowdown),
            'superseded': str(self.superseded),
        }
        if self.overrun is not None:
            values['overrun'] = str(self.overrun).lower()
        if self.unknown:
            values['unknown'] = 'true'
        if self.fault:
            values['fault'] = self.fault
        return values

    @classmethod
    def from_values(cls, camera: str, stamp: float, values: Mapping[str, str]) -> 'FrameRecord':
        """The inverse of `to_values`; label and confidence are not among the values.

        Of an older version, without the keys of resolutions, these are not known. Raises `ValueError` for
        another missing key or one that does not parse.
        """
        try:
            return cls(
                camera=camera,
                stamp=stamp,
                outcome=Outcome(values['outcome']),
                reason=values['reason'],
                exit_index=_whole(values['exit_index']),
                planned_exit_index=_whole(values['planned_exit_index']),
                exits=int(values['exits']),
                budget=_number(values['budget_s']),
                elapsed=_number(values['elapsed_s']),
                slack=_number(values['slack_s']),
                slowdown=float(values['slowdown']),
                superseded=int(values['superseded']),
                fault=values.get('fault') or None,
                resolution=_whole(values.get('resolution', '')),
                planned_resolution=_whole(values.get('planned_resolution', '')),
                resolutions=_whole(values.get('resolutions', '')) or 0,
                unknown=values.get('unknown') == 'true',
                overrun={'true': True, 'false': False}.get(values.get('overrun', '')),
            )
        except KeyError as error:
            raise ValueError(f'no frame status: the key {error} is missing among {sorted(values)}') from error
        except ValueError as error:
            raise ValueError(f'no frame status: {error}') from error


def _whole_text(value: int | None) -> str:
    return '' if value is None else str(int(value))


def _number_text(value: float | None) -> str:
    return '' if value is None else repr(float(value))  # float(): numpy's repr names its type


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _number(text: str) -> float | None:
    return float(text) if text else None
