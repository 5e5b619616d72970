"""Publishes the frames of a source on an image topic, each when it is due.

The publisher is reliable, so that subscribers of both kinds match, and keeps the last few frames only: a
subscriber that does not keep up loses frames and never blocks the camera.
"""

import array
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from impatient_ros.images.raw import ImageError
from impatient_ros.replay import RawFrame, SourceFrame
from impatient_ros.replay.event_log import EventLog
from impatient_ros.replay.frame import RAW
from impatient_ros.replay.pacing import Pacer
from impatient_ros.replay.schedule import DueFrame, ReplayClock
from impatient_ros.replay.transport import in_transport
from impatient_ros.ros.deadline_announcer import ANNOUNCED_AHEAD, DeadlineAnnouncer
from impatient_ros.ros.discovery import wait_until_known
from impatient_ros.ros.stop_signals import StopFlag

__all__ = ['FramePublisher']

DEPTH = 5  # frames kept for reliable subscribers
DISCOVERY_TIME = 5.0  # s to wait until the subscribers know of this publisher
LEAD = 0.1  # s before the first frame in which /clock already runs
STOP_CHECK = 0.1  # s; how soon a stop is noticed while waiting for a subscriber
LINGER = 0.5  # s that the last frames stay available after they were published
LINGER_WHEN_STOPPED = 0.2  # s of that when the camera is told to stop

logger = logging.getLogger(__name__)


class FramePublisher:
    """Publishes scheduled frames on one image topic of `node`; an executor must spin the node meanwhile.

    With `deadlines` each frame's deadline is announced before it, and the frame is stamped with the instant
    at which it is due. A frame without a schedule (a webcam's) waits until its announcement has gone ahead.
    """

    def __init__(
        self,
        node: Node,
        image_topic: str,
        transport: str,
        *,
        frame_id: str = '',
        reliable: bool = True,
        with_clock: bool = False,
        stop: StopFlag | None = None,
        event_log: EventLog | None = None,
        deadlines: DeadlineAnnouncer | None = None,
    ) -> None:
        self._node, self._transport, self._frame_id = node, transport, frame_id
        self.topic = image_topic
        self._stop = stop or StopFlag()
        self._event_log = event_log or EventLog(None)
        self._deadlines = deadlines
        self._announced: tuple[int, int] | None = None  # stamp and deadline of the next frame, ns
        self._matched = threading.Event()
        self._publisher = node.create_publisher(
            Image if transport == RAW else CompressedImage,
            image_topic,
            QoSProfile(
                reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
                history=HistoryPolicy.KEEP_LAST,
                depth=DEPTH,
            ),
            event_callbacks=PublisherEventCallbacks(matched=self._on_matched),
        )
        self._clock_publisher = node.create_publisher(Clock, '/clock', 1) if with_clock else None
        self._clock = ReplayClock()
        self._pacer = Pacer(self._stop.wait)
        self._epoch_ns = node.get_clock().now().nanoseconds  # the time of recordings that have none
        self._last_stamp_ns = 0
        self.published = 0
        self.skipped = 0

    @property
    def lateness(self) -> float:
        """Seconds that a frame was published after it was due, at worst."""
        return self._pacer.lateness

    def wait_for_subscriber(self, timeout: float) -> bool:
        """Block until somebody subscribes and knows it; False after `timeout` seconds or when stopped."""
        deadline = time.monotonic() + timeout
        while not self._matched.wait(STOP_CHECK):
            if self._stop.is_set() or time.monotonic() > deadline:
                return False
        if not wait_until_known(self._node, self.topic, DISCOVERY_TIME, self._stop.is_set):
            logger.warning('a subscriber may not know of %s yet: the first frames may be lost', self.topic)
        return not self._stop.is_set()

    def replay(self, frames: Iterable[DueFrame]) -> None:
        """Publish the frames, each when it is due. Raises SourceError where the source is broken."""
        self._pacer.start(LEAD)
        for item in frames:
            try:
                frame = in_transport(item.frame, self._transport)
            except ImageError as error:
                self.skipped += 1
                which = item.frame.name or self.published + self.skipped
                logger.warning('frame %s is left out: %s', which, error)
                continue
            message = self._message(frame)
            if not self._wait_for(item):
                return
            self._publish(message, item)
            if self._stop.is_set():
                return

    def linger(self) -> None:
        """Stay until reliable subscribers have the last frames and others had time to take them.

        Best-effort subscribers acknowledge nothing; what they have not taken is gone with this process.
        """
        self._clock.release()
        self._publisher.wait_for_all_acked(Duration(seconds=LINGER))
        if not self._pacer.until(self._pacer.elapsed() + LINGER, self._tick):
            time.sleep(LINGER_WHEN_STOPPED)

    def _wait_for(self, item: DueFrame) -> bool:
        if item.due is not None:
            self._clock.reach(item.due, self._instant_ns(item))
        if self._deadlines is None:
            return not self._stop.is_set() if item.due is None else self._pacer.until(item.due, self._tick)
        due = self._pacer.elapsed() + ANNOUNCED_AHEAD if item.due is None else item.due
        if not self._pacer.until(due - ANNOUNCED_AHEAD, self._tick):
            return False
        now_ns = self._node.get_clock().now().nanoseconds
        ahead = max(due - self._pacer.elapsed(), 0.0)
        stamp_ns = self._growing(now_ns + round(1e9 * ahead))
        self._announced = (stamp_ns, self._deadlines.announce(stamp_ns))
        return self._pacer.until(due, self._tick)

    def _instant_ns(self, item: DueFrame) -> int:
        """When the frame was recorded, growing from lap to lap."""
        if item.frame.recorded_ns is None:
            return self._epoch_ns + round((item.due or 0.0) * 1e9)
        return item.frame.recorded_ns + item.shift_ns

    def _tick(self) -> None:
        if self._clock_publisher is not None:
            now_ns = self._clock.now_ns(self._pacer.elapsed())
            self._clock_publisher.publish(Clock(clock=Time(nanoseconds=max(now_ns, 0)).to_msg()))

    def _message(self, frame: SourceFrame) -> Any:
        image = frame.image
        # rclpy checks every byte of any type but array.array.
        data = array.array('B')
        data.frombytes(image.data)
        if isinstance(image, RawFrame):
            message = Image(encoding=image.encoding, height=image.height, width=image.width, step=image.step)
            message.is_bigendian = image.is_bigendian
        else:
            message = CompressedImage(format=image.format)
        message.data = data
        message.header.frame_id = self._frame_id or frame.frame_id
        return message

    def _publish(self, message: Any, item: DueFrame) -> None:
        stamp_ns = self._stamp_ns(item)
        message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        self.published += 1
        # Logged first, because the answer may come before publish returns.
        deadline = {} if self._announced is None else {'deadline_ns': self._announced[1]}
        self._event_log.write(
            'frame', number=self.published, stamp_ns=stamp_ns, name=item.frame.name, **deadline
        )
        self._publisher.publish(message)

    def _stamp_ns(self, item: DueFrame) -> int:
        if self._clock_publisher is not None:
            if item.frame.stamp_ns is None:
                return self._instant_ns(item)
            return item.frame.stamp_ns + item.shift_ns
        if self._announced is not None:  # when it was due: being late is part of what a frame goes through
            return self._announced[0]
        stamp_ns = item.frame.stamp_ns if item.due is None else None  # live: when it was captured
        return self._growing(self._node.get_clock().now().nanoseconds if stamp_ns is None else stamp_ns)

    def _growing(self, stamp_ns: int) -> int:
        """Stamps identify frames: they grow even where the system's clock is set back."""
        self._last_stamp_ns = max(stamp_ns, self._last_stamp_ns + 1)
        return self._last_stamp_ns

    def _on_matched(self, status: Any) -> None:
        if status.current_count > 0:
            self._matched.set()
