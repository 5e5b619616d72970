"""training.model.stopping: when a training ends, and the warning at chance level."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from training.model.stopping import ChanceWarning, Patience
from training.model.training_module import VALIDATION_RISK, ImpatientModule


class Strategy:
    def reduce_boolean_decision(self, decision: bool, all: bool) -> bool:
        return decision


def trainer(**values: Any) -> Any:
    defaults = {'should_stop': False, 'fast_dev_run': False, 'strategy': Strategy(), 'current_epoch': 0}
    return SimpleNamespace(**{**defaults, 'max_epochs': 9, 'sanity_checking': False, **values})


def after(patience: Patience, risks: list[float], of: Any) -> int:
    """How many epochs of these risks are trained before it ends."""
    for done, risk in enumerate(risks, 1):
        of.callback_metrics = {VALIDATION_RISK: torch.tensor(risk)}
        patience._run_early_stopping_check(of)
        if of.should_stop:
            return done
    return len(risks)


def test_a_training_ends_after_so_many_epochs_without_progress() -> None:
    of = trainer()
    patience = Patience(2)
    patience.on_train_start(of, None)  # type: ignore[arg-type]
    assert not of.should_stop
    assert after(patience, [1.0, 0.9, 0.95, 0.8, 0.85, 0.81, 0.1], of) == 6


def test_what_it_ended_stays_ended_unless_there_are_to_be_more_epochs() -> None:
    of = trainer()
    ended = Patience(2)
    ended.on_train_start(of, None)  # type: ignore[arg-type]
    assert after(ended, [1.0, 1.1, 1.2, 1.3], of) == 3
    for epochs, patience, stops in ((9, 2, True), (20, 2, False), (9, 3, False)):
        again, resumed = Patience(patience), trainer(max_epochs=epochs)
        again.load_state_dict(ended.state_dict())
        again.on_train_start(resumed, None)  # type: ignore[arg-type]
        assert resumed.should_stop == stops
        assert again.patience == patience


@pytest.mark.parametrize(
    ('accuracies', 'epoch', 'warned'),
    [
        ([0.5, 0.52], 3, True),  # one class in two
        ([0.5, 0.9], 3, False),
        ([0.5, 0.52], 2, False),  # too early to say
        ([0.5, 0.52], 9, True),
        ([0.5, 0.52], 5, False),  # said before
    ],
)
def test_a_network_that_learns_nothing_is_pointed_out(
    accuracies: list[float], epoch: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    module = ImpatientModule.__new__(ImpatientModule)
    torch.nn.Module.__init__(module)
    module.risk_options = SimpleNamespace(method='joint')  # type: ignore[assignment]
    module.validation = [{'accuracy': accuracies}]

    class Labelled:
        labels, targets = ('hat', 'shoes'), np.repeat([0, 1], 50)

        def __len__(self) -> int:
            return 100

    of = trainer(current_epoch=epoch - 1, datamodule=SimpleNamespace(validation=Labelled()))
    with caplog.at_level(logging.WARNING):
        ChanceWarning().on_train_epoch_end(of, module)
    assert ("always answering 'hat' would be on 50.0%" in caplog.text) == warned
