"""A web server on loopback that takes what is sent to it, as a webhook and a watcher for signs of life do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """What came."""

    method: str
    path: str
    body: str
    headers: dict[str, str]


@dataclass
class WebSink:
    """What came so far; `status` is what is answered, after `delay` seconds."""

    port: int
    status: int = 200
    delay: float = 0.0
    requests: list[Request] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def bodies(self) -> list[str]:
        """Return the bodies of what came."""
        return [request.body for request in self.requests]

    def paths(self) -> list[str]:
        """Return method and path of what came."""
        return [f"{request.method} {request.path}" for request in self.requests]


@contextmanager
def web_sink() -> Iterator[WebSink]:
    """Take requests while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            sink.requests.append(Request(self.command, self.path, body, dict(self.headers)))
            time.sleep(sink.delay)
            self.send_response(sink.status)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            """Print nothing where the client has left."""

    server = Server(("127.0.0.1", 0), Handler)
    sink = WebSink(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
