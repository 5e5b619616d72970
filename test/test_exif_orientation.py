"""A photograph that is to be turned is the same picture in messages, replay and training: not turned."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impatient_ros.images.raw import decode_compressed, to_rgb
from impatient_ros.replay.pictures import Pictures
from training.data.labelled_pictures import read
from training.data.picture_files import decode

HEIGHT, WIDTH = 24, 40


def photograph(orientation, kind='JPEG'):
    """Red on the left, blue on the right."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2, 0] = picture[:, WIDTH // 2 :, 2] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=95, exif=exif)
    return buffer.getvalue()


def replayed(path, transport):
    (frame,) = Pictures(path, transport).frames()
    return decode_compressed(frame.image) if transport == 'compressed' else to_rgb(frame.image)


def learned_from_a_folder(data, place: Path):
    for label in ('hat', 'shoes'):
        (place / 'train' / label).mkdir(parents=True)
        (place / 'train' / label / '0.jpg').write_bytes(data)
    return read(place, 'train').images[0]


def learned_from_torchvision(data, place: Path):
    """The simplest of its data sets that consist of files; it takes pictures for PNG by their name only."""
    for label in ('negative', 'positive'):
        (place / 'rendered-sst2' / 'train' / label).mkdir(parents=True)
        (place / 'rendered-sst2' / 'train' / label / '0.png').write_bytes(data)
    return read(f'torchvision:RenderedSST2:{place}', 'train').images[0]


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_orientation_is_ignored_everywhere_alike(orientation, tmp_path):
    data = photograph(orientation)
    file = tmp_path / 'photograph.jpg'
    file.write_bytes(data)
    pictures = {
        'raw replay': replayed(file, 'raw'),
        'compressed replay': replayed(file, 'compressed'),
        'training folder': learned_from_a_folder(data, tmp_path / 'folder'),
        'torchvision': learned_from_torchvision(data, tmp_path / 'torchvision'),
    }
    for name, picture in pictures.items():
        assert picture.shape == (HEIGHT, WIDTH, 3), name
        assert picture[:, :15].mean(axis=(0, 1)) == pytest.approx((250, 0, 0), abs=6), name
        assert picture[:, -15:].mean(axis=(0, 1)) == pytest.approx((0, 0, 250), abs=6), name


@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_orientation_is_ignored_in_other_kinds_of_files(kind, tmp_path):
    data = photograph(6, kind)
    file = tmp_path / f'photograph.{kind.lower()}'
    file.write_bytes(data)
    for picture in (replayed(file, 'raw'), replayed(file, 'compressed'), decode(data)):
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert picture[:, :15].mean(axis=(0, 1)) == pytest.approx((250, 0, 0), abs=12)
