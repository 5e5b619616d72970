"""What a picture shows, by its name."""

import pytest

from impatient_ros.demo.known_classes import KnownClasses

CLASSES = KnownClasses(['Granny Smith', 'zucchini, courgette', 't-shirt', 'bell pepper'])


@pytest.mark.parametrize(
    ('name', 'label'),
    [
        ('01-granny-smith.jpg', 'Granny Smith'),
        ('12_Granny_Smith.png', 'Granny Smith'),
        ('granny smith.jpg', 'Granny Smith'),
        ('zucchini/0007.jpg', 'zucchini, courgette'),
        ('4 courgette.jpg', 'zucchini, courgette'),
        ('some/where/bell_pepper/a.jpg', 'bell pepper'),
        ('05-t-shirt.jpg', 't-shirt'),
        ('IMG_2034.jpg', None),
        ('smith.jpg', None),
        ('01.jpg', None),
        ('', None),
    ],
)
def test_a_class_is_read_from_the_files_name_or_its_folders(name, label):
    assert CLASSES.of(name) == label
