"""The interface between the classifier, which decides, and a runtime, which executes a staged network."""

from __future__ import annotations

import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from impatient_ros.runtime.machine import processor_name

__all__ = ['Run', 'RunCancelledError', 'Runtime', 'RuntimeUnavailableError']


class RuntimeUnavailableError(RuntimeError):
    """The runtime or device that was asked for does not exist on this machine; the message says what does."""


class RunCancelledError(Exception):
    """What was being executed was stopped by `Runtime.cancel`.

    Attributes:
        position: the boundary that it would have reached.
        scores: whether it would have had the scores there, too.
    """

    def __init__(self, position: int, *, scores: bool) -> None:
        super().__init__(f'stopped on the way to boundary {position}')
        self.position, self.scores = position, scores


class Runtime(ABC):
    """Executes the stages and heads of one network for one frame at a time.

    Attributes:
        name: one of the registry's.
        device: 'cpu', 'igpu' or 'cuda', for people.
        exits: T.
        sides: the resolutions that it can execute, px, ascending; the height where a network is not square.
        precision: that it computes in, one of `runtime.precision.COMPUTED`.
    """

    name: str
    device: str
    exits: int
    sides: tuple[int, ...]
    precision: str = 'f32'

    @abstractmethod
    def upload(self, image: np.ndarray) -> Any:
        """Bring a preprocessed image, float32 [1, 3, H, W], to where stage 0 wants it.

        Its size picks the resolution; `side` says which and refuses others.
        """

    @abstractmethod
    def stage(self, index: int, features: Any) -> Any:
        """Execute stage `index` on the previous stage's features; may return before the device is done."""

    @abstractmethod
    def exit(self, index: int, features: Any) -> np.ndarray:
        """Logits of exit `index`, float32 [classes], in host memory: waits for the device."""

    def wait(self) -> None:
        """Return when everything launched has been executed."""
        return

    def cancel(self) -> None:
        """From any thread: stop what is being executed at the next operator, where the runtime can; whoever
        executes it gets `RunCancelledError`. Nothing happens where nothing is being executed.
        """
        return

    def describe(self) -> dict[str, Any]:
        """Everything that latencies depend on besides the network (JSON values): here runtime, device and
        machine. A runtime adds versions and whatever else its speed depends on.
        """
        return {
            'runtime': self.name,
            'device': self.device,
            'precision': self.precision,
            'machine': platform.machine(),
            'processor': processor_name(),
            'cores': os.cpu_count(),
        }

    def side(self, height: int) -> int:
        """The resolution for images of that height, px. Raises ValueError where there is none."""
        if height not in self.sides:
            raise ValueError(
                f'an image of {height} px: {self.name} executes {", ".join(map(str, self.sides))} px'
            )
        return height

    def start(self, image: np.ndarray) -> Run:
        """Begin a run on a preprocessed image, float32 [1, 3, H, W]; H is one of `sides`."""
        return Run(self, image)

    def begin(self, picture: np.ndarray, preprocessing: Callable[[np.ndarray], np.ndarray]) -> Run:
        """Begin a run on a picture, RGB uint8 [H, W, 3]; a device may do the preprocessing itself."""
        return self.start(preprocessing(picture))


class Run:
    """One frame on its way through the stages. Nothing is executed that was not asked for."""

    def __init__(self, runtime: Runtime, image: np.ndarray) -> None:
        self._runtime = runtime
        self._features = runtime.upload(image)
        self.position = 0

    @property
    def ready(self) -> bool:
        """Whether the scores that `exit` will return are there already."""
        return False

    def stage(self, toward: int | None = None, then: int | None = None) -> None:
        """Execute the next stage.

        `toward` is the exit that will be asked for next, if that is certain: a runtime may then execute
        everything up to its scores in one call, which saves what boundaries cost. `position` says how far it
        went. `then` is the exit that is expected to be asked for, and in time, after that: a device may
        start on the stage that leads to it while the host evaluates the first scores.
        """
        self._features = self._runtime.stage(self.position, self._features)
        self.position += 1

    def exit(self) -> np.ndarray:
        """Logits of the exit after the last executed stage, float32 [classes]."""
        return self._runtime.exit(self.position - 1, self._features)

    def wait(self) -> None:
        """Return when everything launched has been executed."""
        self._runtime.wait()
