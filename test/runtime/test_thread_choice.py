import pytest

from impatient_ros.runtime.thread_choice import faster_with_several


class Machine:
    """Where runs take the time that they are said to take, and sleeping takes what it should."""

    def __init__(self):
        self.now = 0.0
        self.slept = 0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept += 1
        self.now += seconds

    def frame(self, seconds):
        def run():
            self.now += seconds

        return run


@pytest.mark.parametrize(
    ('one', 'several', 'expected'),
    [(0.0014, 0.0025, False), (0.004, 0.0025, True), (0.004, 0.0038, False), (0.020, 0.020, True)],
    ids=['waking up costs more', 'half the time', 'not worth a second core', 'no small network'],
)
def test_several_threads_are_used_only_where_frames_get_clearly_faster(one, several, expected):
    machine = Machine()
    found = faster_with_several(
        machine.frame(one), machine.frame(several), clock=machine.clock, sleep=machine.sleep
    )
    assert found is expected


def test_a_pause_precedes_every_run_and_slow_networks_get_few_rounds():
    machine = Machine()
    runs = []
    faster_with_several(
        lambda: (runs.append('one'), machine.frame(1.0)()),
        lambda: (runs.append('several'), machine.frame(0.6)()),
        clock=machine.clock,
        sleep=machine.sleep,
    )
    assert runs == ['one', 'several'] * 3
    assert machine.slept == len(runs)


def test_a_machine_that_is_busy_now_and_then_does_not_decide():
    machine = Machine()
    several = iter([0.002, 0.002, 0.030] * 20)
    found = faster_with_several(
        machine.frame(0.0035),
        lambda: machine.frame(next(several))(),
        clock=machine.clock,
        sleep=machine.sleep,
    )
    assert found
