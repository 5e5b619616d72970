"""Policies on the real machine, turn by turn: frame i of every policy, then frame i along all paths.

All meet the same load, drift and hiccups, and what all paths take says for each round what hindsight
would have chosen.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from deadline.bystanders import Bystanders
from deadline.frame import Frame, PlanNoted, budgets, hindsight
from deadline.load import CoRunners, stretch
from deadline.policies import equip
from deadline.recording import BREATH, WARM_UP, Pace, accuracies_of, quiet_profiles, run_through
from deadline.subjects import Subject
from impatient_ros.anytime import AnytimeClassifier

__all__ = ['run_live']


def run_live(
    subject: Subject,
    classifier: AnytimeClassifier,
    policies: Sequence[str],
    load: str,
    frames: int,
    *,
    miss_rate: float = 0.01,
    rate: float = 0.0,
    limit: float = math.inf,
    progress: Callable[[str], None] = print,
) -> list[Frame]:
    """`frames` records per policy.

    Args:
        classifier: gives network, runtime and preprocessing.
        rate: frames per second, all policies together; 0: 0.8 of what the last path could keep alone.
        limit: seconds after which no further round begins.
    """
    decided = [policy for policy in policies if policy != 'hindsight']
    streams = len(decided) + 1
    records: list[Frame] = []
    preparation = np.median([run_through(classifier, subject.image)[0] for _ in range(WARM_UP)], axis=0)
    profiles, accuracies = quiet_profiles(classifier), accuracies_of(classifier)
    period = 1 / rate if rate else 1.2 * profiles[-1].costs('contract')[-1]
    with CoRunners(load, stretch(load, streams, streams * (period + BREATH))) as others:
        equipped = {
            policy: equip(policy, classifier.checkpoint, classifier.runtime, profiles, miss_rate=miss_rate)
            for policy in decided
        }
        bystanders = Bystanders(others.pids)
        pace = Pace(period)
        source = np.random.default_rng(2)
        others.start()
        began = time.perf_counter()
        for index, budget in enumerate(budgets(profiles, preparation, frames)):
            if time.perf_counter() - began > limit:
                break
            made: dict[str, tuple] = {}
            # In a new order in every round: who follows a long run starts later and is held up more.
            for policy in source.permutation([*decided, 'hindsight']).tolist():
                pace.wait()
                phase, on = others.now()
                if policy == 'hindsight':
                    took = run_through(classifier, subject.image)
                    made[policy] = (phase, on, None, PlanNoted(), ())
                    continue
                chosen, decisions = equipped[policy]
                decisions.clear()
                plan = PlanNoted()
                answer = chosen.classify(subject.image, budget=budget, observer=plan)
                made[policy] = (phase, on, answer, plan, tuple(decisions))
            best, feasible, slack = hindsight(*took, accuracies, budget)
            busy = bystanders.look()
            for policy in policies:
                phase, on, answer, plan, timed = made[policy]
                known = {
                    'model': subject.model,
                    'policy': policy,
                    'load': load,
                    'index': index,
                    'phase': phase,
                    'loaded': on,
                    'budget': budget,
                    'bystanders': round(busy, 3),
                }
                if answer is None:
                    records.append(Frame.in_hindsight(best, feasible, slack, **known))
                else:
                    records.append(
                        Frame.of(classifier, answer, plan, timed, hindsight=best, feasible=feasible, **known)
                    )
            if index % 200 == 199:
                progress(f'{subject.model} {load}: {index + 1} rounds, {time.perf_counter() - began:.0f} s')
    return records
