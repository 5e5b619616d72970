"""What the modules outside `ros/` log with Python's logging, on the node's logger."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ['forward_logging', 'log_at']


class _NodeHandler(logging.Handler):
    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log_at(self._logger, record.levelname.lower(), self.format(record))
        except Exception:  # noqa: BLE001  who logs an error must not meet another one
            self.handleError(record)


def log_at(logger: Any, severity: str, text: str) -> None:
    """Log at a severity by name: debug, info, warning, error (critical counts as that)."""
    # One call per severity: rclpy refuses a call site that changes its severity.
    if severity in ('error', 'critical'):
        logger.error(text)
    elif severity == 'warning':
        logger.warning(text)
    elif severity == 'info':
        logger.info(text)
    else:
        logger.debug(text)


def forward_logging(logger: Any) -> None:
    """Send what `impatient_ros` logs to an rclpy logger (and so to the console, the log file and /rosout)."""
    package = logging.getLogger('impatient_ros')
    for handler in list(package.handlers):
        if isinstance(handler, _NodeHandler):
            package.removeHandler(handler)
    package.addHandler(_NodeHandler(logger))
    package.setLevel(logging.INFO)
    package.propagate = False
