import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from invoicedrop.reporting.notify.notifier import Notifier
from invoicedrop.reporting.overview import DaemonState
from invoicedrop.reporting.troubles import Trouble, TroubleKind
from invoicedrop.reporting.watch import Picture
from invoicedrop.timing import DEFAULT_TIMING
from waiting import wait_until
from web_sink import WebSink, web_sink

TOKEN = Trouble(TroubleKind.TOKEN, "shop", None, "is paused: the API token is wrong")


def _picture(*troubles: Trouble) -> Picture:
    return Picture(time.time(), DaemonState(running=True, report=None, is_fresh=False), None, troubles)


def _notifier(sink: WebSink, folder: Path, **timing: float) -> Notifier:
    return Notifier([f"json://{sink.place}/a"], folder, 3600.0, replace(DEFAULT_TIMING, **timing))


def _look(notifier: Notifier, troubles: Sequence[Trouble], sink: WebSink, count: int) -> None:
    def came() -> bool:
        notifier.look(_picture(*troubles))
        return len(sink.requests) == count

    wait_until(came, what=f"{count} messages")


def test_who_dies_while_sending_does_not_send_at_each_start(tmp_path: Path) -> None:
    """A life that ends before it knows what became of its message leaves the next try for later, not for the next."""
    with web_sink() as sink:
        dead = _notifier(sink, tmp_path)
        _look(dead, [TOKEN], sink, 1)
        for _ in range(2):
            life = _notifier(sink, tmp_path)
            wait_until(partial(_is_free, life), what="an address that is understood")
            for _ in range(3):
                life.look(_picture(TOKEN))
                assert _is_free(life)
        assert len(sink.requests) == 1
        later = _notifier(sink, tmp_path, longest_message_retry=-1.0)
        _look(later, [TOKEN], sink, 2)
        for each in (dead, later):
            each.stop(_picture())


def _is_free(notifier: Notifier) -> bool:
    notifier.look(_picture())
    return all(recipient.under_way is None for recipient in notifier._recipients.values())


@pytest.mark.parametrize("content", [b"{", b'{"told": 5, "since": [], "salt": 1}', b"\xff"])
def test_a_memory_that_makes_no_sense_is_a_new_one(tmp_path: Path, content: bytes) -> None:
    """Whatever lies in its place, a notifier begins anew and tells what there is."""
    (tmp_path / "notify.json").write_bytes(content)
    with web_sink() as sink:
        notifier = _notifier(sink, tmp_path)
        _look(notifier, [TOKEN], sink, 1)
        notifier.stop(_picture())
