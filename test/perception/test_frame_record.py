"""What counts as a miss, and the texts of frame_status read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impatient_ros.perception.frame_record import FrameRecord, Outcome


def record(outcome=Outcome.answered, **values):
    if outcome is Outcome.answered:
        values = {'exit_index': 2, 'planned_exit_index': 2, 'exits': 5, 'slack': 0.01, **values}
    return FrameRecord(camera='front', stamp=1.0, outcome=outcome, **values)


def test_an_outcome_reads_the_same_in_every_text():
    assert f'{Outcome.answered}' == str(Outcome.answered) == Outcome.answered == 'answered'


@pytest.mark.parametrize('outcome', list(Outcome))
def test_only_late_and_missed_frames_are_misses(outcome):
    assert record(outcome).miss == (outcome in (Outcome.late, Outcome.missed))


seconds = st.floats(-1e6, 1e6)
texts = st.text(max_size=20)
indices = st.one_of(st.none(), st.integers(0, 99))
records = st.builds(
    FrameRecord,
    camera=texts,
    stamp=seconds,
    outcome=st.sampled_from(list(Outcome)),
    reason=texts,
    exit_index=indices,
    planned_exit_index=indices,
    exits=st.integers(0, 99),
    resolution=indices,
    planned_resolution=indices,
    resolutions=st.integers(0, 99),
    unknown=st.booleans(),
    budget=st.one_of(st.none(), seconds),
    elapsed=st.one_of(st.none(), seconds),
    slack=st.one_of(st.none(), seconds),
    slowdown=st.floats(0.1, 10),
    superseded=st.integers(0, 10**6),
    overrun=st.sampled_from([None, True, False]),
    fault=st.one_of(st.none(), st.sampled_from(['zero_stamp', 'no_deadline'])),
)


@given(records)
def test_values_hold_the_whole_record(made):
    assert FrameRecord.from_values(made.camera, made.stamp, made.to_values()) == made


def test_the_values_have_the_keys_of_the_interface():
    keys = (
        'outcome reason exit_index planned_exit_index exits resolution planned_resolution resolutions '
        'budget_s elapsed_s slack_s slowdown superseded'
    )
    assert ' '.join(record().to_values()) == keys
    assert record(fault='zero_stamp').to_values()['fault'] == 'zero_stamp'
    assert record(unknown=True).to_values()['unknown'] == 'true'


def test_a_record_of_an_older_version_has_no_resolution():
    values = record(resolution=160, planned_resolution=224, resolutions=2).to_values()
    old = {key: value for key, value in values.items() if 'resolution' not in key}
    found = FrameRecord.from_values('front', 1.0, old)
    assert found == record()
    assert (found.resolution, found.planned_resolution, found.resolutions) == (None, None, 0)
    assert found.path == found.planned_path == 'exit 3 of 5'


def test_numbers_of_numpy_become_plain_text():
    numpy = pytest.importorskip('numpy')
    values = record(budget=numpy.float64(0.25), exit_index=numpy.int64(1)).to_values()
    assert (values['budget_s'], values['exit_index']) == ('0.25', '1')


@pytest.mark.parametrize(
    ('change', 'what'),
    [({'outcome': 'fine'}, 'fine'), ({'exits': 'many'}, 'many'), ({'budget_s': None}, 'budget_s')],
)
def test_values_that_are_no_frame_status_are_refused_by_name(change, what):
    values = {key: value for key, value in {**record().to_values(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=what):
        FrameRecord.from_values('front', 0.0, values)
