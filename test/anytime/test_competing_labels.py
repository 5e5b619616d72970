"""Which classes compete, and what is said of names that the model does not have."""

import pytest

from impatient_ros.anytime.competing_labels import LabelError, competing

LABELS = ('coffee mug', 'banana', 'Granny Smith', 'pug', 'orange')


def test_without_any_wanted_all_compete():
    assert competing(LABELS) == (0, 1, 2, 3, 4)


def test_the_wanted_ones_keep_the_order_in_which_they_were_given():
    assert competing(LABELS, ['orange', 'coffee mug']) == (4, 0)


@pytest.mark.parametrize(
    ('wanted', 'told'),
    [
        (['mug'], "no label 'mug' (did you mean coffee mug or pug?)"),
        (['banana', 'granny smith'], "no label 'granny smith' (did you mean Granny Smith?)"),
        (['zebra crossing'], '(it has 5, such as coffee mug, banana, Granny Smith)'),
        ([''], "no label ''"),
        (['pug', 'pug'], "labels has 'pug' 2 times: name it once"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_what_to_write(wanted, told):
    with pytest.raises(LabelError) as refused:
        competing(LABELS, wanted)
    assert told in str(refused.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(LabelError, match=r"'bananna'.*; .*'oranges'"):
        competing(LABELS, ['bananna', 'pug', 'oranges'])
