"""Writers that close an invoice and come back to sign it, or to append the e-invoice: the first version never goes.

The settle time is the default one; what a writer does meanwhile is told by events, or by scans alone.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest

from invoicedrop.errors import Changed
from invoicedrop.inbox.events import Events
from invoicedrop.inbox.snapshot import take_snapshot
from invoicedrop.inbox.stability import StabilityTracker
from invoicedrop.inbox.watcher import Watcher
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Merchant, running
from pdfs import updated
from waiting import wait_until

GAPS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)
"""Seconds between the two phases."""
SETTLE = 1.0


def _phases(number: int) -> tuple[bytes, bytes]:
    """Return an invoice, and the same with a signature's kind of update appended."""
    unsigned = invoice_pdf(str(number))
    return unsigned, updated(unsigned, 9, b"<< /Type /Sig /Contents <00> >>")


class Pen:
    """Writes the phases of one file, and measures them: `longest` is the most seconds from one to the end of the next.

    On a busy machine that may be more than the settle time, and then the first phase is rightly taken for the invoice.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._last: float | None = None

    def write(self, stream: FileIO, content: bytes) -> None:
        """Write one phase."""
        begun = time.monotonic()
        stream.write(content)
        if self._last is not None:
            self.longest = max(self.longest, time.monotonic() - self._last)
        self._last = begun


def _append(pen: Pen, path: Path, gap: float, first: bytes, second: bytes) -> None:
    with path.open("wb", buffering=0) as stream:
        pen.write(stream, first)
    time.sleep(gap)
    with path.open("ab", buffering=0) as stream:
        pen.write(stream, second[len(first) :])


def _append_slowly(pen: Pen, path: Path, gap: float, first: bytes, second: bytes) -> None:
    """Write the second phase in pieces, each a gap after the one before."""
    with path.open("wb", buffering=0) as stream:
        pen.write(stream, first)
    time.sleep(gap)
    with path.open("ab", buffering=0) as stream:
        for piece in (second[len(first) : -40], second[-40:-20], second[-20:]):
            pen.write(stream, piece)
            time.sleep(gap)


def _write_anew(pen: Pen, path: Path, gap: float, first: bytes, second: bytes) -> None:
    for number, content in enumerate((first, second)):
        time.sleep(number * gap)
        with path.open("wb", buffering=0) as stream:
            pen.write(stream, content)


WRITERS = {"appends": _append, "appends_slowly": _append_slowly, "writes_anew": _write_anew}
Writer = Callable[[Pen, Path, float, bytes, bytes], None]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_what_a_writer_comes_back_to_is_sent_as_it_leaves_it(merchant: Merchant, writer: Writer) -> None:
    """With gaps from 20 ms to 0.9 s between the phases, each invoice is sent once, and signed."""
    signed: dict[int, str] = {}
    pens: dict[int, Pen] = {}
    with running(merchant, settle_seconds=str(SETTLE)) as daemon:
        daemon.wait_for("inbox.watching")
        writers = []
        for number, gap in enumerate(GAPS, 1):
            first, second = _phases(number)
            signed[number] = hashlib.sha256(second).hexdigest()
            pens[number] = Pen()
            path = merchant.drop / f"{number}.pdf"
            writers.append(threading.Thread(target=writer, args=(pens[number], path, gap, first, second)))
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        wait_until(lambda: len(list(merchant.processed.glob("*.pdf"))) >= len(GAPS), what=daemon.errors())
        assert daemon.stop() == 0
    in_time = {number for number, pen in pens.items() if pen.longest < SETTLE}
    assert in_time
    sent = sorted((upload.order_id, upload.sha256) for upload in merchant.sandbox.uploads())
    assert [item for item in sent if item[0] in in_time] == [item for item in signed.items() if item[0] in in_time]


@pytest.mark.parametrize("events", [True, False], ids=["events", "scans"])
@pytest.mark.parametrize("gap", GAPS)
def test_what_is_read_when_it_has_settled_is_signed(tmp_path: Path, gap: float, *, events: bool) -> None:
    """Found by events or by scans alone, a two-phase writer's file is read only as it is at its end."""
    for attempt in range(10):
        pen, read = _read_by_watcher(tmp_path / str(attempt), gap, events=events)
        if pen.longest < SETTLE:
            break
    assert read == [hashlib.sha256(_phases(1)[1]).hexdigest()]


def _read_by_watcher(folder: Path, gap: float, *, events: bool) -> tuple[Pen, list[str]]:
    """Return the writer's pen, and what was read of its file."""
    folder.mkdir()
    first, second = _phases(1)
    path = folder / "1.pdf"
    tracker = StabilityTracker(SETTLE, clock=time.monotonic)
    watcher = Watcher(
        folder,
        tracker,
        scan_interval=0.1,
        events=Events(lambda: None) if events else None,
        on_ignored=lambda _name, _why: None,
    )
    pen, read = Pen(), list[str]()
    watcher.look()
    thread = threading.Thread(target=_append, args=(pen, path, gap, first, second))
    thread.start()

    def taken() -> bool:
        watcher.look()
        for name, identity, _ in tracker.take(1):
            # As intake does: what changed since it was seen is looked at anew.
            try:
                with take_snapshot(path, len(second)) as snapshot:
                    if snapshot.identity == identity:
                        read.append(snapshot.sha256)
            except Changed:
                pass
            tracker.release(name)
            watcher.look_at(name)
        return bool(read)

    wait_until(taken)
    thread.join()
    watcher.close()
    return pen, read
