"""Two daemons, one PostgreSQL, the same folders: whatever ends one of them, the other goes on; nothing is sent twice.

Each daemon has a state folder and a line to the database of its own, as on two machines. The one that works is killed,
stopped and continued, cut off from the database, or the database is restarted; each time one of them works again.
Then everything is looked at: each invoice is attached once, lies in processed/ once, and is known as processed.

The short version is in every run, with short waits; the long one (`-m soak -n0 -s`) has the program's own, and prints
how long each takeover took.
"""

import hashlib
import itertools
import random
import signal
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from invoicedrop.invoice import State as InvoiceState
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.timing import DEFAULT_TIMING, Timing
from line import Line, State, line_to
from merchant import Daemon, Merchant
from postgres_server import PostgresServer
from quick_service import QUICK, program
from waiting import wait_until

_QUICK: Final = replace(
    QUICK, lease_beat=0.1, lease_valid=1.0, lease_stale=1.5, owner_look=0.1, database_answer=2.0, doubt_looks=(0.1, 0.4)
)
_LONG: Final = replace(
    QUICK,
    doubt_looks=(0.1, 0.4),
    **{
        name: getattr(DEFAULT_TIMING, name)
        for name in ("lease_beat", "lease_valid", "lease_stale", "owner_look", "database_answer", "longest_probe")
    },
)


class Machine:
    """One of the two: its state folder, its line to the database, and its daemon's present life."""

    def __init__(self, merchant: Merchant, name: str, line: Line, timing: Timing) -> None:
        self._merchant = merchant
        self._name = name
        self._timing = timing
        self.line = line
        self.lives: list[Daemon] = []
        self.start()

    @property
    def daemon(self) -> Daemon:
        """The present life."""
        return self.lives[-1]

    def start(self) -> None:
        """Begin another life."""
        self.lives.append(
            self._merchant.start(
                program=program(self._timing, checked=False),
                state_dir=str(self._merchant.home / self._name),
                ledger_url=f"postgresql://postgres@127.0.0.1:{self.line.port}/postgres",
                resend_after="1.0",
            )
        )


class Pair:
    """Two machines at one share, and what they work with."""

    def __init__(
        self, merchant: Merchant, server: PostgresServer, machines: Sequence[Machine], random_: random.Random
    ) -> None:
        self.merchant = merchant
        self.server = server
        self.machines = machines
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        self._random = random_
        self._dropped: dict[str, bytes] = {}

    def drop(self, count: int) -> None:
        """Drop so many more invoices."""
        for number in range(len(self._dropped) + 1, len(self._dropped) + 1 + count):
            self._dropped[f"{number}.pdf"] = self.merchant.drop_pdf(f"{number}.pdf", invoice_pdf(str(number)))

    def owner(self) -> Machine | None:
        """Return the machine whose daemon owns the inbox now."""
        rows = self.server.execute(
            "SELECT o.pid FROM inbox_owners o JOIN pg_locks l ON l.pid = o.backend AND l.locktype = 'advisory'"
        )
        pids = {pid for (pid,) in rows}
        return next((machine for machine in self.machines if machine.daemon.process.pid in pids), None)

    def working(self) -> Machine:
        """Return the machine that owns the inbox, when it is at work on something, if there is anything to do."""
        wait_until(lambda: self.owner() is not None, seconds=60, what="an owner")
        owner = self.owner()
        assert owner is not None
        time.sleep(self._random.uniform(0.0, 0.3))
        return owner

    def happens(self, what: str, to: Callable[[Machine], None]) -> Machine:
        """Let something happen to the owner; return it when the other machine has taken over."""
        owner = self.working()
        other = next(machine for machine in self.machines if machine is not owner)
        # It stands by: without that there is nobody to take over.
        wait_until(lambda: other.daemon.events("inbox.standby") or other.daemon.events("inbox.owner"), seconds=60)
        began = time.monotonic()
        to(owner)
        wait_until(lambda: self.owner() is other, seconds=60, what=f"a takeover ({what})")
        self.took[what].append(time.monotonic() - began)
        return owner

    def kill(self) -> None:
        """Kill the owner; it is started again when the other one works."""
        owner = self.happens("killed", lambda machine: machine.daemon.kill())
        owner.start()

    def stop(self, seconds: float) -> None:
        """Stop the owner for some time."""
        began = time.monotonic()
        owner = self.happens("stopped", lambda machine: machine.daemon.signal(signal.SIGSTOP))
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        owner.daemon.signal(signal.SIGCONT)

    def cut(self, state: State) -> None:
        """Cut the owner off from the database; the line is mended when the other one works."""
        owner = self.happens(f"line {state.value}", lambda machine: machine.line.become(state))
        owner.line.become(State.WHOLE)

    def restart(self) -> None:
        """Restart the database; whoever comes first works then."""
        self.working()
        began = time.monotonic()
        self.server.restart()
        wait_until(lambda: self.owner() is not None, seconds=60, what="an owner after the restart")
        self.took["database restarted"].append(time.monotonic() - began)

    def finish(self, seconds: float) -> None:
        """Wait until all is worked off, and look at everything."""
        processed = self.merchant.processed
        wait_until(
            lambda: processed.is_dir() and len(list(processed.glob("*.pdf"))) >= len(self._dropped),
            seconds=seconds,
            what=f"{len(self._dropped)} invoices",
        )
        assert not list(self.merchant.drop.glob("*.pdf"))
        assert not self.merchant.failed.exists() or not list(self.merchant.failed.iterdir())
        assert {path.name: path.read_bytes() for path in processed.iterdir()} == self._dropped
        sent = Counter((one.order_id, one.sha256) for one in self.merchant.sandbox.uploads())
        wanted = Counter((int(name[:-4]), hashlib.sha256(body).hexdigest()) for name, body in self._dropped.items())
        assert sent == wanted
        with Ledger.at(self.server.url) as ledger:
            wait_until(
                lambda: ledger.count(InvoiceState.PROCESSED) + self._adopted(ledger) == len(self._dropped),
                what="what the ledger knows",
            )
            assert {entry.state for entry in ledger.in_state(*InvoiceState)} == {InvoiceState.PROCESSED}

    def _adopted(self, ledger: Ledger) -> int:
        return len(ledger.in_state(InvoiceState.PROCESSED)) - ledger.count(InvoiceState.PROCESSED)

    def logs(self) -> str:
        """Return what all lives have logged."""
        return "\n".join(life.errors() for machine in self.machines for life in machine.lives)


@contextmanager
def _pair(home: Path, timing: Timing, seed: int) -> Iterator[Pair]:
    random_ = random.Random(seed)
    with ExitStack() as held:
        server = PostgresServer.made()
        held.callback(server.remove)
        server.start()
        api: Running = held.enter_context(serve(Options(rate=0, any_order=True, seed=seed)))
        api.faults.add(kind="latency", request="upload", seconds=0.15, probability=0.5)
        api.faults.add(kind="reset_after_store", request="upload", probability=0.05)
        merchant = Merchant(home, api)
        lines = [held.enter_context(line_to(server.port)) for _ in range(2)]
        machines = [Machine(merchant, f"state{number}", line, timing) for number, line in enumerate(lines)]
        held.callback(lambda: [life.kill() for machine in machines for life in machine.lives])
        pair = Pair(merchant, server, machines, random_)
        wait_until(lambda: server.execute("SELECT to_regclass('inbox_owners')") != [(None,)], what="the tables")
        try:
            yield pair
        except BaseException:
            print(pair.logs())
            raise


@pytest.mark.long
def test_whatever_ends_one_of_two_machines_nothing_is_lost_or_doubled(home: Path) -> None:
    """One is killed, stopped, and cut off, and the database restarted: each invoice is attached once, and processed."""
    with _pair(home, _QUICK, seed=7) as pair:
        for happen in (pair.kill, lambda: pair.stop(2.5), pair.restart, lambda: pair.cut(State.SILENT)):
            pair.drop(6)
            happen()
        pair.drop(2)
        pair.finish(60)
        assert max(itertools.chain(*pair.took.values())) < 30


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_five_hundred_invoices_on_two_machines_in_a_bad_night(home: Path) -> None:
    """20 kills, 5 stops of 20 s, 3 restarts of the database, 6 cuts: each invoice once, each takeover within 30 s."""
    with _pair(home, _LONG, seed=7) as pair:
        events: list[Callable[[], None]] = [
            *[pair.kill] * 20,
            *[lambda: pair.stop(20.0)] * 5,
            *[pair.restart] * 3,
            *[lambda: pair.cut(State.CUT), lambda: pair.cut(State.SILENT)] * 3,
        ]
        random.Random(7).shuffle(events)
        for number, happen in enumerate(events):
            pair.drop(500 * (number + 1) // len(events) - 500 * number // len(events))
            happen()
        pair.finish(600)
        for what, seconds in pair.took.items():
            print(f"{what}: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s of {len(seconds)}")
        assert max(itertools.chain(*pair.took.values())) < 30
