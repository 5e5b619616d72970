"""What comes out for a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ['Answer']


@dataclass(frozen=True)
class Answer:
    """What the network said about a frame, and when.

    Attributes:
        label, class_index, confidence: the most probable class; None, None and 0 when there is no answer.
        probabilities: calibrated, float64 [classes]; empty when there is no answer.
        exit_index: the exit that answered, 0-based; None when there is no answer.
        planned_exit_index: the exit that the plan aimed at before the first stage; None when infeasible.
        elapsed: seconds from the call to this answer.
        slack: seconds that were left until the deadline (negative: late); None without a deadline.
        met: there is an answer, and it was in time.
        infeasible: the budget was below the cost of the first exit, so nothing was executed.
        stages_executed: how many stages ran for it.
        slowdown: of the machine against its profile, as the plan assumed it.
        protected_exit_index: the exit that the plan protected: in time at the accepted miss rate; None where
            no exit could be.
        overrun: whether that exit completed later than planned; None while it was not evaluated.
        resolution, planned_resolution: of the path that answered and of the one that the plan aimed at, px.
        unknown: even the most probable class is less probable than `FrameSettings.unknown_below`; `label`,
            `class_index`, `probabilities` stay those of the best class, whose probability among all classes
            of the network, competing or not, is the confidence.
    """

    label: str | None
    class_index: int | None
    confidence: float
    probabilities: np.ndarray
    exit_index: int | None
    planned_exit_index: int | None
    elapsed: float
    slack: float | None
    met: bool
    infeasible: bool = False
    stages_executed: int = 0
    slowdown: float = 1.0
    protected_exit_index: int | None = None
    overrun: bool | None = None
    resolution: int | None = None
    planned_resolution: int | None = None
    unknown: bool = False

    def sure(self, threshold: float) -> bool:
        """Whether it is sure enough to end the frame; a threshold of 0 switches that off. What is unknown is
        never sure.
        """
        return 0 < threshold <= self.confidence and not self.unknown
