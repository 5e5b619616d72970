"""What a checkpoint says of other precisions: kept by every way to write it, believed by `auto` or not."""

import logging
from dataclasses import replace

import pytest
import torch
from checkpoint_files import SIZE, rewrite, write

from impatient_ros.checkpoint import CheckpointError, read
from impatient_ros.checkpoint.__main__ import main
from impatient_ros.checkpoint.amending import add_precision, carry_precisions
from impatient_ros.checkpoint.precisions import Drop, PrecisionRecord
from impatient_ros.checkpoint.reading import contents_of
from impatient_ros.network import ImpatientNetwork

KEPT = Drop(0.001, -0.002, 0.004)


def record(exits=2, resolutions=1, pictures=1000, drop=KEPT, accuracy=0.5):
    return PrecisionRecord(
        pictures=pictures,
        measured='validation',
        accuracies=((accuracy, accuracy + 0.25),) * resolutions,
        temperatures=((1.5, 2.5),) * resolutions,
        drops=(((Drop(0.0, -0.001, 0.001), drop)),) * resolutions,
    )


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=2, classes=4, image_size=SIZE)
    path = tmp_path_factory.mktemp('checkpoint') / 'model.safetensors'
    write(network.eval(), path, accuracies=[0.625, 0.875])
    return path


@pytest.mark.parametrize(
    ('pictures', 'drop', 'kept'),
    [
        (1000, KEPT, True),
        (1000, Drop(-0.001, -0.004, 0.002), True),
        (999, KEPT, False),
        (5000, Drop(0.0021, 0.0, 0.004), False),
        (5000, Drop(-0.0021, -0.004, 0.0), False),  # it moves
        (5000, Drop(0.002, -0.002, 0.0051), False),
    ],
)
def test_auto_believes_what_is_shown_at_every_path(pictures, drop, kept):
    found = record(pictures=pictures, drop=drop)
    assert found.accuracy_kept is kept
    assert found.worst == max(drop, Drop(0.0, -0.001, 0.001), key=lambda each: each.high)
    assert PrecisionRecord.from_dict(found.to_dict()) == found


def test_a_record_is_added_and_everything_else_stays(written, tmp_path):
    new = tmp_path / 'new'
    add_precision(written, new, 'bf16', record())
    add_precision(new, new, 'f16', record(accuracy=0.25))
    before, after = read(written), read(new)
    assert after.precisions == {'bf16': record(), 'f16': record(accuracy=0.25)}
    assert before.precisions == {}
    assert after.digest != before.digest
    same = replace(after, precisions={}, digest=before.digest, graph=None, resolutions=())
    assert same == replace(before, graph=None, resolutions=())
    assert after.graph.weights.keys() == before.graph.weights.keys()


def test_what_does_not_fit_is_refused_before_anything_is_written(written, tmp_path):
    for wrong in (record(resolutions=2), record(pictures=0), replace(record(), accuracies=((0.5,),))):
        with pytest.raises(CheckpointError, match='cannot be given bf16: precisions: bf16'):
            add_precision(written, tmp_path / 'new', 'bf16', wrong)
    with pytest.raises(CheckpointError, match='int8 graph and what precisions says of int8 come together'):
        add_precision(written, tmp_path / 'new', 'int8', record())
    assert not (tmp_path / 'new').exists()


def test_paths_in_a_precision_are_worth_what_was_measured_in_it(written, tmp_path, caplog):
    new = tmp_path / 'new'
    add_precision(written, new, 'bf16', record())
    file = read(new)
    assert file.at_precision('f32') is file
    assert not caplog.records
    found = file.at_precision('bf16')
    assert found.accuracies == found.resolutions[0].accuracies == (0.5, 0.75)
    assert [path.temperature for path in found.paths] == [1.5, 2.5]
    assert [path.macs for path in found.paths] == [path.macs for path in file.paths]
    assert file.at_precision('f16') is file
    [warning] = caplog.records
    assert warning.levelno == logging.WARNING
    assert 'training.evaluate --precision f16' in warning.message


def bare(description, metadata, tensors):
    """A change to a file: it has no graph, and says why."""
    del tensors['graph'], description['network_only']
    description['no_graph'] = 'an operator is missing'


def test_a_record_needs_no_graph_unless_it_is_of_int8(written, tmp_path):
    plain, new = rewrite(written, tmp_path / 'plain', bare), tmp_path / 'new'
    add_precision(plain, new, 'f16', record())
    assert read(new).precisions == {'f16': record()}
    with pytest.raises(CheckpointError, match='cannot be given int8: it has none and lacks the graph'):
        add_precision(plain, tmp_path / 'more', 'int8', record(), {'graph_int8': b'something'})
    assert not (tmp_path / 'more').exists()


def test_an_int8_graph_alone_is_refused(written, tmp_path):
    def swap(description, metadata, tensors):
        tensors['graph_int8'] = tensors.pop('graph')
        description['precisions'] = {'int8': record().to_dict()}

    with pytest.raises(CheckpointError, match='it has none and lacks the graph of its largest resolution'):
        read(rewrite(written, tmp_path / 'new', swap))


def test_an_int8_graph_that_nothing_is_known_of_is_refused(written, tmp_path):
    def add(description, metadata, tensors):
        tensors['graph_int8'] = tensors['graph'].clone()

    with pytest.raises(CheckpointError, match='come together'):
        read(rewrite(written, tmp_path / 'new', add))


def test_they_outlive_a_conversion_but_not_other_weights(written, tmp_path):
    one, two, other = tmp_path / 'one', tmp_path / 'two', tmp_path / 'other'
    add_precision(written, one, 'bf16', record())
    assert main(['convert', str(one), str(two)]) == 0
    assert read(two).precisions == {'bf16': record()}
    torch.manual_seed(1)
    network = ImpatientNetwork.from_torchvision('squeezenet1_1', exits=2, classes=4, image_size=SIZE)
    write(network.eval(), other, accuracies=[0.5, 0.5])
    assert not carry_precisions(contents_of(one), other)
    assert read(other).precisions == {}


def test_a_file_without_graph_carries_all_but_int8(written, tmp_path):
    both, single = tmp_path / 'both', tmp_path / 'single'
    quantised = dict(contents_of(written).graphs)
    add_precision(written, single, 'bf16', record())
    add_precision(single, both, 'int8', record(), {'graph_int8': quantised['graph']})
    assert read(both).precisions.keys() == {'bf16', 'int8'}
    new = rewrite(written, tmp_path / 'new', bare)
    assert not carry_precisions(contents_of(both), new)
    assert read(new).precisions == {'bf16': record()}


def test_a_conversion_that_loses_one_says_so(written, tmp_path, monkeypatch, capsys):
    one = tmp_path / 'one'
    add_precision(written, one, 'bf16', record())
    monkeypatch.setattr('impatient_ros.checkpoint.__main__.carry_precisions', lambda old, new: False)
    assert main(['convert', str(one), str(tmp_path / 'two')]) == 0
    assert 'two says less of other precisions than' in capsys.readouterr().err
