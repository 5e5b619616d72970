"""Alerts come up and settle with hysteresis, and are announced once."""

import logging

import pytest

from impatient_ros.perception.alerts import CAMERA_ALERTS, Alert, Alerts, CameraSituation
from impatient_ros.perception.frame_record import ARRIVED_LATE, FrameRecord, Outcome
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.transport_advice import Transport


class Clock:
    time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def monitor(clock):
    return Monitor(['front'], window=10.0, now=clock)


def add(monitor, count, outcome=Outcome.answered, **values):
    for _ in range(count):
        monitor.record(FrameRecord(camera='front', stamp=1.0, outcome=outcome, **values))


def situation(monitor):
    statistics = monitor.snapshot().cameras['front']
    return CameraSituation(
        statistics, '/front/image_raw', statistics.silent, 10.0, Transport(), message_bytes=921_600
    )


def alert(*, level=logging.WARNING, measure=lambda s: s, raise_at=1, settle_below=1, text):
    return Alert(level=level, measure=measure, raise_at=raise_at, settle_below=settle_below, text=text)


def texts(lines):
    return [line.text for line in lines]


def test_an_alert_stays_until_it_is_clearly_settled():
    alerts = Alerts([alert(raise_at=0.5, settle_below=0.1, text=lambda s: f'at {s}')])
    told = [texts(alerts.update(measure)[1]) for measure in (0.4, 0.5, 0.4, 0.6, 0.1, 0.09, 0.4, 0.7)]
    assert told == [[], ['at 0.5'], [], [], [], ['fine again'], [], ['at 0.7']]


def test_what_is_raised_is_said_with_its_present_figures():
    alerts = Alerts([alert(raise_at=0.5, settle_below=0.1, text=lambda s: f'at {s}')])
    alerts.update(0.5)
    assert texts(alerts.update(0.3)[0]) == ['at 0.3']


def test_all_is_fine_only_when_nothing_is_raised_any_more():
    first = alert(measure=lambda s: s[0], text=lambda s: 'first')
    second = alert(level=logging.ERROR, measure=lambda s: s[1], text=lambda s: 'second')
    alerts = Alerts([first, second])
    raised, news = alerts.update((1, 1))
    assert texts(raised) == ['second', 'first']  # the worst first
    assert texts(news) == ['first', 'second']
    assert texts(alerts.update((1, 0))[1]) == []
    assert texts(alerts.update((0, 0))[1]) == ['fine again']


def test_a_camera_that_does_well_raises_nothing(monitor):
    add(monitor, 100)
    assert Alerts(CAMERA_ALERTS).update(situation(monitor)) == ([], [])


def test_silence_is_an_error_that_names_the_topic(monitor, clock):
    alerts = Alerts(CAMERA_ALERTS)
    add(monitor, 10)
    clock.time += 2.9
    assert alerts.update(situation(monitor))[0] == []
    clock.time += 1.1
    ((error,), news) = alerts.update(situation(monitor))
    assert error.level == logging.ERROR
    assert 'no frame on /front/image_raw for 4 s' in error.text
    assert news == [error]
    clock.time += 5.0
    assert alerts.update(situation(monitor))[1] == []
    add(monitor, 1)
    assert texts(alerts.update(situation(monitor))[1]) == ['fine again']


def test_that_not_even_the_cheapest_path_fits_is_said_once_and_not_for_single_frames(monitor, clock):
    alerts = Alerts(CAMERA_ALERTS)
    add(monitor, 1, Outcome.infeasible)
    assert alerts.update(situation(monitor)) == ([], [])
    said = []
    for _ in range(30):  # 3 s of infeasible frames at 10 Hz, looked at every time
        clock.time += 0.1
        add(monitor, 1, Outcome.infeasible)
        said += texts(alerts.update(situation(monitor))[1])
    assert len(said) == 1
    assert 'not even the cheapest path fits: ' in said[0]
    for index in range(400):  # every fifth frame infeasible: neither here nor there
        clock.time += 0.1
        add(monitor, 1, Outcome.answered if index % 5 else Outcome.infeasible)
        said += texts(alerts.update(situation(monitor))[1])
    assert len(said) == 1
    for _ in range(110):
        clock.time += 0.1
        add(monitor, 1)
        said += texts(alerts.update(situation(monitor))[1])
    assert said[1:] == ['fine again']


def test_many_frames_not_received_are_told_with_what_to_do(monitor, clock):
    alerts = Alerts(CAMERA_ALERTS)
    add(monitor, 93)
    monitor.not_received('front', 7)
    ((warning,), _) = alerts.update(situation(monitor))
    assert warning.level == logging.WARNING
    assert '7 of 100 frames of /front/image_raw were published and not received in 10 s' in warning.text
    assert 'export FASTRTPS_DEFAULT_PROFILES_FILE=config/fastdds.xml' in warning.text
    clock.time += 10.5
    add(monitor, 10)
    assert texts(alerts.update(situation(monitor))[1]) == ['fine again']


@pytest.mark.parametrize(('lost', 'received'), [(4, 96), (9, 10)])
def test_a_few_lost_frames_are_counted_and_nothing_more(monitor, lost, received):
    add(monitor, received)
    monitor.not_received('front', lost)
    assert Alerts(CAMERA_ALERTS).update(situation(monitor)) == ([], [])


def test_frames_that_arrive_after_their_deadline_are_called_that(monitor):
    add(monitor, 10, Outcome.infeasible, reason=ARRIVED_LATE)
    add(monitor, 5)
    ((warning,), _) = Alerts(CAMERA_ALERTS).update(situation(monitor))
    assert warning.text.startswith('10 of 15 frames arrived after their deadline')
    assert 'budget.*' in warning.text
    assert 'cheapest' not in warning.text


@pytest.mark.parametrize(
    ('records', 'text'),
    [
        ((30, Outcome.missed, {}), '30 of 30 frames had no answer by their deadline; give them more time'),
        ((30, Outcome.late, {}), '30 of 30 frames had no answer'),
        (
            (2, Outcome.dropped, {'reason': 'truncated'}),
            'frames that cannot be used: 2 truncated; the driver or the link',
        ),
        (
            (3, Outcome.answered, {'fault': 'zero_stamp'}),
            'input faults: 3 zero_stamp; the arrival stands in for the stamp: let the driver stamp',
        ),
        ((3, Outcome.answered, {'fault': 'future_stamp'}), 'synchronise the machines'),
        ((3, Outcome.answered, {'fault': 'stale_stamp'}), 'raise budget.stale_after'),
        ((3, Outcome.answered, {'fault': 'no_deadline'}), 'announce one ahead of time'),
    ],
)
def test_what_went_wrong_in_the_window_is_said_with_numbers(monitor, records, text):
    count, outcome, values = records
    add(monitor, count, outcome, **values)
    ((warning,), _) = Alerts(CAMERA_ALERTS).update(situation(monitor))
    assert warning.level == logging.WARNING
    assert text in warning.text


@pytest.mark.parametrize(
    'records',
    [
        (1000, Outcome.superseded, {}),  # normal with a camera faster than the network
        (5, Outcome.dropped, {'reason': 'deactivated'}),
        (19, Outcome.missed, {}),  # too few to tell
    ],
)
def test_what_is_normal_raises_nothing(monitor, records):
    count, outcome, values = records
    add(monitor, count, outcome, **values)
    assert Alerts(CAMERA_ALERTS).update(situation(monitor)) == ([], [])
