"""The ledger between the replay camera and the demo."""

import io
import os

from impatient_ros.replay.event_log import Ledger, read_ledger


def test_what_is_entered_is_read():
    file, seen = io.StringIO(), []
    ledger = Ledger(file)
    ledger.enter('frame', number=1, stamp_ns=1_700_000_000_123_456_789, name='Ä "quoted"\n.jpg')
    ledger.enter('done', published=1)
    read_ledger(file.getvalue().splitlines(), seen.append)
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
    read_ledger(lines, seen.append)
    assert seen == [{'event': 'done'}]


def test_a_reader_that_has_gone_is_noticed_once():
    gone = []
    reading, writing = os.pipe()
    os.close(reading)
    file = os.fdopen(writing, 'w')
    ledger = Ledger(file, on_closed=lambda: gone.append(1))
    ledger.enter('frame')
    ledger.enter('frame')
    assert gone == [1]
    try:
        file.close()
    except BrokenPipeError:
        pass


def test_a_ledger_for_nobody_is_silent():
    Ledger(None).enter('frame')
