"""A camera that replays recordings: publishes the frames of a bag, video, folder of pictures or webcam.

    python -m impatient_ros.ros.replay_camera SOURCE [--rate HZ] [--frames N] [--loop] [--topic T] [--clock]

It starts when somebody subscribes. Frames are stamped with the time at which they are published; with --clock
they keep their stamps, and /clock shows the recording's time for nodes with use_sim_time. With
--deadline-topic and --budgets it plays the control loop, too, and announces each frame's deadline. SIGINT
and SIGTERM end it.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

import rclpy
from rclpy.node import Node

from impatient_ros.budgets import BudgetDistribution, Empirical, Uniform
from impatient_ros.replay import Source, SourceError, open_source
from impatient_ros.replay.event_log import EventLog
from impatient_ros.replay.frame import COMPRESSED, RAW
from impatient_ros.replay.schedule import schedule
from impatient_ros.ros.deadline_announcer import DeadlineAnnouncer
from impatient_ros.ros.environment import transport_environment
from impatient_ros.ros.executor_thread import ExecutorThread
from impatient_ros.ros.frame_publisher import FramePublisher
from impatient_ros.ros.initialization import StartError, initialize, own_arguments
from impatient_ros.ros.stop_signals import StopFlag
from impatient_ros.standard_output import discard_standard_output, run_command

__all__ = ['main']

IMAGE_TOPIC = '/camera/image_raw'

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the replay ended or was interrupted, 1 when the source or a subscriber is missing or broken,
    2 for wrong arguments.
    """
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, format='replay camera: %(message)s')
    try:
        options = _parser().parse_args(own_arguments(argv))
    except StartError as error:
        logger.error('%s', error)
        return 2
    stop = StopFlag()

    def reader_gone() -> None:
        discard_standard_output()
        stop.set()

    event_log = EventLog(sys.stdout if options.event_log else None, on_closed=reader_gone)
    try:
        with open_source(options.source, topic=options.topic, transport=options.transport) as source:
            if options.clock and source.live:
                raise SourceError('a webcam has no recorded time: leave --clock out')
            if options.clock and options.deadline_topic:
                raise SourceError('deadlines are announced for frames stamped now: leave --clock out')
            logger.info('%s', source.description)
            event_log.write('opened', description=source.description)
            return _replay(source, options, argv, stop, event_log)
    except (SourceError, StartError) as error:
        logger.error('%s', error)
        event_log.write('error', message=str(error))
        return 1


def _replay(
    source: Source,
    options: argparse.Namespace,
    argv: Sequence[str],
    stop: StopFlag,
    event_log: EventLog,
) -> int:
    # SIGINT, too: in a background job of a shell it is ignored from the start.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    # The publisher's shared memory must hold a whole image; Fast DDS reads this when the node is made.
    os.environ.update(transport_environment(os.environ))
    initialize(argv)
    node = rclpy.create_node('replay_camera')
    executor = ExecutorThread(node)
    try:
        camera = _publisher(node, source, options, stop, event_log)
        executor.start()
        event_log.write('waiting', topic=camera.topic)
        if options.wait > 0 and not camera.wait_for_subscriber(options.wait):
            if stop.is_set():
                return 0
            raise SourceError(
                f'nobody subscribed to {camera.topic} within {options.wait:g} s: is the node active, and in '
                'the same ROS_DOMAIN_ID? (--wait 0 publishes without waiting)'
            )
        frames = schedule(source, rate=options.rate, frames=options.frames, loop=options.loop)
        code = 0
        try:
            camera.replay(frames)
        except SourceError as error:  # the frames that were published still count
            logger.error('%s', error)
            event_log.write('error', message=str(error))
            code = 1
        finally:
            skipped = source.skipped + camera.skipped
            logger.info(
                'published %d frames on %s, skipped %d, at most %.1f ms after they were due',
                camera.published, camera.topic, skipped, 1e3 * camera.lateness,
            )  # fmt: skip
            event_log.write('done', published=camera.published, skipped=skipped)
        camera.linger()
        return code
    finally:
        executor.stop()
        node.destroy_node()
        rclpy.try_shutdown()


def _publisher(
    node: Node, source: Source, options: argparse.Namespace, stop: StopFlag, event_log: EventLog
) -> FramePublisher:
    transport = options.transport or source.transport
    topic = options.image_topic or (IMAGE_TOPIC + '/compressed' if transport == COMPRESSED else IMAGE_TOPIC)
    deadlines = None
    if options.deadline_topic:
        deadlines = DeadlineAnnouncer(node, options.deadline_topic, options.budgets, options.seed)
    return FramePublisher(
        node,
        topic,
        transport,
        frame_id=options.frame_id,
        reliable=not options.best_effort,
        with_clock=options.clock,
        stop=stop,
        event_log=event_log,
        deadlines=deadlines,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='replay_camera', description='Publish a recording as a camera would.', allow_abbrev=False
    )
    add = parser.add_argument
    add(
        'source', help='rosbag2 folder, .mcap, .db3, .bag, video, picture, folder of pictures or webcam index'
    )
    add('--topic', help='which image topic of a bag to replay')
    add('--rate', type=positive_float, help='frames per second; default: the rate of the recording')
    add('--frames', type=positive_int, help='end after so many; a shorter recording starts over')
    add('--loop', action='store_true', help='start over for ever')
    add('--image-topic', help=f'where to publish; default {IMAGE_TOPIC}, compressed {IMAGE_TOPIC}/compressed')
    add('--transport', choices=(RAW, COMPRESSED), help='default: as the source has it')
    add('--frame-id', default='', help="for the headers; default: the recording's")
    add('--best-effort', action='store_true', help='offer best effort instead of reliable')
    add('--clock', action='store_true', help='publish /clock and keep the stamps of the recording')
    add(
        '--wait', type=float, default=60.0, metavar='SECONDS', help='for a subscriber (default 60; 0: do not)'
    )
    add('--deadline-topic', help='announce a deadline for each frame there (std_msgs/Header)')
    add(
        '--budgets',
        type=budgets,
        default=budgets('0.1'),
        metavar='LOW:HIGH',
        help='seconds from stamp to deadline, drawn evenly; one number: always that (default 0.1)',
    )
    add('--seed', type=int, default=0, help='of these budgets: the same seed draws the same ones')
    add('--event-log', action='store_true', help='write each published frame to stdout as a line of JSON')
    return parser


def positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return value


def budgets(text: str) -> BudgetDistribution:
    """`LOW:HIGH` or one number, seconds."""
    low, _, high = text.partition(':')
    if not high or float(low) == float(high):
        return Empirical([positive_float(low)])
    try:
        return Uniform(positive_float(low), positive_float(high))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text}: {error}') from error


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text} is not 1 or more')
    return value


if __name__ == '__main__':
    run_command(main)
