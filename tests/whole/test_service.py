"""The real command as a process: bad input, exit codes, signals, folders that come and go, and what is never logged."""

import hashlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fpdf import FPDF
from fpdf.enums import AccessPermission, EncryptionMethod

import without_confinement
from api_trouble import down, fault
from invoicedrop.inbox.ownership import OWNER_FILE
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.sandbox import CUSTOMER_SURNAME, Options, Running, marketplace_number, serve
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.service import status_file
from invoicedrop.system.confinement import offered
from merchant import COMMAND, Daemon, Merchant, running
from pdfs import build
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_HEAD = 700
"""Bytes: the first part of an invoice."""
_TIMING = replace(QUICK, first_probe=0.1)
"""For tests in which the daemon would only wait until it looks again."""


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} - {OWNER_FILE} if folder.is_dir() else set()


def _reason(merchant: Merchant, name: str) -> str:
    return (merchant.failed / f"{name}.reason.txt").read_text()


def _beat(merchant: Merchant) -> float:
    """Return when the daemon wrote its status file last, in seconds since the epoch."""
    report = status_file.read(merchant.state / "service.json")
    return 0.0 if report is None else report.beat


def _wait_for_beats(merchant: Merchant, beats: int) -> None:
    for _ in range(beats):
        last = _beat(merchant)
        wait_until(lambda last=last: _beat(merchant) > last, what="a beat of the daemon")  # type: ignore[misc]


def _wait_for_scans(merchant: Merchant, scans: int = 3) -> None:
    """Wait until the daemon has certainly scanned its folder this many times more: it does before each beat."""
    _wait_for_beats(merchant, scans + 1)


def _encrypted(*, user_password: str) -> bytes:
    document = FPDF()
    document.add_page()
    document.set_font("helvetica", size=12)
    document.cell(text="Invoice 5")
    document.set_encryption(
        owner_password="owner",
        user_password=user_password,
        encryption_method=EncryptionMethod.RC4,
        permissions=AccessPermission.none(),
    )
    return bytes(document.output())


# Bad input, row by row

_JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(500) + b"\xff\xd9"
_NO_INVOICES = {
    "empty": (b"", "empty"),
    "html": (b"<!doctype html><title>Please sign in</title>" * 20, "not_a_pdf"),
    "jpeg": (_JPEG, "not_a_pdf"),
    "truncated": (invoice_pdf("1")[:_HEAD], "incomplete"),
    "no pages": (build({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Count 0 /Kids [] >>"}), "no_"),
    "password": (_encrypted(user_password="needed"), "encrypted"),
}


def test_what_is_no_readable_pdf_goes_to_failed_with_its_reason(merchant: Merchant) -> None:
    """Empty, HTML, JPEG, truncated, pageless and password-protected files go to failed, each with its reason."""
    for number, (content, _) in enumerate(_NO_INVOICES.values(), 1):
        merchant.drop_pdf(f"{number}.pdf", content)
    done = merchant.run("run", "--once")
    assert done.returncode == 1, done.stderr
    assert merchant.sandbox.uploads() == []
    for number, (content, reason) in enumerate(_NO_INVOICES.values(), 1):
        assert (merchant.failed / f"{number}.pdf").read_bytes() == content
        assert f"reason  {reason}" in _reason(merchant, f"{number}.pdf")


def test_a_pdf_that_only_restricts_printing_is_uploaded(merchant: Merchant) -> None:
    """A PDF with an owner password only can be read by anybody, so it goes through."""
    content = merchant.drop_pdf("5.pdf", _encrypted(user_password=""))
    assert merchant.run("run", "--once").returncode == 0
    assert (merchant.processed / "5.pdf").read_bytes() == content


def test_an_incomplete_tail_is_given_time(merchant: Merchant) -> None:
    """A file whose end is missing waits, and goes through once its writer has completed it."""
    content = invoice_pdf("5")
    with running(merchant, incomplete_grace="60") as daemon:
        daemon.wait_for("inbox.watching")
        with (merchant.drop / "5.pdf").open("wb") as writer:
            writer.write(content[:_HEAD])
            writer.flush()
            daemon.wait_for("invoice.deferred")
            assert _names(merchant.failed) == set()
            writer.write(content[_HEAD:])
        daemon.wait_for("invoice.processed")
    assert (merchant.processed / "5.pdf").read_bytes() == content


def test_names_and_orders_that_cannot_be_go_to_failed_with_the_api_s_own_words(merchant: Merchant) -> None:
    """A name without an order id, an unknown order, a refused invoice: failed, with an example or the API's answer."""
    merchant.drop_pdf("Rechnung 8355.pdf")
    merchant.drop_pdf("302-1234567-1234567.pdf")
    merchant.drop_pdf("9999.pdf")
    merchant.drop_pdf("6.pdf")
    merchant.drop_pdf("7.pdf")
    merchant.sandbox.faults.add("status", "upload", order_id=6, status=422, message="order is locked")
    merchant.sandbox.faults.add("accepted_error", "upload", order_id=7, message="channel refuses invoices")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 1
    assert _names(merchant.drop) == {"processed", "failed"}
    assert "8355.pdf" in _reason(merchant, "Rechnung 8355.pdf")
    assert "name_without_order" in _reason(merchant, "302-1234567-1234567.pdf")
    assert "Order not found" in _reason(merchant, "9999.pdf")
    assert "order is locked" in _reason(merchant, "6.pdf")
    assert "channel refuses invoices" in _reason(merchant, "7.pdf")
    assert merchant.sandbox.uploads() == []


def test_a_file_that_is_too_large_is_never_read(merchant: Merchant) -> None:
    """A file above max_file_bytes goes to failed without being read: here it is one hole, larger than any memory."""
    with (merchant.drop / "5.pdf").open("wb") as writer:
        writer.truncate(1 << 40)
    done = merchant.run("run", "--once", program=UNCHECKED)
    assert done.returncode == 1, done.stderr
    assert (merchant.failed / "5.pdf").stat().st_size == 1 << 40
    assert "max_file_bytes" in _reason(merchant, "5.pdf")


def test_what_is_no_regular_file_is_left_alone_with_one_line(merchant: Merchant, tmp_path: Path) -> None:
    """Symlinks, FIFOs, sockets, devices, folders and other files stay, one log line each, however often seen."""
    (tmp_path / "elsewhere.pdf").write_bytes(invoice_pdf("1"))
    (merchant.drop / "1.pdf").symlink_to(tmp_path / "elsewhere.pdf")
    os.mkfifo(merchant.drop / "2.pdf")
    (merchant.drop / "3.pdf").mkdir()
    (merchant.drop / ".4.pdf").write_bytes(b"hidden")
    (merchant.drop / "5.pdf.part").write_bytes(b"temporary")
    (merchant.drop / "Thumbs.db").write_bytes(b"Windows")
    (merchant.drop / "prices.xlsx").write_bytes(b"other")
    left_alone = {"1.pdf", "2.pdf", "3.pdf", ".4.pdf", "5.pdf.part", "Thumbs.db", "prices.xlsx"}
    # The path of a socket has at most 107 bytes, wherever the test's folder lies.
    before = Path.cwd()
    os.chdir(merchant.drop)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind("6.pdf")
        left_alone.add("6.pdf")
    finally:
        os.chdir(before)
    if os.geteuid() == 0:
        try:
            os.mknod(merchant.drop / "7.pdf", 0o20600, os.makedev(1, 3))
            left_alone.add("7.pdf")
        except PermissionError:
            pass
    with listener, running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        _wait_for_scans(merchant)
        assert daemon.stop() == 0
        ignored = [str(line["file"]) for line in daemon.events("file.ignored")]
    assert sorted(ignored) == sorted(left_alone)
    assert left_alone <= _names(merchant.drop)
    assert merchant.sandbox.uploads() == []


def _wrong_token(api: Running) -> Callable[[], None]:
    api.store.tokens.clear()
    return lambda: api.store.tokens.add(api.token)


_OUTAGES = {
    "wrong token": (_wrong_token, "token"),
    "down": (down, "cannot be reached"),
    "429": (fault("rate_limited"), "rate limit"),
    "maintenance": (fault("status", status=503), "out of service"),
    "proxy page": (fault("html", status=200), "web page"),
    "redirect": (fault("redirect"), "api_url"),
}


@pytest.mark.parametrize("outage", _OUTAGES)
def test_the_api_s_trouble_moves_nothing_and_resumes_by_itself(merchant: Merchant, outage: str) -> None:
    """While the API cannot take it the invoice stays, one api.paused says why, and it goes when the trouble ends."""
    begin, words = _OUTAGES[outage]
    end = begin(merchant.sandbox)
    content = merchant.drop_pdf("5.pdf")
    with running(merchant, program=program(_TIMING, checked=False)) as daemon:
        daemon.wait_for("api.paused")
        assert _names(merchant.drop) == {"5.pdf", "processed", "failed"}
        assert _names(merchant.failed) == set()
        end()
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0
        paused = daemon.events("api.paused")
        assert len(paused) == 1
        assert words in str(paused[0]["detail"])
        assert len(daemon.events("api.resumed")) == 1
    assert (merchant.processed / "5.pdf").read_bytes() == content
    assert len(merchant.sandbox.uploads()) == 1


# Exit codes


def test_a_broken_configuration_ends_with_78_and_every_problem_at_once(merchant: Merchant) -> None:
    """Missing folder, unknown setting and wrong value are named together, in sentences, with exit 78."""
    done = merchant.run(
        "run", drop_dir=str(merchant.home / "nowhere"), dropdir="x", company_id="twelve", requests_per_second="-1"
    )
    assert done.returncode == 78
    assert "Traceback" not in done.stderr
    assert "did you mean INVOICEDROP_DROP_DIR" in done.stderr
    assert "company_id" in done.stderr
    assert "requests_per_second" in done.stderr


def test_a_missing_drop_folder_at_start_ends_with_78(merchant: Merchant) -> None:
    """A drop folder that is not there at start is a configuration error that names it."""
    done = merchant.run("run", drop_dir=str(merchant.home / "nowhere"))
    assert done.returncode == 78
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_ends_with_2(merchant: Merchant) -> None:
    """An unknown option is wrong usage, exit 2."""
    assert merchant.run("run", "--twice", forked=False).returncode == 2


def test_run_once_ends_with_0_when_all_went(merchant: Merchant) -> None:
    """Working off what is there, all of it good, ends with 0; here in a new interpreter, as a user starts it."""
    contents = {f"{n}.pdf": merchant.drop_pdf(f"{n}.pdf") for n in range(1, 6)}
    done = merchant.run("run", "--once", forked=False)
    assert done.returncode == 0, done.stderr
    assert {name: (merchant.processed / name).read_bytes() for name in contents} == contents


def test_run_once_ends_with_75_when_work_is_left(merchant: Merchant) -> None:
    """When the API cannot take it now, `run --once` leaves the file and ends with 75."""
    merchant.sandbox.faults.add("status", status=503)
    merchant.drop_pdf("5.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 75
    assert "5.pdf" in _names(merchant.drop)


def test_the_second_instance_says_who_holds_the_state_folder(merchant: Merchant) -> None:
    """A second daemon on the same state folder ends with 75 and names the first one's process."""
    with running(merchant) as daemon:
        daemon.wait_for("inbox.watching")
        second = merchant.run("run", "--once")
        assert second.returncode == 75
        assert str(daemon.process.pid) in second.stderr
        assert "Traceback" not in second.stderr
        assert daemon.stop() == 0
    assert merchant.run("run", "--once").returncode == 0


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_middle_of_an_upload_waits_for_its_answer(merchant: Merchant, number: signal.Signals) -> None:
    """SIGTERM or SIGINT in mid-upload: the answer is awaited and written down, exit 0, and nothing is asked again."""
    merchant.sandbox.faults.add("latency", "upload", seconds=0.7)
    content = merchant.drop_pdf("5.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        merchant.sandbox.wait_until(lambda: merchant.sandbox.journal.arrived("upload") == 1)
        daemon.signal(number)
        assert daemon.wait() == 0
        assert [line["event"] for line in daemon.events()][-1] == "service.stopped"
        assert daemon.events("service.stopping")[0]["signal"] == number.name
    assert (merchant.processed / "5.pdf").read_bytes() == content
    requests = len(merchant.sandbox.requests)
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    assert len(merchant.sandbox.requests) == requests


def test_no_new_work_is_begun_after_a_stop(merchant: Merchant) -> None:
    """Of many waiting files only those under way go out after SIGTERM; the others stay for the next start."""
    merchant.sandbox.faults.add("latency", "upload", seconds=0.7)
    for n in range(1, 11):
        merchant.drop_pdf(f"{n}.pdf")
    with running(merchant, program=UNCHECKED, upload_workers="2") as daemon:
        merchant.sandbox.wait_until(lambda: merchant.sandbox.journal.arrived("upload") == 2)
        assert daemon.stop() == 0
    assert len(_names(merchant.processed)) == 2
    assert len(merchant.sandbox.uploads()) == 2


def test_no_more_uploads_at_a_time_than_there_are_workers(merchant: Merchant) -> None:
    """Two inboxes and two workers: two uploads are under way at a time, not two for each inbox."""
    merchant.sandbox.faults.add("latency", "upload", seconds=0.4)
    tables = ""
    for name in ("bol", "amazon"):
        folder = merchant.home / name
        folder.mkdir()
        for number in range(1, 4):
            (folder / f"{number}.pdf").write_bytes(invoice_pdf(f"{name} {number}"))
        tables += f'[[inboxes]]\nname = "{name}"\ndrop_dir = "{folder}"\n'
    config = merchant.home / "invoicedrop.toml"
    config.write_text(tables)
    del merchant.environment["INVOICEDROP_DROP_DIR"]
    assert merchant.run("run", "--once", program=UNCHECKED, config=str(config), upload_workers="2").returncode == 0
    times = sorted(request.time for request in merchant.sandbox.requests if request.kind == "upload")
    assert len(times) == 6
    assert all(after - before > 0.35 for before, after in zip(times, times[2:], strict=False))


def test_a_second_signal_hurries_and_the_lost_answer_is_asked_about(merchant: Merchant) -> None:
    """A hanging upload is broken off by a second signal; the next start finds that it arrived, and sends nothing."""
    merchant.sandbox.faults.add("hang_after_store", "upload", count=1)
    content = merchant.drop_pdf("5.pdf")
    with running(merchant, program=UNCHECKED, request_timeout="600") as daemon:
        merchant.sandbox.wait_until(lambda: len(merchant.sandbox.uploads()) == 1)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("service.stopping")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
    assert "5.pdf" in _names(merchant.drop)
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    assert (merchant.processed / "5.pdf").read_bytes() == content
    assert len(merchant.sandbox.uploads()) == 1


def _token_in_a_file(merchant: Merchant, token: str) -> Path:
    path = merchant.home / "token"
    path.write_text(token)
    path.chmod(0o600)
    del merchant.environment["INVOICEDROP_API_TOKEN"]
    merchant.environment["INVOICEDROP_API_TOKEN_FILE"] = str(path)
    return path


def test_sighup_takes_the_new_token_before_the_old_one_fails(merchant: Merchant) -> None:
    """After SIGHUP the new token is used at once: the old one, revoked meanwhile, is not tried."""
    api = merchant.sandbox
    path = _token_in_a_file(merchant, api.token)
    with running(merchant, program=UNCHECKED) as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        api.store.tokens.add("rotated-token-1")
        path.write_text("rotated-token-1")
        daemon.signal(signal.SIGHUP)
        _wait_for_scans(merchant, 1)
        api.store.tokens.discard(api.token)
        merchant.drop_pdf("6.pdf")
        daemon.wait_for("invoice.processed", 2)
        assert daemon.events("api.paused") == []
        assert daemon.stop() == 0
    assert 401 not in {request.status for request in api.requests}


def test_a_new_token_in_the_file_is_enough_while_paused(merchant: Merchant) -> None:
    """An expired token pauses; writing a new one into the file resumes without a restart or a signal."""
    api = merchant.sandbox
    path = _token_in_a_file(merchant, "expired-token-1")
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("api.paused")
        path.write_text(api.token)
        daemon.wait_for("invoice.processed")
        assert len(daemon.events("api.paused")) == 1
        assert daemon.stop() == 0


# Folders that come and go


def test_a_drop_folder_that_goes_away_and_comes_back_is_waited_for(merchant: Merchant) -> None:
    """A renamed-away drop folder is inbox.unavailable and is not made anew; back again, it is worked on."""
    away = merchant.home / "away"
    with running(merchant, program=program(_TIMING, checked=False)) as daemon:
        daemon.wait_for("inbox.watching")
        merchant.drop.rename(away)
        daemon.wait_for("inbox.unavailable")
        (away / "5.pdf").write_bytes(invoice_pdf("5"))
        # The folder is looked for again after 0.1 seconds, then 0.2, 0.4: if it were made anew, it would be by then.
        until = _beat(merchant) + 1.0
        wait_until(lambda: _beat(merchant) > until, what="a beat a second later")
        assert not merchant.drop.exists()
        away.rename(merchant.drop)
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0
    assert _names(merchant.processed) == {"5.pdf"}


def test_another_folder_under_the_same_name_is_worked_on(merchant: Merchant) -> None:
    """When the drop folder is replaced by another one of the same name, that one is watched, by events too."""
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        fresh = merchant.home / "fresh"
        fresh.mkdir()
        (fresh / "5.pdf").write_bytes(invoice_pdf("5"))
        merchant.drop.rename(merchant.home / "old")
        fresh.rename(merchant.drop)
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("6.pdf")
        daemon.wait_for("invoice.processed", 2)
        assert daemon.stop() == 0
    assert _names(merchant.processed) == {"5.pdf", "6.pdf"}


def test_a_drop_folder_that_cannot_be_read_is_waited_for(merchant: Merchant) -> None:
    """A file in place of the drop folder (a share that is not mounted) is inbox.unavailable, and then resumes."""
    with running(merchant, program=program(_TIMING, checked=False)) as daemon:
        daemon.wait_for("inbox.watching")
        merchant.drop.rename(merchant.home / "away")
        merchant.drop.write_bytes(b"no folder")
        daemon.wait_for("inbox.unavailable")
        merchant.drop.unlink()
        (merchant.home / "away").rename(merchant.drop)
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0


# A person's ways


def test_moving_the_pdf_back_is_the_retry_and_its_reason_goes(merchant: Merchant) -> None:
    """A failed invoice that is moved back is tried anew; when it succeeds, its reason is gone too."""
    content = merchant.drop_pdf("555.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.failed")
        wait_until(lambda: _names(merchant.failed) == {"555.pdf", "555.pdf.reason.txt"})
        merchant.sandbox.store.add_order(555)
        (merchant.failed / "555.pdf").rename(merchant.drop / "555.pdf")
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0
    assert _names(merchant.failed) == set()
    assert (merchant.processed / "555.pdf").read_bytes() == content


def test_the_reason_of_an_invoice_that_left_the_failed_folder_is_removed(merchant: Merchant) -> None:
    """Whoever takes a PDF out of failed need not clear up its reason."""
    merchant.drop_pdf("nonsense.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 1
    (merchant.failed / "nonsense.pdf").unlink()
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    assert _names(merchant.failed) == set()


def test_a_duplicate_is_filed_and_not_sent(merchant: Merchant) -> None:
    """The same bytes for the same order, under the same name or another, are filed beside each other, sent once."""
    content = merchant.drop_pdf("5.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("5.pdf", content)
        daemon.wait_for("invoice.duplicate")
        merchant.drop_pdf("5 (1).PDF", content)
        daemon.wait_for("invoice.duplicate", 2)
        assert daemon.stop() == 0
    assert len(merchant.sandbox.uploads()) == 1
    filed = list(merchant.processed.iterdir())
    assert len(filed) == 3
    assert {path.read_bytes() for path in filed} == {content}


def test_files_that_were_there_before_the_start_and_windows_names_go_through(merchant: Merchant) -> None:
    """Files from before the start, renamed in place, written in place, and named as Windows does, all arrive."""
    before = merchant.drop_pdf("5.pdf")
    with running(merchant) as daemon:
        daemon.wait_for("invoice.processed")
        (merchant.drop / "6.pdf.part").write_bytes(invoice_pdf("6"))
        (merchant.drop / "6.pdf.part").rename(merchant.drop / "6 (2).PDF")
        daemon.wait_for("invoice.processed", 2)
        (merchant.drop / "7_credit note.pdf").write_bytes(invoice_pdf("7"))
        daemon.wait_for("invoice.processed", 3)
        assert daemon.stop() == 0
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [5, 6, 7]
    assert (merchant.processed / "5.pdf").read_bytes() == before


# Several inboxes, and the marketplace's own numbers


def test_several_inboxes_send_to_their_own_projects(tmp_path: Path) -> None:
    """Two drop folders, each with its project: every invoice arrives at its own, though the order ids are equal."""
    with serve(Options(rate=0, projects=(2001, 2002))) as api:
        merchant = Merchant(tmp_path, api)
        shops = {name: tmp_path / name for name in ("shop-a", "shop-b")}
        for name in ("INVOICEDROP_DROP_DIR", "INVOICEDROP_PROJECT_ID"):
            del merchant.environment[name]
        tables = ""
        for number, (name, folder) in enumerate(shops.items(), 2001):
            folder.mkdir()
            tables += f'[[inboxes]]\nname = "{name}"\nproject_id = {number}\ndrop_dir = "{folder}"\n'
            (folder / "5.pdf").write_bytes(invoice_pdf("5", pages=number - 2000))
        config = tmp_path / "invoicedrop.toml"
        config.write_text(tables)
        done = merchant.run("run", "--once", "--config", str(config))
        assert done.returncode == 0, done.stderr
        sizes = {upload.project: upload.size for upload in api.uploads()}
    assert sizes == {
        2001: (shops["shop-a"] / "processed" / "5.pdf").stat().st_size,
        2002: (shops["shop-b"] / "processed" / "5.pdf").stat().st_size,
    }


def test_marketplace_numbers_are_looked_up_and_must_match_exactly_one_order(merchant: Merchant) -> None:
    """With order_id_kind = marketplace the number finds its order; none or two of them go to failed, with why."""
    api = merchant.sandbox
    # Order 10 mentions order 9's number in a memo: a search brings both, only one matches.
    merchant.drop_pdf(f"{marketplace_number(9)}.pdf")
    api.store.add_order(30, channel_id="twin-1")
    api.store.add_order(31, channel_id="twin-1")
    merchant.drop_pdf("twin-1_2.pdf")
    merchant.drop_pdf("unknown-1.pdf")
    merchant.drop_pdf("9022.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED, order_id_kind="marketplace").returncode == 1
    assert [upload.order_id for upload in api.uploads()] == [9]
    assert "order_ambiguous" in _reason(merchant, "twin-1_2.pdf")
    assert "order_not_found" in _reason(merchant, "unknown-1.pdf")
    assert "looks like a Channable order id" not in _reason(merchant, "unknown-1.pdf")
    assert "9022 looks like a Channable order id: here, names begin with" in _reason(merchant, "9022.pdf")


# What is never logged


def _everything_written(merchant: Merchant) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(merchant.home.rglob("*")) if path.is_file())


def test_no_token_and_no_customer_is_ever_logged_or_written(merchant: Merchant) -> None:
    """After success, failure, doubt, unreadable answers and a refused token, no file holds a token or a customer."""
    api = merchant.sandbox
    secret = "sandbox-secret-4711"
    api.store.tokens.add(secret)
    merchant.environment["INVOICEDROP_API_TOKEN"] = secret
    merchant.environment["INVOICEDROP_LOG_LEVEL"] = "debug"
    api.faults.add("reset_after_store", "upload", order_id=5, count=1)
    api.faults.add("broken_json", "order", order_id=5, count=1)
    api.faults.add("status", "upload", order_id=6, status=400, message="bad request")
    for name in ("5.pdf", "6.pdf", "9999.pdf", "nonsense.pdf"):
        merchant.drop_pdf(name)

    def finish(daemon: Daemon) -> None:
        daemon.wait_for("invoice.failed", 3)
        daemon.wait_for("invoice.processed")
        api.store.tokens.discard(secret)
        merchant.drop_pdf("7.pdf")
        daemon.wait_for("api.paused")

    with running(merchant, program=program(_TIMING)) as daemon:
        finish(daemon)
        assert daemon.stop() == 0
        assert daemon.events("upload.reconciled")
    for command in ("status", "config"):
        merchant.run(command)
    written = _everything_written(merchant)
    assert b"service.stopped" in written
    assert secret.encode() not in written
    assert CUSTOMER_SURNAME.casefold().encode() not in written.lower()


# Confinement


@pytest.mark.skipif(not all(offered()), reason="the kernel does not offer Landlock and seccomp")
@pytest.mark.parametrize("missing", ["landlock", "seccomp", pytest.param("both", marks=pytest.mark.soak), ""])
def test_what_does_not_confine_the_pdf_check_is_logged_at_the_start(merchant: Merchant, missing: str) -> None:
    """A daemon that a container does not let confine its PDF check says so in one line, and works all the same."""
    merchant.drop_pdf("5.pdf")
    wrapper = (without_confinement.__file__, missing, "ENOSYS", sys.executable) if missing else ()
    daemon = merchant.start("run", "--once", program=(*wrapper, *COMMAND), forked=False)
    assert daemon.wait() == 0, daemon.errors()
    assert _names(merchant.processed) == {"5.pdf"}
    warnings = [str(line["detail"]) for line in daemon.events("service.started") if line["level"] == "warning"]
    assert len(warnings) == (1 if missing else 0)
    for warning in warnings:
        assert ("Landlock" in warning, "seccomp" in warning) == (missing != "seccomp", missing != "landlock")


def test_a_file_has_one_name_in_the_log(merchant: Merchant) -> None:
    """Whether a line is about the file or about its entry, a name that is no UTF-8 is written in the same way."""
    name = "8_caf\udce9.pdf"
    sent = merchant.drop_pdf("8.pdf")
    (merchant.drop / "8.pdf").rename(merchant.drop / name)
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    timing = replace(QUICK, confirm_after=(0.0,), confirm_retry=0.05)
    with Ledger.open(merchant.state) as ledger:
        (entry,) = ledger.past.of_bytes(hashlib.sha256(sent).hexdigest(), most=9)
        ledger.look_put_off(entry, 0.0)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        daemon.wait_for("invoice.confirmed")
        lines = [json.loads(line) for path in merchant.home.glob("*.stderr") for line in path.read_text().splitlines()]
    names = {line["file"] for line in lines if "file" in line}
    assert names == {"8_caf\\udce9.pdf"}
    assert merchant.run("history", "8_caf\udce9.pdf").returncode == 0
