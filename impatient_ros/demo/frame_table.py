"""The live view's table of frames: as many columns as the terminal has room for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from impatient_ros.demo.frame_log import FrameRow
from impatient_ros.demo.ladder import Ladder
from impatient_ros.perception.frame_record import Outcome

__all__ = ['COLOURS', 'bar', 'frame_table', 'milliseconds', 'signed_ms']

COLOURS = {
    Outcome.answered: 'green',
    Outcome.late: 'yellow',
    Outcome.missed: 'red',
    Outcome.infeasible: 'magenta',
    Outcome.superseded: 'bright_black',
    Outcome.dropped: 'red',
}
EIGHTHS = ' ▏▎▍▌▋▊▉█'
GAP = 2  # characters between two columns
RIGHT = {True: ('✓', 'green'), False: ('✗', 'red'), None: ('', '')}
LADDER = 24  # characters at most for the picture of the paths


@dataclass(frozen=True)
class _Frames:
    """What the cells of one table need to know in common."""

    ladder: Ladder
    longest: float  # s, the longest budget shown


@dataclass(frozen=True)
class _Column:
    title: str
    width: int  # characters
    cell: Callable[[FrameRow, _Frames], Text]
    right: bool = False


def frame_table(rows: Sequence[FrameRow], ladder: Ladder, width: int) -> Table:
    """The frames in `rows` that have a status, in a table at most `width` characters wide."""
    table = Table(box=None, pad_edge=False, header_style='bright_black', padding=(0, GAP, 0, 0))
    rows = [row for row in rows if row.record is not None]
    frames = _Frames(ladder, max((row.budget or 0.0 for row in rows), default=0.0) or 1.0)
    columns = _columns(ladder, width, named=any(row.name for row in rows))
    for column in columns:  # fixed widths, so that nothing moves from frame to frame
        justify = 'right' if column.right else 'left'
        table.add_column(column.title, width=column.width, no_wrap=True, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(column.cell(row, frames) for column in columns))
    return table


def bar(share: float, width: int) -> str:
    """`share` of `width` characters in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ('█' * full + (EIGHTHS[rest] if rest else '')).ljust(width)


def milliseconds(seconds: float) -> str:
    return f'{1e3 * seconds:.1f} ms'


def signed_ms(seconds: float) -> str:
    return f'{1e3 * seconds:+.1f} ms'


def _columns(ladder: Ladder, width: int, named: bool) -> list[_Column]:
    """In the order in which they stand; what there is no room for is left out, the least important first."""
    text = max([len('path'), *(len(ladder.text(path)) for path in ladder.paths)])
    steps = min(len(ladder.paths), LADDER)
    length = 8 if width < 90 else 20
    room = [
        # (importance, column): 0 stays in any case
        (6, _Column('frame', 6, lambda row, _: Text(str(row.number)), right=True)),
        (8, _Column('picture', 20 if named else 0, lambda row, _: Text(row.name))),
        (1, _Column('budget', length, lambda row, frames: _budget(row, frames, length))),
        (0, _Column('ms', 5, _budget_ms, right=True)),
        (5, _Column('planned', max(text, len('planned')), _planned)),
        (2, _Column('path', text, _path)),
        (3, _Column('paths', max(steps, len('paths')), _ladder)),
        (0, _Column('answer', 12, _answer)),
        (0, _Column('', 1, lambda row, _: _mark(row.right if row.in_time else None))),
        (7, _Column('conf.', 5, _confidence, right=True)),
        (4, _Column('slack', 8, _slack, right=True)),
        (0, _Column('plain', 5, _plain)),
        (9, _Column('plain says', 13, _plain_answer)),
    ]
    chosen: list[int] = []
    left = width
    for index in sorted(range(len(room)), key=lambda index: room[index][0]):
        importance, column = room[index]
        if column.width and (importance == 0 or column.width + GAP <= left):
            chosen.append(index)
            left -= column.width + GAP
    return [room[index][1] for index in sorted(chosen)]


def _budget(row: FrameRow, frames: _Frames, width: int) -> Text:
    """The budget as a bar, in it what was left of it when the answer went out."""
    record, budget = row.record, row.budget
    if record is None or budget is None:
        return Text()
    whole = round(width * budget / frames.longest)
    used = whole
    if row.answered and record.slack is not None:
        used = min(whole, round(width * max(budget - record.slack, 0.0) / frames.longest))
    return Text.assemble(('█' * used, COLOURS[record.outcome]), ('░' * (whole - used), 'bright_black'))


def _budget_ms(row: FrameRow, frames: _Frames) -> Text:
    budget = row.record.budget if row.budget is None and row.record is not None else row.budget
    return Text('' if budget is None else f'{1e3 * budget:.1f}')


def _planned(row: FrameRow, frames: _Frames) -> Text:
    ladder, record = frames.ladder, row.record
    return Text('' if record is None else ladder.text(ladder.planned(record)), style='bright_black')


def _path(row: FrameRow, frames: _Frames) -> Text:
    ladder, record = frames.ladder, row.record
    return Text(ladder.text(ladder.taken(record)) if record is not None and row.answered else '')


def _ladder(row: FrameRow, frames: _Frames) -> Text:
    """The paths from the cheapest to the dearest: ● the one that answered, ○ another that was planned."""
    ladder, record = frames.ladder, row.record
    if record is None:
        return Text()
    taken = ladder.taken(record) if row.answered else None
    marks = []
    for path in ladder.paths[:LADDER]:
        planned = path == ladder.planned(record)
        marks.append(
            ('●', 'green') if path == taken else ('○', 'yellow') if planned else ('·', 'bright_black')
        )
    return Text.assemble(*marks)


def _answer(row: FrameRow, frames: _Frames) -> Text:
    if row.record is None:
        return Text()
    if row.answered:
        colour = 'bold' if row.in_time else COLOURS[row.record.outcome]
        return Text(row.label or '…', style=colour, overflow='ellipsis')
    return Text(row.record.outcome.value, style=COLOURS[row.record.outcome])


def _mark(right: bool | None) -> Text:
    return Text(*RIGHT[right])


def _confidence(row: FrameRow, frames: _Frames) -> Text:
    return Text(f'{row.confidence:.2f}' if row.answered and row.confidence is not None else '')


def _slack(row: FrameRow, frames: _Frames) -> Text:
    record = row.record
    if record is None or not row.answered or record.slack is None:
        return Text()
    return Text(signed_ms(record.slack), style=COLOURS[record.outcome])


def _plain(row: FrameRow, frames: _Frames) -> Text:
    if row.plain is None:
        return Text()
    if not row.plain.in_time:
        return Text('late', style='yellow')
    return Text('✓', style='green') if row.plain_right is None else _mark(row.plain_right)


def _plain_answer(row: FrameRow, frames: _Frames) -> Text:
    answer = row.plain.label if row.plain is not None and row.plain.in_time else None
    return Text(answer or '', style='bright_black', overflow='ellipsis')
