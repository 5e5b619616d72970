"""What sending takes, and outputs that fail."""

import pytest

from impatient_ros.perception.deadlines import Deadline
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.latest_frames import Frame
from impatient_ros.perception.sending import Clocks, Sender

FRAME = Frame('front', 'message', 0, 0, Deadline(0))


class Outputs:
    """Publishing takes `cost` seconds; records fail."""

    def __init__(self):
        self.time, self.cost = 100.0, 0.0

    def answer(self, frame, answer, top_k):
        self.time += self.cost

    def record(self, frame, record):
        raise RuntimeError('no publisher')


@pytest.fixture
def outputs():
    return Outputs()


@pytest.fixture
def sender(outputs):
    return Sender(outputs, Clocks(lambda: 0, lambda: outputs.time))


def test_the_reserve_follows_what_most_frames_take_and_not_a_single_outlier(sender, outputs):
    assert sender.reserve(0.0) == 0.0
    for number in range(100):
        outputs.cost = 0.5 if number == 50 else 0.003
        sender.send(FRAME, 'answer', 5, meant=outputs.time - 0.001)
    assert sender.reserve(0.0) == pytest.approx(0.004)
    assert sender.reserve(0.01) == 0.01, 'the floor'
    for _ in range(10):
        outputs.cost = 0.02
        sender.send(FRAME, 'answer', 5, meant=outputs.time)
    assert sender.reserve(0.0) == pytest.approx(0.02)


def test_an_answer_that_is_early_takes_nothing(sender, outputs):
    sender.send(FRAME, 'answer', 5, meant=outputs.time + 1.0)
    assert sender.reserve(0.0) == 0.0


def test_a_record_that_cannot_be_published_is_logged(sender, caplog):
    sender.record(FRAME, FrameRecord('front', 0.0, Outcome.missed))
    assert 'front could not be published' in caplog.text
    assert 'no publisher' in caplog.text
