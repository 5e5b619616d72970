"""training.data.picture_files: what is in a folder or a zip, and decoding it."""

from __future__ import annotations

import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.picture_files import DataError, PictureFiles, decode


def test_decoding_reads_png_and_refuses_garbage() -> None:
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    data = bytes(cv2.imencode('.png', picture[:, :, ::-1])[1])
    decoded = decode(data)
    assert decoded is not None
    np.testing.assert_array_equal(decoded, picture)
    assert decode(b'\x89PNG\r\n') is None


def test_a_zip_is_opened_once_and_read_by_several_threads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.make_archive(str(folder), 'zip', folder))
    files = PictureFiles(source)
    monkeypatch.setattr(zipfile, 'ZipFile', None)  # opening it again would fail
    names = files.listing['train']['hat'] * 20
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(files.picture, names))
    assert len(pictures) == 120
    assert all(picture is not None and picture[..., 0].mean() > 200 for picture in pictures)


def test_hidden_files_and_what_is_no_picture_are_passed_over(folder: Path) -> None:
    (folder / 'train/hat/.thumbs.jpg').write_bytes(b'x')
    (folder / 'train/hat/notes.txt').write_text('x')
    (folder / '.cache/hat').mkdir(parents=True)
    files = PictureFiles(folder)
    assert set(files.listing) == {'train', 'validation'}
    assert len(files.listing['train']['hat']) == 6


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'torn.zip').write_bytes(b'PK')
    with pytest.raises(DataError, match='neither a folder nor a zip'):
        PictureFiles(tmp_path / 'torn.zip')
