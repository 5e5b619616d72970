import sys

import pytest

from impatient_ros.runtime import RuntimeUnavailableError
from impatient_ros.runtime.packages import import_package


def wanted(package):
    return import_package(package, "runtime 'x'", 'write runtime y')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for packages, first in the path; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_package_that_is_missing_is_not_installed():
    with pytest.raises(RuntimeUnavailableError) as caught:
        wanted('no_such_package')
    assert str(caught.value) == (
        "runtime 'x' needs the package no_such_package, which is not installed: pip install no_such_package, "
        'or write runtime y'
    )


@pytest.mark.parametrize(
    ('source', 'reason'),
    [
        ('import a_library_of_its_own', "No module named 'a_library_of_its_own'"),
        ("raise ImportError('libtbb.so.12: cannot open shared object file')", 'libtbb.so.12'),
        ("raise OSError('not a valid ELF file')", 'not a valid ELF file'),
    ],
)
def test_a_broken_wheel_is_not_called_missing(folder, source, reason):
    (folder / 'broken_wheel.py').write_text(source)
    with pytest.raises(RuntimeUnavailableError, match='is installed but cannot be imported') as caught:
        wanted('broken_wheel')
    assert reason in str(caught.value)
    assert reason in str(caught.value.__cause__)


def test_openvino_is_imported_without_its_telemetry():
    wanted('openvino')
    assert sys.modules['openvino_telemetry'] is None
    with pytest.raises(ImportError):
        import openvino_telemetry  # noqa: F401
