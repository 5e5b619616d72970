"""What the demo shows, rendered to text."""

from dataclasses import replace
from io import StringIO

import pytest
from demo.rows import LADDER, MS, record
from rich.cells import cell_len
from rich.console import Console

from impatient_ros.demo.display import (
    DemoView,
    Setting,
    live_view,
    plain_line,
    plural,
    result_line,
    summary_table,
)
from impatient_ros.demo.frame_log import FrameLog
from impatient_ros.demo.plain_network import PlainNetwork
from impatient_ros.perception.frame_record import Outcome

SETTING = Setting(LADDER, (0.004, 0.011), LADDER.paths[1], 'tiny, 1 thread')


def text_of(renderable, width=100):
    console = Console(file=StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture
def frame_log():
    """Ten frames of 8 ms: six answered, four of them right, one of each other kind but dropped twice."""
    frame_log = FrameLog(PlainNetwork(LADDER, LADDER.paths[1], {'07-hat.jpg': 'hat', '02-hat.jpg': 'hat'}))
    ends = [
        *[(Outcome.answered, path, '') for path in (0, 1, 2, 2, 3, 3)],
        (Outcome.late, 1, ''),
        (Outcome.infeasible, None, ''),
        (Outcome.dropped, None, 'encoding'),
        (Outcome.dropped, None, 'data'),
    ]
    for number, (outcome, path, reason) in enumerate(ends, 1):
        frame_log.add_frame(
            number * 100 * MS,
            number,
            f'{number:02}-hat.jpg',
            deadline_ns=(number * 100 + 8) * MS,
            truth='hat',
            loaded=number > 6,
        )
        slack = {Outcome.answered: 0.0023, Outcome.late: -0.004}.get(outcome)
        elapsed = None if slack is None else 0.007 - slack
        status = record(
            outcome,
            path,
            2 if number == 2 else path,
            reason=reason,
            budget=0.007,
            slack=slack,
            elapsed=elapsed,
            slowdown=1.0,
        )
        frame_log.add_status(number * 100 * MS, status)
        frame_log.add_answer(number * 100 * MS, 'hat' if number != 1 else 'shoes', 0.934)
    return frame_log


def view_of(frame_log, width, **values):
    return DemoView(
        '12 pictures',
        '/camera',
        'replaying',
        4.0,
        SETTING,
        rows=frame_log.latest(10),
        summary=frame_log.summary(),
        width=width,
        **values,
    )


def test_a_line_says_answer_path_slack_and_what_the_plain_network_made_of_it(frame_log):
    lines = [plain_line(row, SETTING) for row in frame_log.latest(10)]
    assert lines[0].startswith('frame 1  01-hat.jpg  shoes 0.93  wrong  96 px  slack +2.3 ms  of 8.0 ms')
    assert lines[1] == (
        'frame 2  02-hat.jpg  hat 0.93  right  128 px  slack +2.3 ms  of 8.0 ms  plain: right'
    )
    assert lines[6] == (
        'frame 7  07-hat.jpg  hat 0.93  right  128 px  late  slack -4.0 ms  of 8.0 ms  plain: late'
    )
    assert lines[7] == 'frame 8  08-hat.jpg  infeasible  of 8.0 ms  plain: in time'
    assert lines[8] == 'frame 9  09-hat.jpg  dropped (encoding)  of 8.0 ms  plain: in time'


def test_a_wide_screen_shows_everything_of_a_frame(frame_log):
    screen = text_of(live_view(view_of(frame_log, 200)), 200)
    line = next(line for line in screen.splitlines() if '02-hat.jpg' in line)
    # budget: 8 ms fill the bar, 5.7 of them were used
    for part in ('██████████████░░░░░░', '8.0', '160 px   128 px  ·●○·', 'hat', '✓', '0.93', '+2.3 ms'):
        assert part in line
    assert line.rstrip().endswith('✓      hat')  # and what the plain network says


@pytest.mark.parametrize('width', [60, 80, 120, 200])
def test_no_line_of_the_table_is_broken_or_wider_than_the_screen(frame_log, width):
    screen = text_of(live_view(view_of(frame_log, width)), width)
    lines = [line for line in screen.splitlines() if '8.0 ' in line and ('█' in line or '░' in line)]
    assert len(lines) == 10
    assert all(cell_len(line) <= width for line in lines)
    second = lines[1]
    for part in ('128 px', 'hat', '✓'):
        assert part in second
    assert 'late' in lines[6]


def test_a_narrow_screen_shows_budget_path_ladder_answer_and_both_verdicts(frame_log):
    screen = text_of(live_view(view_of(frame_log, 60)), 60)
    line = next(line for line in screen.splitlines() if '·●○·' in line)
    assert line.split() == ['██████░░', '8.0', '128', 'px', '·●○·', 'hat', '✓', '✓']


def test_the_screen_says_how_it_is_measured_and_how_both_networks_do(frame_log):
    frame_log.add_frame(11, 11, '11-hat.jpg', truth='hat')
    screen = text_of(live_view(view_of(frame_log, 160, load='LOADED: busy')), 160)
    assert (
        'tiny, 1 thread; budgets 4.0 to 11.0 ms from image to answer, 3.0 ms of it not the network' in screen
    )
    assert 'impatient     █████████▏            5 of 11' in screen
    assert 'plain 128 px  █▉                    1 of 11  estimated' in screen
    assert '160 px  ████████████████████  2' in screen
    assert '96 px   ██████████            1' in screen
    assert 'published 11 · answered 6 · late 1 · infeasible 1 · dropped 2 · in progress 1' in screen
    assert 'slack p50 +2.3 ms · p99 -4.0 ms' in screen
    assert 'LOADED: busy' in screen


def test_a_frame_whose_answer_has_not_come_yet_is_shown_without_it():
    frame_log = FrameLog()
    frame_log.add_frame(1, 1)
    frame_log.add_status(1, record(taken=0))
    assert '…' in text_of(live_view(view_of(frame_log, 100)))
    assert plain_line(frame_log.latest(1)[0], SETTING) == 'frame 1  (no label)  96 px'


def test_while_the_node_starts_its_log_is_shown():
    view = DemoView(
        '12 pictures', '/camera', 'starting the perception node', 3.2, node_lines=['profiling: 40% stage 2']
    )
    screen = text_of(live_view(view))
    assert 'starting the perception node (3 s)' in screen
    assert 'profiling: 40% stage 2' in screen


def test_text_from_outside_is_never_taken_for_markup(frame_log):
    view = replace(
        view_of(frame_log, 100, node_lines=['[/red] broken']), source='[bold]x[/nothing]', load='[/load]'
    )
    screen = text_of(live_view(view))
    for text in ('[bold]x[/nothing]', '[/red] broken', '[/load]'):
        assert text in screen


def test_the_result_compares_with_the_best_plain_network(frame_log):
    assert result_line(frame_log.summary(), SETTING) == (
        'in time and right: impatient 5 of 10, the best plain network (128 px) 1 of 10, estimated'
    )
    run = replace(SETTING, plain_runs=True)
    assert result_line(frame_log.summary(), run) == (
        'in time and right: the best plain network (128 px) 5 of 10'
    )


def test_where_nobody_knows_what_the_frames_show_only_time_counts():
    frame_log = FrameLog(PlainNetwork(LADDER, LADDER.paths[3]))
    for stamp, left in enumerate((0.004, 0.014)):
        frame_log.add_frame(stamp, stamp, deadline_ns=stamp + round(1e9 * (left + 0.001)))
        frame_log.add_status(stamp, record(taken=0, budget=left, elapsed=0.003))
    assert result_line(frame_log.summary(), SETTING).startswith(
        'in time: impatient 2 of 2, the best plain network (128 px) 1 of 2'
    )


def test_the_table_has_a_line_for_everything_that_happened(frame_log):
    table = text_of(summary_table(frame_log.summary(), SETTING, seconds=1.0))
    rows = {line.split('  ')[0].strip(): line.split() for line in table.splitlines() if line.strip()}
    assert 'frames published' in table
    assert '10.0 per second' in table
    assert rows['answered'][1:3] == ['6', '60.0%']
    assert [line.split()[:3] for line in table.splitlines() if ' px ' in line][:4] == [
        ['96', 'px', '1'],
        ['128', 'px', '1'],
        ['160', 'px', '2'],
        ['224', 'px', '2'],
    ]
    assert rows['late'][1] == '1'
    assert rows['infeasible'][1] == '1'
    assert rows['dropped'][1] == '2'
    assert 'data: 1, encoding: 1' in table
    assert '+2.3' in rows['slack p50']
    assert 'in time and right: 5, plain 1' in ' '.join(rows['quiet'])
    assert 'in time and right: 0, plain 0' in ' '.join(rows['loaded'])
    # what did not happen has no line
    for what in ('missed', 'superseded', 'not received', 'unaccounted', 'unexpected'):
        assert what not in table


def test_a_frame_that_vanished_or_came_twice_is_in_the_table(frame_log):
    frame_log.add_frame(11, 11)
    frame_log.add_status(300 * MS, record(Outcome.missed))
    table = text_of(summary_table(frame_log.summary(), SETTING, seconds=1.0))
    assert 'unaccounted' in table
    assert 'unexpected' in table


def test_nothing_published_is_a_table_too():
    table = text_of(summary_table(FrameLog().summary(), None, seconds=0.0))
    assert 'frames published' in table
    assert '%' not in table


def test_counts_and_nouns_agree():
    assert [plural(count, 'frame') for count in (0, 1, 2)] == ['0 frames', '1 frame', '2 frames']
