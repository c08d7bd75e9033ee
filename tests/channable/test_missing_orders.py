"""Unknown orders in a row: whose fault they are."""

import pytest

from invoicedrop.channable.missing_orders import MissingOrders
from invoicedrop.channable.models import Order
from invoicedrop.timing import DEFAULT_TIMING
from manual_clock import ManualClock


class Observed:
    """Missing orders on a clock of its own, of which three are in a row."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.missing = MissingOrders(clock=self.clock)
        assert [self.missing.is_question(order) for order in (1, 2, "A-3")] == [False, False, True]


@pytest.fixture
def observed() -> Observed:
    """A question."""
    return Observed()


def test_the_same_order_is_one() -> None:
    """However often one order is asked for in vain, it is one order."""
    missing = MissingOrders()
    assert not any(missing.is_question(order) for order in (1, 2, 1, 2, 2))


def test_a_known_order_ends_the_question(observed: Observed) -> None:
    """After an order that is known, it takes several unknown ones again."""
    observed.missing.known()
    assert not observed.missing.is_question(4)
    assert not observed.missing.may_be_answered


def test_a_list_answers_after_a_while_only(observed: Observed) -> None:
    """The question stands for some time before the list of orders is asked."""
    assert not observed.missing.may_be_answered
    observed.clock.now += DEFAULT_TIMING.project_question
    assert observed.missing.may_be_answered


@pytest.mark.parametrize(
    ("orders", "is_answer"),
    [
        ([], False),
        ([{"id": 9}], True),
        ([{"id": 9}, {"id": 1}], False),
        ([{"id": 9, "channel_id": "A-3"}], False),
    ],
)
def test_a_list_with_other_orders_answers(
    observed: Observed, orders: list[dict[str, object]], *, is_answer: bool
) -> None:
    """A list proves that the project is right if it has orders, and none of those that are said to be unknown."""
    assert observed.missing.answered_by([Order.model_validate(order) for order in orders]) is is_answer
    assert observed.missing.is_question(4) is not is_answer
    observed.missing.known()
    assert [observed.missing.is_question(order) for order in (5, 6, 7)] == [False, False, True]
