"""`invoicedrop notify --test`: a message to each address, and what came of it."""

import socket
from collections.abc import Sequence

import typer

from invoicedrop import exit_codes
from invoicedrop.languages.catalogue import Language, catalogue
from invoicedrop.reporting.notify.delivery import Delivery, Result, kind_of
from invoicedrop.reporting.notify.news import Message
from invoicedrop.timing import DEFAULT_TIMING


def send_test(addresses: Sequence[str], language: Language = "en") -> int:
    """Send a message to each address, print what came of it, and return 1 if one was not sent, else 0."""
    words = catalogue(language)
    title = words("invoicedrop on {host}: {news}", host=socket.gethostname(), news=words("a test"))
    message = Message(title, words("This is a test. Messages about trouble of the service come to this address."))
    on_the_way = [Delivery(address, message, seconds=DEFAULT_TIMING.message_timeout) for address in addresses]
    code = exit_codes.OK
    for number, (address, delivery) in enumerate(zip(addresses, on_the_way, strict=True), 1):
        result = delivery.wait() or Result(sent=False, words="no answer")
        typer.echo(f"address {number} ({kind_of(address)}): {'sent' if result.sent else f'not sent: {result.words}'}")
        code = code if result.sent else exit_codes.FAILED
    return code
