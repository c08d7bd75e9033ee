"""Messages to people, by a real service to a real mail server and a real webhook."""

import dataclasses
import json
from contextlib import ExitStack, suppress

import pytest

from invoicedrop.timing import Timing
from mail_server import mail_server, silent_server
from merchant import Merchant, running
from mounts import tmpfs
from quick_service import program
from waiting import wait_until
from web_sink import WebSink, web_sink

QUICK = Timing(
    first_probe=0.05,
    longest_probe=0.2,
    report_look=0.05,
    overview_look=0.1,
    outage_told=0.5,
    trouble_told=0.2,
    well_after=0.3,
    message_retry=0.2,
    longest_message_retry=0.4,
)
PROGRAM = program(QUICK, checked=False)


def _mail(port: int, *, password: str = "geheim-wort") -> str:
    return f"mailto://anna:{password}@127.0.0.1:{port}?from=a@shop.example&to=b@shop.example&mode=insecure"


def _webhook(sink: WebSink) -> str:
    return f"json://{sink.place}/hook-geheim"


def _titles(sink: WebSink) -> list[str]:
    return [json.loads(body)["title"].partition(": ")[2] for body in sink.bodies()]


def _got_out(merchant: Merchant, sink: WebSink) -> bool:
    """Whether something came, and that it did is written down."""
    known = json.loads((merchant.state / "notify.json").read_bytes()) if sink.requests else {"told": {}}
    return any(not told["attempts"] and (told["troubles"] or told["failed_at"]) for told in known["told"].values())


def test_an_expired_token_is_told_once_by_mail_and_that_it_is_over(merchant: Merchant) -> None:
    """A refused token reaches the administrator's mailbox once, without the token; the next mail says all is well."""
    token = merchant.home / "token"
    token.write_text("expired-token")
    del merchant.environment["INVOICEDROP_API_TOKEN"]
    merchant.drop_pdf("1.pdf")
    with mail_server() as mails:
        changes = {"api_token_file": str(token), "notify": _mail(mails.port)}
        with running(merchant, program=PROGRAM, **changes) as daemon:
            wait_until(lambda: len(mails.received) == 1, what="a mail")
            token.write_text(merchant.sandbox.token)
            wait_until(lambda: len(mails.received) == 2, what="a mail that it is over")
            assert daemon.stop() == 0
    assert [subject.partition(": ")[2] for subject in mails.subjects()] == [
        "the API token is refused",
        "all is well again",
    ]
    assert "is paused: the API token is wrong, revoked or expired" in mails.texts()[0]
    assert "expired-token" not in "".join(mails.texts())
    assert "geheim" not in daemon.errors()


@pytest.mark.parametrize(
    ("many", "shown"), [(150, "150 invoices"), pytest.param(1000, "1000 or more invoices", marks=pytest.mark.soak)]
)
def test_many_failures_are_one_message_and_one_digest(merchant: Merchant, many: int, shown: str) -> None:
    """The first failures are told at once, all that come later together, with their number and no file's name."""
    merchant.drop_pdf("Jan Jansen.pdf")
    with web_sink() as sink:
        with running(merchant, program=PROGRAM, notify=_webhook(sink)) as daemon:
            wait_until(lambda: _got_out(merchant, sink), what="a message")
            for number in range(many):
                merchant.drop_pdf(f"Jan Jansen {number}.pdf", b"no PDF")
            daemon.wait_for("invoice.failed", many + 1, seconds=90.0)
            assert daemon.stop() == 0
        assert len(sink.requests) == 1
        # As it is an hour later.
        with running(merchant, program=PROGRAM, notify=_webhook(sink), notify_after="0"):
            wait_until(lambda: len(sink.requests) == 2, what="a digest")
    first, digest = (json.loads(body)["message"] for body in sink.bodies())
    assert first.startswith("1 invoice failed: 1 name_without_order.")
    assert digest.startswith(f"{shown} failed: {many} name_without_order.")
    assert "Jan" not in first + digest


def test_a_short_outage_is_not_worth_a_message_a_long_one_is(merchant: Merchant) -> None:
    """An outage is told when it has lasted, once, and its end as well."""
    merchant.sandbox.faults.add("status", status=503, count=10_000)
    merchant.drop_pdf("1.pdf")
    with web_sink() as sink, running(merchant, program=PROGRAM, notify=_webhook(sink)) as daemon:
        daemon.wait_for("api.paused")
        wait_until(lambda: len(sink.requests) == 1, what="a message")
        merchant.sandbox.faults.clear()
        wait_until(lambda: len(sink.requests) == 2, what="its end")
    assert _titles(sink) == ["Channable cannot be used", "all is well again"]


def test_a_restart_tells_nothing_twice(merchant: Merchant) -> None:
    """What was told before a crash is not told again after it, nor by a service that crashes again and again."""
    merchant.drop_pdf("1.pdf")
    lasting = program(dataclasses.replace(QUICK, well_after=60.0), checked=False)
    with web_sink() as sink:
        for life in range(3):
            with running(merchant, program=lasting, notify=_webhook(sink), api_token="expired") as daemon:
                daemon.wait_for("api.paused")
                wait_until(lambda: _got_out(merchant, sink), what="a message")
                if life:
                    merchant.drop_pdf(f"{life + 10}.pdf")
                    daemon.wait_for("invoice.found", 2)
                daemon.kill()
        assert _titles(sink) == ["the API token is refused"]


def test_a_full_state_disk_is_told_once(merchant: Merchant) -> None:
    """Where nothing can be written any more, that is told once, and that it was told is remembered all the same."""
    merchant.state.mkdir()
    with ExitStack() as held:
        held.enter_context(tmpfs(merchant.state, "size=16m"))
        sink = held.enter_context(web_sink())
        with running(merchant, program=PROGRAM, notify=_webhook(sink)) as daemon:
            memory = merchant.state / "notify.json"
            wait_until(memory.exists, what="a memory")
            with suppress(OSError), (merchant.state / "filling").open("wb", buffering=0) as filling:
                while True:
                    filling.write(bytes(4096))
            for number in range(1, 40):
                merchant.drop_pdf(f"{number}.pdf")
            wait_until(lambda: _got_out(merchant, sink), what="a message that is remembered")
            (merchant.state / "filling").unlink()
            daemon.wait_for("invoice.processed", 39)
            wait_until(lambda: len(sink.requests) == 2, what="its end")
            assert daemon.stop() == 0
    assert _titles(sink) == ["a disk is full", "all is well again"]


@pytest.mark.parametrize(
    "way", ["silent", "nonsense", *(pytest.param(way, marks=pytest.mark.soak) for way in ("refused", "gone"))]
)
def test_a_notifier_that_does_not_work_is_told(merchant: Merchant, way: str) -> None:
    """What keeps a message from getting out stands in the log, in status and in health, and shows no address."""
    merchant.drop_pdf("1.pdf")
    with mail_server() as mails, silent_server() as silent, web_sink() as sink:
        mails.refusal = "554 no"
        address = {
            "refused": _mail(mails.port),
            "silent": _mail(silent),
            "nonsense": "nonsense://geheim-wort",
            "gone": "json://127.0.0.1:1/geheim-wort",
        }[way]
        notify = f"{address} {_webhook(sink)}"
        seconds = 3.0 if way == "silent" else 30.0
        quick = program(dataclasses.replace(QUICK, message_timeout=seconds), checked=False)
        with running(merchant, program=quick, notify=notify, api_token="expired") as daemon:
            daemon.wait_for("notify.failed")
            wait_until(lambda: sink.requests, what="the other address's message")
            wait_until(lambda: "notify: address 1" in merchant.run("health").stdout, what="a beat that tells of it")
            shown = merchant.run("status").stdout
    (failed, *_) = daemon.events("notify.failed")
    assert failed["address"] == f"address 1 ({address.partition(':')[0]})"
    assert "notify: address 1" in shown
    assert "geheim" not in daemon.errors() + shown
