"""One compiled model per resolution against one with a dynamic shape, and what memory each way takes.

    python test/benchmark/resolutions.py tf_efficientnet_lite0 [--sides 96,128,160,192,224] [--threads 1]

The last exit of a network with random weights, one exit, in OpenVINO. Latency: static and dynamic take turns,
sizes alternate, 4 ms of pause before every run; per side the medians in ms and the median of the pairs'
ratios, dynamic / static. Memory: a process for each way, without torch, PSS in MiB before anything is read
and after the runs, and the seconds from reading the model to the last one's first answer. `shared` is what
the runtime does (`runtime/openvino/models.py`), `separate` reads each side's model by itself, `cached` takes
it from OpenVINO's cache.
"""

from __future__ import annotations

import argparse
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
from impatient_ros.runtime.openvino.models import read_model, read_sharing  # noqa: E402
from impatient_ros.runtime.packages import import_package  # noqa: E402

WAYS = ('separate', 'cached', 'shared', 'dynamic')
PAUSE = 0.004  # s before each run
PAIRS = 100


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
            self._requests = dict.fromkeys(sides, request)
        else:
            wholes = read_sharing(core, graphs) if way == 'shared' else (read_model(core, g) for g in graphs)
            self._requests = {
                side: core.compile_model(whole, 'CPU', options).create_infer_request()
                for side, whole in zip(sides, wholes, strict=True)
            }
        for side in sides:
            self(side)
        self.seconds = time.perf_counter() - begin

    def __call__(self, side: int) -> float:
        time.sleep(PAUSE)
        begin = time.perf_counter()
        self._requests[side].set_input_tensor(0, self.images[side])
        self._requests[side].infer(share_outputs=True)
        return time.perf_counter() - begin


def memory() -> float:
    """PSS of this process, MiB."""
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('Pss:')) / 1024


def latency(folder: Path, sides: Sequence[int], threads: int) -> dict[int, Any]:
    static, dynamic = (Compiled(way, folder, sides, threads) for way in ('shared', 'dynamic'))
    took: dict[int, list[tuple[float, float]]] = {side: [] for side in sides}
    random = np.random.default_rng(0)
    for number in range(PAIRS):
        for side in random.permutation(sides).tolist():
            if number % 2:
                second = dynamic(side)
                took[side].append((static(side), second))
            else:
                took[side].append((static(side), dynamic(side)))
    found = {}
    for side, pairs in took.items():
        first, second = np.array(pairs).T
        medians = (np.median(first) * 1e3, np.median(second) * 1e3, np.median(second / first))
        found[side] = [round(float(value), 3) for value in medians]
    return found


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
        print(json.dumps([compiled.before, memory(), compiled.seconds]))
        return 0
    with tempfile.TemporaryDirectory(prefix='impatient_ros-') as name:
        folder = Path(name)
        build(options.model, sides, folder)
        for way in ('separate', 'cached', 'cached', 'shared', 'dynamic'):  # cached: the second one counts
            arguments = [options.model, '--sides', options.sides, '--threads', str(options.threads)]
            command = [sys.executable, __file__, *arguments, '--way', way, '--folder', name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            before, after, seconds = json.loads(done.stdout)
            print(f'{way}: {before:.0f} -> {after:.0f} MiB, {seconds:.2f} s', flush=True)
        for side, (static, dynamic, ratio) in latency(folder, sides, options.threads).items():
            print(f'{side} px: static {static:.2f} ms, dynamic {dynamic:.2f} ms, ratio {ratio:.2f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
