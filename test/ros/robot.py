"""The rest of the robot, for tests of the node: starts it as a process, sends images, waits for what comes.

Everything waits for events with a generous limit; nothing sleeps for a fixed time.
"""

import array
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from vision_msgs.msg import Classification, LabelInfo

from impatient_ros.ros.environment import transport_environment
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.messages import nanoseconds, parse_frame_status

PATIENCE = 60  # seconds: these machines are slow and busy
ATTEMPTS = 6  # at a request whose answer may be lost
ONCE = (ChangeState, Trigger)  # services whose requests change something each time
NODE = '/perception'
DEEP = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def environment():
    # With the fault handler a process that does not end can be asked where its threads are.
    ours = {'PYTHONUNBUFFERED': '1', 'PYTHONFAULTHANDLER': '1'}
    return {**os.environ, **transport_environment(os.environ), **ours}


class NodeProcess:
    """The perception node in a process of its own; `log` is what it wrote."""

    def __init__(self, log, *parameters, arguments=(), program=('-m', 'impatient_ros.ros.perception_node')):
        self.log_path = log
        given = [word for parameter in parameters for word in ('-p', parameter)]
        command = [sys.executable, *program, '--ros-args', *arguments, *given]
        with open(log, 'wb') as output:
            self.process = subprocess.Popen(command, env=environment(), stdout=output, stderr=output)

    @property
    def log(self):
        return self.log_path.read_text(errors='replace')

    def stop(self, number=signal.SIGINT):
        """End it; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f'the node did not end after signal {number}:\n{self.log}') from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


class Robot:
    """A camera, a control loop and a listener in one rclpy node on a thread of its own."""

    def __init__(self, cameras=('camera',), transport='raw'):
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = Node('robot', context=self._context)
        self._arrived = threading.Condition()
        self.statuses, self.answers, self.pictures, self.diagnostics = {}, {}, {}, []
        self.labels = {}
        self._images, self._clients = {}, {}
        self.asked = 0
        kind = Image if transport == 'raw' else CompressedImage
        self._deadlines = {None: self.node.create_publisher(Header, f'{NODE}/deadline', 10)}
        for camera in cameras:
            self._images[camera] = self.node.create_publisher(kind, f'/{camera}/image_raw', 10)
            self._deadlines[camera] = self.node.create_publisher(Header, f'{NODE}/{camera}/deadline', 10)
            for name, message, store, qos in (
                ('frame_status', DiagnosticArray, self.statuses, DEEP),
                ('classification', Classification, self.answers, DEEP),
                ('label_info', LabelInfo, self.labels, LATCHED),
            ):
                self._listen(f'{NODE}/{camera}/{name}', message, store.setdefault(camera, []), qos)
        self._listen('/diagnostics', DiagnosticArray, self.diagnostics, 10)
        self._executor = ExecutorThread(self.node, name='robot')
        self._executor.start()

    def _listen(self, topic, message_type, store, qos):
        def keep(message):
            with self._arrived:
                store.append(message)
                self._arrived.notify_all()

        return self.node.create_subscription(message_type, topic, keep, qos)

    def close(self):
        self._executor.stop()
        self.node.destroy_node()
        self._context.try_shutdown()

    def watch_pictures(self, camera='camera'):
        """Subscribe to the annotated picture; returns the function that ends that."""
        store = self.pictures.setdefault(camera, [])
        subscription = self._listen(f'{NODE}/{camera}/annotated', Image, store, 10)
        return lambda: self.node.destroy_subscription(subscription)

    def wait_for(self, what, patience=PATIENCE):
        """Wait until `what()` is true; it is looked at after every message."""
        with self._arrived:
            arrived = self._arrived.wait_for(what, patience)
        assert arrived, f'waited {patience} s in vain; statuses {self.records()}'

    def wait_until(self, what, patience=PATIENCE):
        """Wait for something that no message tells (the graph)."""
        until = time.monotonic() + patience
        while not what():
            assert time.monotonic() < until, f'waited {patience} s in vain'
            with self._arrived:
                self._arrived.wait(0.05)

    def wait_for_node(self, camera='camera'):
        """Wait until the node is active and both directions are connected."""
        self.wait_until(lambda: self._images[camera].get_subscription_count() > 0)
        self.wait_until(lambda: self.node.count_publishers(f'{NODE}/{camera}/frame_status') > 0)
        self.wait_for(lambda: self.labels[camera])

    def now(self):
        return self.node.get_clock().now().nanoseconds

    def send(self, camera='camera', stamp=None, *, picture=None, **fields):
        """Publish an image; returns its stamp in ns."""
        stamp = self.now() if stamp is None else stamp
        header = Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id=f'{camera}_optical')
        publisher = self._images[camera]
        if publisher.msg_type is CompressedImage:
            publisher.publish(CompressedImage(header=header, **fields))
        else:
            publisher.publish(image(header, picture, **fields))
        return stamp

    def record_of(self, stamp, camera='camera', patience=PATIENCE):
        """Wait for the frame of that stamp to end; returns its record."""
        self.wait_for(lambda: self._status(stamp, camera) is not None, patience)
        return parse_frame_status(self._status(stamp, camera))

    def answer_of(self, stamp, camera='camera'):
        """Wait for the classification of the image of that stamp."""

        def found():
            return [m for m in self.answers[camera] if nanoseconds(m.header.stamp) == stamp]

        self.wait_for(found)
        return found()[0]

    def ask(self, camera='camera', **fields):
        """Send images until one arrives; returns its record and leaves its stamp in `asked`."""
        for _ in range(10):
            stamp = self.send(camera, **fields)
            self.asked = stamp
            with contextlib.suppress(AssertionError):
                return self.record_of(stamp, camera, patience=PATIENCE / 6)
        raise AssertionError('none of 10 images was received')

    def level(self, camera='camera'):
        """The level of the status of the image that was asked about last."""
        return self._status(self.asked, camera).status[0].level

    def records(self, camera=None):
        cameras = self.statuses if camera is None else [camera]
        return [parse_frame_status(m) for name in cameras for m in self.statuses[name]]

    def _status(self, stamp, camera):
        for message in reversed(self.statuses[camera]):
            if nanoseconds(message.header.stamp) == stamp:
                return message
        return None

    def announce(self, deadline, camera=None):
        """Publish the next deadline (ns) for all cameras or one."""
        publisher = self._deadlines[camera]
        self.wait_until(lambda: publisher.get_subscription_count() > 0)
        publisher.publish(Header(stamp=Time(nanoseconds=deadline).to_msg()))

    def announce_bytes(self, message):
        """Publish bytes as they are on the topic of all cameras' deadlines."""
        self.wait_until(lambda: self._deadlines[None].get_subscription_count() > 0)
        self._deadlines[None].publish(message)

    def diagnosis_of(self, name):
        """The status of a camera or of the model in the latest diagnostics; None before there is one."""
        statuses = self.diagnostics[-1].status if self.diagnostics else ()
        return next((status for status in statuses if status.name == f'{NODE}: {name}'), None)

    def values_of(self, name):
        """The values of that status by key."""
        status = self.diagnosis_of(name)
        return {} if status is None else {pair.key: pair.value for pair in status.values}

    def call(self, service_type, name, request):
        """Call a service of the node; with one client each, since every new one has to be discovered."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, f'{NODE}/{name}')
        return ask_service(self._clients[name], request)

    def set(self, **values):
        """Set parameters (dots written as __) in one atomic call; returns the result."""
        parameters = [
            Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        request = SetParametersAtomically.Request(parameters=parameters)
        return self.call(SetParametersAtomically, 'set_parameters_atomically', request).result

    def get(self, name):
        request = GetParameters.Request(names=[name])
        return parameter_value_to_python(self.call(GetParameters, 'get_parameters', request).values[0])

    def state(self):
        return self.call(GetState, 'get_state', GetState.Request()).current_state.label

    def transition(self, label):
        request = ChangeState.Request()
        request.transition.label = label
        return self.call(ChangeState, 'change_state', request).success


def ask_service(client, request):
    """The service's answer.

    It is lost where the server has not yet discovered this client's reader (rmw waits 100 ms for it), so a
    request that may be repeated is.
    """
    assert client.wait_for_service(PATIENCE), f'there is no service {client.srv_name}'
    attempts = 1 if client.srv_type in ONCE else ATTEMPTS
    done, futures = threading.Event(), []
    for _ in range(attempts):
        futures.append(client.call_async(request))
        futures[-1].add_done_callback(lambda _: done.set())
        if done.wait(PATIENCE / attempts):
            return next(future for future in futures if future.done()).result()
    raise AssertionError(f'{client.srv_name} did not answer')


def image(header, picture=None, **fields):
    """An Image; `picture` is uint8 [H, W, 3] (default: grey 64 x 48)."""
    height, width = (48, 64) if picture is None else picture.shape[:2]
    pixels = bytes([127]) * (height * width * 3) if picture is None else picture.tobytes()
    message = Image(header=header, height=height, width=width, encoding='rgb8', step=3 * width)
    message.data = array.array('B', pixels)
    for name, value in fields.items():
        setattr(message, name, value)
    return message
