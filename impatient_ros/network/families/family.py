"""What a family of classifiers is: how one is built by name, and where its weights come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from impatient_ros.images.preprocessing import Preprocessing
from impatient_ros.network.families.weights import classes_of, fit, is_path, read_state
from impatient_ros.suggestions import did_you_mean

__all__ = ['Family', 'UnknownFamilyError']


class UnknownFamilyError(ValueError):
    """A family of classifiers, or the package behind it, is not installed or cannot be imported."""


class Family(ABC):
    """Classifiers by name. A family of one's own defines `name`, `classifiers` and `create`.

    Names and options may come from a file that nobody vouches for: `create` must import nothing that they
    name, and read no file.
    """

    name: str

    @abstractmethod
    def classifiers(self) -> Sequence[str]:
        """The names that `build` knows."""

    @abstractmethod
    def create(
        self, name: str, *, classes: int, image_size: tuple[int, int], options: Mapping[str, Any]
    ) -> nn.Module:
        """The classifier `name`, one of `classifiers()`, with fresh weights.

        It takes images [N, 3, *image_size] and gives scores [N, classes]. Raises ValueError for sizes that it
        does not take; errors of the constructor may go through.
        """

    def default_options(self, name: str, weights: str | Path | None) -> dict[str, Any]:
        """The options that the family's own `weights` ask for."""
        return {}

    def preprocessing(self, name: str) -> Preprocessing:
        """How the family's own weights want their images, and of what size."""
        return Preprocessing.for_image_size(224)

    def labels(self, name: str, weights: str | Path | None) -> tuple[str, ...] | None:
        """The names of the classes of the family's own `weights`, where it knows them."""
        return None

    def download(self, name: str, weights: str) -> Mapping[str, Tensor]:
        """The state dict behind `weights`, a name of the family's own. Raises ValueError."""
        raise ValueError(f'{self.name} has no weights {weights!r} for {name}: write a path')

    def check(self, name: str) -> None:
        """Raise ValueError for a name that the family does not have."""
        known = self.classifiers()
        if name not in known:
            hint = did_you_mean(name, known, f'there are {", ".join(known)}')
            raise ValueError(f'{self.name} has no classifier {name!r}; {hint}')

    def build(
        self,
        name: str,
        *,
        classes: int,
        image_size: tuple[int, int],
        options: Mapping[str, Any],
        empty: bool = False,
    ) -> nn.Module:
        """The classifier with fresh weights, or `empty`: its parameters without data. Raises ValueError."""
        self.check(name)
        try:
            with _Empty() if empty else nullcontext():
                return self.create(name, classes=classes, image_size=image_size, options=options)
        except UnknownFamilyError:
            raise
        except Exception as error:  # constructors fail in ways of their own
            asked = f'images of {image_size[0]}x{image_size[1]}'
            asked += f' with {dict(options)}' if options else ''
            reason = str(error).strip().split('\n', 1)[0] or type(error).__name__
            raise ValueError(f'{self.name} does not build {name} for {asked}: {reason}') from error

    def load(
        self,
        name: str,
        *,
        classes: int | None,
        image_size: tuple[int, int],
        options: Mapping[str, Any],
        weights: str | Path,
    ) -> nn.Module:
        """The classifier with `weights`: a name of the family's own (downloaded) or a state dict's path.

        Where they are for other classes the last layer starts afresh; `classes` defaults to theirs. Raises
        ValueError, OSError.
        """
        empty = self.build(name, classes=1000, image_size=image_size, options=options, empty=True)
        state = self.read_weights(name, weights)
        module = self.build(
            name,
            classes=classes or classes_of(empty, state) or 1000,
            image_size=image_size,
            options=options,
        )
        self.load_weights(module, state, name)
        return module

    def read_weights(self, name: str, weights: str | Path) -> Mapping[str, Tensor]:
        """The state dict behind `weights`. Raises ValueError, FileNotFoundError."""
        return read_state(weights) if is_path(weights) else self.download(name, str(weights))

    def load_weights(self, module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
        """Load `state` into `module`. Raises ValueError where it does not fit."""
        fit(module, state, name)


class _Empty(TorchFunctionMode):
    """torch.empty, of which parameters are made, makes meta tensors; computed values stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return func(*args, **kwargs)
