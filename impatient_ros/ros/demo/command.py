"""The demo: the perception node and a replay camera, and live what is answered per frame.

    python -m impatient_ros.ros.demo [--frames N] [--source S] [--rate HZ] [--topic T] [--budget SECONDS]

Without a source it shows the pictures that come with the package, over and over; a source is played once.
With --frames it ends after that many, and a source that is shorter starts over. Ctrl-C ends it at any time.

Exit code 1 if what became of a published frame is not known, if the node died or if the source broke.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from impatient_ros.demo.processes import free_domain
from impatient_ros.replay import Source, SourceError, open_source
from impatient_ros.replay.frame import COMPRESSED
from impatient_ros.resources import resource_path
from impatient_ros.ros.demo.run import DemoRun
from impatient_ros.ros.environment import transport_environment
from impatient_ros.ros.replay_camera import positive_float, positive_int

__all__ = ['main']

NODE, CAMERA = 'perception', 'camera'
IMAGE_TOPIC = f'/{CAMERA}/image_raw'
SUBSCRIBED = 30.0  # s until the node, which is active by then, must have subscribed


def main(argv: Sequence[str] | None = None, *, node_command: Sequence[str] | None = None) -> int:
    """`node_command` stands in for the perception node's; the parameters are appended."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format='demo: %(message)s')
    console = _Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    shown = options.source or str(resource_path('config', 'demo/pictures'))
    try:
        with open_source(shown, topic=options.topic) as source:
            # The camera opens it again; a source that cannot be opened fails before anything is started.
            run = _run(options, source, shown, node_command, console)
    except (SourceError, OSError) as error:
        console.print(str(error), style='red', markup=False)
        return 1

    def on_signal(number: int, frame: FrameType | None) -> None:
        run.stop()

    # SIGINT, too: in a background job of a shell it is ignored from the start.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    problem = run.replay()
    summary = run.report(options.record)
    if problem:
        console.print(problem, style='bold red', markup=False)
    return 0 if summary.complete and not problem else 1


class _Console(Console):
    """Leaves a reader that has gone to `run_command`, as rich did before it ended the process by itself."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  rich calls this while it handles the BrokenPipeError


def _run(
    options: argparse.Namespace,
    source: Source,
    shown: str,
    node_command: Sequence[str] | None,
    console: Console,
) -> DemoRun:
    topic = IMAGE_TOPIC + '/compressed' if source.transport == COMPRESSED else IMAGE_TOPIC
    environment = _environment(os.environ)
    os.environ.update(environment)  # this process subscribes in the same domain
    domain = environment.get('ROS_DOMAIN_ID', os.environ.get('ROS_DOMAIN_ID', '0'))
    return DemoRun(
        source=source.description
        if options.source
        else f'{source.length} pictures that come with the package',
        place=f'{topic}, ROS_DOMAIN_ID={domain}',
        node_command=[
            *(node_command or [sys.executable, '-m', 'impatient_ros.ros.perception_node']),
            *_node_arguments(options, topic, source.transport),
        ],
        camera_command=[
            *(sys.executable, '-m', 'impatient_ros.ros.replay_camera', shown),
            *_camera_arguments(options, topic, loop=not options.source and not options.frames),
        ],
        node=NODE,
        camera=CAMERA,
        console=console,
    )


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the children need beyond `environ`: transport, a domain of their own, output as it is written."""
    added = transport_environment(environ)
    if not environ.get('ROS_DOMAIN_ID'):
        added['ROS_DOMAIN_ID'] = str(free_domain())
        if not environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE'):
            added['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    return added | {'PYTHONUNBUFFERED': '1', 'RCUTILS_COLORIZED_OUTPUT': '0'}


def _node_arguments(options: argparse.Namespace, topic: str, transport: str) -> list[str]:
    parameters = {
        'camera_names': f'[{CAMERA}]',
        f'cameras.{CAMERA}.topic': topic,
        f'cameras.{CAMERA}.transport': transport,
    }
    if options.budget is not None:
        parameters |= {'budget.source': 'fixed', 'budget.fixed': f'{options.budget:.9f}'}
    if options.model is not None:
        parameters['model'] = str(Path(options.model).absolute())
    file = options.params_file or str(resource_path('config', 'demo/perception.yaml'))
    arguments = ['--ros-args', '--params-file', file]
    for name, value in parameters.items():  # later values replace those of the file
        arguments += ['-p', f'{name}:={value}']
    return arguments


def _camera_arguments(options: argparse.Namespace, topic: str, *, loop: bool) -> list[str]:
    arguments = ['--image-topic', topic, '--event-log', '--wait', f'{SUBSCRIBED:g}', '--frame-id', CAMERA]
    for name in ('frames', 'rate', 'topic'):
        if (value := getattr(options, name)) is not None:
            arguments += [f'--{name}', str(value)]
    return arguments + (['--loop'] if loop else [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='demo', description='Watch the perception node answer a replay camera.', allow_abbrev=False
    )
    add = parser.add_argument
    add('--frames', type=positive_int, help='end after so many, with a summary; a shorter source starts over')
    add(
        '--source',
        help='rosbag2 folder, .mcap, .db3, .bag, video, picture, folder of pictures or webcam index',
    )
    add('--rate', type=positive_float, help='frames per second instead of the rate of the source')
    add('--topic', help='which image topic of a bag')
    add(
        '--budget', type=positive_float, help='seconds per frame, fixed, instead of those of the control loop'
    )
    add('--model', help='checkpoint to use instead of the one that is shipped')
    add('--params-file', help="parameters of the node instead of the demo's")
    add('--record', type=_picture_path, help='write the last screen and the summary to a .svg or .html file')
    return parser


def _picture_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in ('.svg', '.html'):
        raise argparse.ArgumentTypeError(f'{text} ends in neither .svg nor .html')
    return path
