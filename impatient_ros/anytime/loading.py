"""From a file to what a classifier is made of: the checkpoint, its runtime, and its latencies here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from impatient_ros.anytime.competing_labels import competing
from impatient_ros.anytime.profile import Progress, cached_or_measured
from impatient_ros.checkpoint import CheckpointFile, read
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.runtime import Runtime, Source, select_runtime

if TYPE_CHECKING:
    from impatient_ros.network import ImpatientNetwork

__all__ = ['loaded', 'source_of']


def loaded(
    path: str | Path,
    device: str,
    runtime: str,
    cpu_threads: int,
    memory_limit: float,
    labels: Sequence[str],
    fit: str,
    progress: Progress | None,
    precision: str = 'auto',
) -> tuple[CheckpointFile, Runtime, tuple[LatencyProfile, ...]]:
    """Arguments and errors as of `AnytimeClassifier.from_checkpoint`."""
    checkpoint = read(path)
    competing(checkpoint.labels, labels)  # before compiling, which takes a while
    if fit:
        checkpoint = checkpoint.with_fit(fit)
    chosen = select_runtime(
        source_of(checkpoint, path),
        runtime,
        device,
        threads=cpu_threads,
        memory_limit=memory_limit,
        precision=precision,
    )
    # Accuracies and temperatures in use are those of the precision; of graphs the runtime has what it needs.
    checkpoint = checkpoint.at_precision(chosen.precision).without_graphs()
    return checkpoint, chosen, cached_or_measured(checkpoint, chosen, progress)


def source_of(checkpoint: CheckpointFile, path: str | Path) -> Source:
    """What runtimes are made from; `path` is the file that was read."""

    def network() -> ImpatientNetwork:
        from impatient_ros.checkpoint import load  # imports torch

        return load(path).network

    graphs = [each.graph for each in checkpoint.resolutions if each.graph is not None]
    sides = tuple(each.side for each in checkpoint.resolutions)
    return Source(
        tuple(graphs),
        network,
        checkpoint.digest,
        sides if len(sides) > 1 else (),
        checkpoint.quantised,
        {name: record.accuracy_kept for name, record in checkpoint.precisions.items()},
    )
