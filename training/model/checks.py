"""Which pictures go with which options of the network and the risk."""

from __future__ import annotations

from collections.abc import Sequence

from impatient_ros.network import ImpatientNetwork
from training.model.networks import NetworkOptions
from training.model.steps import sharing_exits
from training.risk.options import RiskOptions

__all__ = ['check_features', 'check_pictures']


def check_features(network: ImpatientNetwork, risk: RiskOptions) -> None:
    """Raises ValueError where no head gives features that could be compared with the network's."""
    if risk.feature_weight and not sharing_exits(network):
        raise ValueError(
            "model.risk.feature_weight compares features of heads that end in the network's own final layer, "
            'and none does: write model.network.head_kind shared, or leave it out'
        )


def check_pictures(
    network: NetworkOptions, risk: RiskOptions, *, sizes: Sequence[int], labelled: bool
) -> None:
    """Raises ValueError where the pictures, learned at so many `sizes`, do not fit the options."""
    unlabelled = risk.method == 'distil'
    if unlabelled == labelled:
        raise ValueError(
            'method distil learns from pictures without labels, and no other method does: write '
            'model.risk.method distil, model.network.start CHECKPOINT and data.source PICTURES'
        )
    if unlabelled and 'statistics' in network.private:
        raise ValueError(
            'method distil has nothing to learn in running averages, which it leaves as they are: leave '
            'statistics out of model.network.private'
        )
    if unlabelled and risk.class_weights != 'none':
        raise ValueError(
            'pictures without labels have no classes to weigh: leave out model.risk.class_weights'
        )
    if network.resolutions and len(set(sizes)) > 1:
        raise ValueError(
            'data.sizes and model.network.resolutions both say at which sizes to learn: write one of them'
        )
