"""The API token: where it may lie, how it is read, and what cannot be one. No text made here shows it."""

import hashlib
import hmac
import os
import secrets
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from invoicedrop.errors import ConfigError, NotSeen
from invoicedrop.printable import printable
from invoicedrop.system import permissions

_SECRET_LIMIT: Final = 8192
"""Bytes; no HTTP server takes a longer header line."""


class Secret(NamedTuple):
    """A token file that no setting names: its path, and how its origin is shown."""

    path: Path
    shown: str


def find_secret(environ: Mapping[str, str], container_secret: Path) -> Secret | None:
    """Return the token file that systemd (LoadCredential=) or a container engine put in place, if any."""
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials and exists(Path(credentials, "api_token")):
        return Secret(Path(credentials, "api_token"), "$CREDENTIALS_DIRECTORY/api_token")
    if exists(container_secret):
        return Secret(container_secret, printable(container_secret))
    return None


def exists(path: Path) -> bool:
    """Whether there is a file; also one out of reach: to read it and be told why helps more than "no token"."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read_token_file(path: Path) -> str:
    """Read the API token from a file.

    Raises:
        ConfigError: there is no usable token in it; the sentence names the path and the fix, never the content.
        NotSeen: this user may not read it.

    """
    where = f"token file {printable(path)}"
    return check_token(read_secret(path, where, "the API token"), where)


def read_secret(path: Path, where: str, what: str) -> str:
    """Return what a file holds that a secret (`what`, in words) is in.

    Raises:
        ConfigError: it cannot be read, or is too long; the sentence starts with `where`.

    """
    try:
        # Not blocking: a FIFO without a writer would hold up the start forever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ConfigError([f"{where}: is not a regular file; name the file that holds {what}"])
            content = os.read(fd, _SECRET_LIMIT + 1)
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise ConfigError([f"{where}: does not exist; write {what} into it, or correct the path"]) from None
    except PermissionError:
        user = permissions.user_name(os.geteuid())
        sentence = (
            f"{where}: may not be read by {permissions.ourselves()}; with the systemd unit it is root's alone, the "
            "service gets a copy, and `sudo invoicedrop ...` asks as the service; elsewhere write it anew for the "
            f"service's user: install -o {user} -m 400 /dev/stdin {shlex.quote(str(path))}"
        )
        raise NotSeen([sentence]) from None
    except OSError as error:
        raise ConfigError([f"{where}: cannot be read ({error.strerror}); name the file that holds {what}"]) from None
    if len(content) > _SECRET_LIMIT:
        raise ConfigError([f"{where}: is too long; it must hold nothing but {what}"])
    return content.decode("utf-8-sig", errors="replace")


def check_token(text: str, where: str) -> str:
    """Return the token without the white space around it.

    Raises:
        ConfigError: it cannot be sent in a header; the sentence starts with `where` and does not show it.

    """
    token = text.strip()
    if not token:
        raise ConfigError([f"{where}: is empty; paste the API token of the company's settings in Channable"])
    if len(token.splitlines()) > 1:
        raise ConfigError([f"{where}: has several lines; it must hold nothing but the token"])
    if not all("!" <= character <= "~" for character in token):
        raise ConfigError(
            [f"{where}: has spaces or special characters; paste the token alone, without quotes or the word Bearer"]
        )
    return token


def fingerprint(token: str, salt: str = "") -> str:
    """Return a mark by which a token can be compared, and not be found out: "salt:digest", 32 bits of a keyed hash."""
    salt = salt or secrets.token_hex(8)
    return f"{salt}:{hashlib.blake2b(token.encode(), key=salt.encode(), digest_size=4).hexdigest()}"


def is_of(mark: str, token: str) -> bool:
    """Whether a fingerprint is this token's."""
    salt, _, _ = mark.partition(":")
    return (
        mark.isascii()
        and bool(salt)
        and len(salt) <= hashlib.blake2b.MAX_KEY_SIZE
        and hmac.compare_digest(mark.encode(), fingerprint(token, salt).encode())
    )


def readable_by_all(path: Path) -> bool:
    """Whether every user of this machine may read the file; false where that cannot be seen."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
