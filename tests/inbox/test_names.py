import re
import stat

import hypothesis
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from invoicedrop.errors import Deferred, FolderUnavailable, InvoicedropError, LedgerUnavailable, Paused, Rejected
from invoicedrop.inbox.listing import why_left_alone
from invoicedrop.inbox.names import OrderName, parse_name, split_ending
from invoicedrop.invoice import OrderIdKind
from invoicedrop.reasons import Reason, advice

ANYTHING = st.text(st.characters(exclude_characters="/\0"), max_size=30)
SUFFIXES = st.sampled_from([".pdf", ".PDF", ".Pdf"])
ORDERS = st.integers(1, 10**18 - 1)
NAMES = ANYTHING | st.builds("{}{}{}".format, ORDERS, ANYTHING, SUFFIXES) | st.builds("{}{}".format, ANYTHING, SUFFIXES)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("8355.pdf", "8355"),
        ("8355.PDF", "8355"),
        ("8355_2.pdf", "8355"),
        ("8355 (1).pdf", "8355"),
        ("8355 - Kopie.pdf", "8355"),
        ("8355_Rechnung für Öztürk.pdf", "8355"),
        ("008355.pdf", "8355"),
        ("8355_.pdf", "8355"),
        ("8355_a\nb.pdf", "8355"),
        ("8355_x.pdf.pdf", "8355"),
        ("8355(1).pdf", "8355"),
        ("8355.pdf.pdf", "8355"),
        ("8355.PDF.pdf.Pdf", "8355"),
        ("8355.pdf ", "8355"),
        ("8355.pdf.", "8355"),
        ("8355.pdf . .", "8355"),
        ("8355_20261125.pdf", "8355"),
        ("8355_100234.pdf", "8355"),
        ("8355_terms 30 days.pdf", "8355"),
        ("2026.pdf", "2026"),
        ("2026_2.pdf", "2026"),
        ("2026 (12).pdf", "2026"),
        ("2026_Rechnung.pdf", "2026"),
        ("2026_20261122T101500Z-2.pdf", "2026"),
        ("12_3.pdf", "12"),
        ("1899_8355.pdf", "1899"),
        ("20261399_8355.pdf", "20261399"),
        ("123456_7890.pdf", "123456"),
        ("999999999999999999.pdf", "999999999999999999"),
    ],
)
def test_a_right_name_says_its_order(name: str, order: str) -> None:
    """The digits at the start are the order; what follows `_` or a space is free."""
    assert parse_name(name, "channable") == OrderName(order)


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("8355_items-11.pdf", (11,)),
        ("8355_items-11-12.pdf", (11, 12)),
        ("8355_ITEMS-11-12_part A.pdf", (11, 12)),
        ("8355_items-11 (1).pdf", (11,)),
    ],
)
def test_items_are_read_from_the_name(name: str, items: tuple[int, ...]) -> None:
    """`_items-<id>-<id>` names the order items, whatever is added behind."""
    assert parse_name(name, "channable") == OrderName("8355", items)


@pytest.mark.parametrize(
    "name",
    [
        "invoice.pdf",
        "302-1234567-1234567.pdf",
        "8355-2.pdf",
        "8355a.pdf",
        "8355.2.pdf",
        "8355(1)x.pdf",
        "8355().pdf",
        "8355..pdf",
        " 8355.pdf",
        "_8355.pdf",
        "-8355.pdf",
        "+8355.pdf",
        "0.pdf",
        "000_1.pdf",
        ".pdf",
        "8355",
        "1234567890123456789.pdf",
        "٨٣٥٥.pdf",
        "²3.pdf",
    ],
)
def test_a_name_without_an_order_is_rejected_with_an_example(name: str) -> None:
    """A name that does not say one order for sure is rejected, and a right one is shown."""
    with pytest.raises(Rejected) as caught:
        parse_name(name, "channable")
    assert caught.value.reason is Reason.NAME_WITHOUT_ORDER
    assert "8355.pdf" in caught.value.detail


@pytest.mark.parametrize(
    "name",
    [
        "8355_items-.pdf",
        "8355_items-a.pdf",
        "8355_items-11-.pdf",
        "8355_items-11,12.pdf",
        "8355_items--1.pdf",
        "8355_items.pdf",
        "8355_items_8355.pdf",
        "8355 items-8355.pdf",
        "8355_2_items-8355.pdf",
        "8355 (1) ITEMS 11.pdf",
        "8355_item-11.pdf",
        "8355_itmes-11.pdf",
        "8355_ltems-11.pdf",
        "8355_\u00edtems-11.pdf",
        "8355_\uff49\uff54\uff45\uff4d\uff53-11.pdf",
        "8355_ite\u200bms-11.pdf",
        "8355_items-\uff11\uff12.pdf",
        "8355_items-1234567890123456789.pdf",
        "8355_items-11(1).pdf",
        "8355_items-11_items-12.pdf",
        "8355-items-11.pdf",
    ],
)
def test_garbled_items_are_rejected_rather_than_sent_to_every_item(name: str) -> None:
    """A name that means items but does not say which is never taken for the whole order."""
    for kind in ("channable", "marketplace"):
        with pytest.raises(Rejected, match="item ids") as caught:
            parse_name(name, kind)  # type: ignore[arg-type] # the two kinds that there are
        assert caught.value.reason is Reason.NAME_NOT_UNDERSTOOD
        assert '"8355"' in caught.value.detail or "8355-" in caught.value.detail


@pytest.mark.parametrize(
    ("name", "order", "meaning"),
    [
        ("2026_8355.pdf", "2026", "a year"),
        ("1999 8355.pdf", "1999", "a year"),
        ("2026_11_25_8355.pdf", "2026", "a year"),
        ("2026_(8355).pdf", "2026", "a year"),
        ("2026_\uff18\uff13\uff15\uff15.pdf", "2026", "a year"),
        ("20261125_8355.pdf", "20261125", "a date"),
        ("25112026_8355.pdf", "25112026", "a date"),
        ("251126 8355.pdf", "251126", "a date"),
        ("202611_8355.pdf", "202611", "a date"),
        ("1 - 8355.pdf", "1", "a counter"),
        ("01_8355.pdf", "1", "a counter"),
        ("12_345_Kopie.pdf", "12", "a counter"),
        ("1(8355).pdf", "1", "a counter"),
        ("25_11_2026_8355.pdf", "25", "a counter"),
    ],
)
def test_a_name_that_may_mean_another_order_says_so(name: str, order: str, meaning: str) -> None:
    """A year, a date or a counter with a longer number right behind it is read, but told as ambiguous."""
    parsed = parse_name(name, "channable")
    assert parsed.order == order
    assert parsed.ambiguity is not None
    assert parsed.ambiguity.startswith(f"the name was read as order {order}; but {order} may be {meaning}")
    assert parse_name(name, "marketplace").ambiguity is not None


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("302-1234567-1234567.pdf", "channable", ['"302" was read', '"-1234567-1234567"', "order_id_kind"]),
        ("302-1234567-1234567_items-5.pdf", "channable", ["order_id_kind"]),
        ("A000ABC123.pdf", "channable", ['"A000ABC123" stands where', "order_id_kind"]),
        ("12345678-A_2.pdf", "channable", ["order_id_kind"]),
        ("\u200b8355.pdf", "channable", [r'"\u200b8355" (an invisible character)']),
        ("8355\u00a0(1).pdf", "channable", ['"8355" was read', r'"\xa0(1)" (an invisible character)']),
        ("\uff18\uff13.pdf", "channable", [r'"\uff18\uff13" (no ordinary letter or digit)']),
        ("1234567890123456789.pdf", "channable", ["19 digits"]),
        ("Rechnung_8355.pdf", "marketplace", ['"Rechnung" was read', "no digit"]),
    ],
)
def test_a_refusal_says_what_was_read_and_where_it_stopped(name: str, kind: OrderIdKind, words: list[str]) -> None:
    """The detail quotes what was read and what was not, shows what is invisible, and points to the setting at fault."""
    with pytest.raises(Rejected) as caught:
        parse_name(name, kind)
    assert caught.value.reason is Reason.NAME_WITHOUT_ORDER
    for word in words:
        assert word in caught.value.detail
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize("name", ["8355-2.pdf", "8355a.pdf", "2026-11-25_8355.pdf", "invoice.pdf"])
def test_not_every_name_looks_like_a_marketplaces(name: str) -> None:
    """A mistyped order id, a date or a word is no reason to change a setting."""
    with pytest.raises(Rejected) as caught:
        parse_name(name, "channable")
    assert "order_id_kind" not in caught.value.detail


def test_items_have_one_form() -> None:
    """The same items in another order, or named twice, are the same reference; the whole order is another one."""
    names = ["8355_items-12-11.pdf", "8355_items-11-12_b.pdf", "008355_ITEMS-011-12-11.pdf"]
    assert {parse_name(name, "channable").reference for name in names} == {"8355_items-11-12"}
    assert {parse_name(name, "channable").items for name in names} == {"11-12"}
    assert parse_name("8355.pdf", "channable").reference == "8355"
    assert parse_name("8355.pdf", "channable").items == ""


@pytest.mark.parametrize(
    ("name", "order", "items"),
    [
        ("302-1234567-1234567.pdf", "302-1234567-1234567", ()),
        ("302-1234567-1234567_2.pdf", "302-1234567-1234567", ()),
        ("302-1234567-1234567 (1).PDF", "302-1234567-1234567", ()),
        ("A000-1.B_items-5-6.pdf", "A000-1.B", (5, 6)),
        ("0012.pdf", "0012", ()),
        ("302-1234567-1234567(1).pdf", "302-1234567-1234567", ()),
        ("302-1234567-1234567.pdf.pdf", "302-1234567-1234567", ()),
    ],
)
def test_a_marketplace_number_is_kept_as_it_is(name: str, order: str, items: tuple[int, ...]) -> None:
    """With marketplace numbers, all before `_` or a space is the number, leading zeros too."""
    assert parse_name(name, "marketplace") == OrderName(order, items)


@given(ORDERS, st.integers(0, 5), ANYTHING, st.sampled_from("_ "), SUFFIXES)
def test_every_order_comes_back_from_its_name(order: int, zeros: int, rest: str, separator: str, suffix: str) -> None:
    """Whatever the accounting software adds after a separator, the order stays the same."""
    assume(not re.search(r"[i\u0131l].*[mt\uff4d\uff54]", rest, re.IGNORECASE) and "I" not in rest.upper())
    digits = ("0" * zeros + str(order))[-18:]
    assume(int(digits) == order)
    assert parse_name(f"{digits}{suffix}", "channable") == OrderName(str(order))
    assert parse_name(f"{digits}{separator}{rest}{suffix}", "channable").order == str(order)


@given(ORDERS, st.lists(st.integers(0, 10**18 - 1), min_size=1, max_size=5))
def test_items_come_back_from_their_name(order: int, items: list[int]) -> None:
    """Order items survive being written into a name."""
    name = f"{order}_items-{'-'.join(map(str, items))}.pdf"
    assert parse_name(name, "channable") == OrderName(str(order), tuple(items))


@given(NAMES, st.sampled_from(["channable", "marketplace"]))
@example("1\udcff.pdf", "channable")
def test_any_name_is_ignored_understood_or_rejected(name: str, kind: OrderIdKind) -> None:
    """No file name whatever makes the grammar stumble, and what it understands stands at the name's start."""
    if why_left_alone(name, stat.S_IFREG) is not None:
        return
    reason = None
    parsed = OrderName("")
    try:
        parsed = parse_name(name, kind)
    except Rejected as rejection:
        reason = rejection.reason
    assert reason in {None, Reason.NAME_WITHOUT_ORDER, Reason.NAME_NOT_UNDERSTOOD}
    if reason is None:
        assert parsed.order
        assert name.lstrip("0").startswith(parsed.order) or name.startswith(parsed.order)
        assert name.rstrip(" .")[-4:].casefold() == ".pdf"


@given(st.text("0123456789", min_size=1, max_size=18), st.sampled_from("-.()[]#ab\t\xa0"), ANYTHING)
def test_only_underscore_and_space_end_an_order(digits: str, other: str, rest: str) -> None:
    """Anything else after the digits means that the digits may not be the whole order number."""
    with pytest.raises(Rejected):
        parse_name(f"{digits}{other}{rest}x.pdf", "channable")


def obvious(name: str) -> tuple[str, tuple[int, ...]] | None:
    """Read a name of a Channable order character by character, as the table in the README says; None: it is refused."""
    while True:
        stripped = name.rstrip(" .")
        if not stripped.upper().endswith(".PDF"):
            break
        name = stripped[:-4]
    digits = ""
    while name[len(digits) :][:1] and name[len(digits)] in "0123456789":
        digits += name[len(digits)]
    rest = name[len(digits) :]
    if not digits or len(digits) > 18 or int(digits) == 0:
        return None
    copy = rest[:1] == "(" and rest[-1:] == ")" and rest[1:-1] != "" and set(rest[1:-1]) <= set("0123456789")
    if rest and rest[0] not in "_ " and not copy:
        return None
    items: list[int] = []
    if rest[:7].lower() == "_items-":
        word = rest[7:].split("_")[0].split(" ")[0]
        ids = word.split("-")
        if not all(0 < len(one) <= 18 and set(one) <= set("0123456789") for one in ids):
            return None
        items = [int(one) for one in ids]
        rest = rest[7 + len(word) :]
    return None if "item" in rest.lower() else (str(int(digits)), tuple(items))


NUMBERS = st.sampled_from(["8355", "0", "1", "12", "2026", "20261125", "11", "123456789012345678", "\uff18"])
SIGNS = st.sampled_from(["_", " ", "-", "(", ")", ".", "\xa0"])
WORDS = st.sampled_from([".pdf", ".PDF", "_items-", "items", "Kopie", "a"])
PIECES = st.lists(NUMBERS | SIGNS | WORDS, max_size=8).map("".join)


@given(PIECES, st.sampled_from([".pdf", ".PDF", ".pdf.pdf", ".pdf ", ".pdf. "]))
@hypothesis.settings(max_examples=300)
def test_the_grammar_is_that_of_the_table(stem: str, ending: str) -> None:
    """A slow and obvious reading of the table agrees with the grammar about every name made of its pieces."""
    try:
        parsed = parse_name(stem + ending, "channable")
    except Rejected:
        assert obvious(stem + ending) is None
    else:
        assert obvious(stem + ending) == (parsed.order, parsed.item_ids)


@given(PIECES)
def test_an_ending_is_split_off_whole(stem: str) -> None:
    """What marks a PDF comes off at the end, however often it is there; a name that ends otherwise has no such end."""
    head, ending = split_ending(stem)
    assert head + ending == stem
    assert bool(ending) == stem.rstrip(" .").lower().endswith(".pdf")
    assert split_ending(head)[1] == ""


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_advice_in_plain_words(reason: Reason) -> None:
    """A bookkeeper finds what is wrong and what to do for each reason, in whole sentences."""
    words = advice(reason)
    for sentence in words:
        assert sentence.endswith((".", "!"))
        assert sentence[0].isupper()
        assert "None" not in sentence
    assert words.problem != words.remedy


def test_errors_are_grouped_by_what_the_caller_does() -> None:
    """Ledger and folder trouble are pauses; no single-invoice error is one."""
    assert issubclass(FolderUnavailable, Paused)
    assert issubclass(LedgerUnavailable, Paused)
    assert not issubclass(Deferred, Paused)
    assert not issubclass(Paused, Rejected)
    assert issubclass(Rejected, InvoicedropError)
    assert str(Rejected(Reason.EMPTY, "0 bytes")) == "empty: 0 bytes"
