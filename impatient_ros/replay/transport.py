"""Sending a source's frames in the other of the two transports than they came in."""

from dataclasses import replace

import cv2

from impatient_ros.images.raw import decode_compressed, to_rgb
from impatient_ros.replay.frame import COMPRESSED, CompressedFrame, RawFrame, SourceFrame, bgr_frame

__all__ = ['in_transport']

JPEG_QUALITY = 95  # as image_transport's compressed plugin


def in_transport(frame: SourceFrame, transport: str) -> SourceFrame:
    """`frame` as 'raw' (a compressed picture becomes bgr8) or 'compressed' (a raw one becomes JPEG).

    Raises impatient_ros.images.raw.ImageError if it cannot be decoded.
    """
    image = frame.image
    if transport == COMPRESSED and isinstance(image, RawFrame):
        picture = cv2.cvtColor(to_rgb(image), cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        return replace(frame, image=CompressedFrame('jpeg', encoded.data.cast('B')))
    if transport != COMPRESSED and isinstance(image, CompressedFrame):
        return replace(frame, image=bgr_frame(cv2.cvtColor(decode_compressed(image), cv2.COLOR_RGB2BGR)))
    return frame
