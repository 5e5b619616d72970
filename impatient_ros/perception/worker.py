"""The thread that classifies: takes the most urgent frame and delivers what its deadline allows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from impatient_ros.anytime import Answer, AnytimeClassifier, FrameRequest, FrameSettings
from impatient_ros.images.raw import Converter, ImageError, decode_compressed, to_rgb
from impatient_ros.images.serialized import Unreadable
from impatient_ros.perception.deadlines import Deadline, Deadlines
from impatient_ros.perception.delivery import Delivery, Outputs
from impatient_ros.perception.frame_in_progress import Manner
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.latest_frames import Frame, LatestFrames, SequenceGaps
from impatient_ros.perception.settings import CameraParameters, PerceptionParameters
from impatient_ros.perception.time_sharing import share
from impatient_ros.planning.planner import Plan

__all__ = ['Perception', 'PerceptionOutputs']

WARM_UP_LIMIT = 60.0  # s; a machine that needs longer is not waited for

_log = logging.getLogger(__name__)


class PerceptionOutputs(Outputs, Protocol):
    """Where a node's answers, records and pictures go."""

    def picture(self, frame: Frame, rgb: np.ndarray, record: FrameRecord) -> None:
        """Publish the annotated picture, if anybody wants it."""

    def wants_picture(self, camera: str) -> bool:
        """Whether somebody subscribes to the annotated picture."""


class _Handover:
    """Hands what is told about a frame over to its delivery."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def planned(self, plan: Plan, slowdown: float) -> None:
        self._delivery.plan(plan, slowdown)

    def answered(self, answer: Answer) -> None:
        self._delivery.offer(answer)

    def completed(self, answer: Answer) -> None:
        self._delivery.send(answer)


class Perception:
    """From messages to answers, for all cameras of a node, without ROS: time and outputs are handed in.

    Args:
        parameters: says the parameters of the moment.
        ros_now: nanoseconds of the node's ROS clock.
        complain: called with camera and text for every frame that cannot be used; throttles by itself.
        converter: for image encodings that need one (a distribution's cv_bridge).
    """

    def __init__(
        self,
        classifier: AnytimeClassifier,
        parameters: Callable[[], PerceptionParameters],
        outputs: PerceptionOutputs,
        ros_now: Callable[[], int],
        *,
        complain: Callable[[str, str], None] = lambda camera, text: _log.warning('%s: %s', camera, text),
        converter: Converter | None = None,
        steady_now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.classifier = classifier
        self.delivery = Delivery(outputs, ros_now, steady_now, parameters().realtime_priority)
        self.deadlines = Deadlines()
        self._parameters = parameters
        self._outputs = outputs
        self._ros_now = ros_now
        self._complain = complain
        self._converter = converter
        self._frames = LatestFrames()
        self._gaps: dict[str, SequenceGaps] = {}
        self._warm = threading.Event()
        self._thread = threading.Thread(target=self._work, name='classification', daemon=True)

    def start(self) -> None:
        """Start the threads; returns when the one that classifies has warmed up."""
        self.delivery.start()
        self._thread.start()
        self._warm.wait(WARM_UP_LIMIT)

    def stop(self) -> None:
        """Finish the frame under way, account for those that wait, end the threads."""
        for frame in self._frames.close():
            self.delivery.discard(frame, Outcome.dropped, 'deactivated')
        if self._thread.ident is not None:
            self._thread.join()
        self.delivery.stop()

    def receive(self, camera: str, message: Any, sequence: int | None, publishers: int = 1) -> int:
        """Take a message over, in the thread that takes. Returns how many before it were not received."""
        arrival = self._ros_now()
        stamp = message.header.stamp
        frame = Frame(camera, message, stamp.sec * 1_000_000_000 + stamp.nanosec, arrival, None, sequence)
        deadline = self._deadline(frame)
        frame.deadline, frame.fault = deadline.at, deadline.fault
        older = self._frames.put(frame)
        if older is not None:
            closed = older is frame
            outcome, reason = (Outcome.dropped, 'deactivated') if closed else (Outcome.superseded, '')
            self.delivery.discard(older, outcome, reason)
        return self._gaps.setdefault(camera, SequenceGaps()).observe(sequence, publishers)

    def reschedule(self) -> None:
        """Deadlines may have changed (a topic, parameters): of waiting frames and the one under way."""
        self._frames.reschedule(lambda frame: self._deadline(frame).at)
        self.delivery.move(self._deadline)

    def clock_jumped_back(self) -> None:
        """Forget what belongs to a time that is no more."""
        self.deadlines.reset()
        # Frames may have come between the jump and this call.
        for frame in self._frames.clear(later_than=self._ros_now()):
            self.delivery.discard(frame, Outcome.dropped, 'clock_jump')

    def _deadline(self, frame: Frame) -> Deadline:
        budget = self._parameters().camera(frame.camera).budget
        return self.deadlines.of(frame.camera, int(frame.stamp), int(frame.arrival), budget, self._ros_now())

    def _work(self) -> None:
        try:
            self.classifier.warm_up()
        except Exception:  # noqa: BLE001
            _log.exception('warming up failed; the first frames will tell more')
        finally:
            self._warm.set()
        while (frame := self._frames.take()) is not None:
            try:
                self._process(frame)
            except ImageError as error:
                self.delivery.drop(error.reason)
                self._complain(frame.camera, f'a frame was dropped: {error}')
            except Exception as error:  # noqa: BLE001
                # Whatever a frame provokes, the next one gets its chance; nothing is lost silently.
                _log.exception('a frame of %s was dropped', frame.camera)
                self.delivery.drop('internal_error')
                self._complain(frame.camera, f'a frame was dropped, this should not happen: {error!r}')

    def _process(self, frame: Frame) -> None:
        parameters = self._parameters()
        camera = parameters.camera(frame.camera)
        deadline = self._deadline(frame)
        reserve = self.delivery.reserve(camera.budget.reserve)
        manner = Manner(
            parameters.publish_mode == 'every', parameters.on_miss, parameters.confidence_threshold
        )
        self.delivery.begin(frame, deadline, reserve, manner, self.classifier.exits)
        rgb: list[np.ndarray] = []

        def decode() -> np.ndarray:
            rgb.append(self._decode(frame.message, camera))
            return rgb[0]

        request = FrameRequest(
            decode,
            self.delivery.until,
            reserve,
            frame.camera,
            FrameSettings(
                parameters.mode,
                camera.budget.miss_rate,
                parameters.confidence_threshold,
                finish_late=manner.on_miss == 'late',
            ),
            self._share if len(parameters.cameras) > 1 else None,
        )
        answer = self.classifier.run(request, _Handover(self.delivery))
        record = self.delivery.finish(answer)
        if record is not None and rgb and self._outputs.wants_picture(frame.camera):
            self._outputs.picture(frame, rgb[0], record)

    def _share(self, left: float) -> float:
        """How much of what is left the frame under way may use while frames of other cameras wait."""
        waiting = self._frames.deadlines()
        if not waiting:
            return left
        now = self._ros_now()
        return share(left, ((deadline - now) * 1e-9 for deadline in waiting))

    def _decode(self, message: Any, camera: CameraParameters) -> np.ndarray:
        if isinstance(message, Unreadable):
            raise message.error
        if camera.transport == 'compressed':
            # Decoding at a half or less, as far as the network cannot see the difference, is a third quicker
            # from 1080p on; for people the picture stays whole.
            watched = self._outputs.wants_picture(camera.name)
            side = None if watched else self.classifier.checkpoint.preprocessing.target_side
            return decode_compressed(message, camera.roi, target_side=side)
        return to_rgb(message, camera.roi, converter=self._converter)
