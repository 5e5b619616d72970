"""Values that follow from the shape of an input: found at two batch sizes, fixed in a stage for any batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import fx, nn

from impatient_ros.network.macs import Observation
from impatient_ros.network.shape_values import ShapeValues, check_shape, shape_values

# A leaf is (grows with the batch, number); around leaves there are lists and tuples.
LEAVES = st.tuples(st.booleans(), st.integers(0, 99)).map(lambda pair: {'leaf': pair})
NESTS = st.recursive(
    LEAVES, lambda each: st.lists(each, max_size=3) | st.lists(each, max_size=3).map(tuple), max_leaves=8
)


def at(nest, batch):
    if isinstance(nest, dict):
        grows, number = nest['leaf']
        return number * batch if grows else number
    return type(nest)(at(each, batch) for each in nest)


def node():
    graph = fx.Graph()
    return graph.call_function(len, (graph.placeholder('x'),))


def found(one, two):
    """What is known of a node that was `one` for one image and `two` for two."""
    size = node()
    return shape_values({size: Observation(one, 0)}, {size: Observation(two, 0)}).get(size, 'nothing')


def written(value, x):
    """What a stage with the input `x`, seen as [N, 3, 4, 4] of float32, computes for `value`."""
    graph = fx.Graph()
    placeholder = graph.placeholder('x')
    graph.output(ShapeValues(graph, placeholder, (1, 3, 4, 4), torch.float32).write(value))
    return fx.GraphModule(nn.Module(), graph)(x)


@given(NESTS, st.integers(1, 5))
def test_what_is_constant_or_proportional_to_the_batch_is_right_for_every_batch(nest, batch):
    value = found(at(nest, 1), at(nest, 2))
    assert written(value, torch.zeros(batch, 3, 4, 4)) == at(nest, batch)


def test_a_slice_is_written_end_by_end():
    assert written(found(slice(None, 3), slice(None, 6)), torch.zeros(4, 3, 4, 4)) == slice(None, 12, None)


@pytest.mark.parametrize(
    ('one', 'two'),
    [
        (2, 3),
        (1.0, 2.0),
        ((1, 2), (1, 2, 3)),
        ([1], (1,)),
        ((torch.zeros(1), 1), (torch.zeros(1), 1)),
        ({'side': 1}, {'side': 1}),
        ('a', 'b'),
    ],
)
def test_any_other_value_is_none(one, two):
    assert found(one, two) == 'nothing'


def test_a_tensor_is_none_and_so_is_what_was_seen_once():
    assert found(torch.zeros(1), torch.zeros(1)) == 'nothing'
    assert shape_values({node(): Observation(1, 0)}, {}) == {}


def test_type_and_device_are_those_of_the_stages_input():
    x = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    assert written(torch.float32, x) is torch.float64
    assert written(torch.int64, x) is torch.int64
    assert written(torch.device('meta'), x) == torch.device('cpu')


def test_an_input_of_another_shape_is_refused():
    check_shape(torch.zeros(7, 3, 4, 4), (3, 4, 4))
    with pytest.raises(ValueError, match='cut for inputs of 3x4x4 and got 3x8x8'):
        written(5, torch.zeros(1, 3, 8, 8))
