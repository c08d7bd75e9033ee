"""An unknown outcome is asked about: what the order shows decides, by content, never by guess."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from invoicedrop.channable.client import ApiClient
from invoicedrop.channable.order_book import OrderBook
from invoicedrop.channable.project import Project
from invoicedrop.channable.rate_limit import RateLimiter
from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import Changed, Deferred, Paused, Unanswered
from invoicedrop.inbox.filing import Filing
from invoicedrop.inbox.identity import identity_of
from invoicedrop.invoice import Receipt, State
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.pdf.validator import Validator
from invoicedrop.pipeline.intake import Intake
from invoicedrop.pipeline.job import DeliveryContext, Outcome, SettledFile
from invoicedrop.pipeline.order_locks import KeyedLock
from invoicedrop.pipeline.reconcile import Look, look, look_times, next_look
from invoicedrop.reasons import Reason
from invoicedrop.sandbox import Kind, Running
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.timing import DEFAULT_TIMING
from merchant import Merchant
from waiting import wait_until

OURS = b"%PDF-1.7 our invoice"
THEIRS = b"%PDF-1.7 somebody else's"
OUR_SHA = hashlib.sha256(OURS).hexdigest()
ORDER = 8


@contextmanager
def project_of(url: str) -> Iterator[Project]:
    """Return a project's client while the block runs."""
    client = ApiClient.open(url, lambda: "sandbox-token", RateLimiter(0, 1), request_timeout=2, connections=4)
    try:
        yield Project(client, 1001, 2001, CircuitBreaker(lambda _detail, _seconds: None))
    finally:
        client.close()


@pytest.fixture
def project(sandbox: Running) -> Iterator[Project]:
    """The sandbox's project."""
    with project_of(sandbox.url) as one:
        yield one


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger."""
    with Ledger.open(tmp_path) as one:
        yield one


def invoice(sha256: str = OUR_SHA, size: int = len(OURS)) -> Entry:
    """Return an invoice for the order that nothing is known of."""
    return Entry(
        account="a",
        project_id=2001,
        reference=str(ORDER),
        order_id=ORDER,
        sha256=sha256,
        inbox="i",
        file="8.pdf",
        size=size,
        first_seen=1.0,
    )


@pytest.fixture
def doubtful(ledger: Ledger) -> Entry:
    """Our invoice, whose upload has just begun and whose answer was lost."""
    return ledger.uploading(invoice(), frozenset())


def attached(sandbox: Running, content: bytes, **named: str) -> int:
    """Let a document be stored at the order; return its id."""
    return sandbox.store.attach(ORDER, content, **named).id  # type: ignore[arg-type] # as the store itself says


def found(entry: Entry, project: Project, ledger: Ledger) -> Receipt | None:
    """Return the receipt that a look finds; nothing may be unclear."""
    seen = look(entry, project, ledger)
    assert seen.unclear is None
    return seen.receipt


def unclear(entry: Entry, project: Project, ledger: Ledger) -> str:
    """Return why nobody can tell whether the order has the invoice."""
    seen = look(entry, project, ledger)
    assert seen.receipt is None
    assert seen.unclear is not None
    return seen.unclear


def test_what_was_stored_is_found_by_its_content(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """The order has our bytes: that attachment is our receipt."""
    number = attached(sandbox, OURS)
    assert look(doubtful, project, ledger) == Look(Receipt(number), "content", None, frozenset({number}))


def test_what_was_not_stored_is_not_found(project: Project, ledger: Ledger, doubtful: Entry) -> None:
    """An order without attachments does not have our invoice."""
    assert found(doubtful, project, ledger) is None


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_ours_is_found_among_several(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry, place: int
) -> None:
    """Of several invoices of the order, larger, smaller and of the same size, the one with our bytes is ours."""
    contents = [THEIRS, b"%PDF", OURS[:-1] + b"X"]
    contents.insert(place, OURS)
    numbers = [attached(sandbox, content) for content in contents]
    assert found(doubtful, project, ledger) == Receipt(numbers[place])


@pytest.mark.parametrize("content", [THEIRS, OURS + b"\nsigned", b"%PDF"], ids=["another", "longer", "shorter"])
def test_new_bytes_that_are_not_ours_are_unclear(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry, content: bytes
) -> None:
    """Another PDF that came to the order since our try may be ours, re-encoded, or somebody else's: nobody can tell."""
    number = attached(sandbox, content)
    assert f"({number})" in unclear(doubtful, project, ledger)


def test_what_is_no_invoice_is_not_looked_at(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """A packing slip with our very bytes is not our invoice, and is not even downloaded."""
    attached(sandbox, OURS, attachment_type="PACKING_SLIP")
    assert found(doubtful, project, ledger) is None
    assert sandbox.journal.arrived("attachment") == 0


def test_an_attachment_that_shows_late_is_found_by_a_later_look(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """The first look finds nothing; a later one, when the order shows the attachment, finds it."""
    number = sandbox.store.attach(ORDER, OURS, visible_after=0.3).id
    assert found(doubtful, project, ledger) is None
    wait_until(lambda: found(doubtful, project, ledger) == Receipt(number), seconds=5)


# What was there before


@pytest.mark.parametrize("gone", [False, True], ids=["readable", "gone"])
@pytest.mark.parametrize("created", [datetime(1999, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC), None], ids=str)
def test_what_was_there_before_stops_nothing(
    sandbox: Running, project: Project, ledger: Ledger, *, gone: bool, created: datetime | None
) -> None:
    """What the base line has is not ours, whatever its bytes and whatever the clocks say; it is not even downloaded."""
    hidden = ("created",) if created is None else ()
    number = sandbox.store.attach(ORDER, OURS, created=created, hidden=hidden).id
    if gone:
        sandbox.store.forget_file(number)
    doubtful = ledger.uploading(invoice(), frozenset({number}))
    assert found(doubtful, project, ledger) is None
    assert sandbox.journal.arrived("attachment") == 0


def test_without_a_base_line_other_bytes_are_unclear(sandbox: Running, project: Project, ledger: Ledger) -> None:
    """Where nobody looked before the first try, what the order has may be from before or since: nobody can tell."""
    attached(sandbox, THEIRS)
    assert unclear(ledger.uploading(invoice()), project, ledger)


@pytest.mark.parametrize("created", [datetime(1999, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC), None], ids=str)
def test_a_new_file_that_is_gone_is_unclear(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry, created: datetime | None
) -> None:
    """Where the bytes of something new cannot be had any more, nobody can tell, whatever its date says."""
    hidden = ("created",) if created is None else ()
    number = sandbox.store.attach(ORDER, OURS, created=created, hidden=hidden).id
    sandbox.store.forget_file(number)
    assert f"({number})" in unclear(doubtful, project, ledger)


def test_a_file_that_is_gone_and_known_as_another_of_ours_is_not_this_one(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """An attachment for which we have a receipt with other bytes is not ours a second time."""
    number = attached(sandbox, THEIRS)
    other = ledger.uploading(invoice(hashlib.sha256(THEIRS).hexdigest(), len(THEIRS)))
    ledger.uploaded(other, Receipt(number))
    sandbox.store.forget_file(number)
    assert found(doubtful, project, ledger) is None
    assert sandbox.journal.arrived("attachment") == 0


def test_a_file_with_our_bytes_is_preferred_to_one_that_is_gone(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """Proof by content goes before what nobody can tell."""
    sandbox.store.forget_file(attached(sandbox, THEIRS))
    number = attached(sandbox, OURS)
    sandbox.store.forget_file(attached(sandbox, b"%PDF later"))
    assert found(doubtful, project, ledger) == Receipt(number)


# Several of ours at one order


def test_what_another_doubt_of_ours_explains_is_not_unclear(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """Two of our files in doubt at one order, one stored: that one is found, and the other is certainly not there."""
    number = attached(sandbox, THEIRS)
    other = ledger.uploading(invoice(hashlib.sha256(THEIRS).hexdigest(), len(THEIRS)), frozenset())
    assert found(doubtful, project, ledger) is None
    assert found(other, project, ledger) == Receipt(number)


def test_of_two_in_doubt_neither_takes_what_cannot_be_read(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """Two of our files in doubt at one order, one stored, its bytes gone: nothing is guessed for either."""
    sandbox.store.forget_file(attached(sandbox, THEIRS))
    other = ledger.uploading(invoice(hashlib.sha256(THEIRS).hexdigest(), len(THEIRS)), frozenset())
    assert unclear(doubtful, project, ledger)
    assert unclear(other, project, ledger)


@pytest.mark.parametrize("stored", [1, 2])
def test_the_same_bytes_for_two_sets_of_items(sandbox: Running, project: Project, ledger: Ledger, stored: int) -> None:
    """The same bytes in doubt for two sets of items: of one attachment nobody can tell whose it is."""
    numbers = [attached(sandbox, OURS) for _ in range(stored)]
    first, second = (
        ledger.uploading(replace(invoice(), reference=f"8_items-{item}", items=item), frozenset())
        for item in ("11", "12")
    )
    if stored == 1:
        assert "1 of 2 uploads" in unclear(first, project, ledger)
        assert "1 of 2 uploads" in unclear(second, project, ledger)
        return
    receipt = found(first, project, ledger)
    assert receipt == Receipt(numbers[0])
    ledger.uploaded(first, receipt)
    assert found(second, project, ledger) == Receipt(numbers[1])


def test_a_receipt_that_we_have_already_needs_no_download(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """Where another entry of ours has the receipt for the same bytes, it is taken without a download."""
    number = attached(sandbox, OURS)
    twin = ledger.uploading(replace(invoice(), reference="302-8"))
    ledger.uploaded(twin, Receipt(number))
    assert look(doubtful, project, ledger) == Look(Receipt(number), "receipt", None, frozenset({number}))
    assert sandbox.journal.arrived("download") == 0


def test_a_receipt_for_other_items_is_not_this_ones(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry
) -> None:
    """Where our bytes were sent for other items of the order, that attachment is not the one that is in doubt."""
    number = attached(sandbox, OURS)
    others = ledger.uploading(replace(invoice(), reference="8_items-11", items="11"))
    ledger.uploaded(others, Receipt(number))
    assert found(doubtful, project, ledger) is None


# When it is asked


def test_the_looks_are_spread_over_the_time_until_it_is_sent_again() -> None:
    """With 300 s: after 2, 10, 60 and 300 s; a shorter time has fewer looks, and none has the last one only."""
    times = look_times(invoice(), 300.0, DEFAULT_TIMING)
    assert times == [2.0, 10.0, 60.0, 300.0]
    assert [next_look(number, times) for number in (1, 2, 3, 4, 5)] == [8.0, 50.0, 240.0, None, None]
    assert look_times(invoice(), 5.0, DEFAULT_TIMING) == [2.0, 5.0]
    assert look_times(invoice(), 0.0, DEFAULT_TIMING) == [2.0]


@pytest.mark.parametrize(("attempts", "last"), [(1, 300.0), (8, 300.0), (9, 512.0), (10, 900.0), (10_000, 900.0)])
def test_one_doubt_after_the_other_takes_ever_longer(attempts: int, last: float) -> None:
    """An invoice whose every try has no known outcome is sent again ever more seldom."""
    assert look_times(replace(invoice(), attempts=attempts), 300.0, DEFAULT_TIMING)[-1] == last


# Questions without an answer


def test_an_order_that_is_gone_is_no_answer(ledger: Ledger, project: Project) -> None:
    """Where the order does not exist (any more), it is not known whether it had the invoice."""
    with pytest.raises(Unanswered, match="the order cannot be asked"):
        look(ledger.uploading(replace(invoice(), order_id=5000)), project, ledger)


@pytest.mark.parametrize("request_kind", ["order", "attachment", "download"])
def test_a_question_without_an_answer_is_no_answer(
    sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry, request_kind: str
) -> None:
    """Where any of the questions fails, nobody concludes that the order does not have our invoice."""
    attached(sandbox, OURS)
    sandbox.faults.add(Kind.STATUS, request_kind, status=500)
    with pytest.raises(Unanswered):
        look(doubtful, project, ledger)


def test_an_api_that_is_down_is_no_answer(sandbox: Running, project: Project, ledger: Ledger, doubtful: Entry) -> None:
    """Where the API cannot be reached, the question waits."""
    sandbox.stop()
    with pytest.raises(Paused):
        look(doubtful, project, ledger)


# Two files with the same bytes, as a doubled export leaves them


class Desk:
    """The real pipeline of a merchant's inbox, without the loop around it."""

    def __init__(self, merchant: Merchant, ledger: Ledger, validator: Validator) -> None:
        (self.inbox,) = merchant.settings().inboxes
        self.ledger = ledger
        self.orders = KeyedLock()
        self.filing = Filing(self.inbox.drop_dir, self.inbox.processed_dir, self.inbox.failed_dir)
        self.filing.prepare()
        self.client = ApiClient.open(
            self.inbox.api_url, lambda: merchant.sandbox.token, RateLimiter(0, 1), request_timeout=5, connections=4
        )
        project = Project(self.client, 1001, 2001, CircuitBreaker(lambda _detail, _seconds: None))
        self.intake = Intake(
            DeliveryContext(self.inbox, project, self.filing, ledger, validator, self.orders, OrderBook(project))
        )

    def take(self, name: str) -> Outcome | Exception:
        """Take a dropped file to its end, or to what keeps it from it."""
        try:
            return self.intake.take(SettledFile(name, identity_of((self.inbox.drop_dir / name).lstat()), 60.0))
        except Exception as error:  # noqa: BLE001 - what it is, is what is tested
            return error

    def work_off(self) -> None:
        """Take every file, again and again, as often as it is put off; no waiting in between."""
        for _ in range(6):
            for path in self.inbox.drop_dir.glob("*.pdf"):
                known = [entry for entry in self.ledger.in_state(*State) if entry.next_try is not None]
                for entry in known:
                    self.ledger._put(replace(entry, next_try=None))
                self.take(path.name)


@pytest.fixture
def desk(merchant: Merchant) -> Iterator[Desk]:
    """A desk."""
    merchant.state.mkdir()
    validator = Validator(timeout=20, memory_mb=1024)
    with Ledger.open(merchant.state) as ledger:
        one = Desk(merchant, ledger, validator)
        yield one
        one.client.close()
    validator.close()


def test_what_is_in_doubt_is_not_stopped_by_its_name(merchant: Merchant, desk: Desk) -> None:
    """An invoice that may have been sent already is looked up, though its name may mean another order."""
    content = merchant.drop_pdf("8_345.pdf")
    sha256 = hashlib.sha256(content).hexdigest()
    begun = replace(invoice(sha256, len(content)), account=desk.inbox.account, file="8_345.pdf", inbox=desk.inbox.name)
    desk.ledger.uploading(begun)
    merchant.sandbox.store.attach(ORDER, content)
    assert desk.take("8_345.pdf") is Outcome.PROCESSED
    assert len(merchant.sandbox.uploads()) == 1


# The same bytes for several sets of items


def test_two_sets_of_items_in_doubt_of_which_one_arrived_are_never_doubled(merchant: Merchant, desk: Desk) -> None:
    """The upload that arrived stays the only one; a person decides about both files, which say why."""
    content = invoice_pdf("8")
    for name, fault in (("8_items-11.pdf", Kind.RESET_AFTER_STORE), ("8_items-12.pdf", Kind.RESET_BEFORE_STORE)):
        merchant.drop_pdf(name, content)
        merchant.sandbox.faults.add(fault, "upload", count=1)
        assert isinstance(desk.take(name), Deferred)
    desk.work_off()
    assert len(merchant.sandbox.uploads()) == 1
    assert not list(merchant.processed.iterdir())
    entries = desk.ledger.in_state(State.FAILED)
    assert {entry.reason for entry in entries} == {Reason.OUTCOME_UNCLEAR}
    assert sorted(entry.items for entry in entries) == ["11", "12"]
    assert all("shows 1 of 2 uploads of this PDF for different order items" in str(entry.detail) for entry in entries)


def test_the_same_pdf_goes_to_each_set_of_items_once(merchant: Merchant, desk: Desk) -> None:
    """One PDF for two sets of items of an order, and for all of it, is three invoices, and each is sent once."""
    content = invoice_pdf("8")
    for name in ("8_items-11.pdf", "8_items-12-13.pdf", "8.pdf", "8_items-13-12_again.pdf", "8_items-11 (1).pdf"):
        merchant.drop_pdf(name, content)
        desk.take(name)
    assert [upload.item_ids for upload in merchant.sandbox.uploads()] == [(11,), (12, 13), ()]
    assert len(list(merchant.processed.iterdir())) == 5


def test_what_an_older_program_began_for_items_is_not_sent_anew(merchant: Merchant, desk: Desk) -> None:
    """A row from before items were written down is gone on from by the file that it is of, and by no other items'."""
    content = merchant.drop_pdf("8_items-11.pdf", invoice_pdf("8"))
    sha256 = hashlib.sha256(content).hexdigest()
    account = desk.inbox.account
    older = replace(invoice(sha256, len(content)), account=account, file="8_items-11.pdf", inbox=desk.inbox.name)
    desk.ledger.uploading(older)
    number = merchant.sandbox.store.attach(ORDER, content, item_ids=(11,)).id
    assert desk.take("8_items-11.pdf") is Outcome.PROCESSED
    (entry,) = desk.ledger.in_state(State.PROCESSED)
    assert (entry.reference, entry.attachment_id) == ("8", number)
    merchant.drop_pdf("8_items-12.pdf", content)
    assert desk.take("8_items-12.pdf") is Outcome.PROCESSED
    assert [upload.item_ids for upload in merchant.sandbox.uploads()] == [(11,), (12,)]


def _both_at_once(desk: "Desk", *names: str) -> list[Outcome | Exception]:
    """Take two files of order 8 that meet where only one may go on; return what came of them."""
    results: list[Outcome | Exception] = []
    key = (desk.inbox.account, 2001, 8)
    with desk.orders.hold(key):
        threads = [threading.Thread(target=lambda name=name: results.append(desk.take(name))) for name in names]
        for thread in threads:
            thread.start()
        # Both have been read and checked, and neither is written down yet.
        # One waits for the order; the other, with the same bytes, for those.
        wait_until(
            lambda: sorted(users for _, users in desk.orders._busy.values()) == [2, 2],
            what="two waiting for their turn",
        )
    for thread in threads:
        thread.join()
    return results


def test_a_twin_that_waited_its_turn_learns_of_the_doubt(merchant: Merchant, desk: Desk) -> None:
    """Two files with the same bytes at once, the first one's answer lost: the second asks before it sends."""
    content = invoice_pdf("8")
    for name in ("8.pdf", "8 (1).pdf"):
        merchant.drop_pdf(name, content)
    merchant.sandbox.faults.add(Kind.RESET_AFTER_STORE, "upload", count=1)
    results = _both_at_once(desk, "8.pdf", "8 (1).pdf")
    # Whether the second one may ask at once depends on who writes first; that it does not send does not.
    assert all(isinstance(result, Outcome | Deferred | Changed) for result in results), results
    desk.work_off()
    assert len(merchant.sandbox.uploads()) == 1
    assert sandbox_arrivals(merchant.sandbox) == 1
    assert sorted(path.read_bytes() for path in merchant.processed.iterdir()) == [content, content]
    assert list(merchant.drop.glob("*.pdf")) == []


def sandbox_arrivals(sandbox: Running) -> int:
    """Return how many uploads reached the server."""
    return sandbox.journal.arrived("upload")


def test_a_twin_that_was_sent_meanwhile_is_a_duplicate(merchant: Merchant, desk: Desk) -> None:
    """Two files with the same bytes at once: one is sent, the other is filed as its duplicate."""
    content = invoice_pdf("8")
    for name in ("8.pdf", "8 (1).pdf"):
        merchant.drop_pdf(name, content)
    results = _both_at_once(desk, "8.pdf", "8 (1).pdf")
    assert sorted(str(result) for result in results) == [str(Outcome.DUPLICATE), str(Outcome.PROCESSED)]
    assert len(merchant.sandbox.uploads()) == 1


@pytest.mark.parametrize("sent", [True, False], ids=["uploaded", "rejected"])
def test_a_recovery_beside_running_uploads_does_not_stumble(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, sent: bool
) -> None:
    """A recovery (a folder came back) that finds an entry which an upload thread just then completes lets it be."""
    fresh = replace(invoice(), account=desk.inbox.account, inbox=desk.inbox.name)
    begun = desk.ledger.uploading(fresh)
    entry = desk.ledger.uploaded(begun, Receipt(5)) if sent else desk.ledger.rejected(begun, Reason.DAMAGED, "")
    listed = desk.ledger.in_state

    def meanwhile(*states: State) -> list[Entry]:
        found = listed(*states)
        (desk.ledger.processed if sent else desk.ledger.failed)(entry, Path("where it lies"))
        return found

    monkeypatch.setattr(desk.ledger, "in_state", meanwhile)
    desk.intake.recover()
    (known,) = listed(State.PROCESSED, State.FAILED)
    assert known.filed_as == "where it lies"


def test_two_bad_twins_both_fail(merchant: Merchant, desk: Desk) -> None:
    """Two bad files with the same bytes at once both end in failed; the ledger is not out of order for it."""
    for name in ("8.pdf", "8 (1).pdf"):
        merchant.drop_pdf(name, b"%PDF-1.7 no more than this %%EOF")
    fresh = threading.Barrier(2)
    find = desk.ledger.find

    def together(*arguments: object) -> Entry | None:
        known = find(*arguments)  # type: ignore[arg-type] # as find itself says
        if not fresh.broken:
            fresh.wait(10)
        return known

    results: dict[str, Outcome | Exception] = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(desk.ledger, "find", together)
        threads = [
            threading.Thread(target=lambda name=name: results.update({name: desk.take(name)}))
            for name in ("8.pdf", "8 (1).pdf")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not any(isinstance(result, Paused) for result in results.values()), results
    desk.work_off()
    assert sorted(path.name for path in merchant.failed.glob("*.pdf")) == ["8 (1).pdf", "8.pdf"]
