"""What each step of the lifecycle does to the model and to what runs on it."""

import pytest

from impatient_ros.perception.lifecycle import Lifecycle


class Scene:
    def __init__(self):
        self.events, self.time = [], 100.0
        self.error = None
        self.lifecycle = Lifecycle(self.load, self.run, lambda: self.time)

    def load(self):
        if self.error:
            raise self.error
        return 'model'

    def run(self, model):
        if self.error:
            raise self.error
        self.events.append(f'run {model}')
        return self

    def stop(self):
        # While it ends, nobody is handed what no longer runs.
        assert self.lifecycle.running is None
        self.events.append('stop')


@pytest.fixture
def scene():
    return Scene()


def test_up_and_down_and_up_again(scene):
    lifecycle = scene.lifecycle
    assert lifecycle.state == 'unconfigured'
    for _ in range(2):
        assert lifecycle.configure() == 'model'
        assert (lifecycle.state, lifecycle.running) == ('inactive', None)
        for _ in range(2):
            lifecycle.activate()
            assert (lifecycle.state, lifecycle.running) == ('active', scene)
            lifecycle.deactivate()
            assert (lifecycle.state, lifecycle.model, lifecycle.running) == ('inactive', 'model', None)
        lifecycle.clean_up()
        assert (lifecycle.state, lifecycle.model) == ('unconfigured', None)
    assert scene.events == ['run model', 'stop'] * 4


@pytest.mark.parametrize(('step', 'state'), [('clean_up', 'unconfigured'), ('shut_down', 'finalized')])
def test_what_runs_is_stopped_before_the_model_goes(scene, step, state):
    scene.lifecycle.configure()
    scene.lifecycle.activate()
    getattr(scene.lifecycle, step)()
    assert scene.events == ['run model', 'stop']
    assert (scene.lifecycle.state, scene.lifecycle.model) == (state, None)


def test_a_model_that_cannot_be_loaded_changes_nothing(scene):
    scene.error = OSError('no such file')
    with pytest.raises(OSError, match='no such file'):
        scene.lifecycle.configure()
    assert (scene.lifecycle.state, scene.lifecycle.model) == ('unconfigured', None)


def test_what_cannot_start_leaves_it_inactive(scene):
    scene.lifecycle.configure()
    scene.error = RuntimeError('no such topic')
    with pytest.raises(RuntimeError, match='no such topic'):
        scene.lifecycle.activate()
    assert (scene.lifecycle.state, scene.lifecycle.running) == ('inactive', None)
    scene.error = None
    scene.lifecycle.activate()
    assert scene.lifecycle.state == 'active'


def test_without_a_model_nothing_starts(scene):
    with pytest.raises(RuntimeError, match='configure'):
        scene.lifecycle.activate()
    assert scene.events == []


def test_stopping_twice_stops_once(scene):
    scene.lifecycle.configure()
    scene.lifecycle.activate()
    scene.lifecycle.stop()
    scene.lifecycle.stop()
    assert scene.events == ['run model', 'stop']


def test_how_long_it_has_been_active(scene):
    lifecycle = scene.lifecycle
    lifecycle.configure()
    assert lifecycle.active_for == 0.0
    lifecycle.activate()
    scene.time += 7.5
    assert lifecycle.active_for == 7.5
    lifecycle.deactivate()
    assert lifecycle.active_for == 0.0


def test_on_the_way_to_a_state_it_is_in_none_of_them(scene):
    lifecycle, seen = scene.lifecycle, []
    load, run, stop = scene.load, scene.run, scene.stop
    lifecycle._load = lambda: seen.append(lifecycle.state) or load()
    lifecycle._run = lambda model: seen.append(lifecycle.state) or run(model)
    scene.stop = lambda: seen.append(lifecycle.state) or stop()
    lifecycle.configure()
    lifecycle.activate()
    lifecycle.deactivate()
    lifecycle.activate()
    lifecycle.clean_up()
    lifecycle.configure()
    lifecycle.activate()
    lifecycle.shut_down()
    up = ['configuring', 'activating']
    assert seen == [*up, 'deactivating', 'activating', 'cleaningup', *up, 'shuttingdown']


@pytest.mark.parametrize(('step', 'state'), [('clean_up', 'unconfigured'), ('shut_down', 'finalized')])
def test_the_model_goes_though_what_runs_cannot_be_stopped(scene, step, state):
    scene.lifecycle.configure()
    scene.lifecycle.activate()
    scene.stop = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        getattr(scene.lifecycle, step)()
    assert (scene.lifecycle.state, scene.lifecycle.model, scene.lifecycle.running) == (state, None, None)
