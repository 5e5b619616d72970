"""What a checkpoint says of a precision other than single: what its paths are worth in it.

    record = PrecisionRecord.from_dict(description['precisions']['int8'])
    record.accuracy_kept                   # whether 'auto' may take it

Every table has one row per resolution, ascending, with one value per exit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ['MEASURED', 'Drop', 'PrecisionRecord', 'int8_names', 'split_stored']

MEASURED = ('bf16', 'f16', 'int8')  # of which there can be a record
# The limit that 'auto' keeps to: 0.2 points at every path, and up to 0.5 by the end of the interval. On fewer
# pictures than these the interval never gets as narrow.
MOST_DROP, MOST_UPPER_END = 0.002, 0.005
LEAST_PICTURES = 1000
_INT8 = 'graph_int8'  # what the names of its graphs begin with in a file


class Drop(NamedTuple):
    """By how much the accuracy of a path is lower than in single precision on the same pictures, -1 to 1, and
    the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PrecisionRecord:
    """Measured by `python -m training.evaluate --precision` or `python -m training.quantize`.

    `pictures` is how many labelled ones there were, `measured` which and on what, for people.
    """

    pictures: int
    measured: str
    accuracies: Rows
    temperatures: Rows
    drops: tuple[tuple[Drop, ...], ...]

    @property
    def accuracy_kept(self) -> bool:
        """Whether the accuracy of every path is shown to move by no more than the limit."""
        return self.pictures >= LEAST_PICTURES and all(
            abs(drop.mean) <= MOST_DROP and drop.high <= MOST_UPPER_END for drop in self.all_drops()
        )

    @property
    def worst(self) -> Drop:
        """That of the path that loses most."""
        return max(self.all_drops(), key=lambda drop: (drop.high, drop.mean))

    def all_drops(self) -> Iterator[Drop]:
        for row in self.drops:
            yield from row

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> PrecisionRecord:
        """From what `check_description` has looked at."""
        return cls(
            pictures=record['pictures'],
            measured=record['measured'],
            accuracies=tuple(map(tuple, record['accuracies'])),
            temperatures=tuple(map(tuple, record['temperatures'])),
            drops=tuple(tuple(Drop(*each) for each in row) for row in record['drops']),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            'pictures': self.pictures,
            'measured': self.measured,
            'accuracies': [list(row) for row in self.accuracies],
            'temperatures': [list(row) for row in self.temperatures],
            'drops': [[list(each) for each in row] for row in self.drops],
        }


def int8_names(graphs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Graphs under the names that a file gives those of int8."""
    return {_INT8 + name.removeprefix('graph'): data for name, data in graphs.items()}


def split_stored(graphs: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """A file's graphs, and those of int8, these as `int8_names` takes them."""
    int8 = {name: data for name, data in graphs.items() if name.startswith(_INT8)}
    single = {name: data for name, data in graphs.items() if name not in int8}
    return single, {'graph' + name.removeprefix(_INT8): data for name, data in int8.items()}
