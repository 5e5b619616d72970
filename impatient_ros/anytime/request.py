"""What is asked of the classifier for one frame, and the interface through which its progress is reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.anytime.cancellation import Cancellation
from impatient_ros.checkpoint import Path
from impatient_ros.planning.options import MODES

__all__ = ['FrameObserver', 'FrameRequest', 'FrameSettings', 'Image']

Image = np.ndarray | Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """How a frame is to be classified; immutable, so that nothing changes in the middle of a frame.

    Attributes:
        mode: 'contract', 'interruptible' or 'adaptive'.
        miss_rate: accepted long-run rate of overruns of protected answers, held for each camera.
        confidence_threshold: an answer this sure (0..1) ends the frame; 0 switches it off.
        finish_late: whether the first answer is still worth having after the deadline. If not, a frame
            without an answer is abandoned at the first stage boundary after its deadline.
        unknown_below: an answer whose best class is less probable (0..1) is unknown; 0 switches it off.

    Raises:
        ValueError: unknown mode, or a miss rate outside 0..1.
    """

    mode: str = 'adaptive'
    miss_rate: float = 0.01
    confidence_threshold: float = 0.0
    finish_late: bool = False
    unknown_below: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f'mode is {self.mode!r}; write one of {", ".join(MODES)}')
        if not 0 < self.miss_rate < 1:
            raise ValueError(f'miss_rate is {self.miss_rate!r}; give a share between 0 and 1, such as 0.01')


def no_deadline() -> float:
    """The deadline of a frame that may take as long as it likes."""
    return math.inf


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """One frame and what limits its classification.

    Attributes:
        image: RGB, uint8 [H, W, 3], or a function that returns one: decoding then counts as preparation and
            is left out for an infeasible frame. What it raises passes through.
        deadline: returns the deadline, an instant on the classifier's clock in seconds. It may be infinite,
            and it may move: a change applies from the next stage boundary on.
        reserve: seconds to keep free before the deadline, for whoever publishes.
        camera: the cost of preparing an image and the miss rate are learned and held for each camera; '' for
            none in particular.
        settings: of this frame.
        time_share: while other frames wait, how many of the seconds that are left the network may take
            beyond the first exit; asked before every decision (see `impatient_ros.perception.time_sharing`).
        cancellation: through which another thread may stop it.
    """

    image: Image
    deadline: Callable[[], float] = no_deadline
    reserve: float = 0.0
    camera: str = ''
    settings: FrameSettings = field(default_factory=FrameSettings)
    time_share: Callable[[float], float] | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)


class FrameObserver(Protocol):
    """Is told about a frame while it is classified, in the thread that classifies."""

    def planned(self, path: Path | None, protected: Path | None, slowdown: float) -> None:
        """The path that the first plan aims at (None: no stage is executed), the one that it protects (None:
        none), and the slowdown of the machine that it assumes; not called for an infeasible frame.
        """

    def answered(self, answer: Answer) -> None:
        """A better answer than before is there."""

    def completed(self, answer: Answer) -> None:
        """Nothing more will be executed, and `answer` is the best; nothing was learned from the frame yet.
        Not called where there is no answer.
        """
