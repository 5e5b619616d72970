"""What is expensive to make and kept between runs: files in the user's cache folder.

    file = cache_file('latency', {'model': digest, 'threads': 2}, suffix='.json')
    profile = file.read(decode)
    if profile is None:
        profile = measure()
        file.write(encode(profile))

Everything lies in `~/.cache/impatient_ros` (`$XDG_CACHE_HOME/impatient_ros` where that is set). An entry's
name is a digest of its key: of everything that its content depends on. The cache is only used where nobody
else can have written into it; without such a folder callers do without. Processes may share it: each writes
a file of its own and renames it into place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

try:
    import platformdirs
except ModuleNotFoundError:  # a Python for measuring on a GPU need not have it: nothing is cached there
    platformdirs = None  # type: ignore[assignment]

__all__ = ['CacheFile', 'cache_file', 'cache_folder']

NAME = 'impatient_ros'
T = TypeVar('T')

_log = logging.getLogger(__name__)


class CacheFile:
    """One entry of the cache. Neither reading nor writing it ever raises.

    Attributes:
        path: where it is or would be; None where there is no cache folder.
    """

    def __init__(self, path: Path | None, keep: int) -> None:
        self.path = path
        self._keep = keep

    def read(self, decode: Callable[[bytes], T]) -> T | None:
        """What `decode` makes of the content; None without an entry, or with one that it raises for."""
        if self.path is None:
            return None
        try:
            # Opening a named pipe would wait for its writer, and a symbolic link may lead anywhere.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, 'rb') as file:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                    raise ValueError('not a regular file of this user')
                return decode(file.read())
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  a decoder of damaged data may raise anything
            _log.warning('the cached %s cannot be used and is made anew: %r', self.path, error)
            return None

    def write(self, content: bytes) -> None:
        """Store `content`, whole or not at all, and delete the oldest entries of its kind."""
        if self.path is None:
            return
        try:
            with tempfile.NamedTemporaryFile(dir=self.path.parent, delete=False) as file:
                try:
                    file.write(content)
                    file.flush()
                    os.replace(file.name, self.path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            _log.warning('%s cannot be cached and will be made anew: %s', self.path, error)
            return
        _delete_oldest(self.path.parent, self._keep)


def cache_file(kind: str, key: Mapping[str, Any], *, suffix: str = '', keep: int) -> CacheFile:
    """The entry for `key` (JSON values).

    Args:
        kind: names the folder, such as 'latency'.
        keep: how many entries of that kind remain when one is written; the oldest go.
    """
    folder = _folder(kind)
    return CacheFile(folder and folder / f'{_digest(key)}{suffix}', keep)


def cache_folder(kind: str, key: Mapping[str, Any], *, keep: int) -> Path | None:
    """A folder for `key`, for libraries that write cache files themselves; None where there is no cache.

    Args:
        kind: names the folder around it, such as 'openvino'.
        keep: how many folders of that kind remain; the least recently asked for are deleted.
    """
    folder = _folder(kind, _digest(key))
    if folder is not None:
        with contextlib.suppress(OSError):
            os.utime(folder)
        _delete_oldest(folder.parent, keep)
    return folder


def _digest(key: Mapping[str, Any]) -> str:
    # 24 hexadecimal digits are 96 bits: two keys never meet by chance.
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:24]


def _folder(*names: str) -> Path | None:
    """The folder `names` of the cache, made where it is missing; None where it is not this user's alone."""
    if not (os.environ.get('HOME') or os.environ.get('XDG_CACHE_HOME')):
        _log.info('neither HOME nor XDG_CACHE_HOME is set: nothing is cached')
        return None
    if platformdirs is None:
        _log.info('the package platformdirs is not installed: nothing is cached')
        return None
    path = platformdirs.user_cache_path()
    try:
        if not path.is_absolute():
            raise ValueError('write an absolute path in XDG_CACHE_HOME')
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(path.stat())
        for name in (NAME, *names):
            path /= name
            path.mkdir(mode=0o700, exist_ok=True)
            found = path.lstat()
            _check_owner(found)
            if stat.S_IMODE(found.st_mode) & 0o077:
                path.chmod(0o700)
    except (OSError, ValueError) as error:
        _log.warning('nothing is cached: %s: %s; XDG_CACHE_HOME names another folder', path, error)
        return None
    return path


def _check_owner(found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ValueError('not a folder of this user (chown it)')


def _delete_oldest(folder: Path, keep: int) -> None:
    """Delete all but the `keep` newest entries, and with them what an interrupted writer left behind."""
    with contextlib.suppress(OSError):  # another process may delete at the same time
        entries = sorted(folder.iterdir(), key=lambda entry: entry.lstat().st_mtime_ns, reverse=True)
        for entry in entries[keep:]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
