"""The status page as a bookkeeper has it open: while the service works, is stopped, dies, and comes back."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from html import unescape
from pathlib import Path

import pytest

from api_trouble import down
from invoicedrop.inbox.ownership import OWNER_FILE, Owner
from invoicedrop.languages.catalogue import LANGUAGES
from invoicedrop.reporting.facts import read_overview
from invoicedrop.reporting.page import writer
from invoicedrop.reporting.page.document import document
from invoicedrop.reporting.page.file import MARK
from invoicedrop.reporting.page.writer import StatusPage, status_pages
from invoicedrop.settings.settings import Settings
from merchant import Daemon, Merchant, running
from page_facts import NOW, facts, full, overview
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_TIMING = replace(QUICK, page_first=0.05, page_change=0.1)
_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(_BROWSER is None, reason="needs chromium")


@contextmanager
def _service(merchant: Merchant, timing: object = _TIMING, **changes: str) -> Iterator[Daemon]:
    """Run the service with a page in the drop folder while the block runs."""
    wanted = {"status_page": str(merchant.drop / "status.html"), **changes}
    arguments = program(timing, checked=False)  # type: ignore[arg-type]
    with running(merchant, program=arguments, **wanted) as daemon:
        yield daemon


def _page(merchant: Merchant, name: str = "status.html") -> str:
    """Return what the page says, without markup; nothing if there is no page."""
    path = merchant.drop / name
    text = path.read_text() if path.exists() else ""
    return unescape(re.sub(r"<[^>]*>", " ", text.partition("</style>")[2]))


def _wait_for_page(merchant: Merchant, words: str, name: str = "status.html") -> str:
    """Wait until the page says this."""
    wait_until(lambda: words in _page(merchant, name), what=f"{words!r} on the page")
    return _page(merchant, name)


def test_the_page_follows_the_service_through_its_lives(merchant: Merchant) -> None:
    """It shows what failed and went, stays as it was when the service is killed, follows the next one, and its end."""
    with _service(merchant) as daemon:
        merchant.drop_pdf("7.pdf")
        merchant.drop_pdf("brief.pdf")
        daemon.wait_for("invoice.processed")
        text = _wait_for_page(merchant, "7.pdf")
        text = _wait_for_page(merchant, "does not start with an order number")
        assert "At work" in text
        assert "brief.pdf" in text
        assert "this page is renewed" in text.lower()
        daemon.kill()
        dead = _page(merchant)
        assert "Last seen:" in dead
    with _service(merchant) as daemon:
        daemon.wait_for("service.started")
        merchant.drop_pdf("8.pdf")
        _wait_for_page(merchant, "8.pdf")
        daemon.stop()
        assert "The service is stopped" in _page(merchant)
        assert "Last seen:" not in _page(merchant)
    assert not list(merchant.drop.glob(".invoicedrop-*"))
    assert daemon.events("file.ignored") == []


def test_readers_beside_the_service_cost_it_no_commit(merchant: Merchant) -> None:
    """The page and commands read the ledger while it is written; a kill after that loses nothing of what was sent."""
    with _service(merchant) as daemon:
        merchant.drop_pdf("7.pdf")
        daemon.wait_for("invoice.processed")
        _wait_for_page(merchant, "7.pdf")
        assert merchant.run("status", "7").returncode == 0
        merchant.drop_pdf("8.pdf")
        daemon.wait_for("invoice.processed", 2)
        daemon.kill()
    for order in ("7", "8"):
        assert "accepted by Channable" in merchant.run("history", order).stdout


def test_an_outage_is_on_the_page_with_what_waits(merchant: Merchant) -> None:
    """While the API is down the page says so, and what waits for it; when it is back, that all went."""
    back = down(merchant.sandbox)
    with _service(merchant, language="de") as daemon:
        merchant.drop_pdf("7.pdf")
        text = _wait_for_page(merchant, "Zurzeit kann nichts gesendet werden")
        assert "7.pdf" in text
        assert "Nichts geht verloren" in text
        back()
        daemon.wait_for("invoice.processed")
        assert "7.pdf" in _wait_for_page(merchant, "In Betrieb")


def test_nothing_of_other_inboxes_is_on_a_page(merchant: Merchant) -> None:
    """Each of two inboxes has its page, in its language, and what is on one page is of its own inbox."""
    others = merchant.home / "zweiter"
    others.mkdir()
    inboxes = merchant.home / "settings.toml"
    inboxes.write_text(
        f'[[inboxes]]\nname = "eins"\ndrop_dir = "{merchant.drop}"\nstatus_page = "{merchant.drop}/status.html"\n'
        f'[[inboxes]]\nname = "twee"\ndrop_dir = "{others}"\nlanguage = "nl"\nstatus_page = "{others}/status.html"\n'
    )
    for name in ("INVOICEDROP_DROP_DIR", "INVOICEDROP_STATUS_PAGE"):
        merchant.environment.pop(name)
    merchant.environment["INVOICEDROP_CONFIG"] = str(inboxes)
    with running(merchant, program=program(_TIMING, checked=False)) as daemon:
        merchant.drop_pdf("7.pdf")
        merchant.drop_pdf("ours.pdf")
        merchant.drop_pdf("8.pdf")
        (merchant.drop / "theirs.pdf").unlink(missing_ok=True)
        shutil.copy(merchant.home / "settings.toml", others / "theirs.pdf")
        daemon.wait_for("invoice.failed", 2)
        daemon.wait_for("invoice.processed", 2)
        ours = _wait_for_page(merchant, "ours.pdf")
        page = others / "status.html"
        wait_until(lambda: page.exists() and "theirs.pdf" in page.read_text(), what="the other page")
        theirs = page.read_text()
    assert "theirs.pdf" not in ours
    assert "twee" not in ours
    assert "ours.pdf" not in theirs
    assert ">7.pdf" not in theirs
    assert "eins" not in theirs
    assert '<html lang="nl">' in theirs
    assert (others / "failed" / "theirs.pdf.reason.txt").read_text().startswith("theirs.pdf is niet naar")
    assert (merchant.failed / "ours.pdf.reason.txt").read_text().startswith("ours.pdf was not sent")


def _switches(pid: int) -> int:
    """Return how often the process's main thread has gone to sleep."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_writing_the_page_keeps_nobody_awake(merchant: Merchant) -> None:
    """A page that is written wakes the loop a few times, and one is written only for something new."""
    seen: set[int] = set()

    def written(count: int) -> bool:
        seen.add((merchant.drop / "status.html").stat().st_mtime_ns)
        return len(seen) >= count

    with _service(merchant, replace(_TIMING, page_alive=0.0), scan_interval="60") as daemon:
        wait_until((merchant.drop / "status.html").exists, what="the page")
        before = _switches(daemon.process.pid)
        wait_until(lambda: written(12), what="12 pages")
        assert (_switches(daemon.process.pid) - before) / len(seen) < 15
    (merchant.drop / "status.html").unlink()
    with _service(merchant, scan_interval="0.1") as daemon:
        _wait_for_page(merchant, "At work")
        pages: dict[int, str] = {}
        before = _switches(daemon.process.pid)

        def some_turns() -> bool:
            written_at = (merchant.drop / "status.html").stat().st_mtime_ns
            text = re.sub(r"Last seen: [^.]*", "", _page(merchant))
            if (merchant.drop / "status.html").stat().st_mtime_ns == written_at:
                pages[written_at] = text
            return _switches(daemon.process.pid) > before + 8

        wait_until(some_turns, what="some turns of the loop")
        # Each page that was written says something new.
        assert len(set(pages.values())) == len(pages)


def test_a_person_s_own_page_stays_and_is_told(merchant: Merchant) -> None:
    """Where a status.html is somebody's own it stays, one line of the log and `check` say so, and invoices go on."""
    own = merchant.drop / "status.html"
    own.write_text("<h1>our canteen</h1>")
    with _service(merchant) as daemon:
        daemon.wait_for("page.failed")
        merchant.drop_pdf("7.pdf")
        daemon.wait_for("invoice.processed")
        daemon.stop()
    assert own.read_text() == "<h1>our canteen</h1>"
    assert len(daemon.events("page.failed")) == 1
    assert "rename it" in str(daemon.events("page.failed")[0]["detail"])
    assert "status.html is somebody's own" in merchant.run("check", status_page=str(own)).stdout.replace("\n", " ")


def test_a_page_that_cannot_be_written_holds_up_nothing(merchant: Merchant) -> None:
    """Where the page's folder is not there it is told once, by the log and `status --json`, and invoices go on."""
    with _service(merchant, status_page=str(merchant.home / "missing" / "status.html")) as daemon:
        daemon.wait_for("page.failed")
        merchant.drop_pdf("7.pdf")
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("8.pdf")
        daemon.wait_for("invoice.processed", 2)
    assert len(daemon.events("page.failed")) == 1
    assert not (merchant.home / "missing").exists()


def test_the_page_has_the_rights_that_files_are_to_have(merchant: Merchant) -> None:
    """With `file_mode` the page has these rights, so that whoever may read the folder's files may read it."""
    with _service(merchant, file_mode="0644"):
        _wait_for_page(merchant, "At work")
        assert (merchant.drop / "status.html").stat().st_mode & 0o777 == 0o644


def test_run_once_leaves_a_page(merchant: Merchant) -> None:
    """A run that works off what is there and stops has the page say what it did."""
    merchant.drop_pdf("7.pdf")
    page = merchant.drop / "status.html"
    assert merchant.run("run", "--once", program=UNCHECKED, status_page=str(page)).returncode == 0
    text = _page(merchant)
    assert "7.pdf" in text
    assert "The service is stopped" in text


# In this process


def _pages(merchant: Merchant, **changes: str) -> tuple[Settings, list[StatusPage]]:
    settings = merchant.settings(status_page=str(merchant.drop / "status.html"), **changes)
    return settings, status_pages(settings, timing=_TIMING)


def test_only_who_holds_the_folder_writes(merchant: Merchant) -> None:
    """Where another service works on the drop folder, the page is that one's."""
    _, (page,) = _pages(merchant)
    elsewhere = replace(Owner.ourselves("ledger"), host="another-machine")
    (merchant.drop / OWNER_FILE).write_text(json.dumps(asdict(elsewhere)))
    page.start()
    page.stop()
    assert not (merchant.drop / "status.html").exists()
    (merchant.drop / OWNER_FILE).unlink()
    _, (page,) = _pages(merchant)
    page.start()
    page.stop()
    assert MARK in (merchant.drop / "status.html").read_text()


def test_a_page_on_a_dead_share_hangs_by_itself(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the folder does not answer, a stop waits for the page for a moment, and no longer."""
    _, (page,) = _pages(merchant)
    asked, answer = threading.Event(), threading.Event()

    def hang(*_arguments: object, **_more: object) -> object:
        asked.set()
        answer.wait()
        raise OSError

    monkeypatch.setattr(writer, "_PATIENCE", 0.1)
    monkeypatch.setattr(writer, "read_overview", hang)
    page.start()
    assert asked.wait(20)
    page.stop()
    assert not (merchant.drop / "status.html").exists()
    answer.set()
    wait_until(page.troubles, what="the end of its thread")


def test_a_share_that_is_not_mounted_gets_no_page(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the drop folder's mount is missing, no page is written into what lies beneath."""
    _, (page,) = _pages(merchant)
    monkeypatch.setattr(writer, "missing_mount", lambda *_arguments: "it is not mounted now")
    page.start()
    page.stop()
    assert not (merchant.drop / "status.html").exists()


def test_a_fault_of_the_page_ends_neither_it_nor_anything_else(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in this program, met while the page is made, is told, and the next page is written."""
    _, (page,) = _pages(merchant)
    faults = iter([RuntimeError("a mistake")])

    def look(*arguments: object, **more: object) -> object:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return read_overview(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "read_overview", look)
    page.start()
    wait_until((merchant.drop / "status.html").exists, what="the page after the fault")
    wait_until(lambda: page.troubles() == {}, what="that it is over")
    page.stop()


# In a browser


def _browse(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page as a file in a browser; its messages are on stderr."""
    assert _BROWSER is not None
    profile = path.parent / "profile"
    command = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    more = ["--enable-logging=stderr", "--hide-scrollbars", *options, path.as_uri()]
    return subprocess.run([*command, *more], capture_output=True, text=True, check=True, timeout=100)


@needs_browser
def test_a_browser_shows_the_page_from_a_file(tmp_path: Path) -> None:
    """Opened as a file, the page is what was written, in its style, and the browser has nothing to complain of."""
    path = tmp_path / "status.html"
    path.write_text(document(facts(full(), "fr"), NOW))
    shown = _browse(path, "--dump-dom")
    assert "Le nom du fichier ne commence pas par un numéro de commande" in shown.stdout
    assert 'lang="fr"' in shown.stdout
    complaints = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []


@needs_browser
@pytest.mark.soak
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_paints_the_page(tmp_path: Path, language: str, width: int) -> None:
    """On a phone's and on a desk's width the page is painted, and has more on it where there is more to tell."""
    sizes = []
    for shown in (overview(), full()):
        path = tmp_path / "status.html"
        path.write_text(document(facts(shown, language), NOW))  # type: ignore[arg-type]
        picture = tmp_path / "page.png"
        _browse(path, f"--window-size={width},2000", f"--screenshot={picture}")
        sizes.append(picture.stat().st_size)
    assert 5000 < sizes[0] < sizes[1]
