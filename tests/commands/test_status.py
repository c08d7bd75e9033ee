import io
import json
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from invoicedrop.commands.status import command, one_order
from invoicedrop.commands.status.terminal import clock, span
from invoicedrop.invoice import Receipt
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.reasons import Reason
from invoicedrop.sandbox import Running
from invoicedrop.service.lock import is_held, only_instance
from invoicedrop.settings.load import load
from invoicedrop.settings.settings import Settings
from invoicedrop.system import permissions
from merchant import Merchant, running
from quick_service import UNCHECKED
from waiting import wait_until


def _text(settings: Settings) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, no_color=True, highlight=False)
    assert command.status(settings, console, as_json=False) == 0
    return re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())


def _json(settings: Settings) -> dict[str, Any]:
    out = io.StringIO()
    assert command.status(settings, Console(file=out), as_json=True) == 0
    overview = json.loads(out.getvalue())
    assert isinstance(overview, dict)
    return overview


@pytest.fixture
def ledger(merchant: Merchant) -> Iterator[Ledger]:
    """The merchant's ledger, as a daemon would have it open."""
    merchant.state.mkdir()
    with Ledger.open(merchant.state) as opened:
        yield opened


def _entry(merchant: Merchant, name: str, size: int, order_id: int = 5) -> Entry:
    inbox = merchant.settings().inboxes[0]
    return Entry(
        account=inbox.account,
        project_id=inbox.project_id,
        reference=str(order_id),
        sha256=f"hash of {name}",
        inbox=inbox.name,
        file=name,
        size=size,
        first_seen=time.time() - 60,
        order_id=order_id,
    )


def _write_report(merchant: Merchant, **changes: Any) -> None:
    """Write what a daemon writes about itself."""
    inbox = {"waiting": 1, "mode": "events", "unavailable": None, "paused": None, "next_probe": None}
    beat = changes.pop("beat", time.time())
    report = {"pid": 4711, "version": "1.2.3", "beat": beat, "interval": 0.2, "inboxes": {"default": inbox | changes}}
    (merchant.state / "service.json").write_text(json.dumps(report))


# Before anything was done


def test_without_a_ledger_nothing_was_done_and_none_is_made(merchant: Merchant) -> None:
    """On a machine where the daemon never ran, status says so and makes neither ledger nor state folder."""
    merchant.drop_pdf("5.pdf")
    text = _text(merchant.settings())
    assert "Waiting: 1 invoice\n" in text
    assert "Nothing was done yet" in text
    assert _json(merchant.settings())["today"]["sent"] == 0
    assert not merchant.state.exists()


# What waits


def test_what_waits_says_why_and_until_when(merchant: Merchant, ledger: Ledger) -> None:
    """Invoices that are put off come first, with their own reason and the time of the next try; then the oldest."""
    size = len(merchant.drop_pdf("5.pdf"))
    merchant.drop_pdf("6.pdf")
    os.utime(merchant.drop / "6.pdf", (1_000_000_000, 1_000_000_000))
    merchant.drop_pdf("7.pdf")
    ledger.deferred(_entry(merchant, "5.pdf", size), 600, "HTTP 500 Internal Server Error: no luck")
    with only_instance(merchant.state):
        _write_report(merchant)
        overview = _json(merchant.settings())
        text = _text(merchant.settings())
    files = overview["waiting"]["files"]
    assert [file["file"] for file in files] == ["5.pdf", "6.pdf", "7.pdf"]
    assert files[0]["why"] == "HTTP 500 Internal Server Error: no luck"
    assert files[0]["until"] > files[0]["since"]
    assert [file["why"] for file in files[1:]] == ["it waits for its turn"] * 2
    assert overview["waiting"]["total"] == 3
    assert "no luck (next try in 10 min)" in " ".join(text.split())
    assert text.index("Waiting") < text.index("Today")


def test_an_invoice_in_doubt_says_that_channable_is_asked_first(merchant: Merchant, ledger: Ledger) -> None:
    """An upload that had no answer is shown as such; one that is under way in a running daemon is just being sent."""
    size = len(merchant.drop_pdf("5.pdf"))
    ledger.uploading(_entry(merchant, "5.pdf", size))
    (stopped,) = _json(merchant.settings())["waiting"]["files"]
    assert stopped["in_doubt"] is True
    assert "Channable is asked whether it has it" in stopped["why"]
    with only_instance(merchant.state):
        _write_report(merchant)
        (under_way,) = _json(merchant.settings())["waiting"]["files"]
    assert under_way["why"] == "it is being sent"


def test_an_entry_of_another_file_of_the_same_name_is_not_believed(merchant: Merchant, ledger: Ledger) -> None:
    """A file that replaced a deferred one under its name does not inherit its reason."""
    size = len(merchant.drop_pdf("5.pdf"))
    ledger.deferred(_entry(merchant, "5.pdf", size + 1), 600, "trouble of the old file")
    (file,) = _json(merchant.settings())["waiting"]["files"]
    assert file["why"] == "no daemon is running"


def test_what_is_sent_or_rejected_but_not_yet_moved(merchant: Merchant, ledger: Ledger) -> None:
    """After a crash before the move, status says that the file only has to be filed, and where."""
    sent = ledger.uploading(_entry(merchant, "5.pdf", len(merchant.drop_pdf("5.pdf"))))
    ledger.uploaded(sent, Receipt(1))
    bad = _entry(merchant, "6.pdf", len(merchant.drop_pdf("6.pdf")), 6)
    ledger.rejected(bad, Reason.DAMAGED, "the xref table is broken")
    why = {file["file"]: file["why"] for file in _json(merchant.settings())["waiting"]["files"]}
    assert why["5.pdf"] == "it was sent, and is about to be moved to the processed folder"
    assert why["6.pdf"].endswith("moved to the failed folder: the xref table is broken")


def test_files_that_are_no_invoices_do_not_wait(merchant: Merchant) -> None:
    """Only regular invoices count: no temporary files, folders, symlinks, or other types."""
    (merchant.drop / "5.pdf.part").touch()
    (merchant.drop / "notes.txt").touch()
    (merchant.drop / "6.pdf").mkdir()
    (merchant.drop / "7.pdf").symlink_to("nowhere")
    assert "Nothing waits" in _text(merchant.settings())


def test_a_pause_is_shown_once_with_its_next_try(merchant: Merchant) -> None:
    """What keeps all invoices back is shown once above them, not beside each."""
    merchant.state.mkdir()
    for number in range(3):
        merchant.drop_pdf(f"{number + 1}.pdf")
    with only_instance(merchant.state):
        _write_report(merchant, paused="the API is out of service", next_probe=time.time() + 90)
        text = " ".join(_text(merchant.settings()).split())
        overview = _json(merchant.settings())
    assert text.count("the API is out of service") == 1
    assert "paused: the API is out of service (next try in 90 s)" in text
    assert overview["inboxes"][0]["paused"] == "the API is out of service"
    assert {file["until"] for file in overview["waiting"]["files"]} == {overview["inboxes"][0]["next_probe"]}


def test_a_folder_in_trouble_is_shown(merchant: Merchant) -> None:
    """A drop folder that the daemon cannot use is shown in the daemon's words; a missing one, in our own."""
    merchant.state.mkdir()
    with only_instance(merchant.state):
        _write_report(merchant, unavailable="the share is gone")
        assert "cannot go on: the share is gone" in _text(merchant.settings())
    merchant.drop.rmdir()
    assert "Nothing waits" not in _text(merchant.settings())
    # Wherever the line was folded.
    text = "".join(_text(merchant.settings()).split())
    assert f"cannotgoon:{merchant.drop}doesnotexist;mkdir-p{merchant.drop}&&chown" in text


def test_a_long_backlog_is_cut_and_counted(merchant: Merchant) -> None:
    """Of thousands of files the text shows twenty and JSON lists a thousand; both count all of them."""
    for number in range(1, 2501):
        (merchant.drop / f"{number}.pdf").touch()
    text = _text(merchant.settings())
    assert "Waiting: 2500 invoices" in text
    assert "and 2480 more" in text
    assert len(re.findall(r"^\d+\.pdf", text, re.MULTILINE)) == 20
    waiting = _json(merchant.settings())["waiting"]
    assert (waiting["total"], len(waiting["files"])) == (2500, 1000)


def test_the_backlog_is_timed_at_the_rate_of_the_api(merchant: Merchant, ledger: Ledger) -> None:
    """What the bucket can take goes at once, the rest at the rate; a marketplace's number costs a request more."""
    for number in range(1, 31):
        (merchant.drop / f"{number}.pdf").touch()
    rate = {"requests_per_second": "2", "burst": "10"}
    assert _json(merchant.settings(**rate))["inboxes"][0]["seconds"] == pytest.approx(10, abs=0.5)
    assert "takes about 10 s at the API's rate" in _text(merchant.settings(**rate))
    twice = merchant.settings(order_id_kind="marketplace", **rate)
    assert _json(twice)["inboxes"][0]["seconds"] == pytest.approx(25, abs=0.5)
    ledger.buckets.remember(merchant.settings().inboxes[0].account, BucketLevel(8.0, time.time() + 60))
    assert _json(merchant.settings(**rate))["inboxes"][0]["seconds"] == pytest.approx(14, abs=0.5)
    assert _json(merchant.settings())["inboxes"][0]["seconds"] is None


def test_names_are_shown_literally(merchant: Merchant) -> None:
    """Markup in a file name is not obeyed, and control characters and broken bytes never reach the terminal."""
    (merchant.drop / "5 [red]x.pdf").touch()
    (merchant.drop / "6 \x1b[2J.pdf").touch()
    (merchant.drop / os.fsdecode(b"7 \xff.pdf")).touch()
    text = _text(merchant.settings())
    assert "5 [red]x.pdf" in text
    assert "6 \\x1b[2J.pdf" in text
    assert "7 \\udcff.pdf" in text
    assert "\x1b" not in text


# Several inboxes


def test_several_inboxes_are_kept_apart(merchant: Merchant) -> None:
    """With two inboxes each line names its inbox, and each inbox counts its own files."""
    settings = merchant.settings(requests_per_second="4")
    second = merchant.home / "second"
    second.mkdir()
    other = settings.inboxes[0].model_copy(
        update={
            "name": "kaufland",
            "drop_dir": second,
            "processed_dir": second / "processed",
            "failed_dir": second / "failed",
        }
    )
    settings = settings.model_copy(update={"inboxes": (settings.inboxes[0], other)})
    merchant.drop_pdf("5.pdf")
    (second / "6.pdf").touch()
    (second / "7.pdf").touch()
    assert {inbox["name"]: inbox["waiting"] for inbox in _json(settings)["inboxes"]} == {"default": 1, "kaufland": 2}
    lines = [line.split()[:2] for line in _text(settings).splitlines()]
    assert ["default", "5.pdf"] in lines
    assert ["kaufland", "7.pdf"] in lines


# What failed, what went


def test_failures_that_still_lie_there_are_shown_with_reason(merchant: Merchant, ledger: Ledger) -> None:
    """A failed invoice is shown in a bookkeeper's words as long as it lies there; once taken away, no more."""
    merchant.failed.mkdir()
    for name in ("5.pdf", "6.pdf"):
        entry = ledger.rejected(_entry(merchant, name, 1), Reason.DAMAGED, "the xref table is broken")
        ledger.failed(entry, merchant.failed / name)
    (merchant.failed / "5.pdf").touch()
    (merchant.failed / "5.pdf.reason.txt").touch()
    failed = _json(merchant.settings())["failed"]
    assert failed["total"] == 1
    (file,) = failed["files"]
    assert (file["file"], file["reason"], file["detail"]) == ("5.pdf", "damaged", "the xref table is broken")
    assert file["problem"] == "The PDF is damaged: parts of it cannot be read."
    assert file["remedy"].startswith("Export the invoice again")
    text = " ".join(_text(merchant.settings()).split())
    assert "Failed: 1 invoice" in text
    assert "The PDF is damaged: parts of it cannot be read." in text
    (merchant.failed / "5.pdf").unlink()
    assert "Failed" not in _text(merchant.settings())


def test_failed_files_that_the_ledger_does_not_know_are_counted(merchant: Merchant, ledger: Ledger) -> None:
    """The folder is the truth: a PDF in failed/ counts even if the ledger was lost."""
    assert ledger.path.exists()
    merchant.failed.mkdir()
    (merchant.failed / "8.pdf").touch()
    text = _text(merchant.settings())
    assert "Failed: 1 invoice" in text
    assert "and 1 more" in text


def test_the_last_ten_successes_and_the_counts_of_today(merchant: Merchant, ledger: Ledger) -> None:
    """Of twelve sent invoices the last ten are listed, newest first, and all of today's are counted."""
    for number in range(1, 13):
        entry = ledger.uploading(_entry(merchant, f"{number}.pdf", 1, number))
        ledger.processed(ledger.uploaded(entry, Receipt(number + 100)), merchant.processed / f"{number}.pdf")
    overview = _json(merchant.settings())
    assert [file["order_id"] for file in overview["sent"]] == list(range(12, 2, -1))
    assert overview["sent"][0]["attachment_id"] == 112
    assert overview["today"]["sent"] == 12
    assert "Today: 12 sent, 0 failed." in _text(merchant.settings())


# The daemon


def test_status_does_not_hold_the_lock(merchant: Merchant) -> None:
    """Whether a daemon runs is seen from its lock, which stays free for one that starts right after."""
    assert is_held(merchant.state) is False
    with only_instance(merchant.state):
        assert is_held(merchant.state) is True
    assert is_held(merchant.state) is False
    with only_instance(merchant.state):
        assert is_held(merchant.state) is True


def test_an_old_report_is_not_believed(merchant: Merchant) -> None:
    """A daemon that holds its lock but has not reported for long is shown as silent; its old troubles are not shown."""
    merchant.state.mkdir()
    merchant.drop_pdf("5.pdf")
    with only_instance(merchant.state):
        _write_report(merchant, beat=time.time() - 590, paused="an old trouble")
        text = " ".join(_text(merchant.settings()).split())
    assert "process 4711, version 1.2.3), but has said nothing for 10 min" in text
    assert "an old trouble" not in text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"beat": "soon"}', '{"pid": null, "beat": 1}'])
def test_a_broken_report_is_no_report(merchant: Merchant, content: str) -> None:
    """Half-written or foreign content of service.json breaks nothing."""
    merchant.state.mkdir()
    with only_instance(merchant.state):
        (merchant.state / "service.json").write_text(content)
        assert "The daemon is starting." in _text(merchant.settings())


def test_a_report_that_cannot_be_read_is_not_a_start(merchant: Merchant) -> None:
    """An error in reading service.json is told with its cause, in the text and in the JSON."""
    merchant.state.mkdir()
    with only_instance(merchant.state):
        (merchant.state / "service.json").mkdir()
        trouble = f"{merchant.state}/service.json cannot be read: Is a directory"
        text = " ".join(_text(merchant.settings()).split())
        assert "A daemon is running, but what it reports is unknown:" in text
        assert "cannot be read: Is a directory." in text
        assert _json(merchant.settings())["daemon"]["trouble"] == trouble


def test_beside_a_running_daemon_that_is_paused(merchant: Merchant) -> None:
    """With the real daemon: status says that it runs, that the token is refused, and which invoice waits for that."""
    with running(merchant, program=UNCHECKED, api_token="revoked") as daemon:
        merchant.drop_pdf("5.pdf")
        daemon.wait_for("api.paused")
        settings = merchant.settings()
        wait_until(lambda: _json(settings)["inboxes"][0]["paused"], what="a report of the pause")
        overview = _json(settings)
        assert overview["daemon"]["running"] is True
        assert overview["daemon"]["pid"] == daemon.process.pid
        assert "token is wrong, revoked or expired" in overview["inboxes"][0]["paused"]
        assert [file["file"] for file in overview["waiting"]["files"]] == ["5.pdf"]
        assert daemon.stop() == 0
    assert _json(settings)["daemon"]["running"] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_learns_whom_to_be(sandbox: Running, capsys: pytest.CaptureFixture[str]) -> None:
    """Who may not read the ledger still sees the folders, and a sentence that names the user to be; exit 0, as ever."""
    # Not below pytest's own folder, which is closed to others.
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        merchant = Merchant(Path(home), sandbox)
        merchant.drop_pdf("5.pdf")
        merchant.state.mkdir()
        with Ledger.open(merchant.state) as ledger:
            ledger.path.chmod(0o600)
        settings = merchant.settings()
        out = io.StringIO()
        os.seteuid(65534)
        try:
            code = command.status(settings, Console(file=out), as_json=False)
        finally:
            os.seteuid(0)
    assert code == 0
    assert "Waiting: 1 invoice" in out.getvalue()
    assert "sudo -u root invoicedrop" in capsys.readouterr().err


# The true cause


def test_a_refused_move_is_told_and_not_hidden(merchant: Merchant, ledger: Ledger) -> None:
    """Where a file that was sent, or cannot be sent, is refused its move, status says that, and when it is tried."""
    sent = ledger.uploading(_entry(merchant, "5.pdf", len(merchant.drop_pdf("5.pdf"))))
    ledger.uploaded(sent, Receipt(1))
    bad = _entry(merchant, "6.pdf", len(merchant.drop_pdf("6.pdf")), 6)
    ledger.rejected(bad, Reason.DAMAGED, "the xref table is broken")
    put_off = {name: (time.time() + 600, f"{name} cannot be moved: it is open") for name in ("5.pdf", "6.pdf")}
    with only_instance(merchant.state):
        _write_report(merchant, put_off=put_off)
        files = {file["file"]: file for file in _json(merchant.settings())["waiting"]["files"]}
        text = " ".join(_text(merchant.settings()).split())
        _write_report(merchant, unavailable="the disk is full")
        full = _json(merchant.settings())["waiting"]["files"]
    assert files["5.pdf"]["why"] == (
        "it was sent; it stays here until it can be moved to the processed folder: 5.pdf cannot be moved: it is open"
    )
    assert files["6.pdf"]["why"] == (
        "it cannot be sent: the xref table is broken; it stays here until it can be moved to the failed folder: "
        "6.pdf cannot be moved: it is open"
    )
    assert all(file["until"] is not None for file in files.values())
    assert "it is open (next try in 10 min)" in text
    assert all(file["why"].endswith("the disk is full") for file in full)


def test_what_the_daemon_says_now_is_newer_than_the_ledger(merchant: Merchant, ledger: Ledger) -> None:
    """A file that was put off, and cannot be read meanwhile, waits for the latter."""
    ledger.deferred(_entry(merchant, "5.pdf", len(merchant.drop_pdf("5.pdf"))), 600, "HTTP 500")
    with only_instance(merchant.state):
        _write_report(merchant, put_off={"5.pdf": (time.time() + 5, "5.pdf cannot be read: Permission denied")})
        (file,) = _json(merchant.settings())["waiting"]["files"]
    assert file["why"] == "5.pdf cannot be read: Permission denied"


@pytest.mark.parametrize("terminal", [True, False])
def test_status_keeps_to_80_columns(merchant: Merchant, ledger: Ledger, terminal: bool) -> None:
    """On a terminal and in a mail from cron, with names, words and paths of any length."""
    words = "the file server refuses it " * 8 + "/srv/" + "x" * 150
    name = f"5_{'long name ' * 12}.pdf"
    ledger.deferred(_entry(merchant, "5.pdf", len(merchant.drop_pdf("5.pdf"))), 600, words)
    merchant.drop_pdf(name)
    merchant.drop_pdf("7.pd", b"%PDF-1.4")
    for number, reason in enumerate((Reason.DAMAGED, Reason.SENT_TO_ANOTHER_ORDER), 10):
        bad = _entry(merchant, f"{number}_{'long' * 20}.pdf", 10, 10**17 + number)
        merchant.failed.mkdir(parents=True, exist_ok=True)
        (merchant.failed / bad.file).touch()
        ledger.failed(ledger.rejected(bad, reason, words), merchant.failed / bad.file)
    sent = ledger.uploaded(ledger.uploading(_entry(merchant, "302-1234567-1234567.pdf", 9, 10**17)), Receipt(1))
    ledger.looked_at(ledger.processed(sent, None), None, question=words)
    inboxes = [{"name": f"{'shop ' * 5}{place}", "drop_dir": str(folder)} for place, folder in (
        (1, merchant.drop), (2, merchant.home / "other"))]  # fmt: skip
    (merchant.home / "other").mkdir()
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal, no_color=True, highlight=False)
    for settings in (merchant.settings(), _with_inboxes(merchant, inboxes)):
        with only_instance(merchant.state):
            _write_report(merchant, unavailable=words, paused=words, slow=words)
            command.status(settings, console, as_json=False)
    text = re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "x" * 150 in re.sub(r"\s", "", text)


def _with_inboxes(merchant: Merchant, inboxes: list[dict[str, str]]) -> Settings:
    environment = {key: value for key, value in merchant.environment.items() if key != "INVOICEDROP_DROP_DIR"}
    return load(None, environment | {"INVOICEDROP_INBOXES": json.dumps(inboxes)})


def test_a_missing_folder_is_not_made_where_a_share_is_gone(tmp_path: Path) -> None:
    """Where the parent is gone too, or is empty like a mount point, mounting comes first; else it is to be made."""
    (tmp_path / "mnt").mkdir()
    gone = permissions.missing_folder(tmp_path / "share" / "invoices" / "drop").sentence
    assert f"neither does {tmp_path}/share;" in gone
    assert "mount that" in gone
    assert f"belongs at {tmp_path}/mnt, mount it" in permissions.missing_folder(tmp_path / "mnt" / "drop").sentence
    assert permissions.missing_folder(tmp_path / "drop").remedy.startswith("mkdir -p ")


def test_one_order_in_short(merchant: Merchant, ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    """What waits of it and why, and what matters most of its way; what is not known is 1 and a sentence."""
    entry = ledger.uploading(_entry(merchant, "5.pdf", 100))
    ledger.processed(ledger.uploaded(ledger.deferred(entry, 1, "no answer"), Receipt(77)), None)
    merchant.drop_pdf("5_2.pdf")
    merchant.drop_pdf("55.pdf")
    out = io.StringIO()
    assert one_order.show(merchant.settings(), Console(file=out, width=80), "5", as_json=False) == 0
    text = " ".join(out.getvalue().split())
    assert "5_2.pdf waits since" in text
    assert "no daemon is running" in text
    assert "attachment 77" in text
    assert "55.pdf" not in text
    assert "upload began" not in text, "that is what history is for"
    out = io.StringIO()
    assert one_order.show(merchant.settings(), Console(file=out), "5_2.pdf", as_json=True) == 0
    assert [file["file"] for file in json.loads(out.getvalue())["waiting"]] == ["5_2.pdf"]
    assert one_order.show(merchant.settings(), Console(file=io.StringIO()), "6", as_json=False) == 1
    assert 'nothing is known of "6"' in capsys.readouterr().err


# Words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (90, "90 s"), (121, "3 min"), (7200, "120 min"), (12_000, "3 h 20 min"), (24 * 3600, "24 h")],
)
def test_spans_of_time(seconds: float, words: str) -> None:
    """A length of time is written as people say it, rounded up."""
    assert span(seconds) == words


def test_times_of_other_days_carry_their_date() -> None:
    """A time of today is shown by the clock alone, another day's with its date."""
    now = time.time()
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock(now, now))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", clock(now - 2 * 86_400, now))


def test_a_half_copied_file_is_shown_to_be_waited_for(merchant: Merchant) -> None:
    """While a file without its end gets its time, status says so, and until when."""
    with running(merchant, incomplete_grace="60") as daemon:
        merchant.drop_pdf("5.pdf", b"%PDF-1.7 no more than this")
        daemon.wait_for("invoice.deferred")
        wait_until(lambda: "still be being written" in _json(merchant.settings())["waiting"]["files"][0]["why"])
        waiting = _json(merchant.settings())["waiting"]["files"][0]
    assert waiting["file"] == "5.pdf"
    assert waiting["until"] is not None


# What is left alone


def test_what_may_be_meant_as_an_invoice_is_shown(merchant: Merchant) -> None:
    """Files and folders that are left alone, and that somebody may wait for, stand in the text and in the JSON."""
    assert _json(merchant.settings())["left_alone"] == []
    assert "Left alone" not in _text(merchant.settings())
    merchant.processed.mkdir()
    for name in ("8355", "notes.txt", "8355.pdf.filepart"):
        (merchant.drop / name).touch()
    (merchant.drop / "2026-11").mkdir()
    (merchant.drop / "2026-11" / "8355.pdf").touch()
    (merchant.drop / "8356.pdf").symlink_to("elsewhere")
    os.utime(merchant.drop / "8355.pdf.filepart", (1_780_000_000, 1_780_000_000))
    files = _json(merchant.settings())["left_alone"]
    assert files[0]["file"] == "8355.pdf.filepart"
    assert {file["file"] for file in files} == {"8355.pdf.filepart", "8355", "2026-11", "8356.pdf"}
    assert {file["inbox"] for file in files} == {"default"}
    assert files[0]["since"] == "2026-05-28T20:26:40+00:00"
    text = _text(merchant.settings())
    assert "Left alone, perhaps meant as invoices\n" in text
    assert "without the ending .pdf" in " ".join(text.split())
    assert "notes.txt" not in text


@pytest.mark.parametrize("modified", [910_692_730_085, -62_135_596_801, -1], ids=["year 30828", "year 0", "an error"])
def test_any_time_of_a_file_can_be_shown(home: Path, sandbox: Running, modified: int) -> None:
    """A waiting file whose time no calendar has is listed like any other."""
    merchant = Merchant(home, sandbox)
    merchant.drop_pdf("5.pdf")
    os.utime(merchant.drop / "5.pdf", (modified, modified))
    if (merchant.drop / "5.pdf").stat().st_mtime != modified:
        pytest.skip("the file system keeps no such time")
    assert "5.pdf" in _text(merchant.settings())
    (file,) = _json(merchant.settings())["waiting"]["files"]
    assert re.match(r"\d{4}-\d\d-\d\dT", file["since"])


# What was accepted, with trouble after it


def test_an_accepted_invoice_with_trouble_is_shown_for_a_month(merchant: Merchant, ledger: Ledger) -> None:
    """File, order, time and the order's own words, harmless on a terminal, stand in status; after 30 days no more."""
    entry = ledger.uploaded(ledger.uploading(_entry(merchant, "5.pdf", 10)), Receipt(77))
    entry = ledger.looked_at(ledger.processed(entry, None), None, question="error: no VAT number\x1b[2J\u202e")
    text = " ".join(_text(merchant.settings()).split())
    assert "Accepted, but trouble is reported: 1 invoice" in text
    assert "5.pdf 5" in text
    assert "no VAT number\\x1b" in text
    (file,) = _json(merchant.settings())["questioned"]
    assert (file["file"], file["order_id"], file["attachment_id"]) == ("5.pdf", 5, 77)
    assert file["words"] == "error: no VAT number\\x1b[2J\\u202e"
    assert entry.questioned_at is not None
    month_ago = entry.questioned_at - 30 * 86_400 - 60
    with closing(sqlite3.connect(ledger.path)) as database, database:
        database.execute("UPDATE invoices SET questioned_at = ?", (month_ago,))
    assert _json(merchant.settings())["questioned"] == []
    assert "trouble is reported" not in _text(merchant.settings())
