"""What the speed benchmark must show, checked against a run's records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.report import Record

__all__ = ['targets']

# By runtime: contract / truncated at every exit.
CONTRACT = {'eager': 1.05, 'openvino': 1.05, 'cuda_graph': 1.02}
# Interruptible / plain through all exits, where the plain network takes at least so many ms, and below: what
# a boundary costs by itself is a larger share of a small network.
INTERRUPTIBLE, INTERRUPTIBLE_BELOW, SMALL = 1.10, 1.20, 2.0
# Plain eager torchvision / ours on the CPU, by precision, what processors with VNNI and bfloat16 are to
# reach; '': in the fastest one.
SPEEDUP = {
    'resnet18': {'int8': 6.0, 'bf16': 3.5},
    'resnet50': {'int8': 6.0, 'bf16': 3.5},
    'mobilenet_v3_large': {'': 7.0},
    'efficientnet_b0': {'': 4.5},
}
SPEEDUP_CUDA = 3.0
OVERHEAD = {('vga', 'raw'): 2.5, ('1080p', 'raw'): 12.0}  # ms, p50
RELAY = 1.3  # the node's overhead / what a bare relay in rclpy takes
GROWTH = 0.01
POINTS = {'openvino': 0.1, 'cuda_graph': 0.2}


def targets(records: Sequence[Record]) -> list[str]:
    """A Markdown table: target, what was measured, whether that is enough; of what the run has."""
    rows = [*_ratios(records), *_speedups(records), *_node(records), *_rest(records)]
    if not rows:
        return []
    lines = ['| target | measured | met |', '|---|---|---|']
    return lines + [f'| {target} | {found} | {"yes" if met else "**no**"} |' for target, found, met in rows]


Row = tuple[str, str, bool]


def _ratios(records: Sequence[Record]) -> Iterator[Row]:
    for runtime in CONTRACT:
        mine = [r for r in records if r['runtime'] == runtime and r['what'] == 'contract']
        if mine:
            limit = CONTRACT[runtime]
            within = sum(r['ratio'] <= limit for r in mine)
            found = ', '.join(f'{model} {_range(mine, model)}' for model in _models(mine))
            note = f'{found}; {within} of {len(mine)} exits within'
            yield f'{runtime}: contract / truncated <= {limit:.2f}', note, within == len(mine)
        for small, limit in ((False, INTERRUPTIBLE), (True, INTERRUPTIBLE_BELOW)):
            last = [r for r in _through(records, runtime) if (_plain(records, r) < SMALL) == small]
            if last:
                precise = len({r.get('precision') for r in last}) > 1
                found = ', '.join(
                    f'{r["model"]}{" " + r["precision"] if precise else ""} {r["ratio"]:.2f}' for r in last
                )
                met = all(r['ratio'] <= limit for r in last)
                size = f'{"below" if small else "from"} {SMALL:g} ms'
                yield f'{runtime}, {size}: interruptible / plain <= {limit:.2f}', found, met


def _through(records: Sequence[Record], runtime: str) -> Iterator[Record]:
    """Interruptible to the last exit."""
    whole = [r for r in records if (r['runtime'], r['what']) == (runtime, 'interruptible')]
    for way in dict.fromkeys((r['model'], r.get('precision')) for r in whole):
        yield max((r for r in whole if (r['model'], r.get('precision')) == way), key=lambda r: r['exit'])


def _plain(records: Sequence[Record], through: Record) -> float:
    """What the plain network takes in the same way, ms."""
    same = ('model', 'device', 'runtime', 'precision')
    return next(
        r['ms_p50']
        for r in records
        if r['what'] == 'plain' and all(r.get(key) == through.get(key) for key in same)
    )


def _speedups(records: Sequence[Record]) -> Iterator[Row]:
    found = [r for r in records if r['what'] == 'speedup' and r['runtime'] != 'eager']
    for r in (r for r in found if r['device'] == 'cuda'):
        way = ', '.join([r['model'], r['device'], *([r['precision']] if r.get('precision') else [])])
        target = f'{way}: plain eager torchvision / ours >= {SPEEDUP_CUDA}'
        yield target, f'{r["ratio"]:.2f}', r['ratio'] >= SPEEDUP_CUDA
    for model, limits in SPEEDUP.items():
        mine = [r for r in found if (r['model'], r['device']) == (model, 'cpu')]
        for precision, least in limits.items():
            # What this processor does not compute itself cannot be measured.
            if able := [r for r in mine if precision in ('', r.get('precision'))]:
                best = max(able, key=lambda r: r['ratio'])
                target = f'{model}, cpu, {precision or "fastest"}: plain eager torchvision / ours >= {least}'
                yield target, f'{best["ratio"]:.2f} ({best.get("precision")})', best['ratio'] >= least


def _node(records: Sequence[Record]) -> Iterator[Row]:
    for r in records:
        limit = OVERHEAD.get((r.get('image'), r.get('transport'))) if r['what'] == 'node' else None
        if limit is not None:
            target = f'node overhead, {r["image"]} {r["transport"]} <= {limit} ms p50'
            yield target, f'{r["ms_p50"]:.2f} ms', r['ms_p50'] <= limit
        if r['what'] == 'node' and r.get('ratio') is not None:
            target = f'node overhead / bare relay, {r["image"]} {r["transport"]} <= {RELAY}'
            yield target, f'{r["ratio"]:.2f}', r['ratio'] <= RELAY
    streams = [r for r in records if r['what'] == 'not_received']
    if streams:
        found = ', '.join(f'{r["image"]} {r["transport"]} {r["count"]} of {r["frames"]}' for r in streams)
        yield 'not received at 30 Hz: none', found, not any(r['count'] for r in streams)


def _rest(records: Sequence[Record]) -> Iterator[Row]:
    for r in records:
        if r['what'] == 'memory':
            target = f'memory over {r["frames"]} frames grows by less than {GROWTH:.0%}'
            yield target, f'{r["ratio"]:+.2%}', r['ratio'] < GROWTH
    for runtime, limit in POINTS.items():
        changed = [abs(r['ratio']) for r in records if (r['what'], r['runtime']) == ('accuracy', runtime)]
        if changed:
            target = f'{runtime}: accuracy within {limit} points of eager at each exit'
            yield target, f'{max(changed):.2f} points', max(changed) <= limit


def _models(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(r['model'] for r in records))


def _range(records: Sequence[Record], model: str) -> str:
    ratios = [r['ratio'] for r in records if r['model'] == model]
    return f'{min(ratios):.2f}-{max(ratios):.2f}'
