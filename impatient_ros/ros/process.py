"""A node as a program: from `rclpy.init` to the exit code.

A launch interrupts its programs and kills those that still run some seconds later: a node has to end at once,
whatever it is doing, and to lose nothing of what it has taken.
"""

import faulthandler
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import rclpy
import rclpy.logging
from rclpy.node import Node

from impatient_ros.perception.faults import Faults
from impatient_ros.perception.parameter_definition import ParameterError
from impatient_ros.ros.environment import NODE_PROFILE, transport_environment
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.initialization import StartError, initialize
from impatient_ros.ros.logging_bridge import forward_logging
from impatient_ros.ros.stop_signals import StopSignals

__all__ = ['leave', 'serve']

# Seconds that ending may take before it says where it hangs; chosen beyond what launch grants before it
# kills.
LAST_RESORT = 50.0


def serve(make_node: Callable[[Faults], Node], name: str, args: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT or SIGTERM; returns the exit code. For the main thread.

    The code is 1 where a thread could not be kept alive: whoever started the node is to start it again; it is
    2 where the arguments are wrong, and one line of the log says what is. The
    node tells what is given to `make_node` of its threads, and `make_node` may raise ParameterError, which is
    logged as `name`'s. A node that has threads of its own ends them in `destroy_node`.
    """
    # Fast DDS reads it when the node is made.
    os.environ.update(transport_environment(os.environ, NODE_PROFILE))
    # Not rclpy's own handlers: they would shut the context down under the frames that are still on their way
    # out.
    try:
        initialize(args)
    except StartError as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        return 2
    ended = StopSignals()
    code = _serve(make_node, name, ended)
    # A lifecycle node and its state machine hold each other, and with them its participant, which would be
    # taken down while the interpreter ends, among everything else. So would that of a node that was refused.
    gc.collect()
    rclpy.try_shutdown()
    faulthandler.cancel_dump_traceback_later()
    # The ending interpreter would put the default handlers back, and a second Ctrl-C (launch forwards the
    # terminal's) would make this clean end look like a crash.
    ended.ignore()
    return code


def _serve(make_node: Callable[[Faults], Node], name: str, ended: StopSignals) -> int:
    """Everything that holds the node: it is gone, but for cycles, when this returns."""
    faults = Faults(give_up=ended.set)
    try:
        node = make_node(faults)
    except ParameterError as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        return 2
    forward_logging(node.get_logger())
    executor = ExecutorThread(node, ended=ended.set, faults=faults)
    executor.start()
    ended.wait()
    faulthandler.dump_traceback_later(LAST_RESORT, exit=True)
    executor.stop()
    node.destroy_node()
    return 1 if faults.gave_up else 0


def leave(code: int) -> NoReturn:
    """End the process without freeing everything first, which takes seconds where torch is loaded."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
