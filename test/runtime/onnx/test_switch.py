import pytest

from impatient_ros.runtime.onnx.switch import codes, pieces


@pytest.mark.parametrize('exits', [1, 2, 5, 9])
def test_the_switches_lead_to_exactly_one_piece_each(exits):
    found = codes(exits)
    assert set(found) == {key for key in pieces(exits) if key[0] != 'path'}
    assert len({tuple(taken) for taken in found.values()}) == len(found)
    assert len({len(taken) for taken in found.values()}) == 1
