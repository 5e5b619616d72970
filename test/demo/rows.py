"""A ladder and frames on it, for the tests of what the demo shows."""

from impatient_ros.demo.ladder import Ladder, PathCost
from impatient_ros.perception.frame_record import FrameRecord, Outcome

MS = 1_000_000  # ns

LADDER = Ladder(
    (
        PathCost(96, 0, 0.001, 0.4),
        PathCost(128, 0, 0.002, 0.6),
        PathCost(160, 0, 0.004, 0.7),
        PathCost(224, 0, 0.008, 0.8),
    ),
    overhead=0.002,
    transport=0.001,
)


def record(outcome=Outcome.answered, taken=None, planned=None, **values):
    """A record of LADDER's model; `taken` and `planned` count its paths from 0."""
    for name, index in (('', taken), ('planned_', planned)):
        if index is not None:
            values |= {f'{name}resolution': LADDER.paths[index].resolution, f'{name}exit_index': 0}
    return FrameRecord('camera', 0.0, outcome, exits=1, **values)
