"""Fetch the pictures that published figures were made with, from their public homes.

    python -m training.fetch cifar10 data

This command alone reaches the network, when somebody runs it. What it fetched is checked before it is used;
an interrupted download goes on where it ended.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import md5, sha1
from pathlib import Path, PurePosixPath

from torchvision.datasets import CIFAR10, CIFAR100

from impatient_ros.standard_output import run_command
from training.terminal import progress_bar

__all__ = ['SOURCES', 'FetchError', 'Source', 'fetch', 'git_tree', 'main']

SILENCE = 60.0  # s without a byte, after which a server is given up
BLOCK = 1 << 20  # bytes


class FetchError(ValueError):
    """It could not be fetched, or is not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """A .tar.gz somewhere, and how to know that it is the right one.

    Attributes:
        url: http, https or file.
        inside: the folder in the archive that is wanted.
        becomes: what that folder is called here.
        usage: how `training.train` takes it; {folder} is where it was fetched to.
        terms: under which the pictures may be used.
        md5: of the archive.
        tree: git's SHA-1 of the folder, where the archive is made anew for each download.
    """

    url: str
    inside: str
    becomes: str
    usage: str
    terms: str
    md5: str | None = None
    tree: str | None = None


def _cifar(kind: type[CIFAR10]) -> Source:
    return Source(
        url=kind.url,
        inside=kind.base_folder,
        becomes=kind.base_folder,
        usage=f'--data.source torchvision:{kind.__name__}:{{folder}} --data.hold_out 5000',
        terms='A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; for research',
        md5=kind.tgz_md5,
    )


GARMENTS = 'clothing-dataset-small-11961516512414bf9f6c150a832cfd21b54a6b54'
SOURCES = {
    'cifar10': _cifar(CIFAR10),
    'cifar100': _cifar(CIFAR100),
    'clothing10': Source(
        url=f'https://github.com/alexeygrigorev/{GARMENTS[:22]}/archive/{GARMENTS[23:]}.tar.gz',
        inside=GARMENTS,
        becomes='clothing10',
        usage='--data.source {folder}/clothing10',
        terms='alexeygrigorev/clothing-dataset-small, CC0',
        tree='78b24042178f02d2ec37cee1dbd23d73857fa539',
    ),
}


def fetch(source: Source, folder: Path) -> Path:
    """Download `source` into `folder` and unpack it; where it is already, nothing is done.

    Returns the unpacked folder, which is there whole or not at all. Raises FetchError, OSError.
    """
    wanted = folder / source.becomes
    if wanted.is_dir():
        return wanted
    folder.mkdir(parents=True, exist_ok=True)
    archive, unpacked = (folder / f'{source.becomes}{suffix}' for suffix in ('.part', '.unpacking'))
    _download(source.url, archive)
    try:
        found = _md5(archive)
        if source.md5 not in (None, found):
            raise FetchError(f'{source.url} has the MD5 sum {found} instead of {source.md5}')
        shutil.rmtree(unpacked, ignore_errors=True)
        _unpack(archive, unpacked)
        if not (unpacked / source.inside).is_dir():
            raise FetchError(f'{source.url} holds no folder {source.inside}')
        if source.tree not in (None, tree := git_tree(unpacked / source.inside)):
            raise FetchError(f'{source.url} holds the tree {tree} instead of {source.tree}')
        (unpacked / source.inside).replace(wanted)
    except FetchError as error:
        raise FetchError(f'{error}: it was removed. Try again, or with --url from another place') from error
    finally:  # also what is wrong: with it the next download would go on
        archive.unlink(missing_ok=True)
        shutil.rmtree(unpacked, ignore_errors=True)
    return wanted


def _download(url: str, part: Path) -> None:
    """All of `url` into `part`, from where that ends, if the server can."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={'Range': f'bytes={have}-'} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=SILENCE) as answer:
            continues = getattr(answer, 'status', None) == http.HTTPStatus.PARTIAL_CONTENT
            left = answer.headers.get('Content-Length')
            done = have if continues else 0
            total = None if left is None else done + int(left)
            with progress_bar() as bar, open(part, 'ab' if continues else 'wb') as file:
                task = bar.add_task('kB', completed=done >> 10, total=total and total >> 10)
                while block := answer.read(BLOCK):
                    file.write(block)
                    bar.advance(task, len(block) >> 10)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code == 416 and have:
            part.unlink()  # it is longer than the file there: begin anew
            _download(url, part)
            return
        raise FetchError(f'{url}: {getattr(error, "reason", error)}; try again, or --url') from error
    size = part.stat().st_size
    if total not in (None, size):
        raise FetchError(f'{url}: it ended after {size:,} of {total:,} bytes; the same command goes on there')


def _md5(path: Path) -> str:
    digest = md5(usedforsecurity=False)  # all that its authors publish
    with open(path, 'rb') as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Files and folders below `folder` alone: no links, no devices.

    By hand, since `extractall` cannot be told so before Python 3.11.4, and Debian 12 has 3.11.2.
    """
    try:
        with tarfile.open(archive, 'r:gz') as tar:
            for member in tar:
                inside = PurePosixPath(member.name)
                content = tar.extractfile(member) if member.isfile() else None
                if inside.is_absolute() or '..' in inside.parts or not (content or member.isdir()):
                    raise FetchError(f'it cannot be unpacked ({member.name!r} is no file or folder in it)')
                path = folder / inside
                (path.parent if content else path).mkdir(parents=True, exist_ok=True)
                if content:
                    with open(path, 'xb') as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FetchError(f'it cannot be unpacked ({error})') from error


def git_tree(folder: Path) -> str:
    """The SHA-1 that git knows the content of a folder of plain files by, hexadecimal."""
    entries = []
    for path in folder.iterdir():
        name = path.name.encode()
        if path.is_dir():
            entries.append((name + b'/', b'40000 ' + name, git_tree(path)))
        else:
            content = path.read_bytes()
            entries.append((name, b'100644 ' + name, _git_sha1(b'blob', content)))
    return _git_sha1(b'tree', b''.join(head + b'\0' + bytes.fromhex(sha) for _, head, sha in sorted(entries)))


def _git_sha1(kind: bytes, content: bytes) -> str:
    return sha1(b'%s %d\0' % (kind, len(content)) + content, usedforsecurity=False).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see --help. Returns 2 where it could not be fetched."""
    parser = argparse.ArgumentParser(
        prog='python -m training.fetch', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('name', choices=SOURCES, help='which pictures')
    parser.add_argument('folder', type=Path, help='where they are to be')
    parser.add_argument('--url', help='another place of the same file: http, https or file')
    given = parser.parse_args(arguments)
    source = SOURCES[given.name]
    print(f'{source.url if given.url is None else given.url}\nterms: {source.terms}', file=sys.stderr)
    try:
        fetch(replace(source, url=given.url or source.url), given.folder)
    except (FetchError, OSError) as error:
        print(f'fetch: {error}', file=sys.stderr)
        return 2
    print(source.usage.format(folder=given.folder))
    return 0


if __name__ == '__main__':
    run_command(main)
