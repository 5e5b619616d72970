"""The demo's screen: a live view on a terminal, lines elsewhere. For one thread."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.live import Live

from impatient_ros.demo.display import DemoView, Setting, live_view, plain_line
from impatient_ros.demo.frame_log import FrameLog, FrameRow, Summary
from impatient_ros.demo.processes import Child, readable

__all__ = ['ERRORS', 'Screen']

ERRORS = ('ERROR', 'FATAL')
LAST_LINES = 8  # of the node's output while it starts
NARROW = 130  # characters: below, some lines take two or three
OTHER_LINES = {False: 17, True: 23}  # of the screen besides frames and paths; where it is narrow


class Screen:
    """Shows what goes on; `setting` appears once it is known, frames from then on."""

    def __init__(self, console: Console, source: str, place: str) -> None:
        self.console = console
        self.setting: Setting | None = None
        self._source, self._place = source, place
        self.activity, self._since = '', time.monotonic()
        self._load = ''
        self._held: list[FrameRow] = []  # answered, but the answer itself has not come yet
        self._live: Live | None = None

    def open(self) -> AbstractContextManager[object]:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            return self._live
        self._print(f'{self._source}; {self._place}')
        return nullcontext()

    def begin(self, activity: str) -> None:
        if activity == self.activity:
            return
        if self._live is None and activity:
            self._print(activity)
        self.activity, self._since = activity, time.monotonic()

    def announce_load(self, text: str) -> None:
        """What keeps the machine busy from now on; '' nothing."""
        if self._live is None and text != self._load:
            self._print(text or 'the load has ended')
        self._load = text

    def refresh(self, frame_log: FrameLog, node: Child, final: bool = False) -> None:
        """Show what is new; with the lock of the frame log held. `final`: no more answers will come."""
        if self._live is None:
            self._print_lines(frame_log, node, final)
            return
        width, height = self.console.size
        lines = [readable(line) for line in node.last_lines(50)]
        rows: list[FrameRow] = []
        if self.setting is None or not frame_log.published:
            shown = [text for _, text in lines][-LAST_LINES:]
        else:
            shown = [text for level, text in lines if level in ('WARN', *ERRORS)][-1:]
            room = height - OTHER_LINES[width < NARROW] - len(self.setting.ladder.paths)
            rows = frame_log.latest(min(20, max(3, room)))
        view = DemoView(
            self._source,
            self._place,
            self.activity,
            time.monotonic() - self._since,
            self.setting,
            self._load,
            rows,
            frame_log.summary(),
            shown,
            width,
        )
        self._live.update(live_view(view), refresh=True)

    def still(self, rows: Sequence[FrameRow], summary: Summary, width: int) -> DemoView:
        """The screen as it was last, for a picture."""
        return DemoView(
            self._source, self._place, setting=self.setting, rows=rows, summary=summary, width=width
        )

    def _print_lines(self, frame_log: FrameLog, node: Child, final: bool) -> None:
        for line in node.new_lines():
            level, text = readable(line)
            if self.setting is None or level in ('WARN', *ERRORS):
                self._print(f'node: {text}')
        if self.setting is None:
            return
        rows = [frame_log.current(row) for row in self._held]
        new = frame_log.take_new()
        # Status and answer are two messages: a frame without its answer waits for the next refresh.
        self._held = [row for row in new if row.answered and row.label is None and not final]
        for row in rows + [row for row in new if row not in self._held]:
            self._print(plain_line(row, self.setting))

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)
