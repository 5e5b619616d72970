"""How long a process takes to its first answer, and what it holds then: a part of speed.py.

    python test/benchmark/startup.py ours|plain MODEL

prints {"seconds": from the start of the process to the first scores, "mib": of resident memory then}. `plain`
is torchvision's network alone, executed eagerly; of a shipped one, which torchvision has not, the stages and
the last exit of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]


def startup(name: str, rounds: int) -> Iterator[dict]:
    """Ours without anything kept from before (`again` False: it compiles and measures first) and with it, and
    the plain network. Medians of so many processes; `mib` is the last one's.
    """
    from benchmark.report import record

    took: dict[tuple[str, bool], list[float]] = {}
    held: dict[tuple[str, bool], float] = {}
    with tempfile.TemporaryDirectory(prefix='impatient_ros-') as folder:
        path = str(_written(name, Path(folder)))
        for number in range(rounds):
            environment = {**os.environ, 'XDG_CACHE_HOME': str(Path(folder) / str(number))}
            Path(environment['XDG_CACHE_HOME']).mkdir(mode=0o700)
            for kind, again in (('ours', False), ('ours', True), ('plain', False)):
                command = [sys.executable, __file__, kind, path if kind == 'ours' else name]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    reason = f'the process to the first answer ended with code {done.returncode}'
                    yield record(name, 'cpu', kind, 'failed', reason=reason)
                    return
                found = json.loads(done.stdout.splitlines()[-1])
                took.setdefault((kind, again), []).append(found['seconds'])
                held[kind, again] = found['mib']
    for (kind, again), seconds in took.items():
        runtime = 'openvino' if kind == 'ours' else 'eager'
        yield record(name, 'cpu', runtime, 'startup', seconds, again=again, mib=round(held[kind, again], 1))


def _written(name: str, folder: Path) -> Path:
    from benchmark.models import SHIPPED, written

    from impatient_ros.resources import resource_path

    return resource_path('models', SHIPPED[name]) if name in SHIPPED else written(name, folder)


def ours(path: str) -> object:
    import numpy as np

    from impatient_ros.anytime import AnytimeClassifier

    classifier = AnytimeClassifier.from_checkpoint(path, device='cpu', runtime='openvino')
    assert classifier.classify(np.zeros((480, 640, 3), np.uint8), budget=60.0).met
    return classifier


def plain(name: str) -> object:
    import torch

    if name in ('default', 'clothing10'):  # `SHIPPED`, whose module imports all of ours
        from benchmark.models import network

        whole = network(name)
        of = torch.nn.Sequential(*whole.stages, whole.exits[-1])
        shape = whole.input_shape
    else:
        from torchvision.models import get_model

        of, shape = get_model(name, num_classes=10), (3, 224, 224)
    with torch.inference_mode():
        of.eval()(torch.zeros(1, *shape))
    return of


def main() -> None:
    kind, name = sys.argv[1:]
    kept = {'ours': ours, 'plain': plain}[kind](name)  # its memory is what is measured
    status = Path('/proc/self/status').read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith('VmRSS'))
    # Field 22 of stat(5): when the process started, in clock ticks after boot.
    ticks = int(Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19])
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')
    print(json.dumps({'seconds': since, 'mib': kib / 1024}))
    del kept


if __name__ == '__main__':
    main()
