"""How much others compute on this machine: a measurement beside a stranger's work says nothing about ours."""

import os
import time
from collections.abc import Iterable

__all__ = ['Bystanders']

_TICK = os.sysconf('SC_CLK_TCK')
LEAST = 0.3  # s between two looks: the kernel counts in hundredths


class Bystanders:
    """Watches the processor time of all processes but this one and `own` children.

    `busy` is the number of cores that others kept busy, lately (over at least `LEAST` seconds). Time that the
    hypervisor took (steal) is not theirs: it belongs to the machine.
    """

    def __init__(self, own: Iterable[int] = ()) -> None:
        self._own = tuple(own)
        self._last = self._read()
        self.busy = 0.0

    def look(self) -> float:
        """Refresh and return `busy`."""
        now = time.perf_counter()
        if now - self._last[0] >= LEAST:
            reading = self._read()
            self.busy = max(0.0, (reading[1] - self._last[1]) / (reading[0] - self._last[0]))
            self._last = reading
        return self.busy

    def _read(self) -> tuple[float, float]:
        with open('/proc/stat', encoding='ascii') as file:
            user, nice, system, _, _, irq, softirq, *_ = (int(n) for n in file.readline().split()[1:])
        mine = sum(os.times()[:2])
        for pid in self._own:
            with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
                fields = file.read().rpartition(')')[2].split()
            mine += (int(fields[11]) + int(fields[12])) / _TICK
        return time.perf_counter(), (user + nice + system + irq + softirq) / _TICK - mine
