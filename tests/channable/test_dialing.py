"""Hosts with several addresses: real sockets on loopback, some of which never answer."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from api_caller import caller_of
from invoicedrop.channable.dialing import Dialer
from invoicedrop.channable.transport import DeadlineTransport, NotSent
from invoicedrop.errors import Paused
from scripted_api import Reply, scripted

DEAD, ALIVE, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest.fixture
def black_hole() -> Iterator[Callable[..., int]]:
    """Have a port at an address where connections are neither made nor refused: its queue is full."""
    with ExitStack() as sockets:

        def start(address: str, port: int = 0) -> int:
            listener = sockets.enter_context(socket.socket())
            listener.bind((address, port))
            listener.listen(0)
            for _ in range(3):
                filler = sockets.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            return int(listener.getsockname()[1])

        yield start


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let `api.test` resolve to these addresses, in this order."""
    resolve = socket.getaddrinfo

    def name(*addresses: str) -> None:
        def getaddrinfo(host: str, *rest: Any, **options: Any) -> list[Any]:
            hosts = addresses if host == "api.test" else (host,)
            return [entry for address in hosts for entry in resolve(address, *rest, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return name


@contextmanager
def listening(address: str, port: int = 0) -> Iterator[int]:
    """Have a port that takes connections and says nothing."""
    with socket.create_server((address, port)) as listener:
        yield listener.getsockname()[1]


def dial(dialer: Dialer, port: int, *addresses: str, seconds: float = 10) -> tuple[str, float]:
    """Return which address was connected to, and after how many seconds."""
    began = time.monotonic()
    connection, address = dialer.connect("api.test", port, addresses, seconds)
    with connection:
        assert connection.getpeername()[0] == address
    return address, time.monotonic() - began


def test_a_dead_first_address_costs_a_moment_and_only_once(
    black_hole: Callable[..., int], named: Callable[..., None]
) -> None:
    """By the real client: the second address answers the first request soon, and the next connection goes to it."""
    with scripted(lambda _request: Reply(b"ok", headers=(("connection", "close"),)), ALIVE) as server:
        black_hole(DEAD, server.port)
        named(DEAD, ALIVE)
        url = f"http://api.test:{server.port}/"
        transport = DeadlineTransport.to(url, total=30, connections=2)
        with httpx.Client(transport=transport, trust_env=False) as client:
            took = []
            for _ in range(3):
                began = time.monotonic()
                assert client.get(url).text == "ok"
                took.append(time.monotonic() - began)
    assert took[0] < 5
    assert max(took[1:]) < 0.25


def test_a_refusing_address_costs_nothing(named: Callable[..., None]) -> None:
    """Where the first address refuses, the next one is tried at once."""
    with listening(ALIVE) as port:
        named(DEAD, ALIVE)
        assert dial(Dialer(next_after=30), port, DEAD, ALIVE)[0] == ALIVE


def test_a_slow_first_address_still_wins_where_no_other_answers(black_hole: Callable[..., int]) -> None:
    """An attempt goes on while the next ones are made, and is taken when it answers, however late."""
    with ExitStack() as stack:
        slow = stack.enter_context(socket.socket())
        slow.bind((ALIVE, 0))
        slow.listen(0)
        port = slow.getsockname()[1]
        fillers = [stack.enter_context(socket.socket()) for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((ALIVE, port))
        black_hole(DEAD, port)

        def make_room() -> None:
            for _ in range(2):
                slow.accept()[0].close()

        timer = threading.Timer(0.8, make_room)
        timer.start()
        address, seconds = dial(Dialer(), port, ALIVE, DEAD)
        timer.join()
    assert address == ALIVE
    assert 0.5 < seconds < 8


def test_all_dead_ends_with_the_time_for_all(black_hole: Callable[..., int], named: Callable[..., None]) -> None:
    """Where no address answers, the time is for all together; nothing was sent, and nothing is left open."""
    port = black_hole(DEAD)
    black_hole(OTHER, port)
    named(DEAD, OTHER)
    url = f"http://api.test:{port}/"
    began = time.monotonic()
    with (
        httpx.Client(transport=DeadlineTransport.to(url, total=1, connections=1), trust_env=False) as client,
        pytest.raises(NotSent, match="no connection in time"),
    ):
        client.post(url, content=b"x")
    assert 0.9 < time.monotonic() - began < 5


def test_all_refusing_is_told_as_that() -> None:
    """Where each address refuses, the error is the system's own."""
    with listening(ALIVE) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        Dialer().connect("api.test", port, [DEAD, ALIVE], 5)


def test_the_address_that_worked_is_forgotten_when_it_fails(black_hole: Callable[..., int]) -> None:
    """The one that worked is first; once it fails another one is, and a dead one is never waited for twice."""
    dialer = Dialer()
    with listening(ALIVE) as port, listening(OTHER, port):
        black_hole(DEAD, port)
        assert dial(dialer, port, DEAD, ALIVE)[0] == ALIVE
        assert dial(dialer, port, DEAD, ALIVE)[1] < 0.25
    with listening(OTHER, port):
        assert dial(dialer, port, DEAD, ALIVE, OTHER)[0] == OTHER
        assert dial(dialer, port, DEAD, ALIVE, OTHER)[1] < 0.25


def test_an_address_whose_handshake_fails_is_tried_last() -> None:
    """A connection alone is not yet proof: an address that was reported as failed is not the first again."""
    dialer = Dialer()
    with listening(DEAD) as port, listening(ALIVE, port):
        assert dial(dialer, port, DEAD, ALIVE)[0] == DEAD
        dialer.failed("api.test", port, DEAD)
        assert dial(dialer, port, DEAD, ALIVE)[0] == ALIVE
        dialer.failed("api.test", port, ALIVE)
        assert dial(dialer, port, DEAD, ALIVE)[0] in {DEAD, ALIVE}


def test_a_half_dead_address_costs_one_request(named: Callable[..., None]) -> None:
    """Where the first address takes connections but speaks no TLS, the next request goes to the other one."""
    with listening(DEAD) as port, listening(ALIVE, port):
        named(DEAD, ALIVE)
        with caller_of(f"https://api.test:{port}", timeout=0.5) as caller:
            dialed: list[str] = []
            connect = caller.client._transport._dialer.connect

            def record(*arguments: Any) -> tuple[socket.socket, str]:
                connection, address = connect(*arguments)
                dialed.append(address)
                return connection, address

            caller.client._transport._dialer.connect = record  # type: ignore[method-assign]
            for _ in range(2):
                caller.breaker.reset()
                with pytest.raises(Paused, match="does not speak TLS"):
                    caller.project.order(1)
    assert dialed == [DEAD, ALIVE]


def test_the_families_take_turns() -> None:
    """Where all IPv6 addresses are dead, an IPv4 one is the second that is tried, not the last."""
    order = Dialer()._in_order("api.test", 1, ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"])
    assert order == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]
