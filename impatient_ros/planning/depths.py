"""Where the errors and margins of a depth stand in their lists."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ['Depths']


@dataclass(frozen=True, slots=True)
class Depths:
    """A *depth*: a number of stages at a resolution, from the start of a pass or from a boundary on its way.

    Attributes:
        resolutions: how many there are.
        exits: T.
    """

    resolutions: int
    exits: int

    @property
    def from_start(self) -> int:
        """How many depths there are from the start; as many are on the way, and they come after them."""
        return self.resolutions * (self.exits + 1)

    def place(self, resolution: int, stages: int, *, on_the_way: bool = False) -> int:
        """The place of `stages` (0..T) at the resolution of that index."""
        return (on_the_way * self.resolutions + resolution) * (self.exits + 1) + stages
