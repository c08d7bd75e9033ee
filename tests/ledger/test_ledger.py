import itertools
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from entries import ACCOUNT, invoice, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invoicedrop.errors import Changed
from invoicedrop.invoice import MOVES, IllegalMoveError, Receipt, State
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.printable import storable
from invoicedrop.reasons import Reason


@pytest.fixture
def ledger(each_ledger: Ledger) -> Ledger:
    """A ledger of its own, on each engine."""
    return each_ledger


# States


def test_a_good_invoice_goes_through_its_states(ledger: Ledger) -> None:
    """Intent, receipt and end are each on disk, with attempts, times and places, when the call returns."""
    began = time.time()
    entry = ledger.uploading(invoice())
    assert written(ledger, entry) == entry
    assert (entry.state, entry.attempts) == (State.UPLOADING, 1)
    assert entry.doubt_since is not None
    assert began <= entry.doubt_since <= time.time()
    assert not entry.sent
    entry = ledger.uploaded(entry, Receipt(77, "late"))
    assert written(ledger, entry) == entry
    assert (entry.state, entry.attachment_id, entry.detail, entry.doubt_since) == (State.UPLOADED, 77, "late", None)
    assert entry.sent
    entry = ledger.processed(entry, Path("/srv/processed/8355.pdf"))
    assert written(ledger, entry) == entry
    assert (entry.state, entry.filed_as) == (State.PROCESSED, "/srv/processed/8355.pdf")


def test_the_base_line_is_that_of_the_first_try_in_doubt(ledger: Ledger) -> None:
    """What the order had before the first try is kept by later ones; a try that was not taken takes its own back."""
    fresh = invoice()
    tried = ledger.uploading(fresh, frozenset({7, 5}))
    assert written(ledger, tried).base_line == {5, 7}
    untaken = ledger.not_taken(tried, fresh)
    assert written(ledger, untaken).base_line is None
    first = ledger.uploading(untaken, frozenset())
    again = ledger.uploading(first, frozenset({9}))
    assert written(ledger, again).base_line == frozenset()


def test_the_looks_after_an_invoice_was_accepted_are_kept(ledger: Ledger) -> None:
    """When an order is looked at next, what it showed, and when, is on disk; the first find of each kind is kept."""
    began = time.time()
    entry = ledger.uploaded(ledger.uploading(invoice()), Receipt(77), confirm_after=600)
    assert ledger.next_confirmation(entry.account, entry.project_id) is None
    entry = ledger.processed(entry, None)
    project = (entry.account, entry.project_id)
    due = ledger.next_confirmation(*project)
    assert due is not None
    assert 600 <= due - began < 660
    assert ledger.to_confirm(*project, now=due - 1, latest=due, most=10) == []
    assert ledger.to_confirm(*project, now=due, latest=due, most=10) == [entry]
    assert ledger.to_confirm(*project, now=due - 9_000, latest=due - 1, most=10) == [entry]
    assert ledger.to_confirm(entry.account, 2002, now=due, latest=due, most=10) == []
    entry = ledger.look_put_off(entry, 60)
    assert ledger.to_confirm(*project, now=time.time() + 61, latest=due + 61, most=10) == [entry]
    assert entry.confirm_looks == 0
    confirmed = ledger.looked_at(entry, 3600.0, confirmed=True)
    assert confirmed.changed == entry.changed, "it is not sent anew by that"
    assert written(ledger, confirmed) == confirmed
    questioned = ledger.looked_at(confirmed, None, question="refused: no VAT number")
    assert ledger.questioned() == [questioned]
    assert (questioned.confirm_looks, questioned.confirmed_at) == (2, confirmed.confirmed_at)
    assert ledger.next_confirmation(*project) is None
    assert ledger.questioned(since=time.time() + 1) == []


def test_what_was_sent_later_to_an_order_is_known(ledger: Ledger) -> None:
    """Only what was sent to the same order of the project, and after the invoice."""
    first, second, *_ = [
        ledger.uploaded(ledger.uploading(entry), Receipt(number))
        for number, entry in enumerate((invoice(1), invoice(1, sha256="cd" * 32), invoice(2), invoice(1, project_id=7)))
    ]
    assert ledger.sent_later(first) == {1}
    assert ledger.sent_later(second) == frozenset()


def test_the_same_bytes_at_another_order_are_found(ledger: Ledger) -> None:
    """Sent, or perhaps sent, to another order or project of the account; not to this one, and not what was rejected."""
    mine = invoice(1)
    ledger.rejected(invoice(2), Reason.DAMAGED, "")
    ledger.uploading(invoice(1, items="11"))
    assert ledger.at_another_order(mine) is None
    doubtful = ledger.uploading(invoice(3))
    assert ledger.at_another_order(mine) == doubtful
    sent = ledger.uploaded(ledger.uploading(invoice(1, project_id=2002)), Receipt(9))
    assert ledger.at_another_order(mine) == sent


def test_a_bad_invoice_goes_through_its_states(ledger: Ledger) -> None:
    """Rejection and end are each on disk; a retry by hand starts over."""
    entry = ledger.rejected(invoice(), Reason.DAMAGED, "no root object")
    assert (written(ledger, entry).state, written(ledger, entry).reason) == (State.REJECTED, Reason.DAMAGED)
    entry = ledger.failed(entry, Path("/srv/failed/8355.pdf"))
    assert written(ledger, entry) == entry
    again = ledger.retried(entry)
    assert (again.state, again.reason, again.detail, again.filed_as) == (State.RECEIVED, None, None, None)
    assert again.first_seen > entry.first_seen
    assert again.id == entry.id


def test_a_doubt_survives_everything_but_its_answer(ledger: Ledger) -> None:
    """Deferral, rejection and a retry by hand keep the doubt of the first try; only a receipt ends it."""
    entry = first = ledger.uploading(invoice())
    entry = ledger.deferred(entry, 2.0, "timeout")
    entry = ledger.looked_in_vain(entry, 5.0)
    assert written(ledger, entry).looks == 1
    entry = ledger.uploading(entry)
    assert (entry.doubt_since, entry.looks, entry.attempts) == (first.doubt_since, 0, 2)
    entry = ledger.failed(ledger.rejected(entry, Reason.GAVE_UP, "3 days"), None)
    entry = ledger.retried(written(ledger, entry))
    assert entry.state is State.UPLOADING
    # It counts from now on: the looks, and the time until it is given up, begin anew.
    assert first.doubt_since is not None
    assert entry.doubt_since is not None
    assert entry.doubt_since > first.doubt_since
    assert ledger.uploaded(entry, Receipt(1)).doubt_since is None


def test_a_try_that_was_not_taken_leaves_what_was_before(ledger: Ledger) -> None:
    """A request that certainly did not arrive makes no doubt, and ends no older one."""
    fresh = invoice()
    entry = ledger.not_taken(ledger.uploading(fresh), fresh)
    assert (entry.state, entry.doubt_since) == (State.RECEIVED, None)
    doubtful = ledger.looked_in_vain(ledger.uploading(entry), 5.0)
    entry = ledger.not_taken(ledger.uploading(doubtful), doubtful)
    assert (entry.state, entry.doubt_since, entry.looks) == (State.UPLOADING, doubtful.doubt_since, 1)
    assert written(ledger, entry) == entry


def test_a_deferral_keeps_its_time_and_words(ledger: Ledger) -> None:
    """The time of the next try is on disk, and its state stays."""
    entry = ledger.deferred(invoice(), 30.0, "no answer in time")
    known = written(ledger, entry)
    assert known.next_try == pytest.approx(time.time() + 30, abs=2)
    assert (known.delay, known.detail, known.state) == (30.0, "no answer in time", State.RECEIVED)


def test_a_second_look_in_vain_waits_also_after_a_restart(ledger: Ledger) -> None:
    """That an order was asked in vain is on disk with the time of the next look: a restart must not shorten it."""
    entry = ledger.looked_in_vain(ledger.deferred(ledger.uploading(invoice()), 0.0, "timeout"), 5.0)
    next_try = written(ledger, entry).next_try
    assert next_try is not None
    assert next_try > time.time() + 1


# Moves

MOVE_TO = {
    State.RECEIVED: lambda ledger, entry: ledger.not_taken(entry, replace(entry, state=State.RECEIVED)),
    State.UPLOADING: Ledger.uploading,
    State.UPLOADED: lambda ledger, entry: ledger.uploaded(entry, Receipt(1)),
    State.PROCESSED: lambda ledger, entry: ledger.processed(entry, None),
    State.REJECTED: lambda ledger, entry: ledger.rejected(entry, Reason.DAMAGED, "no root object"),
    State.FAILED: lambda ledger, entry: ledger.failed(entry, None),
}
"""What writes each state."""


@pytest.mark.parametrize("after", State)
@pytest.mark.parametrize("before", State)
def test_only_legal_moves_are_written(ledger: Ledger, before: State, after: State) -> None:
    """Each of the 36 moves is written if the table has it; if not, it is a mistake, and the entry stays as it was."""
    entry = ledger._put(replace(invoice(), state=before))
    if after in MOVES[before]:
        moved = MOVE_TO[after](ledger, entry)
        assert (written(ledger, entry), moved.state) == (moved, after)
    else:
        with pytest.raises(IllegalMoveError, match=f"from {before} to {after}"):
            MOVE_TO[after](ledger, entry)
        assert written(ledger, entry) == entry


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("stay", ["deferred", "looked_in_vain"])
def test_only_what_is_on_its_way_is_put_off(ledger: Ledger, stay: str, state: State) -> None:
    """An invoice that is put off stays in its state; one that is sent, or at its end, cannot be put off."""
    entry = ledger._put(replace(invoice(), state=state))
    put_off = {
        "deferred": lambda: ledger.deferred(entry, 1.0, ""),
        "looked_in_vain": lambda: ledger.looked_in_vain(entry, 1.0),
    }
    if state in {State.RECEIVED, State.UPLOADING, State.REJECTED}:
        assert put_off[stay]().state is state
    else:
        with pytest.raises(IllegalMoveError):
            put_off[stay]()
        assert written(ledger, entry) == entry


@pytest.mark.parametrize("doubt_since", [None, 1_700_000_000.5], ids=["certain", "in_doubt"])
@pytest.mark.parametrize("state", State)
def test_a_retry_is_a_legal_move(ledger: Ledger, state: State, doubt_since: float | None) -> None:
    """A person's retry leads to the beginning, or to the doubt that there was; not from a receipt back to that."""
    entry = replace(invoice(), state=state, doubt_since=doubt_since)
    beginning = State.RECEIVED if doubt_since is None else State.UPLOADING
    if beginning in MOVES[state]:
        assert ledger.retried(entry).state is beginning
    else:
        with pytest.raises(IllegalMoveError):
            ledger.retried(entry)


def test_there_is_a_way_from_every_state_to_an_end_and_none_from_a_sent_one_back() -> None:
    """Whatever happens to an invoice it can still end well or badly; what was sent can only be filed."""

    def reachable(state: State) -> set[State]:
        states: set[State] = set()
        ahead = [state]
        while ahead:
            new = MOVES[ahead.pop()] - states
            states |= new
            ahead += new
        return states

    assert set(MOVES) == set(State)
    for state in (State.RECEIVED, State.UPLOADING, State.REJECTED, State.FAILED):
        assert reachable(state) == set(State)
    assert reachable(State.UPLOADED) == {State.PROCESSED}
    assert reachable(State.PROCESSED) == set()


# Whoever knows less does not overwrite who knows more


def test_a_write_is_stale_by_its_version_alone(ledger: Ledger) -> None:
    """The counter says which write an entry is of, whatever the clock says: each write counts one up."""
    first = ledger.deferred(invoice(), 1.0, "one")
    assert first.version == 1
    second = ledger.deferred(replace(first, changed=4e9), 1.0, "two")
    assert second.version == 2
    assert second.changed < 4e9
    with pytest.raises(Changed):
        ledger.deferred(replace(first, changed=second.changed), 1.0, "stale")
    with pytest.raises(Changed):
        ledger.deferred(replace(second, version=3), 1.0, "of a version that never was")
    assert written(ledger, first) == second


def test_a_change_has_its_time(ledger: Ledger) -> None:
    """The time of the last change is the clock's when it is written."""
    began = time.time()
    entry = ledger.deferred(ledger.deferred(invoice(), 1.0, "one"), 1.0, "two")
    assert began <= entry.changed <= time.time()
    assert written(ledger, entry).changed == entry.changed


@pytest.mark.parametrize("stale_write", ["deferred", "rejected", "uploading"])
@pytest.mark.parametrize("from_the_start", [True, False], ids=["never_written", "written_before"])
def test_a_receipt_is_never_overwritten_by_who_does_not_know_it(
    ledger: Ledger, stale_write: str, *, from_the_start: bool
) -> None:
    """Two files with the same bytes for one order: the receipt of the one outlives the other's trouble."""
    fresh = invoice() if from_the_start else ledger.deferred(invoice(), 0.0, "asked for its order")
    sent = ledger.uploaded(ledger.uploading(fresh), Receipt(77))
    stale = replace(fresh, file="8355 (1).pdf")
    writes = {
        "deferred": lambda: ledger.deferred(stale, 2.0, "no answer in time"),
        "rejected": lambda: ledger.rejected(stale, Reason.CHECK_TIMEOUT, "20 s"),
        "uploading": lambda: ledger.uploading(stale),
    }
    with pytest.raises(Changed):
        writes[stale_write]()
    assert written(ledger, sent) == sent


def test_a_doubt_is_never_overwritten_by_who_does_not_know_it(ledger: Ledger) -> None:
    """Two files with the same bytes for one order: that the one may have been sent outlives the other's trouble."""
    fresh = invoice()
    doubtful = ledger.uploading(fresh)
    with pytest.raises(Changed):
        ledger.deferred(replace(fresh, file="8355 (1).pdf"), 2.0, "no answer in time")
    assert written(ledger, doubtful) == doubtful


# Questions


def test_the_same_invoice_is_account_project_reference_and_bytes(ledger: Ledger) -> None:
    """Another project, order, content or company is another invoice."""
    entry = ledger.uploading(invoice())
    assert ledger.find(ACCOUNT, 2001, "8355", "ab" * 32) == entry
    assert ledger.find("https://api.example/1002", 2001, "8355", "ab" * 32) is None
    assert ledger.find(ACCOUNT, 2002, "8355", "ab" * 32) is None
    assert ledger.find(ACCOUNT, 2001, "8356", "ab" * 32) is None
    assert ledger.find(ACCOUNT, 2001, "8355", "cd" * 32) is None


def test_a_twin_under_another_reference_is_found(ledger: Ledger) -> None:
    """The same bytes at the same order under another name count, if sent or perhaps sent; sent ones first."""
    mine = replace(invoice(), reference="302-8355")
    assert ledger.same_invoice(mine) is None
    received = ledger.deferred(replace(invoice(), reference="8355"), 1.0, "never sent")
    assert ledger.same_invoice(mine) is None
    doubtful = ledger.uploading(received)
    assert ledger.same_invoice(mine) == doubtful
    sent = ledger.uploaded(ledger.uploading(replace(invoice(), reference="0-8355")), Receipt(5))
    assert ledger.same_invoice(mine) == sent
    assert ledger.same_invoice(replace(mine, order_id=9)) is None
    assert ledger.same_invoice(replace(mine, items="11")) is None
    assert ledger.same_invoice(replace(sent, doubt_since=None)) == doubtful


def test_the_same_bytes_for_other_items_are_another_invoice(ledger: Ledger) -> None:
    """The whole order, and each set of its items, have an entry each; a twin is one with the same items."""
    entries = [ledger.uploading(invoice(items=items)) for items in ("", "11", "11-12")]
    assert len({entry.id for entry in entries}) == 3
    for entry in entries:
        assert written(ledger, entry) == entry
        assert ledger.same_invoice(entry) is None
        twin = replace(entry, id=0, reference=f"302-{entry.reference}")
        assert ledger.same_invoice(twin) == entry


def test_a_soft_reason_that_was_waived_stays_so(ledger: Ledger) -> None:
    """What a person waived is on disk with the next write, and survives later trouble; a hard reason cannot be."""
    entry = ledger.failed(ledger.rejected(invoice(), Reason.NAME_AMBIGUOUS, ""), Path("failed/8355.pdf"))
    assert ledger.retried(entry).waived == frozenset()
    entry = ledger.deferred(ledger.retried(entry, waive=True), 1.0, "")
    assert written(ledger, entry).waived == {Reason.NAME_AMBIGUOUS}
    entry = ledger.failed(ledger.rejected(entry, Reason.ORDER_NOT_FOUND, ""), None)
    assert ledger.retried(written(ledger, entry), waive=True).waived == {Reason.NAME_AMBIGUOUS}


def test_receipts_tell_which_attachments_are_ours(ledger: Ledger) -> None:
    """All our receipts of an order are told with their content, and no other order's."""
    for attachment, sha256 in ((5, "aa" * 32), (6, "bb" * 32)):
        ledger.uploaded(ledger.uploading(invoice(sha256=sha256)), Receipt(attachment))
    ledger.uploading(invoice(sha256="cc" * 32))
    ledger.uploaded(ledger.uploading(invoice(9)), Receipt(7))
    ledger.uploaded(ledger.uploading(invoice(items="11-12")), Receipt(8))
    assert ledger.receipts(ACCOUNT, 2001, 8355) == {5: ("aa" * 32, ""), 6: ("bb" * 32, ""), 8: ("ab" * 32, "11-12")}


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**60])
def test_ids_may_have_any_length(ledger: Ledger, number: int) -> None:
    """An id of an order or an attachment comes back as it was, and is found by, however long it is."""
    first = replace(invoice(1), order_id=number)
    sent = ledger.uploaded(ledger.uploading(first, frozenset({number, 1})), Receipt(number))
    assert (written(ledger, sent).order_id, written(ledger, sent).attachment_id) == (number, number)
    assert written(ledger, sent).base_line == {number, 1}
    assert ledger.receipts(ACCOUNT, 2001, number) == {number: (sent.sha256, "")}
    assert ledger.uploaded_since(0.0, number) == [sent]
    twin = ledger.same_invoice(replace(invoice(2), order_id=number))
    assert twin is not None
    assert twin.attachment_id == number
    later = ledger.uploaded(replace(invoice(3, sha256="cd" * 32), order_id=number), Receipt(number + 1))
    assert later.attachment_id in ledger.sent_later(replace(sent, uploaded_at=0.0))


def test_lists_and_counts_by_state(ledger: Ledger) -> None:
    """Entries are listed by state, the latest changed first, limited and since a time; counts agree."""
    for number in (1, 2, 3):
        ledger.processed(ledger.uploaded(ledger.uploading(invoice(number)), Receipt(number)), None)
    middle = written(ledger, invoice(2))
    ledger.rejected(invoice(4), Reason.EMPTY, "")
    assert [entry.reference for entry in ledger.in_state(State.PROCESSED)] == ["3", "2", "1"]
    assert [entry.reference for entry in ledger.in_state(State.PROCESSED, newest=2)] == ["3", "2"]
    assert [entry.reference for entry in ledger.in_state(State.PROCESSED, since=middle.changed)] == ["3", "2"]
    assert len(ledger.in_state(State.PROCESSED, State.REJECTED)) == 4
    assert ledger.count(State.PROCESSED) == 3
    assert ledger.count(State.PROCESSED, since=middle.changed) == 2
    assert [entry.reference for entry in ledger.uploaded_since(0.0)] == ["1", "2", "3"]
    assert [entry.reference for entry in ledger.uploaded_since(0.0, order_id=2)] == ["2"]


def test_others_pass_if_one_of_the_project_did_since(ledger: Ledger) -> None:
    """An invoice gives up only if another one of its project, not of any, went through since a given time."""
    ledger.uploaded(ledger.uploading(invoice(1)), Receipt(1))
    since = time.time()
    mine = ledger.deferred(invoice(2), 1.0, "500")
    assert not ledger.others_pass(mine, since=since)
    ledger.uploaded(ledger.uploading(invoice(3, project_id=2002)), Receipt(2))
    assert not ledger.others_pass(mine, since=since)
    ledger.uploaded(ledger.uploading(invoice(4)), Receipt(3))
    assert ledger.others_pass(mine, since=since)


def test_the_bucket_is_remembered_for_each_account(ledger: Ledger) -> None:
    """The last level written for an account is what is told, for that account only."""
    assert ledger.buckets.level(ACCOUNT) is None
    ledger.buckets.remember(ACCOUNT, BucketLevel(100.5, 1.25))
    ledger.buckets.remember(ACCOUNT, BucketLevel(42.0, 2.5))
    ledger.buckets.remember("other", BucketLevel(1.0, 1.0))
    assert ledger.buckets.level(ACCOUNT) == BucketLevel(42.0, 2.5)


COUNTER = itertools.count()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.floats(0, 4e9)
IDS = st.integers(0, 2**63 - 1)
ENTRIES = st.builds(
    Entry,
    account=TEXTS,
    project_id=IDS,
    reference=TEXTS,
    sha256=st.just("0" * 64),
    inbox=TEXTS,
    file=TEXTS,
    size=IDS,
    first_seen=MOMENTS,
    state=st.sampled_from(State),
    id=st.just(0),
    order_id=st.none() | IDS,
    attempts=st.integers(0, 10**6),
    next_try=st.none() | MOMENTS,
    delay=MOMENTS,
    detail=st.none() | TEXTS,
    reason=st.none() | st.sampled_from(Reason),
    doubt_since=st.none() | MOMENTS,
    looks=st.integers(0, 9),
    attachment_id=st.none() | IDS,
    uploaded_at=st.none() | MOMENTS,
    filed_as=st.none() | TEXTS,
    pages=st.none() | st.integers(0, 10**6),
    pdf_version=st.none() | TEXTS,
    producer=st.none() | TEXTS,
    pdfa=st.none() | TEXTS,
    einvoice=st.none() | TEXTS,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry=ENTRIES)
def test_what_is_put_is_found(ledger: Ledger, entry: Entry) -> None:
    """Every field of every entry comes back as it was written, whatever text or number it holds."""
    entry = replace(entry, sha256=f"{next(COUNTER):064x}")
    if ledger.path is None:
        # PostgreSQL's text has no NUL; no file name has one.
        texts = {field.name: text for field in fields(entry) if isinstance(text := getattr(entry, field.name), str)}
        entry = replace(
            entry,
            **{name: text.replace("\0", "") for name, text in texts.items() if not isinstance(text, State | Reason)},  # type: ignore[arg-type]
        )
    put = ledger._put(entry)
    assert written(ledger, put) == put
    assert replace(put, id=0, version=0, changed=entry.changed) == entry
    changed = ledger._put(replace(put, detail="again", attempts=put.attempts + 1))
    assert written(ledger, changed) == changed
    assert changed.id == put.id


@given(st.binary(max_size=60))
def test_any_file_name_can_be_stored(name: bytes) -> None:
    """A name of any bytes has a form that a database takes."""
    text = storable(name.decode("utf-8", "surrogateescape"))
    assert text.encode().decode() == text
    assert storable(text) == text


def test_every_field_has_its_column(ledger: Ledger) -> None:
    """The entry and the table agree, name by name."""
    if ledger.path is None:
        question = """
            SELECT ordinal_position, column_name FROM information_schema.columns
            WHERE table_name = 'invoices' AND table_schema = current_schema()
        """
    else:
        question = "PRAGMA table_info(invoices)"
    columns = [name for (_, name, *_) in ledger._database.read(question, {})]
    assert sorted([*columns, "steps"]) == sorted(field.name for field in fields(Entry))


def test_a_next_try_is_never_further_away_than_its_delay(ledger: Ledger) -> None:
    """Whatever the clock says, an entry is due within the delay that it was written with; a look's delay is its own."""
    entry = ledger.deferred(ledger.uploading(invoice()), 60.0, "timeout")
    assert entry.next_try is not None
    assert entry.due(entry.next_try - 20.0) == entry.next_try
    assert entry.due(entry.next_try) is None
    assert entry.due(0.0) == 60.0
    assert ledger.looked_in_vain(entry, 5.0).delay == 60.0
    assert ledger.looked_in_vain(ledger.uploading(replace(invoice(), reference="6")), 5.0).due(0.0) == 5.0


def test_each_ledger_has_an_identity_that_stays(tmp_path: Path) -> None:
    """A ledger is the same one whenever it is opened, and no other one."""
    identities = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        with Ledger.open(folder) as ledger, Ledger.open(folder) as beside:
            identities.append(ledger.identity())
            assert beside.identity() == identities[-1]
        with Ledger.open(folder) as again:
            assert again.identity() == identities[-1]
    assert len(set(identities)) == 2
