"""A person stops an inbox and lets it go on; and a first start with an archive waits for a person."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from invoicedrop import cli
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.sandbox import Options, serve
from invoicedrop.service import status_file
from invoicedrop.timing import Timing
from merchant import Daemon, Merchant, running
from quick_service import program
from waiting import wait_until

SOON = program(Timing(stop_look=0.05), checked=False)
"""The service, which sees at once that somebody has stopped an inbox."""
EXAMPLE = "stocktaking until noon"


def ask(merchant: Merchant, *arguments: str) -> Result:
    """Run a command in this process."""
    environment: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("INVOICEDROP_"))
    return CliRunner().invoke(cli.app, arguments, env=environment | merchant.environment, catch_exceptions=False)


def two_inboxes(merchant: Merchant) -> None:
    """Have two inboxes, Amazon and bol, of one project each."""
    inboxes = []
    for name, project in (("Amazon", 2001), ("bol", 2002)):
        (merchant.home / name).mkdir()
        inboxes.append({"name": name, "project_id": project, "drop_dir": str(merchant.home / name)})
    for name in ("DROP_DIR", "PROJECT_ID"):
        del merchant.environment[f"INVOICEDROP_{name}"]
    merchant.environment["INVOICEDROP_INBOXES"] = json.dumps(inboxes)


def drop(folder: Path, *names: str) -> None:
    """Drop invoices, each with bytes of its own."""
    for name in names:
        part = folder.parent / f"{name}.part"
        part.write_bytes(f"%PDF-1.4\n{folder}/{name}\n%%EOF\n".encode())
        part.rename(folder / name)


def waiting(folder: Path) -> Sequence[str]:
    """Return what waits in a drop folder."""
    return sorted(path.name for path in folder.glob("*.pdf"))


def report(merchant: Merchant, inbox: str = "default") -> str | None:
    """Return what the service reports of the inbox's stop."""
    written = status_file.read(merchant.state / "service.json", merchant.state)
    assert written is not None
    return written.inboxes[inbox].stopped_by


def uploads(daemon: Daemon) -> int:
    """Return how many uploads have begun."""
    return len(daemon.events("upload.started"))


def test_a_pause_stops_what_is_new_until_resume(merchant: Merchant) -> None:
    """The upload under way ends and is filed; nothing else is sent or moved, also after a restart, until resume."""
    merchant.sandbox.faults.add("latency", "upload", seconds=1.0, count=1)
    merchant.environment["INVOICEDROP_UPLOAD_WORKERS"] = "1"
    with running(merchant, program=SOON) as daemon:
        drop(merchant.drop, "7.pdf", "8.pdf")
        daemon.wait_for("upload.started")
        done = ask(merchant, "pause", "--reason", f"  {EXAMPLE}\x1b[2J ")
        assert done.exit_code == 0
        assert "paused by a person since" in done.stdout
        daemon.wait_for("inbox.paused")
        (line,) = daemon.events("inbox.paused")
        assert line["reason"] == f"{EXAMPLE}\\x1b[2J"
        drop(merchant.drop, "9.pdf", "no order.pdf")
        daemon.wait_for("invoice.processed")
        wait_until(lambda: str(report(merchant)).endswith(f"{EXAMPLE}\\x1b[2J"), what="the status file says so")
        daemon.stop()
        assert uploads(daemon) == 1, "the other one had been handed out, and went back"
    left = waiting(merchant.drop)
    assert len(left) == 3
    assert merchant.run("run", "--once", program=SOON).returncode == 75
    with running(merchant, program=SOON) as daemon:
        daemon.wait_for("inbox.watching")
        daemon.wait_for("inbox.paused")
        told = ask(merchant, "status").stdout
        assert "paused by a person since" in told
        (inbox,) = json.loads(ask(merchant, "status", "--json").stdout)["inboxes"]
        assert EXAMPLE in inbox["stopped_by"]
        assert (uploads(daemon), waiting(merchant.drop)) == (0, left)
        assert "goes on; it was paused" in ask(merchant, "resume").stdout
        daemon.wait_for("inbox.resumed")
        assert daemon.events("inbox.resumed")[0]["reason"] == line["reason"]
        daemon.wait_for("invoice.processed", 2)
        daemon.wait_for("invoice.failed")
        assert waiting(merchant.drop) == []
        wait_until(lambda: report(merchant) is None, what="the status file says that it goes on")
        assert daemon.stop() == 0


def test_no_order_is_looked_at_while_all_is_paused(merchant: Merchant) -> None:
    """A pause asks nothing of Channable, from the start on: the looks at accepted invoices' orders come after it."""
    drop(merchant.drop, "8.pdf")
    assert merchant.run("run", "--once", program=SOON).returncode == 0
    with Ledger.open(merchant.state) as ledger:
        (entry,) = ledger.past.of_order("8", most=9)
        ledger.look_put_off(entry, 0.0)
    assert ask(merchant, "pause").exit_code == 0
    before = len(merchant.sandbox.requests)
    timing = Timing(stop_look=0.02, confirm_after=(0.0,), confirm_retry=0.02)
    with running(merchant, program=program(timing, checked=False)) as daemon:
        daemon.wait_for("inbox.watching")
        wait_until(lambda: report(merchant) is not None, what="the loop has gone round")
        drop(merchant.drop, "9.pdf")
        wait_until(lambda: "9.pdf" in ask(merchant, "status").stdout, what="it waits")
        assert len(merchant.sandbox.requests) == before
        ask(merchant, "resume")
        daemon.wait_for("invoice.confirmed")


def test_one_inbox_is_paused_alone(merchant: Merchant) -> None:
    """The other one goes on; names are known in any case, and a wrong one is answered with the near one."""
    two_inboxes(merchant)
    with serve(Options(rate=0, projects=(2001, 2002))) as api:
        merchant.environment |= {"INVOICEDROP_API_URL": api.url, "INVOICEDROP_API_TOKEN": api.token}
        with running(merchant, program=SOON) as daemon:
            daemon.wait_for("inbox.watching", 2)
            assert ask(merchant, "pause", "--inbox", "amazon").exit_code == 0
            daemon.wait_for("inbox.paused")
            for name in ("Amazon", "bol"):
                drop(merchant.home / name, "8.pdf")
            daemon.wait_for("invoice.processed")
            (done,) = daemon.events("invoice.processed")
            assert done["inbox"] == "bol"
            assert waiting(merchant.home / "Amazon") == ["8.pdf"]
            for command in ("pause", "resume"):
                wrong = ask(merchant, command, "--inbox", "amzon")
                assert (wrong.exit_code, wrong.stdout) == (2, "")
                assert "did you mean Amazon?" in wrong.stderr
            assert ask(merchant, "pause", "--reason", "x" * 201).exit_code == 2
            assert "bol was not paused" in ask(merchant, "resume").stdout
            daemon.wait_for("invoice.processed", 2)


def test_a_pause_under_a_name_that_is_gone_is_told(merchant: Merchant) -> None:
    """An inbox that was renamed is not paused any more: `check` says so, until all are told to go on."""
    with running(merchant, program=SOON) as daemon:
        daemon.wait_for("inbox.watching")
    assert ask(merchant, "pause", "--reason", "Anna Example asked for it").exit_code == 0
    assert "Anna Example" in ask(merchant, "check").stdout
    report = ask(merchant, "support").stdout
    assert "paused by a person" in report
    assert "Anna Example" not in report
    inbox = {"name": "webshop", "project_id": 2001, "drop_dir": str(merchant.drop)}
    for name in ("DROP_DIR", "PROJECT_ID"):
        del merchant.environment[f"INVOICEDROP_{name}"]
    merchant.environment["INVOICEDROP_INBOXES"] = json.dumps([inbox])
    assert "the inbox 'default' was paused by a person, and no inbox has this name" in ask(merchant, "check").stdout
    assert ask(merchant, "resume").exit_code == 0
    assert "no inbox has this name" not in ask(merchant, "check").stdout


def test_without_a_ledger_there_is_nothing_to_pause(merchant: Merchant) -> None:
    """Neither command makes a ledger, which would be another user's."""
    for command in ("pause", "resume"):
        done = merchant.run(command)
        assert done.returncode == 75
        assert "there is no ledger yet" in done.stderr
    assert not merchant.state.exists()


def test_a_first_start_with_an_archive_waits_for_a_person(merchant: Merchant) -> None:
    """More files than hold_above are held, also after a restart; check, log, status and the exit code say so."""
    merchant.environment["INVOICEDROP_HOLD_ABOVE"] = "3"
    drop(merchant.drop, *(f"{number}.pdf" for number in range(1, 5)))
    (merchant.drop / "5.pdf.part").write_bytes(b"")
    assert "the first start will hold them" in " ".join(ask(merchant, "check").stdout.split())
    for _ in range(2):
        done = merchant.run("run", "--once", program=SOON)
        assert done.returncode == 75
        assert '"files": 4' in done.stderr
        assert "invoicedrop resume" in done.stderr
        assert len(waiting(merchant.drop)) == 4
    assert merchant.run("run", "--once", forked=True).stderr.splitlines()[-1].startswith("inbox default: held since")
    assert "4 files waited at its first start" in " ".join(ask(merchant, "status").stdout.split())
    assert "resume --inbox default" in ask(merchant, "check").stdout
    (merchant.drop / "4.pdf").unlink()
    assert merchant.run("run", "--once", program=SOON).returncode == 75, "it is held until somebody says so"
    drop(merchant.drop, "4.pdf")
    assert ask(merchant, "resume").exit_code == 0
    assert merchant.run("run", "--once", program=SOON).returncode == 0
    assert waiting(merchant.drop) == []


@pytest.mark.parametrize("limit", ["4", "0"])
def test_few_files_are_not_held(merchant: Merchant, limit: str) -> None:
    """As many as allowed, or with 0 any number, are sent at the first start: so they are after a lost ledger."""
    merchant.environment["INVOICEDROP_HOLD_ABOVE"] = limit
    drop(merchant.drop, *(f"{number}.pdf" for number in range(1, 5)))
    assert merchant.run("run", "--once", program=SOON).returncode == 0


def test_only_a_first_start_is_held(merchant: Merchant) -> None:
    """Where the ledger knows an invoice of the project, or a person has let it go on, a backlog is a backlog."""
    merchant.environment["INVOICEDROP_HOLD_ABOVE"] = "1"
    drop(merchant.drop, "1.pdf")
    assert merchant.run("run", "--once", program=SOON).returncode == 0
    drop(merchant.drop, "2.pdf", "3.pdf", "4.pdf")
    assert merchant.run("run", "--once", program=SOON).returncode == 0
    with Ledger.open(merchant.state) as ledger:
        assert ledger.stops.all() == {}
