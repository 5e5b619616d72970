"""EXIF orientation is found, and damaged EXIF data is none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from training.data.labelled_pictures import read
from training.data.orientation import is_to_be_turned


def photograph(orientation: int | None, kind: str = 'JPEG') -> bytes:
    exif = Image.Exif()
    exif[0x010F] = 'a maker'
    if orientation is not None:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ('orientation', 'turned'), [(None, False), (0, False), (1, False), (3, True), (6, True), (9, False)]
)
def test_orientation_is_found(orientation: int | None, turned: bool) -> None:
    assert is_to_be_turned(photograph(orientation)) is turned


def test_files_without_exif_are_upright() -> None:
    assert not is_to_be_turned(b'')
    assert not is_to_be_turned(photograph(6, 'PNG'))


@given(st.integers(2, 200), st.binary(max_size=30))
def test_damaged_exif_data_is_none(cut: int, tail: bytes) -> None:
    assert isinstance(is_to_be_turned(photograph(6)[:cut] + tail), bool)


@pytest.mark.parametrize('keep', [True, False])
def test_that_orientation_is_ignored_is_said_once(
    folder: Path, keep: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ('a.jpg', 'b.jpg'):
        (folder / 'train/hat' / name).write_bytes(photograph(6))
    read(folder, 'train', keep=keep).load(range(14))
    (said,) = [record.getMessage() for record in caplog.records if 'EXIF' in record.getMessage()]
    assert 'train/hat/' in said
    assert '.jpg and perhaps others have an EXIF orientation, which is ignored' in said
