"""A path in words."""

import pytest

from impatient_ros.perception.path_text import path_text


@pytest.mark.parametrize(
    ('path', 'network', 'text'),
    [
        ((160, 3), {'resolutions': 6, 'exits': 5}, '160 px, exit 4 of 5'),
        ((160, 0), {'resolutions': 6, 'exits': 1}, '160 px'),
        ((224, 3), {'resolutions': 1, 'exits': 5}, 'exit 4 of 5'),
        ((224, 0), {'resolutions': 1, 'exits': 1}, 'exit 1 of 1'),
        ((160, 3), {'exits': 5}, '160 px, exit 4 of 5'),  # not known how many there are
        ((None, 3), {'exits': 5}, 'exit 4 of 5'),  # recorded by an older version
        ((None, 0), {'exits': 1}, 'exit 1 of 1'),
        ((None, None), {'resolutions': 6, 'exits': 5}, ''),
    ],
)
def test_what_the_network_has_only_one_of_is_left_out(path, network, text):
    assert path_text(*path, **network) == text
