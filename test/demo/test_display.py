"""What the demo shows, rendered to text."""

from io import StringIO

import pytest
from rich.console import Console

from impatient_ros.demo.display import DemoView, live_view, plain_line, plural, summary_table
from impatient_ros.demo.frame_log import FrameLog
from impatient_ros.perception.frame_record import FrameRecord, Outcome


def text_of(renderable, width=100):
    console = Console(file=StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture
def frame_log():
    """Ten frames: six answered, one of each other kind but dropped twice."""
    frame_log = FrameLog()
    ends = [
        *[(Outcome.answered, index, '') for index in (0, 1, 4, 4, 4, 4)],
        (Outcome.late, 2, ''),
        (Outcome.infeasible, None, ''),
        (Outcome.dropped, None, 'encoding'),
        (Outcome.dropped, None, 'data'),
    ]
    for number, (outcome, exit_index, reason) in enumerate(ends, 1):
        frame_log.add_frame(number, number, f'{number:02}-hat.jpg')
        slack = {Outcome.answered: 0.0123, Outcome.late: -0.004}.get(outcome)
        frame_log.add_status(
            number,
            FrameRecord('camera', 0.0, outcome, reason, exit_index, 4, exits=5, budget=0.05, slack=slack),
        )
        frame_log.add_answer(number, 'hat', 0.934)
    return frame_log


def test_a_line_says_label_confidence_exit_and_slack(frame_log):
    lines = [plain_line(row) for row in frame_log.latest(10)]
    assert lines[1] == 'frame 2  02-hat.jpg  hat 0.93  exit 2 of 5  slack +12.3 ms  of 50.0 ms'
    assert lines[6] == 'frame 7  07-hat.jpg  hat 0.93  exit 3 of 5  late  slack -4.0 ms  of 50.0 ms'
    assert lines[7] == 'frame 8  08-hat.jpg  infeasible  of 50.0 ms'
    assert lines[8] == 'frame 9  09-hat.jpg  dropped (encoding)  of 50.0 ms'


def test_the_screen_shows_frames_exits_counts_and_slack(frame_log):
    frame_log.add_frame(11, 11, '11-hat.jpg')
    view = DemoView('12 pictures', '/camera', 'replaying', 4.0, frame_log.latest(9), frame_log.summary())
    screen = text_of(live_view(view))
    line = next(line for line in screen.splitlines() if '02-hat.jpg' in line)
    for part in ('hat', '█████████▍ 0.93', '●●○○○ 2 of 5', '50.0 ms', '+12.3 ms'):
        assert part in line
    assert 'exit 5 of 5  ████████████████████  4' in screen
    assert 'exit 1 of 5  █████                 1' in screen
    counts = ' '.join(screen[screen.index('published') :].split())
    assert counts.startswith(
        'published 11 · answered 6 · late 1 · missed 0 · infeasible 1 · superseded 0 · dropped 2 '
        '· in progress 1'
    )
    assert 'slack p50 +12.3 ms · p99 -4.0 ms' in screen


def test_a_narrow_terminal_shows_whole_lines_without_the_pictures_names(frame_log):
    view = DemoView(
        '12 pictures', '/camera', 'replaying', 4.0, frame_log.latest(9), frame_log.summary(), width=80
    )
    line = next(line for line in text_of(live_view(view), width=80).splitlines() if line.startswith('     2'))
    assert line.split() == [
        '2',
        'hat',
        '█████████▍',
        '0.93',
        '●●○○○',
        '2',
        'of',
        '5',
        '50.0',
        'ms',
        '+12.3',
        'ms',
    ]


def test_a_frame_whose_answer_has_not_come_yet_is_shown_without_it():
    frame_log = FrameLog()
    frame_log.add_frame(1, 1)
    frame_log.add_status(1, FrameRecord('camera', 0.0, Outcome.answered, exit_index=0, exits=5))
    assert '…' in text_of(
        live_view(DemoView('bag', '/eye', 'replaying', 0.0, frame_log.latest(1), frame_log.summary()))
    )
    assert plain_line(frame_log.latest(1)[0]) == 'frame 1  (no label)  exit 1 of 5'


def test_while_the_node_starts_its_log_is_shown():
    view = DemoView(
        '12 pictures', '/camera', 'starting the perception node', 3.2, node_lines=['profiling: 40% stage 2']
    )
    screen = text_of(live_view(view))
    assert 'starting the perception node (3 s)' in screen
    assert 'profiling: 40% stage 2' in screen


def test_text_from_outside_is_never_taken_for_markup(frame_log):
    view = DemoView(
        '[bold]x[/nothing]',
        '/camera',
        'replaying',
        0,
        frame_log.latest(1),
        frame_log.summary(),
        ['[/red] broken'],
    )
    screen = text_of(live_view(view))
    assert '[bold]x[/nothing]' in screen
    assert '[/red] broken' in screen


def test_the_table_has_a_line_for_everything(frame_log):
    table = text_of(summary_table(frame_log.summary(), seconds=1.0))
    rows = {line.split('  ')[0].strip(): line.split() for line in table.splitlines() if line.strip()}
    assert 'frames published' in table
    assert '10.0 per second' in table
    assert rows['answered'][1:3] == ['6', '60.0%']
    assert 'exit 5 of 5' in table
    assert rows['late'][1] == '1'
    assert rows['missed'][1] == '0'
    assert rows['infeasible'][1] == '1'
    assert rows['superseded'][1] == '0'
    assert rows['dropped'][1] == '2'
    assert 'data: 1, encoding: 1' in table
    assert rows['not received'][2] == '0'
    assert '+12.3 ms' in rows['slack p50'] or '+12.3' in rows['slack p50']
    assert 'unaccounted' not in table
    assert 'unexpected' not in table


def test_a_frame_that_vanished_or_came_twice_is_in_the_table(frame_log):
    frame_log.add_frame(11, 11)
    frame_log.add_status(3, FrameRecord('camera', 0.0, Outcome.missed))
    table = text_of(summary_table(frame_log.summary(), seconds=1.0))
    assert 'unaccounted' in table
    assert 'unexpected' in table


def test_nothing_published_is_a_table_too():
    table = text_of(summary_table(FrameLog().summary(), seconds=0.0))
    assert 'frames published' in table
    assert '%' not in table


def test_counts_and_nouns_agree():
    assert [plural(count, 'frame') for count in (0, 1, 2)] == ['0 frames', '1 frame', '2 frames']
