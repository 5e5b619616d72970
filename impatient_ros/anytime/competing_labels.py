"""Which of a model's classes compete: all, or those that a robot has a use for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from impatient_ros.suggestions import did_you_mean

__all__ = ['LabelError', 'competing']


class LabelError(ValueError):
    """Labels that a model does not have; says what to write instead."""


def competing(labels: Sequence[str], wanted: Sequence[str] = ()) -> tuple[int, ...]:
    """The indices in `labels` of the wanted ones, in the order that they were given; of all where none are.

    Raises:
        LabelError: one that the model does not have, with those that are near, or one that is given twice.
    """
    if not wanted:
        return tuple(range(len(labels)))
    index = {label: number for number, label in enumerate(labels)}
    problems = []
    for label, count in Counter(wanted).items():
        if label not in index:
            hint = did_you_mean(label, labels, f'it has {len(labels)}, such as {", ".join(labels[:3])}')
            problems.append(f'the model has no label {label!r} ({hint})')
        elif count > 1:
            problems.append(f'labels has {label!r} {count} times: name it once')
    if problems:
        raise LabelError('; '.join(problems))
    return tuple(index[label] for label in wanted)
