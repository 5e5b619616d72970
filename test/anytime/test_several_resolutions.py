"""Passes at several resolutions: which are planned, prepared and learned from."""

from dataclasses import replace

import numpy as np
import pytest
from anytime.simulated_classifier import IMAGE, Observer, ladder
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.anytime import FrameSettings
from impatient_ros.planning.options import MODES


class TestResolutions:
    """The budget decides at which resolution the picture is prepared."""

    @pytest.mark.parametrize(
        ('budget', 'side'), [(0.0135, 32), (0.0245, 64), (0.0475, 96), (0.0935, 128), (9.0, 128)]
    )
    @pytest.mark.parametrize('mode', ['contract', 'adaptive'])
    def test_a_frame_takes_the_best_resolution_that_fits(self, mode, budget, side):
        clf, runtime = ladder(mode)
        for _ in range(3):
            clf.classify(IMAGE, budget=9.0)
        runtime.resolutions.clear()
        answer = clf.classify(IMAGE, budget=budget)
        assert (answer.resolution, answer.planned_resolution, answer.exit_index) == (side, side, 0)
        assert answer.met
        assert runtime.resolutions[-1] == side
        assert len(runtime.resolutions) == 1 or mode == 'adaptive', 'only an insurance may come before'

    def test_a_budget_below_the_cheapest_path_is_infeasible(self):
        clf, runtime = ladder('adaptive')
        answer = clf.classify(IMAGE, budget=0.005)
        assert answer.infeasible
        assert (answer.resolution, answer.planned_resolution) == (None, None)
        assert runtime.log == []

    def test_preparation_is_planned_for_once_it_is_known(self):
        clf, runtime = ladder('contract', preparation=0.005)
        for _ in range(3):
            clf.classify(IMAGE, budget=0.120)
        runtime.resolutions.clear()
        assert clf.classify(IMAGE, budget=0.0440).resolution == 64
        assert clf.classify(IMAGE, budget=0.0520).resolution == 96
        assert runtime.resolutions == [64, 96]

    def test_a_picture_that_was_prepared_too_slowly_is_prepared_anew_at_a_lower_resolution(self):
        clf, runtime = ladder('contract')
        for _ in range(3):
            clf.classify(IMAGE, budget=0.5)
        slow = clf.checkpoint.resolutions[3].preprocessing
        slow.cost = 0.030
        runtime.resolutions.clear()
        answer = clf.classify(IMAGE, budget=0.0935)
        assert runtime.resolutions == [128, 96]
        assert (answer.resolution, answer.planned_resolution, answer.met) == (96, 96, True)

    def test_interruptible_passes_grow_and_the_best_answer_stands(self):
        clf, runtime = ladder('interruptible')
        observer = Observer()
        answer = clf.classify(IMAGE, budget=0.5, observer=observer)
        assert runtime.resolutions == [32, 64, 96, 128]
        assert [each.resolution for each in observer.answers] == [32, 64, 96, 128]
        assert answer is observer.answers[-1]
        assert answer.stages_executed == 4

    def test_with_time_left_after_an_answer_a_further_pass_is_tried(self):
        clf, runtime = ladder('interruptible', factor=0.4)
        answer = clf.classify(IMAGE, budget=0.075)
        assert runtime.resolutions[:3] == [32, 64, 96]
        assert answer.resolution >= 96
        assert answer.met

    def test_each_resolution_teaches_the_others_how_slow_the_machine_is(self):
        clf, _ = ladder('contract', factor=2.0)
        for _ in range(20):
            clf.classify(IMAGE, budget=0.4)  # the largest one
        assert clf.state().slowdown == pytest.approx(2.0, rel=0.05)
        answer = clf.classify(IMAGE, budget=0.060)
        assert (answer.resolution, answer.met) == (64, True)

    def test_passes_of_one_frame_are_no_frames_that_agree_on_a_change(self):
        slowdowns = []
        for mode in ('contract', 'interruptible'):
            clf, runtime = ladder(mode, factor=1.0)
            for _ in range(30):
                clf.classify(IMAGE)
            runtime.factor = 5.0
            clf.classify(IMAGE)
            slowdowns.append(clf.state().slowdown)
        assert runtime.resolutions[-4:] == [32, 64, 96, 128]
        assert slowdowns[1] == pytest.approx(slowdowns[0], rel=0.01)

    def test_a_risky_pass_is_insured_by_a_cheaper_one(self):
        clf, runtime = ladder('adaptive', accuracies=(0.6, 0.61, 0.62, 0.9))
        random = np.random.default_rng(2)
        for _ in range(300):
            runtime.factor = float(random.choice([1.0, 1.6], p=[0.8, 0.2]))
            clf.classify(IMAGE, budget=0.5, settings=FrameSettings('contract'))
        runtime.factor = 1.0
        runtime.resolutions.clear()
        answer = clf.classify(IMAGE, budget=0.110)
        assert runtime.resolutions[-1] == 128
        assert len(runtime.resolutions) == 2
        assert (answer.resolution, answer.met) == (128, True)

    def test_exactly_one_path_can_be_asked_for(self):
        clf, runtime = ladder('adaptive', exits=2, accuracies=(0.1, 0.4, 0.2, 0.6, 0.3, 0.7, 0.4, 0.8))
        assert [path.resolution for path in clf.paths] == [32, 32, 64, 96, 64, 128, 96, 128]
        before = clf.state()
        for path in clf.paths:
            runtime.log.clear()
            answer = clf.classify(IMAGE, path=path)
            assert (answer.resolution, answer.exit_index) == (path.resolution, path.exit_index)
            assert [entry for entry in runtime.log if entry.startswith('exit')] == [f'exit {path.exit_index}']
        assert clf.state() == before
        with pytest.raises(ValueError, match='not both'):
            clf.classify(IMAGE, 0.1, path=clf.paths[0])
        with pytest.raises(ValueError, match='one of `paths`'):
            clf.classify(IMAGE, path=replace(clf.paths[0], resolution=48))

    def test_costs_are_those_of_each_path(self):
        clf, _ = ladder('adaptive')
        assert list(clf.costs().values()) == pytest.approx([0.010, 0.020, 0.040, 0.080], abs=1e-5)

    @given(st.sampled_from(MODES), st.floats(0.0, 0.3), st.floats(0.4, 3.0), st.integers(1, 2), st.booleans())
    def test_every_frame_ends_and_met_means_in_time(self, mode, budget, factor, exits, late):
        accuracies = (0.4, 0.6, 0.7, 0.8) if exits == 1 else (0.2, 0.4, 0.3, 0.6, 0.1, 0.7, 0.75, 0.8)
        clf, runtime = ladder(mode, factor=factor, exits=exits, accuracies=accuracies)
        for _ in range(3):
            begin = runtime.clock.now
            answer = clf.classify(IMAGE, budget=budget, settings=FrameSettings(mode, finish_late=late))
            assert runtime.clock.now - begin <= budget + 0.080 * factor + 0.004
            assert answer.met == (answer.label is not None and answer.elapsed <= budget)
            assert answer.label is not None or not late
