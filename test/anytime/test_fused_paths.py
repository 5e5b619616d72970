"""Paths that a runtime executes at once where it is told where they end."""

import numpy as np
import pytest
from anytime.simulated_classifier import IMAGE, classifier, run
from simulation import profile

from impatient_ros.anytime import AnytimeClassifier
from impatient_ros.planning.latency_profile import LatencyProfile
from impatient_ros.runtime.base import Run


class FusedRun(Run):
    """Executes a fused path in 0.7 of the time where it is told that its exit is certain."""

    scores = None

    @property
    def ready(self):
        return self.scores is not None

    def stage(self, toward=None, then=None):
        if toward is None or self.position > 0 or toward == 0:
            super().stage()
            return
        runtime = self._runtime
        runtime.log.append(f'path {toward}')
        runtime.clock.now += 0.7 * (sum(runtime.stages[: toward + 1]) + runtime.heads[toward])
        self.scores, self.position = np.array([0.0, 1.0, 0.0]), toward + 1

    def exit(self):
        if self.scores is None:
            return super().exit()
        scores, self.scores = self.scores, None
        return scores


class TestFusedPaths:
    """A small network's boundaries cost a good part of its time."""

    @pytest.fixture
    def fused(self):
        clf, runtime = classifier('adaptive')
        runtime.start = lambda image: FusedRun(runtime, image)
        tables = profile().to_dict()
        for t in range(1, 4):
            tables['contract'][0][t] = [0.7 * c for c in tables['contract'][0][t]]
        clf = AnytimeClassifier(
            clf.checkpoint, runtime, [LatencyProfile.from_dict(tables)], mode='adaptive', clock=runtime.clock
        )
        return clf, runtime

    def test_a_protected_exit_is_reached_without_a_stop_and_ends_the_frame(self, fused):
        clf, runtime = fused
        answer = clf.classify(IMAGE, budget=0.030)
        assert runtime.log == ['path 3']
        assert (answer.exit_index, answer.planned_exit_index, answer.met, answer.overrun) == (
            3,
            3,
            True,
            False,
        )
        assert answer.elapsed == pytest.approx(0.0287)

    def test_frames_that_others_wait_for_stop_at_every_boundary(self, fused):
        clf, runtime = fused
        run(clf, budget=0.060, time_share=lambda left: left)
        assert not any(entry.startswith('path') for entry in runtime.log)

    def test_it_teaches_the_forecast_no_slowness(self, fused):
        clf, _ = fused
        for budget in (0.030, 0.060, 0.025, 0.012) * 10:
            assert clf.classify(IMAGE, budget=budget).met
        assert clf.state().slowdown == pytest.approx(1.0, rel=0.01)
