"""Files that change under us: what is sent is what was checked, what is new is a new invoice, and nothing is lost.

The real service takes one invoice to its end. Right before one of the calls that it makes on the way (whatever changes
a file system, commits to the ledger, asks the API, or reads the folders), somebody else does something to the file:
writes it anew in place, puts another in its place, cuts it short, renames it, deletes it, or takes the name that it
would get in the processed folder. Then everything is looked at.
"""

import hashlib
import io
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from test_io_errors import Calls

from crash import effects_undone
from invoicedrop import exit_codes, logs
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.service.service import Service
from invoicedrop.settings.load import load
from invoicedrop.system.mover import Mover
from quick_service import QUICK
from unchecked import EveryPdfIsGood

_OLD = invoice_pdf("5")
_NEW = invoice_pdf("5", pages=2)
_CUT = _OLD[: len(_OLD) // 2]
_FOREIGN = b"somebody else's file in the processed folder"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_NAMES = {_sha256(_OLD): "old", _sha256(_NEW): "new", _sha256(_CUT): "cut", _sha256(_FOREIGN): "foreign"}


class Folder:
    """A drop folder with one invoice, for a project of its own at the sandbox."""

    def __init__(self, home: Path, api: Running, project: int) -> None:
        self.home, self.api, self.project = home, api, project
        self.drop = home / "drop"
        self.processed, self.failed = self.drop / "processed", self.drop / "failed"
        self.file = self.drop / "5.pdf"
        self.log = io.StringIO()
        self.checked: set[str] = set()
        self.processed.mkdir(parents=True)
        self.file.write_bytes(_OLD)

    def work_off(self, meet: Callable[[str, int, str, bool], None], way: str = "rename") -> dict[str, list[str]]:
        """Start the service until nothing is left to do, `meet` being told of each call; return the first's calls."""
        with effects_undone():
            logs.configure("json", "info", self.log)
            calls = Calls(self.home, meet)
            calls.install()
            try:
                return self._work_off(calls, calls.mover(way))
            finally:
                logs.configure("auto", "info")

    def _work_off(self, calls: Calls, mover: Mover) -> dict[str, list[str]]:
        environment = {
            "INVOICEDROP_COMPANY_ID": str(self.api.company_id),
            "INVOICEDROP_PROJECT_ID": str(self.project),
            "INVOICEDROP_API_TOKEN": self.api.token,
            "INVOICEDROP_API_URL": self.api.url,
            "INVOICEDROP_RESEND_AFTER": "0",
            "INVOICEDROP_DROP_DIR": str(self.drop),
            "INVOICEDROP_STATE_DIR": str(self.home / "state"),
            "INVOICEDROP_REQUESTS_PER_SECOND": "0",
            "INVOICEDROP_SETTLE_SECONDS": "0",
            "INVOICEDROP_SCAN_INTERVAL": "600",
            "INVOICEDROP_UPLOAD_WORKERS": "1",
        }
        first: dict[str, list[str]] | None = None
        for _ in range(10):
            service = Service(load(None, environment), timing=QUICK, validator=self._recorder(), mover=mover)
            code = service.run(once=True)
            first = first or {thread: list(names) for thread, names in calls.seen.items()}
            if code != exit_codes.TRY_LATER and not list(self.drop.glob("*.pdf")):
                assert first is not None
                return first
        pytest.fail(f"work is left: {self.log.getvalue()}")

    def _recorder(self) -> type[EveryPdfIsGood]:
        checked = self.checked

        class Recorder(EveryPdfIsGood):
            def check(self, _fd: int, _size: int, **_more: Any) -> PdfFacts:
                checked.add(_sha256(os.pread(_fd, _size, 0)))
                return super().check(_fd, _size)

        return Recorder

    def sent(self) -> Counter[str]:
        """Return how often the server has each content."""
        return Counter(one.sha256 for one in self.api.uploads() if one.project == self.project)

    def found(self) -> Counter[str]:
        """Return how often each content lies in processed."""
        return Counter(_sha256(path.read_bytes()) for path in self.processed.iterdir())

    def check(self) -> Iterator[str]:
        """Look for what must never be, whatever was done to the file."""
        sent, found = self.sent(), self.found()
        found.pop(_sha256(_FOREIGN), None)
        if any(count > 1 for count in sent.values()):
            yield f"sent twice: {_named(sent)}"
        if unchecked := set(sent) - self.checked:
            yield f"sent, but not what was checked: {_named(Counter(unchecked))}"
        if mixed := set(sent) - set(_NAMES):
            yield f"sent, and never a file: {len(mixed)}"
        if false := set(found) - set(sent):
            yield f"filed under a false receipt: {_named(Counter(false))}"
        if left := {path.name for path in self.drop.iterdir()} - {"processed", "failed"}:
            yield f"left in the drop folder: {left}"
        if left := {path.name for path in self.failed.iterdir()}:
            yield f"in failed: {left}"
        if left := {path.name for path in self.home.rglob(".invoicedrop-*")}:
            yield f"left over: {left}"
        yield from self._ledger(found)

    def _ledger(self, found: Counter[str]) -> Iterator[str]:
        ledger = sqlite3.connect(self.home / "state" / "ledger.sqlite3")
        rows = ledger.execute("select sha256, state, filed_as, attachment_id from invoices").fetchall()
        ledger.close()
        receipts = {one.attachment_id: one.sha256 for one in self.api.uploads() if one.project == self.project}
        for sha256, state, filed_as, attachment in rows:
            if attachment is not None and receipts.get(attachment) != sha256:
                yield "ledger: a false receipt"
            if filed_as is not None and _sha256(Path(filed_as).read_bytes()) != sha256:
                yield f"ledger: {filed_as} is another file"
            if sha256 in found and state != "processed":
                yield f"ledger: what is filed is {state}"


def _named(contents: Counter[str]) -> dict[str, int]:
    return {_NAMES.get(sha256, "a mixture"): count for sha256, count in contents.items()}


# What somebody else does to the file: each tells which contents must be sent and filed in the end


def _write_anew(folder: Folder) -> set[bytes]:
    folder.file.write_bytes(_NEW)
    return {_NEW}


def _put_another(folder: Folder) -> set[bytes]:
    part = folder.home / "part"
    part.write_bytes(_NEW)
    part.replace(folder.file)
    return {_NEW}


def _cut_short(folder: Folder) -> set[bytes]:
    if not folder.file.exists():
        return {_OLD}
    with folder.file.open("r+b") as stream:
        stream.truncate(len(_CUT))
    return {_CUT}


def _rename(folder: Folder) -> set[bytes]:
    if folder.file.exists():
        folder.file.rename(folder.drop / "5_renamed.pdf")
    return {_OLD}


def _delete(folder: Folder) -> set[bytes]:
    if not folder.file.exists():
        return {_OLD}
    folder.file.unlink()
    return set()


def _take_its_name(folder: Folder) -> set[bytes]:
    if not (folder.processed / "5.pdf").exists():
        (folder.processed / "5.pdf").write_bytes(_FOREIGN)
        return {_OLD, _FOREIGN}
    return {_OLD}


_CHANGES: Mapping[str, Callable[[Folder], set[bytes]]] = {
    "written anew": _write_anew,
    "replaced": _put_another,
    "cut short": _cut_short,
    "renamed": _rename,
    "deleted": _delete,
    "its name taken": _take_its_name,
}
_WAYS = ("rename", "link", "copy")
_STEPS = {"sendfile", "_exchange", "renameat2", "link", "copyfileobj", "mkdir"}


class Stage:
    """Folders, one after the other, each with a project of its own at one sandbox."""

    def __init__(self, home: Path, api: Running) -> None:
        self._home, self._api, self._number = home, api, 0

    def folder(self) -> Folder:
        """Begin anew."""
        self._number += 1
        return Folder(self._home / str(self._number), self._api, self._number)

    def change_at(self, change: Callable[[Folder], set[bytes]], way: str, thread: str, number: int) -> Iterator[str]:
        """Change the file right before a call; return what was wrong, in words."""
        folder = self.folder()
        wanted: list[set[bytes]] = []
        where = ""

        def meet(in_thread: str, at: int, name: str, after: bool) -> None:
            nonlocal where
            if not wanted and not after and (in_thread, at) == (thread, number):
                where = f"before {thread} {number} {name}"
                wanted.append(set())
                wanted[0] = change(folder)

        folder.work_off(meet, way)
        problems = list(folder.check())
        lost = {_sha256(content) for content in (wanted[0] if wanted else {_OLD})} - set(folder.found())
        if lost:
            problems.append(f"lost: {_named(Counter(lost))}")
        for problem in problems:
            yield f"{where}: {problem}"
        shutil.rmtree(folder.home)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Have a sandbox with a project for each folder."""
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="invoicedrop-", dir=memory if os.access(memory, os.W_OK) else tmp_path))
    try:
        with serve(Options(rate=0, projects=tuple(range(1, 5_000)), orders=(5,))) as api:
            yield Stage(home, api)
    finally:
        shutil.rmtree(home)


def _change_at_each(stage: Stage, change: str, way: str, share: int) -> None:
    folder = stage.folder()
    calls = folder.work_off(lambda *_: None, way)
    problems: list[str] = []
    tried = 0
    for thread, names in calls.items():
        for number in range(1, len(names) + 1):
            # The steps of the way itself, and a share of all others (looking again and again, opening the ledger).
            if names[number - 1] in _STEPS or number % share == 0:
                problems += stage.change_at(_CHANGES[change], way, thread, number)
                tried += 1
    assert not problems, "\n".join(problems)
    assert tried > 10, f"{calls}\n{folder.log.getvalue()}"


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("change", _CHANGES)
def test_a_file_that_changes_between_two_steps_is_what_it_is(stage: Stage, change: str, way: str) -> None:
    """What was sent is what was checked, new content is a new invoice, nothing is lost or falsely filed."""
    _change_at_each(stage, change, way, 47)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("change", _CHANGES)
def test_a_file_that_changes_between_any_two_steps_is_what_it_is(stage: Stage, change: str, way: str) -> None:
    """Likewise, right before every single call."""
    _change_at_each(stage, change, way, 1)


def test_a_file_that_comes_while_another_is_put_back_is_not_overwritten(stage: Stage) -> None:
    """The file is exchanged just before the move, and the next one comes before that is put back: both go through."""
    folder = stage.folder()
    moves = 0

    def meet(_thread: str, _number: int, name: str, after: bool) -> None:
        nonlocal moves
        if name == "renameat2" and not after:
            moves += 1
            if moves == 1:
                _put_another(folder)
            elif moves == 2:
                folder.file.write_bytes(_CUT)

    folder.work_off(meet)
    assert moves > 2
    assert list(folder.check()) == []
    assert folder.sent() == {_sha256(_OLD): 1, _sha256(_NEW): 1, _sha256(_CUT): 1}
    assert folder.found() == {_sha256(_NEW): 1, _sha256(_CUT): 1}
