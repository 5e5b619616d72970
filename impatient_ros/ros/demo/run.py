"""One run of the demo: the two processes, what is measured before, and what is made of it at the end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from impatient_ros.budgets import BudgetDistribution, Empirical
from impatient_ros.demo.display import Setting, plural
from impatient_ros.demo.frame_log import FrameLog, FrameRow, Summary
from impatient_ros.demo.known_classes import KnownClasses
from impatient_ros.demo.ladder import Ladder
from impatient_ros.demo.load import BusyProcesses, loaded_at
from impatient_ros.demo.plain_network import PlainNetwork
from impatient_ros.demo.processes import Child, readable
from impatient_ros.replay.event_log import read_events
from impatient_ros.ros.demo.listener import DemoListener
from impatient_ros.ros.demo.model import MODEL_PARAMETERS, Model, Pictures
from impatient_ros.ros.demo.screen import ERRORS, Screen
from impatient_ros.ros.stop_signals import StopFlag

__all__ = ['Commands', 'DemoRun', 'Options']

TICK = 0.125  # s between two refreshes
# Seconds without a status after which the demo no longer waits: three times the period of diagnostics, which
# count the frames that were not received.
SILENCE = 3.0
GRACE = 10.0  # s for a child process to end by itself before it is terminated
READY = 180.0  # s for it to become active; a first start loads the network and measures its costs
LAST_LINES = 8
TRIAL_FRAMES = 30  # from which overhead and transport are measured: 3 s at 10 Hz
TRIAL_SKIPPED = 5  # of them, the first ones: cold caches
TRIAL_BUDGET = 0.5  # s: time enough for any path
DRAWN = 10_000  # budgets that stand for a run without end, when the plain network is chosen


@dataclass(frozen=True)
class Commands:
    """What to start."""

    node: Sequence[str]
    plain_node: Callable[[int, int], Sequence[str]]  # the node with one path only: (resolution, exit index)
    camera: Callable[[BudgetDistribution, int | None], Sequence[str]]  # with so many frames


@dataclass(frozen=True)
class Options:
    """How to run."""

    frames: int | None  # None: until the source ends
    expected: int | None  # how many there will be; None: nobody knows
    budgets: Callable[[Ladder], BudgetDistribution]
    seed: int
    load: bool  # whether to keep the machine busy in the middle
    plain: bool  # run the best plain network instead of the impatient one


class DemoRun:
    """One run. A signal handler may call `stop`: once to end the replay and wait for the last answers,
    twice to end at once.

    Args:
        load_model: makes the model from the node's parameters.
        pictures: what the source shows, by name, where that is few pictures.
        names: of the node and its camera.
    """

    def __init__(
        self,
        commands: Commands,
        options: Options,
        screen: Screen,
        *,
        load_model: Callable[[Mapping[str, Any]], Model],
        pictures: Pictures,
        names: tuple[str, str],
    ) -> None:
        self._commands, self._options, self._screen = commands, options, screen
        self._load_model, self._pictures, self._names = load_model, pictures, names
        self._frame_log, self._lock = FrameLog(), threading.Lock()
        self._classes = KnownClasses([])
        self._stops = 0
        self._stopped = StopFlag()
        self._done = threading.Event()
        self._camera_error = ''
        self._busy = BusyProcesses()
        self._camera: Child | None = None
        self.first_frame = self.last_frame = 0.0  # s, steady

    def stop(self) -> None:
        self._stops += 1
        self._stopped.set()

    def replay(self) -> str:
        """Run until the source ends or `stop`. Returns what went wrong, '' if nothing did."""
        self._listener = DemoListener(self._frame_log, self._lock, *self._names)
        self._node = Child('perception node', self._commands.node, os.environ)
        try:
            with self._screen.open():
                problem = self._measure()
                if not problem and not self._stopped.is_set():
                    problem = self._play(self._budgets, self._options.frames)
                self._screen.begin('')
                self._refresh(final=True)
        finally:
            self._busy.switch(on=False)
            if self._camera is not None:
                self._camera.end(GRACE)
            code = self._node.end(GRACE)
            self._listener.close()
        if not problem and code != 0:
            problem = f'the perception node ended with exit code {code}' + _last_lines(self._node)
        return problem or self._listener.problem

    def results(self) -> tuple[Summary, list[FrameRow]]:
        """What became of the frames, and the latest of them; those that were measured with do not count."""
        frame_log = self._frame_log if self._screen.setting is not None else FrameLog()
        with self._lock:
            return frame_log.summary(), frame_log.latest(frame_log.published)

    # -- before the run

    def _measure(self) -> str:
        """Find out what the paths cost here, and choose the plain network."""
        self._screen.begin('starting the perception node')
        problem = self._until_connected()
        if problem or self._stopped.is_set():
            return problem
        try:
            model = self._load_model(self._listener.parameters(MODEL_PARAMETERS))
        except TimeoutError as error:
            return str(error)
        self._classes = model.known_classes()
        self._screen.begin(f'measuring what a frame takes besides the network, on {TRIAL_FRAMES} frames')
        problem = self._play(Empirical([TRIAL_BUDGET]), TRIAL_FRAMES)
        if problem or self._stopped.is_set():
            return problem
        with self._lock:
            trial = self._frame_log.latest(TRIAL_FRAMES)[TRIAL_SKIPPED:]
        ladder = Ladder(model.paths).measured(trial)
        self._budgets = self._options.budgets(ladder)
        drawn = self._budgets.sample(self._options.expected or DRAWN, self._options.seed)
        best = ladder.best_plain(drawn)
        plain = PlainNetwork(ladder, best, model.answers(best, self._pictures))
        if self._options.plain:
            problem = self._restart_node(self._commands.plain_node(best.resolution, best.exit_index))
        self._frame_log = FrameLog(None if self._options.plain else plain)
        self._listener.fill(self._frame_log)
        self.first_frame = self.last_frame = 0.0
        self._screen.setting = Setting(
            ladder, (float(drawn.min()), float(drawn.max())), best, model.machine, self._options.plain
        )
        return problem

    def _restart_node(self, command: Sequence[str]) -> str:
        self._screen.begin('starting the plain network instead')
        code = self._node.end(GRACE)
        if code != 0:
            return f'the perception node ended with exit code {code}' + _last_lines(self._node)
        self._listener.expect_another_node()
        self._node = Child('perception node', command, os.environ)
        return self._until_connected()

    # -- a replay camera, from its start to the last answer

    def _play(self, budgets: BudgetDistribution, frames: int | None) -> str:
        """Let a camera publish; returns what went wrong."""
        self._done.clear()
        command = self._commands.camera(budgets, frames)
        self._camera = camera = Child('replay camera', command, os.environ, self._read_events)
        problem = self._until_all_is_published(camera)
        if problem or self._stopped.is_set():
            camera.interrupt()
        self._switch_load(on=False)
        self._until_all_is_reported(camera)
        camera.end(GRACE)
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
            if self._screen.setting is not None and self._frame_log.published:
                self._screen.begin('replaying')
                self._switch_load(loaded_at(self._frame_log.published + 1, self._options.expected))
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

    def _switch_load(self, on: bool) -> None:
        self._busy.switch(on and self._options.load)
        count = plural(self._busy.count, 'core')
        self._screen.announce_load(f'LOADED: a busy process on each of {count}' if self._busy.on else '')

    def _refresh(self, final: bool = False) -> None:
        with self._lock:
            self._screen.refresh(self._frame_log, self._node, final)

    def _read_events(self, lines: Any) -> None:
        read_events(lines, self._on_event)

    def _on_event(self, event: dict[str, Any]) -> None:
        if event['event'] == 'frame':
            self.last_frame = time.monotonic()
            self.first_frame = self.first_frame or self.last_frame
            with self._lock:
                self._frame_log.add_frame(
                    event['stamp_ns'],
                    event['number'],
                    event['name'],
                    deadline_ns=event['deadline_ns'],
                    truth=self._classes.of(event['name']),
                    loaded=self._busy.on,
                )
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
