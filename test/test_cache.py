import json
import logging
import os
import stat
from pathlib import Path

import pytest

from impatient_ros.cache import cache_file, cache_folder


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    """What XDG_CACHE_HOME names: a folder that is not there yet."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def entry(number=1, keep=8):
    return cache_file('kind', {'number': number}, suffix='.json', keep=keep)


def as_another_user(monkeypatch):
    monkeypatch.setattr('impatient_ros.cache.os.geteuid', lambda: os.getuid() + 1)


def test_what_was_written_is_read_under_the_same_key_only(base):
    assert entry(1).read(bytes) is None
    entry(1).write(b'one')
    assert entry(1).read(bytes) == b'one'
    assert entry(2).read(bytes) is None
    entry(1).write(b'uno')
    assert entry(1).read(bytes.decode) == 'uno'
    [file] = (base / 'impatient_ros' / 'kind').iterdir()
    assert file == entry(1).path


def test_the_order_of_a_key_does_not_matter():
    cache_file('kind', {'a': 1, 'b': 2}, keep=8).write(b'x')
    assert cache_file('kind', {'b': 2, 'a': 1}, keep=8).read(bytes) == b'x'


def test_the_folder_is_the_users_home_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert entry().path.parent == tmp_path / '.cache' / 'impatient_ros' / 'kind'


def test_nobody_else_may_look_into_it(base):
    (base / 'impatient_ros').mkdir(parents=True)
    (base / 'impatient_ros').chmod(0o777)
    entry().write(b'x')
    for path in (base / 'impatient_ros', base / 'impatient_ros' / 'kind', entry().path):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize('base_is', ['unset', 'a file', "another user's", 'read-only'])
def test_without_a_folder_of_ones_own_nothing_is_cached(base_is, base, tmp_path, monkeypatch):
    if base_is == 'unset':
        monkeypatch.delenv('XDG_CACHE_HOME')
        monkeypatch.delenv('HOME', raising=False)
    elif base_is == 'a file':
        base.write_text('in the way')
    elif base_is == "another user's":
        base.mkdir()
        as_another_user(monkeypatch)
    elif base_is == 'read-only':

        def refuse(*_, **__):
            raise PermissionError('read-only')

        monkeypatch.setattr(Path, 'mkdir', refuse)
    assert entry().path is None
    entry().write(b'x')
    assert entry().read(bytes) is None
    assert cache_folder('kind', {}, keep=8) is None
    assert not list(tmp_path.rglob('impatient_ros'))


def test_the_working_folder_is_never_a_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    entry().write(b'x')
    assert not (tmp_path / 'relative').exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(base, tmp_path, caplog):
    base.mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (base / 'impatient_ros').symlink_to(tmp_path / 'elsewhere')
    assert entry().path is None
    assert 'nothing is cached' in caplog.text


def deeply_nested(path):
    path.write_text('[' * 100_000)


def named_pipe(path):
    path.unlink()
    os.mkfifo(path)


def link(path):
    path.rename(path.with_name('elsewhere'))
    path.symlink_to(path.with_name('elsewhere'))


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize('damage', [lambda path: path.write_bytes(b''), deeply_nested, named_pipe, link])
def test_a_damaged_entry_counts_as_none_and_is_replaced(damage, caplog):
    entry().write(b'[1]')
    damage(entry().path)
    with caplog.at_level(logging.WARNING):
        assert entry().read(json.loads) is None
    assert 'made anew' in caplog.text
    entry().write(b'[2]')
    assert entry().read(json.loads) == [2]


def test_an_entry_that_cannot_be_replaced_is_done_without(caplog):
    entry().write(b'[1]')
    folder(entry().path)
    assert entry().read(json.loads) is None
    entry().write(b'[2]')
    assert entry().read(json.loads) is None
    assert 'cannot be cached' in caplog.text
    assert [path.name for path in entry().path.parent.iterdir()] == [entry().path.name], (
        'nothing half written'
    )


def test_a_file_of_another_user_is_not_read(monkeypatch):
    entry().write(b'planted')
    cached = entry()
    as_another_user(monkeypatch)
    assert cached.read(bytes) is None


def age(path, seconds):
    os.utime(path, (seconds, seconds))


def test_the_oldest_files_are_deleted_and_leftovers_with_them():
    entry(0).write(b'x')
    leftover = entry(0).path.parent / 'tmp-interrupted'
    leftover.write_bytes(b'half')
    age(leftover, 0)
    for number in range(5):
        entry(number, keep=3).write(b'x')
        age(entry(number).path, 100 + number)
    kept = [number for number in range(5) if entry(number).read(bytes)]
    assert kept == [2, 3, 4]
    assert not leftover.exists()


def test_a_librarys_folder_stays_while_it_is_asked_for():
    paths = [cache_folder('library', {'number': number}, keep=3) for number in range(3)]
    for number, path in enumerate(paths):
        (path / 'compiled').write_bytes(b'x')
        age(path, 100 + number)
    assert cache_folder('library', {'number': 0}, keep=3) == paths[0]
    cache_folder('library', {'number': 3}, keep=3)
    assert [path.exists() for path in paths] == [True, False, True]
    assert (paths[0] / 'compiled').read_bytes() == b'x'
