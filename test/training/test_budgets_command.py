"""python -m training.budgets: from a recording of frame_status to a distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from impatient_ros.budgets import Empirical
from impatient_ros.checkpoint import save
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from training.budgets import histogram, main, read_bag, subsampled
from training.model.networks import NetworkOptions, build
from training.risk.expected_accuracy import distribution_of

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPE = 'diagnostic_msgs/msg/DiagnosticArray'


def message(record: FrameRecord) -> bytes:
    t = STORE.types
    header = t['std_msgs/msg/Header'](t['builtin_interfaces/msg/Time'](int(record.stamp), 0), 'camera')
    values = [t['diagnostic_msgs/msg/KeyValue'](k, v) for k, v in record.to_values().items()]
    status = t['diagnostic_msgs/msg/DiagnosticStatus'](0, 'frame', '', record.camera, values)
    return STORE.serialize_cdr(t[TYPE](header, [status]), TYPE)


def bag(path: Path, plugin: StoragePlugin, records: list[FrameRecord]) -> Path:
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        topics: dict[str, object] = {}
        for number, record in enumerate(records):
            topic = f'/perception/{record.camera}/frame_status'
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, TYPE, typestore=STORE)
            writer.write(topics[topic], number, message(record))  # type: ignore[arg-type]
    return path


RECORDS = [
    *(FrameRecord('front', i, Outcome.answered, budget=0.010 + 0.001 * i, exits=3) for i in range(40)),
    FrameRecord('front', 50, Outcome.infeasible, budget=-0.002, exits=3),
    FrameRecord('front', 51, Outcome.superseded),
    *(FrameRecord('rear', 60 + i, Outcome.missed, budget=0.2, exits=3) for i in range(3)),
]


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_budgets_of_all_cameras_or_of_one_are_read(plugin: StoragePlugin, tmp_path: Path) -> None:
    path = bag(tmp_path / 'drive', plugin, RECORDS)
    everything, rear = read_bag(path), read_bag(path, 'rear')
    assert len(everything.budgets) == 44
    assert everything.expired == 1
    assert everything.cameras == ('front', 'rear')
    assert everything.outcomes == {'answered': 40, 'infeasible': 1, 'superseded': 1, 'missed': 3}
    assert rear.budgets == (0.2, 0.2, 0.2)


def test_the_command_writes_a_distribution_and_says_which_exits_pay(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('training.budgets.exit_costs', lambda *given: (0.015, 0.1, 0.5))
    options = {'widths': [4, 8], 'blocks': 1}
    network = NetworkOptions(
        module='training.model.small_backbones.SmallResNet', module_options=options, exits=3
    )
    torch.manual_seed(0)
    model = tmp_path / 'model.safetensors'
    save(
        build(network, classes=2, image_size=(32, 32)),
        model,
        labels=['a', 'b'],
        preprocessing=Preprocessing(32, 32),
        accuracies=[0.5, 0.7, 0.9],
        provenance={'network': network.described()},
    )
    path, out = bag(tmp_path / 'drive', StoragePlugin.MCAP, RECORDS), tmp_path / 'robot.yaml'
    assert main([str(path), '-o', str(out), '--checkpoint', str(model)]) == 0
    distribution, unit = distribution_of(str(out), 1.0)
    assert unit == 's'
    np.testing.assert_allclose(distribution.samples, sorted(read_bag(path).budgets))
    assert yaml.safe_load(out.read_text())['about']['cameras'] == ['front', 'rear']
    shown = capsys.readouterr().out
    assert '<- exit 1' in shown
    assert 'exit 3: costs more than every budget' in shown
    lines = [line for line in shown.splitlines() if 'lost without it' in line]
    assert [line.rsplit(': ')[-1] for line in lines] == ['pays', 'pays', 'could be left out']


def test_many_budgets_are_thinned_to_the_same_distribution() -> None:
    budgets = np.random.default_rng(0).gamma(2.0, 0.02, 50_000)
    few, all_of_them = Empirical(subsampled(budgets)), Empirical(budgets)
    assert len(few.samples) == 1000
    for cost in (0.01, 0.03, 0.05, 0.1):
        assert few.below(cost) == pytest.approx(all_of_them.below(cost), abs=2e-3)
    assert subsampled((0.3, 0.1)) == (0.1, 0.3)


def test_a_histogram_of_equal_budgets_has_one_bar() -> None:
    assert histogram([0.1] * 5).count('100.0%') == 1
    assert '#' in histogram([0.0, 0.0])


def test_what_holds_no_budgets_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = bag(tmp_path / 'drive', StoragePlugin.MCAP, RECORDS[:3])
    assert main([str(path), '--camera', 'left', '-o', str(tmp_path / 'out')]) == 2
    assert "no frame_status of camera 'left' with a budget" in capsys.readouterr().err
    assert main([str(tmp_path / 'nowhere')]) == 2
    assert 'there is no such bag' in capsys.readouterr().err
    (tmp_path / 'torn.mcap').write_bytes((next(path.glob('*.mcap'))).read_bytes()[:200])
    assert main([str(tmp_path / 'torn.mcap')]) == 2
    assert 'cannot be read as a bag' in capsys.readouterr().err
