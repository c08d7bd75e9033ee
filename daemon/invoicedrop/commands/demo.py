"""`invoicedrop demo`: sandbox API, drop folder, the real daemon, and what becomes of each file, in a few seconds."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from invoicedrop import exit_codes
from invoicedrop.errors import ConfigError
from invoicedrop.inbox.filed_names import REASON_SUFFIX
from invoicedrop.reasons import Reason
from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.einvoice import CREDIT_NOTE, e_invoice_pdf
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.settings.environment import read_network

_DEADLINE: Final = 30.0
"""Seconds after which the demo gives up waiting; it takes about seven."""
_LOST_ANSWER: Final = 1004
_LIKE_A_YEAR: Final = 2026
"""An order whose id in a file's name may as well be a year: the daemon asks before it sends."""
_SETTINGS: Final = """
# Written by `invoicedrop demo`: talks to the sandbox only.
company_id = {company}
project_id = {project}
api_token = "{token}"
api_url = "{url}"
drop_dir = "drop"
state_dir = "state"
settle_seconds = 0.3
scan_interval = 1.0
incomplete_grace = 2.0
log_format = "json"
"""


def show(console: Console, *, keep: bool) -> int:
    """Run the demo; return the exit code: 0 if every invoice ended as it should, else 1.

    Raises:
        ConfigError: the daemon would refuse to start: the environment has proxies or certificates that cannot work.

    """
    problems: list[str] = []
    read_network(os.environ, problems)
    if problems:
        raise ConfigError(problems)
    with ExitStack() as stack:
        home = Path(
            tempfile.mkdtemp(prefix="invoicedrop-demo-")
            if keep
            else stack.enter_context(tempfile.TemporaryDirectory(prefix="invoicedrop-demo-"))
        )
        sandbox = stack.enter_context(serve(Options(orders=[*range(1001, 1021), _LIKE_A_YEAR])))
        sandbox.faults.add("reset_after_store", "upload", order_id=_LOST_ANSWER, count=1)
        files = _invoices()
        drop = home / "drop"
        drop.mkdir()
        console.print(
            "\n[bold]invoicedrop demo[/bold]: a stand-in for Channable on this machine; no account, no network.\n"
        )
        console.print(f"{len(files)} files are dropped into {drop} while the daemon runs:\n", soft_wrap=True)
        with _daemon(home, sandbox) as events:
            for name, content in files.items():
                # Written under another name, then renamed, as well-behaved software does.
                part = drop / f"{name}.part"
                part.write_bytes(content)
                part.rename(drop / name)
            all_ended = _narrate(console, events, len(files), drop)
        _show_folders(console, drop)
        _show_reason(console, drop / "failed")
        all_arrived = _show_uploads(console, sandbox, files)
        console.print()
        if keep:
            console.print(f"Everything was kept in {home}", soft_wrap=True)
        else:
            console.print("Nothing was left behind. To look at the folders: invoicedrop demo --keep")
        console.print("For a sandbox that stays: invoicedrop sandbox. For real use: see README.md.\n")
        return exit_codes.OK if all_ended and all_arrived else exit_codes.FAILED


def _invoices() -> dict[str, bytes]:
    """Return the content of each file to drop: good invoices and bad ones."""
    good = invoice_pdf("1005")
    return {
        "1001.pdf": invoice_pdf("1001"),
        "1002_spring collection.pdf": invoice_pdf("1002", pages=2),
        "1003 (1).PDF": invoice_pdf("1003"),
        f"{_LOST_ANSWER}.pdf": invoice_pdf("1004"),
        "1005.pdf": good,
        "1005_again.pdf": good,
        "9999.pdf": invoice_pdf("9999"),
        "Invoice March.pdf": invoice_pdf("March"),
        "1006.pdf": b"<!DOCTYPE html><title>Your session has ended</title>",
        "1007.pdf": invoice_pdf("1007")[:-700],
        "1008_e-invoice.pdf": e_invoice_pdf("1008"),
        "1009_credit note.pdf": e_invoice_pdf("1009", type_code=CREDIT_NOTE),
        f"{_LIKE_A_YEAR}_1010.pdf": invoice_pdf("1010"),
    }


@contextmanager
def _daemon(home: Path, sandbox: Running) -> Iterator[Iterator[dict[str, Any]]]:
    """Run the real daemon; give its log events as they come."""
    config = home / "invoicedrop.toml"
    values = {"company": sandbox.company_id, "project": sandbox.project_id, "token": sandbox.token, "url": sandbox.url}
    config.write_text(_SETTINGS.format_map(values))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INVOICEDROP_")}
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "invoicedrop.cli", "run", "--config", str(config)],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        too_late = threading.Timer(_DEADLINE, process.kill)
        too_late.start()
        try:
            assert process.stderr is not None
            lines = (json.loads(line) for line in process.stderr if line.startswith("{"))
            for line in lines:
                if line["event"] == "inbox.watching":
                    break
            yield lines
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        finally:
            too_late.cancel()
            process.kill()


def _narrate(console: Console, events: Iterator[dict[str, Any]], files: int, drop: Path) -> bool:
    """Show what happens to each file, and answer what a person is asked; return whether all came to their end."""
    ended = 0
    for event in events:
        description = _describe(event)
        if description is not None:
            mark, text = description
            console.print(Text.assemble("  ", mark, " ", (f"{event['file']:<28}", "bold"), text), soft_wrap=True)
        if event["event"] == "invoice.failed" and Reason(event["reason"]).is_soft:
            (drop / "failed" / event["file"]).rename(drop / event["file"])
            moved_back = "a person moves it back, which means: send it all the same"
            line = Text.assemble("  ", ("↩", "cyan"), " ", (f"{event['file']:<28}", "bold"), moved_back)
            console.print(line, soft_wrap=True)
            continue
        ended += event["event"] in {"invoice.processed", "invoice.duplicate", "invoice.failed"}
        if ended == files:
            return True
    return False


def _describe(event: dict[str, Any]) -> tuple[tuple[str, str], str] | None:
    """Return a styled mark and a sentence for a log event, by its name and fields; None where nothing is shown."""
    description: tuple[tuple[str, str], str] | None = None
    match event:
        case {"event": "invoice.processed", "order_id": order_id}:
            description = ("✓", "green"), f"checked, accepted by Channable for order {order_id}, in processed/"
        case {"event": "invoice.duplicate", "order_id": order_id}:
            description = ("=", "cyan"), f"the same invoice went to order {order_id} already: filed, not sent again"
        case {"event": "invoice.failed", "reason": reason} if Reason(reason).is_soft:
            description = ("✗", "red"), f"{reason}: a person is asked; moved to failed/, with the question beside it"
        case {"event": "invoice.failed", "reason": reason}:
            description = ("✗", "red"), f"{reason}: moved to failed/, with the reason beside it"
        case {"event": "invoice.deferred", "reason": Reason.INCOMPLETE}:
            description = ("…", "yellow"), "its end is missing: perhaps it is still being written; waiting a little"
        case {"event": "upload.unknown"}:
            description = ("?", "yellow"), "the answer was lost on its way: Channable is asked before it is sent again"
        case {"event": "upload.reconciled", "found": True}:
            description = ("!", "yellow"), "Channable has it: not sent twice"
    return description


def _show_folders(console: Console, drop: Path) -> None:
    tree = Tree("drop/")
    for folder in (drop / "processed", drop / "failed"):
        branch = tree.add(f"{folder.name}/")
        for path in sorted(folder.iterdir()):
            branch.add(Text(path.name, style="dim" if path.name.endswith(REASON_SUFFIX) else ""))
    console.print("\n[bold]The folders now[/bold]")
    console.print(tree)


def _show_reason(console: Console, failed: Path) -> None:
    example = failed / f"1007.pdf{REASON_SUFFIX}"
    if example.exists():
        console.print(f"\n[bold]What stands in {example.name}[/bold]")
        for line in example.read_text(encoding="utf-8").splitlines():
            console.print(Text("  │ " + line, style="dim"), soft_wrap=True)


def _show_uploads(console: Console, sandbox: Running, files: dict[str, bytes]) -> bool:
    """Show what the API received; return whether that is each good invoice once, byte for byte."""
    table = Table("order", "attachment", "bytes", "the same bytes as", box=None, pad_edge=False, padding=(0, 2))
    arrived: list[bytes] = []
    for upload in sandbox.uploads():
        content = sandbox.store.content(upload.attachment_id) or b""
        arrived.append(content)
        names = [name for name, file in files.items() if file == content]
        table.add_row(str(upload.order_id), str(upload.attachment_id), str(upload.size), Text(", ".join(names)))
    console.print("\n[bold]What the API received[/bold]")
    console.print(table)
    bad = ("1006", "1007", "9999", "Invoice")
    good = {content for name, content in files.items() if not name.startswith(bad)}
    return sorted(arrived) == sorted(good)
