"""The whole thing in a few seconds: sandbox API, drop folder, the real daemon, and what becomes of each file."""

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

from invoicedrop.inbox.filed_names import REASON_SUFFIX
from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf

_DEADLINE: Final = 30.0
"""Seconds after which the demo gives up waiting; it takes about six."""
_LOST_ANSWER: Final = 1004
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
    """Run the demo; return the exit code: 0 if everything went as it should."""
    with ExitStack() as stack:
        home = Path(
            tempfile.mkdtemp(prefix="invoicedrop-demo-")
            if keep
            else stack.enter_context(tempfile.TemporaryDirectory(prefix="invoicedrop-demo-"))
        )
        sandbox = stack.enter_context(serve(Options(orders=list(range(1001, 1021)))))
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
                # As careful software does it: written under another name, then renamed.
                part = drop / f"{name}.part"
                part.write_bytes(content)
                part.rename(drop / name)
            ended = _tell(console, events, len(files))
        _show_folders(console, drop)
        _show_reason(console, drop / "failed")
        right = _show_uploads(console, sandbox, files)
        console.print()
        if keep:
            console.print(f"Everything was kept in {home}", soft_wrap=True)
        else:
            console.print("Nothing was left behind. To look at the folders: invoicedrop demo --keep")
        console.print("For a sandbox that stays: invoicedrop sandbox. For real use: see README.md.\n")
        return 0 if ended and right else 1


def _invoices() -> dict[str, bytes]:
    """Make a handful of good invoices and a few bad ones."""
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
    }


@contextmanager
def _daemon(home: Path, sandbox: Running) -> Iterator[Iterator[dict[str, Any]]]:
    """Run the real daemon; give its log lines as they come."""
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


def _tell(console: Console, events: Iterator[dict[str, Any]], files: int) -> bool:
    """Show what happens to each file; say whether each came to its end."""
    ended = 0
    for line in events:
        told = _in_words(line)
        if told is not None:
            mark, words = told
            console.print(Text.assemble("  ", mark, " ", (f"{line['file']:<28}", "bold"), words), soft_wrap=True)
        ended += line["event"] in {"invoice.processed", "invoice.duplicate", "invoice.failed"}
        if ended == files:
            return True
    return False


_WORDS: Final = {
    "invoice.processed": (("✓", "green"), "checked, sent to order {order_id}, filed in processed/"),
    "invoice.duplicate": (("=", "cyan"), "the same invoice went to order {order_id} already: filed, not sent again"),
    "invoice.failed": (("✗", "red"), "{reason}: moved to failed/, with the reason beside it"),
    "upload.unknown": (("?", "yellow"), "the answer was lost on its way: Channable is asked before it is sent again"),
    "upload.reconciled": (("!", "yellow"), "Channable has it: not sent twice"),
}
_UNFINISHED: Final = (("…", "yellow"), "its end is missing: perhaps it is still being written; waiting a little")


def _in_words(line: dict[str, Any]) -> tuple[tuple[str, str], str] | None:
    if line["event"] == "invoice.deferred" and "still be being written" in line["detail"]:
        return _UNFINISHED
    mark, words = _WORDS.get(line["event"], (None, ""))
    return None if mark is None else (mark, words.format_map(line))


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
    """Show what the API received; say whether each good invoice is there once, byte for byte."""
    table = Table("order", "attachment", "bytes", "the same bytes as", box=None, pad_edge=False, padding=(0, 2))
    arrived: list[bytes] = []
    for upload in sandbox.uploads():
        content = sandbox.store.content(upload.attachment_id) or b""
        arrived.append(content)
        names = [name for name, sent in files.items() if sent == content]
        table.add_row(str(upload.order_id), str(upload.attachment_id), str(upload.size), Text(", ".join(names)))
    console.print("\n[bold]What the API received[/bold]")
    console.print(table)
    good = {content for name, content in files.items() if name.startswith(("1001", "1002", "1003", "1004", "1005"))}
    return sorted(arrived) == sorted(good)
