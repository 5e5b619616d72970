"""training.data.picture_files: what is in a folder or a zip, and decoding it."""

from __future__ import annotations

import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from impatient_ros.images.errors import ImageError
from training.data.picture_files import DataError, PictureFiles, decode


def test_decoding_reads_png_and_refuses_garbage() -> None:
    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    data = bytes(cv2.imencode('.png', picture[:, :, ::-1])[1])
    np.testing.assert_array_equal(decode(data), picture)
    with pytest.raises(ImageError, match='PNG'):
        decode(b'\x89PNG\r\n')


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
    assert all(picture[..., 0].mean() > 200 for picture in pictures)


def test_hidden_files_are_passed_over_and_what_is_no_picture_is_counted_aloud(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / 'train/hat/.thumbs.jpg').write_bytes(b'x')
    (folder / '.cache/hat').mkdir(parents=True)
    (folder / '__MACOSX/train/hat').mkdir(parents=True)
    (folder / '__MACOSX/train/hat/0.jpg').write_bytes(b'x')
    files = PictureFiles(folder)
    assert not caplog.records
    assert set(files.listing) == {'train', 'validation'}
    assert len(files.listing['train']['hat']) == 6
    (folder / 'train/hat/notes.txt').write_text('x')
    for number in range(2):
        (folder / f'train/hat/{number}.HEIC').write_bytes(b'x')
    (folder / 'train/lone.jpg').write_bytes(b'x')
    for source in (folder, Path(shutil.make_archive(str(folder), 'zip', folder))):
        caplog.clear()
        found = PictureFiles(source).of('train')
        assert {label: len(names) for label, names in found.items()} == {'hat': 6, 'shoes': 6}
        astray, others = caplog.messages
        assert astray.endswith('left out, in no <split>/<class> folder: train/lone.jpg')
        assert others.endswith('3 files of train left out, no pictures: 2 .heic, 1 .txt')


def repacked(folder: Path, rename: Callable[[str], str], **options: Any) -> Path:
    target = folder.with_name('renamed.zip')
    with zipfile.ZipFile(target, 'w', **options) as archive:
        for path in sorted(folder.rglob('*.jpg')):
            archive.writestr(rename(path.relative_to(folder).as_posix()), path.read_bytes())
    return target


@pytest.mark.parametrize(
    'rename',
    [lambda name: f'photos/{name}', lambda name: name.replace('/', '\\'), str],
    ids=['top', 'dos', ''],
)
def test_a_zip_may_have_a_folder_around_all_and_backslashes(
    folder: Path, rename: Callable[[str], str]
) -> None:
    files = PictureFiles(repacked(folder, rename))
    assert files.labels() == ('hat', 'shoes')
    names = files.of('train')['hat']
    assert len(names) == 6
    assert files.picture(names[0]).shape == (24, 32, 3)


def test_a_folder_with_a_folder_around_all_is_read_alike(folder: Path) -> None:
    around = folder.with_name('around')
    around.mkdir()
    folder.rename(around / 'photos')
    files = PictureFiles(around)
    assert files.picture(files.of('train')['hat'][0]).shape == (24, 32, 3)


def test_folders_inside_a_class_are_part_of_it(folder: Path) -> None:
    (folder / 'train/hat/day1/left').mkdir(parents=True)
    (folder / 'train/hat/0.jpg').rename(folder / 'train/hat/day1/left/0.jpg')
    for source in (folder, Path(shutil.make_archive(str(folder), 'zip', folder))):
        files = PictureFiles(source)
        assert len(files.of('train')['hat']) == 6
        assert files.picture('train/hat/day1/left/0.jpg').shape == (24, 32, 3)


def test_a_link_in_a_circle_is_followed_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / 'train/hat/all').symlink_to(folder)
    assert len(PictureFiles(folder).of('train')['hat']) == 6
    assert 'a link to a folder that it lies in' in caplog.text


def test_letters_of_one_or_two_parts_are_the_same(folder: Path) -> None:
    for split, form in (('train', 'NFC'), ('validation', 'NFD')):
        (folder / split / 'hat').rename(folder / split / unicodedata.normalize(form, 'béret'))
    files = PictureFiles(folder)
    assert files.labels() == (unicodedata.normalize('NFC', 'béret'), 'shoes')
    assert files.picture(files.of('validation')['béret'][0]).shape == (24, 32, 3)


def test_suffixes_of_all_formats_are_read(folder: Path) -> None:
    picture = np.full((24, 32, 3), 90, np.uint8)
    for suffix in ('ppm', 'pgm', 'tif', 'TIFF', 'bmp', 'webp', 'png'):
        shown = picture[:, :, 0] if suffix == 'pgm' else picture
        (folder / f'train/hat/x.{suffix}').write_bytes(bytes(cv2.imencode(f'.{suffix}', shown)[1]))
    files = PictureFiles(folder)
    assert len(files.of('train')['hat']) == 13
    for name in files.of('train')['hat']:
        assert files.picture(name).shape == (24, 32, 3)


@pytest.mark.parametrize(
    ('make', 'why'),
    [
        (os.mkfifo, 'a pipe, a device or a folder'),
        (lambda path: path.symlink_to('/dev/zero'), 'a pipe, a device or a folder'),
        (lambda path: path.symlink_to('/nowhere/x.jpg'), 'No such file'),
        (lambda path: path.symlink_to(path), 'symbolic links'),
        (
            lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 30),
            'takes 1073741824 bytes',
        ),
        (lambda path: path.write_bytes(b'BM' + bytes(16) + b'\xff\xff\0\0' * 2 + bytes(99)), 'the limit is'),
    ],
    ids=['pipe', 'device', 'dangling', 'circle', 'sparse', 'announces too much'],
)
def test_what_cannot_be_read_is_said_at_once(folder: Path, make: Callable[[Path], None], why: str) -> None:
    make(folder / 'train/hat/odd.jpg')
    files = PictureFiles(folder)
    assert 'train/hat/odd.jpg' in files.of('train')['hat']
    with pytest.raises(ImageError, match=why):
        files.picture('train/hat/odd.jpg')


def test_a_file_in_a_zip_that_inflates_without_end_is_not_inflated(folder: Path) -> None:
    target = repacked(folder, str)
    with (
        zipfile.ZipFile(target, 'a', zipfile.ZIP_DEFLATED) as archive,
        archive.open('train/hat/bomb.jpg', 'w', force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert target.stat().st_size < 1 << 20
    with pytest.raises(ImageError, match='takes 314572800 bytes'):
        PictureFiles(target).picture('train/hat/bomb.jpg')


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda central: central.__setitem__(8, 1), 'train/hat/0.jpg is encrypted'),
        (lambda central: central.__setitem__(10, 9), 'train/hat/0.jpg is compressed with Deflate64'),
        (lambda central: central.__setitem__(10, 97), 'compressed with method 97'),
    ],
)
def test_a_zip_that_python_cannot_unpack_is_refused_with_the_way_out(
    folder: Path, change: Callable[[bytearray], None], said: str
) -> None:
    source = repacked(folder, str)
    data = bytearray(source.read_bytes())
    start = data.index(b'PK\1\2')  # the first entry of the central directory: flags at 8, method at 10
    entry = data[start : start + 46]
    change(entry)
    data[start : start + 46] = entry
    source.write_bytes(data)
    with pytest.raises(DataError, match=rf'{said}.*\(7z x\)') as refused:
        PictureFiles(source)
    assert '\n' not in str(refused.value)


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'torn.zip').write_bytes(b'PK')
    with pytest.raises(DataError, match='neither a folder nor a zip'):
        PictureFiles(tmp_path / 'torn.zip')
