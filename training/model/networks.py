"""From options to the network that is trained: a classifier of some family or a module of one's own.

network = build(NetworkOptions(backbone='resnet18', exits=5), classes=10, image_size=(224, 224))
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from impatient_ros.checkpoint import read
from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network import ImpatientNetwork
from impatient_ros.network.families import find
from impatient_ros.network.families.weights import read_state

__all__ = [
    'NetworkOptions',
    'build',
    'carry_over',
    'memory_layout',
    'module_of',
    'pretrained_preprocessing',
    'trusted',
]

log = logging.getLogger(__name__)

# Whose modules are built because a checkpoint names them: what comes with this project or with torchvision.
TRUSTED = ('training.model.small_backbones.', 'torchvision.models.')


@dataclass(frozen=True)
class NetworkOptions:
    """Which network, and what it starts from.

    Attributes:
        backbone: one of the family's classifiers; left out where `module` is given.
        module: a class of one's own, as package.module.Class, that traces with torch.fx.
        module_options: what the class is built with; `classes` or `num_classes` is added where it takes one.
        exits: how many, the backbone's own classifier included.
        cuts: after which layers the first exits go; or even: evenly by cost; or budgets: where the expected
            accuracy under model.risk.budgets is highest, at most `exits` of them (see training.placement).
            Default: budgets where model.risk.budgets is another than its default, else even.
        head_share: what the heads together may cost, in parts of the backbone, or each head (a list).
        head_kind: whether heads end in the network's own final layer (shared) or one each (own); auto: shared
            for many classes.
        weights: pretrained ones of the backbone: DEFAULT or another name of the family's, or a state dict.
        start: a checkpoint (.safetensors) of the same classifier to start from, wherever it is cut; heads at
            the same exits included. Layers whose shape differs, as for other classes, start afresh.
        family: whose classifier `backbone` is: torchvision, timm or an installed one.
        resolutions: sides of the pictures to learn at, px, ascending; the last is the network's own. Default:
            that one alone.
        private: what smaller resolutions have for themselves, to begin with copies of what is shared: affine
            (scales and shifts of normalisations), statistics (their running averages), depthwise (kernels).
        backbone_options: what the family builds the backbone with.
        private_sides: which resolutions have; default: all but the largest.
    """

    backbone: str | None = None
    module: str | None = None
    module_options: dict[str, Any] = field(default_factory=dict)
    exits: int = 5
    cuts: list[str] | Literal['even', 'budgets'] | None = None
    head_share: float | list[float] = 0.05
    head_kind: str = 'auto'
    weights: str | None = None
    start: str | None = None
    family: str = 'torchvision'
    resolutions: list[int] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    private_sides: list[int] | None = None
    backbone_options: dict[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """What there is to say of it in a checkpoint's provenance."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {}, [])}


def build(
    options: NetworkOptions, *, classes: int, image_size: tuple[int, int], whole: bool = False
) -> ImpatientNetwork:
    """The network with fresh heads, or with those of `options.start`. Raises ValueError, OSError.

    With `whole` all of its last exit's path has to come from there.
    """
    if options.backbone is None and options.module is None and options.start is not None:
        options = _as_started(options)
    if (options.backbone is None) == (options.module is None):
        raise ValueError(
            'model.network: write either backbone (one of the family, such as resnet18) or module (a class '
            'of your own, such as training.model.small_backbones.SmallResNet), or start alone'
        )
    if type(options.exits) is not int or options.exits < 1:
        raise ValueError(f'model.network.exits is {options.exits}: write a whole number, at least 1')
    cuts = None if options.cuts == 'even' else options.cuts
    if cuts == 'budgets':
        raise ValueError(
            'model.network.cuts is budgets: training.train chooses them before it builds the network'
        )
    if options.module is not None:
        own = module_of(options.module, options.module_options, classes)
        if options.weights is not None:
            own.load_state_dict(read_state(options.weights))
        network = ImpatientNetwork.from_module(
            own,
            torch.zeros(1, 3, *image_size),
            exits=options.exits,
            classes=classes,
            cuts=cuts,
            head_share=options.head_share,
            head_kind=options.head_kind,
        )
    else:
        network = ImpatientNetwork.from_family(
            options.family,
            str(options.backbone),
            exits=options.exits,
            classes=classes,
            weights=options.weights,
            image_size=image_size,
            cuts=cuts,
            head_share=options.head_share,
            head_kind=options.head_kind,
            **options.backbone_options,
        )
    if options.start is not None:
        state = read_state(options.start)
        fresh = carry_over(network, state, options.start)
        path = ('stages.', f'exits.{len(network.exits) - 1}.')
        if whole and (missing := [name for name in fresh if name.startswith(path)]):
            raise ValueError(
                f'{options.start} is of another network: it has no {missing[0]} that fits; leave out '
                'model.network.backbone, or write the one that it was made with'
            )
    if options.private:
        sides = options.resolutions[:-1] if options.private_sides is None else options.private_sides
        if not sides or set(sides) - set(options.resolutions[:-1]):
            raise ValueError(
                f'model.network.private at {list(sides)} px: write model.network.resolutions, and '
                f'private_sides among those below the largest; they are {list(options.resolutions)}'
            )
        network.make_private(sides, options.private)  # copies of what was carried over
        if options.start is not None and any(name.startswith('private.') for name in state):
            carry_over(network, state, options.start)
    return network


def _as_started(options: NetworkOptions) -> NetworkOptions:
    """With the classifier of the checkpoint `start`, and, for as many exits, its cuts. Raises ValueError."""
    config = read(str(options.start)).config
    backbone, cuts = config['backbone'], config['cuts'][:-1]
    if backbone['source'] == 'module':
        raise ValueError(f'{options.start} has a network of {backbone["class"]}: write model.network.module')
    if options.cuts is None and options.exits == len(cuts) + 1:
        options = replace(options, cuts=cuts)
    return replace(
        options,
        family=backbone['source'],
        backbone=backbone['name'],
        backbone_options=backbone['options'],
    )


def pretrained_preprocessing(options: NetworkOptions) -> Preprocessing | None:
    """How the pictures that the network has learnt from were prepared; None where it has learnt nothing."""
    if options.start is not None:
        return read(options.start).preprocessing
    if options.backbone is None or options.weights is None:
        return None
    return find(options.family).preprocessing(options.backbone)


def trusted(path: str) -> bool:
    """Whether the module `path` may be built because a file names it."""
    return path.startswith(TRUSTED)


def module_of(path: str, options: Mapping[str, Any], classes: int | None) -> nn.Module:
    """The module `path` (package.module.Class) with `options` and, where given, the number of classes.

    Raises ValueError.
    """
    package, _, name = path.rpartition('.')
    try:
        kind = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f'module {path!r} cannot be imported ({error}): write package.module.Class'
        ) from error
    try:
        accepted = inspect.signature(kind).parameters
        takes = [key for key in ('classes', 'num_classes') if key in accepted and key not in options]
        added = {key: classes for key in takes if classes is not None}
        return _checked(kind(**options, **added), path)
    except TypeError as error:
        raise ValueError(f'module {path} cannot be built with {dict(options)}: {error}') from error


def _checked(module: Any, path: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise ValueError(f'module {path} makes a {type(module).__name__}: a torch.nn.Module is needed')
    return module


def carry_over(network: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> Sequence[str]:
    """Load what fits of a network of the same classifier; returns the names that start afresh. ValueError.

    The classifier's own layers fit wherever either network is cut; heads where they stand at the same exit.
    """
    own = network.state_dict()
    given = {plain: state[name] for name, plain in _plain_names(state).items()}
    found = {name: given.get(plain) for name, plain in _plain_names(own).items()}
    fitting = {
        name: value for name, value in found.items() if value is not None and own[name].shape == value.shape
    }
    if not fitting:
        raise ValueError(f'{path}: nothing in it fits this network; it must be of the same build')
    network.load_state_dict({**own, **fitting})
    fresh = sorted(own.keys() - fitting.keys())
    log.info('%s: %d of %d tensors carried over', path, len(fitting), len(own))
    return fresh


def _plain_names(names: Iterable[str]) -> dict[str, str]:
    """By its name in a network's state, what a tensor of the classifier itself, of its stages and last exit,
    is called without them; those of heads stay as they are.
    """
    names = list(names)
    last = max((int(stage[1]) for name in names if (stage := re.match(r'stages\.(\d+)\.', name))), default=0)
    # Private tensors have / for the dot.
    prefix = re.compile(rf'^(private\.\d+\.)?(?:stages[./]\d+|exits[./]{last})[./]')
    return {name: prefix.sub(lambda found: f'{found[1] or ""}classifier.', name) for name in names}


def memory_layout(network: nn.Module) -> torch.memory_format:
    """Channels last, the faster layout, unless torch would crash with it.

    oneDNN 3.12 (torch 2.14) on processors without AVX-512 writes beyond its memory in the weight gradient of
    a strided 1x1 convolution with fewer than 8 input channels.
    """
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d) or layer.in_channels >= 8:
            continue
        if layer.kernel_size == (1, 1) and layer.stride != (1, 1):
            return torch.contiguous_format
    return torch.channels_last
