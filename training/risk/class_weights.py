"""How much a picture of each class counts."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ['CHOICES', 'balanced']

CHOICES = ('none', 'balanced')


def balanced(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights by which all classes count alike, however many pictures they have: N / (C n_c).

    The mean over all N pictures is 1. ValueError for a class without pictures.
    """
    if not all(count > 0 for count in counts):
        raise ValueError(f'a class without pictures cannot be weighed: {list(counts)}')
    return tuple(sum(counts) / (len(counts) * count) for count in counts)
