"""Connections that keep the deadline of the request that uses them, and see how its bytes leave.

What is written has not left: by default the kernel takes up to 4 MB at once (`net.ipv4.tcp_wmem`), with which a slow
line is busy for minutes. Here it gets little more than it can send (`_MOST_UNSENT`). What has left is what the other
side acknowledged; `TIOCOUTQ` (tcp(7)) says how much it has not. So whoever waits, for room or for a response, looks now
and then whether that has become less.
"""

import fcntl
import select
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Self
from weakref import WeakSet

import httpcore
from httpcore._backends.sync import SyncStream

from invoicedrop.channable.upload_progress import UploadProgress

_PART: Final = 1 << 15
"""Bytes written at once, at most: two TLS records."""
_MOST_UNSENT: Final = 1 << 15
"""There is room in a connection while less than this waits in it to be sent (TCP_NOTSENT_LOWAT). What is on its way
does not count, so that this slows nothing down (https://lwn.net/Articles/560082/). So the end of what did not leave in
time was seldom written, and the other side certainly did not get the whole."""
_LOOKS: Final = 20
"""So many looks in the longest time without progress."""
_MILLISECONDS: Final = 1000
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time (socket(7))."""


class Progress(threading.local):
    """The request that this thread is making: until when it has time, and how far it is.

    It has `patience` seconds from the last byte that left or came, and a total, which is longer for an upload alone.
    The response is waited for as long as the request took to leave, if that is longer: boxes on a slow line may still
    have to pass it on.
    """

    def __init__(self) -> None:
        self.sending = False
        self._patience = sys.float_info.max
        self._started = self._moved_at = self._sent_at = 0.0
        self._written = 0
        self._upload = UploadProgress(self._patience, self._patience)

    def begin(self, patience: float, upload: UploadProgress) -> None:
        """Begin a request."""
        now = time.monotonic()
        self.sending = False
        self._patience = patience
        self._started = self._moved_at = self._sent_at = now
        self._written = 0
        self._upload = upload

    def remaining(self, timeout: float | None = None) -> float:
        """Return for how many seconds one step of the request may take, at most `timeout`.

        Raises:
            httpcore.WriteTimeout: the time is over, and the request has begun to leave, but has not left whole.
            httpcore.ReadTimeout: the time is over.

        """
        now = time.monotonic()
        remaining = min(self._started + self._upload.total, self._moved_at + self._patience) - now
        if remaining > 0:
            return remaining if timeout is None else min(remaining, timeout)
        if self.sending and not self._upload.has_left:
            raise httpcore.WriteTimeout
        raise httpcore.ReadTimeout

    def until_look(self) -> float:
        """Return for how many seconds to wait until the next look; raises what `remaining` does."""
        return min(self.remaining(), self._patience / _LOOKS)

    def require_may_leave(self) -> None:
        """Raise where the request's next part may not leave any more."""
        if self._upload.may_leave is not None:
            self._upload.may_leave()

    def begins_to_leave(self) -> None:
        """The request's first byte may leave now."""
        if not self.sending:
            self.sending = True
            self._sent_at = time.monotonic()

    def wrote(self, count: int) -> None:
        """The kernel has taken so many bytes."""
        self._written += count

    def queue_is(self, unacknowledged: int, *, is_last: bool) -> None:
        """So many bytes have not left; `is_last`: all of the request is written."""
        upload = self._upload
        if not self.sending or upload.has_left:
            return
        now = time.monotonic()
        left = self._written - unacknowledged
        upload.has_left = is_last and not unacknowledged
        upload.seconds = now - self._sent_at
        if left > upload.left:
            upload.left = left
            self._moved_at = now
        if upload.has_left:
            self._patience = max(self._patience, upload.seconds)

    def came(self) -> None:
        """Bytes of the response have come."""
        self._moved_at = time.monotonic()


class OpenStreams:
    """The streams that are in use, to be broken off together. A set alone must not be added to while it is read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: WeakSet[Stream] = WeakSet()

    def add(self, stream: "Stream") -> None:
        """Register a stream."""
        with self._lock:
            self._streams.add(stream)

    def abort(self) -> None:
        """Break all of them off."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.abort()


class Stream(httpcore.NetworkStream):
    """A connection whose every operation keeps the deadline of the request that uses it.

    What is written to a stream that is not `to_api`, before TLS is up, is for a proxy, to ask for a tunnel: no part of
    the request.
    """

    def __init__(
        self, inner: httpcore.NetworkStream, progress: Progress, streams: OpenStreams, *, to_api: bool
    ) -> None:
        self._inner = inner
        self._to_api = to_api
        self._progress = progress
        self._streams = streams
        self._spoiled = False

    def spoil(self) -> None:
        """See that no further request goes on this connection: what comes next on it answers none."""
        self._spoiled = True

    def tracked(self) -> Self:
        """Return this stream, ready for use, after registering it for `DeadlineTransport.abort`."""
        with suppress(OSError):  # closed already: its use says so
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT)
        self._streams.add(self)
        return self

    def abort(self) -> None:
        """Break off what is under way, in whatever thread."""
        # Closing would not wake the thread that waits on it; shutting down does.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the request has its own
        """Read what comes; all of the request is written."""
        with self._resetting():
            while True:
                wait = self._progress.until_look()
                try:
                    received = self._inner.read(max_bytes, wait)
                except httpcore.ReadTimeout:
                    self._look(is_last=True)
                else:
                    self._look(is_last=True)
                    self._progress.came()
                    return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the request has its own
        """Write a part of the request."""
        view = memoryview(buffer)
        with self._resetting():
            while view:
                if self._to_api:
                    # Each time, also after a wait for room.
                    self._progress.require_may_leave()
                    self._progress.begins_to_leave()
                written = self._write_some(view[:_PART])
                self._progress.wrote(written)
                view = view[written:]

    def _write_some(self, part: memoryview) -> int:
        """Write some of it, if there is room; else wait for some. Return how many bytes were written."""
        remaining = self._progress.remaining()
        if not isinstance(self._inner, SyncStream):
            # TLS in TLS, by httpcore's own code: it writes all, and waits without a look.
            if not self._is_ready(select.POLLOUT, 0.0):
                self._wait_until(select.POLLOUT)
                return 0
            self._inner.write(part, remaining)  # type: ignore[arg-type] # a socket takes any buffer
            return len(part)
        connection = self._socket
        # Tried before it is waited for: on a fast line there is always room.
        if connection.gettimeout() != 0:
            connection.settimeout(0)
        try:
            return connection.send(part)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._wait_until(select.POLLOUT)
        except ssl.SSLWantReadError:
            self._wait_until(select.POLLIN)
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error
        # TLS wants to be given the same bytes again, and is.
        return 0

    def _wait_until(self, event: int) -> None:
        """Wait until the connection is ready for this, or broken."""
        self._look(is_last=False)
        while not self._is_ready(event, self._progress.until_look()):
            self._look(is_last=False)

    def _is_ready(self, event: int, seconds: float) -> bool:
        """Whether the connection is ready for this, or broken, within so many seconds."""
        if (descriptor := self._socket.fileno()) < 0:
            return True  # closed: its use says so
        poll = select.poll()
        poll.register(descriptor, event)
        return bool(poll.poll(seconds * _MILLISECONDS))

    def _look(self, *, is_last: bool) -> None:
        queue = b"\0" * struct.calcsize("i")
        with suppress(OSError, ValueError):  # closed meanwhile
            queue = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, queue)
            self._progress.queue_is(struct.unpack("i", queue)[0], is_last=is_last)

    @contextmanager
    def _resetting(self) -> Iterator[None]:
        """Where a request does not leave in time, throw away what the kernel still holds of it.

        Else it would go on sending after the connection is closed, on the slow line of those that are still under way.
        """
        try:
            yield
        except httpcore.WriteTimeout:
            self._look(is_last=False)
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            raise

    @property
    def _socket(self) -> socket.socket:
        connection = self._inner.get_extra_info("socket")
        assert isinstance(connection, socket.socket)
        return connection

    def close(self) -> None:
        """Close it."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return this connection with TLS on it."""
        inner = self._inner.start_tls(ssl_context, server_hostname, self._progress.remaining(timeout))
        return Stream(inner, self._progress, self._streams, to_api=True).tracked()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for; an idle connection that `is_readable` is used no more."""
        if info == "is_readable" and self._spoiled:
            return True
        return self._inner.get_extra_info(info)
