"""The node's lifecycle: what is loaded and what runs in which state.

    unconfigured --configure--> inactive --activate--> active
    active --deactivate--> inactive --clean_up--> unconfigured

`clean_up` and `shut_down` are possible in every state. The ROS state machine decides which step may be taken;
here is what each step does to the model and to what runs on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ['Lifecycle', 'Running']


class Running(Protocol):
    """What serves the cameras while the node is active."""

    def stop(self) -> None:
        """End it; every frame that was taken has its record afterwards."""


Model = TypeVar('Model')
Pipeline = TypeVar('Pipeline', bound=Running)


class Lifecycle(Generic[Model, Pipeline]):
    """Holds the model and what runs. One thread at a time takes its steps; every thread may read.

    Args:
        load: makes the model; what it raises passes through `configure` and changes nothing.
        run: starts what serves the cameras; what it raises passes through `activate` and changes nothing.
        now: steady clock, seconds.

    Attributes:
        state: unconfigured, inactive, active or finalized; on the way configuring, activating, deactivating,
            cleaningup or shuttingdown.
        model, running: None while there is none.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        run: Callable[[Model], Pipeline],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._run = run
        self._now = now
        self._active_since = 0.0
        self.state = 'unconfigured'
        self.model: Model | None = None
        self.running: Pipeline | None = None

    @property
    def active_for(self) -> float:
        """Seconds since the activation; 0 while the node is not active."""
        return self._now() - self._active_since if self.running is not None else 0.0

    def configure(self) -> Model:
        """Load the model."""
        before, self.state = self.state, 'configuring'
        try:
            self.model = self._load()
        except BaseException:
            self.state = before
            raise
        self.state = 'inactive'
        return self.model

    def activate(self) -> None:
        """Start what serves the cameras; raises RuntimeError where no model is loaded."""
        if self.model is None:
            raise RuntimeError('no model is loaded; configure the node first')
        self.state = 'activating'
        try:
            self.running = self._run(self.model)
        except BaseException:
            self.state = 'inactive'
            raise
        self.state, self._active_since = 'active', self._now()

    def deactivate(self) -> None:
        """Stop what serves the cameras; the model stays."""
        self.state = 'deactivating'
        self.stop()
        self.state = 'inactive'

    def clean_up(self) -> None:
        """Stop, and let go of the model."""
        self._end('cleaningup', 'unconfigured')

    def shut_down(self) -> None:
        """The same for good."""
        self._end('shuttingdown', 'finalized')

    def stop(self) -> None:
        """Stop what runs, if anything; may be called in every state and twice."""
        running, self.running = self.running, None
        if running is not None:
            running.stop()

    def _end(self, meanwhile: str, state: str) -> None:
        self.state = meanwhile
        try:
            self.stop()
        finally:
            self.model = None
            self.state = state
