"""What cutting a network into stages costs, against the plain one in another process: a part of speed.py."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark.ladder import contract_run
from benchmark.models import picture, source, with_int8
from benchmark.peer import path_graphs
from benchmark.report import Record, record
from benchmark.turns import Peer, ratio, take_turns, timed

from impatient_ros.runtime import Runtime, RuntimeUnavailableError, Source, select_runtime
from impatient_ros.runtime.openvino.capabilities import native

# Runtime and precision; on the CPU those that it computes natively are added (`ways_on`).
WAYS = {
    'cpu': (('eager', 'f32'), ('openvino', 'f32')),
    'cuda': (('eager', 'f32'), ('cuda_graph', 'f32'), ('cuda_graph', 'f16'), ('cuda_graph', 'bf16')),
}
# What else a user could run the plain network with on a CPU; OpenVINO is measured beside ours.
BEST = {'onnxruntime': 'ONNX Runtime', 'compiled': 'torch.compile'}


def ways_on(device: str) -> tuple[tuple[str, str], ...]:
    """Runtimes and precisions that can be measured here."""
    if device != 'cpu':
        return WAYS[device]
    try:
        fewer = [precision for precision in native(device) if precision != 'f32']
    except RuntimeUnavailableError:
        fewer = []  # what its absence means is said where it is made
    return (*WAYS[device], *(('openvino', precision) for precision in fewer))


def stages(
    name: str,
    device: str,
    *,
    rounds: int,
    time_limit: float,
    ways: Sequence[tuple[str, str]] = (),
    network_source: Callable[[str], Source] = source,
) -> Iterator[Record]:
    """Ours and the plain network's, in every way (runtime and precision) of the device; eager is the first.

    What a way fails with is a record, `failed`, with the `reason`: the others are measured all the same.
    """
    of = network_source(name)
    ways = ways or ways_on(device)
    eager = np.empty(0)
    with ExitStack() as stack:
        # On a processor a peer that starts would disturb what is measured; beside a GPU it saves a minute.
        peers = {way: started(stack, way, name, device) for way in ways} if device == 'cuda' else {}
        for way in ways:
            kind, precision = way
            try:
                if precision == 'int8':
                    of = with_int8(of)
                runtime = made(of, kind, precision, device)
                peer = peers.pop(way, None) or started(stack, way, name, device, runtime, of)
                found = _measured(runtime, peer, rounds=rounds, time_limit=time_limit)
            except RuntimeError as error:
                yield failed(name, device, way, error)
                continue
            eager = found['plain'] if kind == 'eager' else eager
            yield from _records(name, device, way, found, eager, runtime.exits)


def started(
    stack: ExitStack,
    way: tuple[str, str],
    name: str,
    device: str,
    runtime: Runtime | None = None,
    of: Source | None = None,
) -> Peer:
    """The plain network's process; it ends with `stack`. In int8 it needs the graphs that we have."""
    kind, precision = way
    more = [str(runtime.describe()['threads'])] if kind in ('openvino', *BEST) and runtime else []
    more += [precision] if kind in ('openvino', 'cuda_graph') else []
    if precision == 'int8' and of is not None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='impatient_ros-'))
        for number, graph in enumerate(path_graphs(of.quantised)):
            (Path(folder) / f'{number}.onnx').write_bytes(graph)
        more.append(folder)
    return stack.enter_context(closing(Peer(kind, name, device, *more)))


def plain_at_its_best(name: str, *, rounds: int, time_limit: float) -> Iterator[Record]:
    """The plain network as a user could run it on a CPU without us; `ratio` is to ours to the last exit, in
    turns with it in single precision.
    """
    try:
        runtime = made(source(name), 'openvino', 'f32', 'cpu')
    except RuntimeError as error:
        yield failed(name, 'cpu', ('openvino', 'f32'), error)
        return
    image, last = picture((3, runtime.sides[-1], runtime.sides[-1])), runtime.exits - 1
    for kind, shown in BEST.items():
        with ExitStack() as stack:
            try:
                peer = started(stack, (kind, 'f32'), name, 'cpu', runtime)
                peer.wait()
                cases: dict[str, Callable[[int], Sequence[Any]]] = {
                    'ours': lambda count: timed(lambda: contract_run(runtime, image, last), count),
                    'plain': lambda count, peer=peer: peer.turn('plain', count),
                }
                found = take_turns(cases, rounds=rounds, time_limit=time_limit)
            except RuntimeError as error:
                yield failed(name, 'cpu', (shown, 'f32'), error)
                continue
        times = ratio(found['plain'], found['ours'])
        yield record(
            name, 'cpu', shown, 'plain_at_its_best', found['plain'].ravel(), ratio=times, precision='f32'
        )


def made(of: Source, kind: str, precision: str, device: str) -> Runtime:
    """A runtime in one precision; eager torch has no other than single."""
    if kind != 'cuda_graph':
        return select_runtime(of, kind, device, precision='f32' if kind == 'eager' else precision)
    from impatient_ros.runtime.cuda.graph import CudaGraphRuntime

    assert of.network is not None
    return CudaGraphRuntime(of.network(), torch.device(device), precision=precision, sides=of.sides)


def failed(name: str, device: str, way: tuple[str, str], error: Exception) -> Record:
    """What is known of a way that cannot be measured here."""
    kind, precision = way
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())[:400]
    return record(name, device, kind, 'failed', precision=precision, reason=reason)


def _measured(runtime: Runtime, peer: Peer, *, rounds: int, time_limit: float) -> dict[str, np.ndarray]:
    side = runtime.sides[-1]
    peer.wait()
    try:
        cases = _cases(runtime, peer, picture((3, side, side)))
        return take_turns(cases, rounds=rounds, time_limit=time_limit)
    finally:
        peer.close()


def _records(
    name: str, device: str, way: tuple[str, str], found: dict[str, np.ndarray], eager: np.ndarray, exits: int
) -> Iterator[Record]:
    kind, precision = way
    known = {'precision': precision}
    yield record(name, device, kind, 'plain', found['plain'].ravel(), **known)
    if eager.size:
        times = float(np.median(eager) / np.median(found[f'contract {exits - 1}']))
        yield record(name, device, kind, 'speedup', exit_index=exits - 1, ratio=times, **known)
    stepwise, last = found['stepwise'], exits - 1
    boundaries = ratio(stepwise, found['plain'])
    yield record(name, device, kind, 'stepwise', stepwise.ravel(), exit_index=last, ratio=boundaries, **known)
    for t in range(exits):
        truncated, contract = found[f'truncated {t}'], found[f'contract {t}']
        yield record(name, device, kind, 'truncated', truncated.ravel(), exit_index=t, **known)
        yield record(
            name,
            device,
            kind,
            'contract',
            contract.ravel(),
            exit_index=t,
            ratio=ratio(contract, truncated),
            **known,
        )
        passed = found['interruptible'][:, :, t]
        through = ratio(passed, found['plain' if t == exits - 1 else f'truncated {t}'])
        yield record(
            name, device, kind, 'interruptible', passed.ravel(), exit_index=t, ratio=through, **known
        )


def _cases(runtime: Runtime, peer: Peer, image: np.ndarray) -> dict[str, Callable[[int], Sequence[Any]]]:
    cases: dict[str, Callable[[int], Sequence[Any]]] = {}
    for t in range(runtime.exits):  # a peer's turn follows ours at once
        cases[f'contract {t}'] = lambda count, t=t: timed(lambda: contract_run(runtime, image, t), count)
        cases[f'truncated {t}'] = lambda count, t=t: peer.turn(str(t), count)
    cases['interruptible'] = lambda count: [_interruptible(runtime, image) for _ in range(count)]
    cases['stepwise'] = lambda count: timed(lambda: _stepwise(runtime, image), count)
    cases['plain'] = lambda count: peer.turn('plain', count)
    return cases


def _stepwise(runtime: Runtime, image: np.ndarray) -> None:
    """A stop at every boundary, and the last head alone."""
    run = runtime.start(image)
    while run.position < runtime.exits:
        run.stage()
    run.exit()


def _interruptible(runtime: Runtime, image: np.ndarray) -> list[float]:
    """Seconds from the image to each exit's scores."""
    ends: list[float] = []
    begin = time.perf_counter()
    run = runtime.start(image)
    while run.position < runtime.exits:
        run.stage(run.position)
        run.exit()
        ends.append(time.perf_counter() - begin)
    return ends
