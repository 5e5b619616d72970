"""Pictures and networks with the same classes, or pictures of some of a network's."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.labelled_pictures import DataError, Pictures

__all__ = ['with_labels']

log = logging.getLogger(__name__)


def with_labels(pictures: Pictures, labels: Sequence[str], whose: str) -> Pictures:
    """The pictures with their targets counted in `labels`, those of `whose` network, matched by name.

    They may be of a part of the classes: all compete for the answers nevertheless, and the log says so.
    Raises DataError for a class that the network does not have, or has twice.
    """
    labels = tuple(labels)
    if pictures.labels == labels:
        return pictures
    unknown = sorted(set(pictures.labels) - set(labels))
    if unknown:
        odd = sorted(set(labels) ^ set(pictures.labels))
        more = f' and {len(odd) - 8} more' if len(odd) > 8 else ''
        raise DataError(f'{whose} and the data differ in their classes: {", ".join(odd[:8])}{more}')
    twice = [label for label in pictures.labels if labels.count(label) > 1]
    if twice:
        raise DataError(f'{whose} has several classes {twice[0]!r}: the data must name them all, in order')
    if len(pictures.labels) < len(labels):
        log.warning('the data has %d of the %d classes of %s', len(pictures.labels), len(labels), whose)
    index = np.array([labels.index(label) for label in pictures.labels])
    return replace(pictures, labels=labels, targets=index[pictures.targets])
