"""The package as colcon and pip see it, and what make does around it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ElementTree.parse(ROOT / 'package.xml').getroot()
RESOURCES = ('config', 'launch', 'models')


def run(*command, **options):
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, **options)


def imported_packages(folder):
    for file in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split('.')[0]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The package built from a copy of what this clone has, so that nothing is written into it."""
    folder = tmp_path_factory.mktemp('wheel')
    ignored = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in ('impatient_ros', 'resource', *RESOURCES):
        shutil.copytree(ROOT / name, folder / 'source' / name, ignore=ignored)
    for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'package.xml', 'LICENSE'):
        shutil.copy(ROOT / name, folder / 'source')
    options = ['--no-deps', '--no-build-isolation', '--no-index', '--wheel-dir', folder]
    built = run(sys.executable, '-m', 'pip', 'wheel', *options, folder / 'source')
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob('*.whl'))) as archive:
        yield {
            re.sub(r'^[^/]*\.(data|dist-info)/', r'\1/', name): archive.read(name)
            for name in archive.namelist()
        }


def test_package_xml_is_format_3_and_built_by_ament_python():
    assert PACKAGE.get('format') == '3'
    assert PACKAGE.findtext('name') == 'impatient_ros'
    assert PACKAGE.findtext('export/build_type') == 'ament_python'
    assert PACKAGE.findtext('license') == 'Apache-2.0'


def test_package_xml_names_every_ros_package_that_is_imported():
    named = {element.text for element in PACKAGE.iter('exec_depend')}
    imported = {*imported_packages(ROOT / 'impatient_ros'), *imported_packages(ROOT / 'launch')}
    ros = {name for name in imported if re.search(r'_(msgs|srvs|interfaces)$', name)}
    ros |= imported & {'rclpy', 'cv_bridge', 'launch', 'launch_ros'}
    assert ros - named == set()


def test_the_wheel_carries_every_module_and_resource(wheel):
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / 'impatient_ros').rglob('*.py')}
    assert modules - set(wheel) == set()
    assert 'impatient_ros/py.typed' in wheel  # or type checkers ignore our annotations
    resources = {
        f'data/data/share/impatient_ros/{file.relative_to(ROOT)}'
        for folder in RESOURCES
        for file in (ROOT / folder).rglob('*')
        if file.is_file() and '__pycache__' not in file.parts
    }
    assert resources - set(wheel) == set()
    assert 'data/data/share/ament_index/resource_index/packages/impatient_ros' in wheel
    assert not [name for name in wheel if name.startswith(('training', 'test', 'environment'))]


def test_the_wheel_has_the_executables_and_the_version_of_package_xml(wheel):
    entry_points = wheel['dist-info/entry_points.txt'].decode()
    assert 'perception_node = impatient_ros.ros.programs:perception_node' in entry_points
    assert 'replay_camera = impatient_ros.ros.programs:replay_camera' in entry_points
    assert f'Version: {PACKAGE.findtext("version")}' in wheel['dist-info/METADATA'].decode()


def test_the_interfaces_are_hidden_from_colcon():
    assert (ROOT / 'interfaces' / 'COLCON_IGNORE').is_file()


def dry_run(target, *settings):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(('MAKE', 'VENV'))}
    shown = run('make', '--no-print-directory', '--dry-run', target, *settings, env=environ)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.splitlines()


def test_make_demo_passes_only_the_options_that_are_given():
    assert dry_run('demo')[-1].split() == ['".venv/bin/python"', '-m', 'impatient_ros.ros.demo']
    command = dry_run('demo', 'FRAMES=200', 'SOURCE=my bag', 'RATE=10', 'TOPIC=/cam', 'MODEL=my model')[-1]
    assert '--model "my model"' in command
    assert '--frames "200"' in command
    assert '--source "my bag"' in command
    assert '--rate "10"' in command
    assert '--topic "/cam"' in command
    command = dry_run('demo', 'PAGE=my page.html', 'SEED=3', 'PLAIN=1', 'LOAD=0')[-1]
    assert command.split('-m impatient_ros.ros.demo ')[1].split() == [
        *('--page', '"my', 'page.html"', '--seed', '"3"', '--plain', '--no-load')
    ]
    assert dry_run('demo', 'PLAIN=0', 'LOAD=1')[-1].split()[-1] == 'impatient_ros.ros.demo'


def test_make_help_names_every_target():
    shown = run('make', '--no-print-directory', 'help').stdout
    for target in ('demo', 'test', 'test-all', 'train-smoke', 'docs', 'env', 'gpu'):
        assert f'make {target} ' in shown


def test_every_target_sets_up_first_and_make_test_leaves_slow_tests_out():
    for target in ('env', 'demo', 'docs', 'train-smoke', 'test', 'test-all'):
        assert 'environment/interpreter.sh' in dry_run(target)[0]
    assert any('pytest' in line and 'not slow' in line for line in dry_run('test'))
    assert any('training.smoke' in line for line in dry_run('test'))
    assert any('sphinx' in line and '--fail-on-warning' in line for line in dry_run('test'))
    assert not any('not slow' in line for line in dry_run('test-all'))


def test_make_gpu_sets_nothing_up_and_takes_the_python_that_it_is_given():
    assert dry_run('gpu') == ['"python3" gpu/run.py ']
    assert dry_run('gpu', 'PYTHON=/a b/python', 'GPU=--dry') == ['"/a b/python" gpu/run.py --dry']


def test_continuous_integration_runs_make_test_in_a_clean_environment(tmp_path):
    make = tmp_path / 'make'
    make.write_text('#!/bin/sh\necho "make $*"\nenv\n')
    make.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    given = {
        'HOME': str(tmp_path),
        'PATH': path,
        'PYTHONUNBUFFERED': '1',
        'ROS_DISTRO': 'jazzy',
        'PIP_RETRIES': '7 8',
    }
    done = subprocess.run([ROOT / '.ci' / 'run'], env=given, capture_output=True, text=True, check=True)
    called, *variables = done.stdout.splitlines()
    assert called == 'make test'
    kept = dict(line.split('=', 1) for line in variables if '=' in line)
    assert kept.keys() - {'PWD', 'OLDPWD', 'SHLVL', '_'} == {'HOME', 'PATH', 'LANG', 'PIP_RETRIES'}
    assert (kept['HOME'], kept['PATH'], kept['PIP_RETRIES']) == (str(tmp_path), path, '7 8')


def test_no_tracked_text_names_a_machine_path():
    """Paths of the machine that this was written on would break, or betray, a clone elsewhere."""
    if not (ROOT / '.git').exists() or shutil.which('git') is None:
        pytest.skip('not a git clone')
    listed = run('git', 'ls-files', '-co', '--exclude-standard', '-z').stdout.split('\0')
    paths = re.compile(rb'(?<![\w.])/(work|root)/\w')
    guilty = [
        name
        for name in listed
        if name and (ROOT / name).is_file() and paths.search((ROOT / name).read_bytes()[:1_000_000])
    ]
    assert guilty == []


@pytest.mark.slow
def test_colcon_builds_it_from_a_source_archive(tmp_path):
    """Where colcon is installed beside this Python: an install folder as ROS 2 expects it."""
    pytest.importorskip('colcon_core', reason='needs colcon (pip install colcon-common-extensions)')
    source = tmp_path / 'workspace' / 'src' / 'impatient_ros'
    source.mkdir(parents=True)
    with tarfile.open(tmp_path / 'clone.tar', 'w') as archive:
        for name in run('git', 'ls-files', '-co', '--exclude-standard', '-z').stdout.split('\0'):
            if name and (ROOT / name).is_file():
                archive.add(ROOT / name, name)
    shutil.unpack_archive(tmp_path / 'clone.tar', source)
    built = subprocess.run(
        [sys.executable, '-m', 'colcon', 'build'], cwd=tmp_path / 'workspace', capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    prefix = tmp_path / 'workspace' / 'install' / 'impatient_ros'
    assert os.access(prefix / 'lib' / 'impatient_ros' / 'perception_node', os.X_OK)
    assert os.access(prefix / 'lib' / 'impatient_ros' / 'replay_camera', os.X_OK)
    assert (prefix / 'share' / 'impatient_ros' / 'launch' / 'perception.launch.py').is_file()
    assert (prefix / 'share' / 'impatient_ros' / 'config' / 'fastdds.xml').is_file()
    assert not (tmp_path / 'workspace' / 'install' / 'vision_msgs').exists()
    # `colcon test` finds the tests; all of them are what `make test-all` runs.
    tested = subprocess.run(
        [sys.executable, '-m', 'colcon', 'test', '--pytest-args', 'test/test_resources.py'],
        cwd=tmp_path / 'workspace',
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    results = ElementTree.parse(tmp_path / 'workspace' / 'build' / 'impatient_ros' / 'pytest.xml')
    (suite,) = results.getroot().iter('testsuite')
    assert int(suite.get('tests')) > 0
    assert suite.get('failures') == suite.get('errors') == '0'
