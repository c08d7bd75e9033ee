"""What held up all invoices of an inbox, as each one's steps tell it."""

from invoicedrop.ledger.step import Step, StepKind
from invoicedrop.pipeline.held_up import HeldUp
from manual_clock import ManualClock


def test_only_what_held_up_this_invoice_is_told() -> None:
    """From when it was there, until the end or now, in the last words; not what was over before, or was short."""
    clock = ManualClock()
    held_up = HeldUp(least=10.0, clock=clock)
    held_up.note("api", None)
    held_up.note("api", "HTTP 503")
    clock.now += 50
    held_up.note("api", "no answer")
    clock.now += 50
    held_up.note("api", None)
    held_up.note("api", None)
    assert held_up.steps_since(1000.0) == [Step(StepKind.WAITED, 1000.0, "no answer", last_at=1100.0)]
    assert held_up.steps_since(1060.0) == [Step(StepKind.WAITED, 1060.0, "no answer", last_at=1100.0)]
    assert held_up.steps_since(1095.0) == held_up.steps_since(1200.0) == []
    clock.now = 1300.0
    held_up.note("stop", "paused")
    clock.now += 30
    assert held_up.steps_since(900.0)[1:] == [Step(StepKind.WAITED, 1300.0, "paused", last_at=1330.0)]
