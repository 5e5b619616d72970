"""Who may import whom: read from the source, so that an import inside a function counts too."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROS = ('rclpy', 'cv_bridge', 'launch', 'launch_ros', 'ament_index_python')
ROS_SUFFIXES = ('_msgs', '_srvs', '_interfaces')


def is_ros(package):
    return package in ROS or package.endswith(ROS_SUFFIXES)


def source_modules():
    """Module name -> path, for the runtime and training."""
    files = [file for package in ('impatient_ros', 'training') for file in (ROOT / package).rglob('*.py')]
    return {
        '.'.join(file.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): file
        for file in files
    }


# Run by a Python of its own: names and endings of packages that it must not have, then the modules to import.
IMPORT_WITHOUT = """
import importlib, sys

blocked = tuple(sys.argv[1].split(','))
endings = tuple(sys.argv[2].split(','))

class Blocked:
    def find_spec(self, name, path=None, target=None):
        package = name.split('.')[0]
        if package in blocked or package.endswith(endings):
            raise ModuleNotFoundError('blocked: ' + name, name=name)

sys.meta_path.insert(0, Blocked())
for name in sys.argv[3:]:
    importlib.import_module(name)
"""


def import_without(names, endings, modules):
    command = [sys.executable, '-c', IMPORT_WITHOUT, ','.join(names), ','.join(endings), *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


MODULES = source_modules()
RUNTIME = sorted(name for name in MODULES if name.split('.')[0] == 'impatient_ros')
OUTSIDE_ROS = [name for name in RUNTIME if not name.startswith('impatient_ros.ros')]
TRAINING = sorted(name for name in MODULES if name.split('.')[0] == 'training')


def imports_of(source, module, *, is_package=False):
    """Names of all modules that `source` imports, except for type checkers; relative ones made absolute."""
    tree = ast.parse(source)
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
            skipped.update(id(below) for statement in node.body for below in ast.walk(statement))
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split('.') if is_package else module.split('.')[:-1]
            base = parts[: len(parts) - node.level + 1] if node.level else []
            name = '.'.join([*base, *([node.module] if node.module else [])])
            found.add(name)
            # `from package import module` imports the module too
            found.update(f'{name}.{alias.name}' for alias in node.names if f'{name}.{alias.name}' in MODULES)
    return found


@cache
def direct(module):
    file = MODULES[module]
    return frozenset(imports_of(file.read_text(), module, is_package=file.name == '__init__.py'))


def reached_from(module):
    """Everything that `module` imports, directly or through our own modules."""
    reached, waiting = set(), [module]
    while waiting:
        for name in direct(waiting.pop()) - reached:
            reached.add(name)
            if name in MODULES:
                waiting.append(name)
    return reached


def packages(names):
    return {name.split('.')[0] for name in names}


def test_imports_are_read_wherever_they_stand():
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import unseen
def function():
    from . import resources
    from ..elsewhere import thing
    import rclpy.node
"""
    assert imports_of(source, 'impatient_ros.runtime.eager') == {
        'typing',
        'impatient_ros.runtime',
        'impatient_ros.elsewhere',
        'rclpy.node',
    }
    assert imports_of('from . import planner', 'impatient_ros.planning.forecast') == {
        'impatient_ros.planning',
        'impatient_ros.planning.planner',
    }


@pytest.mark.parametrize('module', OUTSIDE_ROS)
def test_only_the_ros_folder_reaches_rclpy_or_messages(module):
    assert [name for name in packages(reached_from(module)) if is_ros(name)] == []


# What knows no torch, not even in a function that is called later.
WITHOUT_TORCH = ('planning', 'images', 'replay', 'demo', 'runtime.openvino', 'runtime.onnx_runtime')
SINGLE_MODULES_WITHOUT_TORCH = (
    'answer',
    'budgets',
    'cache',
    'interrupts',
    'resources',
    'standard_output',
    'suggestions',
)
# What reads a checkpoint; what saves and loads networks is the package's other half.
_READING = (
    'container', 'description', 'graph', 'graph_check', 'reading', 'resolution', 'resolution_graphs',
)  # fmt: skip
READING_CHECKPOINTS = tuple(f'checkpoint.{name}' for name in _READING)


@pytest.mark.parametrize('package', WITHOUT_TORCH + SINGLE_MODULES_WITHOUT_TORCH + READING_CHECKPOINTS)
def test_what_runs_without_torch_knows_none(package):
    name = f'impatient_ros.{package}'
    modules = [module for module in RUNTIME if module == name or module.startswith(f'{name}.')]
    assert modules, f'{name} is gone: correct this list'
    assert {
        module for module in modules if packages(reached_from(module)) & {'torch', 'torchvision'}
    } == set()


# These choose among runtimes, of which two are torch's; they import none of it themselves.
@pytest.mark.parametrize('package', ['anytime', 'perception'])
def test_what_chooses_a_runtime_imports_no_torch_itself(package):
    modules = [name for name in RUNTIME if name.startswith(f'impatient_ros.{package}.')]
    assert modules, f'{package} is gone: correct this list'
    assert {name for name in modules if packages(direct(name)) & {'torch', 'torchvision', 'timm'}} == set()


def part_of(module):
    """The package or module right below impatient_ros that `module` belongs to."""
    return module.split('.')[1]


def layers():
    """The rows of CONTRIBUTING.md's picture, the uppermost first."""
    _, _, text = (ROOT / 'CONTRIBUTING.md').read_text().partition('## The layers')
    picture = text.split('```')[1]
    left_column = [line[:23] if line.startswith('  ') else '' for line in picture.splitlines()]
    rows = '\n'.join(left_column).split('─' * 21)
    return [{word.rstrip('/') for word in row.split()} for row in rows]


def test_the_picture_of_the_layers_is_true():
    rows = layers()
    row_of = {part: number for number, row in enumerate(rows) for part in row}
    parts = {part_of(module) for module in RUNTIME if module != 'impatient_ros'}
    assert parts - row_of.keys() == set()
    upwards = {
        f'{module} imports {name}'
        for module in RUNTIME
        if module != 'impatient_ros'
        for name in direct(module)
        if name.startswith('impatient_ros.')
        and part_of(name) != part_of(module)
        and row_of[part_of(name)] <= row_of[part_of(module)]
    }
    assert upwards == set()


@pytest.mark.parametrize('module', RUNTIME)
def test_the_runtime_does_not_import_training(module):
    assert 'training' not in packages(direct(module))


@pytest.mark.parametrize('module', TRAINING)
def test_training_does_not_reach_ros(module):
    assert [name for name in packages(reached_from(module)) if is_ros(name)] == []


def test_the_runtime_outside_the_ros_folder_imports_where_there_is_no_ros():
    import_without(ROS, ROS_SUFFIXES, OUTSIDE_ROS)


# The rest imports torch when it is called: for networks, for CUDA and for eager stages.
NEEDS_TORCH = (
    'network',
    'checkpoint.store',
    'checkpoint.rebuilding',
    'checkpoint.export',
    'checkpoint.__main__',
    'runtime.eager',
    'runtime.cuda',
)


def test_the_cpu_path_imports_where_there_is_no_torch():
    needs = tuple(f'impatient_ros.{name}' for name in NEEDS_TORCH)
    modules = [name for name in OUTSIDE_ROS if not name.startswith(needs)]
    assert {'impatient_ros.anytime.classifier', 'impatient_ros.perception.worker'} < set(modules)
    import_without(('torch', 'torchvision', 'timm'), ('.nothing',), modules)
