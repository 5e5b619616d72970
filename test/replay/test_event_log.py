"""The event log between the replay camera and the demo."""

import io
import os

from impatient_ros.replay.event_log import EventLog, read_events


def test_what_is_written_is_read():
    file, seen = io.StringIO(), []
    event_log = EventLog(file)
    event_log.write('frame', number=1, stamp_ns=1_700_000_000_123_456_789, name='Ä "quoted"\n.jpg')
    event_log.write('done', published=1)
    read_events(file.getvalue().splitlines(), seen.append)
    assert seen == [
        {'event': 'frame', 'number': 1, 'stamp_ns': 1_700_000_000_123_456_789, 'name': 'Ä "quoted"\n.jpg'},
        {'event': 'done', 'published': 1},
    ]


def test_other_output_in_between_is_skipped():
    seen = []
    lines = [
        'Corrupt JPEG data\n',
        '3\n',
        '{"no": "event"}\n',
        '{"event": 5}\n',
        '{"event": "done"}\n',
        '{"ev',
    ]
    read_events(lines, seen.append)
    assert seen == [{'event': 'done'}]


def test_a_reader_that_has_gone_is_noticed_once():
    gone = []
    reading, writing = os.pipe()
    os.close(reading)
    file = os.fdopen(writing, 'w')
    event_log = EventLog(file, on_closed=lambda: gone.append(1))
    event_log.write('frame')
    event_log.write('frame')
    assert gone == [1]
    try:
        file.close()
    except BrokenPipeError:
        pass


def test_an_event_log_for_nobody_is_silent():
    EventLog(None).write('frame')
