"""Paths: what each is worth, which of them pay, and how sides are written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from impatient_ros.checkpoint import Preprocessing
from impatient_ros.network import ImpatientNetwork
from training.data.labelled_pictures import DataError, Pictures
from training.model.small_backbones import SmallResNet
from training.scoring.classes import with_labels
from training.scoring.exit_scores import Evaluation, evaluate
from training.scoring.paths import (
    ResolutionScores,
    evaluate_resolutions,
    path_rows,
    path_table,
    sides_of,
)

pytestmark = pytest.mark.usefixtures('one_thread')


def scores(answers: list[list[int]], target: list[int], classes: int = 3) -> Evaluation:
    """Exits that give these answers, each with the classes after it as the next best."""
    order = (torch.arange(classes) - torch.tensor(answers)[:, :, None]) % classes
    return Evaluation(tuple(-order.double()), torch.tensor(target))


def test_paths_are_compared_with_the_truth_and_with_the_full_path() -> None:
    target = [0, 1, 2, 0]
    found = [
        ResolutionScores(16, (10, 40), scores([[0, 0, 0, 1], [0, 1, 0, 1]], target)),
        ResolutionScores(32, (40, 160), scores([[0, 1, 0, 0], [0, 1, 0, 0]], target)),
    ]
    rows = path_rows(found, [(1.0, 2.0), (3.0, 4.0)])
    assert [(row['resolution'], row['exit_index'], row['macs']) for row in rows] == [
        (16, 0, 10),
        (16, 1, 40),
        (32, 0, 40),
        (32, 1, 160),
    ]
    assert [row['accuracy'] for row in rows] == [0.25, 0.5, 0.75, 0.75]
    assert [row['agreement'] for row in rows] == [0.5, 0.75, 1.0, 1.0]
    assert [row['temperature'] for row in rows] == [1.0, 2.0, 3.0, 4.0]
    assert [row['dominated'] for row in rows] == [False, True, False, True]
    assert 'top5' not in rows[0]
    table = path_table(rows).splitlines()
    assert table[1].split() == ['16', 'px,', 'exit', '1', 'of', '2', '0.00', '0.06', '25.00%*', '50.00%']
    assert '*' not in table[2]


def test_top_five_counts_where_there_are_many_classes() -> None:
    found = [ResolutionScores(8, (1,), scores([[0, 0, 0, 0]], [0, 4, 5, 10], classes=11))]
    (row,) = path_rows(found, [(1.0,)])
    assert (row['accuracy'], row['top5']) == (0.25, 0.5)
    assert '50.00%' in path_table([row])


def test_each_resolution_is_evaluated_at_its_size(rng_pictures: Pictures) -> None:
    torch.manual_seed(0)
    network = ImpatientNetwork.from_module(SmallResNet(3), torch.zeros(1, 3, 32, 32), exits=2).eval()
    preprocessing = Preprocessing(32, 36)
    small, own = evaluate_resolutions(network, rng_pictures, preprocessing, (24, 32))
    assert (small.side, own.side) == (24, 32)
    assert small.macs[-1] < own.macs[-1] == network.costs()[-1]
    alone = evaluate(network.at(24), rng_pictures, preprocessing.at(24))
    for a, b in zip(small.scores.logits, alone.logits, strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.allclose(small.scores.logits[-1], own.scores.logits[-1])


@pytest.fixture
def rng_pictures() -> Pictures:
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 50, 3), np.uint8)
    return Pictures(('a', 'b', 'c'), [*images], np.array([0, 1, 2, 0, 1, 2]), tuple('uvwxyz'))


@pytest.mark.parametrize(
    ('text', 'own', 'sides'),
    [
        ('96,128,224', 224, (96, 128, 224)),
        ('128, 96', 224, (96, 128, 224)),
        ('128,96,96', None, (96, 128)),
        ('224', 224, (224,)),
    ],
)
def test_sides_ascend_to_the_networks_own(text: str, own: int | None, sides: tuple[int, ...]) -> None:
    assert sides_of(text, own) == sides


@pytest.mark.parametrize('text', ['', '96,', '96;128', '-96', '0,96', '9.5', 'all'])
def test_what_are_no_sides_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='write sides in pixels, as in 96,128'):
        sides_of(text)


def test_a_side_above_the_networks_own_is_refused() -> None:
    with pytest.raises(ValueError, match='for 224 px, which is its largest; import it at 256 px'):
        sides_of('96,256', 224)


def test_pictures_of_some_classes_count_among_all(
    rng_pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    matched = with_labels(rng_pictures, ('x', 'c', 'b', 'a'), 'the network')
    assert matched.labels == ('x', 'c', 'b', 'a')
    assert matched.targets.tolist() == [3, 2, 1, 3, 2, 1]
    assert 'the data has 3 of the 4 classes of the network' in caplog.text
    assert with_labels(rng_pictures, rng_pictures.labels, 'the network') is rng_pictures


@pytest.mark.parametrize(
    ('labels', 'message'),
    [(('a', 'b'), 'the network and the data differ in their classes: c'), (('a', 'a', 'b', 'c'), 'several')],
)
def test_classes_that_the_network_lacks_are_refused(
    rng_pictures: Pictures, labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        with_labels(rng_pictures, labels, 'the network')
