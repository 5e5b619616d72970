"""From the parameters `device` and `runtime` to the thing that executes: one table of runtimes.

Nothing is imported before it is needed: with device 'cpu', and with 'auto' where the driver knows no CUDA
device, torch stays out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from impatient_ros.runtime.base import Runtime, RuntimeUnavailableError
from impatient_ros.runtime.cpu_choice import faster, remembered
from impatient_ros.runtime.machine import cuda_devices
from impatient_ros.runtime.packages import import_package

if TYPE_CHECKING:
    from impatient_ros.checkpoint.graph import Graph
    from impatient_ros.network import ImpatientNetwork

__all__ = ['DEVICES', 'RUNTIMES', 'Source', 'select_runtime']

DEVICES = r'auto|cpu|igpu|cuda(:\d+)?'  # what the parameter `device` may say, as a regular expression

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What is to be executed, in the forms that runtimes want.

    Attributes:
        graphs: the computation graph with its weights, at each resolution, ascending; (): there is only the
            network.
        network: builds the network at the largest resolution, with torch; None: there are only graphs. Raises
            ValueError, saying why, where the code that the network is made of is not known here.
        digest: identifies the weights: what a runtime makes of them is then kept in the user's cache.
        resolutions: px, ascending, for a network without graphs; (): only its own.
    """

    graphs: tuple[Graph, ...] = ()
    network: Callable[[], ImpatientNetwork] | None = None
    digest: str | None = None
    resolutions: tuple[int, ...] = ()

    @property
    def graph(self) -> Graph | None:
        """That of the largest resolution; None: there is only the network."""
        return self.graphs[-1] if self.graphs else None

    @property
    def sides(self) -> tuple[int, ...]:
        """The resolutions, px, ascending; (): only the network's own."""
        return tuple(graph.input_shape[1] for graph in self.graphs) or self.resolutions


@dataclass(frozen=True)
class Entry:
    """A way to execute: on which kinds of devices, and how it is made for one of them.

    `make` takes a source, the device, how many threads compute (0: the runtime's own choice) and the memory
    limit. It imports what the runtime needs and raises RuntimeUnavailableError with what is missing.
    """

    name: str
    devices: tuple[str, ...]
    make: Callable[[Source, str, int, float], Runtime]


def _openvino(source: Source, device: str, threads: int, memory_limit: float) -> Runtime:
    from impatient_ros.runtime.openvino.runtime import OpenVinoRuntime, compiled_cache

    graphs = _graphs(source, 'openvino')
    cache = compiled_cache(source.digest)
    choice = remembered('threads', ['openvino'], source.digest)
    return OpenVinoRuntime(
        graphs, device, threads=threads, choice=choice, cache=cache, memory_limit=memory_limit
    )


def _onnxruntime(source: Source, device: str, threads: int, memory_limit: float) -> Runtime:
    from impatient_ros.runtime.onnx_runtime import OnnxRuntime

    return OnnxRuntime(_graphs(source, 'onnxruntime'), threads=threads, memory_limit=memory_limit)


def _cuda_graph(source: Source, device: str, threads: int, memory_limit: float) -> Runtime:
    chosen = _torch_device(device, "runtime 'cuda_graph'")
    from impatient_ros.runtime.cuda.graph import CudaGraphRuntime

    network = _network(source, "runtime 'cuda_graph'", 'write device cpu')
    return CudaGraphRuntime(network, chosen, sides=source.sides, digest=source.digest)


def _eager(source: Source, device: str, threads: int, memory_limit: float) -> Runtime:
    chosen = _torch_device(device, "runtime 'eager'")
    from impatient_ros.runtime.eager import EagerRuntime

    instead = 'write device cpu' if chosen.type == 'cuda' else 'write runtime openvino'
    return EagerRuntime(_network(source, "runtime 'eager'", instead), chosen, threads, source.sides)


# Of those that know a device, 'auto' takes the first that works; ONNX Runtime instead of OpenVINO where it is
# installed and measured to be faster.
TABLE = {
    entry.name: entry
    for entry in (
        Entry('openvino', ('cpu', 'igpu'), _openvino),
        Entry('onnxruntime', ('cpu',), _onnxruntime),
        Entry('cuda_graph', ('cuda',), _cuda_graph),
        Entry('eager', ('cpu', 'cuda'), _eager),
    )
}
RUNTIMES = ('auto', *TABLE)  # what the parameter `runtime` may say


def select_runtime(
    source: Source,
    runtime: str = 'auto',
    device: str = 'auto',
    *,
    threads: int = 0,
    memory_limit: float = 0.0,
) -> Runtime:
    """The runtime for a network; 'auto' takes the fastest that works here, says which, and warns of each
    faster one that does not.

    Args:
        threads: how many compute on a CPU; 0: measured, at most as many as this process may use.
        memory_limit: MiB of this process's memory that the compiled network may take; resolutions that do not
            fit are left out (logged), one always stays. 0: none. Torch's runtimes share their weights between
            resolutions and do not ask.

    Raises:
        RuntimeUnavailableError: a name is unknown, or nothing that it allows works here; says why.
    """
    if runtime not in RUNTIMES:
        raise RuntimeUnavailableError(f'runtime {runtime!r} is unknown; write one of {", ".join(RUNTIMES)}')
    if not re.fullmatch(DEVICES, device):
        raise RuntimeUnavailableError(
            f'device {device!r} is unknown; write auto, cpu, igpu, cuda or cuda:<index>'
        )
    ways = list(_ways(runtime, device))
    if not ways:
        raise RuntimeUnavailableError(_no_way(runtime, device))
    for number, (entry, where) in enumerate(ways):
        try:
            chosen = _made(entry, source, where, threads, memory_limit, alone=runtime != 'auto')
            break
        except Exception as error:
            if number == len(ways) - 1:
                raise
            following, there = ways[number + 1]
            # Drivers and captures fail in ways of their own.
            _log.warning('%s is used on %s, since %s', following.name, there, error)
    _log.info('stages execute on %s (%s)', chosen.name, chosen.device)
    return chosen


def _made(
    entry: Entry, source: Source, where: str, threads: int, memory_limit: float, *, alone: bool
) -> Runtime:
    """What the entry makes, or, unless `alone`, the one after it where that is faster on this machine."""
    makers = {
        each.name: partial(each.make, source, where, threads, memory_limit)
        for each in (entry, TABLE['onnxruntime'])
    }
    if (
        alone
        or entry.name != 'openvino'
        or where != 'cpu'
        or not source.graphs
        or not _installed('onnxruntime')
    ):
        return makers[entry.name]()
    file = remembered('runtime', makers, source.digest, threads)
    return faster(makers, [graph.input_shape for graph in source.graphs], file)


def _installed(package: str) -> bool:
    return find_spec(package) is not None  # without importing it


def _ways(runtime: str, device: str) -> Iterator[tuple[Entry, str]]:
    devices = [device]
    if device == 'auto':
        devices = ['cuda', 'cpu'] if cuda_devices() else ['cpu']
    for where in devices:
        for entry in TABLE.values():
            if runtime in ('auto', entry.name) and where.partition(':')[0] in entry.devices:
                yield entry, where


def _no_way(runtime: str, device: str) -> str:
    allowed = TABLE[runtime].devices
    where = 'this machine has no CUDA device' if device == 'auto' else f'device is {device}'
    kinds = ' or '.join(allowed)
    others = [name for name in RUNTIMES if name != runtime]
    return f'runtime {runtime!r} executes on {kinds}, and {where}; write runtime {" or ".join(others)}'


def _graphs(source: Source, name: str) -> tuple[Graph, ...]:
    if not source.graphs:
        raise RuntimeUnavailableError(
            f'runtime {name!r} needs a checkpoint with a graph, and this one has none: write it anew with '
            'python -m impatient_ros.checkpoint convert OLD NEW, or write runtime eager'
        )
    return source.graphs


def _network(source: Source, purpose: str, instead: str) -> ImpatientNetwork:
    if source.network is None:
        raise RuntimeUnavailableError(
            f'{purpose} needs the network itself, and there is only its graph; {instead}'
        )
    import_package('torch', purpose, instead)
    try:
        return source.network()
    except ValueError as error:
        raise RuntimeUnavailableError(f'{purpose} needs the network itself: {error}; {instead}') from error


def _torch_device(device: str, purpose: str) -> Any:
    """The torch device; 'cuda' and 'cuda:<index>' must be on this machine."""
    torch = import_package('torch', f'{purpose} on device {device!r}', 'write runtime auto and device cpu')
    chosen = torch.device(device)
    if chosen.type == 'cuda' and (chosen.index or 0) >= torch.cuda.device_count():
        raise RuntimeUnavailableError(
            f'device {device!r}: torch sees {torch.cuda.device_count()} CUDA devices here; write auto or cpu'
        )
    return chosen
