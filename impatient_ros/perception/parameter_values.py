"""The parameters by full name: what they may be, and the settings that come of values.

settings = parse({'budget.fixed': 0.05, 'camera_names': ['front'], 'cameras.front.budget.reserve': 0.001})
settings.camera('front').budget.fixed    # 0.05, the node's
settings.camera('front').budget.reserve  # 0.001, its own
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from impatient_ros.perception.parameter_definition import Definition, ParameterError, definitions
from impatient_ros.perception.settings import BudgetParameters, CameraParameters, PerceptionParameters
from impatient_ros.runtime.machine import permitted_processors

__all__ = ['camera_definitions', 'known_definitions', 'node_definitions', 'parse']

_NODE = definitions(PerceptionParameters)
_CAMERA = definitions(CameraParameters)
_BUDGET = definitions(BudgetParameters)


def node_definitions() -> dict[str, Definition]:
    """The node's own parameters by full name."""
    return {**_NODE, **{f'budget.{name}': definition for name, definition in _BUDGET.items()}}


def camera_definitions(camera: str) -> dict[str, Definition]:
    """One camera's parameters by full name; those of its budget are not set by default."""
    default = CameraParameters(camera)
    own = {name: replace(each, default=getattr(default, name)) for name, each in _CAMERA.items()}
    for name, each in _BUDGET.items():
        description = f'{each.description}. Not set: as budget.{name}'
        own[f'budget.{name}'] = replace(each, default=None, description=description)
    return {f'cameras.{camera}.{name}': definition for name, definition in own.items()}


def known_definitions(camera_names: Iterable[str]) -> dict[str, Definition]:
    """All parameters of a node with these cameras by full name."""
    known = node_definitions()
    for camera in camera_names:
        known.update(camera_definitions(camera))
    return known


def parse(values: Mapping[str, Any]) -> PerceptionParameters:
    """The parameters from values by full name; what is missing or None has its default.

    Raises `ParameterError` with everything that is wrong.
    """
    wrong: list[str] = []
    names = _converted('camera_names', _NODE['camera_names'], values, wrong)
    wrong += _camera_name_problems(names)
    if wrong:
        raise ParameterError(wrong)  # the cameras' parameters cannot be judged without the names
    known = known_definitions(names)
    converted = {name: _converted(name, definition, values, wrong) for name, definition in known.items()}
    for camera in names:
        wrong += _roi_problems(f'cameras.{camera}.roi', converted[f'cameras.{camera}.roi'])
    wrong += _core_problems(converted['cpu_affinity'], converted['cpu_threads'])
    if wrong:
        raise ParameterError(wrong)
    budget = BudgetParameters(**{name: converted[f'budget.{name}'] for name in _BUDGET})
    cameras = []
    for camera in names:
        prefix = f'cameras.{camera}.'
        own = {name: converted[f'{prefix}budget.{name}'] for name in _BUDGET}
        own = {name: value for name, value in own.items() if value is not None}
        values_of_camera = {name: converted[prefix + name] for name in _CAMERA}
        cameras.append(CameraParameters(camera, **values_of_camera, budget=replace(budget, **own)))
    return PerceptionParameters(
        **{name: converted[name] for name in _NODE}, budget=budget, cameras=tuple(cameras)
    )


def _converted(name: str, definition: Definition, values: Mapping[str, Any], wrong: list[str]) -> Any:
    value = values.get(name)
    if value is None:
        return definition.default
    try:
        return definition.convert(name, value)
    except ParameterError as error:
        wrong += error.problems
        return definition.default


def _camera_name_problems(names: tuple[str, ...]) -> list[str]:
    wrong = []
    if not names:
        wrong.append("camera_names is empty: name at least one camera, for instance ['camera']")
    for name in dict.fromkeys(names):
        # A camera's name is a part of topic names and of parameter names.
        if not re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', name):
            wrong.append(f'camera_names has {name!r}: write letters, digits and _, no digit first')
        if (count := names.count(name)) > 1:
            wrong.append(f'camera_names has {name!r} {count} times: give every camera a name of its own')
    return wrong


def _roi_problems(name: str, roi: tuple[int, ...]) -> list[str]:
    if not roi or (len(roi) == 4 and min(roi[:2]) >= 0 and min(roi[2:]) >= 1):
        return []
    return [f'{name} is {list(roi)}: write {_CAMERA["roi"].expected}']


def _core_problems(cores: tuple[int, ...], threads: int) -> list[str]:
    permitted, existing = permitted_processors(os.getpid()), os.cpu_count() or 1
    usable = ', '.join(map(str, permitted))
    wrong = []
    for core in dict.fromkeys(cores):
        if not 0 <= core < existing and core not in permitted:
            why = f'this machine has cores 0 to {existing - 1}'
        elif core not in permitted:
            why = 'this process may not run there (its control group, taskset)'
        else:
            continue
        wrong.append(f'cpu_affinity has {core}: {why}; write some of {usable}, or [] for all of them')
    if 0 < len(cores) < threads:
        # Torch's spin while they wait for each other: in real time, on one core, the other one hardly ran.
        wrong.append(
            f'cpu_threads is {threads}: cpu_affinity has {len(cores)} cores, write at most that, or 0'
        )
    return wrong
