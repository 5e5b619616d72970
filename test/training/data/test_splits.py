"""training.data.splits: which pictures are learned from, and which validate."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.labelled_pictures import DataError
from training.data.splits import Splits, parts


@pytest.fixture
def undivided(folder: Path) -> Path:
    """Two classes of six pictures, hats and shoes, without folders for splits."""
    for each in (folder / 'train').iterdir():
        each.rename(folder / each.name)
    shutil.rmtree(folder / 'train')
    shutil.rmtree(folder / 'validation')
    return folder


def test_class_folders_without_splits_are_divided_class_by_class(undivided: Path) -> None:
    (undivided / 'hat/second day').mkdir()
    (undivided / 'hat/0.jpg').rename(undivided / 'hat/second day/0.jpg')
    for number in range(4):
        (undivided / f'shoes/{number}.jpg').unlink()
    for source in (undivided, Path(shutil.make_archive(str(undivided), 'zip', undivided))):
        splits = Splits(str(source))
        assert splits.counts == {'hat': (5, 1), 'shoes': (1, 1)}
        assert splits.validation_is == 'a fifth of each class held out of the split train'
        learned, validating = splits.read_both(24, 24, keep=True)
        assert (len(learned), len(validating)) == (6, 2)
        assert not set(learned.names) & set(validating.names)
        assert 'hat/second day/0.jpg' in {*learned.names, *validating.names}


@pytest.mark.parametrize('name', ['validation', 'val', 'valid'])
def test_a_split_to_validate_is_found_by_its_usual_names(folder: Path, name: str) -> None:
    (folder / 'validation').rename(folder / name)
    splits = Splits(str(folder))
    assert (splits.validation, splits.counts) == (name, {'hat': (6, 2), 'shoes': (6, 2)})


def test_splits_of_other_names_are_given(folder: Path) -> None:
    (folder / 'train').rename(folder / 'monday')
    (folder / 'validation').rename(folder / 'tuesday')
    splits = Splits(str(folder), 'monday', 'tuesday')
    assert splits.counts == {'hat': (6, 2), 'shoes': (6, 2)}
    learned, validating = splits.read_both(24, 24, keep=True)
    assert (learned.names[0], validating.names[0]) == ('monday/hat/0.jpg', 'tuesday/hat/0.jpg')
    with pytest.raises(DataError, match=r"no split 'sunday'; its folders are monday, tuesday: .*train_split"):
        Splits(str(folder), 'sunday')
    with pytest.raises(DataError, match=r'another split than the one that is learned'):
        Splits(str(folder), 'monday', 'monday')
    with pytest.raises(DataError, match=r'or instead data.hold_out'):
        Splits(str(folder), 'monday', 'tuesday', hold_out=2)
    shutil.rmtree(folder / 'tuesday')
    assert Splits(str(folder)).counts == {'hat': (5, 1), 'shoes': (5, 1)}  # the only split there is


def test_a_class_with_one_picture_cannot_be_divided_and_is_named_before_anything_is_decoded(
    undivided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('training.data.picture_files.PictureFiles.picture', None)
    for number in range(1, 6):
        (undivided / f'hat/{number}.jpg').unlink()
    with pytest.raises(DataError, match=r'train/hat has too few pictures \(1\)'):
        Splits(str(undivided))


def test_what_is_left_out_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / 'train/hat/notes.txt').write_text('x')
    (folder / 'validation/hat/notes.pdf').write_text('x')
    splits = Splits(str(folder))
    assert splits.left_out == [
        '1 files of train left out, no pictures: 1 .txt',
        '1 files of validation left out, no pictures: 1 .pdf',
    ]
    splits.read_both(24, 24, keep=True)
    assert not caplog.records


@given(
    count=st.integers(2, 500),
    hold_out=st.sampled_from([0, 2, 10]),
    limit=st.sampled_from([None, 2, 9]),
    divided=st.booleans(),
)
def test_no_picture_is_both_learned_and_held_out(
    count: int, hold_out: int, limit: int | None, divided: bool
) -> None:
    everything = range(count)
    learned, held = (everything[part(count)] for part in parts(2, hold_out, limit, divided=divided))
    assert not {*learned} & {*held}
    assert (len(held) == 0) == divided
    if limit is None:
        assert {*learned} | {*held} == {*everything}
    else:
        assert len(learned) <= max(1, limit // 2)
