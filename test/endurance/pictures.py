"""Frames for an endurance run: good ones, and bad ones of every kind that the tests of the images know."""

from __future__ import annotations

import array
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from impatient_ros.resources import resource_path

__all__ = ['GOOD', 'Bad', 'bad_frames']

WIDTH, HEIGHT = 320, 240
HUGE = 3_000_000  # bytes of a frame_id, encoding or format
LARGEST = 3_000_000  # bytes of a bomb: what is larger costs the middleware more than the node


def _picture() -> np.ndarray:
    path = resource_path('config', 'demo/clothing/01-hat.jpg')
    return cv2.resize(cv2.imread(str(path)), (WIDTH, HEIGHT))


PIXELS = _picture()
JPEG = cv2.imencode('.jpg', PIXELS)[1].tobytes()
PNG = cv2.imencode('.png', PIXELS)[1].tobytes()
RAW = {'height': HEIGHT, 'width': WIDTH, 'encoding': 'bgr8', 'step': 3 * WIDTH, 'data': PIXELS.tobytes()}
COMPRESSED = {'format': 'bgr8; jpeg compressed bgr8', 'data': JPEG}
GOOD: dict[str, dict[str, Any]] = {'front': RAW, 'rear': COMPRESSED}


@dataclass(frozen=True)
class Bad:
    """One kind of bad frame.

    Attributes:
        fields: of the message, `frame_id` is what stands behind the one that identifies it.
        damage: what is done to the serialised message.
        readable: whether the node can read its header.
    """

    kind: type
    fields: dict[str, Any]
    frame_id: str = ''
    damage: Callable[[bytes], bytes] | None = None
    readable: bool = True

    def message(self, stamp: Any, frame_id: str) -> Any:
        """The message, or its bytes where these are damaged."""
        fields = {**self.fields, 'data': array.array('B', self.fields['data'])}
        message = self.kind(**fields)
        message.header.stamp, message.header.frame_id = stamp, frame_id + self.frame_id
        return message if self.damage is None else self.damage(serialize_message(message))


def bad_frames(kind: type, chance: random.Random) -> list[Bad]:
    """All kinds of bad frames of an Image or a CompressedImage."""
    good = RAW if kind is Image else COMPRESSED
    contents = _bad_images() if kind is Image else _bad_files(chance)
    return [
        *(Bad(kind, {**good, **fields}) for fields in contents),
        Bad(kind, good, frame_id='x' * HUGE, readable=False),
        # The header ends after 4 + 8 + 4 bytes and a short frame_id.
        Bad(kind, good, damage=lambda message: message[: chance.randrange(4, 16)], readable=False),
        Bad(kind, good, damage=lambda message: b'\0\x42' + message[2:], readable=False),
        Bad(kind, good, damage=lambda message: message[: len(message) // 2], readable=False),
    ]


def _bad_images() -> list[dict[str, Any]]:
    half = RAW['data'][: len(RAW['data']) // 2]
    return [
        {'encoding': 'rgb9'},
        {'encoding': ''},
        {'encoding': 'x' * HUGE},
        {'encoding': '16UC1'},
        {'encoding': '32FC1'},
        {'encoding': '8UC2'},
        {'encoding': 'yuv422'},
        {'width': 0},
        {'height': 0},
        {'height': 2**32 - 1, 'width': 2**32 - 1},
        {'height': 60_000, 'width': 60_000, 'step': 180_000},
        {'width': WIDTH * 2},
        {'step': 1},
        {'step': 2**32 - 1},
        {'data': half},
        {'data': b''},
    ]


def _bad_files(chance: random.Random) -> list[dict[str, Any]]:
    return [
        *({'data': JPEG[: chance.randrange(1, len(JPEG))]} for _ in range(8)),
        *({'data': PNG[: chance.randrange(1, len(PNG))]} for _ in range(4)),
        *({'data': _flipped(JPEG, chance)} for _ in range(8)),
        *({'data': _flipped(PNG, chance)} for _ in range(4)),
        {'data': b''},
        {'data': chance.randbytes(10_000)},
        {'data': b'GIF89a' + bytes(100)},
        {'format': 'x' * HUGE},
        {'format': '16UC1; compressedDepth png', 'data': PNG},
        *({'data': bomb} for bomb in _bombs()),
    ]


def _flipped(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(20):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


@cache
def _bombs() -> list[bytes]:
    from images.test_bounded_work import BOMBS

    return [bomb for bomb in BOMBS.values() if len(bomb) < LARGEST]
