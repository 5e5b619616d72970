"""Ways to execute a network at several resolutions: latency, memory and start.

    python test/benchmark/resolutions.py tf_efficientnet_lite0 [--sides 96,128,160,192,224] [--threads 1]

The last exit of a network with random weights, one exit, in OpenVINO. `separate` reads and compiles each
side's model by itself, `cached` takes it from OpenVINO's cache, `shared` compiles each from weights that all
share, `joined` compiles those in groups, a branch per side, as the runtime does (`runtime/openvino`),
`dynamic` is one model with a dynamic shape.

Latency: `shared`, `joined` and `dynamic` take turns, sizes alternate, 4 ms of pause before every run; per
side the lower quartile of `shared` in ms and the ratios of the others' to it, by the clock / of processor
time.
Memory: a process for each way, without torch, PSS in MiB before anything is read and after the runs, once
freed memory is given back, and the seconds from reading the model to the last one's first answer.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import numpy as np  # noqa: E402

from impatient_ros.checkpoint import read  # noqa: E402
from impatient_ros.checkpoint.graph import Graph  # noqa: E402
from impatient_ros.runtime.openvino.branches import Branch, compile_joined, groups  # noqa: E402
from impatient_ros.runtime.openvino.models import read_model, read_sharing  # noqa: E402
from impatient_ros.runtime.packages import import_package  # noqa: E402

WAYS = ('separate', 'cached', 'shared', 'joined', 'dynamic')
PAUSE = 0.004  # s before each run
TURNS = 150


def build(name: str, sides: Sequence[int], folder: Path) -> None:
    """A checkpoint per side, in torch."""
    import torch

    from impatient_ros.checkpoint import Preprocessing, save
    from impatient_ros.network import ImpatientNetwork

    for side in sides:
        torch.manual_seed(0)
        make = ImpatientNetwork.from_torchvision if name.startswith('resnet') else ImpatientNetwork.from_timm
        network = make(name, exits=1, classes=1000, image_size=side).eval()
        labels = [str(index) for index in range(1000)]
        preprocessing = Preprocessing.for_image_size(side)
        save(network, folder / f'{side}.safetensors', labels=labels, preprocessing=preprocessing)


class Compiled:
    """The network at every side, compiled in one of the ways; called with a side it executes."""

    def __init__(self, way: str, folder: Path, sides: Sequence[int], threads: int) -> None:
        self._openvino = import_package('openvino', 'this benchmark', '')
        core = self._openvino.Core()
        options = {
            'PERFORMANCE_HINT': 'LATENCY',
            'NUM_STREAMS': '0' if threads == 1 else '1',
            'INFERENCE_PRECISION_HINT': 'f32',
            'INFERENCE_NUM_THREADS': threads,
            'ENABLE_CPU_PINNING': False,
        }
        if way == 'cached':
            options['CACHE_DIR'] = str(folder)
        graphs = [read(folder / f'{side}.safetensors').graph for side in sides]
        graphs = [Graph(graph.model, graphs[-1].weights) for graph in graphs]
        self.images = {
            side: self._openvino.Tensor(np.random.default_rng(0).random((1, 3, side, side), np.float32))
            for side in sides
        }
        self.before, begin = memory(), time.perf_counter()
        if way == 'dynamic':
            whole = read_model(core, graphs[-1])
            whole.reshape([1, 3, -1, -1])
            request = core.compile_model(whole, 'CPU', options).create_infer_request()
            self._branches = {side: Branch(request, 0, {0: []}) for side in sides}
        else:
            sharing = way in ('shared', 'joined')
            wholes = list(read_sharing(core, graphs) if sharing else (read_model(core, g) for g in graphs))
            by_side = dict(zip(sides, wholes, strict=True))
            together = groups(sides) if way == 'joined' else [(side,) for side in sides]
            branches = [
                branch
                for group in together
                for branch in compile_joined(
                    lambda model: core.compile_model(model, 'CPU', options), [by_side[side] for side in group]
                )
            ]
            self._branches = dict(zip(sides, branches, strict=True))
        for side in sides:
            self(side)
        self.seconds = time.perf_counter() - begin

    def __call__(self, side: int) -> tuple[float, float]:
        """Seconds by the clock, and of processor time."""
        time.sleep(PAUSE)
        begin, used = time.perf_counter(), time.process_time()
        request, entry, _ = self._branches[side]
        request.set_input_tensor(entry, self.images[side])
        request.infer(share_outputs=True)
        return time.perf_counter() - begin, time.process_time() - used


def memory() -> float:
    """PSS of this process, MiB."""
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('Pss:')) / 1024


def latency(folder: Path, sides: Sequence[int], threads: int) -> dict[int, dict[str, Any]]:
    """Per side and way the lower quartiles, in seconds, by the clock and of processor time."""
    compiled = {way: Compiled(way, folder, sides, threads) for way in ('shared', 'joined', 'dynamic')}
    took: dict[int, dict[str, list[tuple[float, float]]]] = {
        side: {w: [] for w in compiled} for side in sides
    }
    random = np.random.default_rng(0)
    for _ in range(TURNS):
        for side in random.permutation(sides).tolist():
            for way in random.permutation(list(compiled)).tolist():
                took[side][way].append(compiled[way](side))
    return {
        side: {way: np.quantile(times, 0.25, axis=0) for way, times in ways.items()}
        for side, ways in took.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('model', help="torchvision's resnet*, or a name of timm's")
    parser.add_argument('--sides', default='96,128,160,192,224', help='px, ascending')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--way', choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    sides = [int(side) for side in options.sides.split(',')]
    if options.way:
        compiled = Compiled(options.way, options.folder, sides, options.threads)
        for side in sides * 20:
            compiled(side)
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        print(json.dumps([compiled.before, memory(), compiled.seconds]))
        return 0
    with tempfile.TemporaryDirectory(prefix='impatient_ros-') as name:
        folder = Path(name)
        build(options.model, sides, folder)
        for way in (
            'separate',
            'cached',
            'cached',
            'shared',
            'joined',
            'dynamic',
        ):  # cached: the second one counts
            arguments = [options.model, '--sides', options.sides, '--threads', str(options.threads)]
            command = [sys.executable, __file__, *arguments, '--way', way, '--folder', name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            before, after, seconds = json.loads(done.stdout)
            print(f'{way}: {before:.0f} -> {after:.0f} MiB, {seconds:.2f} s', flush=True)
        for side, found in latency(folder, sides, options.threads).items():
            base = found.pop('shared')
            ratios = ', '.join(
                f'{way} {clock:.3f} / {used:.3f}'
                for way, (clock, used) in ((w, v / base) for w, v in found.items())
            )
            print(f'{side} px: shared {1e3 * base[0]:.2f} ms, {ratios}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
