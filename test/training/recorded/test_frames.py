"""training.recorded.frames: what is read from a bag of frame_status."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from recorded_bag import bag
from rosbags.rosbag2 import StoragePlugin

from impatient_ros.perception.frame_record import CONFIDENT, FrameRecord, Outcome
from training.recorded.frames import UNKNOWN, RecordedFrames, read_bag

RECORDS = [
    FrameRecord('front', 0, Outcome.infeasible, budget=0.001),
    FrameRecord('front', 1, Outcome.answered, exit_index=0, planned_exit_index=0, budget=0.02, slowdown=1.5,
                resolution=64),
    FrameRecord('front', 2, Outcome.infeasible, budget=-0.002),
    FrameRecord('front', 3, Outcome.superseded),
    FrameRecord('front', 4, Outcome.infeasible, budget=0.003, slowdown=2.5),
    FrameRecord('rear', 5, Outcome.late, exit_index=0, planned_exit_index=0, budget=0.2, slowdown=1.0,
                resolution=32),
    FrameRecord('front', 6, Outcome.answered, CONFIDENT, exit_index=0, planned_exit_index=0, budget=0.2,
                resolution=32, planned_resolution=64),
]  # fmt: skip
PATHS = [(32, 0), (64, 0)]


def frames(records: list[FrameRecord]) -> RecordedFrames:
    return RecordedFrames(tuple(records), Counter(), ('front',))


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_frames_with_a_budget_are_read_from_a_bag(plugin: StoragePlugin, tmp_path: Path) -> None:
    path = bag(tmp_path / 'drive', RECORDS, plugin)
    found = read_bag(path)
    np.testing.assert_allclose(found.budgets, [0.001, 0.02, 0, 0.003, 0.2, 0.2])
    assert [record.stamp for record in found.records] == [0, 1, 2, 4, 5, 6], 'of both cameras, in time'
    assert found.expired == 1
    assert found.cameras == ('front', 'rear')
    assert found.outcomes == {'answered': 2, 'infeasible': 3, 'superseded': 1, 'late': 1}
    assert len(read_bag(path, 'rear').records) == 1


def test_a_slowdown_that_the_node_did_not_know_is_that_of_the_frame_before() -> None:
    found = frames([record for record in RECORDS if record.budget is not None])
    # The first frame has no one before it; an infeasible one of a newer node says its own.
    assert found.slowdowns.tolist() == [1.5, 1.5, 1.5, 2.5, 1.0, 1.0]
    assert frames(RECORDS[:1]).slowdowns.tolist() == [1.0]


def test_answers_are_those_in_time_and_sure_ones_count_where_they_were_planned() -> None:
    found = frames([record for record in RECORDS if record.budget is not None])
    assert found.answers(PATHS).tolist() == [-1, 1, -1, -1, -1, 1]
    unknown = frames([FrameRecord('front', 0, Outcome.answered, budget=0.1)])
    assert unknown.answers(PATHS).tolist() == [UNKNOWN]


def test_of_one_resolution_older_nodes_did_not_say_which() -> None:
    old = frames([FrameRecord('front', 0, Outcome.answered, exit_index=1, budget=0.1)])
    assert old.answers([(32, 0), (32, 1)]).tolist() == [1]


def test_an_answer_from_a_path_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match='64 px, exit 1, which the checkpoint does not have'):
        frames([RECORDS[1]]).answers([(32, 0), (48, 0)])


def test_halves_are_the_first_and_the_second_in_time() -> None:
    first, second = frames(RECORDS[:5]).halves()
    assert [record.stamp for record in (*first.records, *second.records)] == [0, 1, 2, 3, 4]
    assert len(first.records) == 2
