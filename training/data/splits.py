"""Which pictures of a labelled data set are learned from, and which validate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from training.data.labelled_pictures import DataError, Part, Pictures, chosen_of, labels_of, read, splits_of
from training.data.picture_files import TRAIN, PictureFiles
from training.data.torchvision_data import is_torchvision

__all__ = ['Splits', 'parts']

VALIDATION = ('validation', 'val', 'valid')
HELD_OUT = 0.2  # of each class, where there is no such split: enough for accuracies, and most are learned


def parts(classes: int, hold_out: int, limit: int | None, *, divided: bool) -> tuple[Part, Part]:
    """Which pictures of each class are learned, and which are held out: none where the set is `divided`
    already; otherwise as many of all `classes`, `hold_out` together, or a fifth of each where that is 0.
    """

    def held(count: int) -> int:
        if divided:
            return 0
        return hold_out // classes if hold_out else max(1, round(HELD_OUT * count))

    def learned(count: int) -> slice:
        start = held(count)
        return slice(start, None if limit is None else start + max(1, limit // classes))

    return learned, lambda count: slice(0, held(count))


@dataclass
class Splits:
    """Both parts of `source`; nothing is decoded before `read_both`.

    Args:
        source: a folder or zip, or 'torchvision:<data set>:<folder>'.
        train: the split to learn from; default: train, or the only one there is.
        validation: the one that validates; default: validation, val or valid, whichever there is; without
            one, a fifth of each class of `train`.
        hold_out: how many pictures of `train` validate instead, as many of every class.
        limit: how many pictures to learn from, as many of every class.

    Attributes:
        counts: by class, how many files are learned from and how many validate; None where nobody knows
            before they are read.
        left_out: what lies there and is not read, and why, for people; broken pictures are known later.

    Raises DataError for a split that is not there, other classes in one of the two, and classes with too few
    pictures.
    """

    source: str
    train: str | None = None
    validation: str | None = None
    hold_out: int = 0
    limit: int | None = None
    labels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._files: str | PictureFiles = (
            self.source if is_torchvision(self.source) else PictureFiles(Path(self.source))
        )
        there = splits_of(self._files)
        if self.train is None:
            self.train = there[0] if len(there) == 1 else TRAIN
        if self.validation is None and not self.hold_out:
            self.validation = next((each for each in VALIDATION if each in there), None)
        for option, split in (('train_split', self.train), ('validation_split', self.validation)):
            if split is not None and split not in there and not is_torchvision(self.source):
                raise DataError(
                    f'{self.source}: no split {split!r}; its folders are {", ".join(there)}: write one of '
                    f'them as data.{option}'
                )
        if self.validation is not None and (self.hold_out or self.validation == self.train):
            raise DataError(
                f'data.validation_split is {self.validation!r}: write another split than the one that is '
                'learned, or instead data.hold_out, how many pictures of that one are to validate'
            )
        self.labels = labels_of(self._files, self.train)
        if 0 < self.hold_out < len(self.labels):
            raise DataError(
                f'data.hold_out is {self.hold_out}: write at least {len(self.labels)}, one for each class'
            )
        self.left_out: list[str] = []
        self.counts: dict[str, tuple[int, int]] | None = None
        if isinstance(self._files, PictureFiles):
            read_from = dict.fromkeys((self.train, self._parts[1][0]))
            self.left_out = [reason for split in read_from for reason in self._files.left_out(split)]
            self.counts = self._count(self._files)

    def _count(self, files: PictureFiles) -> dict[str, tuple[int, int]]:
        learned, validating = self._parts
        files.check_classes(validating[0])  # before a class that only one of them has is found empty
        train = chosen_of(files, self.train or TRAIN, learned)
        validation = chosen_of(files, *validating)
        return {label: (len(train[label]), len(validation[label])) for label in self.labels}

    @property
    def _parts(self) -> tuple[Part, tuple[str, Part | None]]:
        """What is learned of `train`, and what validates of which split."""
        train = self.train or TRAIN
        learned, held = parts(
            len(self.labels), self.hold_out, self.limit, divided=self.validation is not None
        )
        return learned, (train, held) if self.validation is None else (self.validation, None)

    @property
    def validation_is(self) -> str:
        """Where the validation pictures come from, for people."""
        if self.validation is not None:
            return f'split {self.validation}'
        how_many = f'{self.hold_out} pictures' if self.hold_out else 'a fifth of each class'
        return f'{how_many} held out of the split {self.train}'

    def read_both(self, side: int, validation_side: int, *, keep: bool) -> tuple[Pictures, Pictures]:
        """Those to learn from and those that validate, shorter sides at most so many px; see `read`."""
        learned, (split, held) = self._parts
        return (
            read(self._files, self.train or TRAIN, shorter_side=side, part=learned, keep=keep),
            read(self._files, split, shorter_side=validation_side, part=held, keep=keep),
        )
