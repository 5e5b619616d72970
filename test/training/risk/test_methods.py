"""training.risk.methods and training.model.training_module: what learns under which method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from training.model.networks import NetworkOptions
from training.model.optimisation import OptimiserOptions
from training.model.small_backbones import SmallResNet
from training.model.training_module import ImpatientModule
from training.risk.methods import METHODS, chosen_exits, joint_risk
from training.risk.options import RiskOptions

NETWORK = NetworkOptions(
    module='training.model.small_backbones.SmallResNet', module_options={'widths': [4, 8]}, exits=3
)


class Trainer:
    """What the module asks of Lightning's trainer."""

    max_epochs = 10
    current_epoch = 0


def module(risk: RiskOptions, network: NetworkOptions = NETWORK) -> ImpatientModule:
    torch.manual_seed(0)
    made = ImpatientModule(network, risk, OptimiserOptions(averaging=0.0))
    made.prepare(3, (32, 32))
    made._trainer = Trainer()  # type: ignore[assignment]
    made.network.train()
    return made


def gradients(made: ImpatientModule) -> set[str]:
    """The parts of the network that a step would move: 'stages.0', 'exits.2' and so on."""
    made.zero_grad()
    x, target = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    made.risk_of(x, target)[0].backward()
    moved = {n for n, p in made.network.named_parameters() if p.grad is not None and p.grad.any()}
    return {'.'.join(name.split('.')[:2]) for name in moved}


ALL = {f'{kind}.{t}' for kind in ('stages', 'exits') for t in range(3)}


def test_each_method_moves_its_own_parts() -> None:
    assert gradients(module(RiskOptions())) == ALL
    assert gradients(module(RiskOptions('uniform'))) == ALL
    assert gradients(module(RiskOptions('last'))) == {'stages.0', 'stages.1', 'stages.2', 'exits.2'}
    assert gradients(module(RiskOptions('truncated', 2))) == {'stages.0', 'stages.1', 'exits.1'}


def test_separate_heads_leave_the_backbone_alone(tmp_path: pytest.TempPathFactory) -> None:
    state = tmp_path / 'state.pth'  # type: ignore[operator]
    torch.save(module(RiskOptions('last')).network.state_dict(), state)
    start = NetworkOptions(**{**vars(NETWORK), 'start': str(state)})
    made = module(RiskOptions('separate'), start)
    assert gradients(made) == {'exits.0', 'exits.1'}
    assert [p.requires_grad for p in made.network.stages.parameters()].count(True) == 0
    # Weights of a backbone may be for other classes: then its classifier learns like the other heads.
    own = SmallResNet(3, (4, 8), 2)
    torch.save(own.state_dict(), state)
    weights = NetworkOptions(**{**vars(NETWORK), 'weights': str(state)})
    assert gradients(module(RiskOptions('separate'), weights)) == {'exits.0', 'exits.1', 'exits.2'}


def test_joint_weights_are_those_of_the_budgets_and_uniform_ones_are_alike() -> None:
    early, late = (module(RiskOptions(budgets=name)).risk.weights for name in ('early', 'late'))
    assert early[0] > 2 * early[2]
    assert late[2] > 2 * late[0]
    assert module(RiskOptions('uniform')).risk.weights.tolist() == pytest.approx([1 / 3] * 3)


def test_a_mixed_schedule_begins_with_the_backbone() -> None:
    made = module(RiskOptions(mixed=0.5))
    assert gradients(made) == {'stages.0', 'stages.1', 'stages.2', 'exits.2'}
    made.on_before_optimizer_step(None)  # type: ignore[arg-type]
    assert all(p.grad is None for p in made.network.exits[:-1].parameters())
    made.trainer.current_epoch = 5  # type: ignore[misc]
    assert gradients(made) == ALL


def test_at_first_heads_that_share_the_final_layer_leave_it_to_the_backbone() -> None:
    network = replace(NETWORK, head_kind='shared')
    made = module(RiskOptions(mixed=0.5), network)
    final = set(made.network.exits[-1].parameters())
    assert final < set(made.network.exits[0].parameters())
    gradients(made)
    made.on_before_optimizer_step(None)  # type: ignore[arg-type]
    assert all(p.grad is not None and p.grad.any() for p in final)
    assert all(p.grad is None for p in set(made.network.exits[:-1].parameters()) - final)


def test_equilibrium_and_distillation_are_options_of_joint_training() -> None:
    x, target = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    plain = module(RiskOptions()).risk_of(x, target)
    equal = module(RiskOptions(equilibrium=True)).risk_of(x, target)
    torch.testing.assert_close(equal[1], plain[1])
    assert equal[0].item() == pytest.approx(plain[1].sum().item(), rel=1e-5)  # weights are in the gradients
    assert module(RiskOptions(distillation=0.5)).risk_of(x, target)[0] != plain[0]


def test_with_distillation_the_last_exit_has_the_weight_of_a_teacher() -> None:
    plain, taught = (module(RiskOptions(budgets='early', distillation=g)).risk.weights for g in (0.0, 0.5))
    assert taught[:-1].tolist() == plain[:-1].tolist()
    assert taught[-1].item() == pytest.approx((plain[-1] + 0.5 * plain[:-1].sum()).item())
    alone = module(RiskOptions('last', distillation=0.5)).risk
    assert alone.distillation == 0


def test_without_labels_features_count_by_default_and_elsewhere_where_asked_for() -> None:
    def weight(**options: Any) -> float:
        return joint_risk(RiskOptions(**options), (0.5, 0.5), None, ('1', '2')).feature_weight

    assert weight(method='distil') == 1
    assert weight(method='distil', feature_weight=0.0) == 0
    assert weight(method='joint', distillation=0.5) == 0
    assert weight(method='joint', distillation=0.5, feature_weight=2.0) == 2


def test_costs_in_seconds_go_with_budgets_in_seconds(tmp_path: pytest.TempPathFactory) -> None:
    budgets = tmp_path / 'robot.yaml'  # type: ignore[operator]
    budgets.write_text('distribution: empirical\nsamples: [0.01, 0.02, 0.02, 0.05]\n')
    made = module(RiskOptions(budgets=str(budgets), costs=[0.01, 0.02, 0.03], floor=0.0))
    assert made.exit_share == pytest.approx((0, 0.25, 0.5, 0.25))
    with pytest.raises(ValueError, match='reaches even the first exit'):
        module(RiskOptions(budgets=str(budgets)))
    logged = tmp_path / 'logged.yaml'  # type: ignore[operator]
    logged.write_text('about: {unit: s}\n' + budgets.read_text())
    with pytest.raises(ValueError, match='budgets in seconds'):
        module(RiskOptions(budgets=str(logged)))
    # What is measured by chance out of order counts as the dearest before it.
    made = module(RiskOptions(budgets=str(budgets), costs=[0.02, 0.01, 0.03], floor=0.0))
    assert made.exit_share == pytest.approx((0.25, 0, 0.5, 0.25))


def test_every_method_is_known_and_others_are_refused() -> None:
    for method in METHODS:
        chosen = chosen_exits(method, 4, 2 if method == 'truncated' else None)
        assert set(chosen) <= set(range(4))
    with pytest.raises(ValueError, match='exits 1 to 4'):
        chosen_exits('truncated', 4, 5)


@pytest.mark.parametrize(
    'risk',
    [
        RiskOptions(mixed=1.0),
        RiskOptions(mode='fast'),
        RiskOptions(floor=2.0),
        RiskOptions(train_backbone=True),
        RiskOptions(feature_weight=1.0),
        RiskOptions(method='last', feature_weight=1.0, distillation=0.5),
        RiskOptions(feature_weight=1.0, distillation=0.5),  # no head of this network shares the final layer
    ],
)
def test_options_that_do_not_fit_are_refused(risk: RiskOptions) -> None:
    with pytest.raises(ValueError, match='write'):
        module(risk)
