"""The addresses that messages go to, from the settings and from their file. No text made here shows one."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from invoicedrop.errors import ConfigError
from invoicedrop.printable import printable
from invoicedrop.settings.fields import is_notify_address
from invoicedrop.settings.sources import Reading, SetValue
from invoicedrop.settings.token import readable_by_all

_MAX_BYTES: Final = 1024 * 1024


def read_addresses(notify: Sequence[SecretStr], notify_file: Path | None) -> list[str]:
    """Return every address of both settings once; the file is read now.

    Raises:
        ConfigError: the file cannot be read, or a line of it is no address.

    """
    addresses = [address.get_secret_value() for address in notify]
    if notify_file is not None:
        addresses += _in_file(notify_file)
    return list(dict.fromkeys(addresses))


def check(notify_file: SetValue | None, reading: Reading) -> None:
    """Note what is wrong with the file, and whether everybody can read it."""
    file = None if notify_file is None else notify_file.value
    if not isinstance(file, Path):
        return
    try:
        _in_file(file)
    except ConfigError as error:
        reading.problems.extend(error.problems)
    else:
        if readable_by_all(file):
            reading.warnings.append(f"{printable(file)} may hold passwords and everybody may read it: chmod 600")


def _in_file(file: Path) -> list[str]:
    where = f"notify_file {printable(file)}"
    try:
        lines = list(_lines(file))
    except OSError as error:
        why = f"cannot be read ({error.strerror}); name a file with an address a line"
        raise ConfigError([f"{where}: {why}"]) from None
    refused = [number for number, line in lines if not is_notify_address(line)]
    if refused:
        raise ConfigError([f"{where}: line {refused[0]} is no address of Apprise; they are like mailto://..."])
    return [line for _, line in lines]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither empty nor comments, with their numbers."""
    # Not blocking: a FIFO without a writer would hold up the start forever.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file")
        text = ""
        with suppress(UnicodeDecodeError):
            text = os.read(descriptor, _MAX_BYTES).decode("utf-8-sig")
    finally:
        os.close(descriptor)
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()
