"""One HTML page about evaluations; it needs no network and no other file.

    python -m training.report OUT.json BASELINE.json ... -o report.html

The first evaluation is the model that the page is about, with its reliability and pictures; the others are
compared with it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from impatient_ros.standard_output import run_command
from training.reporting.charts import COLOURS, Line, bars, lines, reliability_diagram
from training.reporting.finding import expected_of, finding
from training.reporting.placement_section import SERIES, placement_section

__all__ = ['main', 'page']

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #222; background: #fff; margin: 2rem auto;
  max-width: 1080px; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 75ch; } .quiet { color: #666; } .finding { font-size: 1.1rem; }
svg { max-width: 100%; height: auto; font-family: inherit; font-size: 12px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid #e3e3e3; }
th:first-child, td:first-child, td.text { text-align: left; } th { font-weight: 600; }
.wide { overflow-x: auto; } .row { display: flex; flex-wrap: wrap; gap: 1rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .2rem 0 .6rem; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
figure { margin: 0; } figcaption { font-size: 13px; }
.picture { width: 150px; }
.picture img { width: 96px; height: 96px; object-fit: contain; background: #f3f3f3; }
.right { color: #006b4d; } .wrong { color: #a33b2a; } .best { font-weight: 600; }
code { font-size: 13px; overflow-wrap: anywhere; }
"""


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The HTML of evaluations as `training.evaluate` writes them. Raises ValueError where one is not."""
    if not results:
        raise ValueError('no evaluation: write the files that training.evaluate --json wrote')
    for result in results:
        missing = {'exits', 'expected_accuracy', 'best_single_exit'} - result.keys()
        if missing:
            raise ValueError(f'{result.get("name", "a file")} is no evaluation: {", ".join(missing)} missing')
    model = results[0]
    names = _names(results)
    pictures, data, split = (model.get(key, '?') for key in ('pictures', 'data', 'split'))
    about = f'{pictures} pictures of {data}, split {split}, {model.get("mode", "contract")}'
    costs = 'multiply-accumulates' if model.get('costs', 'macs') == 'macs' else 'measured seconds'
    sections = [
        f'<h1>{escape(names[0])}</h1>',
        f'<p class="finding">{escape(finding(model, results[1:], names[1:]))}</p>',
        f'<p class="quiet">{escape(about)}. Costs: {costs}.{_relative(model)}</p>',
        '<h2>Accuracy against cost</h2>',
        '<p>Accuracy of the best path that fits, against what it costs: the paths (exits at each resolution) '
        'that no other one dominates. A network of one path is a point.</p>',
        _legend(names),
        _anytime(results, names),
        '<h2>Expected accuracy by budget distribution</h2>',
        '<p>Averaged over pictures and budgets; where no exit fits, the answer counts as wrong.'
        f'{_chosen(model)} The best single exit and the best fixed network are those that are best here.</p>',
        *_expected(results, names),
        *_paths(model),
        *_placement(model),
        '<h2>Exits</h2>',
        _exits(model),
        '<h2>Calibration</h2>',
        '<p>Bars on the dashed line are calibrated: of the answers given with 70% confidence, 70% are right. '
        'Darker bars hold more pictures.</p>',
        _reliability(model),
        *_examples(model),
        *_provenance(model),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(names[0])}</title><style>{STYLE}</style></head><body>{"".join(sections)}</body></html>\n'
    )


def _relative(model: Mapping[str, Any]) -> str:
    """That accuracies are agreement, as HTML; nothing where they are not."""
    if not model.get('relative'):
        return ''
    text = (
        ' These pictures have no labels: right is what the full path answers, accuracy is agreement with it.'
    )
    most = model.get('commonest')
    if most:
        text += f' Always {escape(most["label"])} would be right on {100 * most["share"]:.1f}%.'
    return text


def _chosen(model: Mapping[str, Any]) -> str:
    """Which pictures chose the exits (of several resolutions, the paths), where the evaluation knows."""
    on_halves = model.get('paths_chosen_on_halves', model.get('chosen_on_halves'))
    if on_halves is None:
        return ''
    if on_halves:
        return ' Each half of these pictures chose the exits that the other half counts.'
    return " The checkpoint's own accuracies chose the exits."


def _names(results: Sequence[Mapping[str, Any]]) -> list[str]:
    names: list[str] = []
    for number, result in enumerate(results, 1):
        name = str(result.get('name') or f'evaluation {number}')
        names.append(name if name not in names else f'{name} ({number})')
    return names


def _legend(names: Sequence[str]) -> str:
    items = (
        f'<span><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<div class="legend">{"".join(items)}</div>'


def _anytime(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    by_latency = all('latency' in row for result in results for row in result['exits'])
    key, scale, label = ('latency', 1e3, 'latency, ms') if by_latency else ('macs', 1e-6, 'million MACs')
    curves = []
    for result, name in zip(results, names, strict=True):
        # Paths are the exits at every resolution; latencies are measured at the largest alone.
        paths = [] if by_latency else result.get('paths', [])
        trained = {t for t, row in enumerate(result['exits']) if row.get('trained', True)}
        rows = [row for row in paths if row['exit_index'] in trained] or [
            row for t, row in enumerate(result['exits']) if t in trained
        ]
        best, points = 0.0, []
        for row in sorted(rows, key=lambda row: row[key]):
            if row['accuracy'] >= best:
                best = row['accuracy']
                points.append((row[key] * scale, best))
        curves.append(Line(name, points, loose=len(rows) == 1))
    return lines(curves, x_label=label, y_label='accuracy', title='accuracy against cost')


def _expected(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    model = results[0]
    groups = list(model['expected_accuracy'])
    series: dict[str, list[float | None]] = {
        name: [expected_of(result, group) for group in groups]
        for result, name in zip(results, names, strict=True)
    }
    series['its best single exit'] = [model['best_single_exit'].get(group) for group in groups]
    if 'best_fixed' in model:
        series['best fixed network'] = [model['best_fixed'].get(group) for group in groups]
    labels = [Path(group).stem for group in groups]
    rows = []
    for name, values in series.items():
        cells = []
        for position, value in enumerate(values):
            column = [other[position] for other in series.values() if other[position] is not None]
            best = value is not None and value >= max(v for v in column if v is not None)
            shown = '–' if value is None else f'{100 * value:.1f}%'
            cells.append(f'<td{" class=best" if best else ""}>{shown}</td>')
        rows.append(f'<tr><td>{escape(name)}</td>{"".join(cells)}</tr>')
    head = ''.join(f'<th>{escape(label)}</th>' for label in labels)
    chart = bars(labels, series, y_label='expected accuracy', title='expected accuracy by distribution')
    table = f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'
    return [_legend(list(series)), chart, table]


def _paths(model: Mapping[str, Any]) -> list[str]:
    """A table where there are several resolutions; the paths that pay are bold."""
    paths = model.get('paths', [])
    if len({row['resolution'] for row in paths}) < 2:
        return []
    top = all('top5' in row for row in paths)
    heads = ['path', 'million MACs', 'accuracy', *(['top-5'] if top else []), 'agreement with the full path']
    rows = []
    for row in paths:
        cells = [f'{row["macs"] / 1e6:.1f}', f'{100 * row["accuracy"]:.1f}%']
        cells += [f'{100 * row["top5"]:.1f}%'] if top else []
        cells += [f'{100 * row["agreement"]:.1f}%']
        path = f'{row["resolution"]} px, exit {row["exit_index"] + 1} of {len(model["exits"])}'
        kind = '' if row['dominated'] else ' class=best'
        rows.append(f'<tr{kind}><td>{path}</td>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>')
    head = ''.join(f'<th>{each}</th>' for each in heads)
    return [
        '<h2>Paths</h2>',
        '<p>In bold: no other path costs as little and is right as often.</p>',
        f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>',
    ]


def _placement(model: Mapping[str, Any]) -> list[str]:
    placement = (model.get('provenance') or {}).get('placement')
    return placement_section(placement, _legend(SERIES)) if placement else []


def _exits(model: Mapping[str, Any]) -> str:
    latency = all('latency' in row for row in model['exits'])
    heads = ['exit', 'accuracy', 'calibration error', '(before scaling)', 'NLL', 'million MACs']
    heads += ['latency'] if latency else []
    rows = []
    for number, row in enumerate(model['exits'], 1):
        cells = [
            f'{number}' if row.get('trained', True) else f'{number} (not trained)',
            f'{100 * row["accuracy"]:.1f}%',
            f'{row["ece"]:.3f}',
            f'({row["ece_uncalibrated"]:.3f})',
            f'{row["nll"]:.3f}',
            f'{row["macs"] / 1e6:.2f}',
        ]
        cells += [f'{1000 * row["latency"]:.2f} ms'] if latency else []
        rows.append('<tr>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>')
    decline = model.get('monotonicity')
    note = (
        f'<p>From one exit to the next the true class loses 0.2 or more of probability in '
        f'{100 * decline["falls"]:.1f}% of the pictures; a right answer turns wrong in '
        f'{100 * decline["flips"]:.1f}%.</p>'
        if decline
        else ''
    )
    head = ''.join(f'<th>{each}</th>' for each in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>{note}'


def _reliability(model: Mapping[str, Any]) -> str:
    figures = []
    for number, row in enumerate(model['exits'], 1):
        if 'reliability' in row and row.get('trained', True):
            diagram = reliability_diagram(row['reliability'], title=f'reliability of exit {number}')
            caption = (
                f'exit {number}: error {row["ece"]:.3f}<br>({row["ece_uncalibrated"]:.3f} before scaling)'
            )
            figures.append(f'<figure>{diagram}<figcaption>{caption}</figcaption></figure>')
    return f'<div class="row">{"".join(figures)}</div>'


def _examples(model: Mapping[str, Any]) -> list[str]:
    titles = {
        'early': 'Pictures that the first exit gets right, with a confidence of 90% or more',
        'late': 'Pictures that only deep exits get right: the first half of the exits are wrong',
    }
    sections = []
    for kind, title in titles.items():
        found = (model.get('examples') or {}).get(kind) or []
        figures = []
        for example in found:
            answers = '<br>'.join(
                f'<span class="{"right" if each["label"] == example["label"] else "wrong"}">{number} '
                f'{escape(each["label"])} {each["confidence"]:.0%}</span>'
                for number, each in enumerate(example['exits'], 1)
            )
            figures.append(
                f'<figure class="picture"><img alt="{escape(example["name"])}" '
                f'src="data:image/jpeg;base64,{escape(example["jpeg"])}">'
                f'<figcaption><b>{escape(example["label"])}</b><br>{answers}</figcaption></figure>'
            )
        if figures:
            sections.append(f'<h2>{title}</h2><div class="row">{"".join(figures)}</div>')
    return sections


def _provenance(model: Mapping[str, Any]) -> list[str]:
    about = model.get('provenance') or {}
    wanted = (
        'command',
        'budgets',
        'data',
        'training_pictures',
        'epochs',
        'seed',
        'accuracy',
        'temperature',
        'date',
    )
    rows = ''.join(
        f'<tr><td>{key.replace("_", " ")}</td>'
        f'<td class="text"><code>{escape(str(about[key]))}</code></td></tr>'
        for key in wanted
        if key in about
    )
    return [f'<h2>Where it comes from</h2><div class="wide"><table>{rows}</table></div>'] if rows else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where a file is no evaluation."""
    parser = argparse.ArgumentParser(
        prog='python -m training.report', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('evaluations', nargs='+', metavar='OUT', help='files of training.evaluate --json')
    parser.add_argument('-o', '--output', default='report.html', help='default: %(default)s')
    given = parser.parse_args(arguments)
    try:
        results = [json.loads(Path(each).read_text(encoding='utf-8')) for each in given.evaluations]
        text = page(results)
        Path(given.output).write_text(text, encoding='utf-8')
    except (ValueError, KeyError, TypeError, OSError) as error:
        print(f'report: {error}', file=sys.stderr)
        return 2
    print(f'wrote {given.output}')
    return 0


if __name__ == '__main__':
    run_command(main)
