"""What the demo shows: a live view on terminals, one line per frame elsewhere, and the table at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from impatient_ros.demo.frame_log import FrameRow, Summary
from impatient_ros.perception.frame_record import Outcome

__all__ = ['DemoView', 'live_view', 'plain_line', 'plural', 'summary_table']

BAR = 20  # characters
COLUMNS = {'frame': 6, 'picture': 17, 'answer': 11, 'confidence': 17, 'exit': 13, 'budget': 8, 'slack': 8}
WIDE = sum(COLUMNS.values()) + 2 * len(COLUMNS)  # characters; narrower screens leave out the picture's name
EIGHTHS = ' ▏▎▍▌▋▊▉█'

COLOURS = {
    Outcome.answered: 'green',
    Outcome.late: 'yellow',
    Outcome.missed: 'red',
    Outcome.infeasible: 'magenta',
    Outcome.superseded: 'bright_black',
    Outcome.dropped: 'red',
}


@dataclass
class DemoView:
    """What there is to show at one moment."""

    source: str  # what is replayed
    place: str  # topic and domain, for commands in another terminal
    activity: str = ''  # what is going on: 'starting the perception node', 'replaying', ...; '' in the end
    elapsed: float = 0.0  # s since that began
    rows: Sequence[FrameRow] = ()
    summary: Summary | None = None
    node_lines: Sequence[str] = ()  # what the node logged last
    width: int = 100  # characters of the screen


def live_view(view: DemoView) -> RenderableType:
    """The screen: what is replayed, the latest frames, what became of all so far."""
    head = Text.assemble(('impatient_ros', 'bold'), '  ', view.source, '\n', (view.place, 'bright_black'))
    summary = view.summary
    if summary is None or not summary.published:
        waiting = Spinner('dots', Text(f'{view.activity} ({view.elapsed:.0f} s)'))
        return Group(head, waiting, *(Text(f'  {line}', style='bright_black') for line in view.node_lines))
    parts: list[RenderableType] = [head, Text(), _frames(view), Text(), _exits(summary), Text()]
    parts.append(_counts(summary))
    parts.append(_slack(summary))
    parts += [Text(line, style='yellow') for line in view.node_lines]
    if view.activity:
        parts.append(Text(f'{view.activity} ({view.elapsed:.0f} s); Ctrl-C ends it', style='bright_black'))
    return Group(*parts)


def plain_line(row: FrameRow) -> str:
    """One frame for a file or a pipe."""
    record = row.record
    words = [f'frame {row.number}', *([row.name] if row.name else [])]
    if record is None:
        return '  '.join([*words, 'no status yet'])
    if row.answered:
        words.append(' '.join([row.label or '(no label)', *([_share(row.confidence)] if row.label else [])]))
        words.append(_exit_words(record.exit_index, record.exits))
    if record.outcome is not Outcome.answered:
        words.append(record.outcome.value + (f' ({record.reason})' if record.reason else ''))
    if row.answered and record.slack is not None:
        words.append(f'slack {_signed_ms(record.slack)}')
    if record.budget is not None:
        words.append(f'of {_ms(record.budget)}')
    return '  '.join(words)


def summary_table(summary: Summary, seconds: float) -> Table:
    """The table at the end. `seconds`: how long frames were published."""
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
        share = f'{100 * count / summary.published:.1f}%' if summary.published else ''
        table.add_row(Text(what, style=style), Text(str(count), style=style), share, remark)

    rate = f'{summary.published / seconds:.1f} per second' if seconds > 0 and summary.published > 1 else ''
    table.add_row(
        Text('frames published', style='bold'), Text(str(summary.published), style='bold'), '', rate
    )
    for outcome in Outcome:
        count = summary.outcomes.get(outcome, 0)
        style = COLOURS[outcome] if count else ''
        line(outcome.value, count, _remark(summary, outcome), style)
        if outcome is Outcome.answered:
            for index in range(summary.exits):
                line(f'  exit {index + 1} of {summary.exits}', summary.exits_used.get(index, 0))
    line('not received', summary.not_received, 'gaps in the sequence' if summary.not_received else '')
    if summary.unaccounted:
        line('unaccounted', summary.unaccounted, 'published, and nothing heard of them', 'bold red')
    if summary.unexpected:
        line('unexpected', summary.unexpected, 'reported twice, or never published', 'bold red')
    if summary.slack_p50 is not None and summary.slack_p99 is not None:
        table.add_row('slack p50', _signed_ms(summary.slack_p50), '', 'half of the answers had more')
        table.add_row('slack p99', _signed_ms(summary.slack_p99), '', '99% of the answers had at least this')
    return table


def plural(count: int, what: str) -> str:
    return f'{count} {what}{"" if count == 1 else "s"}'


def _frames(view: DemoView) -> Table:
    table = Table(box=None, pad_edge=False, header_style='bright_black')
    named = any(row.name for row in view.rows) and view.width >= WIDE
    # Fixed widths, so that columns do not move from frame to frame.
    for title, width in COLUMNS.items():
        if title != 'picture' or named:
            justify = 'right' if title in ('frame', 'budget', 'slack') else 'left'
            table.add_column(title, width=width, no_wrap=True, justify=justify)  # type: ignore[arg-type]
    for row in view.rows:
        record = row.record
        if record is None:
            continue
        colour = COLOURS[record.outcome]
        cells = [str(row.number), *([row.name] if named else [])]
        answer = (
            Text(row.label or '…', style='bold') if row.answered else Text(record.outcome.value, style=colour)
        )
        confidence: RenderableType = Text(record.reason, style='bright_black')
        if row.answered:
            confidence = Text.assemble(
                (_bar(row.confidence or 0.0, BAR // 2), 'cyan'), ' ', _share(row.confidence)
            )
        slack = _signed_ms(record.slack) if row.answered and record.slack is not None else ''
        budget = '' if record.budget is None else _ms(record.budget)
        exits = _dots(record.exit_index, record.exits) if row.answered else Text()
        table.add_row(*cells, answer, confidence, exits, budget, Text(slack, style=colour))
    return table


def _exits(summary: Summary) -> Table:
    """How often each exit answered in time, as bars."""
    table = Table(box=None, pad_edge=False, show_header=False)
    most = max(summary.exits_used.values(), default=1)
    for index in range(summary.exits):
        count = summary.exits_used.get(index, 0)
        bar = Text(_bar(count / most, BAR), style='green')
        table.add_row(f'exit {index + 1} of {summary.exits}', bar, str(count))
    return table


def _counts(summary: Summary) -> Text:
    pending = summary.published - summary.reported
    parts = [f'published {summary.published}']
    parts += [f'{outcome.value} {summary.outcomes.get(outcome, 0)}' for outcome in Outcome]
    parts += [f'not received {summary.not_received}'] if summary.not_received else []
    in_progress = pending - summary.not_received
    parts += [f'in progress {in_progress}'] if in_progress else []
    return Text(' · '.join(parts))


def _slack(summary: Summary) -> Text:
    if summary.slack_p50 is None or summary.slack_p99 is None:
        return Text('no answer yet')
    return Text(f'slack p50 {_signed_ms(summary.slack_p50)} · p99 {_signed_ms(summary.slack_p99)}')


def _remark(summary: Summary, outcome: Outcome) -> str:
    reasons = {reason: count for (of, reason), count in summary.reasons.items() if of is outcome}
    return ', '.join(f'{reason}: {count}' for reason, count in sorted(reasons.items()))


def _bar(share: float, width: int) -> str:
    """`share` of `width` characters in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ('█' * full + (EIGHTHS[rest] if rest else '')).ljust(width)


def _dots(exit_index: int | None, exits: int) -> Text:
    if exit_index is None:
        return Text()
    done = exit_index + 1
    return Text.assemble(('●' * done, 'green'), ('○' * (exits - done), 'bright_black'), f' {done} of {exits}')


def _exit_words(exit_index: int | None, exits: int) -> str:
    return 'no exit' if exit_index is None else f'exit {exit_index + 1} of {exits}'


def _share(confidence: float | None) -> str:
    return '' if confidence is None else f'{confidence:.2f}'


def _ms(seconds: float) -> str:
    return f'{1e3 * seconds:.1f} ms'


def _signed_ms(seconds: float) -> str:
    return f'{1e3 * seconds:+.1f} ms'
