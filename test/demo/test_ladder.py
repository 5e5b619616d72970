"""What paths cost end to end, and what a path would have taken for a frame that went another one."""

import numpy as np
import pytest
from demo.rows import LADDER, MS, record

from impatient_ros.demo.frame_log import FrameRow
from impatient_ros.demo.ladder import Ladder, PathCost
from impatient_ros.perception.frame_record import Outcome

CHEAPEST, SECOND, THIRD, DEAREST = LADDER.paths


def test_costs_are_counted_from_the_image_to_the_answer():
    assert LADDER.end_to_end(SECOND) == pytest.approx(0.005)
    assert LADDER.cost_range() == pytest.approx((0.004, 0.011))


def test_overhead_and_transport_are_the_medians_of_the_frames_that_were_answered_in_time():
    def row(elapsed, left, outcome=Outcome.answered):
        status = record(outcome, taken=1, planned=1, elapsed=elapsed, budget=left)
        return FrameRow(0, 1, '', deadline_ns=100 * MS, record=status)

    rows = [row(0.005, 0.099), row(0.006, 0.098), row(0.011, 0.09), row(9.0, 0.0, Outcome.late)]
    rows.append(FrameRow(0, 1, '', deadline_ns=100 * MS, record=record(Outcome.missed, budget=0.0)))
    measured = Ladder(LADDER.paths).measured(rows)
    assert measured.overhead == pytest.approx(0.004)  # 3, 4 and 9 ms besides the network's 2
    assert measured.transport == pytest.approx(0.002)
    assert measured.paths == LADDER.paths


def test_latencies_of_an_old_profile_are_corrected_by_what_the_node_has_learned():
    rows = [
        FrameRow(0, 1, '', record=record(taken=3, elapsed=elapsed, slowdown=slowdown))
        for elapsed, slowdown in ((0.006, 0.5), (0.0075, 0.5), (0.02, 2.0))
    ]
    measured = Ladder(LADDER.paths).measured(rows)
    assert [path.latency for path in measured.paths] == pytest.approx([0.0005, 0.001, 0.002, 0.004])
    assert measured.overhead == pytest.approx(0.0035)  # 2, 3.5 and 4 ms besides the network's
    quiet = record(Outcome.infeasible, slowdown=0.5, budget=0.001)
    assert measured.estimate(measured.paths[1], quiet, 0.001) == pytest.approx(0.0035 + 0.001)


def test_without_an_answer_in_time_nothing_is_measured():
    assert LADDER.measured([FrameRow(0, 1, '', record=record(Outcome.missed))]) == LADDER


def test_the_best_plain_network_is_the_one_that_is_right_in_time_most_often():
    # in time of 4 to 11 ms, drawn evenly: 100, 86, 57 and 0 %; right in time: 40, 51, 40 and 0 %
    assert LADDER.best_plain(np.linspace(0.004, 0.011, 1001)) == SECOND
    assert LADDER.best_plain([0.02]) == DEAREST
    assert LADDER.best_plain([0.0041]) == CHEAPEST
    assert LADDER.best_plain([0.001]) == DEAREST  # none is ever in time: the most accurate one


def test_a_path_is_found_by_resolution_and_exit():
    assert LADDER.find(160, 0) == THIRD
    assert LADDER.find(160, 1) is None
    assert LADDER.find(161, 0) is None
    assert LADDER.taken(record(Outcome.missed)) is None
    old = Ladder((PathCost(224, 0, 0.1, 0.5), PathCost(224, 1, 0.2, 0.6)))
    assert old.find(None, 1) == old.paths[1]  # statuses of one resolution need not name it


@pytest.mark.parametrize(
    ('paths', 'words'),
    [
        ([(96, 0), (224, 0)], ['96 px', '224 px']),
        ([(224, 0), (224, 1)], ['exit 1 of 2', 'exit 2 of 2']),
        ([(96, 0), (224, 1)], ['96 px, exit 1 of 2', '224 px, exit 2 of 2']),
        ([(224, 0)], ['exit 1 of 1']),
    ],
)
def test_a_path_is_named_by_what_not_all_have_in_common(paths, words):
    ladder = Ladder(tuple(PathCost(*path, latency=0.1, accuracy=0.5) for path in paths))
    assert [ladder.text(path) for path in ladder.paths] == words
    assert ladder.text(None) == ''


def test_the_estimate_for_the_path_that_was_taken_is_what_it_took():
    status = record(taken=1, planned=1, elapsed=0.0055, budget=0.008)
    # 2 ms until the pick-up, 5.5 ms in the node
    assert LADDER.estimate(SECOND, status, budget=0.010) == pytest.approx(0.0075)


def test_the_estimate_charges_this_frames_transport_and_slowdown():
    status = record(
        taken=0, planned=0, elapsed=0.006, budget=0.017
    )  # twice the 3 ms that it takes when it is quiet
    assert LADDER.estimate(DEAREST, status, budget=0.020) == pytest.approx(0.003 + 2 * 0.010)


def test_where_another_path_answered_than_was_planned_the_forecast_slowdown_is_charged():
    """It went both, and its time says nothing of either."""
    status = record(taken=0, planned=2, elapsed=0.012, slowdown=1.5, budget=0.012)
    assert LADDER.estimate(SECOND, status, budget=0.013) == pytest.approx(0.001 + 1.5 * 0.004)


def test_without_an_answer_the_forecast_slowdown_is_charged():
    status = record(Outcome.infeasible, slowdown=3.0, budget=0.001)
    assert LADDER.estimate(CHEAPEST, status, budget=0.003) == pytest.approx(0.002 + 3 * 0.003)
    unknown = record(Outcome.superseded, slowdown=1.0)
    assert LADDER.estimate(CHEAPEST, unknown, budget=0.003) == pytest.approx(LADDER.end_to_end(CHEAPEST))


def test_where_the_planned_path_was_not_there_by_the_deadline_no_dearer_one_would_have_been():
    status = record(Outcome.missed, planned=1, slowdown=1.0, budget=0.006)  # quiet it takes 4 ms
    assert LADDER.estimate(SECOND, status, budget=0.007) >= 0.007
    assert LADDER.estimate(THIRD, status, budget=0.007) > 0.007
    assert LADDER.estimate(CHEAPEST, status, budget=0.007) < 0.007
