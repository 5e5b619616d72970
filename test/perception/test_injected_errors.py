"""An error at every boundary inside the engine: the threads live on, and every frame has its record."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from answers import path

from impatient_ros.answer import Answer
from impatient_ros.perception.faults import ENDURED, Faults
from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.parameter_values import parse
from impatient_ros.perception.worker import Perception

SECOND = 1_000_000_000
PATIENCE = 20
ANSWER = Answer(
    label='cat',
    class_index=0,
    confidence=0.9,
    probabilities=np.array([0.9, 0.1]),
    exit_index=1,
    planned_exit_index=1,
    elapsed=0.0,
    slack=0.01,
    met=True,
    infeasible=False,
)


class Fuse:
    """Puts itself in the place of a function and, once it is lit, lets its next call fail."""

    def __init__(self):
        self.lit = threading.Event()
        self.blown = threading.Event()
        self.thread = None  # the name of the only thread in which it fails

    def around(self, function):
        def call(*arguments, **named):
            if self.lit.is_set() and self.thread in (None, threading.current_thread().name):
                self.lit.clear()
                self.blown.set()
                raise RuntimeError('injected')
            return function(*arguments, **named)

        return call


class Classifier:
    exits, resolutions, target_side = 2, (224,), 224

    def warm_up(self):
        pass

    def run(self, request, observer):
        request.image()
        request.deadline()
        observer.planned(path(1), None, 1.0)
        observer.answered(ANSWER)
        return ANSWER


class Outputs:
    def __init__(self):
        self.records, self.changed = [], threading.Condition()

    def answer(self, frame, given, top_k):
        pass

    def record(self, frame, record):
        with self.changed:
            self.records.append(record)
            self.changed.notify_all()

    def not_received(self, camera, count):
        pass

    def picture(self, frame, rgb, record):
        pass

    def wants_picture(self, camera):
        return True


class Scene:
    def __init__(self):
        self.fuse, self.classifier, self.outputs = Fuse(), Classifier(), Outputs()
        self.given_up = threading.Event()
        self.faults = Faults(self.given_up.set)
        parameters = parse({'camera_names': ['front'], 'budget.fixed': 5.0})
        self.functions = SimpleNamespace(
            parameters=lambda: parameters, ros_now=lambda: 100 * SECOND, steady=time.perf_counter
        )
        self.perception = Perception(
            self.classifier,
            lambda: self.functions.parameters(),
            self.outputs,
            lambda: self.functions.ros_now(),
            faults=self.faults,
            warn=lambda camera, text: None,
            steady_now=lambda: self.functions.steady(),
        )
        self.sent = 0

    def send(self):
        """Send a frame; returns the function that says whether it has its record."""
        self.sent += 1
        stamp = SimpleNamespace(sec=99, nanosec=self.sent)
        fields = {'width': 4, 'height': 2, 'step': 12, 'encoding': 'rgb8', 'is_bigendian': 0}
        message = SimpleNamespace(header=SimpleNamespace(stamp=stamp), data=bytes(24), **fields)
        # Every second number is missing, so that frames are counted as not received.
        self.perception.receive('front', message, 2 * self.sent)
        expected = (99 * SECOND + self.sent) * 1e-9
        return lambda: [record for record in self.outputs.records if record.stamp == expected]

    def wait_for(self, what):
        with self.outputs.changed:
            assert self.outputs.changed.wait_for(what, PATIENCE), self.outputs.records

    def owner(self, boundary):
        """What holds the function that a boundary names."""
        name = boundary.partition('.')[0]
        return getattr(self, name, None) or getattr(self.perception, f'_{name}')


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.perception.stop()


# Where the fuse is, and the thread in which it blows (None: any).
BOUNDARIES = [
    ('classifier.run', None),
    ('outputs.answer', None),
    ('outputs.wants_picture', None),
    ('outputs.picture', None),
    ('outputs.not_received', None),
    ('functions.ros_now', None),  # in the thread that takes images
    ('functions.ros_now', 'classification'),
    ('functions.steady', 'classification'),
    ('functions.steady', 'delivery'),
    ('functions.parameters', None),
    ('functions.parameters', 'classification'),
    ('frames.put', None),
    ('frames.take', None),
    ('deadlines.of', None),
    ('deadlines.of', 'classification'),
    ('delivery.begin', None),
    ('delivery._due', 'delivery'),
]


@pytest.mark.parametrize(('boundary', 'thread'), BOUNDARIES)
def test_an_error_costs_at_most_its_frame_and_every_frame_has_its_record(scene, boundary, thread, caplog):
    owner, name = scene.owner(boundary), boundary.partition('.')[2]
    setattr(owner, name, scene.fuse.around(getattr(owner, name)))
    scene.perception.start()
    scene.wait_for(scene.send())
    scene.fuse.thread = thread
    scene.fuse.lit.set()
    frames = []
    while not scene.fuse.blown.is_set():
        frames.append(scene.send())
        scene.fuse.blown.wait(0.01)
        assert len(frames) < 1000, 'it is never called'
    last = scene.send()
    scene.wait_for(last)
    assert last()[0].outcome is Outcome.answered
    scene.perception.stop()
    assert [len(frame()) for frame in frames] == [1] * len(frames)
    assert len(scene.outputs.records) == scene.sent
    assert sum(scene.faults.counts().errors.values()) == 1
    assert [str(each.exc_info[1]) for each in caplog.records if each.exc_info] == ['injected']
    assert not scene.faults.gave_up


def test_an_error_that_comes_with_every_frame_is_told_once_and_counted_every_time(scene, caplog):
    scene.classifier.run = lambda request, observer: 1 / 0
    scene.perception.start()
    for number in range(2 * ENDURED):
        frame = scene.send()
        scene.wait_for(frame)
        assert (frame()[0].outcome, frame()[0].reason) == (Outcome.dropped, 'internal_error')
        assert scene.faults.counts().errors['classification'] == number + 1
    assert 'ZeroDivisionError' in scene.faults.counts().recent
    assert len([each for each in caplog.records if each.exc_info]) == 1
    assert not scene.faults.gave_up


def test_a_frame_ends_though_its_record_needs_what_has_failed(scene):
    clock, broken = scene.functions.ros_now, threading.Event()

    def run(request, observer):
        broken.set()
        observer.answered(ANSWER)
        return ANSWER

    def ros_now():
        if broken.is_set():
            raise RuntimeError('injected')
        return clock()

    scene.classifier.run, scene.functions.ros_now = run, ros_now
    scene.perception.start()
    frame = scene.send()
    scene.wait_for(frame)
    assert (frame()[0].outcome, frame()[0].reason) == (Outcome.dropped, 'internal_error')
    broken.clear()
    scene.classifier.run = lambda request, observer: ANSWER
    frame = scene.send()
    scene.wait_for(frame)
    assert frame()[0].outcome is Outcome.answered


def test_a_status_that_cannot_be_published_is_an_error_that_is_counted(scene):
    record = scene.outputs.record
    scene.outputs.record = scene.fuse.around(record)
    scene.fuse.lit.set()
    scene.perception.start()
    scene.send()
    assert scene.fuse.blown.wait(PATIENCE)
    scene.wait_for(scene.send())
    assert scene.faults.counts().errors == {'frame_status': 1}


@pytest.mark.parametrize(
    ('boundary', 'where'), [('frames.take', 'classification'), ('delivery._due', 'delivery')]
)
def test_a_thread_that_cannot_be_kept_alive_is_given_up_and_what_was_taken_has_its_record(
    scene, boundary, where, caplog
):
    owner, name = scene.owner(boundary), boundary.partition('.')[2]
    original = getattr(owner, name)

    def broken():
        if threading.current_thread().name == where:
            raise RuntimeError('injected')
        return original()

    setattr(owner, name, broken)
    scene.perception.start()
    assert scene.given_up.wait(PATIENCE)
    assert f'{where} cannot go on' in caplog.text
    frames = [scene.send() for _ in range(3)]
    scene.perception.stop()
    assert [len(frame()) for frame in frames] == [1, 1, 1]
    assert scene.faults.counts().errors == {where: ENDURED}
