"""Exported models kept between runs, in the user's cache (XDG_CACHE_HOME/impatient_ros/onnx)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ['CachedModel', 'model_cache']

KEPT = 8  # files; an older one is exported again when it is needed
_DIGEST = hashlib.sha256().digest_size


class CachedModel:
    """The place of one model, found by everything that it depends on.

    A file is its contents' SHA-256 and the contents; one that does not match (cut off, damaged) is as good
    as none. A cache that cannot be written is done without.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """The stored model, or None."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return None
        digest, model = data[:_DIGEST], data[_DIGEST:]
        return model if hashlib.sha256(model).digest() == digest else None

    def write(self, model: bytes) -> None:
        """Store it, whole or not at all; two processes may do so at once."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path.parent, delete=False) as file:
                try:
                    file.write(hashlib.sha256(model).digest())
                    file.write(model)
                except OSError:
                    os.unlink(file.name)
                    raise
            os.replace(file.name, self.path)
            self._forget_old()

    def read_or_make(self, make: Callable[[], bytes]) -> tuple[bytes, bool]:
        """The model, and whether it came from the cache."""
        stored = self.read()
        if stored is not None:
            return stored, True
        model = make()
        self.write(model)
        return model, False

    def _forget_old(self) -> None:
        files = sorted(self.path.parent.glob('*.onnx'), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT]:
            file.unlink(missing_ok=True)


def model_cache(key: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> CachedModel:
    """Where the model with that key (JSON values) is or would be."""
    home = environ.get('HOME') or tempfile.gettempdir()
    base = environ.get('XDG_CACHE_HOME') or os.path.join(home, '.cache')
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:24]
    return CachedModel(Path(base) / 'impatient_ros' / 'onnx' / f'{name}.onnx')
