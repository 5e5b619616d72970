"""training.scoring.exit_scores: accuracy and calibration per exit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork
from training.data.labelled_pictures import Pictures
from training.scoring.exit_scores import Evaluation, evaluate


def scores(count: int = 3000, scale: float = 3.0) -> Evaluation:
    """Two exits, the first over-confident by `scale`, the second calibrated."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 4, generator=generator)
    target = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return Evaluation((scale * logits, logits), target)


def test_accuracy_is_the_share_of_right_answers() -> None:
    logits = torch.eye(3)[[0, 1, 2, 0]]
    wrong = torch.eye(3)[[1, 1, 2, 1]]
    assert Evaluation((logits, wrong), torch.tensor([0, 1, 2, 0])).accuracies == (1.0, 0.5)


def test_temperatures_and_errors_are_per_exit() -> None:
    evaluation = scores()
    assert evaluation.temperatures() == pytest.approx((3.0, 1.0), rel=0.1)
    over, calibrated = evaluation.calibration_errors()
    assert over > 0.1
    assert calibrated < 0.03
    assert max(evaluation.calibration_errors((3.0, 1.0))) < 0.03


def test_held_out_errors_do_not_use_a_pictures_own_half() -> None:
    """One half of the pictures is right, the other wrong: temperatures from the other half make it worse."""
    target = torch.zeros(40, dtype=torch.long)
    logits = torch.zeros(40, 2)
    logits[0::2, 0] = 2.0
    logits[1::2, 1] = 2.0
    evaluation = Evaluation((logits,), target)
    assert evaluation.held_out_calibration_errors()[0] > 0.3
    assert evaluation.calibration_errors(evaluation.temperatures())[0] < 0.1
    before = evaluation.logits[0].clone()
    evaluation.held_out_calibration_errors()
    assert torch.equal(evaluation.logits[0], before)
    assert max(scores().held_out_calibration_errors()) < 0.03


def test_evaluation_sees_what_the_runtime_sees() -> None:
    torch.manual_seed(0)
    network = ImpatientNetwork.from_torchvision('shufflenet_v2_x0_5', exits=2, classes=3, image_size=32)
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 255, (40 + i % 3, 50, 3), np.uint8) for i in range(66))
    pictures = Pictures(('a', 'b', 'c'), images, np.arange(66) % 3, tuple(map(str, range(66))))
    preprocessing = Preprocessing(32, 36)
    evaluation = evaluate(network, pictures, preprocessing)
    assert not network.training
    assert [z.shape for z in evaluation.logits] == [(66, 3)] * 2
    with torch.inference_mode():
        alone = network.forward_to(torch.from_numpy(preprocessing(images[65])), 1)
    torch.testing.assert_close(evaluation.logits[1][65:], alone, rtol=1e-4, atol=1e-6)
