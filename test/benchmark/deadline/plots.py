"""Miss rate and expected accuracy per policy and load."""

from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ['plot']

LEAST_SHARE = 0.6  # the axis begins here
MISSES = 10.0  # %: the axis ends here, larger rates are written beside their bars


def plot(summary: Sequence[dict], folder: Path, title: Callable[[str], str]) -> list[Path]:
    """A picture per model in `folder`, under a line that `title` gives it; returns their paths."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    paths = []
    for model in dict.fromkeys(record['model'] for record in summary):
        cells = {(r['load'], r['policy']): r for r in summary if r['model'] == model}
        loads = list(dict.fromkeys(load for load, _ in cells))
        policies = list(dict.fromkeys(policy for _, policy in cells))
        figure, (above, below) = pyplot.subplots(2, 1, figsize=(10, 7), sharex=True, layout='constrained')
        width = 0.8 / len(policies)
        for number, policy in enumerate(policies):
            shown = [(i, cells[load, policy]) for i, load in enumerate(loads) if (load, policy) in cells]
            places = [i + (number - (len(policies) - 1) / 2) * width for i, _ in shown]
            rates = [r['miss_rate'] * 100 for _, r in shown]
            spread = [
                [max(0.0, r['miss_rate'] - r['miss_rate_low']) * 100 for _, r in shown],
                [max(0.0, r['miss_rate_high'] - r['miss_rate']) * 100 for _, r in shown],
            ]
            label = policy + (' (default)' if any(r['default'] for _, r in shown) else '')
            above.bar(places, rates, width * 0.9, label=label, color=f'C{number}')
            above.errorbar(places, rates, spread, fmt='none', ecolor='0.3', elinewidth=1)
            for place, rate in zip(places, rates, strict=True):
                if rate > MISSES:
                    above.annotate(f'{rate:.0f}', (place, MISSES), ha='center', va='top', fontsize=7)
            below.bar(places, [r['accuracy_share'] for _, r in shown], width * 0.9, color=f'C{number}')
        above.set_ylim(0, MISSES)
        above.set_ylabel('feasible frames without\nan answer in time, %')
        above.axhline(1.0, color='0.6', linewidth=0.8, linestyle=':')
        figure.legend(loc='outside lower center', fontsize=8, ncols=len(policies))
        below.set_ylim(LEAST_SHARE, 1.02)
        below.set_ylabel(f'expected accuracy, share\nof hindsight (from {LEAST_SHARE:g} on)')
        below.axhline(1.0, color='0.6', linewidth=0.8, linestyle=':')
        below.set_xticks(range(len(loads)), loads)
        figure.suptitle(f'{model}: {title(model)}', fontsize=10)
        path = folder / f'{model}.png'
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
        paths.append(path)
    return paths
