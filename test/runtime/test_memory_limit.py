import pytest

from impatient_ros.runtime.memory_limit import prepare_within

SIDES = (96, 112, 128, 160, 192, 224)


class Process:
    """One that takes 100 MiB and 10 more for every resolution that is prepared."""

    def __init__(self):
        self.prepared, self.asked = (), []

    def prepare(self, sides):
        self.asked.append(sides)
        self.prepared = sides

    def memory(self):
        return 100.0 + 10 * len(self.prepared)

    def within(self, limit, sides=SIDES):
        return prepare_within(limit, sides, self.prepare, before=100.0, memory=self.memory)


def test_without_limit_everything_is_prepared_at_once():
    process = Process()
    assert process.within(0, reversed(SIDES)) == SIDES
    assert process.asked == [SIDES]
    assert Process().within(0, [128]) == (128,)


def test_within_a_limit_the_ends_come_first_and_what_lies_apart_next():
    process = Process()
    assert process.within(60) == SIDES
    assert [len(sides) for sides in process.asked] == [1, 2, 3, 4, 5, 6]
    assert process.asked[:4] == [(96,), (96, 224), (96, 160, 224), (96, 128, 160, 224)]


@pytest.mark.parametrize(
    ('limit', 'kept'), [(60, SIDES), (59, (96, 128, 160, 192, 224)), (30, (96, 160, 224)), (25, (96, 224))]
)
def test_what_does_not_fit_is_dropped_and_named(limit, kept, caplog):
    process = Process()
    assert process.within(limit) == kept
    assert process.prepared == kept
    for side in SIDES:
        assert (f'{side} px ({10 * len(kept) + 10} MiB with it)' in caplog.text) == (side not in kept)


def test_one_always_stays_and_says_so(caplog):
    process = Process()
    assert process.within(5) == (96,)
    assert '96 px alone takes 10 MiB, more than memory_limit 5' in caplog.text
