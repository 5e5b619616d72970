"""Policies on the real machine, turn by turn: frame i of every policy, then frame i through all exits.

All meet the same load, drift and hiccups, and the pass through all exits says for each round what hindsight
would have chosen.
"""

import time
from collections.abc import Callable, Sequence

from deadline.bystanders import Bystanders
from deadline.frame import Frame, budgets, hindsight
from deadline.load import CoRunners
from deadline.policies import equip
from deadline.recording import WARM_UP, Pace, quiet_profile, run_through
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
    progress: Callable[[str], None] = print,
) -> list[Frame]:
    """`frames` records per policy.

    Args:
        classifier: gives network, runtime and preprocessing.
        rate: frames per second, all policies together; 0: 0.8 of what the last exit could keep alone.
    """
    streams = len(policies) + 1
    records: list[Frame] = []
    with CoRunners(load, stretch=streams) as others:
        preparation = sorted(run_through(classifier, subject.image)[0] for _ in range(WARM_UP))
        profile = quiet_profile(classifier)
        equipped = {
            policy: equip(policy, classifier.checkpoint, classifier.runtime, profile, miss_rate=miss_rate)
            for policy in policies
        }
        bystanders = Bystanders(others.pids)
        pace = Pace(1 / rate if rate else 1.2 * profile.costs('contract')[-1])
        others.start()
        began = time.perf_counter()
        for index, budget in enumerate(budgets(profile, preparation[WARM_UP // 2], frames)):
            made = []
            # Another one begins in every round, so that nobody always follows the same predecessor.
            for turn in range(streams):
                policy = (*policies, '')[(turn + index) % streams]
                pace.wait()
                if not policy:
                    took = run_through(classifier, subject.image)
                    continue
                phase, on = others.now()
                chosen, decisions = equipped[policy]
                decisions.clear()
                answer = chosen.classify(subject.image, budget=budget)
                made.append((policy, phase, on, answer, tuple(decisions)))
            best, feasible = hindsight(*took, classifier.checkpoint.accuracies, budget)
            busy = bystanders.look()
            records += [
                Frame.of(
                    answer,
                    decisions,
                    model=subject.model,
                    policy=policy,
                    load=load,
                    index=index,
                    phase=phase,
                    loaded=on,
                    budget=budget,
                    hindsight=best,
                    feasible=feasible,
                    bystanders=round(busy, 3),
                )
                for policy, phase, on, answer, decisions in made
            ]
            if index % 200 == 199:
                progress(f'{subject.model} {load}: {index + 1} rounds, {time.perf_counter() - began:.0f} s')
    return records
