"""Random kills: the real daemon under load, killed at random moments, loses nothing and sends nothing twice.

The daemon is the real command in a process of its own; only its waits are shorter, or each life would do nothing but
wait. Its server answers late, cuts and forgets answers, before and after it has stored what came, refuses and breaks
down. Lives are ended by SIGKILL at random moments, the start included, and the next one begins at once on the same
folders; the last one may live until everything is worked off. Then everything is looked at.

The short version is in every run; the long one (`-m soak -n0 -s`) is told by the environment: SOAK_INVOICES,
SOAK_KILLS, SOAK_SEED, SOAK_LIFE (the longest life in seconds).
"""

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from fork_server import ForkedProcess, ForkServer
from invoicedrop.inbox.ownership import OWNER_FILE
from invoicedrop.sandbox import Options, serve
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Merchant
from quick_service import QUICK, program
from waiting import wait_until

_RESEND_AFTER = "0.8"
"""Seconds: as in the real program, longer than the server takes to store what it has received."""
_TIMING = replace(QUICK, doubt_looks=(0.1, 0.4), longest_retry=1.0)
_ON_UPLOADS: tuple[dict[str, Any], ...] = (
    {"kind": "reset_before_read", "probability": 0.03},
    {"kind": "reset_before_store", "probability": 0.03},
    {"kind": "reset_after_store", "probability": 0.06},
    {"kind": "hang_before_store", "probability": 0.01},
    {"kind": "hang_after_store", "probability": 0.01},
    {"kind": "truncate", "probability": 0.04},
    {"kind": "status", "probability": 0.02},
    {"kind": "status", "probability": 0.03, "stored": True},
    {"kind": "html", "probability": 0.02},
    {"kind": "html", "probability": 0.03, "stored": True},
    {"kind": "status", "status": 504, "probability": 0.02},
    {"kind": "status", "status": 504, "probability": 0.02, "stored": True},
    {"kind": "rate_limited", "probability": 0.02},
    {"kind": "accepted_error", "probability": 0.02},
)
_ON_QUESTIONS: tuple[dict[str, Any], ...] = (
    {"kind": "latency", "request": "any", "seconds": 0.1, "probability": 0.3},
    {"kind": "status", "request": "order", "status": 503, "probability": 0.03},
    {"kind": "reset_before_store", "request": "order", "probability": 0.03},
    {"kind": "status", "request": "attachment", "probability": 0.03},
    {"kind": "truncate", "request": "download", "probability": 0.05},
)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Soak:
    """A merchant with so many invoices, whose daemon is killed so many times."""

    def __init__(self, home: Path, *, invoices: int, kills: int, longest_life: float, seed: int) -> None:
        self._random, self._seed = random.Random(seed), seed
        self._kills, self._longest_life = kills, longest_life
        self._api = serve(Options(rate=0, any_order=True, seed=seed))
        for fault in (*_ON_QUESTIONS, *({"request": "upload"} | fault for fault in _ON_UPLOADS)):
            self._api.faults.add(**fault)
        self._merchant = Merchant(home, self._api)
        self._to_drop = list(_invoices(invoices))
        self._dropped: dict[str, bytes] = {}
        self._helpers: list[psutil.Process] = []
        self._log = home / "log"
        self._died_with_work = 0
        self._mid_upload = 0

    def run(self) -> None:
        """Live all lives, then look at everything."""
        began = time.monotonic()
        with self._api:
            everything = len(self._to_drop)
            for number in range(1, self._kills + 1):
                self._drop(everything * number // self._kills + 25)
                self._short_life()
            self._drop(everything)
            self._last_life()
            problems = [*self._folders(), *self._server(), *self._ledger(), *self._left_over()]
        self._tell(time.monotonic() - began, problems)
        assert not problems, "\n".join([*problems, self._log.read_text()[-20_000:]])

    def _drop(self, count: int) -> None:
        """Drop files until so many were dropped in all."""
        while self._to_drop and len(self._dropped) < count:
            name, content = self._to_drop.pop(0)
            self._dropped[name] = self._merchant.drop_pdf(name, content)

    def _start(self) -> ForkedProcess:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INVOICEDROP_")}
        environment = (
            inherited
            | self._merchant.environment
            | {"INVOICEDROP_REQUEST_TIMEOUT": "1", "INVOICEDROP_RESEND_AFTER": _RESEND_AFTER}
        )
        with self._log.open("ab") as log:
            return ForkServer.running().start(
                [*program(_TIMING), "run"], stdout=log, stderr=log, env=environment, cwd=self._merchant.home
            )

    def _short_life(self) -> None:
        before = self._log.stat().st_size if self._log.exists() else 0
        life = self._start()
        try:
            if self._random.random() < 0.9:
                # Most lives shall end at work, the others while they start.
                wait_until(lambda: b"service.started" in self._said_since(before), seconds=60, what="a start")
            try:
                code = life.wait(self._random.uniform(0, self._longest_life))
            except subprocess.TimeoutExpired:
                self._helpers += psutil.Process(life.pid).children(recursive=True)
            else:
                pytest.fail(f"it ended by itself with {code}: {self._log.read_text()[-5000:]}")
        finally:
            life.kill()
            life.wait()
        self._died_with_work += bool(self._waiting())
        self._mid_upload += self._in_state("uploading") > 0

    def _last_life(self) -> None:
        before = self._log.stat().st_size
        life = self._start()
        try:
            wait_until(lambda: b"inbox.watching" in self._said_since(before), seconds=60, what="the last start")
            wait_until(lambda: not self._waiting() or life.poll() is not None, seconds=300, what="the last invoice")
            life.send_signal(signal.SIGTERM)
            code = life.wait(30)
        finally:
            life.kill()
            life.wait()
        assert code == 0, self._log.read_text()[-5000:]

    def _said_since(self, place: int) -> bytes:
        with self._log.open("rb") as log:
            log.seek(place)
            return log.read()

    def _waiting(self) -> list[str]:
        return [entry.name for entry in os.scandir(self._merchant.drop) if entry.is_file() and entry.name != OWNER_FILE]

    def _entries(self, columns: str) -> list[tuple[Any, ...]]:
        path = self._merchant.state / "ledger.sqlite3"
        if not path.exists():
            return []
        connection = sqlite3.connect(path)
        try:
            return connection.execute(f"select {columns} from invoices").fetchall()
        except sqlite3.OperationalError:
            # Killed before the ledger had its tables.
            return []
        finally:
            connection.close()

    def _in_state(self, state: str) -> int:
        return sum(found == state for (found,) in self._entries("state"))

    # The end

    def _pdfs(self, folder: Path) -> Iterator[tuple[Path, str]]:
        for path in folder.iterdir():
            if not path.name.endswith(".reason.txt"):
                yield path, _sha256(path.read_bytes())

    def _folders(self) -> Iterator[str]:
        filed = [*self._pdfs(self._merchant.processed), *self._pdfs(self._merchant.failed)]
        wanted, found = Counter(map(_sha256, self._dropped.values())), Counter(sha256 for _, sha256 in filed)
        if wanted != found:
            yield f"lost {wanted - found}, too many or altered {found - wanted}"
        bad = {_sha256(content) for name, content in self._dropped.items() if _is_bad(name)}
        for path, sha256 in self._pdfs(self._merchant.processed):
            if sha256 in bad:
                yield f"{path.name} is no good invoice and lies in processed"
        failed = dict(self._pdfs(self._merchant.failed))
        for path, sha256 in failed.items():
            reason = path.with_name(f"{path.name}.reason.txt")
            why = reason.read_text() if reason.exists() else "none"
            if ("refused_by_api" not in why) if sha256 not in bad else ("reason  " not in why):
                yield f"{path.name} is in failed, its reason: {why}"
        reasons = {path.name for path in self._merchant.failed.iterdir()} - {path.name for path in failed}
        if reasons != {f"{path.name}.reason.txt" for path in failed}:
            yield f"the reasons {reasons} do not belong to the files"

    def _server(self) -> Iterator[str]:
        good = {sha256 for _, sha256 in self._pdfs(self._merchant.processed)}
        wanted = {
            (int(name.split("_")[0].removesuffix(".pdf")), _sha256(content)): 1
            for name, content in self._dropped.items()
            if _sha256(content) in good
        }
        sent = Counter((upload.order_id, upload.sha256) for upload in self._api.uploads())
        if sent != wanted:
            yield f"server: missing {Counter(wanted) - sent}, too many {sent - Counter(wanted)}"

    def _ledger(self) -> Iterator[str]:
        receipts = {upload.attachment_id: (upload.order_id, upload.sha256) for upload in self._api.uploads()}
        columns = "order_id, sha256, state, attachment_id, doubt_since, filed_as"
        for order, sha256, state, attachment, doubt, filed_as in self._entries(columns):
            if state not in {"processed", "failed"}:
                yield f"ledger: order {order} is stuck in {state}"
            if state == "processed" and (receipts.get(attachment) != (order, sha256) or doubt is not None):
                yield f"ledger: order {order} has the wrong receipt {attachment}, or a doubt"
            if not sha256.startswith("unread:") and (
                filed_as is None or _sha256(Path(filed_as).read_bytes()) != sha256
            ):
                yield f"ledger: order {order} does not lie in {filed_as}"

    def _left_over(self) -> Iterator[str]:
        if waiting := self._waiting():
            yield f"stuck in the drop folder: {waiting}"
        if left := [str(path) for path in self._merchant.home.rglob(".invoicedrop-*")]:
            yield f"left over: {left}"
        _, alive = psutil.wait_procs(self._helpers, timeout=10)
        if alive:
            yield f"processes left over: {alive}"

    def _tell(self, seconds: float, problems: list[str]) -> None:
        hits = ", ".join(f"{count} {kind}" for kind, count in sorted(self._api.faults.hits.items()))
        found = self._log.read_text().count('"found": true')
        print(
            f"\nseed {self._seed}: {len(self._dropped)} invoices, {self._kills} kills in {seconds:.0f} s; "
            f"{self._died_with_work} kills with work left, {self._mid_upload} with an upload in doubt\n"
            f"uploads asked for {self._api.journal.arrived('upload')}, stored {len(self._api.uploads())}, "
            f"found by asking {found}\n"
            f"processed {len([*self._pdfs(self._merchant.processed)])}, "
            f"failed {len([*self._pdfs(self._merchant.failed)])}\n"
            f"faults: {hits}\n"
            f"problems: {problems or 'none'}"
        )


def _is_bad(name: str) -> bool:
    return "_bad" in name


def _invoices(count: int) -> Iterator[tuple[str, bytes]]:
    """Make so many files: two invoices for each order, among them copies of one another and some that are no PDF."""
    for number in range(count):
        order = 1 + number // 2
        if number % 25 == 24:
            yield f"{order}_bad{number}.pdf", b"no PDF %d" % number
        elif number % 20 == 19:
            yield f"{order}_copy{number}.pdf", invoice_pdf(str(number - 1))
        else:
            yield f"{order}_part{number}.pdf", invoice_pdf(str(number))


@pytest.mark.long
def test_five_random_kills_lose_nothing_and_send_nothing_twice(home: Path) -> None:
    """Forty invoices, a server that does everything wrong, five kills: each is filed once, whole, and sent once."""
    Soak(home, invoices=40, kills=5, longest_life=0.8, seed=random.randrange(1 << 32)).run()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_hundreds_of_random_kills_lose_nothing_and_send_nothing_twice(home: Path) -> None:
    """A thousand invoices and three hundred kills, or what the environment says."""
    Soak(
        home,
        invoices=int(os.environ.get("SOAK_INVOICES", "1000")),
        kills=int(os.environ.get("SOAK_KILLS", "300")),
        longest_life=float(os.environ.get("SOAK_LIFE", "1.3")),
        seed=int(os.environ.get("SOAK_SEED", "1")),
    ).run()
