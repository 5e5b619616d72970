"""Suggestions for a misspelt name: the known names that are close to it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ['did_you_mean']

COUNT = 3


def did_you_mean(word: str, known: Iterable[str], otherwise: str = '') -> str:
    """'did you mean a, b or c?' with up to three known names, the nearest first; else `otherwise`.

    Small and capital letters are the same here. A name that has the word as one of its own ('coffee mug' for
    'mug') is near.
    """
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(name.casefold(), name)
    sought = word.casefold()
    whole = re.compile(rf'\b{re.escape(sought)}\b')
    having = sorted((name for name in names if sought.strip() and whole.search(name)), key=len)
    near = [names[name] for name in dict.fromkeys(having + difflib.get_close_matches(sought, names, COUNT))]
    if not near:
        return otherwise
    near = near[:COUNT]
    return f'did you mean {" or ".join(filter(None, [", ".join(near[:-1]), near[-1]]))}?'
