"""What is wrong with a picture that came in, and the region of interest that is cut from it.

`ImageError` is the only exception that `impatient_ros.images.raw` raises for what a camera sent. Its `reason`
is one word for counting and for frame_status, its text says what was wrong and what is accepted:

| reason     | means                                                                          |
|------------|--------------------------------------------------------------------------------|
| malformed  | the serialised message does not hold what it announces; frame_id too long      |
| fields     | a field has the wrong type or is negative                                      |
| encoding   | Image: an encoding that is unknown or holds no picture (depth, flow)           |
| size       | width or height is 0, or impossible for the encoding                           |
| step       | Image: `step` is less than a row of pixels                                     |
| data       | `data` is empty, or shorter than the other fields say                          |
| roi        | the region of interest is not inside the picture                               |
| format     | CompressedImage: neither JPEG nor PNG, or depth                                |
| header     | CompressedImage: the header cannot be read                                     |
| too_large  | more pixels, or more work, than the limit                                      |
| truncated  | CompressedImage: the end of the file is missing                                |
| decode     | the decoder or converter failed                                                |
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from reprlib import Repr

__all__ = ['ImageError', 'checked_region', 'shortened']

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shortened(value: object) -> str:
    """`value` as Python writes it, its middle left out: what a stranger sent is never logged whole."""
    return _SHORT.repr(value)


class ImageError(ValueError):
    """A frame that cannot become a picture; `reason` is one word from the table above."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


def checked_region(roi: Sequence[int] | None, height: int, width: int) -> tuple[int, int, int, int]:
    """`roi` (x, y, width, height) of a picture -> (y, x, height, width); None or empty is the whole picture.

    Raises ImageError('roi') where any part of it lies outside: a region that silently shrinks would classify
    something else than what was asked for.
    """
    if roi is None or len(roi) == 0:
        return 0, 0, height, width
    try:
        x, y, w, h = (index(number) for number in roi)
    except (TypeError, ValueError) as error:
        raise ImageError(
            'roi', f'region of interest {shortened(roi)}: write four whole numbers, x, y, width, height'
        ) from error
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
        raise ImageError(
            'roi',
            f'region of interest x={x} y={y} width={w} height={h} is not inside the picture of '
            f'{width}x{height} pixels',
        )
    return y, x, h, w
