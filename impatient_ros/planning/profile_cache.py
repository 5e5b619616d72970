"""Latency profiles kept between runs, in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from impatient_ros.planning.latency_profile import LatencyProfile

__all__ = ['cached_profile']


def cached_profile(
    key: Mapping[str, Any],
    make: Callable[[], LatencyProfile],
    *,
    refresh: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> tuple[LatencyProfile, bool]:
    """The profile stored under `key` in the user's cache (XDG_CACHE_HOME), or a new one from `make`.

    A cache that cannot be read is measured again; one that cannot be written is done without.

    Returns:
        the profile, and whether it came from the cache.
    """
    home = environ.get('HOME') or tempfile.gettempdir()
    base = environ.get('XDG_CACHE_HOME') or os.path.join(home, '.cache')
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:24]
    path = Path(base) / 'impatient_ros' / 'latency' / f'{name}.json'
    if not refresh:
        try:
            stored = json.loads(path.read_text(encoding='utf-8'))
            if stored['key'] == dict(key):
                return LatencyProfile.from_dict(stored['profile']), True
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
    profile = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two nodes may profile at once: each writes a file of its own and renames it into place.
        with tempfile.NamedTemporaryFile('w', encoding='utf-8', dir=path.parent, delete=False) as file:
            json.dump({'key': dict(key), 'profile': profile.to_dict()}, file)
        os.replace(file.name, path)
    except OSError:
        pass
    return profile, False
