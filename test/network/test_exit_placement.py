"""After which cut points exits go: evenly by cost, or by name."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.network import families
from impatient_ros.network.cut_points import CutError, CutPoint, find_cut_points
from impatient_ros.network.exit_placement import _nearest, offered_points, place_exits


def empty(name, **options):
    return families.find('torchvision').build(
        name, classes=1000, image_size=(224, 224), options=options, empty=True
    )


def test_exits_are_placed_evenly_between_blocks():
    points = find_cut_points(empty('resnet18'), (3, 224, 224))
    chosen = place_exits(points, 5)
    assert [point.name for point in chosen] == ['layer1.0', 'layer2.0', 'layer3.0', 'layer3.1', 'layer4.1']
    assert [point.name for point in place_exits(points, 1)] == ['layer4.1']
    assert place_exits(points, None) == chosen


def test_exits_go_into_blocks_only_where_needed():
    points = find_cut_points(empty('vit_b_32'), (3, 224, 224))
    assert all('.add' not in point.name for point in place_exits(points, 5))
    assert any('.add' in point.name for point in place_exits(points, 20))


def test_exits_can_be_placed_by_name():
    points = find_cut_points(empty('resnet18'), (3, 224, 224))
    chosen = place_exits(points, 3, ['layer1', 'layer3.1'])
    assert [point.name for point in chosen] == ['layer1.1', 'layer3.1', 'layer4.1']
    assert place_exits(points, None, ['layer1', 'layer3.1']) == chosen
    assert place_exits(points, 3, ['layer1', 'layer3.1', 'layer4.1']) == chosen
    assert place_exits(points, 2, ['layer1', 'layer3.1'])[-1].name == 'layer3.1'


@pytest.mark.parametrize(
    ('exits', 'cuts', 'message'),
    [
        (0, None, 'exits is 0: write a whole number, at least 1'),
        (2.5, None, 'exits is 2.5'),
        (True, None, 'exits is True'),
        (40, None, 'has places for at most 9'),
        (2, ['layer22.1'], r"'layer22.1' is not a cut point \(did you mean layer2.1"),
        (4, ['layer1'], 'write 3 names'),
        (2, 'layer1', 'write 1 names'),
        (3, ['layer3', 'layer1'], "between the cuts 'layer3.1' and 'layer1.1'"),
        (3, ['relu', 'maxpool'], "between the cuts 'relu' and 'maxpool'"),
        (2, ['avgpool'], "between the cuts 'avgpool' and 'layer4.1'"),
    ],
)
def test_exits_that_cannot_be_placed_are_refused(exits, cuts, message):
    points = find_cut_points(empty('resnet18'), (3, 224, 224))
    with pytest.raises(CutError, match=message):
        place_exits(points, exits, cuts)


@given(
    st.lists(st.floats(0, 1, width=16), min_size=1, max_size=8, unique=True),
    st.lists(st.floats(0, 1, width=16), min_size=1, max_size=4),
)
def test_the_nearest_points_are_really_the_nearest(shares, targets):
    points = [CutPoint('', (), share, 0, 'NCHW', 0) for share in sorted(shares)]
    targets = sorted(targets)

    def distance(chosen):
        return sum((point.cost_share - target) ** 2 for point, target in zip(chosen, targets, strict=True))

    chosen = _nearest(points, targets)
    if len(points) < len(targets):
        assert len(chosen) < len(targets)
        return
    best = min(distance(each) for each in combinations(points, len(targets)))
    assert distance(chosen) == pytest.approx(best)
    assert [points.index(point) for point in chosen] == sorted({points.index(point) for point in chosen})


@pytest.mark.parametrize(('name', 'most'), [('resnet18', 16), ('resnet50', 6), ('vit_b_32', 16)])
def test_points_for_a_choice_hold_the_cheapest_and_the_even_ones(name, most):
    points = find_cut_points(empty(name), (3, 224, 224))
    offered = offered_points(points, 4, most)
    costs = [point.macs for point in offered]
    assert costs == sorted(set(costs))
    assert len(offered) <= most
    assert offered[0].macs == min(point.macs for point in points.points if point.macs)
    assert offered[-1].macs < points.last.macs
    assert {point.macs for point in place_exits(points, 4)[:-1]} <= set(costs)
