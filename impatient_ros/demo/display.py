"""What the demo shows: a live view on terminals, one line per frame elsewhere, and the table at the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from impatient_ros.demo.frame_log import FrameRow, Score, Summary
from impatient_ros.demo.frame_table import COLOURS, bar, frame_table, milliseconds, signed_ms
from impatient_ros.demo.ladder import Ladder, PathCost
from impatient_ros.perception.frame_record import Outcome

__all__ = ['DemoView', 'Setting', 'live_view', 'plain_line', 'plural', 'result_line', 'summary_table']

BAR = 20  # characters


@dataclass(frozen=True)
class Setting:
    """What a run is about; known once everything has been measured."""

    ladder: Ladder
    budgets: tuple[float, float]  # s: the least and the greatest
    plain: PathCost  # the best plain network's path
    machine: str  # what executes the network: threads, precision, runtime
    plain_runs: bool = False  # whether the node is that plain network


@dataclass
class DemoView:
    """What there is to show at one moment."""

    source: str  # what is replayed
    place: str  # topic and domain, for commands in another terminal
    activity: str = ''  # what is going on: 'starting the perception node', 'replaying', ...; '' in the end
    elapsed: float = 0.0  # s since that began
    setting: Setting | None = None
    load: str = ''  # what else keeps the machine busy; '' nothing
    rows: Sequence[FrameRow] = ()
    summary: Summary | None = None
    node_lines: Sequence[str] = field(default_factory=tuple)  # what the node logged last
    width: int = 100  # characters of the screen


def live_view(view: DemoView) -> RenderableType:
    """The screen: what is replayed, the latest frames, what became of all so far."""
    head = Text.assemble(('impatient_ros', 'bold'), '  ', view.source, '\n', (view.place, 'bright_black'))
    summary, setting = view.summary, view.setting
    if summary is None or setting is None or not summary.published:
        waiting = Spinner('dots', Text(f'{view.activity} ({view.elapsed:.0f} s)'))
        return Group(head, waiting, *(Text(f'  {line}', style='bright_black') for line in view.node_lines))
    parts: list[RenderableType] = [head, _setting(setting), Text()]
    parts += [frame_table(view.rows, setting.ladder, view.width), Text()]
    parts += [_scores(summary, setting), Text(), _paths(summary, setting.ladder), Text()]
    parts += [_counts(summary), _slack(summary)]
    parts += [Text(line, style='yellow') for line in view.node_lines]
    if view.activity:
        parts.append(Text(view.load, style='bold reverse yellow'))
        parts.append(Text(f'{view.activity} ({view.elapsed:.0f} s); Ctrl-C ends it', style='bright_black'))
    return Group(*parts)


def result_line(summary: Summary, setting: Setting) -> str:
    """What it all comes to: 'in time and right: impatient 84 of 100, the best plain network 52 of 100'."""
    return _result(summary.score, setting)


def plain_line(row: FrameRow, setting: Setting) -> str:
    """One frame for a file or a pipe."""
    record = row.record
    words = [f'frame {row.number}', *([row.name] if row.name else [])]
    if record is None:
        return '  '.join([*words, 'no status yet'])
    if row.answered:
        words.append(' '.join([row.label or '(no label)', *([f'{row.confidence:.2f}'] if row.label else [])]))
        words += {True: ['right'], False: ['wrong'], None: []}[row.right]
        words.append(setting.ladder.text(setting.ladder.taken(record)))
    if record.outcome is not Outcome.answered:
        words.append(record.outcome.value + (f' ({record.reason})' if record.reason else ''))
    if row.answered and record.slack is not None:
        words.append(f'slack {signed_ms(record.slack)}')
    budget = record.budget if row.budget is None else row.budget
    if budget is not None:
        words.append(f'of {milliseconds(budget)}')
    if row.plain is not None and not setting.plain_runs:
        answer = ('in time', 'right', 'wrong')[{None: 0, True: 1, False: 2}[row.plain_right]]
        words.append(f'plain: {answer if row.plain.in_time else "late"}')
    return '  '.join(words)


def summary_table(summary: Summary, setting: Setting | None, seconds: float) -> Table:
    """The table at the end, without rows that say zero. `seconds`: how long frames were published. Without a
    setting, from a run that ended before its paths were known, they are not listed.
    """
    table = Table(
        title='What became of every frame',
        title_justify='left',
        title_style='bold',
        show_header=False,
        box=None,
    )
    table.add_column('what')
    table.add_column('frames', justify='right')
    table.add_column('share', justify='right', style='bright_black')
    table.add_column('remark', style='bright_black')

    def line(what: str, count: int, remark: str = '', style: str = '') -> None:
        if count:
            share = f'{100 * count / summary.published:.1f}%'
            table.add_row(Text(what, style=style), Text(str(count), style=style), share, remark)

    rate = f'{summary.published / seconds:.1f} per second' if seconds > 0 and summary.published > 1 else ''
    table.add_row(
        Text('frames published', style='bold'), Text(str(summary.published), style='bold'), '', rate
    )
    for outcome in Outcome:
        line(outcome.value, summary.outcomes.get(outcome, 0), _remark(summary, outcome), COLOURS[outcome])
        if outcome is Outcome.answered and setting is not None:
            for path, count in _used(summary, setting.ladder).items():
                line(f'  {setting.ladder.text(path)}', count)
    line('not received', summary.not_received, 'gaps in the sequence')
    line('unaccounted', summary.unaccounted, 'published, and nothing heard of them', 'bold red')
    line('unexpected', summary.unexpected, 'reported twice, or never published', 'bold red')
    if summary.slack_p50 is not None and summary.slack_p99 is not None:
        table.add_row('slack p50', signed_ms(summary.slack_p50), '', 'half of the answers had more')
        table.add_row('slack p99', signed_ms(summary.slack_p99), '', '99% of the answers had at least this')
    for what, score in (('quiet', summary.quiet), ('loaded', summary.loaded)):
        if summary.loaded.frames and score.frames and setting is not None:
            table.add_row(what, str(score.frames), '', _split(score, setting))
    return table


def plural(count: int, what: str) -> str:
    return f'{count} {what}{"" if count == 1 else "s"}'


def _result(score: Score, setting: Setting) -> str:
    what, right, of, plain_right = 'in time and right', score.right, score.known, score.plain_right
    if not score.known:  # nobody knows what the frames show
        what, right, of, plain_right = 'in time', score.in_time, score.frames, score.plain_in_time
    plain = f'the best plain network ({setting.ladder.text(setting.plain)})'
    if setting.plain_runs:
        return f'{what}: {plain} {right} of {of}'
    return f'{what}: impatient {right} of {of}, {plain} {plain_right} of {of}, estimated'


def _split(score: Score, setting: Setting) -> str:
    """`_result` of a part of the run, in brief."""
    what, right, plain_right = 'in time', score.in_time, score.plain_in_time
    if score.known:
        what, right, plain_right = 'in time and right', score.right, score.plain_right
    return f'{what}: {right}' + ('' if setting.plain_runs else f', plain {plain_right}')


def _setting(setting: Setting) -> Text:
    low, high = setting.budgets
    budgets = milliseconds(low) if low == high else f'{1e3 * low:.1f} to {milliseconds(high)}'
    beside = milliseconds(setting.ladder.transport + setting.ladder.overhead)
    text = f'{setting.machine}; budgets {budgets} from image to answer, {beside} of it not the network'
    if setting.plain_runs:
        text += f'; PLAIN: only {setting.ladder.text(setting.plain)} runs'
    return Text(text, style='bright_black')


def _scores(summary: Summary, setting: Setting) -> Table:
    """Right answers in time of both networks as bars."""
    score = summary.score
    known = score.known > 0
    of = max(1, score.known if known else score.frames)
    table = Table(box=None, pad_edge=False, show_header=False)
    plain = f'plain {setting.ladder.text(setting.plain)}'
    rows = [(plain if setting.plain_runs else 'impatient', score.right if known else score.in_time, 'green')]
    if not setting.plain_runs:
        rows.append((plain, score.plain_right if known else score.plain_in_time, 'blue'))
    for name, count, colour in rows:
        remark = 'estimated' if name == plain and not setting.plain_runs else ''
        drawn = Text(bar(count / of, BAR), style=colour)
        table.add_row(name, drawn, Text(f'{count} of {of}', style='bold'), remark)
    title = 'in time and right' if known else 'in time'
    table.title, table.title_justify, table.title_style = title, 'left', 'bright_black'
    return table


def _paths(summary: Summary, ladder: Ladder) -> Table:
    """How often each path answered in time, as bars."""
    table = Table(box=None, pad_edge=False, show_header=False)
    used = _used(summary, ladder)
    most = max(used.values(), default=1)
    for path in ladder.paths:
        count = used.get(path, 0)
        table.add_row(ladder.text(path), Text(bar(count / most, BAR), style='green'), str(count))
    return table


def _used(summary: Summary, ladder: Ladder) -> dict[PathCost, int]:
    """Answers in time by path, cheapest first."""
    used: Counter[PathCost | None] = Counter()
    for key, count in summary.paths_used.items():
        used[ladder.find(*key)] += count
    return {path: used[path] for path in ladder.paths if used[path]}


def _counts(summary: Summary) -> Text:
    pending = summary.published - summary.reported
    parts = [f'published {summary.published}']
    parts += [f'{outcome.value} {count}' for outcome, count in summary.outcomes.items() if count]
    parts += [f'not received {summary.not_received}'] if summary.not_received else []
    in_progress = pending - summary.not_received
    parts += [f'in progress {in_progress}'] if in_progress else []
    return Text(' · '.join(parts))


def _slack(summary: Summary) -> Text:
    if summary.slack_p50 is None or summary.slack_p99 is None:
        return Text('no answer yet')
    return Text(f'slack p50 {signed_ms(summary.slack_p50)} · p99 {signed_ms(summary.slack_p99)}')


def _remark(summary: Summary, outcome: Outcome) -> str:
    reasons = {reason: count for (of, reason), count in summary.reasons.items() if of is outcome}
    return ', '.join(f'{reason}: {count}' for reason, count in sorted(reasons.items()))
