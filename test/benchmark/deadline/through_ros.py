"""The same frames through the real node in a process of its own, a node for every mode.

Each frame's deadline is announced on ~/deadline before the image is published, so the node counts the budget
from the image's stamp as it would on a robot: transport, queueing and publishing are in it. What became of
the frame is read from ~/camera/frame_status. In between this process runs every frame through all exits.
"""

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from deadline.bystanders import Bystanders
from deadline.frame import Frame, budgets, hindsight, path_number
from deadline.load import CoRunners
from deadline.recording import WARM_UP, Pace, accuracies_of, quiet_profiles, run_through
from deadline.subjects import Subject
from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.perception.frame_record import FrameRecord, Outcome
from impatient_ros.perception.settings import BudgetParameters
from impatient_ros.planning.options import MODES
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.messages import image_message, parse_frame_status
from impatient_ros.runtime import RUNTIMES

__all__ = ['run_ros']

LEAD = 0.005  # s between announcing a deadline and publishing its image
TOPIC = '/bench/{}/image'
AMPLE = 0.5  # s
READY = 180.0  # s until a node must be ready
GIVEN_UP = 5.0  # s after which a frame without a status is lost


def run_ros(
    subject: Subject,
    classifier: AnytimeClassifier,
    policies: Sequence[str],
    load: str,
    frames: int,
    *,
    miss_rate: float = 0.01,
    rate: float = 0.0,
    limit: float = math.inf,
    progress: Callable[[str], None] = print,
) -> list[Frame]:
    """`frames` records per mode; arguments as of `run_live`.

    Raises:
        ValueError: a policy that is no mode of the node.
    """
    wrong = [policy for policy in policies if policy not in MODES]
    if wrong:
        raise ValueError(f'{", ".join(wrong)}: the node has the modes {", ".join(MODES)}')
    records: list[Frame] = []
    with contextlib.ExitStack() as stack:
        profiles, accuracies = quiet_profiles(classifier), accuracies_of(classifier)
        stack.enter_context(_context())
        camera = stack.enter_context(_Camera(subject, policies))
        nodes = [
            stack.enter_context(_node(subject, policy, miss_rate, classifier.runtime.name))
            for policy in policies
        ]
        camera.wait_for_nodes(progress)
        others = stack.enter_context(CoRunners(load, stretch=len(policies) + 1))
        preparation = np.median([run_through(classifier, subject.image)[0] for _ in range(WARM_UP)], axis=0)
        last = profiles[-1].costs('contract')[-1]
        overhead = _overhead(camera, policies, last)
        progress(f'{overhead * 1e3:.1f} ms are added to every budget for what is not the network')
        bystanders = Bystanders([*others.pids, *(node.pid for node in nodes)])
        pace = Pace(1 / rate if rate else 1.2 * last + 0.02)
        source = np.random.default_rng(2)
        others.start()
        began = time.perf_counter()
        for index, budget in enumerate(budgets(profiles, preparation, frames)):
            if time.perf_counter() - began > limit:
                break
            made = []
            for policy in source.permutation([*policies, '']).tolist():
                pace.wait()
                if not policy:
                    took = run_through(classifier, subject.image)
                    continue
                phase, on = others.now()
                made.append((policy, phase, on, camera.ask(policy, budget + overhead)))
            best, feasible, _ = hindsight(*took, accuracies, budget)
            busy = bystanders.look()
            for policy, phase, on, record in made:
                if record is None:
                    progress(f'frame {index} was lost on its way')
                    continue
                in_time = record.outcome is Outcome.answered
                path = path_number(classifier, record.resolution, record.exit_index) if in_time else -1
                records.append(
                    Frame(
                        model=subject.model,
                        policy=policy,
                        load=load,
                        index=index,
                        phase=phase,
                        loaded=on,
                        budget=budget,
                        path=path,
                        planned=path_number(classifier, record.planned_resolution, record.planned_exit_index),
                        protected=record.overrun is not None,
                        overrun=bool(record.overrun),
                        late=bool(record.overrun) and path < 0,
                        slack=round(record.slack or 0.0, 6),
                        hindsight=best,
                        feasible=feasible,
                        bystanders=round(busy, 3),
                    )
                )
            if index % 100 == 99:
                progress(f'{subject.model} {load}: {index + 1} rounds through the node')
    return records


def _overhead(camera: '_Camera', policies: Sequence[str], last: float) -> float:
    """Seconds for transport, taking, preprocessing, waking up and publishing, and the node's reserve.

    The budgets of the benchmark are about the network; through the node these come on top. Measured on frames
    with all the time in the world: what they usually took beyond the last exit.
    """
    took = []
    for _ in range(WARM_UP):
        for policy in policies:
            record = camera.ask(policy, AMPLE)
            if record is not None and record.slack is not None:
                took.append(AMPLE - record.slack - last)
    return max(0.0, float(np.median(took[len(policies) * 5 :] or [0.0]))) + BudgetParameters().reserve


class _Camera:
    """Publishes one picture to a node and waits for what becomes of it."""

    def __init__(self, subject: Subject, policies: Sequence[str]) -> None:
        self._node = rclpy.create_node('deadlines_benchmark')
        self._image = image_message(subject.image, Header())
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._images, self._deadlines = {}, {}
        self._found: dict[str, FrameRecord] = {}
        self._changed = threading.Condition()
        for policy in policies:
            self._images[policy] = self._node.create_publisher(Image, TOPIC.format(policy), reliable)
            self._deadlines[policy] = self._node.create_publisher(Header, f'/{policy}/deadline', reliable)
            self._node.create_subscription(
                DiagnosticArray,
                f'/{policy}/camera/frame_status',
                lambda message, policy=policy: self._note(policy, message),
                reliable,
            )
        self._executor = ExecutorThread(self._node)

    def __enter__(self) -> '_Camera':
        self._executor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.stop()
        self._node.destroy_node()

    def wait_for_nodes(self, progress: Callable[[str], None]) -> None:
        """Until every node subscribes. Raises TimeoutError."""
        until = time.monotonic() + READY
        for policy, publisher in self._images.items():
            while publisher.get_subscription_count() == 0:
                if time.monotonic() > until:
                    raise TimeoutError(f'the node for {policy} did not become active in {READY:.0f} s')
                time.sleep(0.1)
            progress(f'the node for {policy} is active')

    def ask(self, policy: str, budget: float) -> FrameRecord | None:
        """Publish a frame with that many seconds; what became of it, None if nobody ever says."""
        clock = self._node.get_clock()
        with self._changed:
            self._found.pop(policy, None)
        stamp = clock.now() + Duration(seconds=LEAD)
        self._deadlines[policy].publish(Header(stamp=(stamp + Duration(seconds=budget)).to_msg()))
        time.sleep(max(0.0, (stamp - clock.now()).nanoseconds * 1e-9))
        self._image.header.stamp = stamp.to_msg()
        self._images[policy].publish(self._image)
        with self._changed:
            self._changed.wait_for(lambda: policy in self._found, GIVEN_UP)
            return self._found.pop(policy, None)

    def _note(self, policy: str, message: DiagnosticArray) -> None:
        with self._changed:
            self._found[policy] = parse_frame_status(message)
            self._changed.notify_all()


@contextlib.contextmanager
def _context() -> Iterator[None]:
    rclpy.init(args=[])
    try:
        yield
    finally:
        rclpy.try_shutdown()


@contextlib.contextmanager
def _node(subject: Subject, mode: str, miss_rate: float, runtime: str) -> Iterator[subprocess.Popen]:
    """A perception node of that name and mode."""
    assert runtime in RUNTIMES
    parameters = {
        'model': str(subject.path),
        'runtime': runtime,
        'mode': mode,
        'cameras.camera.topic': TOPIC.format(mode),
        'budget.source': 'topic',
        'budget.miss_rate': str(miss_rate),
    }
    command = [
        sys.executable,
        '-m',
        'impatient_ros.ros.perception_node',
        '--ros-args',
        '-r',
        f'__node:={mode}',
    ]
    for name, value in parameters.items():
        command += ['-p', f'{name}:={value}']
    import torch

    # As many threads as the passes through all exits use here.
    environment = {**os.environ, 'OMP_NUM_THREADS': str(torch.get_num_threads())}
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
