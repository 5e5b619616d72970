"""The reports of every second: a status per camera and one for the model."""

import logging

import pytest

from impatient_ros.perception.diagnostics import Diagnostics, Feed
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.model_state import ModelState
from impatient_ros.perception.monitor import Monitor
from impatient_ros.perception.thread_priority import RealTimeState
from impatient_ros.planning.overrun_control import OverrunState

FEEDS = {'front': Feed('/front/image_raw', 921_600), 'rear': Feed('/rear/image_raw')}
ACTIVE = ModelState(
    'active',
    active_for=60.0,
    model='clothing10',
    device='cpu',
    runtime='eager',
    precision='f32',
    mode='contract',
    resolutions=(96, 160),
    exits=3,
    reserve=0.0021,
    prediction_error=0.1,
    overruns={'front': OverrunState(1.25, 40, 2)},
)


class Clock:
    time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def monitor(clock):
    monitor = Monitor(FEEDS, window=10.0, now=clock)
    for camera in FEEDS:
        for index in range(20):
            monitor.record(
                FrameRecord(
                    camera=camera,
                    stamp=1.0,
                    outcome=Outcome.answered,
                    exit_index=index % 2,
                    planned_exit_index=index % 2,
                    exits=3,
                    slack=0.01,
                    slowdown=1.25,
                    overrun=index == 3,
                )
            )
    return monitor


def by_name(statuses):
    return {status.name: status for status in statuses}


def report(monitor, model=ACTIVE, diagnostics=None):
    return (diagnostics or Diagnostics('perception')).build(monitor.snapshot(), model, FEEDS)


@pytest.fixture
def said(caplog):
    """What has been logged so far, as (level, text)."""
    caplog.set_level(logging.INFO, 'impatient_ros')
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def test_there_is_a_status_per_camera_and_one_for_the_model(monitor, said):
    found = report(monitor)
    assert list(by_name(found)) == ['perception: front', 'perception: rear', 'perception: model']
    assert all(status.level == logging.INFO for status in found)
    assert [status.hardware_id for status in found] == ['front', 'rear', 'cpu']
    assert said() == []


def test_a_camera_tells_rate_exits_slack_misses_slowdown_faults_and_losses(monitor, clock):
    monitor.record(FrameRecord('front', 1.0, Outcome.missed, 'none ready', fault='zero_stamp', slowdown=1.5))
    monitor.record(FrameRecord('front', 1.0, Outcome.dropped, 'truncated'))
    monitor.not_received('front', 4)  # 4 of 26
    clock.time += 2.0
    status = by_name(report(monitor))['perception: front']
    told = status.values
    assert told['rate_hz'] == '11.00'
    assert told['paths_used'] == 'exit 1 of 3: 10; exit 2 of 3: 10'
    assert told['unknown_answers'] == '0'
    assert told['slack_p50_s'] == told['slack_min_s'] == '0.01'
    assert float(told['miss_rate']) == pytest.approx(1 / 21, rel=1e-4)
    assert told['overrun_rate'] == '0.05'
    assert told['slowdown'] == '1.5'
    assert (told['answered'], told['missed'], told['dropped'], told['frames']) == ('20', '1', '1', '22')
    assert (told['input_faults'], told['input_faults.zero_stamp']) == ('1', '1')
    assert told['dropped.truncated'] == '1'
    assert told['not_received'] == '4'
    assert told['topic'] == '/front/image_raw'
    assert status.level == logging.WARNING
    for part in ('not received', 'truncated', 'zero_stamp'):
        assert part in status.text


def test_a_camera_tells_which_paths_were_used_the_lowest_resolution_first(clock):
    monitor = Monitor(FEEDS, now=clock)
    several = {'resolutions': 2, 'exits': 2}
    for resolution, exit_index in ((160, 0), (96, 1), (160, 0), (96, 0), (1024, 0)):
        monitor.record(
            FrameRecord(
                'front', 1.0, Outcome.answered, resolution=resolution, exit_index=exit_index, **several
            )
        )
    told = by_name(report(monitor))['perception: front'].values
    assert told['paths_used'] == (
        '96 px, exit 1 of 2: 1; 96 px, exit 2 of 2: 1; 160 px, exit 1 of 2: 2; 1024 px, exit 1 of 2: 1'
    )


def test_a_camera_counts_unknown_answers_since_the_reset(clock):
    monitor = Monitor(FEEDS, now=clock)
    for unknown in (True, False, True):
        monitor.record(FrameRecord('front', 1.0, Outcome.answered, exit_index=0, unknown=unknown))
    clock.time += 100.0
    assert by_name(report(monitor))['perception: front'].values['unknown_answers'] == '2'
    monitor.reset()
    assert by_name(report(monitor))['perception: front'].values['unknown_answers'] == '0'


def test_a_camera_tells_how_its_own_miss_rate_is_held(monitor):
    front, rear, _ = (status.values for status in report(monitor))
    assert (front['overrun_margin'], front['protected_exits']) == ('1.25', '40')
    assert front['protected_overrun_rate'] == '0.05'
    assert (rear['overrun_margin'], rear['protected_exits'], rear['protected_overrun_rate']) == ('', '0', '')


def test_a_camera_that_has_answered_nothing_yet_has_empty_values():
    status = by_name(report(Monitor(FEEDS)))['perception: front']
    told = status.values
    assert told['miss_rate'] == told['slack_p50_s'] == told['slowdown'] == ''
    assert told['paths_used'] == ''


def test_the_model_tells_what_runs_where(monitor):
    status = by_name(report(monitor))['perception: model']
    assert status.text == 'eager on cpu, f32, contract'
    told = status.values
    assert (told['model'], told['precision']) == ('clothing10', 'f32')
    assert (told['resolutions'], told['exits']) == ('96 160', '3')
    assert told['reserve_s'] == '0.0021'
    assert told['prediction_error'] == '0.1'


def test_the_model_tells_how_it_is_scheduled_and_why_not_as_was_asked_for(monitor, said):
    diagnostics = Diagnostics('perception')
    good = ModelState('active', exits=3, scheduling=RealTimeState(10, 4, 1, 0.25))
    status = by_name(report(monitor, good, diagnostics))['perception: model']
    assert status.level == logging.INFO
    keys = ('realtime_priority', 'realtime_threads', 'busiest_core', 'busiest_core_share')
    assert [status.values[key] for key in keys] == ['10', '4', '1', '0.25']
    given_up = ModelState('active', exits=3, scheduling=RealTimeState(problem='it was given up'))
    for _ in range(3):
        status = by_name(report(monitor, given_up, diagnostics))['perception: model']
        assert (status.level, status.text) == (logging.WARNING, 'it was given up')
        assert status.values['realtime_priority'] == '0'
    assert said() == [('WARNING', 'model: it was given up')]


def test_a_silent_camera_is_an_error_once_the_node_has_been_active_long_enough(monitor, clock, said):
    clock.time += 60.0
    fresh = ModelState('active', active_for=1.0, exits=3)
    assert by_name(report(monitor, fresh))['perception: front'].level == logging.INFO
    found = report(monitor)
    assert by_name(found)['perception: front'].level == logging.ERROR
    expected = [('ERROR', f'{camera}: no frame on {feed.topic} for 60 s') for camera, feed in FEEDS.items()]
    assert [(level, text.partition(':  ')[0].split(': is')[0]) for level, text in said()] == expected


def test_nothing_is_wrong_with_cameras_while_the_node_is_inactive(monitor, clock, said):
    clock.time += 60.0
    diagnostics = Diagnostics('perception')
    report(monitor, diagnostics=diagnostics)
    before = said()
    found = report(monitor, ModelState('inactive'), diagnostics)
    assert {status.text for status in found} == {'inactive'}
    assert {status.level for status in found} == {logging.INFO}
    assert said() == before


def test_a_slow_machine_is_announced_once_and_when_it_recovers(monitor, said):
    diagnostics = Diagnostics('perception')
    for slowdown in (1.4, 1.6, 1.3, 1.6, 1.2, 1.4):
        report(monitor, ModelState('active', exits=3, slowdown=slowdown), diagnostics)
    (raised, settled) = said()
    assert raised[0] == 'WARNING'
    assert '1.6 times slower than its profile' in raised[1]
    assert settled == ('INFO', 'model: fine again')


def test_a_camera_that_the_monitor_does_not_know_yet_is_listed(clock):
    found = Diagnostics('p').build(Monitor(now=clock).snapshot(), ACTIVE, {'new': Feed('/new')})
    assert list(by_name(found)) == ['p: new', 'p: model']
