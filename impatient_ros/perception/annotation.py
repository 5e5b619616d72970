"""The annotated picture: a copy of the image with the answer drawn on it."""

import unicodedata

import cv2
import numpy as np

from impatient_ros.perception.frame_record import FrameRecord, Outcome

__all__ = ['annotate', 'caption']

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT = 22  # px of a capital at scale 1
_GREEN, _AMBER, _RED = (60, 200, 90), (255, 180, 40), (255, 80, 70)
_WHITE = (255, 255, 255)


def caption(record: FrameRecord) -> tuple[str, str]:
    """The two lines that are drawn: the label with its confidence, then path, slack and reason."""
    if record.label is None:
        what = record.outcome.value
    elif record.confidence is None:
        what = record.label
    else:
        what = f'{record.label} {record.confidence:.0%}'
    how = []
    if record.path:
        how.append(record.path)
    if record.slack is not None:
        how.append(f'slack {record.slack * 1e3:+.0f} ms')
    if record.miss or not record.tried:
        how.append(record.reason or record.outcome.value)
    return what, '  '.join(how)


def annotate(rgb: np.ndarray, record: FrameRecord) -> np.ndarray:
    """A copy of an RGB image, uint8 [height, width, 3], with the answer in a band along its lower edge.

    The text is 1/18 of the image's height, smaller where it would not fit the width. The line on the band
    shows how much of the budget was left. An image too small for legible text (under 32 px) stays as it is.
    """
    picture = np.ascontiguousarray(rgb).copy()
    height, width, _ = picture.shape
    if min(height, width) < 32:
        return picture
    lines = [_ascii(line) for line in caption(record)]
    text = max(8.0, min(height, width) / 18)  # px
    margin = round(text / 2)
    room = width - 2 * margin
    scales = [_scale(line, text * share, room) for line, share in zip(lines, (1.0, 0.7), strict=True)]
    sizes = [round(_FONT_HEIGHT * scale) for scale in scales]
    bar = max(2, round(text / 6))
    band = bar + 3 * margin + sum(sizes)
    top = max(0, height - band)
    picture[top:] //= 3  # darkened, so that text is legible and the picture still visible
    colour = _GREEN if record.outcome is Outcome.answered else _RED if record.miss else _AMBER
    left = min(1.0, max(0.0, (record.slack or 0.0) / record.budget)) if record.budget else 0.0
    picture[top : top + bar] = (90, 90, 90)
    picture[top : top + bar, : round(left * width)] = colour
    baseline = top + bar
    for line, scale, size, ink in zip(lines, scales, sizes, (colour, _WHITE), strict=True):
        baseline += margin + size
        thickness = max(1, round(2 * scale))
        cv2.putText(picture, line, (margin, baseline), _FONT, scale, ink, thickness, cv2.LINE_AA)
    return picture


def _scale(line: str, text: float, room: int) -> float:
    """The font scale for text of that height, smaller where the line would be wider than `room`; pixels."""
    scale = text / _FONT_HEIGHT
    (wide, _), _ = cv2.getTextSize(line, _FONT, scale, max(1, round(2 * scale)))
    return scale if wide <= room else scale * room / wide


def _ascii(text: str) -> str:
    """The text without accents, and '?' for every other character that the font lacks."""
    plain = unicodedata.normalize('NFKD', text)
    return (
        ''.join(each for each in plain if not unicodedata.combining(each)).encode('ascii', 'replace').decode()
    )
