"""The processes that the demo starts, and their output, line by line."""

import logging
import re
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ['Child', 'free_domain', 'readable']

LINES = 200  # of output remembered per child
TERMINATE = 3.0  # s after SIGTERM until SIGKILL

# Domains 1 to 101: 0 is everybody's default, and the ports of higher ones are in Linux' ephemeral range. The
# numbers below are those of the DDSI-RTPS standard.
DOMAINS = range(1, 102)
PORT_BASE, PORTS_PER_DOMAIN, FIRST_UNICAST = 7400, 250, 10

# [WARN] [1763890000.123456789] [perception]: text
LOG_LINE = re.compile(r'^\[(?P<level>[A-Z]+)\]\s+\[\d+\.\d+\]\s+\[[^]]*\]:\s*')
COLOUR = re.compile(r'\x1b\[[0-9;]*m')

logger = logging.getLogger(__name__)


class Child:
    """A running program and the last lines of its output.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches the demo only. The demo then ends
    the camera before the node, and no frame is lost.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_output: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        """`on_output` is called once, in a thread, with the lines of stdout; without it they are kept."""
        self.name = name
        self._lines: deque[str] = deque(maxlen=LINES)
        self._unseen: deque[str] = deque(maxlen=LINES)
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if on_output else subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,
        )
        streams = {self._process.stdout: on_output or self._keep, self._process.stderr: self._keep}
        self._readers = [
            threading.Thread(target=read, args=(stream,), name=f'{name} output', daemon=True)
            for stream, read in streams.items()
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: ended by that signal."""
        return self._process.poll()

    def last_lines(self, count: int) -> list[str]:
        return list(self._lines)[-count:]

    def new_lines(self) -> list[str]:
        """What it wrote since the last call."""
        lines = []
        while self._unseen:
            lines.append(self._unseen.popleft())
        return lines

    def interrupt(self) -> None:
        if self.exit_code is None:
            self._process.send_signal(signal.SIGINT)

    def end(self, grace: float) -> int:
        """Interrupt it, terminate it after `grace` seconds, and return its exit code."""
        self.interrupt()
        for seconds, insist in ((grace, self._process.terminate), (TERMINATE, self._process.kill)):
            try:
                self._process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                logger.warning('the %s is still running after %g s', self.name, seconds)
                insist()
        code = self._process.wait()
        for reader in self._readers:
            reader.join(TERMINATE)
        for stream in (self._process.stdout, self._process.stderr):
            # A reader that still runs waits for a process that this child started and that has the pipe open.
            if stream is not None and not any(reader.is_alive() for reader in self._readers):
                stream.close()
        return code

    def _keep(self, stream: Iterable[str]) -> None:
        for line in stream:
            self._lines.append(line.rstrip())
            self._unseen.append(line.rstrip())


def readable(line: str) -> tuple[str, str]:
    """(level, text) of a line of a ROS node's log; the level is '' where the line is none."""
    line = COLOUR.sub('', line)
    match = LOG_LINE.match(line)
    return (match['level'], line[match.end() :]) if match else ('', line)


def free_domain(domains: Iterable[int] = DOMAINS) -> int:
    """A ROS domain in which nobody on this machine takes part. Raises OSError if there is none."""
    for domain in domains:
        port = PORT_BASE + PORTS_PER_DOMAIN * domain + FIRST_UNICAST
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', port))
            except OSError:
                continue
            return domain
    raise OSError(
        'every ROS domain is in use on this machine: set ROS_DOMAIN_ID to one that you want to share'
    )
