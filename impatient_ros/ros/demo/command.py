"""The demo: the perception node and a replay camera, and live what is answered per frame.

    python -m impatient_ros.ros.demo [--frames N] [--source S] [--rate HZ] [--topic T] [--page FILE] [--plain]

Each frame's budget is drawn evenly between what the cheapest and the dearest path take here from the image to
the answer, and announced on the node's deadline topic; in the middle of the run every core is kept busy.
Beside the node's answers stands what the best plain network would have made of the frames; --plain runs that
one instead. At the end a page with all of it is written.

Without a source it shows the pictures that come with the package, over and over; a source is played once.
With --frames it ends after that many, and a source that is shorter starts over. Ctrl-C ends it at any time.

Exit code 1 if what became of a published frame is not known, if the node died or if the source broke.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from impatient_ros.budgets import BudgetDistribution, Empirical, Uniform
from impatient_ros.demo.ladder import Ladder
from impatient_ros.demo.processes import free_domain
from impatient_ros.replay import SourceError, open_source
from impatient_ros.replay.frame import COMPRESSED
from impatient_ros.resources import resource_path
from impatient_ros.ros.demo.model import Model, pictures_of
from impatient_ros.ros.demo.report import report, write_page
from impatient_ros.ros.demo.run import Commands, DemoRun, Options
from impatient_ros.ros.demo.screen import Screen
from impatient_ros.ros.environment import transport_environment
from impatient_ros.ros.replay_camera import positive_float, positive_int

__all__ = ['main']

NODE, CAMERA = 'perception', 'camera'
IMAGE_TOPIC = f'/{CAMERA}/image_raw'
SUBSCRIBED = 30.0  # s until the node, which is active by then, must have subscribed


def main(
    argv: Sequence[str] | None = None,
    *,
    node_command: Sequence[str] | None = None,
    load_model: Callable[[Mapping[str, Any]], Model] = Model.load,
) -> int:
    """`node_command` stands in for the perception node's; the parameters are appended. `load_model` makes
    the same model in this process.
    """
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format='demo: %(message)s')
    console = _Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    shown = options.source or str(resource_path('config', 'demo/pictures'))
    try:
        with open_source(shown, topic=options.topic) as source:
            # The camera opens it again; a source that cannot be opened fails before anything is started.
            pictures = pictures_of(source)
            described = (
                source.description if options.source else f'{len(pictures)} pictures of everyday things'
            )
            commands, place = _commands(options, source.transport, shown, node_command)
            run_options = _run_options(options, source.length if options.source else None)
    except (SourceError, OSError) as error:
        console.print(str(error), style='red', markup=False)
        return 1
    screen = Screen(console, described, place)
    run = DemoRun(
        commands,
        run_options,
        screen,
        load_model=load_model,
        pictures=pictures,
        names=(NODE, CAMERA),
    )

    def on_signal(number: int, frame: FrameType | None) -> None:
        run.stop()

    # SIGINT, too: in a background job of a shell it is ignored from the start.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    problem = run.replay()
    summary, rows = run.results()
    report(screen, summary, rows, run.last_frame - run.first_frame, record=options.record)
    if screen.setting is not None and summary.reported:
        path = write_page(options.page, described, screen.setting, summary, rows, pictures)
        console.print(f'more of it, as a page: {path}', markup=False)
    if problem:
        console.print(problem, style='bold red', markup=False)
    return 0 if summary.complete and not problem else 1


class _Console(Console):
    """Leaves a reader that has gone to `run_command`, as rich did before it ended the process by itself."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  rich calls this while it handles the BrokenPipeError


def _commands(
    options: argparse.Namespace, transport: str, shown: str, node_command: Sequence[str] | None
) -> tuple[Commands, str]:
    """What to start, and the topic and domain for people."""
    topic = IMAGE_TOPIC + '/compressed' if transport == COMPRESSED else IMAGE_TOPIC
    environment = _environment(os.environ)
    os.environ.update(environment)  # this process subscribes in the same domain
    domain = environment.get('ROS_DOMAIN_ID', os.environ.get('ROS_DOMAIN_ID', '0'))
    node_arguments = _node_arguments(options, topic, transport)
    python = (sys.executable, '-m')

    def camera(budgets: BudgetDistribution, frames: int | None) -> list[str]:
        arguments = _camera_arguments(options, topic, frames, loop=not options.source and not frames)
        low, high = budgets.quantile(0.0), budgets.quantile(1.0)
        return [
            *(*python, 'impatient_ros.ros.replay_camera', shown, *arguments),
            *('--budgets', f'{low!r}:{high!r}', '--seed', str(options.seed)),
        ]

    def plain_node(resolution: int, exit_index: int) -> list[str]:
        path = (str(resolution), str(exit_index))
        return [*(*python, 'impatient_ros.ros.demo.plain_node', *path), *node_arguments]

    node = [*(node_command or (*python, 'impatient_ros.ros.perception_node')), *node_arguments]
    return Commands(node, plain_node, camera), f'{topic}, ROS_DOMAIN_ID={domain}'


def _run_options(options: argparse.Namespace, length: int | None) -> Options:
    def budgets(ladder: Ladder) -> BudgetDistribution:
        low, high = ladder.cost_range() if options.budget is None else (options.budget,) * 2
        return Uniform(low, high) if low < high else Empirical([low])

    return Options(
        options.frames, options.frames or length, budgets, options.seed, not options.no_load, options.plain
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
        'budget.source': 'topic',
    }
    if options.model is not None:
        parameters['model'] = str(Path(options.model).absolute())
    file = options.params_file or str(resource_path('config', 'demo/perception.yaml'))
    arguments = ['--ros-args', '--params-file', file]
    for name, value in parameters.items():  # later values replace those of the file
        arguments += ['-p', f'{name}:={value}']
    return arguments


def _camera_arguments(
    options: argparse.Namespace, topic: str, frames: int | None, *, loop: bool
) -> list[str]:
    arguments = ['--image-topic', topic, '--event-log', '--wait', f'{SUBSCRIBED:g}', '--frame-id', CAMERA]
    arguments += ['--deadline-topic', f'/{NODE}/deadline']
    arguments += [] if frames is None else ['--frames', str(frames)]
    for name in ('rate', 'topic'):
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
    add('--budget', type=positive_float, help='seconds per frame, always the same, instead of drawn ones')
    add('--seed', type=int, default=0, help='of the budgets: the same seed draws the same ones')
    add('--plain', action='store_true', help='run the best plain network instead of the impatient one')
    add('--no-load', action='store_true', help='do not keep the machine busy in the middle')
    add('--page', type=_page_path, help='where to write the page of the run; default: a temporary file')
    add('--model', help='checkpoint to use instead of the one that is shipped')
    add('--params-file', help="parameters of the node instead of the demo's")
    add('--record', type=_picture_path, help='write the last screen and the summary to a .svg or .html file')
    return parser


def _page_path(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f'{text} cannot be written: name a file in a folder that exists')
    return path


def _picture_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in ('.svg', '.html'):
        raise argparse.ArgumentTypeError(f'{text} ends in neither .svg nor .html')
    return path
