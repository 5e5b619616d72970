"""training.risk.costs: MACs, seconds that were measured, seconds that were given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from simulation import profile

from impatient_ros.network import ImpatientNetwork
from training.model.networks import NetworkOptions, build
from training.risk.costs import exit_costs, increasing, path_costs


@pytest.fixture(scope='module')
def network() -> ImpatientNetwork:
    options = {'widths': [4, 8], 'blocks': 1}
    return build(
        NetworkOptions(module='training.model.small_backbones.SmallResNet', module_options=options, exits=2),
        classes=3,
        image_size=(32, 32),
    )


def test_macs_are_the_networks_own(network: ImpatientNetwork) -> None:
    assert exit_costs(network) == network.costs('contract')
    assert exit_costs(network, mode='interruptible') == network.costs('interruptible')


def test_seconds_are_measured_and_the_network_stays_as_it_was(
    network: ImpatientNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('training.risk.costs.TIME_LIMIT', 0.1)
    network.train()
    costs = exit_costs(network, 'measured', overhead=1.0)
    assert network.training
    assert all(1 < c < 2 for c in costs)
    assert network.eval()


def test_seconds_of_a_robot_come_from_its_profile(network: ImpatientNetwork, tmp_path: Path) -> None:
    measured = profile((0.01, 0.02), (0.003, 0.001))
    file = tmp_path / 'profile.json'
    for content in (measured.to_dict(), {'key': {}, 'profiles': [measured.to_dict()]}):
        file.write_text(json.dumps(content))
        assert exit_costs(network, str(file)) == pytest.approx((0.013, 0.031))
        assert exit_costs(network, str(file), 'interruptible', 0.1) == pytest.approx((0.113, 0.134))


def test_costs_of_paths_are_those_of_one_resolution_after_the_other(network: ImpatientNetwork) -> None:
    small = network.at(16)
    assert path_costs([small, network]) == (*small.costs(), *network.costs())
    assert path_costs([small, network], [1, 2, 3, 4], overhead=1.0) == (2, 3, 4, 5)
    with pytest.raises(ValueError, match='2 costs for 2 exits at 2 resolutions'):
        path_costs([small, network], [1, 2])


def test_seconds_of_several_resolutions_come_from_the_robots_profiles(
    network: ImpatientNetwork, tmp_path: Path
) -> None:
    profiles = [profile((scale * 0.01, scale * 0.02), (0.003, 0.001)) for scale in (1, 2, 3)]
    file = tmp_path / 'profile.json'
    content = {'key': {'resolutions': [16, 24, 32]}, 'profiles': [each.to_dict() for each in profiles]}
    file.write_text(json.dumps(content))
    expected = [cost for each in (profiles[0], profiles[2]) for cost in each.costs('contract')]
    assert path_costs([network.at(16), network], str(file)) == pytest.approx(expected)
    assert exit_costs(network.at(24), str(file)) == pytest.approx(profiles[1].costs('contract'))
    with pytest.raises(ValueError, match='no latencies at 20 px'):
        path_costs([network.at(20), network], str(file))


def test_what_is_out_of_order_counts_as_the_dearest_before() -> None:
    assert increasing((1.0, 3.0, 2.0, 4.0)) == (1.0, 3.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ('costs', 'mode', 'overhead', 'message'),
    [
        ('money', 'contract', 0.0, "write 'macs', 'measured'"),
        ([0.1], 'contract', 0.0, '1 costs for 2 exits'),
        ([0.1, 0.2], 'hasty', 0.0, "write 'contract'"),
        ('macs', 'hasty', 0.0, "write 'contract'"),
        ('macs', 'contract', 0.1, 'overhead is in seconds'),
        ([0.1, 0.2], 'contract', -0.1, 'at least 0'),
    ],
)
def test_what_makes_no_costs_is_refused(
    costs: str | list[float], mode: str, overhead: float, message: str, network: ImpatientNetwork
) -> None:
    with pytest.raises(ValueError, match=message):
        exit_costs(network, costs, mode, overhead)


def test_a_file_that_is_no_profile_is_named(network: ImpatientNetwork, tmp_path: Path) -> None:
    (tmp_path / 'profile.json').write_text('[]')
    with pytest.raises(ValueError, match='is no latency profile'):
        exit_costs(network, str(tmp_path / 'profile.json'))
