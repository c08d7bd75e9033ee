"""A mail server on loopback: it takes mail, refuses it, or says nothing at all."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class Mails:
    """What came so far; `refusal` is what each mail is answered with instead, if it is set."""

    def __init__(self) -> None:
        self.port = 0
        self.refusal: str | None = None
        self.received: list[Message] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail."""
        if self.refusal is not None:
            return self.refusal
        self.received.append(message_from_bytes(envelope.content))
        return "250 taken"

    def subjects(self) -> list[str]:
        """Return the subjects of all mails."""
        return [str(make_header(decode_header(mail["subject"]))) for mail in self.received]

    def texts(self) -> list[str]:
        """Return the texts of all mails."""
        return [_text(mail) for mail in self.received]


def _text(mail: Message) -> str:
    parts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    return "\n".join(part.decode() for part in parts if isinstance(part, bytes))


@contextmanager
def mail_server() -> Iterator[Mails]:
    """Take mail, after any login, while the block runs."""
    mails = Mails()
    loop = asyncio.new_event_loop()

    def session() -> SMTP:
        login = lambda *_: AuthResult(success=True)  # noqa: E731 - its form is aiosmtpd's
        return SMTP(mails, authenticator=login, auth_require_tls=False, loop=loop)

    server = loop.run_until_complete(loop.create_server(session, "127.0.0.1", 0))
    mails.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield mails
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@contextmanager
def silent_server() -> Iterator[int]:
    """Take connections and say nothing while the block runs; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
