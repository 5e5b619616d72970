"""Video files and webcams, through OpenCV."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from impatient_ros.replay.frame import WHAT_TO_WRITE, Source, SourceError, SourceFrame, bgr_frame

__all__ = ['VideoFile', 'Webcam']

ASSUMED_RATE = 30.0  # Hz, for a container that does not say
LEGAL_RATES = (0.1, 1000.0)  # what containers without a rate announce lies outside

logger = logging.getLogger(__name__)


class VideoFile(Source):
    """A video at its own pace: the presentation times where they grow, else its frame rate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        capture = self._open()
        self.rate = _legal_rate(capture.get(cv2.CAP_PROP_FPS))
        self.length = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None
        size = f'{capture.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}x{capture.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}'
        capture.release()
        self.description = f'video {path}, {size} at {self.rate:g} Hz'

    def frames(self) -> Iterator[SourceFrame]:
        """Raises SourceError if the video opens but not one frame of it can be decoded."""
        capture = self._open()
        count, at, first = 0, -math.inf, 0.0
        try:
            while True:
                grabbed, picture = capture.read()
                if not grabbed:
                    break
                position = capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3
                if count == 0:
                    at = first = position if math.isfinite(position) else 0.0
                else:
                    at = position if position > at else at + 1 / self.rate
                count += 1
                yield SourceFrame(bgr_frame(picture), at - first)
        finally:
            capture.release()
        if not count:
            raise SourceError(f'{self.path} opens as a video, but none of its frames can be decoded')
        if self.length and count < self.length:
            logger.warning(
                '%s ended after %d of the %d frames that it announces', self.path, count, self.length
            )

    def _open(self) -> cv2.VideoCapture:
        with _opencv_quiet():
            capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            what = f'{self.path} is no video that OpenCV can read (or it is cut off), no bag and no picture'
            raise SourceError(f'{what}: {WHAT_TO_WRITE}')
        return capture


class Webcam(Source):
    """A camera of the machine by its index. The stamp is taken at the grab, before the frame is decoded."""

    live = True

    def __init__(
        self,
        index: int,
        *,
        open_capture: Callable[[int], cv2.VideoCapture] = cv2.VideoCapture,
        clock_ns: Callable[[], int] = time.time_ns,
        devices: Path = Path('/dev'),
    ) -> None:
        self.index = index
        self._clock_ns = clock_ns
        with _opencv_quiet():
            self._capture = open_capture(index)
        if not self._capture.isOpened():
            raise SourceError(_why_no_webcam(index, devices))
        self.description = f'webcam {index}'

    def frames(self) -> Iterator[SourceFrame]:
        """Raises SourceError if the camera stops delivering; that is the only end that it has."""
        count = 0
        while self._capture.grab():
            stamp_ns = self._clock_ns()
            decoded, picture = self._capture.retrieve()
            if not decoded:
                break
            count += 1
            yield SourceFrame(bgr_frame(picture), None, stamp_ns=stamp_ns, recorded_ns=stamp_ns)
        raise SourceError(
            f'webcam {self.index} stopped delivering after {count} frames: is it still plugged in?'
        )

    def close(self) -> None:
        self._capture.release()


def _legal_rate(announced: float) -> float:
    low, high = LEGAL_RATES
    return announced if low <= announced <= high else ASSUMED_RATE


def _why_no_webcam(index: int, devices: Path) -> str:
    numbers = sorted(int(path.name[5:]) for path in devices.glob('video*') if path.name[5:].isdecimal())
    if index in numbers:
        return (
            f'webcam {index} (/dev/video{index}) cannot be opened: another program may hold it, or your user '
            'may not be in the group `video`'
        )
    present = f'write SOURCE={numbers[0]}' if numbers else 'this machine has no /dev/video*'
    if len(numbers) > 1:
        present = 'write SOURCE= with one of ' + ', '.join(map(str, numbers))
    return f'there is no webcam {index}: {present}'


@contextmanager
def _opencv_quiet() -> Iterator[None]:
    """Keep OpenCV from writing to stderr what the SourceError says better."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
