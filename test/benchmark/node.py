"""The node in a process of its own, measured from the outside (see `camera.py`)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from benchmark.models import SHIPPED
from benchmark.report import Record, record

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.demo.processes import free_domain
from impatient_ros.resources import resource_path
from impatient_ros.ros.environment import transport_environment

IMAGES = [
    ('vga', 640, 480, 'raw'),
    ('vga', 640, 480, 'compressed'),
    ('1080p', 1920, 1080, 'raw'),
    ('1080p', 1920, 1080, 'compressed'),
]
MODEL = 'clothing10'  # what is subtracted is small beside the overhead
BUDGET = 0.5  # s: enough for the most accurate exit, so that every frame costs the same
GRACE = 20.0  # s for the node to end


def measure_node(device: str = 'cpu', *, frames: int, rate: float = 30.0) -> list[Record]:
    """Overhead, what a bare relay takes, and lost frames, with the model of the least work.

    Overhead: from just before the image is published to the instant at which the middleware was given the
    answer, minus what preparing the picture and the stages take at that rate (caches are cold and threads
    asleep between two frames: about 1.5 times the profile, which is measured back to back). The records have
    more: `ms_received_p50` to the answer's arrival in the camera's process, `ms_profile_p50` with the
    profile's stages instead; for raw images `ratio` to a relay in rclpy that takes the same images in turns
    with the node and publishes a small message for each (what: relay).

    Without ROS 2 there is nothing to measure: an empty list.
    """
    model = resource_path('models', SHIPPED[MODEL])
    classifier = AnytimeClassifier.from_checkpoint(model, device=device, mode='contract')
    records = []
    costs = classifier.profiles[-1].costs('contract')
    last = max(range(len(costs)), key=lambda t: (classifier.checkpoint.accuracies[t], -t))
    runtime = classifier.runtime.name
    sizes = {name: (height, width) for name, width, height, _ in IMAGES}
    work = {name: work_at(classifier, last, rate, size) for name, size in sizes.items()}
    profiled = {name: preparing + costs[last] for name, (preparing, _) in work.items()}
    with _node(IMAGES, model=str(model), device=device) as (_, environment), _relay(environment):
        wanted = {'images': IMAGES, 'frames': frames, 'rate': rate, 'relay': True}
        found = {(each['to'], each['camera']): each for each in _camera(wanted, environment)}
    for name, _, _, transport in IMAGES:
        what = {'image': name, 'transport': transport}
        camera = f'camera_{name}_{transport}'
        ours, relay = found['perception', camera], found.get(('relay', camera))
        busy = sum(work[name])
        extra = {
            'ms_work': round(busy * 1e3, 4),
            'ms_received_p50': round(1e3 * (float(np.median(ours['received'])) - busy), 4),
            'ms_profile_p50': round(1e3 * (float(np.median(ours['published'])) - profiled[name]), 4),
        }
        overheads = [latency - busy for latency in ours['published']]
        if relay is not None:
            extra['ratio'] = float(np.median(overheads) / np.median(relay['published']))
            records.append(record('', '', 'rclpy', 'relay', relay['published'], **what))
        records.append(record(MODEL, device, runtime, 'node', overheads, **what, **extra))
        lost = {'count': ours['not_received'], 'frames': ours['frames']}
        share = lost['count'] / lost['frames']
        records.append(record(MODEL, device, runtime, 'not_received', ratio=share, **lost, **what))
    return records


def work_at(
    classifier: AnytimeClassifier, target: int, rate: float, size: tuple[int, int], frames: int = 60
) -> tuple[float, float]:
    """Seconds (medians) that preparing a picture of that size, [H, W], and the stages up to exit `target`
    take when frames come at `rate` per second.
    """
    picture = np.zeros((*size, 3), np.uint8)
    durations = []
    for _ in range(frames):
        time.sleep(1 / rate)
        begin = time.perf_counter()
        tensor = classifier.checkpoint.preprocessing(picture)
        prepared = time.perf_counter()
        run = classifier.runtime.start(tensor)
        while run.position <= target:
            run.stage(target)
        run.exit()
        durations.append((prepared - begin, time.perf_counter() - prepared))
    preparing, stages = np.median(durations, axis=0)
    return float(preparing), float(stages)


def measure_memory(classifier: AnytimeClassifier, *, frames: int, rate: float = 100.0) -> Record:
    """How much the node's resident memory grows from frame 500 to the last; `ratio` is the growth."""
    with _node(IMAGES[:1]) as (pid, environment):
        wanted = {'images': IMAGES[:1], 'frames': frames, 'rate': rate, 'pid': pid}
        memory = {int(k): v for k, v in _camera(wanted, environment)[0]['memory'].items()}
    first, last = memory[500], memory[max(memory)]
    return record(
        'default',
        classifier.runtime.device,
        classifier.runtime.name,
        'memory',
        ratio=last / first - 1,
        frames=max(memory),
        mib_first=round(first / 2**20, 1),
        mib_last=round(last / 2**20, 1),
        image='vga',
        transport='raw',
    )


@contextmanager
def _node(images: Sequence[tuple[str, int, int, str]], **more: str) -> Iterator[tuple[int, dict[str, str]]]:
    """A running node with a camera per kind of image; its process id, and the environment to meet it in."""
    environment = {**os.environ, **transport_environment(os.environ)}
    environment |= {'ROS_DOMAIN_ID': str(free_domain()), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    names = [f'camera_{name}_{transport}' for name, _, _, transport in images]
    parameters = {
        'camera_names': f'[{", ".join(names)}]',
        'mode': 'contract',
        'budget.fixed': str(BUDGET),
    } | more
    for name, (*_, transport) in zip(names, images, strict=True):
        parameters[f'cameras.{name}.topic'] = f'/{name}/image'
        parameters[f'cameras.{name}.transport'] = transport
    command = [sys.executable, '-m', 'impatient_ros.ros.perception_node', '--ros-args']
    for key, value in parameters.items():
        command += ['-p', f'{key}:={value}']
    with _process(command, environment) as pid:
        yield pid, environment


@contextmanager
def _relay(environment: dict[str, str]) -> Iterator[int]:
    """A bare relay beside the node, for the raw images."""
    cameras = [f'camera_{name}_{transport}' for name, _, _, transport in IMAGES if transport == 'raw']
    command = [sys.executable, str(Path(__file__).with_name('relay.py')), json.dumps(cameras)]
    with _process(command, environment) as pid:
        yield pid


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str]) -> Iterator[int]:
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, cwd=root, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _camera(options: dict[str, Any], environment: dict[str, str]) -> list[dict[str, Any]]:
    command = [sys.executable, str(Path(__file__).with_name('camera.py')), json.dumps(options)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]
