"""What a process and its children cost: processor time, memory, wake-ups, from Linux's /proc."""

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")


def members(root: int) -> list[int]:
    """Return the ids of a process and all that descend from it."""
    found = [root]
    for pid in found:
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names wanted
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def resident_bytes(root: int) -> int:
    """Return the sum of what is resident of each process; what they share counts for each."""
    total = 0
    for pid in members(root):
        with suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def proportional_bytes(root: int) -> int:
    """Return the sum of each process's proportional share (PSS): what is shared counts once."""
    total = 0
    for pid in members(root):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def cpu_seconds(root: int) -> float:
    """Return the processor time of the tree so far, ended and reaped children included; in steps of 10 ms."""
    ticks = 0
    for pid in members(root):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICK


def exact_cpu_seconds(root: int) -> float:
    """Return the processor time of the tree's living threads so far, exact to the nanosecond."""
    return sum(int(text.split()[0]) for text in _of_threads(root, "schedstat")) / 1e9


def wake_ups(root: int) -> int:
    """Return how often the tree's living threads have gone to sleep of their own accord so far."""
    found = (text.partition("\nvoluntary_ctxt_switches:")[2] for text in _of_threads(root, "status"))
    return sum(int(rest.split(None, 1)[0]) for rest in found)


def _of_threads(root: int, name: str) -> Iterable[str]:
    for pid in members(root):
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names wanted
                yield Path(f"/proc/{pid}/task/{task}/{name}").read_text()


class Peaks(NamedTuple):
    """The most that was seen, in bytes: see `resident_bytes` and `proportional_bytes`."""

    resident: int
    proportional: int


class MemoryWatch:
    """Looks at a tree's memory while the block runs: the resident one 20 times a second, the other twice."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._over = threading.Event()
        self._resident = self._proportional = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peaks(self) -> Peaks:
        """The most that was seen so far."""
        return Peaks(self._resident, self._proportional)

    def _watch(self) -> None:
        next_look = 0.0
        while not self._over.wait(0.05):
            self._resident = max(self._resident, resident_bytes(self._root))
            if time.monotonic() >= next_look:
                self._proportional = max(self._proportional, proportional_bytes(self._root))
                next_look = time.monotonic() + 0.5
