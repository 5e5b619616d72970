"""Is an answer out by every deadline that it could be out by, and is the time used?

    python test/benchmark/deadlines.py --json out.json                       # this machine; takes long
    python test/benchmark/deadlines.py --frames 300 --load burn --policies adaptive,static_p99 --json out.json
    python test/benchmark/deadlines.py --simulate all --json out.json        # recorded traces; seconds
    python test/benchmark/deadlines.py --ros --frames 300 --json out.json    # the node, another process
    python test/benchmark/deadlines.py --cameras 4                           # too many cameras on one model
    python test/benchmark/deadlines.py --realtime 10 --frames 5000 --model default,resnet18 --json out.json
    python test/benchmark/deadlines.py --timer 30                            # a 100 ms timer beside inference
    python test/benchmark/deadlines.py --record traces/x.npz --model default --load burn --frames 3000
    python test/benchmark/deadlines.py --recompute out.frames.json.gz --json again.json
    python test/benchmark/deadlines.py --tables                              # of the READMEs

deadline_results.sh makes everything that results/README.md shows.

Budgets are drawn evenly between the p99 cost of the cheapest path and 1.3 times that of the full one. Beside
the summary every frame is written (out.frames.json.gz), from which the summary can be recomputed; `--plots`
draws it. Frames during which strangers kept more than 0.3 of a core busy do not count; how many there were
is said (`disturbed`), and what the misses and the expected accuracy are with them.
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

import torch

from deadline.cameras import RULES, busy_cost, live, simulated
from deadline.files import frames_path, read_frames, write_frames, write_summary
from deadline.frame import Frame
from deadline.live import run_live
from deadline.load import LOADS
from deadline.machine import machine
from deadline.policies import POLICIES
from deadline.realtime import compare_models, realtime_table
from deadline.recording import QUIET, accuracies_of, record
from deadline.replay import replay
from deadline.report import fill
from deadline.subjects import MODELS, prepare
from deadline.summary import summarise
from deadline.table import table
from deadline.trace import Trace
from impatient_ros.perception.realtime_permission import permission_advice
from impatient_ros.planning.options import MODES

TRACES = Path(__file__).parent / 'traces'
RESULTS = Path(__file__).parent / 'results'
DEFAULT_MODE = 'adaptive'


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.tables:
        for path in (RESULTS / 'README.md', TRACES.parents[2] / 'README.md'):
            print(f'{path}: {", ".join(fill(RESULTS, path))}')
        return 0
    if options.recompute:
        frames, accuracies, about = _stored(options.recompute)
    elif options.cameras:
        return _cameras(options)
    elif options.timer:
        return _timer(options)
    elif options.realtime:
        return _realtime(options)
    elif options.record:
        return _record(options)
    elif options.simulate:
        frames, accuracies, about = _simulate(options)
    else:
        frames, accuracies, about = _live(options)
    summary = summarise(frames, accuracies, DEFAULT_MODE)
    print(table(summary))
    if options.json:
        write_summary(options.json, summary)
        if not options.recompute:
            write_frames(frames_path(options.json), frames, accuracies, about)
    if options.plots:
        from deadline.plots import plot

        options.plots.mkdir(parents=True, exist_ok=True)
        plot(summary, options.plots, lambda model: _title(about, model))
    return 0


def _stored(paths: list[Path]) -> tuple[list[Frame], dict, dict]:
    """The frames of several runs, as if they were one."""
    frames: list[Frame] = []
    accuracies: dict = {}
    about: dict = {}
    for path in paths:
        more, values, what = read_frames(path)
        frames += more
        accuracies |= values
        about = {**what, 'models': {**about.get('models', {}), **what.get('models', {})}}
    return frames, accuracies, about


def _simulate(options: argparse.Namespace) -> tuple[list[Frame], dict, dict]:
    frames: list[Frame] = []
    accuracies, about = {}, {}
    for path in _traces(options):
        trace = Trace.load(path)
        accuracies[trace.description['model']] = trace.accuracies
        about[path.stem] = trace.description
        for policy in options.policies or POLICIES:
            frames += replay(trace, policy, frames=options.frames, miss_rate=options.miss_rate)
    return frames, accuracies, {'simulated': True, 'traces': about}


def _live(options: argparse.Namespace) -> tuple[list[Frame], dict, dict]:
    frames: list[Frame] = []
    accuracies, about = {}, {}
    count = options.frames or 3000
    policies = options.policies or (MODES if options.ros else POLICIES)
    with tempfile.TemporaryDirectory() as folder:
        for model in options.model:
            subject = prepare(model, Path(folder))
            classifier = subject.classifier(runtime=options.runtime, cpu_threads=options.threads)
            accuracies[model] = accuracies_of(classifier)
            about[model] = machine(classifier)
            for load in options.load:
                if options.ros:
                    from deadline.through_ros import run_ros as run
                else:
                    run = run_live
                frames += run(
                    subject,
                    classifier,
                    policies,
                    load,
                    count,
                    miss_rate=options.miss_rate,
                    rate=options.rate,
                    limit=options.limit,
                    progress=_say,
                )
    return frames, accuracies, {'simulated': False, 'ros': options.ros, 'models': about}


def _record(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        subject = prepare(options.model[0], Path(folder))
        trace = record(
            subject,
            options.load[0],
            options.frames or 3000,
            runtime=options.runtime,
            threads=options.threads,
            limit=min(options.limit, 500.0),
            quiet=options.quiet,
            progress=_say,
        )
    trace.save(options.record)
    return 0


def _cameras(options: argparse.Namespace) -> int:
    """Several cameras on one model, with the node's rules and without."""
    rounds = options.frames or 500
    results: list[dict] = []
    if options.simulate:
        for path in _traces(options):
            trace = Trace.load(path)
            results += [
                {'simulated': True, **simulated(trace, rule, options.cameras, rounds=rounds)}
                for rule in RULES
            ]
    else:
        with tempfile.TemporaryDirectory() as folder:
            for model in options.model:
                subject = prepare(model, Path(folder))
                classifier = subject.classifier(runtime=options.runtime, cpu_threads=options.threads)
                last = busy_cost(subject, classifier)
                results += [
                    {
                        'simulated': False,
                        **live(subject, classifier, rule, options.cameras, rounds=rounds, last=last),
                    }
                    for rule in RULES
                ]
    for result in results:
        print(result)
    if options.json:
        write_summary(options.json, results)
    return 0


def _traces(options: argparse.Namespace) -> list[Path]:
    """The traces that `--simulate` means."""
    if options.simulate != 'all':
        return [Path(options.simulate)]
    wanted = {f'{model}-{load}' for model in options.model for load in options.load}
    return sorted(path for path in TRACES.glob('*.npz') if path.stem in wanted)


def _timer(options: argparse.Namespace) -> int:
    from deadline.timer import compare

    with tempfile.TemporaryDirectory() as folder:
        subject = prepare(options.model[0], Path(folder))
        classifier = subject.classifier(runtime=options.runtime, cpu_threads=options.threads)
        result = {**compare(subject, classifier, options.timer), **machine(classifier)}
    print(result)
    if options.json:
        write_summary(options.json, [result])
    return 0


def _realtime(options: argparse.Namespace) -> int:
    count = options.frames or 5000
    pace = {'miss_rate': options.miss_rate, 'rate': options.rate, 'limit': options.limit}
    made = {'runtime': options.runtime, 'cpu_threads': options.threads}
    try:
        frames, accuracies, about, rows = compare_models(
            options.model, made, options.load, count, options.realtime, **pace, progress=_say
        )
    except PermissionError as error:
        _say(f'real time is not permitted here ({error}): {permission_advice(options.realtime)}')
        return 1
    print(realtime_table(rows))
    if options.json:
        write_summary(options.json, rows)
        write_frames(frames_path(options.json), frames, accuracies, about)
    return 0


def _title(about: dict, model: str) -> str:
    machines = about.get('models') or about.get('traces') or {}
    one = next((each for name, each in machines.items() if model in (name, each.get('model'))), {})
    how = 'simulated on traces of' if about.get('simulated') else 'measured on'
    return f'{how} {one.get("processor", "")}, {one.get("cores", "")} cores, {one.get("runtime", "")}'


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _names(allowed: tuple[str, ...]):
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(','))
        wrong = [name for name in names if name not in allowed]
        if wrong:
            raise argparse.ArgumentTypeError(f'{", ".join(wrong)}: write some of {",".join(allowed)}')
        return names

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--frames', type=int, help='per policy (default: 3000, or the whole trace)')
    parser.add_argument('--load', type=_names(LOADS), default=LOADS, help=f'of {",".join(LOADS)}')
    parser.add_argument('--policies', type=_names(POLICIES), help=f'of {",".join(POLICIES)}')
    parser.add_argument('--model', type=_names(MODELS), default=MODELS, help=f'of {",".join(MODELS)}')
    parser.add_argument('--runtime', default='auto')
    parser.add_argument(
        '--threads',
        type=int,
        default=0,
        help='of torch, and of the runtime on a CPU; 0: as the node has them (default). Eager '
        "torch's threads wait for each other by spinning, which beside other work takes ten times as long as "
        'the work itself: measure it with 1',
    )
    parser.add_argument('--miss-rate', type=float, default=0.01)
    parser.add_argument('--rate', type=float, default=0.0, help='frames per second, all policies together')
    parser.add_argument('--limit', type=float, default=math.inf, help='seconds per model and load, live')
    parser.add_argument('--simulate', metavar='TRACE', help='a recorded trace (.npz), or all')
    parser.add_argument('--ros', action='store_true', help='through the node in another process')
    parser.add_argument('--cameras', type=int, metavar='N', help='only N cameras on one model, too many')
    parser.add_argument('--timer', type=float, metavar='SECONDS', help='only the timer beside inference')
    parser.add_argument(
        '--realtime',
        type=int,
        metavar='PRIORITY',
        help='only the default mode with real-time scheduling of that priority and without, in pairs',
    )
    parser.add_argument('--record', type=Path, metavar='TRACE', help='only record a trace')
    parser.add_argument(
        '--quiet', type=float, default=QUIET, help='cores that others may keep busy while a trace is recorded'
    )
    parser.add_argument('--recompute', type=Path, nargs='+', metavar='FRAMES', help='summary from frames')
    parser.add_argument('--tables', action='store_true', help='only rewrite those of the READMEs')
    parser.add_argument('--json', type=Path, metavar='OUT')
    parser.add_argument('--plots', type=Path, metavar='FOLDER')
    return parser


if __name__ == '__main__':
    sys.exit(main())
