"""The page that the demo leaves behind: one HTML file with everything in it, from config/demo/page.html."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from impatient_ros.demo.charts import paths_by_budget, state, timeline
from impatient_ros.demo.display import Setting, result_line
from impatient_ros.demo.frame_log import FrameRow, Score, Summary
from impatient_ros.demo.frame_table import milliseconds, signed_ms
from impatient_ros.perception.frame_record import Outcome

__all__ = ['page']

ANSWERS = 12  # shown per picture, the last ones


def page(
    template: str,
    *,
    source: str,
    setting: Setting,
    summary: Summary,
    rows: Sequence[FrameRow],
    pictures: Mapping[str, bytes],
) -> str:
    """The page's text.

    Args:
        template: of `string.Template`.
        rows: the frames to draw; where a run was longer than what is kept, its end.
        pictures: small JPEG files by name.
    """
    ladder = setting.ladder
    rows = sorted((row for row in rows if row.record is not None), key=lambda row: row.number)
    note = '' if len(rows) >= summary.reported else f'drawn: the last {len(rows)} frames'
    return Template(template).substitute(
        result=escape(result_line(summary, setting)),
        source=escape(source),
        machine=escape(setting.machine),
        budgets=' to '.join(milliseconds(each) for each in dict.fromkeys(setting.budgets)),
        note=escape(note),
        scores=_scores(summary, setting),
        timeline=timeline(rows, ladder),
        paths_by_budget=paths_by_budget(rows, ladder),
        outcomes=_outcomes(summary),
        paths=_paths(summary, setting),
        pictures=_pictures(rows, setting, pictures),
    )


def _scores(summary: Summary, setting: Setting) -> str:
    """A row of the table per stretch of the run."""
    stretches = [('whole run', summary.score)]
    if summary.loaded.frames:
        stretches += [('quiet', summary.quiet), ('a busy process on each core', summary.loaded)]
    return '\n'.join(_score_row(what, score, setting) for what, score in stretches if score.frames)


def _score_row(what: str, score: Score, setting: Setting) -> str:
    of = score.known or score.frames
    ours, plain = (score.right, score.plain_right) if score.known else (score.in_time, score.plain_in_time)
    pair = [('plain', ours)] if setting.plain_runs else [('impatient', ours), ('plain', plain)]
    cells = ''.join(
        f'<td><span class="bar {kind}" style="width:{9 * count / of:.2f}em"></span> {count} of {of}</td>'
        for kind, count in pair
    )
    return f'<tr><th>{escape(what)}</th>{cells}</tr>'


def _outcomes(summary: Summary) -> str:
    counts = {outcome.value: summary.outcomes.get(outcome, 0) for outcome in Outcome}
    counts |= {
        'not received': summary.not_received,
        'unaccounted': summary.unaccounted,
        'unexpected': summary.unexpected,
    }
    words = [f'{what} {count}' for what, count in counts.items() if count]
    if summary.slack_p50 is not None and summary.slack_p99 is not None:
        words.append(f'slack p50 {signed_ms(summary.slack_p50)}, p99 {signed_ms(summary.slack_p99)}')
    return escape(f'{summary.published} frames published: ' + ', '.join(words))


def _paths(summary: Summary, setting: Setting) -> str:
    """A row of the table per path."""
    ladder = setting.ladder
    lines = []
    for path in ladder.paths:
        used = sum(count for key, count in summary.paths_used.items() if ladder.find(*key) == path)
        plain = ' class="chosen"' if path == setting.plain else ''
        cells = (
            f'{1e3 * path.latency:.2f}',
            f'{1e3 * ladder.end_to_end(path):.2f}',
            f'{100 * path.accuracy:.1f}',
            str(used),
        )
        numbers = ''.join(f'<td>{cell}</td>' for cell in cells)
        lines.append(f'<tr{plain}><th>{escape(ladder.text(path))}</th>{numbers}</tr>')
    return '\n'.join(lines)


def _pictures(rows: Sequence[FrameRow], setting: Setting, pictures: Mapping[str, bytes]) -> str:
    """Each picture with the answers that it got, cheapest path first."""
    ladder = setting.ladder
    by_name: defaultdict[str, list[FrameRow]] = defaultdict(list)
    for row in rows:
        by_name[row.name].append(row)
    figures = []
    for name, data in pictures.items():
        answers = []
        for row in by_name.get(name, [])[-ANSWERS:]:
            taken = ladder.taken(row.record) if row.record is not None and row.answered else None
            order = ladder.paths.index(taken) if taken is not None else -1
            what = row.label if row.answered else row.record.outcome.value if row.record else ''
            text = ' · '.join(filter(None, (ladder.text(taken), what)))
            answers.append((order, f'<li class="{state(row)}">{escape(text)}</li>'))
        answers.sort()
        if answers:
            encoded = base64.b64encode(data).decode('ascii')
            listed = ''.join(text for _, text in answers)
            figures.append(
                f'<figure><img alt="{escape(name)}" src="data:image/jpeg;base64,{encoded}">'
                f'<figcaption>{escape(name)}</figcaption><ul>{listed}</ul></figure>'
            )
    return '\n'.join(figures)
