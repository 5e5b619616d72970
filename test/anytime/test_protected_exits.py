"""Exits whose miss rate is held: which ones count, and that each camera holds its own."""

import numpy as np
import pytest
from anytime.simulated_classifier import IMAGE, classifier, run
from simulation import frame

from impatient_ros.anytime import FrameSettings


class TestProtectedExits:
    def test_an_answer_says_which_exit_was_protected_and_whether_it_overran(self):
        clf, _ = classifier('contract')
        clf.classify(IMAGE, budget=0.06)
        assert clf.state().cameras[''].protected == 1
        clf, _ = classifier('contract', factor=1.2)
        answer = clf.classify(IMAGE, budget=0.06)
        assert (answer.protected_exit_index, answer.exit_index, answer.met) == (3, 3, True)
        assert answer.overrun  # later than planned, though by the deadline
        assert clf.state().cameras[''].overrun_rate == 1.0

    def test_an_exit_that_is_abandoned_counts_as_an_overrun(self):
        clf, _ = classifier('contract', factor=3.0)
        answer = clf.classify(IMAGE, budget=0.045)
        assert (answer.protected_exit_index, answer.exit_index) == (3, None)
        assert clf.state().cameras[''].overrun_rate == 1.0

    def test_an_answer_that_is_sure_early_is_no_overrun(self):
        logits = [[9.0, 0.0, 0.0]] * 4
        clf, _ = classifier('interruptible', logits=logits, confidence_threshold=0.9)
        answer = clf.classify(IMAGE, budget=0.06)
        assert answer.exit_index == 0
        assert not answer.overrun
        assert clf.state().cameras[''].overrun_rate in (None, 0.0)

    def test_a_late_answer_does_not_replace_one_in_time(self):
        clf, runtime = classifier('interruptible')
        runtime.stages = (0.010, 0.050, 0.010, 0.010)
        answer = clf.classify(IMAGE, budget=0.030)
        assert 'stage 1' in runtime.log
        assert (answer.exit_index, answer.met) == (0, True)

    def test_nothing_is_protected_where_the_first_exit_is_only_possible(self):
        clf, _ = classifier('contract', factor=0.5)
        for _ in range(3):
            clf._planners.forecast.learn(frame(0.5, last=0))
        clf._planners.forecast.learn(frame(1.0, last=0))
        clf._planners.forecast.learn(frame(1.0, last=0))
        answer = clf.classify(IMAGE, budget=0.0095)
        assert answer.protected_exit_index is None
        assert answer.overrun is None


def test_two_cameras_with_different_miss_rates_each_hold_their_own():
    clf, runtime = classifier('contract')
    random = np.random.default_rng(7)
    settings = {'front': FrameSettings('contract', 0.01), 'rear': FrameSettings('contract', 0.1)}
    overruns = {camera: [] for camera in settings}
    for number in range(12000):
        runtime.factor = float(np.exp(random.normal(0, 0.15)))
        camera = ('front', 'rear')[number % 2]
        budget = random.uniform(0.012, 0.080)
        answer = run(clf, budget=budget, camera=camera, settings=settings[camera])
        if answer.protected_exit_index is not None:
            overruns[camera].append(answer.overrun)
    for camera, each in settings.items():
        assert len(overruns[camera]) > 3000
        assert np.mean(overruns[camera]) == pytest.approx(each.miss_rate, rel=0.2), camera
        state = clf.state().cameras[camera]
        assert (state.protected, state.overruns) == (len(overruns[camera]), sum(overruns[camera]))
