import pytest

from impatient_ros.suggestions import did_you_mean


@pytest.mark.parametrize(
    ('known', 'text'),
    [
        (['resnet18', 'vgg'], 'did you mean resnet18?'),
        (['resnet101', 'vgg', 'resnet18'], 'did you mean resnet18 or resnet101?'),
        (['rest', 'resnet101', 'resnet18', 'resnet1'], 'did you mean resnet1, resnet18 or resnet101?'),
        (['vgg'], 'see the list'),
        ([], 'see the list'),
    ],
)
def test_up_to_three_near_names_the_nearest_first(known, text):
    assert did_you_mean('resnet19', known, 'see the list') == text


@pytest.mark.parametrize(
    ('word', 'known', 'text'),
    [
        ('BANANA', ['banana'], 'did you mean banana?'),
        ('granny smith', ['Granny Smith'], 'did you mean Granny Smith?'),
        ('mug', ['coffee mug', 'pug'], 'did you mean coffee mug or pug?'),
        ('cat', ['catamaran', 'Egyptian cat'], 'did you mean Egyptian cat?'),
        ('', ['cup'], ''),
        ('c++ (', ['cup'], ''),
    ],
)
def test_case_does_not_matter_and_a_name_that_has_the_word_is_near(word, known, text):
    assert did_you_mean(word, known) == text
