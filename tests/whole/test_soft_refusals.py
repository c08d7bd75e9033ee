"""Refusals that a person may overrule: moving the PDF back into the drop folder sends it all the same."""

import hashlib
from pathlib import Path

from merchant import Daemon, Merchant, running
from quick_service import QUICK, program
from waiting import wait_until

NAME = "20_345.pdf"
"""Order 20, or a counter before order 345."""


def _wait_for(path: Path, daemon: Daemon) -> Path:
    wait_until(path.exists, what=f"{path.name} in {path.parent.name}; {daemon.errors()}")
    return path


def test_a_name_in_doubt_is_sent_when_a_person_moves_it_back(merchant: Merchant) -> None:
    """A name that may mean another order waits for a person; moved back it goes to the order that was read, once."""
    body = merchant.drop_pdf(NAME)
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        failed = _wait_for(merchant.failed / NAME, daemon)
        daemon.wait_for("invoice.failed")
        (line,) = daemon.events("invoice.failed")
        assert line["reason"] == "name_ambiguous"
        assert line["sha256"] == hashlib.sha256(body).hexdigest()
        reason = (merchant.failed / f"{NAME}.reason.txt").read_text()
        assert "move the PDF back into the drop folder as it is" in " ".join(reason.split())
        assert "read as order 20" in reason
        assert merchant.sandbox.uploads() == []
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        failed.rename(merchant.drop / NAME)
        _wait_for(merchant.processed / NAME, daemon)
        found = daemon.events("invoice.found")
        assert [line.get("waived") for line in found] == [["name_ambiguous"]]
        assert daemon.stop() == 0
    (upload,) = merchant.sandbox.uploads()
    assert (upload.order_id, upload.sha256) == (20, hashlib.sha256(body).hexdigest())
    assert list(merchant.failed.iterdir()) == []


def test_another_name_is_another_decision(merchant: Merchant) -> None:
    """Moved back under the name of the right order, it goes there, and to no other."""
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        merchant.drop_pdf(NAME)
        _wait_for(merchant.failed / NAME, daemon).rename(merchant.drop / "34.pdf")
        _wait_for(merchant.processed / "34.pdf", daemon)
        assert daemon.stop() == 0
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [34]


def test_a_copy_that_comes_meanwhile_is_no_decision(merchant: Merchant) -> None:
    """The same PDF dropped again, while the first still lies in the failed folder, is refused again."""
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        body = merchant.drop_pdf(NAME)
        _wait_for(merchant.failed / NAME, daemon)
        daemon.wait_for("invoice.failed")
        merchant.drop_pdf(NAME, body)
        daemon.wait_for("invoice.failed", 2)
        assert merchant.sandbox.uploads() == []
        assert "still lies in the failed folder" in str(daemon.events("invoice.failed")[1]["detail"])
        first, second = sorted(merchant.failed.glob("*.pdf"), key=lambda path: len(path.name))
        first.unlink()
        second.rename(merchant.drop / NAME)
        _wait_for(merchant.processed / NAME, daemon)
        assert daemon.stop() == 0
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [20]


def test_what_was_waived_outlives_other_trouble(merchant: Merchant) -> None:
    """A person is asked once: an order that is not found in between does not bring the question back."""
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        name = "2026_345.pdf"
        body = merchant.drop_pdf(name)
        for failures in (1, 2):
            _wait_for(merchant.failed / name, daemon)
            daemon.wait_for("invoice.failed", failures)
            if failures == 1:
                (merchant.failed / name).rename(merchant.drop / name)
        assert [line["reason"] for line in daemon.events("invoice.failed")] == ["name_ambiguous", "order_not_found"]
        (merchant.failed / name).rename(merchant.drop / name)
        daemon.wait_for("invoice.failed", 3)
        assert daemon.events("invoice.failed")[2]["reason"] == "order_not_found"
        assert (merchant.failed / name).read_bytes() == body


def test_what_was_sent_already_is_not_asked_about(merchant: Merchant) -> None:
    """An invoice that its order has is filed as a duplicate, also under a name that may mean another order."""
    body = merchant.drop_pdf("21.pdf")
    with running(merchant, program=program(QUICK, checked=False)) as daemon:
        daemon.wait_for("invoice.processed")
        merchant.drop_pdf("21_345.pdf", body)
        daemon.wait_for("invoice.duplicate")
    assert len(merchant.sandbox.uploads()) == 1
