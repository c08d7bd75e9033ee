import re
import stat

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from invoicedrop.errors import Deferred, FolderUnavailable, InvoicedropError, LedgerUnavailable, Paused, Rejected
from invoicedrop.inbox.listing import why_left_alone
from invoicedrop.inbox.names import OrderName, parse_name
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
        ("8355_items.pdf", "8355"),
        ("8355_2_items-11.pdf", "8355"),
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
        "8355(1).pdf",
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
    "name", ["8355_items-.pdf", "8355_items-a.pdf", "8355_items-11-.pdf", "8355_items-11,12.pdf", "8355_items--1.pdf"]
)
def test_garbled_items_are_rejected_rather_than_sent_to_every_item(name: str) -> None:
    """A name that means items but does not say which is never taken for the whole order."""
    with pytest.raises(Rejected, match="item ids"):
        parse_name(name, "channable")


@pytest.mark.parametrize(
    ("name", "order", "items"),
    [
        ("302-1234567-1234567.pdf", "302-1234567-1234567", ()),
        ("302-1234567-1234567_2.pdf", "302-1234567-1234567", ()),
        ("302-1234567-1234567 (1).PDF", "302-1234567-1234567", ()),
        ("A000-1.B_items-5-6.pdf", "A000-1.B", (5, 6)),
        ("0012.pdf", "0012", ()),
    ],
)
def test_a_marketplace_number_is_kept_as_it_is(name: str, order: str, items: tuple[int, ...]) -> None:
    """With marketplace numbers, all before `_` or a space is the number, leading zeros too."""
    assert parse_name(name, "marketplace") == OrderName(order, items)


@given(ORDERS, st.integers(0, 5), ANYTHING, st.sampled_from("_ "), SUFFIXES)
def test_every_order_comes_back_from_its_name(order: int, zeros: int, rest: str, separator: str, suffix: str) -> None:
    """Whatever the accounting software adds after a separator, the order stays the same."""
    assume(not re.match(r"_items-", separator + rest, re.IGNORECASE))
    digits = ("0" * zeros + str(order))[-18:]
    assume(int(digits) == order)
    assert parse_name(f"{digits}{suffix}", "channable") == OrderName(str(order))
    assert parse_name(f"{digits}{separator}{rest}{suffix}", "channable") == OrderName(str(order))


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
    assert reason in {None, Reason.NAME_WITHOUT_ORDER}
    if reason is None:
        assert parsed.order
        assert name.lstrip("0").startswith(parsed.order) or name.startswith(parsed.order)
        assert name[-4:].casefold() == ".pdf"


@given(st.text("0123456789", min_size=1, max_size=18), st.sampled_from("-.()[]#ab\t\xa0"), ANYTHING)
def test_only_underscore_and_space_end_an_order(digits: str, other: str, rest: str) -> None:
    """Anything else after the digits means that the digits may not be the whole order number."""
    with pytest.raises(Rejected):
        parse_name(f"{digits}{other}{rest}x.pdf", "channable")


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
