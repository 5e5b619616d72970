from functools import partial

import pytest

from impatient_ros.runtime import RuntimeUnavailableError
from impatient_ros.runtime.cpu_choice import faster, remembered

SHAPES = [(3, 64, 64), (3, 96, 96), (3, 128, 128)]


class Machine:
    """Makes runtimes whose frames take what they are said to take."""

    def __init__(self):
        self.now = 0.0
        self.made, self.sizes = [], set()

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def runtime(self, name, seconds, sides=(64, 96, 128)):
        if isinstance(seconds, Exception):
            raise seconds
        self.made.append(name)
        return Stand(self, name, seconds, sides)

    def choose(self, one, other, digest='0' * 64, sides=(64, 96, 128)):
        self.made, self.sizes = [], set()
        makers = {
            'openvino': lambda: self.runtime('openvino', one),
            'onnxruntime': lambda: self.runtime('onnxruntime', other, sides),
        }
        file = remembered('runtime', makers, digest)
        return faster(makers, SHAPES, file, clock=self.clock, sleep=self.sleep).name


class Stand:
    exits = 3

    def __init__(self, machine, name, seconds, sides):
        self.machine, self.name, self.seconds, self.sides = machine, name, seconds, sides

    def start(self, image):
        self.machine.sizes.add(image.shape)
        self.position = 0
        return self

    def stage(self, toward):
        assert toward == 2
        self.position = 3

    def exit(self):
        self.machine.now += self.seconds


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return Machine()


@pytest.mark.parametrize(
    ('one', 'other', 'chosen'),
    [(0.010, 0.009, 'onnxruntime'), (0.010, 0.0097, 'openvino'), (0.010, 0.020, 'openvino')],
)
def test_the_second_is_taken_where_it_is_clearly_faster_and_then_alone_is_made(machine, one, other, chosen):
    assert machine.choose(one, other) == chosen
    assert machine.made == ['openvino', 'onnxruntime']
    assert machine.sizes == {(1, 3, 128, 128)}
    assert machine.choose(one, other) == chosen
    assert (machine.made, machine.sizes) == ([chosen], set())
    machine.choose(one, other, digest='1' * 64)
    assert machine.made == ['openvino', 'onnxruntime'], 'another model is another choice'


def test_of_several_the_fastest_is_taken_and_then_alone_is_made(machine):
    def choose(**seconds):
        machine.made = []
        makers = {name: partial(machine.runtime, name, each) for name, each in seconds.items()}
        file = remembered('runtime', ['openvino'], '3' * 64, precisions=[*seconds])
        return faster(makers, SHAPES, file, clock=machine.clock, sleep=machine.sleep).name

    assert choose(f32=0.010, bf16=0.005, int8=0.0049) == 'bf16', 'int8 is hardly faster than bf16'
    assert machine.made == ['f32', 'bf16', 'int8']
    assert choose(f32=0.010, bf16=0.005, int8=0.0049) == 'bf16'
    assert machine.made == ['bf16']
    assert choose(f32=0.010, int8=0.020) == 'f32', 'among others it is another choice'
    broken = RuntimeUnavailableError('it is refused')
    assert choose(f32=0.010, bf16=broken, int8=0.002) == 'int8'
    assert machine.made == ['f32', 'int8'], 'bf16 was remembered and is asked once'


def test_without_a_digest_nothing_is_remembered(machine):
    for _ in range(2):
        machine.choose(0.010, 0.001, digest=None)
        assert machine.made == ['openvino', 'onnxruntime']


def test_the_largest_resolution_that_both_execute_decides(machine):
    machine.choose(0.010, 0.001, sides=(64, 96))
    assert machine.sizes == {(1, 3, 96, 96)}


def test_one_that_cannot_be_made_is_done_without_and_the_first_one_says_why(machine, caplog):
    broken = RuntimeUnavailableError('its wheel is broken')
    assert machine.choose(0.010, broken) == 'openvino'
    assert 'openvino is used, since its wheel is broken' in caplog.text
    assert machine.choose(0.010, broken) == 'openvino'
    assert (machine.made, machine.sizes) == (['openvino'], set()), 'it is tried again, nothing is measured'
    assert machine.choose(0.010, 0.001) == 'onnxruntime', 'it works again: what was chosen without it is void'
    assert machine.choose(0.010, broken) == 'openvino', 'though the other one is remembered'
    with pytest.raises(RuntimeUnavailableError, match='its wheel is broken'):
        machine.choose(broken, 0.001, digest='2' * 64)
