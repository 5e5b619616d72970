import shutil
import sys
from pathlib import Path

import pytest

import impatient_ros.resources as resources
from impatient_ros.resources import resource_path

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The module as if it were installed below tmp_path/prefix; the fixture is the prefix."""
    prefix = tmp_path / 'prefix'
    package = prefix / 'lib' / 'python3.11' / 'site-packages' / 'impatient_ros'
    package.mkdir(parents=True)
    monkeypatch.setattr(resources, '__file__', str(package / 'resources.py'))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / 'python'))
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    return prefix


def put(prefix, kind, name):
    file = prefix / 'share' / 'impatient_ros' / kind / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('')
    return file


def test_in_a_clone_the_clone_is_used(monkeypatch, tmp_path):
    put(tmp_path, 'config', 'fastdds.xml')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    assert resource_path('config', 'fastdds.xml') == ROOT / 'config' / 'fastdds.xml'
    assert resource_path('config') == ROOT / 'config'


def test_an_installed_module_finds_the_share_folder_beside_it(installed):
    file = put(installed, 'models', 'default.safetensors')
    assert resource_path('models', 'default.safetensors') == file


def test_an_installation_is_preferred_to_the_prefixes_of_the_shell(installed, tmp_path, monkeypatch):
    own, other = put(installed, 'config', 'a.yaml'), put(tmp_path / 'other', 'config', 'a.yaml')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path / 'other'))
    assert resource_path('config', 'a.yaml') == own
    own.unlink()
    assert resource_path('config', 'a.yaml') == other


def test_a_virtual_environment_has_them_below_its_prefix(installed, tmp_path):
    file = put(tmp_path / 'python', 'models', 'm')
    assert resource_path('models', 'm') == file


def test_what_is_not_there_is_named_with_where_it_was_looked_for(installed, tmp_path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "a"}:{tmp_path / "b"}')
    with pytest.raises(FileNotFoundError, match=r'(?s)models.*missing.*python/share.*a/share.*b/share'):
        resource_path('models', 'missing.safetensors')


def test_a_wrong_kind_is_refused():
    with pytest.raises(ValueError, match=r'unknown kind.*config, launch, models'):
        resource_path('weights', 'x')


def test_it_works_from_a_copy_of_the_clone(tmp_path, monkeypatch):
    clone = tmp_path / 'clone'
    (clone / 'impatient_ros').mkdir(parents=True)
    (clone / 'config').mkdir()
    shutil.copy(ROOT / 'package.xml', clone)
    (clone / 'config' / 'x.yaml').write_text('')
    monkeypatch.setattr(resources, '__file__', str(clone / 'impatient_ros' / 'resources.py'))
    assert resource_path('config', 'x.yaml') == clone / 'config' / 'x.yaml'
