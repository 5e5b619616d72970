"""What `training.evaluate` found, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.scoring.paths import path_table

__all__ = ['evaluation_table']


def evaluation_table(result: Mapping[str, Any]) -> str:
    """For people; `result` is what the command writes as JSON."""
    lines = [f'{result["name"]}: {result["pictures"]} pictures of {result["data"]}, {result["split"]}']
    if result['relative']:
        most = result['commonest']
        lines.append(
            'right is what the full path answers: accuracies are agreement with it; '
            f'{most["label"]!r} alone would be right on {100 * most["share"]:.1f}%'
        )
    lines.append(f'{"exit":>4} {"accuracy":>9} {"ECE":>7} {"before":>7} {"NLL":>7} {"MMACs":>8}  latency')
    for number, row in enumerate(result['exits'], 1):
        latency = f'{1000 * row["latency"]:6.2f} ms' if 'latency' in row else '-'
        lines.append(
            f'{number:>4} {100 * row["accuracy"]:8.2f}% {row["ece"]:7.3f} {row["ece_uncalibrated"]:7.3f} '
            f'{row["nll"]:7.3f} {row["macs"] / 1e6:8.2f}  {latency}'
        )
    if len({row['resolution'] for row in result['paths']}) > 1:
        lines += [path_table(result['paths']), f'exits at {result["paths"][-1]["resolution"]} px:']
    for name, value in result['expected_accuracy'].items():
        line = f'{name}: {100 * value:.2f}%, best single exit {100 * result["best_single_exit"][name]:.2f}%'
        if 'expected_accuracy_of_paths' in result:
            line += f', all paths {100 * result["expected_accuracy_of_paths"][name]:.2f}%'
        if 'best_fixed' in result:
            line += f', best fixed network {100 * result["best_fixed"][name]:.2f}%'
        lines.append(line)
    if result.get('paths_chosen_on_halves', result['chosen_on_halves']):
        lines.append(
            'the checkpoint has no accuracies from elsewhere: exits were chosen on each half of these '
            'pictures and counted on the other'
        )
    decline = result['monotonicity']
    lines.append(
        f'falls of 0.2 or more: {100 * decline["falls"]:.2f}%, right to wrong: {100 * decline["flips"]:.2f}%'
    )
    return '\n'.join(lines)
