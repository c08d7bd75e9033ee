"""Writers that close an invoice and come back to sign it, or to append the e-invoice: the first version never goes.

The settle time is the default one; what a writer does meanwhile is told by events, or by scans alone.
"""

import hashlib
import threading
import time
from collections.abc import Callable
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


def _append(path: Path, gap: float, first: bytes, second: bytes) -> None:
    path.write_bytes(first)
    time.sleep(gap)
    with path.open("ab") as stream:
        stream.write(second[len(first) :])


def _append_slowly(path: Path, gap: float, first: bytes, second: bytes) -> None:
    """Write the second phase in pieces, each a gap after the one before."""
    path.write_bytes(first)
    time.sleep(gap)
    with path.open("ab", buffering=0) as stream:
        for piece in (second[len(first) : -40], second[-40:-20], second[-20:]):
            stream.write(piece)
            time.sleep(gap)


def _write_anew(path: Path, gap: float, first: bytes, second: bytes) -> None:
    path.write_bytes(first)
    time.sleep(gap)
    path.write_bytes(second)


WRITERS = {"appends": _append, "appends_slowly": _append_slowly, "writes_anew": _write_anew}
Writer = Callable[[Path, float, bytes, bytes], None]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_what_a_writer_comes_back_to_is_sent_as_it_leaves_it(merchant: Merchant, writer: Writer) -> None:
    """With gaps from 20 ms to 0.9 s between the phases, each invoice is sent once, and signed."""
    signed: dict[int, str] = {}
    with running(merchant, settle_seconds=str(SETTLE)) as daemon:
        daemon.wait_for("inbox.watching")
        writers = []
        for number, gap in enumerate(GAPS, 1):
            first, second = _phases(number)
            signed[number] = hashlib.sha256(second).hexdigest()
            path = merchant.drop / f"{number}.pdf"
            writers.append(threading.Thread(target=writer, args=(path, gap, first, second)))
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        wait_until(lambda: len(list(merchant.processed.glob("*.pdf"))) >= len(GAPS), what=daemon.errors())
        assert daemon.stop() == 0
    assert {upload.order_id: upload.sha256 for upload in merchant.sandbox.uploads()} == signed
    assert len(merchant.sandbox.uploads()) == len(GAPS)


@pytest.mark.parametrize("events", [True, False], ids=["events", "scans"])
@pytest.mark.parametrize("gap", GAPS)
def test_what_is_read_when_it_has_settled_is_signed(tmp_path: Path, gap: float, *, events: bool) -> None:
    """Found by events or by scans alone, a two-phase writer's file is read only as it is at its end."""
    first, second = _phases(1)
    path = tmp_path / "1.pdf"
    tracker = StabilityTracker(SETTLE, clock=time.monotonic)
    watcher = Watcher(
        tmp_path,
        tracker,
        scan_interval=0.1,
        events=Events(lambda: None) if events else None,
        on_ignored=lambda _name, _why: None,
    )
    read: list[str] = []
    watcher.look()
    thread = threading.Thread(target=_append, args=(path, gap, first, second))
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
    assert read == [hashlib.sha256(second).hexdigest()]
