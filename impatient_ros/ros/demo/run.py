"""One run of the demo: the two processes, what is shown meanwhile, and the summary at the end."""

import os
import threading
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from impatient_ros.demo.display import DemoView, live_view, plain_line, plural, summary_table
from impatient_ros.demo.frame_log import FrameLog, FrameRow, Summary
from impatient_ros.demo.processes import Child, readable
from impatient_ros.replay.event_log import read_events
from impatient_ros.ros.demo.listener import DemoListener

__all__ = ['DemoRun']

TICK = 0.125  # s between two refreshes
# Seconds without a status after which the demo no longer waits: three times the period of diagnostics, which
# count the frames that were not received.
SILENCE = 3.0
GRACE = 10.0  # s for a child process to end by itself before it is terminated
READY = 180.0  # s for it to become active; a first start loads the network and measures its costs
ERRORS = ('ERROR', 'FATAL')
LAST_LINES = 8


class DemoRun:
    """One run. A signal handler may call `stop`: once to end the replay and wait for the last answers,
    twice to end at once.
    """

    def __init__(
        self,
        *,
        source: str,
        place: str,
        node_command: Sequence[str],
        camera_command: Sequence[str],
        node: str,
        camera: str,
        console: Console,
    ) -> None:
        self._source, self._place, self._console = source, place, console
        self._commands = {'node': node_command, 'camera': camera_command}
        self._names = (node, camera)
        self._frame_log, self._lock = FrameLog(), threading.Lock()
        self._stops = 0
        self._stopped = threading.Event()
        self._done = threading.Event()
        self._camera_error = ''
        self._activity, self._since = 'starting the perception node', time.monotonic()
        self._first_frame = self._last_frame = 0.0
        self._held: list[FrameRow] = []  # answered, but the answer itself has not come yet
        self._live: Live | None = None

    def stop(self) -> None:
        self._stops += 1
        self._stopped.set()

    def replay(self) -> str:
        """Run until the source ends or `stop`. Returns what went wrong, '' if nothing did."""
        self._listener = listener = DemoListener(self._frame_log, self._lock, *self._names)
        self._node = Child('perception node', self._commands['node'], os.environ)
        self._camera: Child | None = None
        try:
            if self._console.is_terminal:
                with Live(console=self._console, auto_refresh=False) as self._live:
                    problem = self._watch()
            else:
                self._console.print(f'{self._source}; {self._place}', markup=False)
                problem = self._watch()
        finally:
            if self._camera is not None:
                self._camera.end(GRACE)
            code = self._node.end(GRACE)
            listener.close()
        if not problem and code != 0:
            problem = f'the perception node ended with exit code {code}' + _last_lines(self._node)
        return problem or listener.problem

    def report(self, record: Path | None) -> Summary:
        """Print the summary; write the last screen and the summary to `record` (.svg or .html)."""
        with self._lock:
            summary = self._frame_log.summary()
            rows = self._frame_log.latest(12)
        table = summary_table(summary, self._last_frame - self._first_frame)
        self._console.print()
        self._console.print(table)
        if record is not None:
            recorder = Console(record=True, width=100, file=StringIO(), force_terminal=True, highlight=False)
            recorder.print(live_view(DemoView(self._source, self._place, rows=rows, summary=summary)))
            recorder.print()
            recorder.print(table)
            if record.suffix == '.svg':
                recorder.save_svg(str(record), title='make demo')
            else:
                recorder.save_html(str(record))
        return summary

    def _watch(self) -> str:
        problem = self._until_connected()
        if not problem and not self._stopped.is_set():
            self._begin('starting the replay camera')
            camera = Child('replay camera', self._commands['camera'], os.environ, self._read_events)
            self._camera = camera
            problem = self._until_all_is_published(camera)
            self._begin('waiting for the last answers')
            if problem or self._stopped.is_set():
                camera.interrupt()
            self._until_all_is_reported(camera)
        self._begin('')
        self._refresh(final=True)
        return problem

    def _until_connected(self) -> str:
        start = time.monotonic()
        while not self._stopped.wait(TICK):
            self._refresh()
            if self._listener.connected.is_set():
                return ''
            if self._node.exit_code is not None:
                return _died(self._node)
            if any(readable(line)[0] in ERRORS for line in self._node.last_lines(50)):
                return 'the perception node did not start' + _last_lines(self._node)
            if time.monotonic() - start > READY:
                return f'the perception node was not active after {READY:g} s' + _last_lines(self._node)
        return ''

    def _until_all_is_published(self, camera: Child) -> str:
        while not self._stopped.wait(TICK):
            self._refresh()
            if self._frame_log.published and self._activity != 'replaying':
                self._begin('replaying')
            if self._node.exit_code is not None:
                return _died(self._node)
            if self._camera_error:
                return f'the replay camera stopped: {self._camera_error}'
            if self._done.is_set():
                return ''
            if camera.exit_code is not None:
                return _died(camera)
        return ''

    def _until_all_is_reported(self, camera: Child) -> None:
        news, at = -1, time.monotonic()
        while self._stops < 2 and self._node.exit_code is None:
            with self._lock:
                outstanding = self._frame_log.outstanding
                reported = self._frame_log.reported
            finished = self._done.is_set() or camera.exit_code is not None
            if finished and outstanding == 0:
                return
            if reported != news:
                news, at = reported, time.monotonic()
            elif time.monotonic() - at > SILENCE:
                return
            self._refresh()
            time.sleep(TICK)

    def _begin(self, activity: str) -> None:
        self._activity, self._since = activity, time.monotonic()

    def _refresh(self, final: bool = False) -> None:
        if self._live is None:
            self._print_lines(final)
            return
        width, height = self._console.size
        with self._lock:
            summary = self._frame_log.summary()
            rows = self._frame_log.latest(min(15, max(3, height - 14 - summary.exits)))
        lines = [readable(line) for line in self._node.last_lines(50)]
        if summary.published:
            shown = [text for level, text in lines if level in ('WARN', *ERRORS)][-1:]
        else:
            shown = [text for _, text in lines][-LAST_LINES:]
        elapsed = time.monotonic() - self._since
        view = DemoView(self._source, self._place, self._activity, elapsed, rows, summary, shown, width)
        self._live.update(live_view(view), refresh=True)

    def _print_lines(self, final: bool) -> None:
        for line in self._node.new_lines():
            level, text = readable(line)
            if not self._frame_log.published or level in ('WARN', *ERRORS):
                self._console.print(f'node: {text}', markup=False)
        with self._lock:
            rows = [self._frame_log.current(row) for row in self._held]
            new = self._frame_log.take_new()
        # Status and answer are two messages: a frame without its answer waits for the next refresh.
        self._held = [row for row in new if row.answered and row.label is None and not final]
        for row in rows + [row for row in new if row not in self._held]:
            self._console.print(plain_line(row), markup=False)

    def _read_events(self, lines: Any) -> None:
        read_events(lines, self._on_event)

    def _on_event(self, event: dict[str, Any]) -> None:
        if event['event'] == 'frame':
            self._last_frame = time.monotonic()
            self._first_frame = self._first_frame or self._last_frame
            with self._lock:
                self._frame_log.add_frame(event['stamp_ns'], event['number'], event['name'])
        elif event['event'] == 'error':
            self._camera_error = event['message']
        elif event['event'] == 'done':
            self._done.set()


def _died(child: Child) -> str:
    return f'the {child.name} died (exit code {child.exit_code})' + _last_lines(child)


def _last_lines(child: Child) -> str:
    lines = [readable(line)[1] for line in child.last_lines(LAST_LINES)]
    if not lines:
        return ''
    return f'; its last {plural(len(lines), "line")}:\n  ' + '\n  '.join(lines)
