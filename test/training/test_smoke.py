"""training.smoke: from nothing to a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.smoke import CLASSES, main, picture


def test_pictures_of_one_seed_are_the_same_and_classes_differ() -> None:
    first, again = (picture('disc', np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    shown = [picture(label, np.random.default_rng(1)) for label in CLASSES]
    assert len({each.tobytes() for each in shown}) == 3


@pytest.mark.usefixtures('one_thread')
def test_two_epochs_are_trained_evaluated_and_reported(tmp_path: Path) -> None:
    for _ in range(2):  # a second time, too: it begins anew
        assert main([str(tmp_path)]) == 0
    assert (tmp_path / 'report.html').stat().st_size > 10_000
    assert (tmp_path / 'curve.csv').read_text().count('\n') == 3


@pytest.mark.parametrize(('given', 'code'), [([], 2), (['--help'], 0)])
def test_a_folder_is_needed(given: list[str], code: int, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == code
    said = capsys.readouterr()
    assert 'folder' in said.out + said.err
