"""The attacks of an endurance run: each switches one fault on, and off again.

An attack takes the arena and leaves node and camera as it found them. What the node does meanwhile is judged
by the accounts afterwards; an attack itself adds to `arena.failures` only what is wrong in an answer.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from endurance.arena import Arena
from endurance.requests import (
    VALID,
    change_by_number,
    invalid_parameters,
    set_parameter,
    trigger,
)
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from impatient_ros.demo.load import BusyProcesses

__all__ = ['ATTACKS', 'Attack']

Attack = Callable[[Arena], None]
YEAR = 365 * 86400  # s


def camera_killed(arena: Arena) -> None:
    arena.replace_camera(signal.SIGKILL, arena.random.uniform(0, 2))
    arena.pause(1, 3)


def camera_restarted(arena: Arena) -> None:
    arena.replace_camera(signal.SIGTERM, arena.random.uniform(0, 2))
    arena.pause(1, 3)


def camera_stopped(arena: Arena) -> None:
    _stop(arena.camera.process.pid, arena.random.uniform(1, 5))


def node_stopped(arena: Arena) -> None:
    _stop(arena.pid, arena.random.uniform(1, 5))
    arena.pause(0.5, 1)


def _stop(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def busy_cores(arena: Arena) -> None:
    load = BusyProcesses()
    load.switch(on=True)
    try:
        arena.pause(3, 8)
    finally:
        load.switch(on=False)


def wrong_stamps(arena: Arena) -> None:
    arena.flow('stamps')
    arena.pause(2, 5)


def bad_images(arena: Arena) -> None:
    arena.flow('bad', rate=5)
    arena.pause(4, 8)


def clock_jumps(arena: Arena) -> None:
    """Simulated time that stands, jumps by years, back, and before 1970; then the system's clock again."""
    now = int(time.time())
    instants = [now, now + 5 * YEAR, now - 5 * YEAR, 0, -1, -(2**31), 2**31 - 1, now, now - 1, now + 1]
    publisher = arena.observer.node.create_publisher(Clock, '/clock', 10)
    try:
        _require(arena, 'use_sim_time', True)
        for _ in range(30):
            clock = Clock()
            clock.clock.sec = arena.random.choice(instants)
            clock.clock.nanosec = arena.random.randrange(10**9)
            publisher.publish(clock)
            arena.pause(0.02, 0.2)
    finally:
        _require(arena, 'use_sim_time', False)
        arena.observer.node.destroy_publisher(publisher)


def parameter_storm(arena: Arena) -> None:
    defaults = {name: arena.observer.get(name) for name in VALID}
    bad = invalid_parameters()
    try:
        for _ in range(60):
            if arena.random.random() < 0.5:
                name = arena.random.choice(list(VALID))
                _require(arena, name, arena.random.choice(VALID[name]))
            else:
                message = arena.random.choice(bad)
                taken, reason = set_parameter(arena.observer, message)
                arena.requests['taken' if taken else 'refused'] += 1
                if taken or not reason:
                    arena.failures.append(f'{message.name[:40]}: taken {taken}, reason {reason!r}')
    finally:
        for name, value in defaults.items():
            _require(arena, name, value)


def deadline_storm(arena: Arena) -> None:
    _require(arena, 'budget.source', 'topic')
    try:
        for _ in range(300):
            now = time.time_ns()
            ahead = arena.random.choice((0, 50, 100, 1000, -1000, YEAR * 1000, -YEAR * 1000, None))
            if ahead is None:
                arena.observer.announce_bytes(arena.random.randbytes(arena.random.randrange(4, 40)))
            else:
                arena.observer.announce(max(now + ahead * 10**6, 0))
            if arena.random.random() < 0.2:
                arena.pause(0, 0.1)
        wild = (Time(seconds=2**31 - 1), Time(seconds=0))
        for instant in wild:
            arena.observer.announce(instant.nanoseconds)
    finally:
        _require(arena, 'budget.source', 'fixed')


def impossible_transitions(arena: Arena) -> None:
    """By number and without a label, as launch_ros and nav2 ask."""
    for number in (0, 1, 2, 3, 5, 6, 8, *arena.random.sample(range(9, 256), 12)):
        if change_by_number(arena.observer, number):
            arena.failures.append(f'transition {number} was taken while active')
        arena.requests['refused'] += 1
    if arena.observer.state() != 'active':
        arena.failures.append(f'the node is {arena.observer.state()} after impossible transitions')


def lifecycle(arena: Arena) -> None:
    """Deactivate and activate, at times with the model unloaded and loaded, or profiled, in between."""
    deep = arena.random.random() < 0.5
    _take(arena, 'deactivate')
    arena.deactivated()
    if deep:
        _take(arena, 'cleanup')
        _take(arena, 'configure')
    else:
        taken, reason = trigger(arena.observer, 'reprofile')
        if not taken:
            arena.failures.append(f'reprofile was refused while inactive: {reason}')
    arena.activated()
    _take(arena, 'activate')
    arena.wait_active()
    arena.pause(1, 2)


def statistics_reset(arena: Arena) -> None:
    """While frames come, so that nobody knows which are counted; and profiling, which must be refused."""
    for _ in range(20):
        taken, reason = trigger(arena.observer, 'reprofile')
        arena.requests['taken' if taken else 'refused'] += 1
        if taken or not reason:
            arena.failures.append('reprofile was taken while active')
        arena.reset_statistics()
        arena.requests['taken'] += 1
        arena.pause(0, 0.2)


def _take(arena: Arena, label: str) -> None:
    taken = arena.observer.transition(label)
    arena.requests['taken' if taken else 'refused'] += 1
    if not taken:
        arena.failures.append(f'{label} was refused')


def _require(arena: Arena, name: str, value: object) -> None:
    result = arena.observer.set(**{name.replace('.', '__'): value})
    arena.requests['taken' if result.successful else 'refused'] += 1
    if not result.successful:
        arena.failures.append(f'{name} = {value!r} was refused: {result.reason}')


ATTACKS: dict[str, Attack] = {
    attack.__name__.replace('_', ' '): attack
    for attack in (
        camera_killed,
        camera_restarted,
        camera_stopped,
        node_stopped,
        busy_cores,
        wrong_stamps,
        bad_images,
        clock_jumps,
        parameter_storm,
        deadline_storm,
        impossible_transitions,
        lifecycle,
        statistics_reset,
    )
}
