"""The distribution's cv_bridge, where there is one that works here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from impatient_ros.images.raw import Converter

__all__ = ['cv_bridge_converter']

_log = logging.getLogger(__name__)


def cv_bridge_converter() -> Converter | None:
    """A converter for `images.raw` on the distribution's cv_bridge, or None: then OpenCV converts.

    PyPI's wheel of that name is not taken (it ignores `step` and mistakes 16-bit images), nor a cv_bridge
    that NumPy 2 breaks: the one that is installed must convert a known picture rightly.
    """
    if not os.environ.get('ROS_DISTRO'):
        return None
    try:
        from cv_bridge import CvBridge

        bridge = CvBridge()
        convert = _conversion(bridge)
        known = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        padded = np.zeros((2, 8), np.uint8)
        padded[:, :6] = known[:, :, ::-1].reshape(2, 6)
        probe = Image(height=2, width=2, encoding='bgr8', step=8, data=padded.tobytes())
        if not np.array_equal(convert(probe), known):
            raise ValueError('it does not honour the step of an image')
    except Exception as error:  # noqa: BLE001  a broken installation fails in ways of its own
        _log.info('cv_bridge is not used, OpenCV converts images: %s', error)
        return None
    return Converter(convert)


def _conversion(bridge: Any) -> Callable[[Any], np.ndarray]:
    def convert(message: Any) -> np.ndarray:
        if not isinstance(message, Image):  # a view of a serialised one, or a region that was cut out
            message = _message(message)
        return bridge.imgmsg_to_cv2(message, 'rgb8')

    return convert


def _message(view: Any) -> Image:
    fields = {name: getattr(view, name) for name in ('encoding', 'height', 'width', 'step', 'is_bigendian')}
    message = Image(**fields, data=bytes(view.data))
    if view.header is not None:
        message.header = view.header
    return message
