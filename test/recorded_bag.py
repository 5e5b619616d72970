"""Bags of frame_status for tests: written as `ros2 bag record` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from impatient_ros.perception.frame_record import FrameRecord, Outcome
from training.recorded.frames import TYPE

STORE = get_typestore(Stores.ROS2_JAZZY)


def message(record: FrameRecord) -> bytes:
    t = STORE.types
    header = t['std_msgs/msg/Header'](t['builtin_interfaces/msg/Time'](int(record.stamp), 0), 'camera')
    values = [t['diagnostic_msgs/msg/KeyValue'](k, v) for k, v in record.to_values().items()]
    status = t['diagnostic_msgs/msg/DiagnosticStatus'](0, 'frame', '', record.camera, values)
    return STORE.serialize_cdr(t[TYPE](header, [status]), TYPE)


def bag(path: Path, records: Sequence[FrameRecord], plugin: StoragePlugin = StoragePlugin.MCAP) -> Path:
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        topics: dict[str, object] = {}
        for number, record in enumerate(records):
            topic = f'/perception/{record.camera}/frame_status'
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, TYPE, typestore=STORE)
            writer.write(topics[topic], number, message(record))  # type: ignore[arg-type]
    return path


def drive(
    count: int,
    *,
    paths: Sequence[tuple[int, int]],
    costs: Sequence[float],
    overhead: float = 0.0,
    slowdown: float = 1.0,
    spread: float = 0.0,
    highest: float = 0.05,
    seed: int = 0,
) -> list[FrameRecord]:
    """Frames of a robot of which everything is known: the dearest path answers whose cost and overhead fit
    the budget, `slowdown` times as much as they are, give or take `spread` (logarithm).
    """
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        budget, slow = random.uniform(0, highest), slowdown * np.exp(0.1 * np.sin(number / 50))
        factor = np.exp(random.logistic(0, spread)) if spread else 1.0
        fitting = [k for k, c in enumerate(costs) if factor * slow * (overhead + c) <= budget]
        side, exit_index = paths[fitting[-1]] if fitting else (None, None)
        found.append(
            FrameRecord(
                'front',
                float(number),
                Outcome.answered if fitting else Outcome.missed,
                exit_index=exit_index,
                planned_exit_index=0,
                exits=1,
                budget=float(budget),
                slowdown=float(slow),
                resolution=side,
                planned_resolution=paths[0][0],
                resolutions=len(paths),
            )
        )
    return found
