"""A resolver that hangs: no request waits for it beyond its deadline, and none for ever."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api_caller import caller_of
from invoicedrop.channable.resolving import _MOST, Resolver
from invoicedrop.channable.transport import DeadlineTransport, NotSent
from invoicedrop.errors import Paused
from manual_clock import ManualClock
from scripted_api import as_json, scripted
from waiting import wait_until


class HangingResolver:
    """The system's resolver, which hangs for every name while `hangs`; `asked` is for how many it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.hangs = True
        self.answers = threading.Event()
        self._really = socket.getaddrinfo

    def __call__(self, host: str, *rest: Any, **options: Any) -> Any:
        """Resolve a name, or hang."""
        if not host[0].isdigit():
            self.asked += 1
            if self.hangs:
                self.answers.wait(30)
            host = "127.0.0.1"
        return self._really(host, *rest, **options)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingResolver]:
    """Let the system's resolver hang until the test is over."""
    hanging = HangingResolver()
    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    yield hanging
    hanging.answers.set()


def test_a_name_that_is_not_resolved_in_time_sent_nothing(system: HangingResolver) -> None:
    """The request ends by its deadline, and certainly did not arrive; the thread that hangs is left behind."""
    transport = DeadlineTransport.to("http://api.test", total=0.2, connections=1)
    with (
        httpx.Client(transport=transport, trust_env=False) as client,
        pytest.raises(NotSent, match="its name cannot be resolved: no answer in time"),
    ):
        client.post("http://api.test", content=b"x")
    assert system.asked == 1


def test_the_project_pauses_and_goes_on_when_names_are_resolved_again(system: HangingResolver) -> None:
    """For the program a resolver that hangs is an outage, with words for it, and nothing is in doubt."""
    with (
        scripted(lambda _request: as_json({"order": {"id": 8}, "events": []})) as server,
        caller_of(f"http://api.test:{server.port}", timeout=0.2) as caller,
    ):
        with pytest.raises(Paused, match="its name cannot be resolved"):
            caller.project.order(8)
        system.hangs = False
        system.answers.set()
        caller.breaker.probe_now()
        assert caller.project.order(8).order.id == 8


def test_questions_for_one_name_wait_for_one_answer(system: HangingResolver) -> None:
    """However many requests want the same name, the resolver is asked once until it answers."""
    resolver = Resolver()
    answers: list[list[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(resolver.addresses("api.test", 1, 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            resolver.addresses("api.test", 1, 0.01)
    system.answers.set()
    for thread in threads:
        thread.join()
    assert answers == [["127.0.0.1"]] * 8
    assert system.asked == 1


def test_what_hangs_for_ever_is_asked_anew(system: HangingResolver) -> None:
    """A thread that never comes back does not keep its name from being resolved when the resolver is well again."""
    clock = ManualClock()
    resolver = Resolver(clock=clock)
    with pytest.raises(TimeoutError):
        resolver.addresses("api.test", 1, 0.0)
    system.hangs = False
    clock.now += 31
    assert resolver.addresses("api.test", 1, 20) == ["127.0.0.1"]
    assert system.asked == 2


def test_only_so_many_threads_hang(system: HangingResolver) -> None:
    """Ever more hosts that nobody resolves tie up a bounded number of threads; what needs no resolver goes on."""
    resolver = Resolver()
    before = threading.active_count()
    for number in range(_MOST):
        with pytest.raises(TimeoutError):
            resolver.addresses(f"{chr(97 + number)}.test", 1, 0.0)
    with pytest.raises(OSError, match="questions for names are not answered"):
        resolver.addresses("one-more.test", 1, 20)
    assert threading.active_count() <= before + _MOST
    assert resolver.addresses("127.0.0.1", 1, 20) == ["127.0.0.1"]
    system.hangs = False
    system.answers.set()
    wait_until(lambda: threading.active_count() <= before, what="the threads' end")
    assert resolver.addresses("one-more.test", 1, 20) == ["127.0.0.1"]


def test_nobody_waits_for_a_name_that_is_wanted_no_more(system: HangingResolver) -> None:
    """When the program stops, a request that only waits for a name ends at once, long before its deadline."""
    with caller_of("http://api.test", timeout=600) as caller:
        stopping = threading.Timer(0.1, caller.rate_limiter.close)
        stopping.start()
        with pytest.raises(Paused, match="we are stopping"):
            caller.project.order(8)
        stopping.join()
    assert system.asked == 1
