"""The node's parameters: declared from `perception.settings`, checked together, always current.

    self.parameters = NodeParameters(self, state=lambda: self.label, changed=self.adopt)
    self.parameters.current.camera('front').budget   # one immutable object, replaced at once

An integer is accepted for a float, at start-up and live. Several parameters set in one atomic call are
checked together, as they will be afterwards. When `camera_names` changes, the parameters of a new camera are
declared and those of a removed one undeclared.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from impatient_ros.perception.parameter_definition import Definition, ParameterError, nearest
from impatient_ros.perception.parameter_values import known_definitions, parse
from impatient_ros.perception.settings import PerceptionParameters

__all__ = ['NodeParameters', 'check', 'converted', 'declare', 'hints', 'read', 'unknown']

# ROS 2's types of the kinds of parameters that are lists.
_ARRAYS = {'texts': Parameter.Type.STRING_ARRAY, 'integers': Parameter.Type.INTEGER_ARRAY}
_OTHERS = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')  # declared or read by rclpy
# What `ros2 param dump` makes of one that is not set, read back from a file and by `ros2 param load`.
_UNSET = ('null', 'None')
_OPTIONAL = re.compile(r'cameras\.\w+\.budget\.\w+')
# By lifecycle state, which `Definition.locked` values cannot change in it; on the way to another one, all.
_LOCKS = {
    'unconfigured': (),
    'finalized': (),
    'inactive': ('configured',),
    'active': ('active', 'configured'),
}
# By the value of `Definition.locked`: when the parameter cannot change, and what to do first.
_UNLOCK = {
    'active': 'while the node is active: deactivate it first',
    'configured': 'while a model is loaded: deactivate and clean up first',
}
# In every state on the way to another one.
_CHANGING = 'while the node loads, profiles or changes its state: try again when it has'


class NodeParameters:
    """Declares the parameters of `node` and keeps `current` up to date.

    Args:
        state: returns the lifecycle state (unconfigured, inactive, active, finalized, or something else on
            the way from one to another).
        changed: called with the new parameters after every successful set, on the thread that serves it.

    Attributes:
        current: the parameters now; the node's thread replaces the object, every thread may read it.

    Raises:
        ParameterError: values given at start-up are invalid. Values that no parameter takes are warned about.
    """

    def __init__(
        self,
        node: Node,
        *,
        state: Callable[[], str] = lambda: 'unconfigured',
        changed: Callable[[PerceptionParameters], None] = lambda parameters: None,
    ) -> None:
        self._node = node
        self._state = state
        self._changed = changed
        self._declaring: int | None = None  # id of the declaring thread: rclpy calls back then, too
        declare(node)
        for warning in (*unknown(node), *hints(read(node))):
            node.get_logger().warning(warning)
        self.current = read(node)
        node.add_pre_set_parameters_callback(lambda changes: converted(node, changes))
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._adopt)

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        if self._declaring == threading.get_ident():
            return SetParametersResult(successful=True)
        return check(self._node, changes, state=self._state())

    def _adopt(self, changes: list[Parameter]) -> None:
        ours = _known(self._node)
        if self._declaring == threading.get_ident() or not any(change.name in ours for change in changes):
            return
        self._declaring = threading.get_ident()
        try:
            declare(self._node)
        finally:
            self._declaring = None
        self.current = read(self._node)
        self._changed(self.current)


def declare(node: Node) -> None:
    """Declare what is not declared yet, with the values given at start-up; undeclare the parameters of
    cameras that `camera_names` no longer has.

    Raises `ParameterError`, listing every invalid value, before anything is declared.
    """
    values = {**_given(node), **_values(node)}
    parameters = parse(values)
    _require(_topic_problems(node, parameters))
    names = [camera.name for camera in parameters.cameras]
    # A value that was deleted live (`ros2 param delete`) stays unset: only a new camera's come from start-up.
    present = {name for name in names if node.has_parameter(f'cameras.{name}.topic')}
    known = known_definitions(names)
    for name in (f'cameras.{each}' for each in node.get_parameters_by_prefix('cameras')):
        if name not in known:
            node.undeclare_parameter(name)
    for name, definition in known.items():
        if not node.has_parameter(name):
            deleted = name.startswith('cameras.') and name.split('.')[1] in present
            value = None if deleted else values.get(name)
            value = definition.default if value is None else definition.convert(name, value)
            _declare(node, name, definition, value)


def read(node: Node) -> PerceptionParameters:
    """The declared parameters as they are now."""
    return parse(_values(node))


def check(node: Node, changes: Iterable[Parameter], *, state: str = 'unconfigured') -> SetParametersResult:
    """Whether `changes`, made together in that lifecycle state, are accepted; if not, the reason says what to
    write instead.
    """
    current = _values(node)
    wanted = {change.name: change.value for change in changes}
    try:
        _require(_lock_problems(node, current, wanted, state))
        parameters = parse({**_given(node), **current, **wanted})
        _require(_topic_problems(node, parameters))
    except ParameterError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def converted(node: Node, changes: Iterable[Parameter]) -> list[Parameter]:
    """The changes, with integers converted to floats and empty lists to lists of the declared type where a
    parameter needs that.

    rclpy refuses an integer for a float parameter, and reads an empty list as one of bytes or of booleans.
    """
    known = _known(node)
    return [_converted(change, known.get(change.name)) for change in changes]


def unknown(node: Node) -> list[str]:
    """A warning for every value given at start-up whose name is no parameter: mostly misspelt ones."""
    warnings = []
    known = _known(node)
    cameras = read(node).camera_names
    for name in _given(node):
        if node.has_parameter(name) or name.startswith(_OTHERS):
            continue
        parts = name.split('.')
        if parts[0] == 'cameras' and len(parts) > 2 and parts[1] not in cameras:
            why = f'camera_names has no {parts[1]!r}{nearest(parts[1], cameras)}'
        else:
            why = f'there is no such parameter{nearest(name, known)}'
        warnings.append(f'{name} was given and has no effect: {why}')
    return warnings


def hints(parameters: PerceptionParameters) -> list[str]:
    """Warnings about values that are valid and probably a mistake."""
    warnings = []
    if len(parameters.labels) == 1 and not parameters.unknown_below:
        warnings.append(
            f'labels has {parameters.labels[0]!r} alone: every answer is that with score 1; '
            'name more labels, or set unknown_below'
        )
    for camera in parameters.cameras:
        compressed = camera.topic.endswith('/compressed')
        if compressed != (camera.transport == 'compressed'):
            transport = 'compressed' if compressed else 'raw'
            warnings.append(
                f'cameras.{camera.name}.topic is {camera.topic}, its transport {camera.transport}: '
                f'write transport {transport}, or the other topic, if no image arrives'
            )
    return warnings


def _known(node: Node) -> dict[str, Definition]:
    return known_definitions(_value(node, 'camera_names') or ())


def _given(node: Node) -> dict[str, Any]:
    """The values given at start-up (command line, parameter files, the node's constructor) by name."""
    # rclpy has no public access to them, under this name from Foxy to Rolling.
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    optional = {name for name in given if _OPTIONAL.fullmatch(name) and given[name] in _UNSET}
    # `x: []` in a parameter file arrives as a value that is not set.
    return {name: [] if value is None else value for name, value in given.items() if name not in optional}


def _value(node: Node, name: str) -> Any:
    return node.get_parameter_or(name).value


def _values(node: Node) -> dict[str, Any]:
    """The declared parameters' values by name; without those that are not set."""
    values = {name: _value(node, name) for name in _known(node)}
    return {name: value for name, value in values.items() if value is not None}


def _declare(node: Node, name: str, definition: Definition, value: Any) -> None:
    array = _ARRAYS.get(definition.kind)
    if array is not None and not value:
        # Declared by a value, an empty list would become one of bytes.
        node.declare_parameter(name, array, _descriptor(definition), ignore_override=True)
        node.set_parameters([Parameter(name, array, [])])
        return
    value = list(value) if isinstance(value, tuple) else value
    node.declare_parameter(name, value, _descriptor(definition), ignore_override=True)


def _descriptor(definition: Definition) -> ParameterDescriptor:
    constraint = definition.constraint
    if definition.locked:
        constraint += f'; cannot change {_UNLOCK[definition.locked]}'
    descriptor = ParameterDescriptor(
        description=definition.description,
        additional_constraints=constraint,
        read_only=definition.read_only,
        dynamic_typing=definition.default is None,
    )
    if definition.low is not None and definition.high is not None:
        low, high = definition.low, definition.high
        if definition.kind == 'number':
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor


def _converted(change: Parameter, definition: Definition | None) -> Parameter:
    if definition is None or change.value is None:
        return change
    if definition.default is None and change.value in _UNSET:
        return Parameter(change.name, Parameter.Type.NOT_SET)
    if definition.kind == 'number' and change.type_ == Parameter.Type.INTEGER:
        return Parameter(change.name, Parameter.Type.DOUBLE, float(change.value))
    scalar = isinstance(change.value, str | int | float)
    if definition.kind in _ARRAYS and not scalar and not list(change.value):
        return Parameter(change.name, _ARRAYS[definition.kind], [])
    return change


def _require(wrong: list[str]) -> None:
    if wrong:
        raise ParameterError(wrong)


def _lock_problems(
    node: Node, current: Mapping[str, Any], wanted: Mapping[str, Any], state: str
) -> list[str]:
    wrong = []
    settled = state in _LOCKS
    locks = _LOCKS.get(state, tuple(_UNLOCK))
    known = _known(node)
    for name, value in wanted.items():
        definition = known.get(name)
        if definition is None:
            continue
        if value is None and definition.default is not None:
            wrong.append(f'{name} cannot be deleted: write {definition.constraint}')
        elif definition.locked in locks and definition.convert(name, value) != definition.convert(
            name, current[name]
        ):
            wrong.append(f'{name} cannot change {_UNLOCK[definition.locked] if settled else _CHANGING}')
    return wrong


def _topic_problems(node: Node, parameters: PerceptionParameters) -> list[str]:
    wrong = []
    for camera in parameters.cameras:
        try:
            validate_topic_name(camera.topic)
            validate_full_topic_name(expand_topic_name(camera.topic, node.get_name(), node.get_namespace()))
        except (NameValidationException, ValueError) as error:
            why = str(error).splitlines()[0].split(', at ')[0].rstrip(':')
            name = f'cameras.{camera.name}.topic'
            wrong.append(f'{name} is {camera.topic!r}: {why}; write one such as /{camera.name}/image_raw')
    return wrong
