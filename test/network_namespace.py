"""Runs Python where nothing outside can be reached and every attempt to is seen.

    seen = observe('import impatient_ros.anytime', home=tmp_path / 'home')
    assert seen.asked == [] and seen.attempts == 0

A network namespace of its own has a loopback device alone. Its resolver writes down what it is asked; packets
for any other place find no route, and the kernel counts them, whichever process and library sent them.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ['Seen', 'observe']

APART = ['unshare', '--map-root-user', '--net', '--mount']
OBSERVER = r"""
import fcntl, json, os, pathlib, socket, struct, subprocess, sys, threading, time
code, report, *arguments = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:  # lo up: SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
    fcntl.ioctl(control, 0x8914, struct.pack('16sh', b'lo', 0x41))
resolver = pathlib.Path(report).with_name('resolv.conf')
resolver.write_text('nameserver 127.0.0.1\noptions timeout:1 attempts:1\n')
subprocess.run(['mount', '--bind', str(resolver), '/etc/resolv.conf'], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('127.0.0.1', 53))
asked = []

def answer():
    while True:
        query, sender = server.recvfrom(512)
        asked.append(query[12:].split(b'\0')[0].decode('latin-1'))
        server.sendto(query[:2] + bytes([0x81, 0x83]) + query[4:], sender)  # no such name

threading.Thread(target=answer, daemon=True).start()

def unroutable():
    lines = pathlib.Path('/proc/net/snmp').read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith('Ip:'))
    count = int(values[names.index('OutNoRoutes')])
    for line in pathlib.Path('/proc/net/snmp6').read_text().splitlines():
        name, value = line.split()
        count += int(value) * (name == 'Ip6OutNoRoutes')
    return count

before = unroutable()
done = subprocess.run([sys.executable, '-c', code, *arguments])
time.sleep(1)  # what threads send when a process ends
seen = {'returncode': done.returncode, 'asked': list(asked), 'attempts': unroutable() - before}
# Both kinds of attempt would have been seen.
before = unroutable()
for attempt in (lambda: socket.getaddrinfo('collector.example', 443),
                lambda: socket.create_connection(('192.0.2.1', 443), 1)):
    try:
        attempt()
    except OSError:
        pass
seen['works'] = bool(asked[len(seen['asked']):]) and unroutable() > before
pathlib.Path(report).write_text(json.dumps(seen))
"""


@dataclass(frozen=True)
class Seen:
    """Names that were asked for, and how many packets were sent to somewhere else."""

    asked: list[str]
    attempts: int
    kept: frozenset[str]  # folders of the home with files in them


@functools.cache
def permitted() -> bool:
    """Whether this machine lets this user have a network of their own."""
    try:
        return subprocess.run([*APART, 'true'], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def observe(code: str, *arguments: str, home: Path) -> Seen:
    """What `code` reaches out for, run in a process of its own with `arguments` and an empty home.

    Skips the test where namespaces are not permitted; fails where the code does.
    """
    if not permitted():
        pytest.skip('needs a network namespace, which is not permitted here (unshare --net)')
    home.mkdir()
    report = home.with_name('seen.json')
    # Nothing that CI, this machine or the tests set may be what keeps it quiet.
    quiet = ('XDG_', 'CI', 'HF_', 'ORT_DISABLE', 'DO_NOT_TRACK', 'GITHUB_')
    environ = {name: value for name, value in os.environ.items() if not name.startswith(quiet)}
    done = subprocess.run(
        [*APART, sys.executable, '-c', OBSERVER, code, str(report), *arguments],
        env={**environ, 'HOME': str(home), 'PYTHONPATH': os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(report.read_text())
    assert seen['returncode'] == 0, done.stderr
    assert seen['works'], 'an attempt to reach out would not have been seen'
    kept = frozenset(str(file.relative_to(home).parent) for file in home.rglob('*') if file.is_file())
    return Seen(seen['asked'], seen['attempts'], kept)
