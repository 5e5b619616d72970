"""A summary as a table for people."""

from collections.abc import Sequence

__all__ = ['table']


def table(summary: Sequence[dict]) -> str:
    """Markdown: a row per model, load and policy; * marks the node's default mode."""
    head = (
        '| model | load | policy | frames | feasible | misses % (95%) | settled % (95%) | overruns % (95%) '
        '| settled % (95%) '
        '| protected after deadline % | expected accuracy | of hindsight | deeper would have fitted % '
        '| decision p99 us | slack p50 / p01 ms | disturbed | misses % with these | expected accuracy |'
    )
    lines = [head, '|' + '---|' * (head.count('|') - 1)]
    for r in summary:
        cells = (
            r['model'],
            r['load'],
            r['policy'] + (' *' if r['default'] else ''),
            r['frames'],
            r['feasible'],
            _rate(r, 'miss_rate'),
            _rate(r, 'settled_miss_rate'),
            _rate(r, 'overrun_rate'),
            _rate(r, 'settled_overrun_rate'),
            _percent(r['late_protected_rate']),
            f'{r["expected_accuracy"]:.4f}',
            '' if r['accuracy_share'] is None else f'{r["accuracy_share"]:.4f}',
            _percent(r['deeper_fits_rate']),
            '' if r['decision_p99_us'] is None else f'{r["decision_p99_us"]:.0f}',
            '' if r['slack_p50_ms'] is None else f'{r["slack_p50_ms"]:.1f} / {r["slack_p01_ms"]:.1f}',
            r.get('disturbed', ''),
            _rate(r, 'miss_rate_with'),
            f'{r["expected_accuracy_with"]:.4f}' if 'expected_accuracy_with' in r else '',
        )
        lines.append('| ' + ' | '.join(str(cell) for cell in cells) + ' |')
    return '\n'.join(lines)


def _percent(rate: float | None) -> str:
    return '' if rate is None else f'{rate * 100:.2f}'


def _rate(record: dict, name: str) -> str:
    if record.get(name) is None:  # nothing to rate, or a summary from before there was this rate
        return ''
    low, high = record[f'{name}_low'] * 100, record[f'{name}_high'] * 100
    return f'{record[name] * 100:.2f} ({low:.2f}-{high:.2f})'
