"""The thread that classifies, with a scripted classifier: real threads, no ROS, no network."""

import threading
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from answers import path
from simulation import Clock, SimulatedRuntime, checkpoint, profile

from impatient_ros.answer import Answer
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.images.errors import ImageError
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.images.serialized import Unreadable
from impatient_ros.perception.frame_record import Outcome
from impatient_ros.perception.parameter_values import parse
from impatient_ros.perception.worker import Perception

SECOND = 1_000_000_000
NOW = 100 * SECOND


def image(fill=0, **fields):
    values = {
        'header': SimpleNamespace(stamp=SimpleNamespace(sec=100, nanosec=0)),
        'width': 4,
        'height': 2,
        'step': 12,
        'encoding': 'rgb8',
        'is_bigendian': 0,
        'data': array('B', [fill] * 24),
    }
    return SimpleNamespace(**{**values, **fields})


def answer(infeasible=False, **options):
    return Answer(
        label=None if infeasible else 'cat',
        class_index=None if infeasible else 0,
        confidence=0.0 if infeasible else 0.9,
        probabilities=np.array([] if infeasible else [0.9, 0.1]),
        exit_index=None if infeasible else 1,
        planned_exit_index=None if infeasible else 1,
        elapsed=0.0,
        slack=0.01,
        met=not infeasible,
        infeasible=infeasible,
        **options,
    )


class Classifier:
    """Answers as `script` says; remembers what happened to it."""

    exits = 2
    resolutions = (160, 224)
    target_side = Preprocessing.for_image_size(224).target_side

    def __init__(self):
        self.calls, self.threads, self.requests, self.given = [], [], [], []
        self.script = lambda decode: answer()

    def warm_up(self):
        self.calls.append('warm_up')
        self.threads.append(threading.current_thread())

    def run(self, request, observer):
        self.calls.append('run')
        self.requests.append(request)
        self.given.append((request.deadline(), request.reserve, request.settings.miss_rate))
        self.threads.append(threading.current_thread())
        given = self.script(request.image)
        if not given.infeasible:
            observer.planned(path(given.planned_exit_index), None, 1.0)
            observer.answered(given)
        return given


class Outputs:
    def __init__(self):
        self.records, self.lost, self.pictures, self.top_k = [], [], [], []
        self.watched = False
        self.changed = threading.Condition()

    def answer(self, frame, given, top_k):
        self.top_k.append(top_k)

    def record(self, frame, record):
        with self.changed:
            self.records.append(record)
            self.changed.notify_all()

    def not_received(self, camera, count):
        self.lost.append((camera, count))

    def picture(self, frame, rgb, record):
        with self.changed:
            self.pictures.append((rgb, record))
            self.changed.notify_all()

    def wants_picture(self, camera):
        return self.watched

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.records) >= count, 10), self.records
        return self.records[-1]


@pytest.fixture
def scene():
    classifier, outputs = Classifier(), Outputs()
    warnings = []
    parameters = parse({'camera_names': ['front'], 'budget.fixed': 5.0, 'budget.source': 'fixed'})
    perception = Perception(
        classifier,
        lambda: parameters,
        outputs,
        lambda: NOW,
        warn=lambda camera, text: warnings.append((camera, text)),
    )
    yield perception, classifier, outputs, warnings
    perception.stop()


def ask(perception, outputs, message=None):
    count = len(outputs.records)
    perception.receive('front', message or image(), None)
    return outputs.wait_for(count + 1)


def test_a_record_knows_how_many_resolutions_and_exits_there_are(scene):
    perception, classifier, outputs, _ = scene
    classifier.script = lambda decode: answer(resolution=160, planned_resolution=224)
    perception.start()
    record = ask(perception, outputs)
    assert (record.path, record.planned_path) == ('160 px, exit 2 of 2', '224 px, exit 2 of 2')


def test_the_thread_that_classifies_has_warmed_up_when_start_returns(scene):
    perception, classifier, outputs, _ = scene
    perception.start()
    assert classifier.calls == ['warm_up']
    assert ask(perception, outputs).outcome is Outcome.answered
    assert classifier.threads[0] is classifier.threads[1] is not threading.current_thread()


def test_a_failing_warm_up_costs_no_frame(scene, caplog):
    perception, classifier, outputs, _ = scene
    classifier.warm_up = lambda: 1 / 0
    perception.start()
    assert 'warming up failed' in caplog.text
    assert ask(perception, outputs).outcome is Outcome.answered


def test_a_broken_image_is_dropped_with_its_reason_and_the_next_one_answered(scene):
    perception, classifier, outputs, warnings = scene
    classifier.script = lambda decode: (decode(), answer())[1]
    perception.start()
    dropped = ask(perception, outputs, image(data=array('B', b'123')))
    assert dropped.outcome is Outcome.dropped
    assert dropped.reason
    assert warnings[0][0] == 'front'
    assert ask(perception, outputs).outcome is Outcome.answered


def test_an_error_of_our_own_drops_one_frame_not_the_thread(scene):
    perception, classifier, outputs, warnings = scene
    perception.start()
    classifier.script = lambda decode: 1 / 0
    assert ask(perception, outputs).reason == 'internal_error'
    assert 'ZeroDivisionError' in warnings[0][1]
    classifier.script = lambda decode: answer()
    assert ask(perception, outputs).outcome is Outcome.answered


def test_what_waits_is_superseded_by_newer_frames_and_accounted_for_at_the_end(scene):
    perception, classifier, outputs, _ = scene
    busy, go_on = threading.Event(), threading.Event()

    def wait(decode):
        busy.set()
        assert go_on.wait(10)
        return answer()

    classifier.script = wait
    perception.start()
    perception.receive('front', image(), None)
    assert busy.wait(10)
    perception.receive('front', image(), None)
    perception.receive('front', image(), None)
    assert outputs.wait_for(1).outcome is Outcome.superseded
    stopper = threading.Thread(target=perception.stop)
    stopper.start()
    outputs.wait_for(2)
    go_on.set()
    stopper.join(10)
    outcomes = [(record.outcome, record.reason) for record in outputs.records]
    assert (Outcome.dropped, 'deactivated') in outcomes
    assert (Outcome.answered, '') in outcomes
    assert len(outcomes) == 3


def test_what_is_executed_for_a_frame_that_has_ended_is_cancelled_for_a_newer_one():
    classifier, outputs = Classifier(), Outputs()
    parameters = parse({'camera_names': ['front'], 'budget.fixed': 0.05})
    perception = Perception(classifier, lambda: parameters, outputs, lambda: NOW)
    cancelled = threading.Event()
    runtime = SimpleNamespace(cancel=cancelled.set)

    def execute(decode):
        classifier.script = lambda decode: answer()
        with classifier.requests[-1].cancellation.covering(runtime):
            assert cancelled.wait(10)
        return answer(infeasible=True)

    classifier.script = execute
    perception.start()
    perception.receive('front', image(), None)
    assert outputs.wait_for(1).outcome is Outcome.missed  # its deadline has come
    assert not cancelled.is_set(), 'nobody waits for the processor'
    perception.receive('front', object(), None)
    assert outputs.wait_for(2).outcome is Outcome.dropped
    assert not cancelled.is_set(), 'nor does what was refused'
    perception.receive('front', image(), None)
    assert cancelled.wait(10)
    outputs.wait_for(3)
    perception.stop()
    assert len(outputs.records) == 3, 'one for each frame'


def test_a_message_that_cannot_be_read_is_dropped_with_its_reason(scene):
    perception, classifier, outputs, warnings = scene
    classifier.script = lambda decode: (decode(), answer())[1]
    perception.start()
    unreadable = Unreadable(ImageError('malformed', 'too short'))
    unreadable.header = image().header
    record = ask(perception, outputs, unreadable)
    assert (record.outcome, record.reason) == (Outcome.dropped, 'malformed')
    assert 'too short' in warnings[0][1]


def test_messages_that_never_arrived_are_counted(scene):
    perception, _, outputs, _ = scene
    for sequence, publishers in ((7, 1), (10, 1), (90, 2), (11, 2)):
        perception.receive('front', image(), sequence, publishers)
    assert outputs.lost == [('front', 2)]


@pytest.mark.parametrize(('watched', 'height'), [(False, 540), (True, 1080)])
def test_a_large_jpeg_is_decoded_whole_only_where_somebody_looks(watched, height):
    data = cv2.imencode('.jpg', np.zeros((1080, 1920, 3), np.uint8))[1].tobytes()
    message = SimpleNamespace(header=image().header, format='jpeg', data=data)
    classifier, outputs, decoded = Classifier(), Outputs(), []
    outputs.watched = watched
    classifier.script = lambda decode: (decoded.append(decode()), answer())[1]
    parameters = parse({**BASE, 'cameras.front.transport': 'compressed'})
    perception = Perception(classifier, lambda: parameters, outputs, lambda: NOW)
    perception.start()
    try:
        record = ask(perception, outputs, message)
        if watched:
            with outputs.changed:
                assert outputs.changed.wait_for(lambda: outputs.pictures, 10)
    finally:
        perception.stop()
    assert [rgb.shape[0] for rgb in decoded] == [height]
    assert [(rgb.shape[0], drawn) for rgb, drawn in outputs.pictures] == [(1080, record)] * watched


class TestParametersOfAFrame:
    """A frame keeps the parameters of its pick-up; only its deadline may move, by an announcement."""

    @pytest.fixture
    def held(self):
        """Holds a frame while it is classified: the engine, its parse()d parameters, and the way to go on."""
        classifier, outputs = Classifier(), Outputs()
        busy, go_on = threading.Event(), threading.Event()

        def hold(decode):
            busy.set()
            assert go_on.wait(10)
            return answer()

        classifier.script = hold
        current = [parse({**BASE, 'budget.source': 'topic', 'top_k': 2})]
        perception = Perception(
            classifier, lambda: current[0], outputs, lambda: NOW, steady_now=lambda: 1000.0
        )
        perception.start()
        perception.receive('front', image(), None)
        assert busy.wait(10)

        def change(**values):
            current[0] = parse({**BASE, **{name.replace('__', '.'): v for name, v in values.items()}})
            perception.reschedule()

        yield perception, classifier.requests, outputs, change, go_on
        go_on.set()
        perception.stop()

    def test_what_changes_in_the_middle_counts_from_the_next_one(self, held):
        perception, requests, outputs, change, go_on = held
        change(mode='contract', top_k=1, budget__fixed=2.0, budget__miss_rate=0.2, on_miss='late')
        assert requests[0].deadline() == pytest.approx(1005.0)
        go_on.set()
        outputs.wait_for(1)
        ask(perception, outputs)
        before, after = (request.settings for request in requests)
        assert (before.mode, before.miss_rate, before.finish_late) == ('adaptive', 0.01, False)
        assert (after.mode, after.miss_rate, after.finish_late) == ('contract', 0.2, True)
        assert requests[1].deadline() == pytest.approx(1002.0)
        assert outputs.top_k == [2, 1]

    def test_an_announcement_moves_its_deadline(self, held):
        perception, requests, *_ = held
        perception.announce(NOW + 9 * SECOND, 'rear')
        assert requests[0].deadline() == pytest.approx(1005.0)
        perception.announce(NOW + 8 * SECOND, 'front')
        assert requests[0].deadline() == pytest.approx(1008.0)
        perception.announce(NOW + 3 * SECOND)
        assert requests[0].deadline() == pytest.approx(1003.0)

    def test_parameters_move_the_deadlines_of_the_frames_that_wait(self, held):
        perception, _, outputs, change, go_on = held
        perception.receive('front', image(), None)
        change(budget__source='fixed', budget__fixed=3.0)
        go_on.set()
        outputs.wait_for(2)
        assert [record.fault for record in outputs.records] == ['no_deadline', None]
        assert outputs.records[1].budget == pytest.approx(3.0)


def test_a_frame_keeps_the_parameters_of_its_pick_up():
    """They change between any two looks at them here, as they may on a robot."""
    looks = iter(range(1, 1000))

    def parameters():
        share = next(looks) * 1e-4
        return parse(
            {
                'camera_names': ['front'],
                'budget.fixed': 5.0,
                'budget.miss_rate': share,
                'confidence_threshold': share,
            }
        )

    classifier, outputs, kept = Classifier(), Outputs(), []
    run = classifier.run

    def observed(request, observer):
        kept.append(observer.parameters.frame_settings(observer.camera))
        return run(request, observer)

    classifier.run = observed
    perception = Perception(classifier, parameters, outputs, lambda: NOW)
    perception.start()
    ask(perception, outputs)
    perception.stop()
    assert [request.settings for request in classifier.requests] == kept


def test_each_camera_is_asked_for_by_name_with_its_own_miss_rate():
    classifier, outputs = Classifier(), Outputs()
    parameters = parse(
        {
            'camera_names': ['front', 'rear'],
            'budget.fixed': 5.0,
            'budget.miss_rate': 0.02,
            'cameras.rear.budget.miss_rate': 0.1,
        }
    )
    perception = Perception(classifier, lambda: parameters, outputs, lambda: NOW)
    perception.start()
    try:
        for number, camera in enumerate(('front', 'rear', 'front'), start=1):
            perception.receive(camera, image(), None)
            outputs.wait_for(number)
    finally:
        perception.stop()
    asked = [(request.camera, request.settings.miss_rate) for request in classifier.requests]
    assert asked == [('front', 0.02), ('rear', 0.1), ('front', 0.02)]
    assert all(request.time_share is not None for request in classifier.requests)


BASE = {
    'camera_names': ['front'],
    'budget.fixed': 5.0,
    'budget.source': 'fixed',
    'budget.stale_after': 50.0,
}


class TestBudgetParameters:
    """Each of them takes effect on the next frame."""

    @pytest.fixture
    def live(self):
        """Asks for a frame of an age with parameters: its budget, reserve, miss rate and record."""
        classifier, outputs = Classifier(), Outputs()
        current = [parse(BASE)]
        steady = [1000.0]
        perception = Perception(
            classifier, lambda: current[0], outputs, lambda: NOW, steady_now=lambda: steady[0]
        )
        perception.start()

        def frame(age=0, **changed):
            current[0] = parse({**BASE, **{name.replace('__', '.'): v for name, v in changed.items()}})
            stamp = SimpleNamespace(sec=100 - age, nanosec=0)
            record = ask(perception, outputs, image(header=SimpleNamespace(stamp=stamp)))
            until, reserve, miss_rate = classifier.given[-1]
            return until - steady[0], reserve, miss_rate, record

        yield frame
        perception.stop()

    @pytest.mark.parametrize(
        ('changed', 'budget'),
        [
            ({'budget__fixed': 7.5}, 7.5),
            ({'cameras__front__budget__fixed': 2.5}, 2.5),
            ({'budget__source': 'control_loop', 'budget__control_period': 4.0}, 4.0),
            ({'budget__source': 'control_loop', 'budget__control_period': 3.0}, 2.0),
            (
                {
                    'budget__source': 'control_loop',
                    'budget__control_period': 4.0,
                    'budget__control_phase': 1.0,
                },
                1.0,
            ),
            ({'budget__source': 'control_loop', 'budget__control_period': 4.0, 'budget__max_age': 9.0}, 8.0),
            ({'budget__source': 'topic', 'budget__fixed': 6.0}, 6.0),
        ],
    )
    def test_of_the_deadline(self, live, changed, budget):
        assert live()[0] == pytest.approx(5.0)
        found, _, _, record = live(**changed)
        assert (found, record.budget) == (pytest.approx(budget), pytest.approx(budget))
        assert live()[0] == pytest.approx(5.0), 'and back'

    def test_of_stale_stamps(self, live):
        assert live(age=3)[3].fault is None
        budget, _, _, record = live(age=3, budget__stale_after=2.0)
        assert record.fault == 'stale_stamp'
        assert budget == pytest.approx(5.0), 'the arrival stands in'

    def test_of_reserve_and_miss_rate(self, live):
        _, reserve, miss_rate, _ = live()
        _, more, other, _ = live(budget__reserve=0.5, budget__miss_rate=0.05)
        assert reserve < more == 0.5
        assert (miss_rate, other) == (0.01, 0.05)


def test_each_camera_holds_its_own_miss_rate_through_the_worker():
    """A real classifier on a simulated runtime whose speed varies from frame to frame."""
    random, clock, outputs = np.random.default_rng(1), Clock(), Outputs()
    runtime = SimulatedRuntime(clock)
    classifier = AnytimeClassifier(checkpoint(clock=clock), runtime, [profile()], clock=clock)
    rates = {'front': 0.01, 'rear': 0.15}
    parameters = parse(
        {
            'camera_names': list(rates),
            'budget.fixed': 0.04,
            'budget.reserve': 0.0,
            **{f'cameras.{camera}.budget.miss_rate': rate for camera, rate in rates.items()},
        }
    )
    ros_now_ns = lambda: round(clock.now * 1e9)  # noqa: E731
    perception = Perception(classifier, lambda: parameters, outputs, ros_now_ns, steady_now=clock)
    perception.start()
    try:
        for number in range(3000):
            runtime.factor = float(np.exp(random.normal(0, 0.15)))
            stamp_ns = ros_now_ns()
            header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND))
            perception.receive(list(rates)[number % 2], image(header=header), None)
            outputs.wait_for(number + 1)
    finally:
        perception.stop()
    for camera, rate in rates.items():
        overruns = [
            record.overrun
            for record in outputs.records
            if record.camera == camera and record.overrun is not None
        ]
        assert len(overruns) > 1000, camera
        assert np.mean(overruns[200:]) == pytest.approx(rate, abs=0.01), camera


def test_after_a_jump_back_only_frames_from_before_it_are_forgotten():
    now, outputs = [NOW], Outputs()
    parameters = parse({'camera_names': ['front', 'rear'], 'budget.fixed': 5.0, 'budget.source': 'fixed'})
    perception = Perception(Classifier(), lambda: parameters, outputs, lambda: now[0])
    perception.receive('front', image(), 1)
    now[0] = NOW // 2
    stamp = SimpleNamespace(sec=50, nanosec=0)
    perception.receive('rear', image(header=SimpleNamespace(stamp=stamp)), 1)  # before the node heard of it
    perception.clock_jumped_back()
    perception.start()
    try:
        outputs.wait_for(2)
    finally:
        perception.stop()
    ends = {record.camera: (record.outcome, record.reason) for record in outputs.records}
    assert ends == {'front': (Outcome.dropped, 'clock_jump'), 'rear': (Outcome.answered, '')}
