"""From records of frames to the numbers that the benchmark is about."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from deadline.frame import Frame

__all__ = ['SETTLING', 'in_phase', 'summarise', 'wilson']

SETTLING = 30  # frames after the beginning of a phase that are left out of the settled rates
QUIET = 0.3  # cores that bystanders may keep busy during a frame that counts


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson interval of a rate, by default of 95%."""
    if of == 0:
        return 0.0, 1.0
    rate = hits / of
    centre = (rate + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(rate * (1 - rate) / of + z * z / (4 * of * of))
    # Rounding must not leave the rate itself outside.
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def in_phase(frames: Sequence[Frame]) -> list[int]:
    """How many frames of its phase came before each frame."""
    counts, phase, count = [], None, 0
    for frame in frames:
        count = count + 1 if frame.phase == phase else 0
        phase = frame.phase
        counts.append(count)
    return counts


def summarise(
    frames: Iterable[Frame], accuracies: dict[str, Sequence[float]], default: str = 'adaptive'
) -> list[dict]:
    """A flat record per model, policy and load, in the order of appearance.

    Args:
        accuracies: of each model's paths.
        default: the policy that is the node's default mode.
    """
    cells: dict[tuple[str, str, str], list[Frame]] = {}
    for frame in frames:
        cells.setdefault((frame.model, frame.policy, frame.load), []).append(frame)
    return [
        _cell(*key, each, accuracies[key[0]], is_default=key[1] == default) for key, each in cells.items()
    ]


def _cell(
    model: str,
    policy: str,
    load: str,
    frames: list[Frame],
    accuracies: Sequence[float],
    *,
    is_default: bool,
) -> dict:
    since = in_phase(frames)
    every = frames
    every_feasible = [frame for frame in every if frame.feasible]
    kept = [(f, n) for f, n in zip(frames, since, strict=True) if f.bystanders <= QUIET]
    frames = [f for f, _ in kept]
    # Where the load changes once only, at the start, all frames after its first ones are settled.
    settled = [f for f, n in kept if n >= SETTLING or load in ('none', 'burst')]
    feasible = [f for f in frames if f.feasible]
    settled_feasible = [f for f in settled if f.feasible]
    protected = [f for f in frames if f.protected]
    settled_protected = [f for f in settled if f.protected]
    values = [*accuracies, 0.0]  # -1, no answer, counts as wrong
    expected = _mean(values[f.path] for f in frames)
    best = _mean(values[f.hindsight] for f in frames)
    decisions = [each for f in frames for each in f.decisions_us]
    slacks = [f.slack * 1e3 for f in frames if f.path >= 0]
    deeper = sum(values[f.hindsight] > values[f.path] for f in feasible)
    return {
        'model': model,
        'policy': policy,
        'load': load,
        'default': is_default,
        'frames': len(frames),
        'feasible': len(feasible),
        **_rate('miss_rate', sum(f.path < 0 for f in feasible), len(feasible)),
        **_rate('settled_miss_rate', sum(f.path < 0 for f in settled_feasible), len(settled_feasible)),
        'protected': len(protected),
        **_rate('overrun_rate', sum(f.overrun for f in protected), len(protected)),
        **_rate('settled_overrun_rate', sum(f.overrun for f in settled_protected), len(settled_protected)),
        **_rate('late_protected_rate', sum(f.late for f in protected), len(protected)),
        'expected_accuracy': round(expected, 5),
        'hindsight_accuracy': round(best, 5),
        'accuracy_share': round(expected / best, 4) if best else None,
        'deeper_fits_rate': round(deeper / len(feasible), 5) if feasible else None,
        'decision_p50_us': _quantile(decisions, 0.5),
        'decision_p99_us': _quantile(decisions, 0.99),
        'slack_p50_ms': _quantile(slacks, 0.5),
        'slack_p01_ms': _quantile(slacks, 0.01),
        # The same with the frames that strangers disturbed.
        'disturbed': len(every) - len(frames),
        **_rate('miss_rate_with', sum(f.path < 0 for f in every_feasible), len(every_feasible)),
        'expected_accuracy_with': round(_mean(values[f.path] for f in every), 5),
    }


def _rate(name: str, hits: int, of: int) -> dict:
    low, high = wilson(hits, of)
    return {
        name: round(hits / of, 5) if of else None,
        f'{name}_low': round(low, 5),
        f'{name}_high': round(high, 5),
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _quantile(values: list[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 3) if values else None
