"""From the parameters `device`, `runtime` and `precision` to the thing that executes: one table of runtimes.

Nothing is imported before it is needed: with device 'cpu', and with 'auto' where the driver knows no CUDA
device, torch stays out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from impatient_ros.runtime.base import Runtime, RuntimeUnavailableError
from impatient_ros.runtime.cpu_choice import faster, remembered
from impatient_ros.runtime.machine import cuda_devices, processor_name
from impatient_ros.runtime.packages import import_package
from impatient_ros.runtime.precision import COMPUTED, PRECISIONS
from impatient_ros.runtime.source import Source

__all__ = ['DEVICES', 'RUNTIMES', 'Source', 'select_runtime']

DEVICES = r'auto|cpu|igpu|cuda(:\d+)?'  # what the parameter `device` may say, as a regular expression

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A way to execute: on which kinds of devices, and how it is made for one of them.

    `make` takes a source, the device, how many threads compute (0: the runtime's own choice), the memory
    limit and the precision. It imports what the runtime needs and raises RuntimeUnavailableError with what is
    missing. `precisions` says which ones it computes natively on a device; where that cannot be asked, all
    that it knows: making it says why.
    """

    name: str
    devices: tuple[str, ...]
    make: Callable[[Source, str, int, float, str], Runtime]
    precisions: Callable[[str], Sequence[str]] = lambda device: ('f32',)


def _openvino(source: Source, device: str, threads: int, memory_limit: float, precision: str) -> Runtime:
    from impatient_ros.runtime.openvino.runtime import OpenVinoRuntime, compiled_cache

    return OpenVinoRuntime(
        source.graphs_for('openvino', precision),
        device,
        threads=threads,
        precision=precision,
        choice=remembered('threads', ['openvino'], source.digest, precisions=[precision]),
        cache=compiled_cache(source.digest),
        memory_limit=memory_limit,
    )


def _openvino_precisions(device: str) -> Sequence[str]:
    from impatient_ros.runtime.openvino.capabilities import native

    try:
        return native(device)
    except RuntimeUnavailableError:
        return COMPUTED


def _onnxruntime(source: Source, device: str, threads: int, memory_limit: float, precision: str) -> Runtime:
    from impatient_ros.runtime.onnx_runtime import OnnxRuntime

    graphs = source.graphs_for('onnxruntime', precision)
    return OnnxRuntime(graphs, threads=threads, memory_limit=memory_limit, precision=precision)


def _cuda_graph(source: Source, device: str, threads: int, memory_limit: float, precision: str) -> Runtime:
    chosen = _torch_device(device, "runtime 'cuda_graph'")
    from impatient_ros.runtime.cuda.graph import CudaGraphRuntime

    network = source.network_for("runtime 'cuda_graph'", 'write device cpu')
    return CudaGraphRuntime(
        network,
        chosen,
        precision=precision,
        sides=source.sides,
        digest=source.digest,
        accuracy_kept=source.accuracy_kept,
    )


def _cuda_precisions(device: str) -> Sequence[str]:
    try:
        chosen = _torch_device(device, "runtime 'cuda_graph'")
    except RuntimeUnavailableError:
        return ('f16', 'bf16', 'f32')
    from impatient_ros.runtime.cuda.precision import native_to_cuda

    return native_to_cuda(chosen)


def _eager(source: Source, device: str, threads: int, memory_limit: float, precision: str) -> Runtime:
    chosen = _torch_device(device, "runtime 'eager'")
    from impatient_ros.runtime.eager import EagerRuntime

    instead = 'write device cpu' if chosen.type == 'cuda' else 'write runtime openvino'
    return EagerRuntime(source.network_for("runtime 'eager'", instead), chosen, threads, source.sides)


# Of those that know a device, 'auto' takes the first that works; ONNX Runtime instead of OpenVINO where it is
# installed and measured to be faster.
TABLE = {
    entry.name: entry
    for entry in (
        Entry('openvino', ('cpu', 'igpu'), _openvino, _openvino_precisions),
        Entry('onnxruntime', ('cpu',), _onnxruntime, lambda device: ('f32', 'int8')),
        Entry('cuda_graph', ('cuda',), _cuda_graph, _cuda_precisions),
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
    precision: str = 'auto',
) -> Runtime:
    """The runtime for a network; 'auto' takes the fastest that works here, says which, and warns of each
    faster one that does not.

    Args:
        threads: how many compute on a CPU; 0: measured, at most as many as this process may use.
        memory_limit: MiB of this process's memory that the compiled network may take; resolutions that do not
            fit are left out (logged), one always stays. 0: none. Torch's runtimes share their weights between
            resolutions and do not ask.
        precision: 'auto' takes the fastest of f32 and those that are computed natively here and keep the
            accuracy, as the source says (CUDA graphs: or as random pictures say, where it says nothing).

    Raises:
        RuntimeUnavailableError: a name is unknown, or nothing that it allows works here; says why.
    """
    if runtime not in RUNTIMES:
        raise RuntimeUnavailableError(f'runtime {runtime!r} is unknown; write one of {", ".join(RUNTIMES)}')
    if not re.fullmatch(DEVICES, device):
        raise RuntimeUnavailableError(
            f'device {device!r} is unknown; write auto, cpu, igpu, cuda or cuda:<index>'
        )
    if precision not in PRECISIONS:
        raise RuntimeUnavailableError(
            f'precision {precision!r} is unknown; write one of {", ".join(PRECISIONS)}'
        )
    ways = list(_ways(runtime, device))
    if not ways:
        raise RuntimeUnavailableError(_no_way(runtime, device))
    if precision not in ('auto', 'f32'):  # which everything computes
        ways = _computing(precision, ways, source)
    for number, (entry, where) in enumerate(ways):
        try:
            chosen = _made(entry, source, where, threads, memory_limit, precision, alone=runtime != 'auto')
            break
        except Exception as error:
            if number == len(ways) - 1:
                raise
            following, there = ways[number + 1]
            # Drivers and captures fail in ways of their own.
            _log.warning('%s is used on %s, since %s', following.name, there, error)
    _log.info('stages execute on %s (%s) in %s', chosen.name, chosen.device, chosen.precision)
    return chosen


def _made(
    entry: Entry,
    source: Source,
    where: str,
    threads: int,
    memory_limit: float,
    precision: str,
    *,
    alone: bool,
) -> Runtime:
    """What the entry makes in that precision; with 'auto' in the fastest one that may be taken. Unless
    `alone`, the entry after it instead where that is faster on this machine.
    """
    entries = [entry]
    if not alone and entry.name == 'openvino' and where == 'cpu' and source.graphs:
        entries += [TABLE['onnxruntime']] if _installed('onnxruntime') else []
    makers = {
        each.name if bits in ('auto', 'f32') else f'{each.name} {bits}': partial(
            each.make, source, where, threads, memory_limit, bits
        )
        for each in entries
        for bits in _permitted(each, source, where, precision)
    }
    if len(makers) == 1:
        [make] = makers.values()
        return make()
    names = [each.name for each in entries]
    file = remembered('runtime', names, source.digest, threads, [*makers])
    return faster(makers, [graph.input_shape for graph in source.graphs], file)


def _permitted(entry: Entry, source: Source, where: str, precision: str) -> list[str]:
    """What is made by an entry where this precision is asked for, the first choice first."""
    if entry.name == 'cuda_graph':
        return [precision]  # it chooses itself, and measures what the source does not say
    if precision != 'auto':
        return [precision] if precision == 'f32' or precision in _native(entry, where) else []
    kept = [each for each in COMPUTED[1:] if source.accuracy_kept.get(each)]
    native = _native(entry, where) if kept and source.graphs else ()
    return ['f32', *(each for each in kept if each in native and (each != 'int8' or source.quantised))]


def _computing(precision: str, ways: Sequence[tuple[Entry, str]], source: Source) -> list[tuple[Entry, str]]:
    """The ways that compute natively in that precision. Raises RuntimeUnavailableError, saying what does."""
    native = [(entry, where, _native(entry, where)) for entry, where in ways]
    able = [(entry, where) for entry, where, known in native if precision in known]
    if not able:
        found = '; '.join(f'{entry.name} on {where}: {", ".join(known)}' for entry, where, known in native)
        raise RuntimeUnavailableError(
            f'precision {precision!r} is not computed natively here ({processor_name()}), only '
            f'{found}; write one of these, or precision auto'
        )
    if precision == 'int8':
        source.graphs_for(able[0][0].name, precision)  # or says why not
    return able


def _native(entry: Entry, where: str) -> Sequence[str]:
    """What it computes natively there; nothing where asking fails, in whichever way of the driver's."""
    try:
        return entry.precisions(where)
    except Exception as error:  # noqa: BLE001
        _log.warning('what %s computes on %s natively cannot be asked: %s', entry.name, where, error)
        return ()


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


def _torch_device(device: str, purpose: str) -> Any:
    """The torch device; 'cuda' and 'cuda:<index>' must be on this machine."""
    torch = import_package('torch', f'{purpose} on device {device!r}', 'write runtime auto and device cpu')
    chosen = torch.device(device)
    if chosen.type == 'cuda' and (chosen.index or 0) >= torch.cuda.device_count():
        raise RuntimeUnavailableError(
            f'device {device!r}: torch sees {torch.cuda.device_count()} CUDA devices here; write auto or cpu'
        )
    return chosen
