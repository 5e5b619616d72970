"""training.data.unlabelled_pictures: pictures from wherever they lie, and which of them are held out."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from plain_pictures import jpeg
from recordings import COMPRESSED, IMAGE, write_bag

from training.data.labelled_pictures import DataError, Pictures
from training.data.unlabelled_pictures import read_unlabelled

LABELS = ('cat', 'dog')


def grey(number: int) -> bytes:
    """A picture that says its number: JPEG keeps one grey level nearly as it is."""
    return jpeg((10 * number,) * 3)


def numbers(pictures: Pictures) -> list[int]:
    return [round(float(image.mean()) / 10) for image in pictures.images]


def read(source: Path, **options: int) -> tuple[Pictures, Pictures]:
    return read_unlabelled(source, LABELS, shorter_side=64, **options)


def write_folder(root: Path, count: int) -> Path:
    for number in range(count):
        file = root / ('' if number % 2 else 'deep/deeper') / f'{number}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(grey(number))
    (root / 'notes.txt').write_text('no picture')
    return root


def write_zip(path: Path, count: int, first: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
        for number in range(first, first + count):
            archive.writestr(f'some/{number}.JPG', grey(number))
        archive.writestr('notes.txt', 'no picture')
        archive.writestr(f'__MACOSX/some/._{first}.jpg', b'of a Mac')
        archive.writestr(f'some/._{first}.jpg', b'of a Mac')
    return path


def write_zips(root: Path, count: int) -> Path:
    half = count // 2
    write_zip(root / 'a.zip', half)
    write_zip(root / 'deep' / 'a.zip', count - half, half)
    return root


def write_video(path: Path, count: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10.0, (32, 24))
    for number in range(count):
        writer.write(np.full((24, 32, 3), 10 * number, np.uint8))
    writer.release()
    return path


PICTURES: list[Callable[[Path], Path]] = [
    lambda place: write_folder(place / 'folder', 20),
    lambda place: write_zip(place / 'pictures.zip', 20),
    lambda place: write_zips(place / 'zips', 20),
]


@pytest.mark.parametrize('write', PICTURES, ids=['a folder', 'a zip', 'a folder of zips'])
def test_of_pictures_some_at_random_are_held_out_the_same_ones_every_time(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    source = write(tmp_path)
    learn, held = read(source, hold_out=5)
    assert sorted(numbers(learn) + numbers(held)) == list(range(20))
    assert len(held) == 5
    assert sorted(numbers(held)) != list(range(15, 20))
    assert numbers(read(source, hold_out=5)[1]) == numbers(held)
    assert len({*learn.names, *held.names}) == 20
    assert learn.rejected == held.rejected == ()
    assert learn.labels == held.labels == LABELS


def test_a_folder_may_hold_pictures_and_zips(tmp_path: Path) -> None:
    write_zip(write_folder(tmp_path / 'both', 10) / 'more.zip', 10, 10)
    learn, held = read(tmp_path / 'both')
    assert sorted(numbers(learn) + numbers(held)) == list(range(20))
    assert len(held) == 2  # a tenth
    assert {'deep/deeper/4.jpg', '5.jpg', 'more.zip/some/11.JPG'} <= {*learn.names, *held.names}


def test_of_a_video_the_last_frames_are_held_out(tmp_path: Path) -> None:
    source = write_video(tmp_path / 'drive.avi', 20)
    learn, held = read(source)
    assert numbers(learn) == list(range(18))
    assert numbers(held) == [18, 19]
    assert numbers(read(source, hold_out=5)[1]) == list(range(15, 20))


def test_of_a_bag_the_last_frames_are_held_out(tmp_path: Path) -> None:
    learn, held = read(write_bag(tmp_path / 'bag', {'/camera': (IMAGE, 20)}), hold_out=4)
    assert [int(image[0, 0, 0]) for image in learn.images] == list(range(16))
    assert [int(image[0, 0, 0]) for image in held.images] == list(range(16, 20))
    assert learn.images[0].shape == (4, 6, 3)


def test_a_limit_takes_pictures_evenly_and_holds_out_the_same(tmp_path: Path) -> None:
    source = write_video(tmp_path / 'drive.avi', 20)
    learn, held = read(source, hold_out=4, limit=4)
    assert numbers(learn) == [0, 5, 10, 15]
    assert numbers(held) == [16, 17, 18, 19]
    assert len(read(source, hold_out=4, limit=100)[0]) == 16


def test_larger_pictures_shrink(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f'{number}.jpg').write_bytes(jpeg((9, 9, 9), (200, 100)))
    learn, _ = read(tmp_path)
    assert [image.shape for image in learn.images] == [(128, 64, 3)] * 2


def test_files_that_cannot_be_read_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_folder(tmp_path / 'folder', 10)
    (source / 'broken.jpg').write_bytes(b'no picture')
    (source / 'nowhere.jpg').symlink_to(source / 'is not')
    with caplog.at_level(logging.WARNING):
        learn, held = read(source)
    assert len(learn) + len(held) == 10
    assert sorted(learn.rejected) == ['broken.jpg', 'nowhere.jpg']
    assert 'broken.jpg is not readable; left out' in caplog.text
    assert 'No such file' in caplog.text


def test_what_of_a_zip_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / 'zips' / 'a.zip', 10)
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as listing:
        info = listing.getinfo('some/3.JPG')
    data[info.header_offset + 30 + len(info.filename) + 40] ^= 0xFF  # its checksum is wrong now
    archive.write_bytes(data)
    (tmp_path / 'zips' / 'b.zip').write_bytes(data[:200])
    learn, held = read(tmp_path / 'zips')
    assert sorted(learn.rejected) == ['a.zip/some/3.JPG', 'b.zip']
    assert sorted(numbers(learn) + numbers(held)) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_frames_that_cannot_be_read_are_left_out_and_counted_as_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='0 readable pictures'):
        read(write_bag(tmp_path / 'bag', {'/camera': (COMPRESSED, 3)}))  # no JPEG in it


@pytest.mark.parametrize(('count', 'hold_out'), [(1, 0), (5, 5), (5, 7)])
def test_too_few_pictures_are_refused(count: int, hold_out: int, tmp_path: Path) -> None:
    source = write_folder(tmp_path / 'folder', count)
    with pytest.raises(DataError, match=f'folder: {count} readable pictures, of which'):
        read(source, hold_out=hold_out)


@pytest.mark.parametrize(
    ('name', 'message'), [('nowhere', 'does not exist'), ('empty', 'holds no files'), ('a.txt', 'a.txt')]
)
def test_what_holds_no_pictures_is_refused_by_name(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'a.txt').write_text('nothing to see')
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)
