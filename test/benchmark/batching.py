"""Is a stage that executes frames of several cameras at once cheaper than as many runs of it, one by one?

    python test/benchmark/batching.py [--models clothing10,resnet18] [--threads N] [--json OUT]

Every stage of a network runs on ONNX Runtime with 1, 2 and 4 frames in a batch, in turns, with a pause before
each run as between frames. A batch pays where its time is clearly below as many single runs' time; what it
costs in any case is that the first of its frames waits for the others, and that all of them end together.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from impatient_ros.checkpoint import load
from impatient_ros.network import ImpatientNetwork
from impatient_ros.resources import resource_path
from impatient_ros.runtime.machine import usable_cores
from impatient_ros.runtime.onnx_runtime import SPIN_US

BATCHES = (1, 2, 4)
PAUSE = 0.004  # s
MODELS = ('clothing10', 'resnet18')


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--models', default=','.join(MODELS))
    parser.add_argument('--rounds', type=int, default=60)
    parser.add_argument('--threads', type=int, default=0, help='default: as many as there are cores to use')
    parser.add_argument('--json', type=Path, metavar='OUT')
    options = parser.parse_args(arguments)
    records = []
    for name in options.models.split(','):
        of = network(name)
        threads = options.threads or usable_cores()
        records += measure(name, of, threads, options.rounds)
    print(table(records))
    if options.json:
        lines = ',\n'.join(json.dumps(record) for record in records)
        options.json.write_text(f'[\n{lines}\n]\n', encoding='utf-8')
    return 0


def network(name: str) -> ImpatientNetwork:
    if name == 'clothing10':
        return load(resource_path('models', 'clothing10.safetensors')).network
    torch.manual_seed(0)
    return ImpatientNetwork.from_torchvision(name, exits=5, classes=10, image_size=224).eval()


def measure(name: str, of: ImpatientNetwork, threads: int, rounds: int) -> list[dict]:
    """A record per stage and one of all; medians in milliseconds, for the whole batch."""
    sessions: dict[int, list[tuple[Any, np.ndarray]]] = {}
    for batch in BATCHES:
        features = torch.randn(batch, *of.input_shape)
        sessions[batch] = []
        for stage in of.stages:
            sessions[batch].append((session(stage, features, threads), features.numpy()))
            with torch.inference_mode():
                features = stage(features).clone()
    took = {batch: np.zeros((rounds, len(of.stages))) for batch in BATCHES}
    for index in range(-3, rounds):  # the first ones warm up
        for batch, stages in sessions.items():
            time.sleep(PAUSE)
            for t, (each, value) in enumerate(stages):
                begin = time.perf_counter()
                each.run(None, {'x': value})
                if index >= 0:
                    took[batch][index, t] = time.perf_counter() - begin
    records = []
    for label, columns in [(str(t + 1), [t]) for t in range(len(of.stages))] + [
        ('all', [*range(len(of.stages))])
    ]:
        usual = {batch: float(np.median(took[batch][:, columns].sum(axis=1))) for batch in BATCHES}
        record = {'model': name, 'threads': threads, 'stage': label}
        record |= {f'batch_{batch}_ms': round(usual[batch] * 1e3, 3) for batch in BATCHES}
        record |= {f'saved_by_{b}': round(1 - usual[b] / (b * usual[1]), 3) for b in BATCHES[1:]}
        records.append(record)
    return records


def session(stage: torch.nn.Module, features: torch.Tensor, threads: int) -> Any:
    import onnxruntime

    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(stage, (features,), buffer, input_names=['x'], dynamo=False)  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry('session.intra_op.spin_duration_us', SPIN_US)
    return onnxruntime.InferenceSession(buffer.getvalue(), options, providers=['CPUExecutionProvider'])


def table(records: list[dict]) -> str:
    head = (
        '| model | threads | stage | 1 frame ms | 2 frames ms | 4 frames ms | saved by 2 % | saved by 4 % |'
    )
    lines = [head, '|' + '---|' * 8]
    for r in records:
        times = ' | '.join(f'{r[f"batch_{batch}_ms"]:.2f}' for batch in BATCHES)
        saved = ' | '.join(f'{r[f"saved_by_{batch}"] * 100:.0f}' for batch in BATCHES[1:])
        lines.append(f'| {r["model"]} | {r["threads"]} | {r["stage"]} | {times} | {saved} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
