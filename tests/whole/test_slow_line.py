"""Uploads over a slow line: each gets the time that it needs while its bytes leave, and a person is told.

Times and sizes are some hundredth of real ones, in the same proportions: 12 invoices of 1 MB over 800 kbit/s with 60
seconds for a request, 8 at once.
"""

import random
import signal
import time
from collections.abc import Sequence
from datetime import datetime

import pytest

from merchant import Daemon, Merchant, running
from quick_service import QUICK, program
from slow_line import SlowLine, slow_line
from waiting import wait_until

_PROGRAM = program(QUICK, checked=False)
_SIZE = 100_000
_BODY = _SIZE * 4 / 3
_SPEED = 400_000.0
_TIMEOUT = "1.5"
"""Eight uploads at once take nearly twice as long."""


def _drop(merchant: Merchant, line: SlowLine, count: int, size: int = _SIZE) -> None:
    merchant.environment |= {"INVOICEDROP_API_URL": line.url, "INVOICEDROP_REQUEST_TIMEOUT": _TIMEOUT}
    for order in range(1, count + 1):
        merchant.drop_pdf(f"{order}.pdf", b"%PDF-1.7\n" + random.Random(order).randbytes(size))


def _wait_until_processed(merchant: Merchant, count: int) -> None:
    wait_until(lambda: len(list(merchant.processed.glob("*.pdf"))) == count, seconds=60, what="all to be processed")


def _seconds(daemon: Daemon) -> float:
    """Return the time from the first upload's start to the last one's end."""
    uploads = daemon.events("upload.started") + daemon.events("upload.accepted")
    moments = [datetime.fromisoformat(str(line["timestamp"])) for line in uploads]
    return (max(moments) - min(moments)).total_seconds()


def _most_at_once(lines: Sequence[dict[str, object]]) -> int:
    """Return how many uploads were under way at once, at most, by these lines of the log."""
    under_way = most = 0
    for line in lines:
        under_way += {"upload.started": 1, "upload.accepted": -1, "upload.unknown": -1}.get(str(line["event"]), 0)
        most = max(most, under_way)
    return most


def test_uploads_that_share_a_slow_line_all_arrive_at_the_first_try(merchant: Merchant) -> None:
    """Twelve invoices take little more time than the line needs for them, and none is sent twice or is in doubt."""
    with slow_line(merchant.sandbox.url, _SPEED) as line:
        _drop(merchant, line, 12)
        with running(merchant, program=_PROGRAM) as daemon:
            _wait_until_processed(merchant, 12)
            assert len(daemon.events("upload.started")) == 12
            assert daemon.events("upload.unknown") == []
            assert line.bytes < 1.1 * 12 * _BODY
            assert _seconds(daemon) < 1.3 * line.busy
            status = merchant.run("status").stdout
    assert len(merchant.sandbox.uploads()) == 12
    told = [str(line["detail"]) for line in daemon.events("upload.accepted") if "detail" in line]
    assert told
    for words in (told[-1], " ".join(status.split())):
        assert "the line is slow" in words
        assert "kB/s" in words
        assert "upload_workers" in words
        assert "request_timeout" in words


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2])
def test_the_largest_invoices_get_through_at_20_kilobytes_a_second(merchant: Merchant, count: int) -> None:
    """Invoices of `max_file_bytes` have time for a line of 20 kB/s, also where they share it."""
    size = 60_000
    with slow_line(merchant.sandbox.url, 21_000, queue=8192) as line:
        _drop(merchant, line, count, size)
        changes = {"request_timeout": "2.5", "max_file_bytes": str(size + 9)}
        with running(merchant, "run", "--once", program=_PROGRAM, **changes) as daemon:
            assert daemon.wait() == 0, daemon.errors()
            assert len(daemon.events("upload.started")) == count


@pytest.mark.long
def test_a_line_that_stops_makes_fewer_uploads_at_once(merchant: Merchant) -> None:
    """Bytes that do not leave are given up after `request_timeout`; then half as many go at once, and all arrive."""
    with slow_line(merchant.sandbox.url, _SPEED) as line:
        _drop(merchant, line, 12)
        with running(merchant, program=_PROGRAM) as daemon:
            daemon.wait_for("upload.started", 8)
            line.moving.clear()
            daemon.wait_for("upload.unknown", 8)
            eighth = daemon.events().index(daemon.events("upload.unknown")[7])
            wait_until(lambda: "the line is slow" in merchant.run("status").stdout, what="status to name it")
            line.moving.set()
            _wait_until_processed(merchant, 12)
            assert "the line is slow" in str(daemon.events("upload.unknown")[0]["detail"])
            assert _most_at_once(daemon.events()[:eighth]) == 8
            assert _most_at_once(daemon.events()[eighth + 1 :]) < 8
    assert len(merchant.sandbox.uploads()) == 12


def test_a_stop_does_not_wait_for_a_slow_upload(merchant: Merchant) -> None:
    """SIGTERM during an upload over a slow line: it ends in order, by `request_timeout`; the next run sends it."""
    with slow_line(merchant.sandbox.url, 10_000) as line:
        _drop(merchant, line, 1)
        with running(merchant, program=_PROGRAM) as daemon:
            daemon.wait_for("upload.started")
            daemon.signal(signal.SIGTERM)
            began = time.monotonic()
            assert daemon.wait() == 0
            assert time.monotonic() - began < float(_TIMEOUT) + 2
            assert daemon.events()[-1]["interrupted"] == 0
            assert len(daemon.events("upload.unknown")) == 1
        line.speed = 1e9
        assert merchant.run("run", "--once", program=_PROGRAM).returncode == 0
    assert len(merchant.sandbox.uploads()) == 1
