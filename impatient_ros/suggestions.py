"""Suggestions for a misspelt name: the known names that are close to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ['did_you_mean']


def did_you_mean(word: str, known: Iterable[str], otherwise: str = '') -> str:
    """'did you mean a, b or c?' with up to three known names, the nearest first; else `otherwise`."""
    near = difflib.get_close_matches(word, list(known), n=3)
    if not near:
        return otherwise
    return f'did you mean {" or ".join(filter(None, [", ".join(near[:-1]), near[-1]]))}?'
