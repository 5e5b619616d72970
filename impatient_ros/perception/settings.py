"""What the node can be told: every parameter with its one default, meaning, unit and limits. No ROS import.

The dataclasses are the definition. `parameters.py` declares from them, `config/perception.yaml` repeats the
defaults for people (a test compares), and the rest of the node reads the dataclasses.

    settings = parse({'budget.fixed': 0.05, 'camera_names': ['front'], 'cameras.front.budget.reserve': 0.001})
    settings.camera('front').budget.fixed    # 0.05, the node's
    settings.camera('front').budget.reserve  # 0.001, its own
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from impatient_ros.perception.parameter_definition import Definition, ParameterError, defined, definitions
from impatient_ros.runtime import DEVICES, RUNTIMES

__all__ = [
    'BudgetParameters',
    'CameraParameters',
    'PerceptionParameters',
    'camera_definitions',
    'known_definitions',
    'node_definitions',
    'parse',
]


@dataclass(frozen=True)
class BudgetParameters:
    """Where a frame's deadline comes from and how much of the time to it is kept back; seconds."""

    source: str = defined(
        'text',
        'fixed',
        'What sets the deadline of a frame: fixed (budget.fixed after its stamp), control_loop (the last '
        'tick of the control loop at which it is at most budget.max_age old) or topic (~/deadline, '
        '~/<camera>/deadline)',
        choices=('fixed', 'control_loop', 'topic'),
    )
    fixed: float = defined(
        'number', 0.1, 'Seconds from header.stamp to the deadline, with source fixed', low=0.0, high=3600.0
    )
    control_period: float = defined(
        'number', 0.1, 'Seconds between two ticks of the control loop', low=0.001, high=3600.0
    )
    control_phase: float = defined(
        'number', 0.0, 'Seconds: the loop ticks at control_phase + k * control_period of the ROS clock'
    )
    max_age: float = defined(
        'number',
        0.0,
        'Seconds: how old a frame may be at the tick that uses it; 0: as much as one control_period',
        low=0.0,
        high=3600.0,
    )
    stale_after: float = defined(
        'number',
        1.0,
        'Seconds: an older stamp is an input fault, the time of arrival stands in for it',
        low=0.001,
        high=3600.0,
    )
    reserve: float = defined(
        'number',
        0.002,
        'Seconds kept for waking up and publishing, at least; more is learned from measurement',
        low=0.0,
        high=10.0,
    )
    miss_rate: float = defined(
        'number',
        0.01,
        'Long-run share of protected answers that may come later than planned',
        low=1e-5,
        high=0.5,
    )

    @property
    def age_limit(self) -> float:
        """`max_age` with its default resolved, in seconds."""
        return self.max_age or self.control_period


@dataclass(frozen=True)
class CameraParameters:
    """One camera; `budget` is complete: the node's with this camera's own values on top."""

    name: str
    topic: str = defined(
        'text', '', 'Topic of the images, taken literally', expected='the name of a topic', locked='active'
    )
    transport: str = defined(
        'text',
        'raw',
        'Type of the images: raw (sensor_msgs/Image) or compressed (sensor_msgs/CompressedImage)',
        choices=('raw', 'compressed'),
        locked='active',
    )
    roi: tuple[int, ...] = defined(
        'integers',
        (),
        'Region of interest in pixels of the image: x, y, width, height; empty: the whole frame',
        expected='[] for the whole frame or [x, y, width, height] in pixels, width and height at least 1',
    )
    budget: BudgetParameters = BudgetParameters()

    def __post_init__(self) -> None:
        if not self.topic:
            object.__setattr__(self, 'topic', f'/{self.name}/image_raw')


@dataclass(frozen=True)
class PerceptionParameters:
    """All parameters of the node; `budget` is what a camera's starts from."""

    autostart: bool = defined(
        'bool',
        True,
        'Whether the node configures and activates itself; false where a lifecycle manager or a launch file '
        'does it',
        read_only=True,
    )
    model: str = defined(
        'text',
        '',
        'Path of the checkpoint (.safetensors); empty: the model that is shipped',
        locked='configured',
    )
    device: str = defined(
        'text',
        'auto',
        'Where the network runs: auto (a CUDA GPU where there is one), cpu, igpu (an integrated GPU of '
        "Intel's), cuda or cuda:<index>",
        pattern=DEVICES,
        expected='auto, cpu, igpu, cuda or cuda:<index>',
        locked='configured',
    )
    runtime: str = defined(
        'text',
        'auto',
        'What executes the network; auto: the fastest that is available',
        choices=RUNTIMES,
        locked='configured',
    )
    cpu_threads: int = defined(
        'integer',
        0,
        'Threads that compute the network on a CPU; 0: one or as many as the node may use, measured',
        low=0,
        high=1024,
        locked='configured',
    )
    mode: str = defined(
        'text',
        'adaptive',
        'How the time is used: contract (one exit, planned ahead), interruptible (every exit in turn) or '
        'adaptive (aims at one exit, insured by an earlier one where that pays)',
        choices=('contract', 'interruptible', 'adaptive'),
    )
    camera_names: tuple[str, ...] = defined(
        'texts', ('camera',), 'Names of the cameras; each has parameters cameras.<name>.*', locked='active'
    )
    confidence_threshold: float = defined(
        'number', 0.0, 'Calibrated confidence that is sure enough to stop early; 0: never', low=0.0, high=1.0
    )
    publish_mode: str = defined(
        'text',
        'final',
        'final: one answer per frame; every: each better answer as soon as it is ready',
        choices=('final', 'every'),
    )
    on_miss: str = defined(
        'text',
        'silent',
        'With no answer by the deadline: silent (publish none), late (publish it when it is ready) or empty '
        '(publish a classification without results)',
        choices=('silent', 'late', 'empty'),
    )
    realtime_priority: int = defined(
        'integer',
        0,
        'Real-time priority (SCHED_FIFO) of the thread that publishes at deadlines, where the system permits '
        'it; 0: an ordinary thread',
        low=0,
        high=99,
        locked='active',
    )
    switch_interval: float = defined(
        'number',
        0.0,
        'Seconds that a Python thread may hold the interpreter while another one waits for it; shorter: '
        'answers leave more punctually beside heavy callbacks; 0: the default of Python, 0.005',
        low=0.0,
        high=1.0,
        locked='active',
    )
    top_k: int = defined('integer', 5, 'How many classes an answer lists, best first', low=1, high=65535)
    budget: BudgetParameters = BudgetParameters()
    cameras: tuple[CameraParameters, ...] = (CameraParameters('camera'),)

    def camera(self, name: str) -> CameraParameters:
        """The camera of that name; raises `KeyError`."""
        return {camera.name: camera for camera in self.cameras}[name]


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
