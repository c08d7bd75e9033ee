"""Uploads by TLS over a slow line: what TLS and the kernel hold back is not taken for progress."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from certificates import Authority
from invoicedrop.channable.transport import UPLOAD, DeadlineTransport, MaybeSent
from invoicedrop.channable.upload_progress import UploadProgress
from networks import network_of
from slow_line import SlowLine, slow_line
from tls_server import tls_server
from waiting import wait_until

_SIZE = 300_000
_SPEED = 250_000.0
_PATIENCE = 0.5
"""Seconds; all of it takes more than twice as long to leave."""
_ON_THE_WAY = 40_000
"""Bytes that the relay's queue and the buffer of its connection may hold; what waits to be sent here is more."""
_PART = 10_000


class _Reading(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(str(len(body)))))
        self.end_headers()
        self.wfile.write(str(len(body)).encode())

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


class _Way(NamedTuple):
    line: SlowLine
    client: httpx.Client
    url: str
    written: list[int]

    def send(self, upload: UploadProgress) -> httpx.Response:
        """Send an upload; count what was asked for of it."""

        def body() -> Iterator[bytes]:
            for _ in range(_SIZE // _PART):
                self.written.append(_PART)
                yield b"x" * _PART

        headers = {"content-length": str(_SIZE)}
        request = self.client.build_request("POST", self.url, content=body(), headers=headers)
        request.extensions[UPLOAD] = upload
        return self.client.send(request)


@contextmanager
def _slow_tls(folder: Path) -> Iterator[_Way]:
    """Put a slow line between a client and a server that speaks TLS."""
    authority = Authority(folder)
    with (
        tls_server(authority.server_context("localhost"), _Reading) as port,
        slow_line(f"http://127.0.0.1:{port}", _SPEED, queue=8192) as line,
    ):
        url = f"https://localhost:{line.url.rpartition(':')[2]}"
        network = network_of(SSL_CERT_FILE=str(authority.ca_file))
        transport = DeadlineTransport.to(url, total=_PATIENCE, connections=1, network=network)
        with httpx.Client(transport=transport, trust_env=False) as client:
            yield _Way(line, client, url, [])


def test_an_upload_by_tls_that_makes_progress_goes_on(tmp_path: Path) -> None:
    """While its bytes leave, it takes more than twice the time for a request, and its speed is the line's."""
    upload = UploadProgress(total=20.0, slow_after=0.2)
    with _slow_tls(tmp_path) as way:
        response = way.send(upload)
    assert response.text == str(_SIZE)
    assert upload.has_left
    assert upload.left >= _SIZE
    assert upload.seconds > 1.5 * _PATIENCE
    assert upload.left / upload.seconds < 2 * _SPEED


def test_an_upload_by_tls_whose_bytes_stop_leaving_is_given_up(tmp_path: Path) -> None:
    """When the line stops, it ends after the time for a request, and what the line has not taken does not count.

    Little more than that has been written, so that the server certainly cannot get the whole.
    """
    upload = UploadProgress(total=60.0, slow_after=0.2)
    stopped_at: list[float] = []

    def stop() -> None:
        wait_until(lambda: line.bytes > _SIZE / 4, what="a quarter to be carried")
        line.moving.clear()
        stopped_at.append(time.monotonic())

    with _slow_tls(tmp_path) as way:
        line = way.line
        stopping = threading.Thread(target=stop)
        stopping.start()
        with pytest.raises(MaybeSent, match="could not be sent in time"):
            way.send(upload)
        ended_at = time.monotonic()
        stopping.join()
        carried = line.bytes
    assert _PATIENCE * 0.7 < ended_at - stopped_at[0] < _PATIENCE + 2
    assert not upload.has_left
    assert upload.is_slow
    assert _SIZE / 8 < upload.left < carried + _ON_THE_WAY
    assert sum(way.written) < carried + 3 * _ON_THE_WAY < _SIZE
