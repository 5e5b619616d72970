"""training.data.labelled_pictures: pictures from folders and zips, and what is refused."""

from __future__ import annotations

import io
import logging
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from plain_pictures import jpeg

from training.data.labelled_pictures import DataError, labels_of, read


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), 'zip', folder))


@pytest.mark.parametrize('form', ['folder', 'zip'])
def test_a_folder_and_a_zip_of_it_read_alike(folder: Path, form: str) -> None:
    pictures = read(folder if form == 'folder' else zipped(folder), 'train')
    assert pictures.labels == ('hat', 'shoes')
    assert pictures.targets.tolist() == [0] * 6 + [1] * 6
    assert pictures.names[0] == 'train/hat/0.jpg'
    assert pictures.rejected == ()
    assert pictures.images[0].shape == (24, 32, 3)
    np.testing.assert_allclose(pictures.images[0][12, 16], (250, 0, 0), atol=6)  # RGB, not BGR


def test_larger_pictures_shrink_to_the_shorter_side_and_smaller_ones_stay(folder: Path) -> None:
    (folder / 'train/hat/large.jpg').write_bytes(jpeg((250, 0, 0), (120, 60)))
    pictures = read(folder, 'train', shorter_side=30)
    shapes = dict(zip(pictures.names, (image.shape for image in pictures.images), strict=True))
    assert shapes['train/hat/large.jpg'] == (60, 30, 3)
    assert shapes['train/hat/0.jpg'] == (24, 32, 3)


@pytest.mark.parametrize(
    'broken',
    [b'', b'no picture', jpeg((0, 0, 0))[:300], jpeg((0, 0, 0), (64, 64))[:-2]],
    ids=['empty', 'text', 'cut in the header', 'cut before its end'],
)
def test_a_broken_picture_is_named_and_left_out(
    folder: Path, broken: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / 'train/hat/broken.jpg').write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        pictures = read(folder, 'train')
    assert len(pictures) == 12
    assert pictures.rejected == ('train/hat/broken.jpg',)
    assert 'train/hat/broken.jpg' in caplog.text


def test_a_zip_member_with_a_wrong_checksum_is_left_out(folder: Path) -> None:
    archive = zipped(folder)
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as listing:
        info = listing.getinfo('train/hat/3.jpg')
    data[info.header_offset + 30 + len(info.filename) + 40] ^= 0xFF
    archive.write_bytes(bytes(data))
    assert read(archive, 'train').rejected == ('train/hat/3.jpg',)


def test_an_empty_class_folder_is_refused_by_name(folder: Path) -> None:
    for split in ('train', 'validation'):
        (folder / split / 'skirt').mkdir()
    for source in (folder, zipped(folder)):
        with pytest.raises(DataError, match='train/skirt holds no readable picture'):
            read(source, 'train')


def test_a_class_whose_pictures_are_all_broken_is_refused(folder: Path) -> None:
    for picture in (folder / 'validation/hat').iterdir():
        picture.write_bytes(b'broken')
    with pytest.raises(DataError, match='validation/hat holds no readable picture'):
        read(folder, 'validation')


def test_labels_that_differ_between_splits_are_refused_by_name(folder: Path) -> None:
    (folder / 'train/skirt').mkdir()
    (folder / 'train/skirt/0.jpg').write_bytes(jpeg((0, 250, 0)))
    with pytest.raises(DataError, match=r"'train' and 'validation' differ .* skirt"):
        read(folder, 'validation')


def test_a_split_that_is_not_read_may_have_other_classes(folder: Path) -> None:
    (folder / 'test/unknown').mkdir(parents=True)
    (folder / 'test/unknown/0.jpg').write_bytes(jpeg((0, 250, 0)))
    assert labels_of(folder) == ('hat', 'shoes')
    assert len(read(folder, 'validation')) == 4
    with pytest.raises(DataError, match=r"'train' and 'test' differ .* hat, shoes, unknown"):
        read(folder, 'test')


def test_a_class_with_fewer_pictures_than_are_held_out_is_named(folder: Path) -> None:
    for number in range(1, 6):
        (folder / f'train/hat/{number}.jpg').unlink()
    for keep in (True, False):
        with pytest.raises(DataError, match=r'train/hat has too few pictures \(1\): 2 of every class'):
            read(folder, 'train', part=lambda count: slice(2, count), keep=keep)


def test_an_unknown_split_is_refused_and_the_known_ones_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'test'; write one of train, validation"):
        read(folder, 'test')


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('nothing')
    with pytest.raises(DataError, match='<split>/<class>/<picture>'):
        read(tmp_path, 'train')
    with pytest.raises(DataError, match='neither a folder nor a zip'):
        read(tmp_path / 'notes.txt', 'train')
    with pytest.raises(DataError, match='neither a folder nor a zip'):
        read(tmp_path / 'missing.zip', 'train')


def test_parts_are_the_same_every_time_and_have_no_picture_in_common(folder: Path) -> None:
    def head(count: int) -> slice:
        return slice(0, 2)

    held, again, rest = (read(folder, 'train', part=p) for p in (head, head, lambda count: slice(2, 5)))
    assert held.names == again.names
    assert (len(held), len(rest)) == (4, 6)
    assert set(held.names) & set(rest.names) == set()
    assert read(folder, 'train', part=slice).names == read(folder, 'train').names


@pytest.mark.parametrize('form', ['folder', 'zip'])
def test_pictures_may_stay_on_the_disk(folder: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    (folder / 'train/hat/3.jpg').write_bytes(b'torn')
    source = folder if form == 'folder' else zipped(folder)
    kept, on_disk = read(source, 'train', shorter_side=12), read(source, 'train', shorter_side=12, keep=False)
    assert len(on_disk) == 12  # the broken one is not known yet
    assert not caplog.records[1:]
    whole = [i for i, name in enumerate(on_disk.names) if name != 'train/hat/3.jpg']
    for ours, theirs in zip(kept.images, on_disk.load(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert on_disk.images[3].mean() == 128
    assert 'train/hat/3.jpg is not a readable picture' in caplog.text


def test_class_folders_may_be_links(folder: Path, tmp_path: Path) -> None:
    for split in ('train', 'validation'):
        (tmp_path / 'linked' / split).mkdir(parents=True)
        for label in ('hat', 'shoes'):
            (tmp_path / 'linked' / split / label).symlink_to(folder / split / label)
    assert read(tmp_path / 'linked', 'train').names == read(folder, 'train').names
