"""Our checking processes beside Pebble's pool of processes, the library with a time limit for each task.

    python tests/bench/pebble_compared.py [--idle 10] [--calls 300]

Both do the same check of the same PDFs, one after the other, with one process. Measured are: what both cost while
there is nothing to do, how long a check takes as its caller sees it, and how late after its limit an endless one ends.
Needs the extra `bench`.
"""

import argparse
import mmap
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import psutil

from invoicedrop.errors import Rejected
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.pdf.validator import Validator

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "pdf"))
import pdfs

LIMIT = 0.5
"""Seconds after which an endless check is to be ended."""
ENDLESS = b"SLEEP\n"
"""What the stub check never ends with."""


def check_in_pebble(pdf: bytes) -> PdfFacts:
    """Check in a process of Pebble's; it has no way to hand over a descriptor, so the bytes go through its pipe."""
    from stub_checks import obedient  # noqa: PLC0415 - in the child only

    with mmap.mmap(-1, len(pdf)) as data:
        data[:] = pdf
        return obedient(data, max_pages=500, expect=(), search_seconds=10)


class Ours:
    """Our validator, with one process that can be told to sleep."""

    def __init__(self, limit: float) -> None:
        self._validator = Validator(timeout=limit, memory_mb=1024, workers=1, check="stub_checks:obedient")

    def check(self, pdf: bytes) -> None:
        """Check a PDF."""
        fd = os.memfd_create("invoice")
        try:
            os.write(fd, pdf)
            self._validator.check(fd, len(pdf))
        finally:
            os.close(fd)

    def ended(self) -> bool:
        """Try an endless check, which gets two tries; return whether it was ended."""
        try:
            self.check(ENDLESS)
        except Rejected:
            return True
        return False

    def close(self) -> None:
        """End it."""
        self._validator.close()


class Pebbles:
    """Pebble's pool, with one process."""

    def __init__(self, limit: float) -> None:
        from pebble import ProcessPool  # noqa: PLC0415 - only where it is installed

        self._limit = limit
        self._pool = ProcessPool(max_workers=1, context=get_context("spawn"))

    def check(self, pdf: bytes, limit: float = 60.0) -> None:
        """Check a PDF; the start of a process counts as part of the time of its first task."""
        self._pool.schedule(check_in_pebble, args=[pdf], timeout=limit).result()

    def ended(self) -> bool:
        """Try an endless check; return whether it was ended."""
        try:
            self.check(ENDLESS, self._limit)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        """End it."""
        self._pool.stop()
        self._pool.join()


def family() -> list[psutil.Process]:
    """Return this process and those that it has started."""
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def wake_ups() -> int:
    """Return how often a thread of these processes has gone to sleep so far, to be woken again."""
    count = 0
    for process in family():
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            line = next(line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt"))
            count += int(line.split()[1])
    return count


def processor_seconds() -> float:
    """Return the processor time that these processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in family())


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def measure(kind: type[Ours] | type[Pebbles], idle: float, calls: int) -> dict[str, str]:
    """Return the figures of one of the two."""
    figures = {}
    pool = kind(60.0)
    small, large = pdfs.invoice(padding=20_000), pdfs.invoice(padding=5_000_000)
    figures["first check, the start of the process included"] = f"{milliseconds(lambda: pool.check(small)):.0f} ms"
    pool.check(large)
    for name, pdf, times in (("20 KB", small, calls), ("5 MB", large, calls // 10)):
        took = sorted(milliseconds(lambda pdf=pdf: pool.check(pdf)) for _ in range(times))  # type: ignore[misc]
        figures[f"check of {name}, median"] = f"{statistics.median(took):.2f} ms"
        figures[f"check of {name}, p95"] = f"{took[int(times * 0.95)]:.2f} ms"
    before, used = wake_ups(), processor_seconds()
    time.sleep(idle)
    used = processor_seconds() - used
    # One wake-up is that of this sleep.
    figures["idle, wake-ups a second"] = f"{(wake_ups() - before - 1) / idle:.1f}"
    figures["idle, processor time"] = f"{used / idle * 1000:.1f} ms a second"
    figures["threads in the parent"] = f"{psutil.Process().num_threads() - 1}"
    pool.close()
    pool = kind(LIMIT)
    late = statistics.median(lateness(pool) for _ in range(5))
    figures["an endless process is gone, after its limit"] = f"{late:.0f} ms"
    pool.close()
    return figures


def lateness(pool: Ours | Pebbles) -> float:
    """Return how many milliseconds after its limit the process of an endless check is gone."""
    pool.check(pdfs.invoice())
    before = psutil.Process().children()
    with ThreadPoolExecutor(1) as threads:
        started = time.perf_counter()
        trying = threads.submit(pool.ended)
        psutil.wait_procs(before[-1:])
        late = (time.perf_counter() - started - LIMIT) * 1000
        assert trying.result()
    return late


def main() -> None:
    """Measure both, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--idle", type=float, default=10.0, help="seconds")
    arguments.add_argument("--calls", type=int, default=300)
    wanted = arguments.parse_args()
    ours = measure(Ours, wanted.idle, wanted.calls)
    pebble = measure(Pebbles, wanted.idle, wanted.calls)
    print(f"| | ours | Pebble {metadata.version('pebble')} |\n| --- | --- | --- |")
    for name, value in ours.items():
        print(f"| {name} | {value} | {pebble[name]} |")


if __name__ == "__main__":
    main()
