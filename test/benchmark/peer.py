"""The plain network in a process of its own: runs what it is told over stdin, one turn at a time.

    python peer.py eager MODEL DEVICE
    python peer.py openvino MODEL cpu THREADS PRECISION [FOLDER, with the graphs of paths: 0.onnx, 1.onnx]
    python peer.py cuda_graph MODEL cuda PRECISION
    python peer.py onnxruntime|compiled MODEL cpu THREADS      # the whole network alone

A line `CASE COUNT` on stdin (CASE is `plain` or the number of a path, see `planning.options`) is answered
with a JSON list of COUNT durations in seconds. Ours is compared with these: torchvision as it comes, one
ordinary compiled model of OpenVINO's per network, one CUDA graph per network.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import torch  # noqa: E402
from benchmark.models import network, picture, sides, source  # noqa: E402
from torch import nn  # noqa: E402

from impatient_ros.checkpoint.graph import Graph, logits  # noqa: E402
from impatient_ros.runtime.cuda.precision import DTYPES  # noqa: E402
from impatient_ros.runtime.eager import at_sides  # noqa: E402


def truncated(name: str, **where: Any) -> Iterator[tuple[nn.Module, tuple[int, ...]]]:
    """Every path's network, channels last, and the shape of its image; `where` is device and dtype."""
    # All at once: a parameter that is moved after a graph was captured would leave that graph behind.
    of = network(name).to(memory_format=torch.channels_last, **where)
    for each in at_sides(of, sides(name)).values():
        for t in range(len(each.stages)):
            yield nn.Sequential(*each.stages[: t + 1], each.exits[t]), each.input_shape


def eager(name: str, device: str) -> dict[str, Callable[[], Any]]:
    """`plain` as torchvision gives it; truncated ones with the memory format that our runtime uses."""

    def runner(
        module: nn.Module, shape: tuple[int, ...], memory_format: torch.memory_format
    ) -> Callable[[], Any]:
        module = module.to(memory_format=memory_format)
        image = picture(shape)

        @torch.inference_mode()
        def run() -> Any:
            x = torch.from_numpy(image).to(device=device, memory_format=memory_format)
            return module(x).float().cpu().numpy()

        return run

    plain = network(name).to(device)
    whole = nn.Sequential(*plain.stages, plain.exits[-1])
    cases = {'plain': runner(whole, plain.input_shape, torch.contiguous_format)}
    for index, (module, shape) in enumerate(truncated(name, device=device)):
        cases[str(index)] = runner(module, shape, torch.channels_last)
    return cases


def openvino(
    name: str, device: str, threads: str, precision: str, folder: str = ''
) -> dict[str, Callable[[], Any]]:
    """A compiled model of its own for each path, with OpenVINO's defaults but as many threads as ours and the
    same precision; `plain` is the last of them.
    """
    from impatient_ros.runtime.packages import import_package

    core = import_package('openvino', 'the benchmark', 'measure eager').Core()
    cases: dict[str, Callable[[], Any]] = {}
    options = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': int(threads),
        # Layers in int8 are so in the graph; the others of it stay in single precision.
        'INFERENCE_PRECISION_HINT': 'f32' if precision == 'int8' else precision,
    }
    graphs = path_graphs(source(name).graphs) if not folder else stored_graphs(Path(folder))
    for whole in graphs:
        model = core.read_model(whole)
        image = picture(tuple(model.inputs[0].shape)[1:])
        request = core.compile_model(model, 'CPU', options).create_infer_request()
        cases[str(len(cases))] = partial(request.infer, {0: image})
    cases['plain'] = cases[str(len(cases) - 1)]
    return cases


def path_graphs(graphs: Iterable[Graph]) -> Iterator[bytes]:
    """The network truncated at every path, as ONNX."""
    for graph in graphs:
        for t in range(graph.exits):
            yield graph.part(0, [logits(t)]).SerializeToString()


def stored_graphs(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob('*.onnx'), key=lambda path: int(path.stem)):
        yield path.read_bytes()


def onnxruntime(name: str, device: str, threads: str) -> dict[str, Callable[[], Any]]:
    """The whole network with ONNX Runtime's own defaults, but as many threads as ours."""
    from impatient_ros.runtime.packages import import_package

    package = import_package('onnxruntime', 'the benchmark', 'measure openvino')
    options = package.SessionOptions()
    options.intra_op_num_threads = int(threads)
    graph = source(name).graphs[-1]
    session = package.InferenceSession(
        graph.part(0, [logits(graph.exits - 1)]).SerializeToString(), options, ['CPUExecutionProvider']
    )
    inputs = {session.get_inputs()[0].name: picture(graph.input_shape)}
    return {'plain': partial(session.run, None, inputs)}


def compiled(name: str, device: str, threads: str) -> dict[str, Callable[[], Any]]:
    """The whole network by torch.compile with its defaults, channels last."""
    torch.set_num_threads(int(threads))
    *_, (whole, shape) = truncated(name)
    x = torch.from_numpy(picture(shape)).to(memory_format=torch.channels_last)
    run = torch.compile(whole.eval())

    @torch.inference_mode()
    def scores() -> Any:
        return run(x).numpy()

    return {'plain': scores}


def cuda_graph(name: str, device: str, precision: str) -> dict[str, Callable[[], Any]]:
    """One CUDA graph per truncated network, channels last, uploads included."""
    dtype = DTYPES[precision]
    cases: dict[str, Callable[[], Any]] = {}
    for index, (module, shape) in enumerate(truncated(name, device=device, dtype=dtype)):
        host = torch.from_numpy(picture(shape)).pin_memory()
        x = torch.zeros(1, *shape, device=device)

        def compute(module: nn.Module = module, x: torch.Tensor = x) -> torch.Tensor:
            return module(x.to(dtype=dtype, memory_format=torch.channels_last)).float()

        with torch.inference_mode():
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                for _ in range(3):
                    compute()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                scores = compute()

        def run(
            x: torch.Tensor = x, host: torch.Tensor = host, graph: Any = graph, scores: torch.Tensor = scores
        ) -> Any:
            x.copy_(host, non_blocking=True)
            graph.replay()
            return scores.cpu().numpy()

        cases[str(index)] = run
    cases['plain'] = cases[str(len(cases) - 1)]
    return cases


RUNTIMES: dict[str, Callable[..., dict[str, Callable[[], Any]]]] = {
    each.__name__: each for each in (eager, openvino, cuda_graph, onnxruntime, compiled)
}


def main() -> None:
    """Answer until stdin ends."""
    runtime, name, device, *more = sys.argv[1:]
    cases = RUNTIMES[runtime](name, device, *more)
    for run in cases.values():
        for _ in range(3):
            run()
    print('ready', flush=True)
    for line in sys.stdin:
        case, count = line.split()
        durations = []
        for _ in range(int(count)):
            begin = time.perf_counter()
            cases[case]()
            durations.append(time.perf_counter() - begin)
        print(json.dumps(durations), flush=True)


if __name__ == '__main__':
    main()
