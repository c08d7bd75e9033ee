"""Events that come after an upload, as the marketplace's word does: later, and with the single order only."""

from typing import Any

import pytest

from invoicedrop.sandbox import EventRule
from sandbox_caller import Started


@pytest.mark.parametrize("status", ["info", "warning", "error"])
def test_an_upload_is_followed_by_an_event_later(started: Started, status: str) -> None:
    """The event is not there at first and comes by itself; an order that has one of level error is counted in lists."""
    caller = started()
    caller.sandbox.store.event_plan.add(status, "said the marketplace", order_id=7, after=3600)
    caller.upload()
    assert caller.events() == [("info", f"Attachment 1 was sent to {caller.order().json()['order']['channel_name']}")]
    caller.sandbox.store.event_plan.replace(())
    caller.sandbox.store.event_plan.add(status, "said the marketplace", order_id=7, after=0.05)
    caller.upload()
    caller.sandbox.wait_until(lambda: (status, "said the marketplace") in caller.events())
    answer = caller.orders().json()
    assert answer["error_count"] == (status == "error")
    assert all("events" not in order for order in answer["orders"])
    assert caller.order().json()["order"]["error"] is (status == "error")


def test_rules_are_matched_by_order_project_and_count(started: Started) -> None:
    """A rule is for its order, project and number of uploads, and not for what others attach."""
    caller = started(projects=(1, 2))
    plan = caller.sandbox.store.event_plan
    plan.add("warning", "order 8", order_id=8)
    plan.add("error", "project 2", project_id=2)
    plan.add("warning", "once", count=1)
    caller.sandbox.store.attach(9, b"%PDF")
    caller.upload(7)
    caller.upload(8)
    caller.upload(7, project=2)
    assert [message for _, message in caller.events(7)][1:] == ["once"]
    assert [message for _, message in caller.events(8)][1:] == ["order 8"]
    assert len(caller.events(9)) == 1
    other = caller.ask("GET", caller.path(2, "/7", project=2)).json()["events"]
    assert [event["message"] for event in other][1:] == ["project 2"]
    assert [rule.message for rule in plan.current()] == ["order 8", "project 2"]


def test_an_event_can_come_later_without_an_upload(started: Started) -> None:
    """An event that is added with a delay comes after those that come first."""
    caller = started()
    caller.sandbox.store.add_event(7, "error", "second", after=0.05)
    caller.sandbox.store.add_event(7, "warning", "first")
    assert caller.events() == [("warning", "first")]
    caller.sandbox.wait_until(lambda: len(caller.events()) == 2)
    assert caller.events() == [("warning", "first"), ("error", "second")]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"status": "debug"},
        {"status": "info", "after": -1},
        {"status": "info", "count": 0},
        {"status": "info", "x": 1},
    ],
)
def test_an_impossible_rule_is_refused(values: dict[str, Any]) -> None:
    """A rule with an unknown name or an impossible value is a ValueError."""
    with pytest.raises(ValueError, match=r"\w"):
        EventRule.from_json(values)
