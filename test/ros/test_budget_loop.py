"""From a robot's budgets back to its network: what a running node says of its frames is recorded in a bag,
and a training weighs the exits by it.
"""

import pytest
import yaml
from rclpy.serialization import serialize_message
from robot import NODE, NodeProcess, Robot
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from impatient_ros.checkpoint import read
from training import budgets, smoke, train

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300)]
BUDGETS = (0.3, 0.3, 0.3, 3.0, 3.0, 30.0)  # s
COSTS = [0.05, 0.5, 5.0]  # s; far from the budgets: this machine may be slow to pick a frame up
DELAY = 0.2  # s; the longest that it may take


@pytest.fixture
def recording(tiny_model, tmp_path):
    """A bag with the frame_status of a running node whose budget was set anew for every frame."""
    robot = Robot()
    try:
        with NodeProcess(tmp_path / 'node.log', f'model:={tiny_model}', 'budget.fixed:=30.0'):
            robot.wait_for_node()
            robot.ask()  # the first image may be lost; what it brought is not recorded
            seen = len(robot.statuses['camera'])
            for budget in BUDGETS:
                assert robot.set(budget__fixed=budget).successful
                robot.ask()
    finally:
        robot.close()
    path, store = tmp_path / 'drive', get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(f'{NODE}/camera/frame_status', budgets.TYPE, typestore=store)
        for number, message in enumerate(robot.statuses['camera'][seen:]):
            writer.write(topic, number, serialize_message(message))
    return path


def test_recorded_budgets_weigh_the_exits_of_the_next_training(recording, tmp_path, capsys):
    file = tmp_path / 'robot.yaml'
    assert budgets.main([str(recording), '-o', str(file)]) == 0
    assert f'{len(BUDGETS)} budgets of camera' in capsys.readouterr().out
    samples = yaml.safe_load(file.read_text())['samples']
    for found, given in zip(samples, BUDGETS, strict=True):
        assert given - DELAY < found <= given, 'a budget counts from the stamp: the way to the node is gone'

    smoke.write(tmp_path / 'data', {'train': 16, 'validation': 4})
    fit = ['fit', '--config', str(smoke.CONFIG), '--data.source', str(tmp_path / 'data')]
    fit += ['--output', str(tmp_path / 'run'), '--trainer.max_epochs', '1', '--trainer.accelerator', 'cpu']
    fit += ['--model.risk.budgets', str(file), '--model.risk.costs', str(COSTS), '--metrics', 'none']
    assert train.main(fit) == 0
    provenance = read(tmp_path / 'run' / 'model.safetensors').provenance
    # No answer never; exit 1 with 0.3 s, exit 2 with 3 s, exit 3 with 30 s.
    assert provenance['budgets'].endswith('no answer and each exit: 0.000 0.500 0.333 0.167')
