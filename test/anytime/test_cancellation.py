"""Frames that are stopped while they are executed, on an injected clock."""

from types import MappingProxyType

import numpy as np
import pytest
from simulation import STAGES, Clock, SimulatedRuntime, checkpoint, profile

from impatient_ros.anytime import AnytimeClassifier, Cancellation, FrameRequest
from impatient_ros.runtime.base import RunCancelledError

OPERATORS = 10  # of a stage


class StoppableRuntime(SimulatedRuntime):
    """Can be stopped after each operator of a stage, where it calls `look`. Some stages are `slow`."""

    executing = stopped = False
    cancellations = 0
    slow = MappingProxyType({})
    look = staticmethod(lambda: None)

    def stage(self, index, features):
        self.executing, self.stopped = True, False
        try:
            for _ in range(OPERATORS):
                self.clock.now += STAGES[index] / OPERATORS * self.factor * self.slow.get(index, 1.0)
                self.look()
                if self.stopped:
                    raise RunCancelledError(index + 1, scores=False)
        finally:
            self.executing = False
        self.log.append(f'stage {index}')
        return index + 1

    def cancel(self):
        self.cancellations += 1
        self.stopped = self.executing


class Scene:
    """Frames that are stopped at their deadline, as by the thread that delivers while others wait."""

    def __init__(self, mode, *, slow=None, factor=1.0):
        self.clock = Clock()
        self.runtime = StoppableRuntime(self.clock, factor=factor)
        self.runtime.slow, self.runtime.look = slow or {}, self.look
        self.classifier = AnytimeClassifier(
            checkpoint(clock=self.clock), self.runtime, [profile()], mode=mode, clock=self.clock
        )
        self.final = []

    def look(self):
        if self.clock() >= self.deadline:
            self.cancellation.cancel()

    def planned(self, path, protected, slowdown):
        pass

    def answered(self, answer):
        pass

    def completed(self, answer):
        self.final.append(answer)

    def frame(self, budget):
        """The answer, and when the classifier was done with the frame, seconds after its deadline."""
        self.deadline, self.cancellation = self.clock() + budget, Cancellation()
        self.runtime.log.clear()
        request = FrameRequest(
            np.zeros((4, 4, 3), np.uint8),
            lambda: self.deadline,
            settings=self.classifier.settings,
            cancellation=self.cancellation,
        )
        return self.classifier.run(request, self), self.clock() - self.deadline


def test_it_ends_at_the_next_operator_and_is_one_overrun():
    scene = Scene('contract', factor=2.0)
    answer, late = scene.frame(0.042)  # enough for the last exit, if the machine were as fast as its profile
    assert (answer.planned_exit_index, answer.exit_index, answer.met) == (3, None, False)
    assert scene.runtime.log == ['stage 0', 'stage 1']
    assert answer.stages_executed == 2
    assert 0 <= late < 2 * STAGES[2] / OPERATORS + 1e-9
    camera = scene.classifier.state().cameras['']
    assert (camera.protected, camera.overruns) == (1, 1)


def test_what_it_took_until_then_is_learned():
    scene = Scene('contract', factor=2.0)
    frames = [scene.frame(0.042) for _ in range(30)]
    assert frames[0][0].exit_index is None
    assert all(answer.exit_index == 0 and answer.met for answer, _ in frames[-10:])
    assert scene.classifier.state().slowdown == pytest.approx(2.0, rel=0.05)


def test_the_answer_in_hand_stays():
    scene = Scene('interruptible', slow={2: 3.0})
    answer, late = scene.frame(0.0335)
    assert (answer.planned_exit_index, answer.exit_index, answer.met) == (2, 1, True)
    assert late < 3 * STAGES[2] / OPERATORS
    assert scene.final == [answer]
    camera = scene.classifier.state().cameras['']
    assert (camera.protected, camera.overruns) == (1, 0)  # the first exit was


def test_a_cancellation_reaches_no_other_frame():
    scene = Scene('contract')
    first, _ = scene.frame(1.0)
    before = scene.cancellation
    scene.runtime.look = before.cancel  # all along the second one
    second, _ = scene.frame(1.0)
    assert first.exit_index == second.exit_index == 3
    assert scene.runtime.cancellations == 0


def test_where_the_runtime_cannot_it_ends_at_the_next_boundary():
    scene = Scene('contract', factor=2.0)
    scene.runtime.cancel = lambda: None
    scene.deadline = 0.0
    answer, late = scene.frame(0.042)
    assert answer.exit_index is None
    assert late == pytest.approx(2 * sum(STAGES[:3]) - 0.042)


def test_errors_of_the_runtime_end_what_is_covered():
    cancellation, runtime = Cancellation(), StoppableRuntime(Clock())
    with pytest.raises(ValueError, match='broken'), cancellation.covering(runtime):
        raise ValueError('broken')
    cancellation.cancel()
    assert cancellation.requested
    assert runtime.cancellations == 0
