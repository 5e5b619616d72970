"""The layer that a classifier ends in, where it is a Linear one: exits can end in it, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from impatient_ros.network.tracing import Trace

__all__ = ['ACTIVATIONS', 'FinalLayer', 'final_layer']

ACTIVATIONS: dict[str, Any] = {
    'identity': nn.Identity,  # of features that a normalisation, say, gives as they are
    'relu': nn.ReLU,
    'relu6': nn.ReLU6,
    'silu': nn.SiLU,
    'hardswish': nn.Hardswish,
    'gelu': nn.GELU,
}
_OTHER_NAMES = {'swish': 'silu'}
# What may stand between the last activation and the layer: it leaves features what they are.
_KEEPING = (
    'pool',
    'mean',
    'flatten',
    'reshape',
    'view',
    'squeeze',
    'permute',
    'dropout',
    'getitem',
    'identity',
)


@dataclass(frozen=True)
class FinalLayer:
    """A classifier's last layer: its path in the module, how many features it takes (the last width), and by
    which of `ACTIVATIONS` these were made.
    """

    path: str
    width: int
    activation: str

    def __post_init__(self) -> None:
        if (
            not isinstance(self.path, str)
            or type(self.width) is not int
            or not 1 <= self.width <= 1 << 20
            or not isinstance(self.activation, str)
            or self.activation not in ACTIVATIONS
        ):
            raise ValueError(f"not the description of a head's final layer: {self}")

    def of(self, module: nn.Module, classes: int) -> nn.Linear:
        """The layer itself, as `module` has it. Raises ValueError where that is another one."""
        try:
            layer = module.get_submodule(self.path)
        except AttributeError as error:
            raise ValueError(f'{type(module).__name__} has no layer {self.path!r} for its exits') from error
        if isinstance(layer, nn.Linear) and layer.weight.shape == (classes, self.width):
            return layer
        raise ValueError(
            f'{type(module).__name__} has {layer} at {self.path!r}: its exits are for a Linear layer of '
            f'{self.width} features and {classes} classes'
        )


def final_layer(module: nn.Module, traced: Trace) -> FinalLayer | None:
    """The Linear layer whose result is the answer of `module`, None where it ends in something else."""
    node = traced.output
    while _operation(node, module) == 'Identity':  # such as timm's flattening of what is flat
        node = node.all_input_nodes[0]
    for path, layer in _ending_at(node, module, traced):
        if isinstance(layer, nn.Linear) and node.all_input_nodes:
            return FinalLayer(path, layer.in_features, _activation(node.all_input_nodes[0], module, traced))
    return None


def _activation(node: fx.Node, module: nn.Module, traced: Trace) -> str:
    """The name of what made the features at `node`; identity for all that is no known activation."""
    while True:
        plain = _operation(node, module)
        names = [plain, *(type(each).__name__ for _, each in _ending_at(node, module, traced))]
        for name in (each.lower().strip('_') for each in names):
            if (known := _OTHER_NAMES.get(name, name)) in ACTIVATIONS and known != 'identity':
                return known
        if not any(word in plain.lower() for word in _KEEPING) or not node.all_input_nodes:
            return 'identity'
        node = node.all_input_nodes[0]


def _operation(node: fx.Node, module: nn.Module) -> str:
    """What `node` calls: a function, a method or a kind of layer, of several in a row the last."""
    if node.op != 'call_module':
        return getattr(node.target, '__name__', str(node.target))
    layer = module.get_submodule(str(node.target))
    while isinstance(layer, nn.Sequential) and len(layer):  # torchvision's are traced whole
        layer = layer[-1]
    return type(layer).__name__


def _ending_at(node: fx.Node, module: nn.Module, traced: Trace) -> list[tuple[str, nn.Module]]:
    """The modules, with their paths, whose call ends in `node`."""
    paths = [path for path, end in traced.aliases.items() if end is node]
    modules = dict(module.named_modules())
    return [(path, modules[path]) for path in paths if path in modules]
