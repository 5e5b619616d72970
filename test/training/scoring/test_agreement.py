"""training.scoring.agreement: pictures without labels as a full path names them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from impatient_ros.checkpoint import Checkpoint, Preprocessing, load, save
from impatient_ros.network import ImpatientNetwork
from training.data.labelled_pictures import Pictures
from training.data.unlabelled_pictures import read_unlabelled
from training.scoring.agreement import commonest, held_out
from training.scoring.exit_scores import evaluate

FRAMES, SIDE, LABELS = 20, 32, ('cat', 'dog', 'cow')

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / 'drive.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 48))
    random = np.random.default_rng(0)
    for _ in range(FRAMES):
        writer.write(random.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    return path


@pytest.fixture
def teacher(tmp_path: Path) -> Checkpoint:
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', 2, len(LABELS), image_size=SIDE)
    for head, favourite in zip(network.exits, (0, 2), strict=True):  # the exits answer differently
        final = [layer for layer in head.modules() if isinstance(layer, torch.nn.Linear)][-1]
        torch.nn.init.constant_(final.bias[favourite], 100.0)
    save(network, tmp_path / 'f', labels=LABELS, preprocessing=Preprocessing(SIDE, SIDE))
    return load(tmp_path / 'f')


@pytest.mark.parametrize(('hold_out', 'limit'), [(0, None), (7, None), (7, 3), (0, 5)])
def test_a_recordings_pictures_are_those_that_training_held_out(
    video: Path, teacher: Checkpoint, hold_out: int, limit: int | None
) -> None:
    _, trained = read_unlabelled(
        video, LABELS, shorter_side=round(1.25 * SIDE), hold_out=hold_out, limit=limit
    )
    found = held_out(video, teacher, hold_out=hold_out, limit=limit)
    assert found.names == trained.names
    assert len(found) == (hold_out or FRAMES // 10)
    assert all(np.array_equal(a, b) for a, b in zip(found.images, trained.images, strict=True))
    scores = evaluate(teacher.network, trained, teacher.preprocessing).logits[-1]
    assert found.targets.tolist() == scores.argmax(1).tolist()


def test_of_a_long_recording_no_more_is_kept_than_training_kept(
    video: Path, teacher: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = []

    def reading(*arguments: object, **options: object) -> tuple[Pictures, Pictures]:
        found = read_unlabelled(*arguments, **options)  # type: ignore[arg-type]
        learned.append(len(found[0]))
        return found

    monkeypatch.setattr('training.scoring.agreement.read_unlabelled', reading)
    held_out(video, teacher, hold_out=7, limit=3)
    assert learned == [3]


def test_the_commonest_answer_is_that_of_most_pictures(video: Path, teacher: Checkpoint) -> None:
    pictures = held_out(video, teacher, hold_out=8, limit=None)
    pictures.targets[:] = [0, 2, 2, 1, 2, 0, 2, 1]
    assert commonest(pictures) == {'label': 'cow', 'share': 0.5}
