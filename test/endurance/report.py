"""The endurance table: every attack, how often, what became of the frames, and what the node said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from endurance.ledger import Balance

__all__ = ['Entry', 'markdown']

SAYINGS = 3  # of the most frequent ones per attack in the table; the JSON file has all


@dataclass
class Entry:
    """All times of one attack."""

    times: int = 0
    balance: Balance = field(default_factory=Balance)
    requests: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def as_values(self) -> dict[str, Any]:
        # Not by `asdict`: before Python 3.12 it makes counters of a counter's pairs.
        balance = {**vars(self.balance), 'outcomes': dict(self.balance.outcomes)}
        counters = {'requests': dict(self.requests), 'said': dict(self.said)}
        return {**vars(self), 'balance': balance, **counters}


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f'# Endurance: {report["minutes"]:.1f} minutes, seed {report["seed"]}',
        '',
        f'{report["attacks_made"]} attacks, {report["published"]} frames published, '
        f'accounting difference {report["difference"]}, node ended {report["ended"]} times, '
        f'{report["internal_errors"]} internal errors. {report["machine"]}.',
        '',
        '| attack | times | published | outcomes | not received (uncertain) | at an edge (discarded) '
        '| requests | difference | what the node said |',
        '|---|---|---|---|---|---|---|---|---|',
        *(_row(name, entry) for name, entry in report['attacks'].items()),
        '',
        '| | before | after |',
        '|---|---|---|',
        *(
            f'| {name} | {values[0]} | {values[1]} |'
            for name, values in report['before_and_after'].items()
        ),
        '',
        *(f'FAILED ({kind}): {text}' for kind, text in report['failures']),
        *([] if report['failures'] else ['Nothing failed.']),
        '',
    ]  # fmt: skip
    return '\n'.join(lines)


def _row(name: str, entry: dict[str, Any]) -> str:
    balance = entry['balance']
    said = Counter(entry['said']).most_common(SAYINGS)
    rest = len(entry['said']) - len(said)
    told = '; '.join(f'{text.replace("|", "/")} ({count})' for text, count in said)
    cells = (
        name,
        entry['times'],
        balance['published'],
        _counts(balance['outcomes']),
        f'{balance["not_received"]} ({balance["uncertain"] + balance["uncompared"]})',
        f'{balance["edge"]} ({balance["discarded"]})',
        _counts(entry['requests']),
        balance['difference'],
        told + (f'; and {rest} more' if rest else ''),
    )
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def _counts(counts: dict[str, int]) -> str:
    return ', '.join(f'{count} {name}' for name, count in sorted(counts.items()))
