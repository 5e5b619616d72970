"""The families of classifiers that a network is built from by name, in one table.

    module = find('torchvision').build('resnet18', classes=10, image_size=(224, 224), options={})

A further family is a `Family` that an installed package names under the entry point group
`impatient_ros.backbones`:

    [project.entry-points.'impatient_ros.backbones']
    ours = 'our_package.backbones:FAMILY'

Installed code is trusted; a checkpoint says which family, which of its classifiers and with which options.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from impatient_ros.network.families.family import Family, UnknownFamilyError
from impatient_ros.suggestions import did_you_mean

__all__ = ['GROUP', 'Family', 'UnknownFamilyError', 'find', 'names']

GROUP = 'impatient_ros.backbones'
_OURS = {
    'torchvision': 'impatient_ros.network.families.torchvision:FAMILY',
    'timm': 'impatient_ros.network.families.timm:FAMILY',
}


def names() -> list[str]:
    """The names of all families, our own first."""
    return list(_table())


def find(name: str) -> Family:
    """The family of that name; its code is imported now. Raises UnknownFamilyError."""
    entry = _table().get(name)
    if entry is None:
        hint = did_you_mean(name, names(), 'an unknown name')
        raise UnknownFamilyError(
            f'no family of classifiers {name!r} is installed ({hint}): '
            f'there are {", ".join(names())}; another comes with a package that has an entry point of {GROUP}'
        )
    try:
        family = entry.load()
    except Exception as error:  # foreign code may fail in any way
        raise UnknownFamilyError(
            f'the family {name!r} ({entry.value}) cannot be imported: {error}'
        ) from error
    if not isinstance(family, Family):
        raise UnknownFamilyError(
            f'the family {name!r} ({entry.value}) is a {type(family).__name__}: it must be an object of a '
            'class derived from impatient_ros.network.families.Family'
        )
    return family


def _table() -> dict[str, EntryPoint]:
    ours = [EntryPoint(name, value, GROUP) for name, value in _OURS.items()]
    installed = [each for each in entry_points(group=GROUP) if each.name not in _OURS]
    return {each.name: each for each in [*ours, *installed]}
