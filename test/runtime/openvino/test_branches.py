import pytest

from impatient_ros.runtime.openvino.branches import TOGETHER, groups


@pytest.mark.parametrize(
    ('count', 'sizes'), [(1, [1]), (4, [4]), (5, [3, 2]), (7, [4, 3]), (8, [4, 4]), (9, [3, 3, 3])]
)
def test_sides_are_joined_in_few_groups_of_about_the_same_size(count, sizes):
    assert TOGETHER == 4
    sides = list(range(32, 32 * (count + 1), 32))
    found = groups(sides)
    assert [len(group) for group in found] == sizes
    assert [side for group in found for side in group] == sides
