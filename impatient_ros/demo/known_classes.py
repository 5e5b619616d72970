"""Which class a picture shows, where its name says so."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

__all__ = ['KnownClasses']

NUMBERED = re.compile(r'^\d+[-_ ]*')


class KnownClasses:
    """Finds labels in names: `01-granny-smith.jpg` and `granny_smith/a.jpg` both show a Granny Smith.

    A label may list synonyms, separated by commas: 'zucchini, courgette'.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self._labels: dict[str, str] = {}
        for label in labels:
            for word in (label, *label.split(',')):
                self._labels.setdefault(_plain(word), label)

    def of(self, name: str) -> str | None:
        """The label of the picture called so; None where the name does not tell."""
        path = PurePosixPath(name)
        for word in (NUMBERED.sub('', path.stem), path.parent.name):
            if word and (label := self._labels.get(_plain(word))):
                return label
        return None


def _plain(word: str) -> str:
    return ' '.join(re.sub('[-_]', ' ', word).casefold().split())
