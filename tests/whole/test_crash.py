"""A death at every step: nothing is lost, nothing altered, nothing sent twice.

A scene is a drop folder with one invoice of each kind. Lives end right before, or right after, an effect of the
service's life on it (`crash` says what that is), so that every other moment between two effects has its death; then the
service is started until nothing is left to do, and everything is looked at: the folders, the server, the ledger. Then
the same in the lesser ways of moving, after every eleventh effect of the moves; and with a second death in the
recovery, for a share of these pairs (every ninth effect N with every fortieth effect M of the recovery, from N mod 40
on). Behind the soak marker: both sides of every effect, every effect of those moves, and all pairs.
"""

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from crash import DIED, MAIN, UPLOAD, Death, Driver, Lived, until_worked_off
from invoicedrop.sandbox import Options, RequestRecord, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from postgres_server import new_schema
from ways import WAYS

_SCENES = 20_000
_SHARE = 40
_MOVES = {"link", "unlink", "open", "copyfileobj", "utime", "replace", "renameat2"}
_LONGEST = 400
"""Far more effects than a life has."""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_GOOD = invoice_pdf("10")
_DROPPED = {
    "10.pdf": _GOOD,
    "10_copy.pdf": _GOOD,
    "20.pdf": invoice_pdf("20"),
    "20_2.pdf": invoice_pdf("20", pages=2),
    "30.pdf": invoice_pdf("30"),
    "40.pdf": invoice_pdf("40"),
    "50.pdf": _GOOD,
    "999.pdf": invoice_pdf("999"),
    "nonsense.pdf": invoice_pdf("nonsense"),
}
_BAD = {"40.pdf", "50.pdf", "999.pdf", "nonsense.pdf"}
"""Order 40 is cancelled, 50's PDF is that of order 10, and there is no order 999."""
_ATTACHED = "30.pdf"
"""Somebody else has attached the same bytes to its order."""
_ALREADY_THERE = b"an older invoice of this name"
_SENT = Counter((int(name[:2]), _sha256(_DROPPED[name])) for name in ("10.pdf", "20.pdf", "20_2.pdf"))


class Stage:
    """Scenes, one after the other, each with a project of its own at one sandbox.

    `database` is where they keep their ledgers, each in a schema of its own; without it, in a file.
    """

    def __init__(self, home: Path, api: Running, driver: Driver, database: str | None = None) -> None:
        self._home = home
        self._database = database
        self._api = api
        self._driver = driver
        self._number = 0

    def requests(self) -> list[RequestRecord]:
        """Return the requests of all scenes so far."""
        return self._api.requests

    def scene(self, way: str = "rename") -> "Scene":
        """Set a new scene."""
        self._number += 1
        return Scene(self._home / str(self._number), self._api, self._number, self._driver, way, self._database)


class Scene:
    """One drop folder with one invoice of each kind, and its project at the sandbox."""

    def __init__(self, home: Path, api: Running, project: int, driver: Driver, way: str, database: str | None) -> None:
        self.home = home
        self._held = ExitStack()
        self._url = None if database is None else self._held.enter_context(new_schema(database))
        self.drop, self.state = home / "drop", home / "state"
        self.processed, self.failed = self.drop / "processed", self.drop / "failed"
        self._api, self._project, self._driver, self._way = api, project, driver, way
        self.processed.mkdir(parents=True)
        (self.processed / "20.pdf").write_bytes(_ALREADY_THERE)
        for number, (name, content) in enumerate(_DROPPED.items()):
            (self.drop / name).write_bytes(content)
            # Their order of arrival is that of their times.
            os.utime(self.drop / name, (1e9 + number, 1e9 + number))
        api.store.attach(30, _DROPPED[_ATTACHED], project_id=project)
        api.store.add_order(40, project_id=project, status_shipped="cancelled")
        api.store.add_order(50, project_id=project)
        self._environment = {
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
            "INVOICEDROP_SCAN_INTERVAL": "600",
            "INVOICEDROP_UPLOAD_WORKERS": "1",
        } | ({} if self._url is None else {"INVOICEDROP_LEDGER_URL": self._url})

    def live(self, death: Death | None = None) -> Lived:
        """Live one life on this scene."""
        return self._driver.live(self._environment, self.home / "log", way=self._way, death=death)

    def finish(self) -> None:
        """Start the service, without deaths, until nothing is left to do."""
        last = until_worked_off(self.live)[-1]
        assert last.code in {0, 1}, self._story()

    def check(self) -> None:
        """Look at everything: folders, server, ledger."""
        problems = [*self._folders(), *self._server(), *self._ledger()]
        assert not problems, "\n".join([*problems, self._story()])
        shutil.rmtree(self.home)
        self._held.close()

    def _story(self) -> str:
        files = sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file())
        return "\n".join([*files, (self.home / "log").read_text()])

    def _folders(self) -> Iterator[str]:
        for folder, bad in ((self.processed, False), (self.failed, True)):
            wanted = Counter(_sha256(body) for name, body in _DROPPED.items() if (name in _BAD) is bad)
            if not bad:
                wanted[_sha256(_ALREADY_THERE)] += 1
            files = [path for path in folder.iterdir() if not path.name.endswith(".reason.txt")]
            if self._way == "placeholder":
                # An empty file of ours that a death has left under a name: nobody's invoice, and no harm.
                files = [path for path in files if path.stat().st_size]
            found = Counter(_sha256(path.read_bytes()) for path in files)
            if found != wanted:
                yield f"{folder.name}: lost {wanted - found}, too many or altered {found - wanted}"
            if bad and self._way != "placeholder":
                reasons = {path.name for path in folder.iterdir()} - {path.name for path in files}
                if reasons != {f"{path.name}.reason.txt" for path in files}:
                    yield f"the reasons {reasons} do not belong to the files"
        if (self.processed / "20.pdf").read_bytes() != _ALREADY_THERE:
            yield "the older 20.pdf was overwritten"
        if {path.name for path in self.drop.iterdir()} != {"processed", "failed"}:
            yield "the drop folder is not empty"
        if left := [path.name for path in self.home.rglob(".invoicedrop-*")]:
            yield f"left over: {left}"

    def _server(self) -> Iterator[str]:
        sent = Counter(
            (one.order_id, one.sha256) for one in self._api.uploads() if one.project == self._project and one.posted
        )
        if sent != _SENT:
            yield f"server: missing {_SENT - sent}, twice {sent - _SENT}"

    def _ledger(self) -> Iterator[str]:
        question = "select order_id, sha256, state, attachment_id, doubt_since, filed_as from invoices"
        connection = sqlite3.connect(self.state / "ledger.sqlite3") if self._url is None else psycopg.connect(self._url)
        with closing(connection) as ledger:
            entries = ledger.execute(question).fetchall()
        receipts = {one.attachment_id: one.sha256 for one in self._api.uploads() if one.project == self._project}
        ends = Counter(state for _, _, state, *_ in entries)
        if ends != {"processed": 4, "failed": 4}:
            yield f"ledger: {ends}"
        for order, sha256, state, attachment, doubt, filed_as in entries:
            if state == "processed" and (receipts.get(attachment) != sha256 or doubt is not None):
                yield f"ledger: order {order} has the wrong receipt {attachment}, or a doubt"
            # A file that was never read is not known by its content: its place may be lost in a crash.
            known = not sha256.startswith("unread:")
            if known and (filed_as is None or _sha256(Path(filed_as).read_bytes()) != sha256):
                yield f"ledger: order {order} does not lie in {filed_as}"


@contextmanager
def _staged(tmp_path: Path, database: str | None) -> Iterator[Stage]:
    options = Options(rate=0, projects=tuple(range(1, _SCENES)), orders=(10, 20))
    # A killed process loses nothing that the kernel has, synced or not: memory is as good as a disk here, and quicker.
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="invoicedrop-", dir=memory if os.access(memory, os.W_OK) else tmp_path))
    try:
        with serve(options) as api, Driver() as driver:
            yield Stage(home, api, driver, database)
    finally:
        shutil.rmtree(home)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Have a sandbox with a project for each scene, and a driver."""
    with _staged(tmp_path, None) as staged:
        yield staged


@pytest.fixture
def postgres_stage(tmp_path: Path, postgres_url: str) -> Iterator[Stage]:
    """The same, with ledgers in PostgreSQL."""
    with _staged(tmp_path, postgres_url.partition("?")[0]) as staged:
        yield staged


def _die_at_each(stage: Stage, thread: str, *, after: bool, step: int, first: int = 1) -> int:
    """Die once, at every effect of a thread (every `step`th, from `first` on); return how many there were."""
    for number in range(first, _LONGEST, step):
        scene = stage.scene()
        if scene.live(Death(thread, number, after)).code != DIED:
            scene.check()
            return number - 1
        scene.finish()
        scene.check()
    pytest.fail("a life has no end")


def test_every_kind_of_effect_is_counted(stage: Stage) -> None:
    """Each invoice's requests, commits, moves and syncs are seen, by whatever layers they come about."""
    seen = Counter(stage.scene().live().effects[UPLOAD])
    asked = Counter(request.kind for request in stage.requests())
    assert asked["upload"] == len(_SENT)
    assert asked["attachment"] == asked["download"] == 1
    assert seen["_exchange"] == asked.total() - asked["download"]
    assert seen["renameat2"] == len(_DROPPED)
    assert seen["fsync"] == 2 * len(_DROPPED) + len(_BAD)
    assert seen["commit"] > 2 * len(_DROPPED)


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("thread", [MAIN, UPLOAD])
def test_a_death_at_any_effect_loses_nothing_and_sends_nothing_twice(stage: Stage, thread: str, after: bool) -> None:
    """Whichever two effects the process dies between, every invoice ends once, whole, in its place and at the server.

    Every other moment has its death: right before the effects 1, 5, 9 ... and right after 2, 6, 10 ...
    """
    assert _die_at_each(stage, thread, after=after, step=4, first=2 if after else 1) > 15


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("thread", [MAIN, UPLOAD])
def test_a_death_on_both_sides_of_every_effect_loses_nothing(stage: Stage, thread: str, after: bool) -> None:
    """The same right before and right after every single effect."""
    assert _die_at_each(stage, thread, after=after, step=1) > 15


@pytest.mark.long
@pytest.mark.parametrize("thread", [MAIN, UPLOAD])
def test_a_death_at_any_effect_with_the_ledger_in_postgresql_loses_nothing(postgres_stage: Stage, thread: str) -> None:
    """The same with the ledger in PostgreSQL, right after every twentieth effect, commits included."""
    assert _die_at_each(postgres_stage, thread, after=True, step=20) > 15


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("thread", [MAIN, UPLOAD])
def test_a_death_on_both_sides_of_every_effect_with_the_ledger_in_postgresql(
    postgres_stage: Stage, thread: str, after: bool
) -> None:
    """The same right before and right after every single effect."""
    assert _die_at_each(postgres_stage, thread, after=after, step=1) > 15


def _die_at_each_move(stage: Stage, way: str, *, step: int) -> None:
    """Die once, after every effect of the moves (every `step`th)."""
    effects = stage.scene(way).live().effects[UPLOAD]
    # All else is the same, and dies in the test above.
    moves = [number for number, name in enumerate(effects, 1) if name in _MOVES]
    assert len(moves) > 10
    for number in moves[::step]:
        scene = stage.scene(way)
        assert scene.live(Death(UPLOAD, number, after=True)).code == DIED
        scene.finish()
        scene.check()


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS[1:])
def test_a_death_while_moving_in_lesser_ways_loses_nothing(stage: Stage, way: str) -> None:
    """The same where files cannot be moved atomically: by link, onto a placeholder, by copy across file systems."""
    _die_at_each_move(stage, way, step=11)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS[1:])
def test_a_death_at_every_effect_of_lesser_ways_loses_nothing(stage: Stage, way: str) -> None:
    """The same after every single effect of the moves."""
    _die_at_each_move(stage, way, step=1)


def _die_twice(stage: Stage, first: int, share: int) -> int:
    """Die after effect `first`, then at each (of a share) of the recovery's effects; return how many there were."""
    for pairs, second in enumerate(range(1 + first % share, _LONGEST, share)):
        scene = stage.scene()
        if scene.live(Death(UPLOAD, first, after=True)).code != DIED:
            return pairs
        again = scene.live(Death(UPLOAD, second, after=True)).code
        scene.finish()
        scene.check()
        if again != DIED:
            return pairs
    pytest.fail("a life has no end")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_second_death_with_the_ledger_in_postgresql_loses_nothing(postgres_stage: Stage) -> None:
    """The same with the ledger in PostgreSQL."""
    pairs = sum(_die_twice(postgres_stage, first, _SHARE) for first in range(1, 120, 2))
    assert pairs > 30


@pytest.mark.long
def test_a_second_death_during_the_recovery_loses_nothing(stage: Stage) -> None:
    """Whichever effect of the recovery it dies at again (a few in a thousand of all pairs), the end is the same."""
    pairs = sum(_die_twice(stage, first, _SHARE) for first in range(1, 120, 9))
    assert pairs > 5


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("half", [0, 1])
def test_a_second_death_at_every_effect_of_the_recovery_loses_nothing(stage: Stage, half: int) -> None:
    """Every pair of an effect of the first life and an effect of its recovery."""
    pairs = sum(_die_twice(stage, first, 1) for first in range(1 + half, 120, 2))
    assert pairs > 800
