"""One message on its way to one address, in a process of its own: nobody waits for it, and it ends in time."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final, NamedTuple

from invoicedrop.printable import printable
from invoicedrop.reporting.notify.news import Message

_PROGRAM: Final = "invoicedrop.reporting.notify.send"
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables that the process gets, besides those of proxies: none of ours, in which secrets may be."""
_PROXIES: Final = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")


class Result(NamedTuple):
    """What became of a message; `words` say why it was not sent, without anything secret."""

    sent: bool
    words: str


class Delivery:
    """A message on its way to an address. Without a message it is only seen whether the address can be understood."""

    def __init__(self, address: str, message: Message | None, *, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._refused: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        request = {"address": address, "seconds": seconds}
        if message is not None:
            request |= {"title": message.title, "body": message.body}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-m", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
            assert self._process.stdin is not None
            # Less than a pipe holds.
            with suppress(BrokenPipeError), self._process.stdin:
                self._process.stdin.write(json.dumps(request).encode())
        except OSError as error:
            self._refused = f"no process can be started: {error.strerror or error}"

    def poll(self) -> Result | None:
        """Return what became of it, None while it is on its way. Never waits."""
        if self._process is None:
            return Result(sent=False, words=self._refused or "")
        if self._process.poll() is None:
            if time.monotonic() < self._deadline:
                return None
            self.stop()
            return Result(sent=False, words=f"no answer within {self._seconds:.0f} s")
        return self._result()

    def wait(self, deadline: float | None = None) -> Result | None:
        """Wait for what becomes of it, until its own deadline or this one (monotonic time); None if that came first."""
        deadline = self._deadline if deadline is None else min(deadline, self._deadline)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))
        return self.poll()

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _result(self) -> Result:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as said:
            content = said.read()
        try:
            result = json.loads(content)
            return Result(sent=bool(result["sent"]), words=printable(str(result["words"])))
        except (ValueError, KeyError, TypeError):
            return Result(sent=False, words=f"the process that sends it ended with {self._process.returncode}")


def kind_of(address: str) -> str:
    """Return what may be shown of an address: the service's name."""
    return printable(address.partition("://")[0])


def _environment() -> dict[str, str]:
    names = (*_KEPT, *_PROXIES, *(name.upper() for name in _PROXIES))
    environment = {name: os.environ[name] for name in names if os.environ.get(name)}
    # What requests, Apprise's way to most services, obeys instead of OpenSSL's variables.
    bundle = environment.get("SSL_CERT_FILE") or environment.get("SSL_CERT_DIR")
    return environment | ({"REQUESTS_CA_BUNDLE": bundle} if bundle else {})
