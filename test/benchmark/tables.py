"""The speed benchmark's records as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.report import Record, way_of

MARKS = ('<!-- tables by speed.py -->', '<!-- end of the tables -->')


def markdown(records: Sequence[Record], machine: str) -> str:
    """Tables for people: the networks, then what the node adds."""
    lines = [
        f'Medians in ms, batch 1, on {machine}.',
        '',
        '| model | device, runtime, precision | plain eager | plain on our runtime | ours to the last exit '
        '| x eager | contract / truncated, worst | interruptible / plain |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for way in dict.fromkeys(way_of(each) for each in records if each['what'] == 'contract'):
        model, device, runtime, precision = way
        mine = [r for r in records if way_of(r) == way]
        plain = _one(r for r in mine if r['what'] == 'plain')
        contract = [r for r in mine if r['what'] == 'contract']
        every = [r for r in mine if r['what'] == 'interruptible']
        eager = [
            r
            for r in records
            if (r['model'], r['device'], r['runtime'], r['what']) == (model, device, 'eager', 'plain')
        ]
        worst = max(r['ratio'] for r in contract)
        lines.append(
            f'| {model} | {device}, {runtime}, {precision} | {_ms(eager[0]) if eager else "-"} '
            f'| {_ms(plain)} | {_ms(contract[-1])} | {_times(eager, contract[-1])} '
            f'| {worst:.2f} | {every[-1]["ratio"]:.2f} |'
        )
    lines += [*_at_its_best(records), *_startup(records), *_ladder(records), *_realtime(records)]
    node = [r for r in records if r['what'] in ('node', 'not_received')]
    if node:
        lines += [
            '',
            '| node, image published to answer published, minus preparing and stages | p50 | p99 '
            '| / bare relay | p50 to answer received | not received |',
            '|---|---|---|---|---|---|',
        ]
        for each in (r for r in node if r['what'] == 'node'):
            missing = _one(
                r
                for r in node
                if r['what'] == 'not_received'
                and (r['image'], r['transport']) == (each['image'], each['transport'])
            )
            lines.append(
                f'| {each["image"]} {each["transport"]} | {each["ms_p50"]:.2f} | {each["ms_p99"]:.2f} '
                f'| {_number(each["ratio"])} | {each["ms_received_p50"]:.2f} '
                f'| {missing["count"]} of {missing["frames"]} |'
            )
    prepared = [r for r in records if r['what'] == 'preprocess']
    if prepared:
        lines += ['', '| preprocessing to 224 px | p50 | p99 |', '|---|---|---|']
        lines += [f'| {r["image"]} | {r["ms_p50"]:.2f} | {r["ms_p99"]:.2f} |' for r in prepared]
    lines += [*_others(records)]
    return '\n'.join(lines) + '\n'


def _at_its_best(records: Sequence[Record]) -> list[str]:
    """The plain network as a user could run it, and ours."""
    found = [r for r in records if r['what'] == 'plain_at_its_best']
    if not found:
        return []
    ways = list(dict.fromkeys(r['runtime'] for r in found))
    head = ['plain network at its best', 'OpenVINO', *ways, *(f'{way} / ours f32' for way in ways)]
    lines = ['', f'| {" | ".join(head)} |', '|---' * len(head) + '|']
    for model in dict.fromkeys(r['model'] for r in found):
        mine = {r['runtime']: r for r in found if r['model'] == model}
        ours = (model, 'cpu', 'openvino', 'f32')
        plain = [r for r in records if r['what'] == 'plain' and way_of(r) == ours]
        cells = [model, _ms(plain[0]) if plain else '-']
        cells += [_ms(mine[way]) if way in mine else '-' for way in ways]
        cells += [_number(mine[way]['ratio']) if way in mine else '-' for way in ways]
        lines.append(f'| {" | ".join(cells)} |')
    return lines


def _startup(records: Sequence[Record]) -> list[str]:
    """From the start of a process to the first answer."""
    found = [r for r in records if r['what'] == 'startup']
    if not found:
        return []
    lines = [
        '',
        '| process to its first answer | first time, s | again | plain eager | memory, MiB | plain eager |',
        '|---|---|---|---|---|---|',
    ]
    for model in dict.fromkeys(r['model'] for r in found):
        mine = {(r['runtime'], r['again']): r for r in found if r['model'] == model}
        first, again, plain = (
            mine[key] for key in (('openvino', False), ('openvino', True), ('eager', False))
        )
        seconds = ' | '.join(f'{each["ms_p50"] / 1e3:.2f}' for each in (first, again, plain))
        lines.append(f'| {model} | {seconds} | {again["mib"]:.0f} | {plain["mib"]:.0f} |')
    return lines


def _realtime(records: Sequence[Record]) -> list[str]:
    """All frames, and those that no stranger disturbed."""
    found = [r for r in records if r['what'] == 'realtime']
    if not found:
        return []
    from deadline.realtime import realtime_table  # imports all that measures

    return ['', realtime_table(found)]


def _ladder(records: Sequence[Record]) -> list[str]:
    """The default model, resolution by resolution."""
    lines = []
    for way in dict.fromkeys(way_of(r) for r in records if r['what'] == 'path'):
        mine = [r for r in records if way_of(r) == way]
        plain = {r['resolution']: r for r in mine if r['what'] == 'path_plain'}
        how = ', '.join(way[1:])
        lines += ['', f'| default model, px ({how}) | plain | ours | ours / plain |', '|---|---|---|---|']
        for r in (r for r in mine if r['what'] == 'path'):
            px = r['resolution']
            lines.append(f'| {px} | {_ms(plain[px])} | {_ms(r)} | {r["ratio"]:.2f} |')
        for r in (r for r in mine if r['what'] == 'passes'):
            lines.append(
                f'| interruptible: {", ".join(map(str, r["resolutions"]))} in turn '
                f'| {_ms(plain[max(plain)])} | {_ms(r)} | {r["ratio"]:.2f} |'
            )
    return lines


def _others(records: Sequence[Record]) -> list[str]:
    """Decisions, accuracy, memory."""
    lines = []
    decided = [r for r in records if r['what'] == 'decision']
    if decided:
        model = decided[0]['model']
        lines += ['', f'| deciding, all of a frame, {model} | p50 | p99 |', '|---|---|---|']
        lines += [f'| {r["mode"]} | {r["ms_p50"]:.2f} | {r["ms_p99"]:.2f} |' for r in decided]
    accurate = [r for r in records if r['what'] == 'accuracy']
    if accurate:
        lines += [
            '',
            '| accuracy of the clothing model | by exit | points from eager, largest |',
            '|---|---|---|',
        ]
        for runtime in dict.fromkeys(r['runtime'] for r in accurate):
            mine = [r for r in accurate if r['runtime'] == runtime]
            shares = ', '.join(f'{100 * r["accuracy"]:.2f} %' for r in mine)
            lines.append(f'| {runtime} | {shares} | {max(abs(r["ratio"]) for r in mine):.2f} |')
    for r in (r for r in records if r['what'] == 'failed'):
        lines += ['', f'Not measured: {", ".join(way_of(r))}: {r["reason"]}']
    for r in (r for r in records if r['what'] == 'memory'):
        lines += [
            '',
            f'The node holds {r["mib_first"]:.1f} MiB after 500 frames and {r["mib_last"]:.1f} MiB after '
            f'{r["frames"]} ({r["ratio"]:+.2%}; {r["image"]}, {r["transport"]}).',
        ]
    return lines


def placed(text: str, table: str) -> str:
    """`text` with the table between its marks; without marks the table alone."""
    start, end = MARKS
    if start not in text or end not in text:
        return table
    before, _, rest = text.partition(start)
    return f'{before}{start}\n\n{table}\n{end}{rest.partition(end)[2]}'


def _times(eager: Sequence[Record], ours: Record) -> str:
    return f'{eager[0]["ms_p50"] / ours["ms_p50"]:.2f}' if eager else '-'


def _one(found: Iterable[Record]) -> Record:
    return next(iter(found))


def _ms(each: Record) -> str:
    return f'{each["ms_p50"]:.2f}'


def _number(ratio: float | None) -> str:
    return '' if ratio is None else f'{ratio:.2f}'
