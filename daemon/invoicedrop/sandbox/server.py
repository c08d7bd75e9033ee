"""Serves the stand-in: in a thread (`serve`) for tests and the demo, or in the foreground (`run`) for the command."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from signal import SIGINT, SIGTERM, getsignal, signal
from types import TracebackType
from typing import Final, Self

import uvicorn

from invoicedrop.sandbox.app import Application
from invoicedrop.sandbox.events import EventRule
from invoicedrop.sandbox.exchange import Context
from invoicedrop.sandbox.faults import Fault, FaultPlan
from invoicedrop.sandbox.journal import Journal, RequestRecord
from invoicedrop.sandbox.moments import Moments
from invoicedrop.sandbox.options import Options
from invoicedrop.sandbox.store import Store, Upload
from invoicedrop.sandbox.wire import TransportProtocol, share_stopping

_BACKLOG: Final = 2048
_MIN_TURNS: Final = 5
_DEADLINE: Final = 10.0


class Running:
    """A sandbox that runs while it is entered, or from `start` to `stop`; it can be started again.

    A stopped sandbox refuses connections and keeps its ports, its store and its faults, so that `stop` and `start`
    simulate an outage. All methods may be called from any thread.

    Attributes:
        url: the API's base URL, without a trailing slash.
        download_url: the origin of download URLs.
        token: the first token.
        company_id, project_id: the company, and its first project.
        store, faults, journal: its data, what it does wrong, and the requests so far.
        moments: what happens right before or after requests that are still to come.

    Raises:
        OSError: the port is taken.

    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.store = Store(self.options)
        self.faults = FaultPlan(self.options.seed)
        self.journal = Journal()
        self.moments = Moments()
        self.token = self.options.tokens[0]
        self.company_id = self.options.company_id
        self.project_id = self.options.projects[0]
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        # Bound but never listening: between a stop and the next start no other process can get these ports.
        ports = [self.options.port, 0] if self.options.separate_download_host else [self.options.port]
        self._held = [_bound(self.options.host, port) for port in ports]
        self._ports = [held.getsockname()[1] for held in self._held]
        self.url, self.download_url = self._origin(self._ports[0]), self._origin(self._ports[-1])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen, in a thread of its own; returns when connections are accepted."""
        assert self._thread is None, "it is running already"
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run_in_thread, args=(ready,), name="sandbox", daemon=True)
        self._thread.start()
        try:
            ready.result(_DEADLINE)
        except OSError:
            self._thread.join(_DEADLINE)
            self._thread = None
            raise

    def stop(self) -> None:
        """Break every connection, even in the middle of a request, and refuse new ones."""
        thread, loop, stop = self._thread, self._loop, self._stop
        if thread is None or loop is None or stop is None:
            return
        loop.call_soon_threadsafe(stop.set)
        thread.join(_DEADLINE)
        assert not thread.is_alive(), "the sandbox did not stop"
        self._thread = None

    def close(self) -> None:
        """Stop for good and release the ports."""
        self.stop()
        for held in self._held:
            held.close()

    async def serve_until(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve in the running event loop until `stop` is set; `ready` is called when connections are accepted."""
        context = Context(
            store=self.store,
            faults=self.faults,
            journal=self.journal,
            moments=self.moments,
            download_base=self.download_url,
        )
        with contextlib.ExitStack() as sockets:
            listening = [sockets.enter_context(_bound(self.options.host, port)) for port in self._ports]
            for listener in listening:
                listener.listen(_BACKLOG)
            await _Server(Application(context, self._ports[0], self._ports[-1]), stop, ready).serve(listening)

    def uploads(self) -> list[Upload]:
        """Return every PDF that was accepted, oldest first."""
        return self.store.uploads()

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests in order of arrival (the newest 100,000), including those still in progress."""
        return self.journal.records()

    def wait_until(self, fact: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until `fact` holds.

        Raises:
            TimeoutError: it does not hold within `seconds`.

        """
        deadline = time.monotonic() + seconds
        while not fact():
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not so after {seconds} s; the sandbox was asked {self.journal.counters()}")
            time.sleep(0.002)

    def _origin(self, port: int) -> str:
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{port}"

    def _run_in_thread(self, ready: "Future[None]") -> None:
        async def serve_here() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await self.serve_until(self._stop, lambda: ready.set_result(None))

        try:
            asyncio.run(serve_here())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)


def serve(options: Options | None = None) -> Running:
    """Return a sandbox that listens, in a thread of its own, while it is entered (`with`)."""
    return Running(options)


def run(
    options: Options,
    on_ready: Callable[[str], None] = lambda _url: None,
    *,
    faults: Iterable[Fault] = (),
    events: Iterable[EventRule] = (),
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, then return; to be called in the main thread.

    `on_ready` is called with the API's base URL once connections are accepted. Nothing is printed.

    Raises:
        OSError: the port is taken, or the folder cannot be used.

    """
    running = Running(options)
    running.faults.replace(faults)
    running.store.event_plan.extend(events)

    async def serve_here() -> None:
        stop = asyncio.Event()
        with _signals_set(stop):
            await running.serve_until(stop, lambda: on_ready(running.url))

    try:
        asyncio.run(serve_here())
    finally:
        running.close()


class _Server(uvicorn.Server):
    """uvicorn without its polling and its graceful shutdown: it stops at once, whatever hangs."""

    def __init__(self, app: Application, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=TransportProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=75,
            )
        )
        self._stop = stop
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs this."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections."""
        await super().startup(sockets)
        share_stopping(self.lifespan.state, self._stop)
        self._ready()

    async def main_loop(self) -> None:
        """Serve until asked to stop."""
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Close everything now; requests in progress see their client disconnect and end."""
        for server in self.servers:
            server.close()
        closed = asyncio.gather(*(server.wait_closed() for server in self.servers))
        # Several turns of the loop: connections that are just being accepted still have to be made, then ended.
        turns = 0
        while turns < _MIN_TURNS or not closed.done() or self.server_state.connections or self.server_state.tasks:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0 if turns < _MIN_TURNS else 0.001)
            turns += 1


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = {number: getsignal(number) for number in (SIGINT, SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal(number, handler)


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # With an explicit protocol: only then does asyncio switch off Nagle's delays (40 ms an answer).
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
