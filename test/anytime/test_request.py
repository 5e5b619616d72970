import math

import pytest

from impatient_ros.anytime import FrameRequest, FrameSettings


@pytest.mark.parametrize('settings', [{'mode': 'fast'}, {'miss_rate': 0.0}, {'miss_rate': 1.5}])
def test_settings_that_make_no_sense_are_refused_with_what_to_write(settings):
    with pytest.raises(ValueError, match=r'write one of contract, interruptible, adaptive|give a share'):
        FrameSettings(**settings)


def test_a_request_asks_for_the_best_answer_unless_it_is_told_otherwise():
    request = FrameRequest(None)
    assert request.deadline() == math.inf
    assert request.settings == FrameSettings()
    assert request.time_share is None
