"""A path in words, for people: the same ones in logs, pictures, diagnostics and displays."""

from __future__ import annotations

__all__ = ['path_text']


def path_text(resolution: int | None, exit_index: int | None, *, resolutions: int = 0, exits: int = 0) -> str:
    """'160 px, exit 4 of 5'; what the network has only one of is left out: '160 px' or 'exit 4 of 5'.

    Args:
        resolution: px; None: not known (recorded before there were any).
        exit_index: 0-based; None: there was none, and the text is empty.
        resolutions, exits: how many the network has; 0: not known.
    """
    if exit_index is None:
        return ''
    size = f'{resolution} px' if resolution is not None and resolutions != 1 else ''
    number = f'exit {exit_index + 1} of {exits}' if exits != 1 or not size else ''
    return ', '.join(filter(None, (size, number)))
