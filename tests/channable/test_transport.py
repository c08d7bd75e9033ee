"""The total deadline, and what is known about a request that failed, against real sockets that misbehave."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Self

import httpx
import pytest

from invoicedrop.channable.transport import UPLOAD, DeadlineTransport, MaybeSent, NotSent, PoolExhausted
from invoicedrop.channable.upload_progress import UploadProgress
from invoicedrop.errors import LedgerUnavailable
from invoicedrop.system.network import DIRECT, Network
from networks import network_of
from tcp_peer import Peer, read_request
from waiting import wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reset(connection: socket.socket) -> None:
    """Break the connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answering(connection: socket.socket) -> None:
    """Answer every request."""
    while read_request(connection):
        connection.sendall(OK)


def client_of(url: str, *, total: float = 5.0, connections: int = 2, network: Network = DIRECT) -> httpx.Client:
    """Return a client with the transport under test."""
    transport = DeadlineTransport.to(url, total=total, connections=connections, network=network)
    return httpx.Client(transport=transport, trust_env=False)


class Timed:
    """How long a block took."""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        self.seconds = time.monotonic() - self._began


def dripping(head: bytes, drops: bytes) -> Callable[[socket.socket], None]:
    """Answer with `head`, then one byte of `drops` again and again, each well before a single read would time out."""

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(drops)
            time.sleep(0.02)

    return drip


@pytest.mark.parametrize(
    ("head", "drops"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status", "headers", "body", "chunks", "continue"],
)
def test_a_dripping_server_meets_the_total_deadline(head: bytes, drops: bytes) -> None:
    """A server that sends a byte now and then, in time for each read, is left after the total time all the same."""
    with (
        Peer(dripping(head, drops)) as peer,
        client_of(peer.url, total=0.2) as client,
        Timed() as took,
        pytest.raises(MaybeSent),
    ):
        client.post(peer.url, content=b"x")
    assert 0.15 < took.seconds < 1.5


def test_a_silent_server_meets_the_total_deadline() -> None:
    """A server that takes the request and never answers is left after the total time."""

    def silent(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    with (
        Peer(silent) as peer,
        client_of(peer.url, total=0.2) as client,
        Timed() as took,
        pytest.raises(MaybeSent, match="no answer in time"),
    ):
        client.post(peer.url, content=b"x")
    assert 0.15 < took.seconds < 1.5


def big_body() -> Iterator[bytes]:
    """Return a body that no socket buffer takes."""
    for _ in range(400):
        yield b"x" * 262_144


def test_a_server_that_does_not_read_meets_the_total_deadline() -> None:
    """A server that does not take the request is left after the total time."""
    ended = threading.Event()

    def deaf(_connection: socket.socket) -> None:
        ended.wait(20)

    with Peer(deaf) as peer, client_of(peer.url, total=0.2) as client:
        with Timed() as took, pytest.raises(MaybeSent, match="could not be sent in time"):
            client.post(peer.url, content=big_body())
        ended.set()
    assert 0.15 < took.seconds < 1.5


def test_a_server_that_reads_slowly_meets_the_total_deadline() -> None:
    """A server that takes a little now and then, in time for each write, is left after the total time."""

    def slow(connection: socket.socket) -> None:
        while connection.recv(8192):
            time.sleep(0.05)

    with (
        Peer(slow, receive_buffer=8192) as peer,
        client_of(peer.url, total=0.3) as client,
        Timed() as took,
        pytest.raises(MaybeSent),
    ):
        client.post(peer.url, content=big_body())
    assert 0.25 < took.seconds < 2


def full_listener(stack: ExitStack, address: tuple[str, int] = ("127.0.0.1", 0)) -> int:
    """Return a port on loopback where connections are neither taken nor refused."""
    listener = stack.enter_context(socket.socket())
    listener.bind(address)
    listener.listen(0)
    for _ in range(3):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        with suppress(BlockingIOError):
            filler.connect(listener.getsockname())
    return int(listener.getsockname()[1])


def test_a_host_that_takes_no_connection_meets_the_total_deadline() -> None:
    """Where connecting itself hangs, the request ends after the total time, and certainly did not arrive."""
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{full_listener(stack)}"
        client = stack.enter_context(client_of(url, total=0.2))
        with Timed() as took, pytest.raises(NotSent, match="no connection in time"):
            client.post(url, content=b"x")
    assert 0.15 < took.seconds < 1.5


def resolve(monkeypatch: pytest.MonkeyPatch, name: str, addresses: Sequence[str]) -> None:
    """Let a name have these addresses on loopback."""
    really = socket.getaddrinfo

    def look_up(host: str, port: int, *arguments: Any, **named: Any) -> Any:
        if host != name:
            return really(host, port, *arguments, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_host_with_many_addresses_meets_the_total_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses, none of which answers, gets the total time once, not for each address."""
    with ExitStack() as stack:
        port = full_listener(stack)
        resolve(monkeypatch, "api.example", ["127.0.0.1"] * 6)
        client = stack.enter_context(client_of(f"http://api.example:{port}", total=0.3))
        with Timed() as took, pytest.raises(NotSent):
            client.post(f"http://api.example:{port}", content=b"x")
    assert 0.25 < took.seconds < 1.2


def test_a_second_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name whose first address refuses is reached at its second (a broken IPv6, say)."""
    with Peer(answering) as peer:
        url = f"http://api.example:{peer.port}"
        # The server listens on 127.0.0.1 only.
        resolve(monkeypatch, "api.example", ["127.0.0.2", "127.0.0.1"])
        with client_of(url) as client:
            assert client.get(url).text == "ok"


def test_a_first_address_that_swallows_everything_leaves_time_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name whose first address never answers (IPv6 behind a firewall, say) is reached at its second all the same."""
    with Peer(answering) as peer, ExitStack() as stack:
        full_listener(stack, ("127.0.0.2", peer.port))
        url = f"http://api.example:{peer.port}"
        resolve(monkeypatch, "api.example", ["127.0.0.2", "127.0.0.1"])
        client = stack.enter_context(client_of(url, total=0.8))
        assert client.get(url).text == "ok"


# Sent or not


def test_a_refused_connection_sent_nothing() -> None:
    """Where nobody listens, the request certainly did not arrive."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with client_of(url) as client, pytest.raises(NotSent):
            client.post(url, content=b"x")


def test_an_unknown_host_sent_nothing() -> None:
    """Where the name is unknown, the request certainly did not arrive."""
    with client_of("http://nowhere.invalid") as client, pytest.raises(NotSent):
        client.post("http://nowhere.invalid", content=b"x")


def test_a_failed_handshake_sent_nothing() -> None:
    """Where TLS does not come about, the request certainly did not arrive."""

    def no_tls(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Peer(no_tls) as peer, client_of(f"https://127.0.0.1:{peer.port}") as client, pytest.raises(NotSent):
        client.post(f"https://127.0.0.1:{peer.port}", content=b"x")


def after(reading: bool, do: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """Return what does something with a connection, at once or after the whole request was read."""

    def behave(connection: socket.socket) -> None:
        if reading:
            read_request(connection)
        else:
            connection.recv(1)
        do(connection)

    return behave


def send(response: bytes) -> Callable[[socket.socket], None]:
    """Return what sends this and ends the connection in good order."""
    return lambda connection: connection.sendall(response)


@pytest.mark.parametrize("reading", [False, True], ids=["while_sending", "after_sending"])
@pytest.mark.parametrize(
    "do",
    [
        reset,
        send(b""),
        send(b"HTTP/1.1 2"),
        send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{"),
        send(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
        send(b"\x00\x01\x02\r\n\r\n"),
    ],
    ids=["reset", "closed", "cut_status", "cut_body", "cut_chunk", "garbage"],
)
def test_a_response_that_is_lost_leaves_a_doubt(do: Callable[[socket.socket], None], *, reading: bool) -> None:
    """Once the first byte may have left, every failure means: it may have arrived."""
    body = b"x" * (1000 if reading else 20_000_000)
    with Peer(after(reading, do)) as peer, client_of(peer.url) as client, pytest.raises(MaybeSent):
        client.post(peer.url, content=body)


def test_a_failure_is_remembered_for_its_own_request_only() -> None:
    """A thread whose last request was sent begins the next one with nothing sent."""
    with Peer(answering) as peer, client_of(peer.url) as client, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert client.post(peer.url, content=b"x").text == "ok"
        with pytest.raises(NotSent):
            client.post(f"http://127.0.0.1:{unused.getsockname()[1]}", content=b"x")


def wait_for_end(peer: Peer, count: int) -> None:
    """Wait until the server has ended `count` connections."""
    wait_until(lambda: peer.ended == count, what="the server's end")


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    """A kept connection that has ended is noticed before anything is sent on it: no doubt, a new connection."""

    def once(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)

    with Peer(once) as peer, client_of(peer.url) as client:
        for count in range(1, 4):
            assert client.post(peer.url, content=b"x").text == "ok"
            wait_for_end(peer, count)
        assert peer.connections == 3


def test_connections_are_kept_and_reused() -> None:
    """Requests one after the other use one connection."""
    with Peer(answering) as peer, client_of(peer.url) as client:
        for _ in range(5):
            client.post(peer.url, content=b"x")
        assert peer.connections == 1


# Several threads


def in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Call `work` in `count` threads at once, each with its number; return what it raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - returned to the caller
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_each_thread_has_its_own_deadline() -> None:
    """Requests that begin at different times in different threads each get their whole time, and no more."""

    def last_byte_late(connection: socket.socket) -> None:
        while read_request(connection):
            time.sleep(0.2)
            connection.sendall(OK)

    with Peer(last_byte_late) as peer, client_of(peer.url, total=0.55, connections=8) as client:

        def work(number: int) -> None:
            time.sleep(number * 0.03)
            for _ in range(3):
                assert client.post(peer.url, content=b"x").text == "ok"

        assert in_threads(8, work) == []


def test_many_threads_get_their_own_responses() -> None:
    """Each of many requests in eight threads gets the response to its own body, none a closed connection."""

    def echo(connection: socket.socket) -> None:
        while request := read_request(connection):
            body = request.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with Peer(echo) as peer, client_of(peer.url, connections=8) as client:

        def work(number: int) -> None:
            for count in range(20):
                text = f"{number}:{count}"
                assert client.post(peer.url, content=text.encode()).text == text

        assert in_threads(8, work) == []
        assert peer.connections <= 8


def test_abort_breaks_off_what_is_under_way() -> None:
    """A thread that waits for a response gets an error at once when the service is hurried."""
    arrived = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        arrived.set()
        connection.recv(1)

    with Peer(silent) as peer:
        transport = DeadlineTransport.to(peer.url, total=30, connections=1)
        with httpx.Client(transport=transport, trust_env=False) as client, Timed() as took:
            failures: list[BaseException] = []

            def hang() -> None:
                try:
                    client.post(peer.url, content=b"x")
                except MaybeSent as error:
                    failures.append(error)

            thread = threading.Thread(target=hang)
            thread.start()
            assert arrived.wait(10)
            transport.abort()
            thread.join()
        assert len(failures) == 1
        assert took.seconds < 10


def test_abort_does_not_stumble_over_new_connections() -> None:
    """Requests that begin while others are broken off do not break the breaking off."""
    ended = threading.Event()
    with Peer(answering) as peer:
        transport = DeadlineTransport.to(peer.url, total=5, connections=8)

        def work(_number: int) -> None:
            while not ended.is_set():
                with suppress(MaybeSent, NotSent):
                    client.post(peer.url, content=b"x", headers={"connection": "close"})

        with httpx.Client(transport=transport, trust_env=False) as client:
            errors: list[BaseException] = []
            worker = threading.Thread(target=lambda: errors.extend(in_threads(4, work)))
            worker.start()
            deadline = time.monotonic() + 0.5
            try:
                while time.monotonic() < deadline:
                    transport.abort()
            finally:
                ended.set()
                worker.join()
    assert errors == []


def test_a_pool_without_a_free_connection_is_reported_and_can_be_rebuilt() -> None:
    """A request for which no connection becomes free was not sent; a rebuilt pool works again."""
    with Peer(answering) as peer:
        transport = DeadlineTransport.to(peer.url, total=0.2, connections=1)
        with httpx.Client(transport=transport, trust_env=False) as client:
            # A response that nobody reads or closes keeps its connection: a leaked slot.
            leaked = client.send(client.build_request("GET", peer.url), stream=True)
            with pytest.raises(PoolExhausted):
                client.get(peer.url)
            transport.rebuild()
            assert client.get(peer.url).text == "ok"
            leaked.close()


# Proxies


class Proxy:
    """A proxy on loopback, and the requests that it got."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        """Answer every request."""
        while request := read_request(connection):
            self.requests.append(request)
            connection.sendall(OK)


def test_the_proxy_of_the_environment_is_used() -> None:
    """HTTP_PROXY is obeyed, as by other programs."""
    proxy = Proxy()
    with Peer(proxy) as peer, client_of("http://api.example", network=network_of(http_proxy=peer.url)) as client:
        assert client.get("http://api.example/v2/x").text == "ok"
    assert proxy.requests[0].startswith(b"GET http://api.example/v2/x HTTP/1.1\r\n")


def test_the_login_of_a_proxy_may_have_special_characters() -> None:
    """User and password in the proxy's address are percent-encoded there, and decoded for the proxy."""
    proxy = Proxy()
    with Peer(proxy) as peer:
        network = network_of(http_proxy=f"http://us%40er:p%3Aw@127.0.0.1:{peer.port}")
        with client_of("http://api.example", network=network) as client:
            client.get("http://api.example/")
    assert b"Basic " + base64.b64encode(b"us@er:p:w") in proxy.requests[0]


@pytest.mark.parametrize("exception", ["127.0.0.1", "*", ".example,127.0.0.1"])
def test_no_proxy_is_obeyed(exception: str) -> None:
    """Hosts named by NO_PROXY are reached directly."""
    with Peer(answering) as peer:
        network = network_of(http_proxy="http://127.0.0.1:1", no_proxy=exception)
        with client_of(peer.url, network=network) as client:
            assert client.get(peer.url).text == "ok"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_needs_no_proxy(host: str) -> None:
    """The sandbox and the demo work behind a company's proxy: no proxy can reach this machine's own loopback."""
    with Peer(answering) as peer:
        url = f"http://{host}:{peer.port}"
        with client_of(url, network=network_of(http_proxy="http://127.0.0.1:1")) as client:
            assert client.get(url).text == "ok"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
    ids=["login", "unreachable", "closed"],
)
def test_a_proxy_that_makes_no_tunnel_passed_nothing_on(answer: bytes) -> None:
    """Where the proxy refuses the tunnel, the request itself certainly did not leave."""

    def refuse(connection: socket.socket) -> Any:
        read_request(connection)
        connection.sendall(answer)

    with Peer(refuse) as peer:
        network = network_of(https_proxy=peer.url)
        with client_of("https://api.example", network=network) as client, pytest.raises(NotSent):
            client.post("https://api.example/v1", content=b"x")


def test_a_proxy_that_is_down_passed_nothing_on() -> None:
    """Where the proxy cannot be reached, the request did not leave."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        network = network_of(https_proxy=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with client_of("https://api.example", network=network) as client, pytest.raises(NotSent):
            client.post("https://api.example/v1", content=b"x")


# An upload's progress


def send(client: httpx.Client, url: str, upload: UploadProgress, size: int) -> httpx.Response:
    """Send so many bytes as an upload."""
    request = client.build_request("POST", url, content=b"x" * size)
    request.extensions[UPLOAD] = upload
    return client.send(request)


def reading_slowly(connection: socket.socket, received: list[int], *, up_to: int, answer: bytes = OK) -> None:
    """Read 20 kB some fifty times a second, and answer once so many have come; then read nothing more."""
    while sum(received) < up_to:
        received.append(len(connection.recv(20_000)))
        time.sleep(0.02)
    connection.sendall(answer)


def test_an_upload_that_makes_progress_has_its_own_total() -> None:
    """While its bytes leave, an upload goes on for longer than any other request may take, and its speed is known."""
    received: list[int] = []
    upload = UploadProgress(total=20.0, slow_after=0.2)
    with (
        Peer(lambda connection: reading_slowly(connection, received, up_to=1_000_000), receive_buffer=20_000) as peer,
        client_of(peer.url, total=0.4) as client,
        Timed() as took,
    ):
        assert send(client, peer.url, upload, 1_000_000).status_code == 200
    assert took.seconds > 0.8
    assert upload.has_left
    assert upload.left >= 1_000_000
    assert 0.5 * took.seconds < upload.seconds <= took.seconds
    assert "kB/s" in str(upload.slowness)


def test_an_upload_that_makes_progress_meets_its_own_total() -> None:
    """A server that reads for ever is left after the upload's total time."""
    received: list[int] = []
    upload = UploadProgress(total=0.8, slow_after=0.2)
    with (
        Peer(lambda connection: reading_slowly(connection, received, up_to=99_000_000), receive_buffer=20_000) as peer,
        client_of(peer.url, total=0.4) as client,
        Timed() as took,
        pytest.raises(MaybeSent, match="could not be sent in time"),
    ):
        send(client, peer.url, upload, 50_000_000)
    assert 0.7 < took.seconds < 2.5
    assert not upload.has_left
    assert 0 < upload.left < 50_000_000


@pytest.mark.parametrize("size", [1_000_000, 30_000_000], ids=["all in the kernel's buffers", "larger than they are"])
def test_an_upload_whose_bytes_stop_leaving_is_given_up(size: int) -> None:
    """Without progress it ends after the time for a request, whatever the kernel's buffers hold, and is reset there."""
    ended = threading.Event()
    reset_by_us: list[type[BaseException]] = []

    def stopping(connection: socket.socket) -> None:
        reading_slowly(connection, [], up_to=400_000, answer=b"")
        ended.wait(20)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError as error:
            reset_by_us.append(type(error))

    upload = UploadProgress(total=60.0, slow_after=0.1)
    with Peer(stopping, receive_buffer=20_000) as peer, client_of(peer.url, total=0.5) as client:
        with Timed() as took, pytest.raises(MaybeSent, match="could not be sent in time"):
            send(client, peer.url, upload, size)
        ended.set()
        wait_until(lambda: peer.ended, what="the server's end")
    assert 0.7 < took.seconds < 4
    assert not upload.has_left
    assert upload.is_slow
    assert reset_by_us


def test_an_answer_to_a_quick_upload_has_the_time_of_a_request() -> None:
    """Once all has left, the answer is waited for as long as any other."""

    def silent(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    upload = UploadProgress(total=60.0, slow_after=0.1)
    with (
        Peer(silent) as peer,
        client_of(peer.url, total=0.3) as client,
        Timed() as took,
        pytest.raises(MaybeSent, match="no answer in time"),
    ):
        send(client, peer.url, upload, 1_000_000)
    assert 0.25 < took.seconds < 2
    assert upload.has_left


def test_an_answer_to_a_slow_upload_may_take_as_long_as_it_took_to_leave() -> None:
    """What a box on a slow line has taken from us may still be on its way to the API."""

    def late(connection: socket.socket) -> None:
        reading_slowly(connection, [], up_to=1_000_000, answer=b"")
        time.sleep(0.6)
        connection.sendall(OK)

    upload = UploadProgress(total=60.0, slow_after=0.1)
    with Peer(late, receive_buffer=20_000) as peer, client_of(peer.url, total=0.4) as client:
        assert send(client, peer.url, upload, 1_000_000).status_code == 200
    assert upload.seconds > 0.6


def test_little_waits_in_the_kernel_to_be_sent() -> None:
    """When a server stops reading, nearly all that it did not get has not been written either."""
    ended = threading.Event()
    written: list[bytes] = []

    def body() -> Iterator[bytes]:
        for _ in range(100):
            written.append(b"x" * 16_384)
            yield written[-1]

    def deaf(_connection: socket.socket) -> None:
        ended.wait(20)

    with Peer(deaf, receive_buffer=20_000) as peer, client_of(peer.url, total=0.3) as client:
        with pytest.raises(MaybeSent):
            client.post(peer.url, content=body())
        ended.set()
    assert len(written) < 20


def test_what_had_to_wait_for_room_is_asked_about_again() -> None:
    """A part that waited for a server that does not read does not leave when it could, if it may not by then."""
    written: list[bytes] = []
    written_late: list[bytes] = []
    is_lost = threading.Event()

    def body() -> Iterator[bytes]:
        for _ in range(100):
            (written_late if is_lost.is_set() else written).append(b"x" * 16_384)
            yield b"x" * 16_384

    def may_leave() -> None:
        if is_lost.is_set():
            raise LedgerUnavailable("the inbox may be another machine's by now")

    def late(connection: socket.socket) -> None:
        seen = -1
        while not written or seen != len(written):
            seen = len(written)
            time.sleep(0.3)
        is_lost.set()
        while connection.recv(65536):
            pass

    upload = UploadProgress(total=60.0, slow_after=60.0)
    upload.may_leave = may_leave
    with Peer(late, receive_buffer=20_000) as peer, client_of(peer.url, total=20.0) as client:
        request = client.build_request("POST", peer.url, content=body())
        request.extensions[UPLOAD] = upload
        with pytest.raises(LedgerUnavailable):
            client.send(request)
        wait_until(lambda: peer.ended, what="the server's end")
    assert len(written) < 20
    assert not written_late
