"""What people can do about input that is faulty or cannot be used, by the word that it is counted by."""

from collections.abc import Iterable

from impatient_ros.perception.frame_record import INTERNAL_ERROR

__all__ = ['DROPPED', 'FAULTS', 'remedies', 'remedy']

_STAMP = 'the arrival stands in for the stamp: '
_MESSAGE = 'let the driver fill the message as its definition says'
_DAMAGED = 'the driver or the link damages pictures: record some and look at them'

# By `fault` of frame_status: what stands in for the input, and what to do.
FAULTS = {
    'zero_stamp': f'{_STAMP}let the driver stamp its images',
    'future_stamp': f"{_STAMP}synchronise the machines' clocks, set use_sim_time in all nodes or in none",
    'stale_stamp': (
        f"{_STAMP}synchronise the machines' clocks, set use_sim_time for a recording, "
        'or raise budget.stale_after'
    ),
    'no_deadline': 'budget.fixed stands in for the deadline: announce one ahead of time for every frame',
}

# By `reason` of a dropped frame: those of images.errors, and our own.
DROPPED = {
    'malformed': _MESSAGE,
    'fields': _MESSAGE,
    'step': _MESSAGE,
    'data': _MESSAGE,
    'size': 'let the driver publish a size that its encoding allows',
    'encoding': 'let the driver publish colour or brightness, such as rgb8 or mono8',
    'format': 'publish JPEG or PNG, or choose the topic of the colour picture',
    'roi': 'set cameras.<camera>.roi to a part of its pictures, or to []',
    'too_large': 'let the driver publish smaller pictures',
    'header': _DAMAGED,
    'truncated': _DAMAGED,
    'decode': _DAMAGED,
    INTERNAL_ERROR: 'the log has a traceback, please report it',
}


def remedy(reason: str) -> str:
    """What to do about frames dropped for that reason."""
    return DROPPED.get(reason, 'the log says more')


def remedies(words: Iterable[str]) -> str:
    """What to do about all of these faults or reasons; what several have in common is said once."""
    return '; '.join(dict.fromkeys(FAULTS.get(word) or remedy(word) for word in sorted(words)))
