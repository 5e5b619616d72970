"""The set-up behind `make env`: what it asks of the machine, when it has nothing to do, what it repairs."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from environment import __main__ as setup
from environment import prerequisites
from environment.distribution import NEEDED, Distribution, sourced_distribution
from environment.inspection import broken_packages, remove_leftovers
from environment.interfaces import repoint_includes
from environment.prerequisites import explain, missing_prerequisites
from environment.stamp import expected_stamp, read_stamp, write_stamp
from environment.step import StepFailed, run_step

ROOT = Path(__file__).resolve().parent.parent
PYTHON = f'python{sys.version_info[0]}.{sys.version_info[1]}'


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def choose(tmp_path):
    """Runs interpreter.sh with nothing but the tools of the shell and fake Pythons on its path."""
    tools = tmp_path / 'bin'
    tools.mkdir()
    for name in ('cat', 'sh'):
        (tools / name).symlink_to(f'/bin/{name}')

    def choose(pythons=(), **environ):
        for name, text in dict(pythons).items():
            executable(tools / name, text)
        system = {'SYSTEM_PYTHON': str(tools / 'system-python')}
        return subprocess.run(
            ['/bin/sh', str(ROOT / 'environment' / 'interpreter.sh')],
            env={'PATH': str(tools)} | system | environ,
            capture_output=True,
            text=True,
        )

    return choose


FAILING_SHIM = '#!/bin/sh\necho "shim: version not installed" >&2\nexit 127\n'
CANDIDATES = ('python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10')
TOO_OLD = '#!/bin/sh\ncase "$2" in *platform*) echo "Python 3.8.18";; *) exit 1;; esac\n'
SUITABLE = '#!/bin/sh\ncase "$2" in *_base_executable*) echo /chosen/python;; esac\nexit 0\n'
SUITABLE_WITHOUT_ROS = (
    '#!/bin/sh\ncase "$2" in *rclpy*) exit 1;; *_base_executable*) echo /chosen/python;; esac\nexit 0\n'
)


def test_the_first_python_that_runs_and_suits_is_chosen(choose):
    found = choose({'python3': TOO_OLD, 'python3.12': FAILING_SHIM, 'python3.11': SUITABLE})
    assert found.stdout == '/chosen/python\n'


@pytest.mark.parametrize('minor', range(8, 17))
def test_python_3_10_to_3_14_suit(choose, minor):
    # Runs the question that is asked, with another version than this Python's own.
    pretending = (
        f'#!/bin/sh\ncase "$2" in *_base_executable*) echo chosen; exit;; esac\n'
        f'exec {sys.executable} -c "import sys; sys.version_info = (3, {minor}, 1, \'final\', 0); $2"\n'
    )
    assert (choose({'python3': pretending}).returncode == 0) == (10 <= minor <= 14)


def test_python_given_by_name_is_used_or_refused_but_never_replaced(choose):
    pythons = {'python3': SUITABLE, 'old': TOO_OLD}
    assert choose(pythons, PYTHON='python3').stdout == '/chosen/python\n'
    refused = choose(pythons, PYTHON='old')
    assert refused.returncode == 1
    assert refused.stdout == ''
    assert 'old: Python 3.8.18' in refused.stderr
    assert 'make PYTHON=/path/to/python3' in refused.stderr
    assert 'apt-get' not in refused.stderr


def test_in_a_sourced_shell_the_python_must_import_the_distributions_rclpy(choose):
    sourced = {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': '/nowhere/jazzy', 'PYTHON': 'python3'}
    assert choose({'python3': SUITABLE}, **sourced).stdout == '/chosen/python\n'
    refused = choose({'python3': SUITABLE_WITHOUT_ROS}, **sourced)
    assert refused.returncode == 1
    assert 'sudo apt-get install ros-jazzy-rclpy' in refused.stderr


def test_without_any_python_one_command_installs_all_that_is_missing(choose):
    refused = choose()
    assert refused.returncode == 1
    assert 'A Python from 3.10 to 3.14 is needed' in refused.stderr
    for name in CANDIDATES:
        assert f'{name}: does not run' in refused.stderr
    assert 'sudo apt-get install python3 python3-venv python3-dev g++\n' in refused.stderr
    again = choose({'g++': '#!/bin/sh\n'})
    assert 'sudo apt-get install python3 python3-venv python3-dev\n' in again.stderr


def test_where_the_systems_python_does_not_suit_its_packages_are_not_advised(choose):
    refused = choose({'system-python': TOO_OLD})
    assert refused.returncode == 1
    assert 'system-python: Python 3.8.18' in refused.stderr
    assert 'apt-get' not in refused.stderr
    assert 'make PYTHON=' in refused.stderr


def test_a_machine_that_runs_this_has_what_it_takes(tmp_path):
    assert missing_prerequisites(tmp_path, 'development', sourced_distribution(os.environ)) == []


def test_each_missing_prerequisite_is_named_with_one_command(tmp_path, monkeypatch):
    monkeypatch.setattr(prerequisites.shutil, 'which', lambda name: None)
    monkeypatch.setattr(prerequisites.sysconfig, 'get_path', lambda name: str(tmp_path))
    monkeypatch.setattr(prerequisites.importlib.util, 'find_spec', lambda name: None)
    text = explain(missing_prerequisites(tmp_path, 'development', None))
    for what in ('venv', 'g++', 'Python.h'):
        assert what in text
    assert f'sudo apt-get install {PYTHON}-venv g++ {PYTHON}-dev' in text


def test_what_a_distribution_lacks_is_in_the_same_message(tmp_path, monkeypatch):
    monkeypatch.setattr(prerequisites.importlib.util, 'find_spec', lambda name: None)
    distribution = Distribution('jazzy', '/x', missing=('cv_bridge', 'vision_msgs'))
    text = explain(missing_prerequisites(tmp_path, 'development', distribution))
    # A distribution brings its own vision_msgs: nothing is compiled.
    packages = f'{PYTHON}-venv ros-jazzy-cv-bridge ros-jazzy-vision-msgs'
    assert f'    sudo apt-get install {packages}\n' in text


def test_where_pypi_has_no_ros_a_distribution_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(prerequisites.platform, 'machine', lambda: 'aarch64')
    text = explain(missing_prerequisites(tmp_path, 'run', None))
    assert 'PyPI has rclpy for x86_64 Linux only, and this is aarch64 linux' in text
    assert 'source it and run make again' in text
    assert missing_prerequisites(tmp_path, 'run', Distribution('jazzy', '/x')) == []


def test_a_full_disk_is_named_before_anything_is_downloaded(tmp_path, monkeypatch):
    usage = prerequisites.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(prerequisites.shutil, 'disk_usage', lambda path: usage._replace(free=10**9))
    distribution = Distribution('jazzy', '/x')
    (item,) = missing_prerequisites(tmp_path / 'new', 'run', distribution)
    assert 'GB of free disk' in item.what
    assert 'VENV=' in item.why
    assert missing_prerequisites(tmp_path, 'development', distribution) == []


def test_the_readme_says_what_the_set_up_says_about_the_disk():
    readme = (ROOT / 'README.md').read_text()
    for target, purpose in (('demo', 'run'), ('test', 'development')):
        (line,) = (line for line in readme.splitlines() if line.startswith(f'    make {target}  '))
        assert f'({prerequisites.SIZE[purpose] / 1e9:g} GB, ' in line


def fake_distribution(folder, *, without=()):
    """A folder of stub modules, like a distribution's site-packages; returns the environment it sets."""
    for name in NEEDED:
        if name not in without:
            (folder / name).mkdir(parents=True)
            (folder / name / '__init__.py').write_text('')
    environ = {'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': str(folder), 'PYTHONPATH': str(folder)}
    return {name: value for name, value in os.environ.items() if name not in environ} | environ


def test_a_shell_without_ros_has_no_distribution():
    assert sourced_distribution({}) is None
    assert sourced_distribution({'ROS_DISTRO': 'jazzy'}) is None


def test_a_sourced_distribution_is_recognised_by_its_modules(tmp_path):
    found = sourced_distribution(fake_distribution(tmp_path))
    assert found == Distribution('jazzy', str(tmp_path / 'rclpy' / '__init__.py'))


def test_what_a_distribution_lacks_is_named_with_its_packages(tmp_path):
    # The one module that no wheel in the running environment brings either.
    found = sourced_distribution(fake_distribution(tmp_path, without=['cv_bridge']))
    assert found.missing == ('cv_bridge',)


def test_a_distribution_is_used_with_its_own_packages_and_numpy_1(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(setup, 'run_step', lambda what, command, log, environ: commands.append(command))
    monkeypatch.setenv('PYTHONPATH', '/the/distribution')
    distribution = Distribution('jazzy', '/the/distribution/rclpy/__init__.py')
    environment = setup.Environment(tmp_path / 'venv', distribution)
    environment.build(environment.expected(), anew=True, repair=False)
    text = '\n'.join(' '.join(command) for command in commands)
    assert '--system-site-packages' in text
    assert 'distribution.txt' in text
    assert 'ros.txt' not in text
    assert 'environment.interfaces' not in text
    assert 'cv_bridge' in commands[-1]
    assert environment.environ['PYTHONPATH'] == '/the/distribution'
    constraints = (ROOT / 'requirements' / 'distribution.txt').read_text().splitlines()
    assert 'numpy<2; python_version < "3.13"' in constraints  # there is none for later ones


def test_without_a_distribution_ros_comes_from_the_registry_and_pythonpath_is_dropped(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(setup, 'run_step', lambda what, command, log, environ: commands.append(command))
    monkeypatch.setenv('PYTHONPATH', '/somewhere')
    environment = setup.Environment(tmp_path / 'venv', None)
    environment.build(environment.expected(), anew=True, repair=False)
    text = '\n'.join(' '.join(command) for command in commands)
    assert '--system-site-packages' not in text
    assert 'ros.txt' in text
    assert 'environment.interfaces' in text
    assert 'PYTHONPATH' not in environment.environ
    assert read_stamp(tmp_path / 'venv') == environment.expected()


def test_the_node_is_set_up_without_what_only_development_needs(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(setup, 'run_step', lambda what, command, log, environ: commands.append(command))
    environment = setup.Environment(tmp_path / 'venv', None, 'run')
    environment.build(environment.expected(), anew=True, repair=False)
    text = '\n'.join(' '.join(command) for command in commands)
    assert 'runtime.txt' in text
    assert 'ros.txt' in text
    assert 'training.txt' not in text
    assert 'development.txt' not in text
    assert 'torch' not in commands[-1]
    assert read_stamp(tmp_path / 'venv').purpose == 'run'


def test_an_environment_for_development_serves_to_run_and_not_the_other_way_round(built):
    as_it_is = setup.Environment(Path('x'), None).expected()
    assert built(changed(purpose='run', contents='of the other files')) == {'anew': False, 'repair': False}
    with pytest.raises(IndexError):  # nothing was built
        built(lambda stamp: as_it_is, purpose='run')


def test_nothing_is_run_where_the_stamp_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, 'sourced_distribution', lambda environ: None)
    monkeypatch.setattr(setup, 'run_step', lambda *arguments: pytest.fail('a step was run'))
    write_stamp(tmp_path, setup.Environment(tmp_path, None).expected())
    setup.set_up(tmp_path)


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Calls set_up on an existing environment with the given stamp; returns how build was called."""
    monkeypatch.setattr(setup, 'sourced_distribution', lambda environ: None)
    monkeypatch.setattr(setup.Environment, 'usable', lambda self: True)
    calls = []
    monkeypatch.setattr(setup.Environment, 'build', lambda self, stamp, **how: calls.append(how))
    (tmp_path / 'pyvenv.cfg').write_text('')

    def built(change, purpose='development'):
        calls.clear()
        write_stamp(tmp_path, change(setup.Environment(tmp_path, None).expected()))
        setup.set_up(tmp_path, purpose)
        return calls[-1]

    return built


def changed(**fields):
    return lambda stamp: type(stamp)(**{**vars(stamp), **fields})


def test_changed_requirements_bring_the_environment_up_to_date(built):
    assert built(changed(contents='other')) == {'anew': False, 'repair': False}


def test_an_interrupted_set_up_is_repaired(built):
    assert built(changed(complete=False)) == {'anew': False, 'repair': True}


def test_another_python_or_another_ros_builds_anew(built):
    assert built(changed(base='Python 3.9')) == {'anew': True, 'repair': False}


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, 'sourced_distribution', lambda environ: None)
    (tmp_path / 'precious').write_text('')
    with pytest.raises(SystemExit, match='no virtual environment'):
        setup.set_up(tmp_path)
    assert (tmp_path / 'precious').exists()


def test_the_stamp_follows_the_contents_of_the_files(tmp_path):
    file = tmp_path / 'requirements.txt'
    file.write_text('numpy')
    first = expected_stamp(tmp_path, [file], None)
    assert expected_stamp(tmp_path, [file], None) == first
    file.write_text('numpy<2')
    assert expected_stamp(tmp_path, [file], None).contents != first.contents
    assert expected_stamp(tmp_path, [file], Distribution('jazzy', '/x')).base != first.base


@pytest.mark.parametrize('text', ['', '[]', '{"base": 1}', '\0'])
def test_a_stamp_that_cannot_be_read_counts_as_none(tmp_path, text):
    write_stamp(tmp_path, expected_stamp(tmp_path, [], None))
    next(tmp_path.iterdir()).write_text(text)
    assert read_stamp(tmp_path) is None


def test_a_second_make_waits_for_the_first(tmp_path):
    venv = tmp_path / 'venv'
    with setup.alone(venv), open(tmp_path / 'venv.lock') as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_failing_step_shows_its_command_and_the_end_of_its_output(tmp_path, capsys):
    program = 'print("WARNING: Location x is ignored"); print("the reason"); raise SystemExit(3)'
    with pytest.raises(StepFailed) as failure:
        run_step('packages', [sys.executable, '-c', program], tmp_path / 'log', os.environ)
    text = str(failure.value)
    assert 'packages failed (exit code 3)' in text
    assert sys.executable in text
    assert 'the reason' in text
    assert 'Location x' not in text.split('ends with')[1]
    assert str(tmp_path / 'log') in text


def test_a_step_that_works_says_one_line(tmp_path, capsys):
    run_step('packages', [sys.executable, '-c', 'print("much noise")'], tmp_path / 'log', os.environ)
    assert capsys.readouterr().out == '  packages: 0 s\n'
    assert 'much noise' in (tmp_path / 'log').read_text()


def install(folder, name, files, *, record=True):
    """A package as pip would have left it: `files` maps a path to (content, recorded size)."""
    information = folder / f'{name}-1.0.dist-info'
    information.mkdir()
    (information / 'METADATA').write_text(f'Name: {name}\nVersion: 1.0\n')
    for path, (content, _) in files.items():
        if content is not None:
            (folder / path).write_text(content)
    if record:
        (information / 'RECORD').write_text(''.join(f'{path},,{size}\n' for path, (_, size) in files.items()))


def test_packages_that_pip_left_half_done_are_found(tmp_path):
    install(tmp_path, 'whole', {'whole.py': ('text', 4)})
    install(tmp_path, 'lacking', {'lacking.py': (None, 4)})
    install(tmp_path, 'short', {'short.py': ('te', 4)})
    install(tmp_path, 'repointed', {'export.cmake': ('te', 4)})
    assert broken_packages(tmp_path) == ['lacking==1.0', 'short==1.0']


def test_leftovers_of_an_interrupted_pip_are_removed(tmp_path):
    install(tmp_path, 'whole', {'whole.py': ('text', 4)})
    (tmp_path / '~hole').mkdir()
    (tmp_path / 'half-1.0.dist-info').mkdir()
    install(tmp_path, 'unrecorded', {}, record=False)
    removed = ['half-1.0.dist-info', 'unrecorded-1.0.dist-info', '~hole']
    assert sorted(remove_leftovers(tmp_path)) == removed
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['whole-1.0.dist-info', 'whole.py']


def test_cmake_exports_are_pointed_at_this_machine_once(tmp_path):
    export = tmp_path / 'share' / 'std_msgs' / 'cmake' / 'export_std_msgs__rosidl_generator_pyExport.cmake'
    export.parent.mkdir(parents=True)
    export.write_text(
        '  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311-cp311/include/python3.11;/opt/python/x"\n'
    )
    assert repoint_includes(tmp_path, ['/here/python', '/here/numpy']) == 1
    assert export.read_text() == '  INTERFACE_INCLUDE_DIRECTORIES "/here/python;/here/numpy"\n'
    assert repoint_includes(tmp_path, ['/here/python', '/here/numpy']) == 0
