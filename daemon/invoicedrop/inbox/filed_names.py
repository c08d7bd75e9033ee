"""The names of what is filed: those that an invoice may get, and that of the reason beside a failed one."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from invoicedrop.system.local_time import utc

REASON_SUFFIX: Final = ".reason.txt"
_LONGEST_NAME: Final = 255
"""Bytes, on every file system that matters here."""
_LONGEST_CHARACTER: Final = 4
"""Bytes that a character may take in UTF-8."""


def targets(folder: Path, name: str, at: float) -> Iterator[Path]:
    """Yield the paths that a file may get in `folder`, best first: its own name, then with the time, then numbered.

    `at` is the time, in seconds since the epoch.
    """
    yield folder / name
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, no path
    stamp = f"_{utc(at):%Y%m%dT%H%M%SZ}"
    yield folder / _fitted(stem, f"{stamp}{suffix}")
    for number in range(2, 1_000_000):
        yield folder / _fitted(stem, f"{stamp}-{number}{suffix}")


def named_like(folder: Path, name: str) -> list[Path]:
    """Return what lies in `folder` under `name`, or under `name` made unique."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, no path
    unique = re.compile(rf"{re.escape(stem)}(_[0-9]{{8}}T[0-9]{{6}}Z(-[0-9]+)?)?{re.escape(suffix)}")
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if unique.fullmatch(entry.name))


def reason_path(filed_as: Path) -> Path:
    """Return where the reason of a failed invoice stands."""
    return filed_as.with_name(_fitted(filed_as.name, REASON_SUFFIX))


def reason_of(reason: Path) -> Path | None:
    """Return the failed invoice that a reason is about, there or not; None for a file that is no reason of ours."""
    name = reason.name.removesuffix(REASON_SUFFIX)
    if name.lower().endswith(".pdf"):
        return reason.with_name(name)
    # The end of a name too long to carry the suffix was cut off.
    cut = len(os.fsencode(reason.name)) > _LONGEST_NAME - _LONGEST_CHARACTER
    if not cut:
        return None
    invoices = reason.parent.glob(f"{glob.escape(name)}*.[pP][dD][fF]")
    return next((invoice for invoice in invoices if reason_path(invoice) == reason), reason.with_name(name))


def _fitted(stem: str, suffix: str) -> str:
    """Join both, cutting the stem where the name would be too long for a file system."""
    raw, end = os.fsencode(stem), _LONGEST_NAME - len(os.fsencode(suffix))
    # Not in the middle of a character: in UTF-8 all its bytes but the first begin with the bits 10.
    while end < len(raw) and raw[end] & 0xC0 == 0x80:  # noqa: PLR2004 - bit masks
        end -= 1
    return os.fsdecode(raw[:end]) + suffix
