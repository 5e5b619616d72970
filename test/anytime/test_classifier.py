"""One frame after another against its deadline."""

import numpy as np
import pytest
from anytime.simulated_classifier import IMAGE, Observer, classifier, run, stages
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.anytime import FrameSettings
from impatient_ros.anytime.classifier import RETRY_AFTER
from impatient_ros.planning.options import MODES


def test_contract_executes_the_stages_of_the_planned_exit_and_one_head():
    clf, runtime = classifier('contract')
    answer = clf.classify(IMAGE, budget=0.025)
    assert runtime.log == ['stage 0', 'stage 1', 'exit 1']
    assert (answer.exit_index, answer.planned_exit_index, answer.met) == (1, 1, True)
    assert answer.elapsed == pytest.approx(0.021)
    assert answer.slack == pytest.approx(0.004)
    assert answer.stages_executed == 2


def test_interruptible_evaluates_every_head_and_answers_with_the_last_in_time():
    clf, runtime = classifier('interruptible')
    observer = Observer()
    answer = clf.classify(IMAGE, budget=0.025, observer=observer)
    assert runtime.log == ['stage 0', 'exit 0', 'stage 1', 'exit 1']
    assert [a.exit_index for a in observer.answers] == [0, 1]
    assert observer.answers[-1] is answer
    assert observer.order == ['planned', 'answered', 'answered', 'completed']


def test_the_final_answer_is_told_once_and_before_anything_is_learned_from_the_frame():
    clf, _ = classifier('interruptible', factor=2.0)
    before, slowdowns = clf.state().slowdown, []
    observer = Observer()
    observer.completed = lambda answer: slowdowns.append((answer, clf.state().slowdown))
    answer = clf.classify(IMAGE, budget=0.025, observer=observer)
    assert slowdowns == [(answer, before)]
    assert clf.state().slowdown > before
    assert clf.classify(IMAGE, budget=1e-6, observer=observer).infeasible
    assert len(slowdowns) == 1


@pytest.mark.parametrize(('budget', 'ahead'), [(1.0, 1), (0.0215, None)])
def test_only_what_is_predicted_to_be_in_time_may_be_enqueued_ahead(monkeypatch, budget, ahead):
    clf, runtime = classifier('interruptible')
    begin, told, observer = runtime.start, [], Observer()
    for _ in range(60):  # two stages were often quicker than usual: the second exit is likely enough
        clf._planners.forecast.errors[2].add(-0.2)

    def start(image):
        run = begin(image)
        stage = run.stage
        run.stage = lambda toward=None, then=None: told.append((toward, then)) or stage(toward, then)
        return run

    monkeypatch.setattr(runtime, 'start', start)
    clf.classify(IMAGE, budget=budget, observer=observer)
    assert observer.plans[0].exit_index >= 1
    assert told[0] == (0, ahead)


def test_without_a_deadline_the_best_exit_answers():
    for mode in MODES:
        clf, _ = classifier(mode)
        answer = clf.classify(IMAGE)
        assert answer.exit_index == 3
        assert answer.met
        assert answer.slack is None


def test_an_infeasible_frame_is_not_even_decoded():
    for mode in MODES:
        clf, runtime = classifier(mode)
        answer = clf.classify(lambda: pytest.fail('decoded'), budget=1e-6)
        assert answer.infeasible
        assert (answer.label, answer.exit_index, answer.planned_exit_index, answer.met) == (
            None,
            None,
            None,
            False,
        )
        assert answer.probabilities.size == 0
        assert runtime.log == []


def test_an_infeasible_frame_is_answered_late_where_late_answers_are_wanted():
    clf, runtime = classifier('contract')
    answer = clf.classify(IMAGE, budget=0.001, settings=FrameSettings('contract', finish_late=True))
    assert runtime.log == ['stage 0', 'exit 0']
    assert answer.exit_index == 0
    assert not answer.met
    assert answer.slack < 0


def test_a_frame_without_an_answer_is_abandoned_at_the_first_boundary_after_its_deadline():
    clf, runtime = classifier('contract', factor=3.0)
    answer = clf.classify(IMAGE, budget=0.045)
    assert stages(runtime) == ['stage 0', 'stage 1']
    assert 'exit 3' not in runtime.log
    assert answer.label is None
    assert not answer.infeasible
    assert answer.planned_exit_index == 3


def test_a_frame_slower_than_planned_still_answers_from_the_nearest_exit_when_not_bound_by_a_contract():
    clf, runtime = classifier('adaptive', factor=2.0)
    answer = clf.classify(IMAGE, budget=0.045)
    assert answer.met
    assert answer.exit_index is not None
    assert answer.exit_index < 3
    assert 'stage 3' not in runtime.log


def test_a_slow_machine_is_learned():
    clf, _ = classifier('contract', factor=2.0)
    for _ in range(30):
        clf.classify(IMAGE, budget=0.055)
    assert clf.state().slowdown == pytest.approx(2.0, rel=0.1)
    answer = clf.classify(IMAGE, budget=0.055)
    assert answer.met
    assert answer.exit_index == answer.planned_exit_index == 1


def test_a_machine_that_became_faster_is_noticed_though_every_frame_is_infeasible():
    clf, runtime = classifier('contract', factor=0.5)
    answers = [clf.classify(IMAGE, budget=0.010) for _ in range(10 * RETRY_AFTER)]
    assert all(answer.infeasible for answer in answers[:RETRY_AFTER])
    assert runtime.log[:2] == ['stage 0', 'exit 0'], 'tried on an empty image'
    assert answers[-1].exit_index == 0


def test_after_a_hiccup_a_frame_is_tried_though_preparing_it_once_more_would_take_too_long():
    clf, runtime = classifier('adaptive', preparation=0.030)
    for factor in (1.0, 1.0, 1.0, 5.0, 5.0, 5.0):
        runtime.factor = factor
        clf.classify(IMAGE)
    runtime.factor = 1.0
    answers = [clf.classify(IMAGE, budget=0.050) for _ in range(10)]
    assert [answer.exit_index for answer in answers] == [0] * 10


def spoil(clf, camera):
    """Frames of a camera whose preparation takes half a minute, for once."""
    [resolution] = clf.checkpoint.resolutions
    usual, resolution.preprocessing.cost = resolution.preprocessing.cost, 30.0
    for _ in range(20):
        run(clf, budget=100.0, camera=camera)
    resolution.preprocessing.cost = usual


def test_a_preparation_cost_that_made_every_frame_infeasible_is_tried_again():
    clf, _ = classifier('contract', preparation=0.001)
    spoil(clf, 'front')
    for _ in range(RETRY_AFTER):
        assert run(clf, budget=0.1, camera='front').infeasible
    assert run(clf, budget=0.1, camera='front').exit_index == 3
    assert run(clf, budget=0.1, camera='front').exit_index == 3


def test_frames_of_another_camera_do_not_keep_a_preparation_cost_from_being_tried_again():
    clf, _ = classifier('contract', preparation=0.001)
    spoil(clf, 'stuck')
    for _ in range(RETRY_AFTER):
        assert run(clf, budget=0.1, camera='stuck').infeasible
        assert run(clf, budget=0.1, camera='other').met
    assert run(clf, budget=0.1, camera='stuck').met


def test_warming_up_runs_every_exit_and_learns_nothing():
    clf, runtime = classifier('adaptive', factor=5.0, preparation=0.010)
    before = clf.state()
    clf.warm_up()
    assert runtime.log == [f'{step} {t}' for t in range(clf.exits) for step in ('stage', 'exit')]
    assert clf.state() == before
    assert clf.classify(IMAGE, budget=0.012).infeasible is False


def test_preparation_is_learned_and_counts_against_the_budget():
    clf, runtime = classifier('contract', preparation=0.010)
    for _ in range(2):
        early = run(clf, budget=0.015, camera='front')
        assert early.label is None
        assert not early.infeasible, 'it was accepted before its preparation cost was known'
    assert run(clf, budget=0.015, camera='front').infeasible
    assert not run(clf, budget=0.015, camera='rear').infeasible, 'each camera has a cost of its own'
    assert run(clf, budget=0.035, camera='front').exit_index == 1
    assert stages(runtime) == ['stage 0', 'stage 1']


def test_reserve_is_kept_free_before_the_deadline():
    clf, _ = classifier('contract')
    assert clf.classify(IMAGE, budget=0.022).exit_index == 1
    assert run(clf, budget=0.022, reserve=0.005).exit_index == 0


def test_a_deeper_answer_of_an_exit_that_is_less_accurate_does_not_replace_a_better_one():
    clf, _ = classifier('interruptible', accuracies=(0.5, 0.9, 0.7, 0.95))
    assert clf.classify(IMAGE, budget=0.040).exit_index == 1
    clf, runtime = classifier('interruptible', accuracies=(0.5, 0.9, 0.7, 0.95))
    runtime.stages = (0.010, 0.010, 0.010, 1.0)  # it was meant to go on to the last one
    answer = clf.classify(IMAGE, budget=0.060)
    assert 'exit 2' in runtime.log
    assert (answer.exit_index, answer.met) == (1, True)


def test_a_sure_answer_ends_the_frame_early():
    sure = [[0, 9, 0]] * 4
    clf, runtime = classifier('interruptible', logits=sure, confidence_threshold=0.9)
    assert clf.classify(IMAGE, budget=1.0).exit_index == 0
    assert stages(runtime) == ['stage 0']
    assert clf.classify(IMAGE, budget=1.0, settings=FrameSettings('interruptible')).exit_index == 3


def test_probabilities_are_calibrated_with_the_exits_temperature():
    clf, _ = classifier('contract', logits=[[0, 2, 0]] * 4, temperature=4.0)
    answer = clf.classify(IMAGE)
    expected = np.exp([0, 0.5, 0]) / np.exp([0, 0.5, 0]).sum()
    assert np.allclose(answer.probabilities, expected)
    assert answer.confidence == pytest.approx(expected[1])
    assert answer.label == 'class 1'
    assert answer.class_index == 1


@given(st.sampled_from(MODES), st.floats(0.0, 0.1), st.floats(0.5, 3.0))
def test_no_stage_starts_after_the_deadline_and_met_means_in_time(mode, budget, factor):
    clf, runtime = classifier(mode, factor=factor)
    answer = clf.classify(IMAGE, budget=budget)
    longest = 0.011 * factor
    assert runtime.clock.now - 100.0 <= budget + longest + 1e-9
    assert answer.met == (answer.label is not None and answer.elapsed <= budget)
    assert answer.infeasible == (not runtime.log)


@pytest.mark.parametrize('mode', ['interruptible', 'adaptive'])
def test_a_deadline_that_moves_applies_to_the_frame_under_way(mode):
    clf, runtime = classifier(mode)

    def deadline():  # far away until the first stage has run, then almost here
        return 100.025 if runtime.log else 109.0

    answer = clf.classify(IMAGE, deadline=deadline)
    assert answer.met
    assert answer.exit_index == 1
    assert stages(runtime) == ['stage 0', 'stage 1']


def test_settings_are_those_of_the_frame():
    clf, runtime = classifier('contract')
    clf.classify(IMAGE, budget=0.025, settings=FrameSettings('interruptible'))
    assert 'exit 0' in runtime.log
    runtime.log.clear()
    clf.classify(IMAGE, budget=0.025)
    assert 'exit 0' not in runtime.log, 'those of one frame do not stay'


@pytest.mark.parametrize('times', [{'budget': 0.1, 'deadline': 0.1}, {'budget': float('nan')}])
def test_impossible_times_are_refused(times):
    clf, _ = classifier('contract')
    with pytest.raises(ValueError, match='give'):
        clf.classify(IMAGE, **times)


def test_a_decoder_that_fails_leaves_the_classifier_usable():
    clf, _ = classifier('contract')

    def broken():
        raise ValueError('not a picture')

    with pytest.raises(ValueError, match='not a picture'):
        clf.classify(broken, budget=0.1)
    assert clf.classify(IMAGE, budget=0.1).met


def test_labels_compete_among_themselves_and_unknown_is_judged_among_all():
    clf, _ = classifier('contract', logits=[[0.0, 3.0, 1.0]] * 4, labels=['class 2', 'class 0'])
    answer = clf.classify(IMAGE, settings=FrameSettings('contract', unknown_below=0.2))
    among_all = np.exp([1.0, 0.0]) / np.exp([0.0, 3.0, 1.0]).sum()
    assert clf.labels == ('class 2', 'class 0')
    assert (answer.label, answer.class_index) == ('class 2', 0)
    assert np.allclose(answer.probabilities, among_all / among_all.sum())
    assert answer.unknown
    assert answer.confidence == pytest.approx(among_all[0])
    assert not clf.classify(IMAGE, settings=FrameSettings('contract', unknown_below=0.1)).unknown


def test_an_unknown_answer_is_not_sure_enough_to_end_the_frame():
    clf, _ = classifier('interruptible', logits=[[0.0, 1.0, 0.0]] * 4)
    settings = FrameSettings('interruptible', confidence_threshold=0.4, unknown_below=0.9)
    assert clf.classify(IMAGE, budget=1.0, settings=settings).exit_index == 3
    settings = FrameSettings('interruptible', confidence_threshold=0.4)
    assert clf.classify(IMAGE, budget=1.0, settings=settings).exit_index == 0
