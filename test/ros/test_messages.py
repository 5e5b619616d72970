"""The published messages say what the records and answers say, and are read back."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import rclpy.time
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from impatient_ros.perception.diagnostics import Status
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.settings import TRANSPORTS
from impatient_ros.ros.image_intake import MESSAGE_TYPES, READERS
from impatient_ros.ros.messages import (
    classification,
    diagnostics_message,
    frame_status,
    image_message,
    label_info,
    nanoseconds,
    parse_frame_status,
)

HEADER = Header(stamp=Time(sec=1_764_000_000, nanosec=123_456_789), frame_id='camera_optical')
LABELS = ('shirt', 'shoe', 'hat')

pytestmark = pytest.mark.ros


def record(outcome=Outcome.answered, reason='', **values):
    return FrameRecord(camera='front', stamp=1.0, outcome=outcome, reason=reason, **values)


def test_the_results_are_sorted_labels_with_the_images_header():
    message = classification(HEADER, LABELS, np.array([0.2, 0.7, 0.1]), top_k=5)
    assert message.header == HEADER
    assert [(result.class_id, result.score) for result in message.results] == [
        ('shoe', 0.7),
        ('shirt', 0.2),
        ('hat', 0.1),
    ]


def test_top_k_limits_the_results():
    assert len(classification(HEADER, LABELS, [0.2, 0.7, 0.1], top_k=2).results) == 2


def test_of_equal_scores_the_first_class_comes_first():
    message = classification(HEADER, LABELS, [0.25, 0.5, 0.25], top_k=3)
    assert [result.class_id for result in message.results] == ['shoe', 'shirt', 'hat']


def test_no_probabilities_are_no_results():
    assert list(classification(HEADER, LABELS, (), top_k=5).results) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 40))
def test_the_results_are_the_best_in_order(probabilities, top_k):
    labels = [str(index) for index in range(len(probabilities))]
    message = classification(HEADER, labels, probabilities, top_k)
    scores = [result.score for result in message.results]
    assert scores == sorted(probabilities, reverse=True)[:top_k]
    assert all(probabilities[int(result.class_id)] == result.score for result in message.results)


def test_label_info_maps_indices_to_the_same_texts():
    message = label_info(LABELS, HEADER.stamp)
    assert message.header.stamp == HEADER.stamp
    assert [(each.class_id, each.class_name) for each in message.class_map] == list(enumerate(LABELS))


@given(st.integers(0, 2**31 * 1_000_000_000 - 1))
def test_stamps_are_whole_nanoseconds_both_ways(instant):
    assert nanoseconds(rclpy.time.Time(nanoseconds=instant).to_msg()) == instant


def test_frame_status_carries_header_camera_and_name():
    message = frame_status(HEADER, record(exit_index=1, exits=5, slack=0.0123), 'eyes')
    assert message.header == HEADER
    (status,) = message.status
    assert (status.name, status.hardware_id) == ('eyes: front', 'front')
    assert status.message == 'answered (exit 2 of 5), 12.3 ms to spare'


def test_the_message_says_the_path_and_that_an_answer_is_unknown():
    unknown = record(resolution=160, resolutions=6, exit_index=0, exits=1, slack=0.004, unknown=True)
    assert frame_status(HEADER, unknown).status[0].message == 'answered (160 px), unknown, 4.0 ms to spare'


@pytest.mark.parametrize(
    ('outcome', 'fault', 'level'),
    [
        (Outcome.answered, None, DiagnosticStatus.OK),
        (Outcome.answered, 'zero_stamp', DiagnosticStatus.WARN),
        (Outcome.answered, 'no_deadline', DiagnosticStatus.WARN),
        (Outcome.infeasible, None, DiagnosticStatus.WARN),
        (Outcome.superseded, None, DiagnosticStatus.WARN),
        (Outcome.dropped, None, DiagnosticStatus.WARN),
        (Outcome.late, None, DiagnosticStatus.ERROR),
        (Outcome.missed, None, DiagnosticStatus.ERROR),
        (Outcome.missed, 'no_deadline', DiagnosticStatus.ERROR),
    ],
)
def test_no_answer_in_time_is_an_error_and_other_trouble_a_warning(outcome, fault, level):
    assert frame_status(HEADER, record(outcome, fault=fault)).status[0].level == level


def test_the_message_says_what_went_wrong():
    missed = record(Outcome.missed, 'no exit was ready', slack=-0.004, exits=5, fault='no_deadline')
    text = frame_status(HEADER, missed).status[0].message
    assert text == 'missed, 4.0 ms too late, no exit was ready, no_deadline'


seconds = st.one_of(st.none(), st.floats(-1e3, 1e3))
texts = st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=20)
indices = st.one_of(st.none(), st.integers(0, 99))


@given(
    st.integers(0, 2**31 * 1_000_000_000 - 1),
    st.builds(
        FrameRecord,
        camera=texts,
        stamp=st.just(0.0),
        outcome=st.sampled_from(list(Outcome)),
        reason=texts,
        exit_index=indices,
        planned_exit_index=indices,
        exits=st.integers(0, 99),
        resolution=indices,
        planned_resolution=indices,
        resolutions=st.integers(0, 99),
        unknown=st.booleans(),
        budget=seconds,
        elapsed=seconds,
        slack=seconds,
        slowdown=st.floats(0.1, 10),
        superseded=st.integers(0, 10**6),
        fault=st.one_of(st.none(), st.sampled_from(['zero_stamp', 'no_deadline'])),
    ),
)
def test_a_frame_status_is_read_back_as_the_record_it_was_made_from(instant, made):
    header = Header(stamp=rclpy.time.Time(nanoseconds=instant).to_msg())
    sent = serialize_message(frame_status(header, made))
    found = parse_frame_status(deserialize_message(sent, DiagnosticArray))
    assert found == replace(made, stamp=instant * 1e-9)


def test_other_diagnostics_are_no_frame_status():
    with pytest.raises(ValueError, match='0 entries'):
        parse_frame_status(DiagnosticArray())
    with pytest.raises(ValueError, match="'outcome' is missing"):
        parse_frame_status(DiagnosticArray(status=[DiagnosticStatus(name='cpu')]))


def test_the_report_of_every_second_has_a_level_for_each_severity():
    reports = [
        Status(f'perception: {severity}', severity, 'text', {'rate_hz': '9.5'}, 'front')
        for severity in (logging.INFO, logging.WARNING, logging.ERROR)
    ]
    message = diagnostics_message(reports, Time(sec=7))
    assert message.header.stamp == Time(sec=7)
    assert [status.level for status in message.status] == [
        DiagnosticStatus.OK,
        DiagnosticStatus.WARN,
        DiagnosticStatus.ERROR,
    ]
    first = message.status[0]
    assert (first.name, first.message, first.hardware_id) == ('perception: 20', 'text', 'front')
    assert [(pair.key, pair.value) for pair in first.values] == [('rate_hz', '9.5')]


def test_an_image_message_holds_the_picture():
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    message = image_message(rgb, HEADER)
    assert (message.height, message.width, message.step, message.encoding) == (4, 6, 18, 'rgb8')
    assert message.header == HEADER
    assert np.array_equal(np.frombuffer(message.data, np.uint8).reshape(4, 6, 3), rgb)


def test_a_view_that_is_not_contiguous_is_copied_in_order():
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[::2, ::-1]
    assert bytes(image_message(rgb, HEADER).data) == rgb.tobytes()


def test_every_transport_that_can_be_set_has_a_message_and_a_reader():
    assert tuple(MESSAGE_TYPES) == TRANSPORTS
    assert set(MESSAGE_TYPES.values()) == set(READERS)
