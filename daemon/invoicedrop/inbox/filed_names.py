"""The names of what is filed: those that an invoice may get, and that of the reason beside a failed one."""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from invoicedrop.inbox.names import split_ending
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
    stem, suffix = _parts(name)
    stamp = f"_{utc(at):%Y%m%dT%H%M%SZ}"
    yield folder / _fitted(stem, f"{stamp}{suffix}")
    for number in range(2, 1_000_000):
        yield folder / _fitted(stem, f"{stamp}-{number}{suffix}")


def named_like(folder: Path, name: str) -> list[Path]:
    """Return what lies in `folder` under `name`, or under `name` made unique."""
    stem, suffix = _parts(name)
    unique = re.compile(rf"{re.escape(stem)}(_[0-9]{{8}}T[0-9]{{6}}Z(-[0-9]+)?)?{re.escape(suffix)}")
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if unique.fullmatch(entry.name))


def reason_path(filed_as: Path) -> Path:
    """Return where the reason of a failed invoice stands."""
    return filed_as.with_name(_fitted(filed_as.name, REASON_SUFFIX))


def orphaned_reasons(names: Collection[str]) -> list[tuple[str, str]]:
    """Return, of all names in a failed folder, each reason that has no invoice there, and that invoice's name.

    Where the end of a name too long to carry the suffix was cut off, what is left stands for the name.
    """
    kept = {_fitted(name, REASON_SUFFIX) for name in names if split_ending(name)[1]}
    orphans = ((name, name.removesuffix(REASON_SUFFIX)) for name in names if name.endswith(REASON_SUFFIX))
    return [(reason, invoice) for reason, invoice in orphans if reason not in kept and _is_ours(reason, invoice)]


def _is_ours(reason: str, invoice: str) -> bool:
    """Whether we have written a file of this name: one for a PDF, or with the end of the PDF's name cut off."""
    return bool(split_ending(invoice)[1]) or len(os.fsencode(reason)) > _LONGEST_NAME - _LONGEST_CHARACTER


def _parts(name: str) -> tuple[str, str]:
    """Return a name's stem and what must stay its end, so that an invoice is still one when it is moved back."""
    stem, ending = split_ending(name)
    return (stem, ending) if ending else os.path.splitext(name)  # noqa: PTH122 - a name, no path


def _fitted(stem: str, suffix: str) -> str:
    """Join both, cutting the stem where the name would be too long for a file system."""
    raw, end = os.fsencode(stem), _LONGEST_NAME - len(os.fsencode(suffix))
    # Not in the middle of a character: in UTF-8 all its bytes but the first begin with the bits 10.
    while end < len(raw) and raw[end] & 0xC0 == 0x80:  # noqa: PLR2004 - bit masks
        end -= 1
    return os.fsdecode(raw[:end]) + suffix
