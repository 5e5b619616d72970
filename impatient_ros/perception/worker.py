"""The thread that classifies: takes the most urgent frame and gives it what its deadline allows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from impatient_ros.anytime import AnytimeClassifier, FrameRequest
from impatient_ros.images.raw import Converter, ImageError, decode_compressed, to_rgb
from impatient_ros.images.serialized import Unreadable
from impatient_ros.perception.deadlines import Deadline, Deadlines
from impatient_ros.perception.delivery import Delivery
from impatient_ros.perception.faults import Faults
from impatient_ros.perception.frame_in_progress import FrameInProgress
from impatient_ros.perception.frame_record import INTERNAL_ERROR, Outcome
from impatient_ros.perception.latest_frames import Frame, LatestFrames, SequenceGaps
from impatient_ros.perception.process_threads import COMPUTING
from impatient_ros.perception.remedies import remedy
from impatient_ros.perception.sending import Clocks, Outputs
from impatient_ros.perception.settings import CameraParameters, PerceptionParameters
from impatient_ros.perception.thread_priority import RealTime, RealTimeState
from impatient_ros.perception.time_sharing import share

__all__ = ['Perception']

# Seconds. Warming up runs one frame through all exits; chosen far beyond that, so that activation goes on
# where it hangs, and the first frames tell.
WARM_UP_LIMIT = 60.0

_log = logging.getLogger(__name__)


class Perception:
    """From messages to answers, for all cameras of a node; the package says which thread owns what.

    Args:
        parameters: says the parameters of the moment; each frame keeps those of its pick-up.
        faults: takes what this survives.
        warn: called with camera and text for every frame that cannot be used; throttles by itself.
        converter: for image encodings that need one (a distribution's cv_bridge).
    """

    def __init__(
        self,
        classifier: AnytimeClassifier,
        parameters: Callable[[], PerceptionParameters],
        outputs: Outputs,
        ros_now_ns: Callable[[], int],
        *,
        faults: Faults | None = None,
        warn: Callable[[str, str], None] = lambda camera, text: _log.warning('%s: %s', camera, text),
        converter: Converter | None = None,
        steady_now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._classifier = classifier
        self._parameters = parameters
        self._outputs = outputs
        self._ros_now_ns = ros_now_ns
        self._faults = faults or Faults()
        self._warn = warn
        self._converter = converter
        self._frames = LatestFrames()
        self._deadlines = Deadlines()
        now = parameters()
        self._realtime = RealTime(now.realtime_priority, now.cpu_affinity, limit=now.realtime_limit)
        self._delivery = Delivery(
            outputs,
            Clocks(ros_now_ns, steady_now),
            self._realtime,
            self._faults,
            waiting=lambda: self._frames.waiting,
        )
        self._gaps: dict[str, SequenceGaps] = {}
        self._warm = threading.Event()
        self._thread = threading.Thread(target=self._work, name='classification', daemon=True)

    # -- the node's thread

    def start(self) -> None:
        """Start the threads; returns when the one that classifies has warmed up."""
        self._realtime.start()
        self._delivery.start()
        self._thread.start()
        self._warm.wait(WARM_UP_LIMIT)

    def stop(self) -> None:
        """Finish the frame in progress, account for those that wait, end the threads."""
        for frame in self._frames.close():
            self._delivery.discard(frame, Outcome.dropped, 'deactivated')
        if self._thread.ident is not None:
            self._thread.join()
        self._delivery.stop()
        self._realtime.stop()

    def announce(self, stamp_ns: int, camera: str | None = None) -> None:
        """A deadline was announced for a camera, or for all."""
        self._deadlines.announce(stamp_ns, camera)
        self.reschedule()

    def reschedule(self) -> None:
        """Deadlines may have changed: by an announcement, or, for the frames that wait, by parameters."""
        parameters = self._parameters()
        self._frames.reschedule(lambda frame: self._deadline(frame, parameters))
        self._delivery.move(lambda current: self._deadline(current.frame, current.parameters))

    def clock_jumped_back(self) -> None:
        """Forget the announcements and the frames of the time before the jump."""
        self._deadlines.reset()
        # Frames may have come between the jump and this call.
        for frame in self._frames.clear(later_than_ns=self._ros_now_ns()):
            self._delivery.discard(frame, Outcome.dropped, 'clock_jump')

    def clock_advanced(self, step_ns: int) -> None:
        """Simulated time went on by that much at once."""
        self._deadlines.clock_advanced(step_ns)

    def reserve(self, floor: float) -> float:
        """Seconds that are kept free before deadlines for waking up and publishing; at least `floor`."""
        return self._delivery.reserve(floor)

    def scheduling(self) -> RealTimeState:
        """How the threads that compute and the one that delivers are scheduled."""
        return self._realtime.state()

    # -- the thread that takes images

    def receive(self, camera: str, message: Any, sequence: int | None, publishers: int = 1) -> None:
        """Take a message over.

        Args:
            sequence: the publisher's sequence number, None where the middleware does not tell.
            publishers: how many publish on the camera's topic.
        """
        frame = Frame(camera, message, 0, 0, Deadline(0))
        try:
            stamp = message.header.stamp
            frame.stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
            frame.arrival_ns = self._ros_now_ns()
            frame.deadline = self._deadline(frame, self._parameters())
            older = self._frames.put(frame)
        except Exception as error:  # noqa: BLE001
            self._faults.survived('intake', error, f'a frame of {camera} was dropped')
            self._delivery.discard(frame, Outcome.dropped, INTERNAL_ERROR)
            older = None
        if older is not None:
            closed = older is frame
            outcome, reason = (Outcome.dropped, 'deactivated') if closed else (Outcome.superseded, '')
            self._delivery.discard(older, outcome, reason)
        if self._frames.waiting:
            self._faults.guarded('intake', self._delivery.frame_waits)()
        self._faults.guarded('intake', self._count_lost)(camera, sequence, publishers)

    def _count_lost(self, camera: str, sequence: int | None, publishers: int) -> None:
        lost = self._gaps.setdefault(camera, SequenceGaps()).observe(sequence, publishers)
        if lost:
            self._outputs.not_received(camera, lost)

    # -- the thread that classifies

    def _work(self) -> None:
        self._realtime.enter(COMPUTING)
        try:
            self._classifier.warm_up()
        except Exception as error:  # noqa: BLE001
            text = 'warming up failed; the first frames will tell more'
            self._faults.survived('warming up', error, text)
        finally:
            self._realtime.cover_pools()
            self._warm.set()
        self._faults.keep_running(self._next_frame, 'classification')

    def _next_frame(self) -> bool:
        """Wait for a frame and classify it; returns whether more may come."""
        frame = self._frames.take()
        if frame is None:
            return False
        current = None
        try:
            current = self._begin(frame)
            try:
                self._classify(current)
            except ImageError as error:
                current.drop(error.reason)
                self._warn(frame.camera, f'a frame was dropped: {error}; {remedy(error.reason)}')
        except Exception as error:  # noqa: BLE001
            # Whatever a frame provokes, the next one gets its chance; nothing is lost silently.
            self._faults.survived('classification', error, f'a frame of {frame.camera} was dropped')
            if current is None:
                self._delivery.discard(frame, Outcome.dropped, INTERNAL_ERROR)
            else:
                current.fail()
            self._warn(
                frame.camera, f'a frame was dropped, this should not happen, please report it: {error!r}'
            )
        return True

    def _begin(self, frame: Frame) -> FrameInProgress:
        parameters = self._parameters()
        return self._delivery.begin(
            frame,
            self._deadline(frame, parameters),
            parameters,
            exits=self._classifier.exits,
            resolutions=len(self._classifier.resolutions),
        )

    def _classify(self, current: FrameInProgress) -> None:
        frame, camera = current.frame, current.camera
        watched = self._outputs.wants_picture(camera.name)
        rgb: np.ndarray | None = None

        def decode() -> np.ndarray:
            nonlocal rgb
            rgb = self._decode(frame.message, camera, whole=watched)
            return rgb

        request = FrameRequest(
            decode,
            deadline=current.until,
            reserve=current.reserve,
            camera=camera.name,
            settings=current.parameters.frame_settings(camera),
            time_share=self._share if len(current.parameters.cameras) > 1 else None,
            cancellation=current.cancellation,
        )
        answer = self._classifier.run(request, current)
        record = current.finish(answer)
        if watched and rgb is not None:
            self._faults.guarded('annotated picture', self._outputs.picture)(frame, rgb, record)

    def _share(self, left: float) -> float:
        """How much of what is left the frame in progress may use while frames of other cameras wait."""
        waiting = self._frames.deadlines()
        if not waiting:
            return left
        now_ns = self._ros_now_ns()
        return share(left, (deadline.budget(now_ns) for deadline in waiting))

    def _decode(self, message: Any, camera: CameraParameters, *, whole: bool) -> np.ndarray:
        if isinstance(message, Unreadable):
            raise message.error
        if camera.transport == 'compressed':
            # Decoding at a half or less, as far as the network cannot see the difference, is a third quicker
            # from 1080p on; for people the picture stays whole.
            side = None if whole else self._classifier.target_side
            return decode_compressed(message, camera.roi, target_side=side)
        return to_rgb(message, camera.roi, converter=self._converter)

    # -- any thread

    def _deadline(self, frame: Frame, parameters: PerceptionParameters) -> Deadline:
        budget = parameters.camera(frame.camera).budget
        return self._deadlines.of(frame.camera, frame.stamp_ns, frame.arrival_ns, budget, self._ros_now_ns())
