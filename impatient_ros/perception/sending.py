"""Sending: where answers and records go, and what waking up and publishing take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from impatient_ros.answer import Answer
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.planning.preparation_cost import RollingQuantile

__all__ = ['UNKNOWN', 'Clocks', 'Outputs', 'Sender', 'bare_record', 'said']

UNKNOWN = 'unknown'  # the label of an answer whose best class is less probable than unknown_below

# Of the latest 100 frames' seconds from the instant that was meant to the answer being out. One frame in
# twenty takes longer: a higher quantile would follow single outliers and take their time from every frame.
SEND_LATENCY_QUANTILE = 0.95


@dataclass(frozen=True)
class Clocks:
    """Lateness is judged by the ROS clock (simulated time works), execution by the steady one."""

    ros_ns: Callable[[], int]  # nanoseconds of the node's ROS clock
    steady: Callable[[], float]  # seconds of the clock that the classifier uses


def said(answer: Answer) -> tuple[str | None, float]:
    """The label and the score (0..1) of what an answer says: its best class's, or that it is unknown."""
    return (UNKNOWN, 1.0 - answer.confidence) if answer.unknown else (answer.label, answer.confidence)


def bare_record(frame: Frame, outcome: Outcome, reason: str = '') -> FrameRecord:
    """The record of a frame of which nothing else is known."""
    return FrameRecord(
        frame.camera,
        frame.stamp_ns * 1e-9,
        outcome,
        reason,
        superseded=frame.superseded,
        fault=frame.deadline.fault,
    )


class Outputs(Protocol):
    """Where a node's answers, records and pictures go.

    `answer` and `record` are called from the threads that classify and deliver, never for one frame at once;
    `not_received` from the one that receives.
    """

    def answer(self, frame: Frame, answer: Answer | None, top_k: int) -> None:
        """Publish an answer's `top_k` best classes, that it is unknown, or (None) that there is none."""

    def record(self, frame: Frame, record: FrameRecord) -> None:
        """Publish and count how a frame ended."""

    def not_received(self, camera: str, count: int) -> None:
        """Count frames that were published and never arrived."""

    def wants_picture(self, camera: str) -> bool:
        """Whether somebody subscribes to the annotated picture."""

    def picture(self, frame: Frame, rgb: np.ndarray, record: FrameRecord) -> None:
        """Publish the annotated picture; `rgb` is uint8 [height, width, 3]."""


class Sender:
    """Publishes answers and learns how long after the meant instant they are out.

    `send` and `reserve` are called with the lock of `Delivery` held.
    """

    def __init__(self, outputs: Outputs, clocks: Clocks, faults: Faults | None = None) -> None:
        self.clocks = clocks
        self.faults = faults or Faults()
        self._outputs = outputs
        self._latency = RollingQuantile(SEND_LATENCY_QUANTILE, start=0.0)

    def reserve(self, floor: float) -> float:
        """Seconds to keep free before a deadline: what sending takes, `floor` at least."""
        return max(floor, self._latency.value)

    def send(self, frame: Frame, answer: Answer, top_k: int, meant: float) -> None:
        """Publish an answer that was meant to be out at `meant` (steady clock, s)."""
        self._outputs.answer(frame, answer, top_k)
        self._latency.observe(max(0.0, self.clocks.steady() - meant))

    def send_empty(self, frame: Frame, top_k: int) -> None:
        """Publish that there is no answer."""
        self._outputs.answer(frame, None, top_k)

    def record(self, frame: Frame, record: FrameRecord) -> None:
        """Publish and count how a frame ended. It never raises."""
        try:
            self._outputs.record(frame, record)
        except Exception as error:  # noqa: BLE001
            text = f'the status of a frame of {frame.camera} could not be published'
            self.faults.survived('frame_status', error, text)
