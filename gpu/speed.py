"""The speed of one network on CUDA: python3 gpu/speed.py MODEL OUT.json [--dry]

Records as test/benchmark/speed.py describes them; --dry measures eager torch on the CPU, one round.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from benchmark.ladder import ladder  # noqa: E402
from benchmark.models import torch_source  # noqa: E402
from benchmark.report import Record  # noqa: E402
from benchmark.stages import WAYS, failed, made, stages, started  # noqa: E402

# Chosen so that all networks take under six minutes, of the nine that there are for everything.
ROUNDS, SECONDS = 25, 5.0
DRY = (('eager', 'f32'),)


def resolutions(
    device: str, ways: tuple[tuple[str, str], ...], rounds: int, limit: float
) -> Iterator[Record]:
    """The default model at each of its resolutions, in every way."""
    of = torch_source('default')
    with ExitStack() as stack:
        peers = {way: started(stack, way, 'default', device) for way in ways}
        for way, peer in peers.items():
            kind, precision = way
            try:
                runtime = made(of, kind, precision, device)
                yield from ladder(runtime, peer, precision=precision, rounds=rounds, time_limit=limit)
            except (RuntimeError, ValueError) as error:  # ValueError: timm, which rebuilds it, is missing
                yield failed('default', device, way, error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model')
    parser.add_argument('out', type=Path)
    parser.add_argument('--dry', action='store_true')
    options = parser.parse_args()
    device, ways, rounds, limit = (
        ('cpu', DRY, 1, 0.0) if options.dry else ('cuda', WAYS['cuda'], ROUNDS, SECONDS)
    )
    if options.model == 'default':
        found = resolutions(device, ways, rounds, limit)
    else:
        found = stages(
            options.model, device, ways=ways, rounds=rounds, time_limit=limit, network_source=torch_source
        )
    records = []
    for each in found:
        records.append(each)
        if each['what'] in ('plain', 'path', 'speedup', 'failed'):
            shown = {k: v for k, v in each.items() if v not in (None, '')}
            print('  '.join(f'{k} {v}' for k, v in shown.items()), flush=True)
        options.out.write_text(json.dumps(records, indent=1) + '\n')  # what there is, if this ends early
    return int(any(each['what'] == 'failed' for each in records))


if __name__ == '__main__':
    sys.exit(main())
