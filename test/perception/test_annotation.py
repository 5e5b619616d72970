"""The annotated picture: a copy, legible at any size, saying what the record says."""

import numpy as np
import pytest

from impatient_ros.perception.annotation import annotate, caption
from impatient_ros.perception.frame_record import FrameRecord, Outcome


def record(outcome=Outcome.answered, reason='', **values):
    values = {'exits': 5, 'budget': 0.1, 'slack': 0.03, **values}
    return FrameRecord(camera='front', stamp=1.0, outcome=outcome, reason=reason, **values)


ANSWERED = record(label='T-shirt', confidence=0.873, exit_index=1)


def picture(height=480, width=640):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_the_caption_says_label_confidence_exit_and_slack():
    assert caption(ANSWERED) == ('T-shirt 87%', 'exit 2 of 5  slack +30 ms')


def test_the_caption_says_the_resolution_where_there_are_several():
    several = record(label='cup', confidence=0.5, exit_index=3, resolution=160, resolutions=2)
    assert caption(several) == ('cup 50%', '160 px, exit 4 of 5  slack +30 ms')


def test_the_caption_of_an_unknown_answer_says_so():
    unknown = record(label='unknown', confidence=0.75, exit_index=0, unknown=True)
    assert caption(unknown)[0] == 'unknown 75%'


def test_the_caption_of_a_frame_without_answer_says_why():
    missed = record(Outcome.missed, 'no exit was ready', slack=-0.004)
    assert caption(missed) == ('missed', 'slack -4 ms  no exit was ready')
    assert caption(record(Outcome.infeasible, slack=None)) == ('infeasible', 'infeasible')


def test_the_picture_handed_in_is_not_drawn_on():
    rgb = picture()
    before = rgb.copy()
    drawn = annotate(rgb, ANSWERED)
    assert np.array_equal(rgb, before)
    assert drawn.shape == rgb.shape
    assert drawn.dtype == np.uint8


def test_only_a_band_at_the_lower_edge_changes():
    rgb = picture()
    changed = np.flatnonzero((annotate(rgb, ANSWERED) != rgb).any(axis=(1, 2)))
    assert changed.min() > 0.75 * len(rgb)
    assert changed.max() == len(rgb) - 1


def test_the_line_shows_how_much_of_the_budget_is_left():
    def length(slack):
        drawn = annotate(picture(), record(label='a', slack=slack))
        top = np.flatnonzero((drawn == (90, 90, 90)).all(axis=2).any(axis=1)).min()
        return int((drawn[top] == (60, 200, 90)).all(axis=1).sum())

    assert [length(slack) for slack in (-0.01, 0.025, 0.05)] == [0, 160, 320]


def test_the_colour_tells_answers_from_misses():
    green, red = (60, 200, 90), (255, 80, 70)

    def has(drawn, colour):
        return bool((drawn == colour).all(axis=2).any())

    answered, missed = (
        annotate(picture(), record(outcome)) for outcome in (Outcome.answered, Outcome.missed)
    )
    assert has(answered, green)
    assert not has(answered, red)
    assert has(missed, red)
    assert not has(missed, green)


@pytest.mark.parametrize(
    'size', [(1, 1), (31, 400), (32, 32), (64, 64), (40, 2000), (2000, 40), (2160, 3840)]
)
def test_any_size_can_be_drawn_on(size):
    long = record(label='Überwürfe mit sehr langem Namen 🧥' * 3, confidence=1.0, exit_index=4)
    drawn = annotate(picture(*size), long)
    assert drawn.shape == (*size, 3)


def test_a_read_only_or_strided_picture_is_fine():
    rgb = picture()[:, ::-1]
    rgb.setflags(write=False)
    assert annotate(rgb, ANSWERED).flags.writeable
