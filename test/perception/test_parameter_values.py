"""What the node can be told, judged without a node."""

import os
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.perception.parameter_definition import ParameterError, nearest
from impatient_ros.perception.parameter_values import (
    camera_definitions,
    known_definitions,
    node_definitions,
    parse,
)
from impatient_ros.perception.settings import BudgetParameters, CameraParameters, PerceptionParameters


def refusal(**values):
    """What is wrong with values given as budget__fixed=..."""
    with pytest.raises(ParameterError) as refused:
        parse({name.replace('__', '.'): value for name, value in values.items()})
    return str(refused.value)


def test_nothing_given_is_the_defaults_of_the_dataclasses():
    assert parse({}) == PerceptionParameters()
    assert PerceptionParameters().budget == BudgetParameters()
    assert PerceptionParameters().camera('camera') == CameraParameters('camera')


def test_every_field_is_a_parameter_with_a_description():
    for definition in known_definitions(['front']).values():
        assert len(definition.description) > 20
        assert definition.constraint
    names = {field.name for field in fields(PerceptionParameters)} - {'budget', 'cameras'}
    assert names | {f'budget.{field.name}' for field in fields(BudgetParameters)} == set(node_definitions())


def test_every_default_is_within_its_own_limits():
    for name, definition in known_definitions(['front']).items():
        if definition.default is not None:
            assert definition.convert(name, definition.default) == definition.default


def test_a_camera_has_the_nodes_budget_but_for_its_own_values():
    parameters = parse(
        {
            'camera_names': ['front', 'rear'],
            'budget.fixed': 0.2,
            'budget.reserve': 0.001,
            'cameras.rear.budget.fixed': 0.3,
            'cameras.rear.topic': '/back/image',
        }
    )
    assert parameters.camera('front').budget == BudgetParameters(fixed=0.2, reserve=0.001)
    assert parameters.camera('rear').budget == BudgetParameters(fixed=0.3, reserve=0.001)
    assert [camera.topic for camera in parameters.cameras] == ['/front/image_raw', '/back/image']
    assert parameters.budget.fixed == 0.2


def test_max_age_is_the_control_period_of_the_same_camera_unless_it_is_set():
    parameters = parse(
        {'camera_names': ['a', 'b'], 'cameras.a.budget.control_period': 0.05, 'cameras.b.budget.max_age': 0.3}
    )
    assert parameters.camera('a').budget.age_limit == 0.05
    assert parameters.camera('b').budget.age_limit == 0.3
    assert parameters.budget.age_limit == 0.1


def test_a_camera_of_another_name_is_a_key_error():
    with pytest.raises(KeyError, match='rear'):
        PerceptionParameters().camera('rear')


@given(st.integers(0, 3600))
def test_whole_numbers_are_numbers(value):
    fixed = parse({'budget.fixed': value}).budget.fixed
    assert fixed == value
    assert isinstance(fixed, float)


@pytest.mark.parametrize('value', [-1.0, -1, float('nan'), float('inf'), 3601.0, 'soon', True, [0.1]])
def test_a_budget_that_cannot_be_is_refused_with_what_to_write(value):
    reason = refusal(budget__fixed=value)
    assert 'budget.fixed is ' in reason
    assert 'write a number from 0 to 3600' in reason


@pytest.mark.parametrize('value', [0.0, 1e-6, 3600.0])
def test_a_tiny_budget_is_the_users_choice(value):
    assert parse({'budget.fixed': value}).budget.fixed == value


def test_an_unknown_choice_lists_the_choices_and_the_nearest():
    assert refusal(mode='fast') == "mode is 'fast': write one of contract, interruptible, adaptive"
    assert refusal(mode='adaptve').endswith('(did you mean adaptive?)')


@pytest.mark.parametrize(
    ('values', 'what'),
    [
        ({'budget__control_phase': float('nan')}, 'budget.control_phase is nan: write a number'),
        ({'budget__control_period': 0.0}, 'from 0.001 to 3600'),
        ({'budget__miss_rate': 0.0}, 'from 1e-05 to 0.5'),
        ({'top_k': 2.0}, 'top_k is 2.0: write a whole number'),
        ({'top_k': 0}, 'from 1 to 65535'),
        ({'top_k': True}, 'whole number'),
        ({'autostart': 'false'}, "autostart is 'false': write true or false, without quotes"),
        ({'model': 7}, 'model is 7: write a text'),
        ({'device': 'gpu'}, "device is 'gpu': write auto, cpu, igpu, cuda or cuda:<index>"),
        ({'confidence_threshold': 1.1}, 'from 0 to 1'),
        ({'unknown_below': -0.1}, 'unknown_below is -0.1: write a number from 0 to 1'),
        ({'memory_limit': -1}, 'memory_limit is -1: write a number from 0 to 1e+06'),
        ({'realtime_priority': 99}, 'realtime_priority is 99: write a whole number from 0 to 98'),
        ({'realtime_limit': 1.5}, 'realtime_limit is 1.5: write a number from 0 to 1'),
        ({'cpu_affinity': ['0']}, "cpu_affinity is ['0']: write [] for all or a list of cores"),
        ({'labels': 'cup'}, "labels is 'cup': write [] for all or a list of labels that the model has"),
        ({'labels': ['cup', 7]}, "labels is ['cup', 7]: write [] for all or a list"),
        (
            {'fit': 'squish'},
            "fit is 'squish': write '' (as the model says), crop or squash (did you mean squash?)",
        ),
        ({'camera_names': []}, 'camera_names is empty'),
        ({'camera_names': 'front'}, "camera_names is 'front': write a list of texts"),
        ({'camera_names': ['front left']}, "'front left': write letters, digits and _"),
        ({'camera_names': ['1st']}, 'no digit first'),
        ({'camera_names': ['a.b']}, "'a.b'"),
        ({'camera_names': ['a', 'b', 'a']}, "'a' 2 times"),
        ({'cameras__camera__transport': 'jpeg'}, 'one of raw, compressed'),
        ({'cameras__camera__budget__fixed': -0.5}, 'cameras.camera.budget.fixed is -0.5'),
        (
            {'cameras__camera__roi': [0, 0, 10]},
            'cameras.camera.roi is [0, 0, 10]: write [] for the whole frame',
        ),
        ({'cameras__camera__roi': [0, 0, 0, 10]}, 'width and height at least 1'),
        ({'cameras__camera__roi': [-1, 0, 10, 10]}, '[-1, 0, 10, 10]'),
        ({'cameras__camera__roi': [0.5, 0, 10, 10]}, 'cameras.camera.roi is [0.5, 0, 10, 10]'),
    ],
)
def test_the_reason_says_what_is_wrong_and_what_to_write(values, what):
    assert what in refusal(**values)


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, 'cpu_count', lambda: 4)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {1, 2})
    assert parse({'cpu_affinity': [2, 1]}).cpu_affinity == (2, 1)
    assert parse({'cpu_affinity': []}).cpu_affinity == ()
    for wrong, why in ((4, 'this machine has cores 0 to 3'), (-1, 'this machine has cores 0 to 3')):
        assert refusal(cpu_affinity=[1, wrong]) == (
            f'cpu_affinity has {wrong}: {why}; write some of 1, 2, or [] for all of them'
        )
    assert 'cpu_affinity has 3: this process may not run there' in refusal(cpu_affinity=[3])


def test_no_more_threads_than_cores_for_them(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0, 1, 2})
    assert 'cpu_threads is 3: cpu_affinity has 2 cores' in refusal(cpu_affinity=[0, 1], cpu_threads=3)
    assert parse({'cpu_affinity': [0, 1], 'cpu_threads': 2}).cpu_threads == 2
    assert parse({'cpu_threads': 64}).cpu_threads == 64


def test_real_time_changes_while_inactive_and_cores_while_no_model_is_loaded():
    locks = {name: each.locked for name, each in node_definitions().items()}
    assert locks['realtime_priority'] == locks['realtime_limit'] == 'active'
    assert locks['cpu_affinity'] == 'configured'


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ParameterError) as refused:
        parse({'mode': 'fast', 'top_k': 0, 'budget.fixed': -1})
    assert len(refused.value.problems) == 3


def test_what_a_model_is_loaded_with_and_what_counts_for_each_frame():
    parameters = parse(
        {'labels': ['cup', 'banana'], 'fit': 'squash', 'memory_limit': 64, 'unknown_below': 0.3}
    )
    assert (parameters.labels, parameters.fit, parameters.memory_limit) == (('cup', 'banana'), 'squash', 64.0)
    assert parameters.frame_settings(parameters.camera('camera')).unknown_below == 0.3
    locks = {name for name, each in node_definitions().items() if each.locked == 'configured'}
    assert {'labels', 'fit', 'memory_limit'} <= locks
    assert 'unknown_below' not in locks


def test_a_region_of_interest_is_four_whole_numbers_or_none():
    assert parse({'cameras.camera.roi': [10, 20, 30, 40]}).cameras[0].roi == (10, 20, 30, 40)
    assert parse({'cameras.camera.roi': []}).cameras[0].roi == ()


def test_a_cameras_budget_is_not_set_by_default():
    own = camera_definitions('front')
    assert own['cameras.front.budget.fixed'].default is None
    assert own['cameras.front.topic'].default == '/front/image_raw'


def test_the_nearest_word():
    assert nearest('buget.fixed', ['budget.fixed', 'mode']) == ' (did you mean budget.fixed?)'
    assert nearest('zzz', ['budget.fixed']) == ''
