"""What the demo leaves behind: the summary, a picture of the last screen, and the page."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from impatient_ros.demo.display import Setting, live_view, result_line, summary_table
from impatient_ros.demo.frame_log import FrameRow, Summary
from impatient_ros.demo.page import page
from impatient_ros.resources import resource_path
from impatient_ros.ros.demo.model import Pictures, thumbnails
from impatient_ros.ros.demo.screen import Screen

__all__ = ['report', 'write_page']

WIDTH, ROWS = 110, 16  # of the picture


def report(
    screen: Screen, summary: Summary, rows: Sequence[FrameRow], seconds: float, *, record: Path | None
) -> None:
    """Print the summary; write the last screen and the summary to `record` (.svg or .html).

    `seconds`: how long frames were published.
    """
    result = Text(
        result_line(summary, screen.setting) if screen.setting else 'no frame was published', 'bold'
    )
    table = summary_table(summary, screen.setting, seconds)
    screen.console.print()
    screen.console.print(result)
    screen.console.print(table)
    if record is not None:
        recorder = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, highlight=False)
        recorder.print(live_view(screen.still(rows[-ROWS:], summary, WIDTH)))
        recorder.print()
        recorder.print(result)
        recorder.print(table)
        if record.suffix == '.svg':
            recorder.save_svg(str(record), title='make demo')
        else:
            recorder.save_html(str(record))


def write_page(
    path: Path | None,
    source: str,
    setting: Setting,
    summary: Summary,
    rows: Sequence[FrameRow],
    pictures: Pictures,
) -> Path:
    """Write the page, by default into a temporary file; returns where."""
    if path is None:
        with tempfile.NamedTemporaryFile(prefix='impatient_ros-', suffix='.html', delete=False) as file:
            path = Path(file.name)
    form = resource_path('config', 'demo/page.html').read_text(encoding='utf-8')
    text = page(
        form,
        source=source,
        setting=setting,
        summary=summary,
        rows=rows,
        pictures=thumbnails(pictures),
    )
    path.write_text(text, encoding='utf-8')
    return path
