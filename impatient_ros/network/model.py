"""The impatient network: a classifier cut into stages, with an exit after each.

    net = ImpatientNetwork.from_torchvision('resnet18', exits=5, classes=10)
    scores = net(images)                    # list of 5 tensors [N, 10], from the first exit to the last
    scores = net.forward_to(images, 1)      # stages 1 and 2 and the second exit, nothing else

The last exit is the classifier's own. Any classifier that torch.fx can trace will do:

    net = ImpatientNetwork.from_timm('resnet10t', exits=4, classes=10, weights='DEFAULT')
    net = ImpatientNetwork.from_module(MyClassifier(), torch.zeros(1, 3, 224, 224), exits=4)

`python -m impatient_ros.network resnet18` lists where a classifier can be cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from impatient_ros.network import families
from impatient_ros.network.assembly import assembled, image_sides, rebuilt
from impatient_ros.network.cut_points import CutPoint, find_cut_points
from impatient_ros.network.private_tensors import give, private_name, private_of, tensors_of
from impatient_ros.network.resolutions import resized, share

__all__ = ['ImpatientNetwork']


class ImpatientNetwork(nn.Module):
    """Stages and exits, as many of the one as of the other.

    `stages[t]` takes the tensor that `stages[t - 1]` returns (the images [N, *input_shape] at first),
    `exits[t]` takes what `stages[t]` returns and gives logits [N, classes]. `stage_macs` and `exit_macs` are
    multiply-accumulates for one image; `config` is JSON-able and has all that is needed to build the network
    anew.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        exits: Sequence[nn.Module],
        config: Mapping[str, Any],
        module: nn.Module,
    ) -> None:
        super().__init__()
        # The classifier that was cut, for `at`. In a tuple it is no submodule: its layers are those of the
        # stages and must not count twice.
        self._classifier = (module,)
        self.stages = nn.ModuleList(stages)
        self.exits = nn.ModuleList(exits)
        self.config: dict[str, Any] = dict(config)
        self.private_names: dict[str, str] = {}  # of tensors that are this resolution's alone, see `at`

    @classmethod
    def from_torchvision(
        cls,
        name: str,
        exits: int | None = None,
        classes: int | None = None,
        weights: str | Path | None = None,
        image_size: int | Sequence[int] = 224,
        cuts: Sequence[str] | None = None,
        *,
        head_share: float | Sequence[float] = 0.05,
        head_kind: str = 'auto',
        **options: Any,
    ) -> ImpatientNetwork:
        """One of torchvision's classifiers, with fresh heads on all its `exits` (default 5) but the last.

        `weights` is None (fresh), 'DEFAULT' or another name of torchvision's weights (downloaded where they
        are not cached), or the path of a state dict (.pth or .safetensors). Where they are for other classes,
        the last layer starts afresh; `classes` defaults to theirs, or 1000. `image_size` is in pixels, or
        (height, width). `cuts` names the cut points of all exits but the last. `head_share` is what the heads
        together may cost, in parts of the backbone's MACs, or a list of what each may; `head_kind` says
        whether they end in the network's own final layer (shared) or one each (own), see `heads.plan_heads`.
        `options` go to torchvision's constructor. Raises ValueError.
        """
        return cls.from_family(
            'torchvision', name, exits, classes, weights, image_size, cuts,
            head_share=head_share, head_kind=head_kind, **options,
        )  # fmt: skip

    @classmethod
    def from_timm(
        cls,
        name: str,
        exits: int | None = None,
        classes: int | None = None,
        weights: str | Path | None = None,
        image_size: int | Sequence[int] | None = None,
        cuts: Sequence[str] | None = None,
        *,
        head_share: float | Sequence[float] = 0.05,
        head_kind: str = 'auto',
        **options: Any,
    ) -> ImpatientNetwork:
        """One of timm's classifiers; see `from_torchvision`.

        `name` may have the tag of weights, as in `resnet10t.c3_in1k`; `weights` is None, 'DEFAULT' (of that
        tag, or timm's choice) or a path. `image_size` defaults to that of timm's weights. `options` go to
        `timm.create_model` and must be what JSON can say. Raises ValueError, UnknownFamilyError without timm.
        """
        return cls.from_family(
            'timm', name, exits, classes, weights, image_size, cuts,
            head_share=head_share, head_kind=head_kind, **options,
        )  # fmt: skip

    @classmethod
    def from_family(
        cls,
        family: str,
        name: str,
        exits: int | None = None,
        classes: int | None = None,
        weights: str | Path | None = None,
        image_size: int | Sequence[int] | None = None,
        cuts: Sequence[str] | None = None,
        *,
        head_share: float | Sequence[float] = 0.05,
        head_kind: str = 'auto',
        **options: Any,
    ) -> ImpatientNetwork:
        """A classifier of any family in `families.names()`; see `from_torchvision`.

        Raises UnknownFamilyError where the family or what it needs is not installed, ValueError, OSError.
        """
        source = families.find(family)
        if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
            raise ValueError(f'classes is {classes!r}: write a whole number, at least 1')
        size = image_sides(source.preprocessing(name).size if image_size is None else image_size)
        options = source.default_options(name, weights) | options
        if weights is None:
            module = source.build(name, classes=classes or 1000, image_size=size, options=options)
        else:
            module = source.load(name, classes=classes, image_size=size, options=options, weights=weights)
        backbone = {'source': family, 'name': name, 'options': options}
        return cls(*assembled(module, (3, *size), exits, cuts, (head_share, head_kind), backbone), module)

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        example_input: Tensor,
        exits: int | None = None,
        classes: int | None = None,
        cuts: Sequence[str] | None = None,
        *,
        head_share: float | Sequence[float] = 0.05,
        head_kind: str = 'auto',
    ) -> ImpatientNetwork:
        """A classifier of one's own, with fresh heads on all its `exits` (default 5) but the last.

        Its layers are used, not copied: training the network trains them. `example_input` [N, 3, H, W] tells
        the size of the images; `classes` may be left out, it is the number of scores that `module` gives.
        Raises CutError where it cannot be traced or cut.
        """
        if not isinstance(example_input, Tensor) or example_input.ndim < 2:
            raise ValueError('example_input is a tensor of images, such as torch.zeros(1, 3, 224, 224)')
        backbone = {'source': 'module', 'class': f'{type(module).__module__}.{type(module).__qualname__}'}
        shape = tuple(example_input.shape[1:])
        made = assembled(module, shape, exits, cuts, (head_share, head_kind), backbone, classes)
        return cls(*made, module)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], module: nn.Module | None = None, *, empty: bool = False
    ) -> ImpatientNetwork:
        """The network that `config` describes, with fresh weights; nothing is downloaded.

        `module` is needed where the network was made by `from_module`. With `empty` parameters have no data
        yet. Raises ValueError, UnknownFamilyError where the classifier's family is not installed.
        """
        stages, heads, module = rebuilt(config, module, empty)
        network = cls(stages, heads, config, module)
        network._make_private()
        return network

    def at(self, side: int) -> ImpatientNetwork:
        """This network for square images of `side` px: the same layers and parameters, other sizes.

        The classifier is cut anew, so that whatever follows from the size of its input is right. What is
        shared are the modules themselves: training one network trains both, and `train()` and `eval()` of
        either set the layers of both. Call it again after the network was moved to another device; of what it
        returns, `at` knows nothing of tensors that are another resolution's alone. Raises
        ValueError, with the reason, where the network does not take images of that size.
        """
        if self.input_shape[1:] == (side, side):
            return self
        (module,) = self._classifier
        stages, exits, config = resized(module, self.exits, self.config, side)
        twin = type(self)(stages, exits, {k: v for k, v in config.items() if k != 'private'}, module)
        share(self, twin)
        if isinstance(own := self._modules.get('private'), nn.ModuleDict) and str(side) in own:
            names = give(twin, own[str(side)])
            twin.private_names = {name: private_name(side, name) for name in names}
        return twin

    def make_private(self, sides: Sequence[int], kinds: Sequence[str]) -> None:
        """Give each of the resolutions `sides` (px, below the network's own) tensors of its own.

        They are of these `kinds` (affine, statistics, depthwise) and begin as copies of the shared ones; `at`
        makes networks that compute with them. Raises ValueError.
        """
        own = self.input_shape[1]
        if self.config.get('private') is not None:
            raise ValueError('this network has private tensors already')
        if not sides or list(sides) != sorted(set(sides)) or not 0 < sides[0] <= sides[-1] < own:
            raise ValueError(f'private tensors at {list(sides)} px: write sides that ascend, below {own}')
        tensors_of(self, kinds)  # before anything is changed
        self.config['private'] = {'sides': list(sides), 'kinds': list(kinds)}
        self._make_private()

    def _make_private(self) -> None:
        private = private_of(self, self.config)
        if private:
            self.private = private

    @staticmethod
    def cut_points(module: nn.Module, example_input: Tensor) -> list[CutPoint]:
        """The places where `module` can be cut, in order. Raises CutError where there is none."""
        return list(find_cut_points(module, tuple(example_input.shape[1:])).points)

    @property
    def classifier(self) -> nn.Module:
        """The classifier that was cut; its layers are those of the stages and of the last exit."""
        return self._classifier[0]

    @property
    def classes(self) -> int:
        return self.config['classes']

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (3, height, width)."""
        return tuple(self.config['input_shape'])

    @property
    def stage_macs(self) -> tuple[int, ...]:
        return tuple(self.config['stage_macs'])

    @property
    def exit_macs(self) -> tuple[int, ...]:
        return tuple(self.config['exit_macs'])

    def costs(self, mode: str = 'contract') -> tuple[float, ...]:
        """MACs from the image to the scores of each exit.

        With its head alone (contract) or all heads so far (interruptible). Raises ValueError for other modes.
        """
        if mode not in ('contract', 'interruptible'):
            raise ValueError(f"mode is {mode!r}: write 'contract' or 'interruptible'")
        heads = self.exit_macs if mode == 'contract' else accumulate(self.exit_macs)
        return tuple(float(a + b) for a, b in zip(accumulate(self.stage_macs), heads, strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        scores = []
        for stage, head in zip(self.stages, self.exits, strict=True):
            x = stage(x)
            scores.append(head(x))
        return scores

    def forward_to(self, x: Tensor, t: int) -> Tensor:
        """The scores of exit `t` (0-based): stages 0..t and exit t run, nothing else. Raises IndexError."""
        if not 0 <= t < len(self.stages):
            raise IndexError(f'exit {t}: this network has exits 0 to {len(self.stages) - 1}')
        for stage in self.stages[: t + 1]:
            x = stage(x)
        return self.exits[t](x)
