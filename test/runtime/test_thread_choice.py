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
    [(0.0014, 0.0025, False), (0.020, 0.0105, True), (0.010, 0.0095, False)],
    ids=['waking up costs more', 'half the time', 'not worth a second core'],
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
