"""python -m training.fetch: whole and right, or not at all; from servers of this machine."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training.fetch import SOURCES, FetchError, Source, fetch, git_tree, main

FILES = {'pictures/train/hat/0.jpg': bytes(range(256)) * 300, 'pictures/readme': b'hello\n'}
# As git writes it: git init; git add train readme; git write-tree
TREE = '13e24e042f3739ec9fb425257da374b2ff8cd746'


def packed(files: dict[str, bytes], **link: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w:gz') as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in link.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return data.getvalue()


class Server(ThreadingHTTPServer):
    """Has one file; ends after `breaks_at` bytes where that is set; knows ranges or not."""

    content, breaks_at, ranges = b'', None, True

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), Answer)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_address[1]}/file.tar.gz'


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers['Range']
        server.asked.append(asked)
        start = int(asked.removeprefix('bytes=').rstrip('-')) if asked and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(server.content) - start))
        self.end_headers()
        self.wfile.write(server.content[start : server.breaks_at])

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        running.content = packed(FILES)
        yield running
        running.shutdown()
        thread.join()


def source(server: Server) -> Source:
    digest = hashlib.md5(server.content).hexdigest()
    return Source(server.url, 'pictures', 'small', '--data.source {folder}/small', 'none', md5=digest)


def held(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()
    }


WHOLE = {f'small/{name.removeprefix("pictures/")}': content for name, content in FILES.items()}


def test_what_is_fetched_is_unpacked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch(source(server), tmp_path / 'new') == tmp_path / 'new' / 'small'
        assert held(tmp_path / 'new') == WHOLE
    assert server.asked == [None]


@pytest.mark.parametrize('ranges', [True, False])
def test_a_broken_download_goes_on_or_begins_anew(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges, server.breaks_at = ranges, 500
    with pytest.raises(FetchError, match=r'ended after 500 of [\d,]+ bytes; the same command goes on'):
        fetch(source(server), tmp_path)
    assert held(tmp_path) == {'small.part': server.content[:500]}
    server.breaks_at = None
    fetch(source(server), tmp_path)
    assert server.asked == [None, 'bytes=500-']
    assert held(tmp_path) == WHOLE


def test_what_is_longer_than_the_file_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / 'small.part').write_bytes(bytes(len(server.content) + 1))
    fetch(source(server), tmp_path)
    assert held(tmp_path) == WHOLE


def test_a_wrong_sum_is_refused_and_nothing_of_it_stays(server: Server, tmp_path: Path) -> None:
    right = source(server)
    server.content = packed({**FILES, 'pictures/readme': b'other\n'})
    for wrong in (right, replace(right, md5=None, tree=TREE)):
        with pytest.raises(FetchError, match=r'has the MD5 sum|holds the tree .* it was removed'):
            fetch(wrong, tmp_path)
        assert held(tmp_path) == {}
    server.content = packed(FILES)
    fetch(replace(right, md5=None, tree=TREE), tmp_path)
    assert held(tmp_path) == WHOLE


@pytest.mark.parametrize(
    'content',
    [
        packed({'../outside': b'x'}),
        packed({'pictures/../../outside': b'x'}),
        packed({'pictures/a': b'x'}, **{'pictures/link': '/etc'}),
        packed({'pictures/a': b'x'}, **{'pictures/link': '../../..'}),
        packed(FILES)[:-40],
        b'no archive',
        packed({'others/a': b'x'}),
    ],
)
def test_an_archive_that_reaches_out_or_is_broken_is_refused(
    content: bytes, server: Server, tmp_path: Path
) -> None:
    server.content = content
    with pytest.raises(FetchError, match=r'cannot be unpacked|holds no folder pictures'):
        fetch(source(server), tmp_path / 'in')
    assert held(tmp_path) == {}


def test_an_archive_that_names_a_place_of_this_machine_is_refused(server: Server, tmp_path: Path) -> None:
    server.content = packed({str(tmp_path / 'elsewhere'): b'x'})
    with pytest.raises(FetchError, match='is no file or folder in it'):
        fetch(source(server), tmp_path / 'in')
    assert held(tmp_path) == {}


def test_a_full_disk_is_not_a_broken_archive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(content: object, file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('shutil.copyfileobj', fill)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        fetch(source(server), tmp_path)
    assert held(tmp_path) == {}


def test_a_server_that_has_it_not_is_named(server: Server, tmp_path: Path) -> None:
    server.content = b''
    with pytest.raises(FetchError, match=r'file.tar.gz: .*--url'):
        fetch(source(server), tmp_path)


def test_a_folder_has_the_sum_that_git_gives_it(tmp_path: Path) -> None:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert git_tree(tmp_path / 'pictures') == TREE


def test_the_command_takes_a_file_and_says_how_to_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / 'here.tar.gz'
    archive.write_bytes(packed(FILES))
    small = Source('https://nowhere.invalid/', 'pictures', 'small', '--data.source {folder}/small', 'none')
    monkeypatch.setitem(SOURCES, 'cifar10', small)
    assert main(['cifar10', str(tmp_path / 'data'), '--url', archive.as_uri()]) == 0
    assert capsys.readouterr().out == f'--data.source {tmp_path}/data/small\n'
    assert main(['cifar10', str(tmp_path / 'other'), '--url', (tmp_path / 'none').as_uri()]) == 2
    assert 'fetch: ' in capsys.readouterr().err


def test_every_home_is_public_and_every_archive_is_checked() -> None:
    assert set(SOURCES) == {'cifar10', 'cifar100', 'clothing10'}
    for each in SOURCES.values():
        assert each.url.startswith('https://')
        assert (each.md5 is None) != (each.tree is None)
        assert '{folder}' in each.usage
