"""What cutting a network into stages costs, and what the node adds.

    python test/benchmark/speed.py --json OUT [--models A,B] [--device cpu] [--quick] [--compare OLD.json]
        [--realtime PRIORITY] [--memory FRAMES] [--data PICTURES]

Compares the runtimes with the plain networks, which run in processes of their own and take turns with ours.
The model `default` is measured at each of its resolutions in OpenVINO alone, plain and ours, and as
interruptible mode executes it: passes of several resolutions in turn.

OUT is a list of flat records: model, device, runtime, precision (f32 | f16 | bf16 | int8; '' where it plays
no part), what (plain | truncated | contract | interruptible | stepwise | path_plain | path | passes |
plain_at_its_best | preprocess | decision | startup | realtime | node | relay | not_received | speedup |
accuracy | memory | failed), exit (from 1), ms_p50, ms_p99 and ratio: to the network truncated at that exit
(contract), to the plain one (interruptible, and stepwise: stops at all boundaries, but the last head alone;
what interruptible takes beyond that are the other heads), to the plain one at that resolution (path), to that
at the largest (passes), all on the same runtime in the same precision; to a bare relay (node); of speedup,
plain eager torchvision / ours to the last exit; of plain_at_its_best, that / ours to the last exit in single
precision; of realtime, the expected accuracy / that without load. Networks of torchvision's are not trained,
and calibrated on noise for int8: their speed alone is told.
Durations include the way of the image to the device and of the scores back. `--report FILE.json` makes table
and plot from a run that was kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test'), str(ROOT / 'test' / 'benchmark')]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from benchmark.ladder import ladder, passes_of  # noqa: E402
from benchmark.models import MODELS, SHIPPED, torch_source  # noqa: E402
from benchmark.report import Record, changes, plot, record  # noqa: E402
from benchmark.stages import plain_at_its_best, stages, started  # noqa: E402
from benchmark.startup import startup  # noqa: E402
from benchmark.tables import markdown, placed  # noqa: E402
from benchmark.targets import targets  # noqa: E402
from benchmark.turns import timed  # noqa: E402

from impatient_ros.anytime import AnytimeClassifier  # noqa: E402
from impatient_ros.checkpoint import load  # noqa: E402
from impatient_ros.images.preprocessing import Preprocessing  # noqa: E402
from impatient_ros.planning.options import MODES  # noqa: E402
from impatient_ros.resources import resource_path  # noqa: E402
from impatient_ros.runtime import Runtime, Source, select_runtime  # noqa: E402
from impatient_ros.runtime.machine import processor_name  # noqa: E402

RUNTIMES = {'cpu': ('eager', 'openvino'), 'cuda': ('eager', 'cuda_graph')}  # whose accuracy is compared
PICTURES = {'vga': (480, 640), '720p': (720, 1280), '1080p': (1080, 1920), '4k': (2160, 3840)}


def preprocessing(rounds: int) -> Iterator[Record]:
    """From the picture to the network's input, 224 px."""
    prepare = Preprocessing.for_image_size(224)
    for name, (height, width) in PICTURES.items():
        picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        durations = timed(lambda picture=picture: prepare(picture), rounds * 4)[2:]
        yield record('', 'cpu', '', 'preprocess', durations, image=name)


class _Instant(Runtime):
    """Executes nothing, so that what is left is deciding."""

    name, device = 'eager', 'cpu'

    def __init__(self, classifier: AnytimeClassifier) -> None:
        self.exits, self.sides = classifier.exits, classifier.resolutions
        self._scores = np.linspace(0, 1, len(classifier.labels), dtype=np.float32)

    def upload(self, image: np.ndarray) -> Any:
        return image

    def stage(self, index: int, features: Any) -> Any:
        return features

    def exit(self, index: int, features: Any) -> np.ndarray:
        return self._scores

    def describe(self) -> dict[str, Any]:
        return {}


def decision(classifier: AnytimeClassifier, rounds: int) -> Iterator[Record]:
    """Planning, replanning and wrapping up a frame, without decode, preprocessing, stages and heads."""
    for mode in MODES:
        resolutions = tuple(
            replace(each, preprocessing=lambda image: image) for each in classifier.checkpoint.resolutions
        )
        checkpoint = SimpleNamespace(labels=classifier.labels, resolutions=resolutions)
        idle = AnytimeClassifier(checkpoint, _Instant(classifier), classifier.profiles, mode=mode)
        image = np.zeros((1, 1, 3), np.uint8)
        durations = timed(lambda idle=idle, image=image: idle.classify(image, budget=1.0), rounds * 20)[10:]
        yield record('default', 'cpu', '', 'decision', durations, mode=mode)


def accuracy(device: str, data: str) -> Iterator[Record]:
    """Each exit of the clothing model on `validation`; `ratio` is the difference to eager, in points."""
    from training.data.labelled_pictures import read

    checkpoint = load(resource_path('models', SHIPPED['clothing10']))
    pictures = read(data, 'validation')
    reference: list[float] = []
    for kind in RUNTIMES[device]:
        of = Source((checkpoint.graph,), lambda: checkpoint.network, checkpoint.digest)
        runtime = select_runtime(of, kind, device)
        right = np.zeros(runtime.exits)
        for rgb, target in zip(pictures.images, pictures.targets, strict=True):
            run = runtime.start(checkpoint.preprocessing(rgb))
            for t in range(runtime.exits):
                run.stage(t)
                right[t] += int(run.exit().argmax()) == int(target)
        shares = [float(count) / len(pictures) for count in right]
        reference = reference or shares
        for t, share in enumerate(shares):
            points = 100 * (share - reference[t])
            yield record(
                'clothing10', device, kind, 'accuracy', exit_index=t, ratio=points, accuracy=round(share, 4)
            )


def realtime(priority: int, frames: int) -> Iterator[Record]:
    """Real time on and off, in turns, without load and beside two kinds of it."""
    from deadline.realtime import compare_models

    try:
        *_, rows = compare_models(('default', 'resnet18'), {}, ('burn', 'step'), frames, priority)
    except PermissionError as error:
        yield record('', 'cpu', '', 'failed', reason=f'real time is not permitted here ({error})')
        return
    for row in rows:
        yield record(row.pop('model'), 'cpu', '', 'realtime', ratio=row['of_unloaded'], **row)


def default_classifier(device: str, runtime: str = 'auto') -> AnytimeClassifier:
    return AnytimeClassifier.from_checkpoint(resource_path('models', SHIPPED['default']), device, runtime)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.report:
        records = json.loads(Path(options.report).read_text())
        _write(options, records, _machine(records))
        return 0
    unknown = set(options.models) - {*MODELS, 'default'}
    if unknown:
        print(
            f'unknown models {", ".join(sorted(unknown))}: write some of {",".join(MODELS)},default',
            file=sys.stderr,
        )
        return 2
    found = 'cuda' if torch.cuda.is_available() else 'cpu'
    devices = list(dict.fromkeys(['cpu', found])) if options.device == 'auto' else [options.device]
    rounds, time_limit = (3, 3.0) if options.quick else (25, 40.0)
    records: list[Record] = []

    def add(new: Iterator[Record]) -> None:
        for each in new:
            records.append(each)
            shown = {k: v for k, v in each.items() if v not in (None, '')}
            print('  '.join(f'{k} {v}' for k, v in shown.items()), file=sys.stderr, flush=True)

    for device in devices:
        of = {'network_source': torch_source} if device == 'cuda' else {}
        for name in options.models:
            if name != 'default':
                add(stages(name, device, rounds=rounds, time_limit=time_limit, **of))
                if device == 'cpu':
                    add(plain_at_its_best(name, rounds=rounds, time_limit=time_limit / 4))
    classifier = default_classifier(devices[-1])
    if 'default' in options.models and 'cpu' in devices:
        chosen = default_classifier('cpu', 'openvino')
        with ExitStack() as stack:
            peer = started(stack, ('openvino', 'f32'), 'default', 'cpu', chosen.runtime)
            passes = passes_of(chosen)
            add(ladder(chosen.runtime, peer, passes=passes, rounds=rounds, time_limit=time_limit))
    if 'cpu' in devices:
        for name in options.models:
            add(startup(name, 1 if options.quick else 3))
    add(preprocessing(rounds))
    add(decision(classifier, rounds))
    if options.realtime:
        add(realtime(options.realtime, 30 if options.quick else 300))
    if options.data:
        for device in devices:
            add(accuracy(device, options.data))
    if options.node and importlib.util.find_spec('rclpy') is not None:
        from benchmark.node import measure_memory, measure_node

        add(iter(measure_node(devices[-1], frames=60 if options.quick else 300)))
        if options.memory:
            add(iter([measure_memory(classifier, frames=options.memory)]))
    elif options.node:
        print('no ROS 2 here: the node is not measured', file=sys.stderr)
    machine = f'{torch.get_num_threads()} cores of {processor_name()}'
    records.append(record('', '', '', 'machine', name=machine, date=time.strftime('%Y-%m-%d')))
    _write(options, records, machine)
    return int(any(each['what'] == 'failed' for each in records))


def _machine(records: Sequence[Record]) -> str:
    return next((each['name'] for each in records if each['what'] == 'machine'), 'an unknown machine')


def _write(options: argparse.Namespace, records: list[Record], machine: str) -> None:
    if options.compare:
        old = json.loads(Path(options.compare).read_text())
        print('\n'.join(changes(old, records)) or 'nothing changed by more than 10%')
    if options.json and not options.report:
        Path(options.json).write_text(json.dumps(records, indent=1) + '\n')
    table = '\n'.join([*targets(records), '', markdown(records, machine)])
    print(table)
    if options.markdown:
        path = Path(options.markdown)
        path.write_text(placed(path.read_text() if path.exists() else '', table))
    if options.plot:
        plot(records, Path(options.plot))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    add = parser.add_argument
    add('--json', metavar='OUT', help='where the records go')
    add('--models', type=lambda text: text.split(','), default=[*MODELS, 'default'], help='default: all')
    add('--device', choices=('auto', 'cpu', 'cuda'), default='auto', help='default: all that are present')
    add('--quick', action='store_true', help='few rounds: about two minutes for a model')
    add('--report', metavar='RUN.json', help='measure nothing: table and plot of a run that was kept')
    add('--compare', metavar='OLD.json', help='say what changed since a run')
    add('--plot', metavar='OUT.png', help='cost of every exit')
    add(
        '--markdown',
        metavar='OUT.md',
        help='the tables that are printed; between two marks where it has such',
    )
    add('--data', help='zip or folder whose split validation the accuracy is measured on')
    add('--no-node', dest='node', action='store_false', help='leave the node out')
    add('--realtime', type=int, default=0, metavar='PRIORITY', help='compare it with ordinary scheduling')
    add('--memory', type=int, default=0, metavar='FRAMES', help='watch the node’s memory over so many frames')
    return parser


if __name__ == '__main__':
    sys.exit(main())
