"""Importing what a runtime needs, when it is asked for, and telling "not installed" from "broken"."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from impatient_ros.runtime.base import RuntimeUnavailableError

__all__ = ['import_package']

# Packages that report usage to their makers, by the package that would import them. Marked as missing before
# the import, they are done without: nothing is sent and nothing is stored in the user's home.
TELEMETRY = {'openvino': 'openvino_telemetry', 'nncf': 'openvino_telemetry'}
# ONNX Runtime's is in its library and asks the environment.
ENVIRONMENT = {'ORT_DISABLE_TELEMETRY': '1'}


def import_package(package: str, purpose: str, instead: str) -> Any:
    """The package's module.

    Args:
        purpose: what needs it, the beginning of the message.
        instead: what to write where it is not to be had.

    Raises:
        RuntimeUnavailableError: it is not installed, or it is and its import fails (a wheel that does not
            fit this machine); the cause is kept.
    """
    telemetry: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: cannot be imported
    os.environ.update(ENVIRONMENT)
    if package in TELEMETRY:
        telemetry.setdefault(TELEMETRY[package], None)
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise RuntimeUnavailableError(
                f'{purpose} needs the package {package}, which is not installed: pip install {package}, '
                f'or {instead}'
            ) from error
        raise _broken(package, purpose, instead, error) from error
    except Exception as error:
        raise _broken(package, purpose, instead, error) from error


def _broken(package: str, purpose: str, instead: str, error: Exception) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        f'{purpose} needs the package {package}, which is installed but cannot be imported '
        f'({type(error).__name__}: {error}); reinstall it, or {instead}'
    )
