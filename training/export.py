"""Write a checkpoint's stages, heads and contract paths as ONNX files, for TensorRT and other runtimes.

    python -m training.export models/clothing10.safetensors --output exported

`stage_<t>.onnx` computes features_<t> from features_<t-1> (the first from `image`), `exit_<t>.onnx` the
scores logits_<t> from features_<t>, `path_<t>.onnx` the scores from the image in one call; t counts from 0.
`network.json` says shapes, labels, preprocessing, accuracy and temperature per exit. The node needs none of
this: a checkpoint carries the graph.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from impatient_ros.checkpoint import CheckpointError, CheckpointFile, Graph, read
from impatient_ros.checkpoint.graph import boundary, logits
from impatient_ros.standard_output import run_command

__all__ = ['export', 'main']


def export(checkpoint: CheckpointFile, output: Path) -> list[Path]:
    """Write all files into the folder `output`, made where needed. Raises CheckpointError, OSError."""
    graph = checkpoint.graph
    if graph is None:
        raise CheckpointError('the checkpoint has no graph; see python -m impatient_ros.checkpoint convert')
    boundaries = [boundary(position) for position in range(graph.exits + 1)]
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for name, part in _parts(graph):
        written.append(output / f'{name}.onnx')
        written[-1].write_bytes(part.SerializeToString())
    description = {
        'opset': graph.model.opset_import[0].version,
        'input': {'name': boundary(0), 'shape': list(graph.shape(boundary(0)))},
        'boundaries': {name: list(graph.shape(name)) for name in boundaries},
        'labels': list(checkpoint.labels),
        'preprocessing': checkpoint.preprocessing.to_dict(),
        'accuracies': list(checkpoint.accuracies) if checkpoint.accuracies_measured else None,
        'temperatures': list(checkpoint.temperatures),
        'checkpoint_sha256': checkpoint.digest,
    }
    written.append(output / 'network.json')
    written[-1].write_text(json.dumps(description, indent=2) + '\n', encoding='utf-8')
    return written


def _parts(graph: Graph) -> Iterator[tuple[str, Any]]:
    for t in range(graph.exits):
        yield f'stage_{t}', graph.part(t, [boundary(t + 1)])
        yield f'exit_{t}', graph.part(t + 1, [logits(t)])
        yield f'path_{t}', graph.part(0, [logits(t)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where the checkpoint or the folder cannot be used."""
    parser = argparse.ArgumentParser(
        prog='python -m training.export', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('checkpoint', help='a .safetensors file that training wrote')
    parser.add_argument(
        '--output', default='exported', help='the folder to write into (default: %(default)s)'
    )
    options = parser.parse_args(arguments)
    try:
        written = export(read(options.checkpoint), Path(options.output))
    except (CheckpointError, OSError) as error:
        print(f'export: {error}', file=sys.stderr)
        return 2
    for path in written:
        print(f'{path} ({path.stat().st_size / 1e6:.2f} MB)')
    return 0


if __name__ == '__main__':
    run_command(main)
