"""The short-lived process that sends a message by Apprise: `python -m invoicedrop.reporting.notify.send`.

It reads one JSON object from standard input, {address, title, body, seconds}, and writes one to standard output,
{sent, words}. Without a title it only sees whether Apprise understands the address. So neither the address nor the text
stands in a command line or an environment, and the daemon does not grow by Apprise's libraries.
"""

import json
import logging
import re
import signal
import sys
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import apprise

_HIDDEN: Final = "[secret]"
_LONGEST: Final = 500
"""Characters of what is said about a failure."""
_SHORTEST_SECRET: Final = 3
_DELIMITERS: Final = re.compile(r"[/?#&=:@]")


def main() -> None:
    """Send what standard input asks for."""
    request: dict[str, Any] = json.load(sys.stdin)
    # Whoever started us may be gone: nothing else ends a server that never answers.
    signal.alarm(int(request["seconds"]) + 1)
    json.dump(_send(request["address"], request.get("title"), request.get("body") or ""), sys.stdout)


def _send(address: str, title: str | None, body: str) -> dict[str, Any]:
    asset = apprise.AppriseAsset(app_id="invoicedrop", async_mode=False, secure_logging=True, storage_mode="memory")
    notifier = apprise.Apprise(asset=asset)
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]
        if not notifier.add(address):
            return {"sent": False, "words": "Apprise does not understand this address"}
        if title is None:
            return {"sent": True, "words": ""}
        sent = bool(notifier.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT))
        words = " ".join(said.getvalue().split())
    return {"sent": sent, "words": "" if sent else masked(words, address)[:_LONGEST] or "it was not taken"}


def masked(words: str, address: str) -> str:
    """Return words about an address without anything of it that may be secret: all but the name of a server.

    A password may have characters in it that end it, for whoever reads an address by the rules.
    """
    parts = urlsplit(address)
    rest = address.partition("://")[2]
    # Where a login ends, and whether there is one, nobody knows for sure: each @ may be the one.
    logins = [rest[: at.start()] for at in re.finditer("@", rest)]
    hosts = {_host(parts.netloc), _host(rest)}
    pieces = [address, parts.netloc, *parts.path.split("/")]
    for login in logins:
        pieces += [login, login.partition(":")[2], *_DELIMITERS.split(login)]
    pieces += [value for pair in parts.query.split("&") for value in (pair.partition("=")[2],)]
    secrets = {form for piece in (*pieces, *hosts) for form in (piece, unquote(piece)) if len(form) >= _SHORTEST_SECRET}
    secrets -= {host for host in hosts if "." in host or host == "localhost"}
    secrets -= {pair.partition("=")[0] for pair in parts.query.split("&")}
    if not secrets:
        return words
    pattern = "|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True))
    return re.sub(pattern, _HIDDEN, words, flags=re.IGNORECASE)


def _host(netloc: str) -> str:
    return re.split(r"[:/?#]", netloc.rpartition("@")[2])[0]


if __name__ == "__main__":
    main()
