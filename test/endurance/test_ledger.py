"""The accounting: each way in which frames, records and counts may not fit is a difference."""

import pytest
from endurance.ledger import Balance, Counts, Ledger, Published

WINDOW = [(0.0, 100.0)]


def ledger(*frames, recorded=()):
    """One whose first frame is recorded, so that it knows of the camera; then what is given."""
    made = Ledger()
    made.published(Published(1, 1, 0.0))
    made.recorded('1.1', 'answered')
    made.mark(Counts(1, 0), running=1)
    add(made, *frames, recorded=recorded)
    return made


def add(made, *frames, recorded=()):
    for frame in frames:
        made.published(frame if isinstance(frame, Published) else Published(1, frame, float(frame)))
    for name in recorded:
        made.recorded(name, 'answered' if name else 'dropped')


def headless(number):
    return Published(1, number, 0.0, readable=False)


def test_what_is_recorded_and_what_is_not_received():
    balance = ledger(2, 3, 4, recorded=('1.2', '1.4')).mark(Counts(3, 1), running=1)
    assert (balance.published, balance.not_received, balance.difference) == (3, 1, 0)
    assert balance.outcomes == {'answered': 2}


@pytest.mark.parametrize(
    ('counts', 'difference', 'fault'),
    [
        (Counts(3, 0), 1, 'counts 0 frames as not received, right are 1'),
        (Counts(3, 3), 2, 'counts 3 frames as not received, right are 1'),
        (Counts(4, 1), 1, 'counts 1 frames more than it sent records'),
        (Counts(2, 1), 1, 'counts -1 frames more than it sent records'),
    ],
)
def test_counts_that_do_not_fit(counts, difference, fault):
    balance = ledger(2, 3, 4, recorded=('1.2', '1.4')).mark(counts, running=1)
    assert balance.difference == difference
    assert fault in balance.faults[0]


def test_two_records_of_a_frame():
    balance = ledger(2, recorded=('1.2', '1.2')).mark(Counts(3, 0), running=1)
    assert (balance.difference, balance.faults) == (1, ['1.2 has 2 records'])


def test_a_record_that_comes_again_after_a_mark():
    made = ledger(2, recorded=('1.2',))
    made.mark(Counts(2, 0), running=1)
    add(made, recorded=('1.2',))
    assert made.mark(Counts(3, 0), running=1).difference == 1


def test_what_comes_after_the_last_record_is_open_until_the_next_one():
    made = ledger(2, 3, recorded=('1.2',))
    assert not made.settled()
    assert made.mark(Counts(2, 0), running=1).published == 1
    add(made, 4, recorded=('1.4',))
    assert made.settled()
    balance = made.mark(Counts(3, 1), running=1)
    assert (balance.published, balance.not_received, balance.difference) == (2, 1, 0)


def test_a_camera_that_ended_and_one_that_begins_have_edges():
    new = [Published(2, number, 5.0) for number in (1, 2, 3)]
    balance = ledger(2, 3, *new, recorded=('1.2', '2.2', '2.3')).mark(Counts(4, 0), running=2)
    assert (balance.edge, balance.not_received, balance.difference) == (2, 0, 0)


@pytest.mark.parametrize('counted', [0, 1])
def test_while_several_publish_the_node_need_not_count_what_is_missing(counted):
    made = ledger(2, 3, 4, recorded=('1.2', '1.4'))
    balance = made.mark(Counts(3, counted), running=1, uncertain=WINDOW)
    assert (balance.uncertain, balance.difference) == (1, 0)


def test_but_no_more_than_that():
    made = ledger(2, 3, 4, recorded=('1.2', '1.4'))
    assert made.mark(Counts(3, 2), running=1, uncertain=WINDOW).difference == 1


def test_on_deactivation_the_node_may_count_what_it_could_not_send():
    balance = ledger(2, 3, 4, recorded=('1.2',)).mark(Counts(3, 0), running=1, deactivated=9.0)
    assert (balance.discarded, balance.edge, balance.difference) == (1, 1, 0)
    balance = ledger(2, 3, recorded=('1.2',)).mark(Counts(5, 0), running=1, deactivated=9.0)
    assert balance.difference == 2


def test_frames_that_came_before_the_node_was_active_are_no_ones():
    made = ledger(2, 3, 4, recorded=('1.2',))
    balance = made.mark(Counts(2, 0), running=1, deactivated=3.5)
    assert (balance.published, balance.edge) == (2, 1)
    add(made, 5)
    made.activated()
    add(made, 6, 7, 8, recorded=('1.7', '1.8'))
    balance = made.mark(Counts(2, 0), running=1)
    assert (balance.published, balance.edge, balance.difference) == (3, 1, 0)


def test_frames_without_a_readable_header_are_counted():
    made = ledger(headless(2), headless(3), 4, recorded=('', '1.4'))
    balance = made.mark(Counts(3, 1), running=1)
    assert (balance.published, balance.not_received, balance.difference) == (3, 1, 0)
    balance = ledger(2, recorded=('', '1.2')).mark(Counts(3, 0), running=1)
    assert balance.difference == 1


def test_counts_that_were_reset_are_compared_again_after_the_next_mark():
    made = ledger(2, 3, 4, recorded=('1.2', '1.4'))
    made.counts_reset()
    assert made.agrees(Counts(0, 0))
    balance = made.mark(Counts(1, 0), running=1)
    assert (balance.uncompared, balance.difference) == (1, 0)
    add(made, 5, recorded=('1.5',))
    assert not made.agrees(Counts(1, 0))
    assert made.mark(Counts(1, 0), running=1).difference == 1


def test_balances_add_up():
    total = Balance()
    for _ in range(2):
        total.add(ledger(2, 3, 4, recorded=('1.2', '1.4')).mark(Counts(3, 0), running=1))
    assert (total.published, total.not_received, total.difference) == (6, 2, 2)
    assert total.outcomes == {'answered': 4}
    assert len(total.faults) == 2
