"""For everything that can be wrong with the input there is something to do."""

import re
from pathlib import Path

from impatient_ros.images import errors
from impatient_ros.perception.deadlines import Deadline, stamp_fault
from impatient_ros.perception.remedies import DROPPED, FAULTS, remedies, remedy

SECOND = 1_000_000_000


def test_every_reason_for_which_a_picture_is_refused_has_a_remedy():
    documented = set(re.findall(r'^\| (\w+) +\| ', errors.__doc__, re.MULTILINE)) - {'reason'}
    raised = {
        reason
        for file in Path(errors.__file__).parent.glob('*.py')
        for reason in re.findall(r"ImageError\(\s*'(\w+)'", file.read_text())
    }
    assert len(raised) > 10
    assert raised <= documented <= set(DROPPED)


def test_every_fault_of_the_input_has_a_remedy():
    faults = {stamp_fault(stamp, SECOND, 0.1) for stamp in (0, SECOND // 2, SECOND, 2 * SECOND)}
    faults |= {Deadline(0, fallback=True).fault}
    assert faults - {None} == set(FAULTS)


def test_what_several_have_in_common_is_said_once():
    assert remedies(['data', 'step']) == remedy('data') == remedy('step')
    assert remedies(['roi', 'data']) == f'{remedy("data")}; {remedy("roi")}'
    assert remedies(['zero_stamp']) == FAULTS['zero_stamp']
