"""Every I/O error, at every step: no loss, no exit, no hot loop, words in the log, and all is done when it is over.

The real service runs in this process and in its real loop, on a drop folder with one invoice of each kind. A trouble is
an error that one of its calls meets (what changes a file system, commits to the ledger, or reads either of them):
once, or always from then on until it is lifted. Troubles begin when the service has started; that a daemon which cannot
even start says so and exits is another matter. At the end everything is looked at; temporary files that
could not be removed may wait for one more start.

Disks that are really full, and a process that really has no file descriptors left, come last.
"""

import errno
import hashlib
import io
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crash import Effects, LedgerConnection, effects_undone
from invoicedrop import logs
from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.service.main_loop import MainLoop
from invoicedrop.service.service import Service
from invoicedrop.settings.load import load
from merchant import Merchant, running
from quick_service import QUICK, UNCHECKED
from unchecked import EveryPdfIsGood
from waiting import wait_until
from ways import unheld

_ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "ESTALE")}
_LEDGER_SAYS = {
    "ENOSPC": "database or disk is full",
    "EIO": "disk I/O error",
    "EACCES": "unable to open database file",
    "EROFS": "attempt to write a readonly database",
    "EMFILE": "unable to open database file",
    "ESTALE": "disk I/O error",
}
_LASTS = 0.3
"""Seconds that a lasting trouble lasts after it was met first."""
_LONGEST = 30.0
"""Seconds that a life may last: far more than it needs, for the machine may be busy with other things."""
_MOST_TRIES = 60
"""So often a lasting trouble may be met by the shortened backoff; a hot loop would meet it many hundred times."""
_GOOD = invoice_pdf("10")
_DROPPED = {
    "10.pdf": _GOOD,
    "10_copy.pdf": _GOOD,
    "20.pdf": invoice_pdf("20"),
    "999.pdf": invoice_pdf("999"),
    "nonsense.pdf": invoice_pdf("nonsense"),
}
_BAD = {"999.pdf", "nonsense.pdf"}
_WORDS = {"inbox.unavailable", "api.paused", "invoice.deferred"}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Calls(Effects):
    """Effects, and the calls by which the folders and the ledger are read."""

    def __init__(self, home: Path, meet: Callable[[str, int, str, bool], None]) -> None:
        super().__init__(meet)
        self._home = str(home)

    def install(self) -> None:
        """Wrap every call; the test's monkeypatch takes it back."""
        super().install()
        for name in ("scandir", "stat", "lstat", "open"):
            self._wrap(os, name, self._ours)
        for name in ("memfd_create", "sendfile"):
            self._wrap(os, name)
        self._wrap(LedgerConnection, "execute", lambda _self, words, *_rest: words.lstrip().startswith("SELECT"))

    def _ours(self, path: object = None, *rest: Any, **_more: Any) -> bool:
        creates = rest and isinstance(rest[0], int) and rest[0] & os.O_CREAT
        if not isinstance(path, str | os.PathLike) or creates:
            return False
        return str(unheld(Path(path))).startswith(self._home)


class Trouble:
    """An error for call `number` of `thread`; a lasting one for every later call of the same kind, until lifted."""

    def __init__(self, thread: str, number: int, error: str, *, lasting: bool, after: bool = False) -> None:
        self.thread, self.number, self.error, self.lasting, self.after = thread, number, error, lasting, after
        self.kind: str | None = None
        self.met = 0
        self._since = 0.0

    @property
    def over(self) -> bool:
        """Say whether it was met and has been lifted."""
        return self.met > 0 and (not self.lasting or time.monotonic() > self._since + _LASTS)

    def meet(self, thread: str, number: int, name: str, after: bool) -> None:
        """Raise the error if this is the call."""
        if after is not self.after or thread != self.thread or self.over:
            return
        if number == self.number and self.kind is None:
            self.kind, self._since = name, time.monotonic()
        elif not self.lasting or name != self.kind:
            return
        if self.kind == "_exchange":
            # What goes wrong in a request is told elsewhere.
            self.lasting = False
            self.met = 1
            return
        self.met += 1
        if name in {"commit", "execute"}:
            raise sqlite3.OperationalError(_LEDGER_SAYS[self.error])
        raise OSError(_ERRORS[self.error], os.strerror(_ERRORS[self.error]))


class Scene:
    """A drop folder with one invoice of each kind, and the service in this process."""

    def __init__(self, home: Path, api: Running, project: int) -> None:
        self.home, self.api, self.project = home, api, project
        self.drop, self.state = home / "drop", home / "state"
        self.processed, self.failed = self.drop / "processed", self.drop / "failed"
        self.drop.mkdir(parents=True)
        for number, (name, content) in enumerate(_DROPPED.items()):
            (self.drop / name).write_bytes(content)
            os.utime(self.drop / name, (1e9 + number, 1e9 + number))
        self.environment = {
            "INVOICEDROP_COMPANY_ID": str(api.company_id),
            "INVOICEDROP_PROJECT_ID": str(project),
            "INVOICEDROP_API_TOKEN": api.token,
            "INVOICEDROP_API_URL": api.url,
            "INVOICEDROP_RESEND_AFTER": "0",
            "INVOICEDROP_DROP_DIR": str(self.drop),
            "INVOICEDROP_STATE_DIR": str(self.state),
            "INVOICEDROP_REQUESTS_PER_SECOND": "1000",
            "INVOICEDROP_BURST": "100000",
            "INVOICEDROP_SETTLE_SECONDS": "0",
            "INVOICEDROP_SCAN_INTERVAL": "0.2",
            "INVOICEDROP_UPLOAD_WORKERS": "1",
        }
        self.log = io.StringIO()

    def live(self, trouble: Trouble | None) -> dict[str, list[str]]:
        """Run the daemon until the drop folder is worked off and the trouble over; return the calls it made."""
        with effects_undone() as patch:
            logs.configure("json", "info", self.log)
            try:
                return self._live(trouble, patch)
            finally:
                logs.configure("auto", "info")

    def _live(self, trouble: Trouble | None, patch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        look = os.scandir
        daemon: list[Service] = []
        done, ours = threading.Event(), threading.Event()

        begun = len(self.events("inbox.watching"))

        def overseer() -> None:
            deadline = time.monotonic() + _LONGEST
            while len(self.events("inbox.watching")) == begun and not done.wait(0.02) and time.monotonic() < deadline:
                pass
            while not done.wait(0.02) and time.monotonic() < deadline:
                with look(self.drop) as entries:
                    left = [entry.name for entry in entries if entry.name.endswith(".pdf")]
                if not left and self._settled() and (trouble is None or trouble.over or trouble.met == 0):
                    break
            ours.set()
            daemon[0].stop()

        armed = False

        def meet(thread: str, number: int, name: str, after: bool) -> None:
            if threading.current_thread() is watching or threading.current_thread().name.startswith("Thread"):
                return
            if armed and trouble is not None:
                trouble.meet(thread, number, name, after)

        watching = threading.Thread(target=overseer, name="overseer")
        calls = Calls(self.home, meet)
        calls.install()
        real = MainLoop.run

        def loop(*args: Any, **more: Any) -> None:
            nonlocal armed
            for seen in calls.seen.values():
                seen.clear()
            armed = True
            try:
                real(*args, **more)
            finally:
                armed = False

        patch.setattr(MainLoop, "run", loop)
        timing = replace(QUICK, file_retry=0.1)
        settings = load(None, self.environment)
        daemon.append(Service(settings, timing=timing, validator=EveryPdfIsGood, mover=calls.mover()))
        watching.start()
        try:
            code = daemon[0].run()
        finally:
            done.set()
            watching.join()
        assert code == 0
        assert ours.is_set(), "it ended by itself"
        return {thread: list(names) for thread, names in calls.seen.items()}

    def _settled(self) -> bool:
        ledger = sqlite3.connect(self.state / "ledger.sqlite3")
        try:
            return all(state in {"processed", "failed"} for (state,) in ledger.execute("select state from invoices"))
        finally:
            ledger.close()

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the log's lines of these events."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] in names]

    def check(self) -> Iterator[str]:
        """Look at everything: folders, server, ledger."""
        for folder, bad in ((self.processed, False), (self.failed, True)):
            wanted = Counter(_sha256(body) for name, body in _DROPPED.items() if (name in _BAD) is bad)
            files = [path for path in folder.iterdir() if not path.name.endswith(".reason.txt")]
            found = Counter(_sha256(path.read_bytes()) for path in files)
            if found != wanted:
                yield f"{folder.name}: lost {wanted - found}, too many or altered {found - wanted}"
            reasons = {path.name for path in folder.iterdir()} - {path.name for path in files}
            if reasons != ({f"{path.name}.reason.txt" for path in files} if bad else set()):
                yield f"the reasons {reasons} do not belong to the files"
        if left := {path.name for path in self.drop.iterdir()} - {"processed", "failed"}:
            yield f"left in the drop folder: {left}"
        if left := {path.name for path in self.home.rglob(".invoicedrop-*")}:
            yield f"left over: {left}"
        sent = Counter((one.order_id, one.sha256) for one in self.api.uploads() if one.project == self.project)
        if sent != {(10, _sha256(_GOOD)): 1, (20, _sha256(_DROPPED["20.pdf"])): 1}:
            yield f"server: {sent}"
        ledger = sqlite3.connect(self.state / "ledger.sqlite3")
        ends = Counter(state for (state,) in ledger.execute("select state from invoices"))
        ledger.close()
        if ends != {"processed": 2, "failed": 2}:
            yield f"ledger: {ends}"


class Stage:
    """Scenes, one after the other, each with a project of its own at one sandbox."""

    def __init__(self, home: Path, api: Running) -> None:
        self._home, self._api, self._number = home, api, 0

    def calls(self) -> dict[str, list[str]]:
        """Return the calls of a life without trouble."""
        return self._scene().live(None)

    def suffer(self, trouble: Trouble) -> Iterator[str]:
        """Live a life with this trouble and one without; return what was wrong, in words."""
        scene = self._scene()
        where = f"{trouble.error} at {trouble.thread} {trouble.number}"
        try:
            scene.live(trouble)
            where += f" {trouble.kind}{' (done all the same)' if trouble.after else ''}, met {trouble.met} times"
            said = scene.events(*_WORDS)
            problems = list(scene.check())
            if any("left over" in problem for problem in problems):
                # What could not be removed goes at the next start.
                scene.live(None)
                problems = list(scene.check())
        except (OSError, sqlite3.Error) as error:
            problems = [f"it ended by {error!r}"]
            said = []
        if trouble.met > _MOST_TRIES:
            problems.append("a hot loop")
        if any(line["detail"] == "internal error" for line in said):
            problems.append("an internal error")
        words = {os.strerror(_ERRORS[trouble.error]), _LEDGER_SAYS[trouble.error]}
        # What lexists cannot look at is taken for absent: that costs nothing, for nothing is overwritten all the same.
        # And a report that cannot be written costs only the report.
        silent = trouble.kind == "lstat" or (trouble.thread, trouble.kind) == ("main", "replace")
        if (
            trouble.lasting
            and trouble.met
            and not silent
            and not any(word in line["detail"] for line in said for word in words)
        ):
            problems.append("not a word in the log")
        shutil.rmtree(scene.home)
        for problem in problems:
            yield f"{where}: {problem}"

    def _scene(self) -> Scene:
        self._number += 1
        return Scene(self._home / str(self._number), self._api, self._number)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Have a sandbox with a project for each scene."""
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="invoicedrop-", dir=memory if os.access(memory, os.W_OK) else tmp_path))
    try:
        with serve(Options(rate=0, projects=tuple(range(1, 5_000)), orders=(10, 20))) as api:
            yield Stage(home, api)
    finally:
        shutil.rmtree(home)


def _once(stage: Stage, error: str, share: int, *, after: bool) -> None:
    """Meet an error once, at every call (at every so many-th, beginning with another one for each error)."""
    first = list(_ERRORS).index(error) * share // len(_ERRORS)
    suffered = 0
    for thread, names in stage.calls().items():
        for number, name in enumerate(names, 1):
            if name != "_exchange" and number % share == first:
                problems = list(stage.suffer(Trouble(thread, number, error, lasting=False, after=after)))
                assert not problems, "\n".join(problems)
                suffered += 1
    assert suffered > 1


@pytest.mark.parametrize("error", _ERRORS)
def test_an_error_met_once_at_any_call_loses_nothing(stage: Stage, error: str) -> None:
    """Each eighteenth call fails once, others for each error: nothing is lost, nothing sent twice, nothing stuck."""
    _once(stage, error, 3 * len(_ERRORS), after=False)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", _ERRORS)
def test_every_error_met_once_at_every_call_loses_nothing(stage: Stage, error: str, *, after: bool) -> None:
    """Each call fails once with each error, before or (as on a network share) after it has done its work."""
    _once(stage, error, 1, after=after)


def _lasting(stage: Stage, error: str, share: int) -> None:
    """Meet an error always, from the first call of each kind on."""
    kinds = [
        (thread, names.index(name) + 1)
        for thread, names in stage.calls().items()
        for name in sorted(set(names) - {"_exchange"})
    ]
    first = list(_ERRORS).index(error)
    for thread, number in kinds[first % share :: share]:
        problems = list(stage.suffer(Trouble(thread, number, error, lasting=True)))
        assert not problems, "\n".join(problems)
    assert len(kinds) > 10


@pytest.mark.parametrize("error", _ERRORS)
def test_an_error_that_lasts_is_waited_for(stage: Stage, error: str) -> None:
    """One kind of call in five fails until the trouble is lifted: it is named in the log, tried seldom, survived."""
    _lasting(stage, error, 5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("error", _ERRORS)
def test_every_error_that_lasts_is_waited_for(stage: Stage, error: str) -> None:
    """Every kind of call fails until the trouble is lifted."""
    _lasting(stage, error, 1)


# For real

_ON_A_DISK_OF_ITS_OWN = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


@pytest.mark.parametrize("place", ["drop/processed", "drop/failed", "state"])
def test_a_full_disk_is_waited_for_and_nothing_goes_to_failed(merchant: Merchant, place: str) -> None:
    """While the processed, failed or state folder's disk is full every file stays; with room again all is done."""
    folder = merchant.home / place
    folder.mkdir(parents=True)
    unshared = ["unshare", "--map-root-user", "--mount", "sh", "-c", _ON_A_DISK_OF_ITS_OWN, "sh", "2m", str(folder)]
    if shutil.which("unshare") is None or subprocess.run([*unshared, "true"], check=False).returncode != 0:
        pytest.skip("no file system may be mounted here, not even in a namespace of one's own")
    log = merchant.home / "log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INVOICEDROP_")}
    with log.open("wb") as stream:
        daemon = subprocess.Popen(
            [*unshared, sys.executable, "-m", "invoicedrop.cli", "run"],
            env=inherited | merchant.environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        wait_until(lambda: "inbox.watching" in log.read_text(), what="the start")
        there = Path(f"/proc/{daemon.pid}/root") / folder.relative_to("/")
        _fill(there / "filler")
        dropped = {name: merchant.drop_pdf(name) for name in ("1.pdf", "2.pdf", "999.pdf")}
        wait_until(lambda: "inbox.unavailable" in log.read_text(), what="a word about the full disk")
        assert "No space left" in log.read_text() or "disk is full" in log.read_text()
        lying = Path(f"/proc/{daemon.pid}/root") / merchant.drop.relative_to("/")
        assert list((lying / "failed").glob("[12]*")) == []
        assert daemon.poll() is None
        (there / "filler").unlink()
        wait_until(lambda: not list(merchant.drop.glob("*.pdf")), what="the last invoice")
        found = {path.name: path.read_bytes() for path in lying.glob("*/*.pdf")}
        assert found == dropped
        assert {path.name for path in (lying / "processed").glob("*.pdf")} == {"1.pdf", "2.pdf"}
    finally:
        daemon.kill()
        daemon.wait()
    assert sorted(upload.order_id for upload in merchant.sandbox.uploads()) == [1, 2]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 10, 1):
            with pytest.raises(OSError, match="No space left"):  # noqa: PT012 - the one call, until it fails
                while True:
                    stream.write(bytes(size))


def test_a_process_without_file_descriptors_waits_until_it_has_some(merchant: Merchant) -> None:
    """A daemon that may open nothing more lives on, says so, loses nothing, and goes on when it may."""
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        wait_until((merchant.state / "service.json").exists, what="a beat")
        before = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (4, before[1]))
        content = merchant.drop_pdf("1.pdf")
        daemon.wait_for("inbox.unavailable")
        assert "Too many open files" in str(daemon.events("inbox.unavailable")[0]["detail"])
        assert (merchant.drop / "1.pdf").read_bytes() == content
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, before)
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0
    assert (merchant.processed / "1.pdf").read_bytes() == content
    assert len(merchant.sandbox.uploads()) == 1


def test_an_error_that_quotes_the_token_is_told_without_it(merchant: Merchant) -> None:
    """Where the API's own words repeat our token, the log has the words but not the token."""
    secret = "sandbox-secret-4711"
    merchant.sandbox.store.tokens.add(secret)
    merchant.environment["INVOICEDROP_API_TOKEN"] = secret
    merchant.sandbox.faults.add("status", "upload", status=422, message=f"your token {secret} is odd")
    merchant.drop_pdf("1.pdf")
    done = merchant.run("run", "--once", program=UNCHECKED)
    assert done.returncode == 1
    assert "is odd" in done.stderr
    assert secret not in done.stderr
