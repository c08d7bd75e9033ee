"""A folder whose path has the year and the month of what is put into it: `/srv/processed/{year}/{month}`.

The part above the first of these names is fixed, and the administrator's; what is below is made as it is needed, by
local time. There, no link is followed.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from invoicedrop.system.local_time import DAY, local

_DIGITS: Final = {"{year}": "[0-9]{4}", "{month}": "[0-9]{2}"}
_NAME: Final = re.compile("|".join(map(re.escape, _DIGITS)))
_MOST_MONTHS: Final = 240


@dataclass(frozen=True, slots=True)
class DatedFolder:
    """A folder, and the names below it that depend on the time; without any, it is an ordinary folder."""

    fixed: Path
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, pattern: Path) -> Self:
        """Read a path in which `{year}` and `{month}` may stand."""
        parts = pattern.parts
        fixed = next((index for index, part in enumerate(parts) if _NAME.search(part)), len(parts))
        return cls(Path(*parts[:fixed]), parts[fixed:])

    @property
    def is_dated(self) -> bool:
        """Whether it is another folder at another time."""
        return bool(self.names)

    def names_at(self, moment: float) -> tuple[str, ...]:
        """Return the names below the fixed part at a moment, in seconds since the epoch."""
        return self._names_in(local(moment))

    def at(self, moment: float) -> Path:
        """Return the folder for what is put into it at a moment, in seconds since the epoch."""
        return self.fixed.joinpath(*self.names_at(moment))

    def names_between(self, first: float, last: float) -> list[tuple[str, ...]]:
        """Return the names of all folders from one moment to another (either order), the newest first."""
        # A day more on both sides: the time zone may have been another one.
        day, oldest = local(max(first, last) + DAY).replace(day=1), local(min(first, last) - DAY).replace(day=1)
        found: list[tuple[str, ...]] = []
        while day.date() >= oldest.date() and len(found) < _MOST_MONTHS:
            found.append(self._names_in(day))
            if (day.year, day.month) == (1, 1):
                break
            day = day.replace(year=day.year - (day.month == 1), month=(day.month - 2) % 12 + 1)
        return list(dict.fromkeys(found))

    def may_be(self, folder: Path) -> bool:
        """Whether it is this folder at some time, as far as the names say."""
        if len(folder.parts) != len(self.fixed.parts) + len(self.names) or not folder.is_relative_to(self.fixed):
            return False
        below = folder.relative_to(self.fixed).parts
        return all(_matcher(name).fullmatch(part) for name, part in zip(self.names, below, strict=True))

    def _names_in(self, month: datetime) -> tuple[str, ...]:
        return tuple(
            name.replace("{year}", f"{month.year:04}").replace("{month}", f"{month.month:02}") for name in self.names
        )


def problem_with(pattern: Path) -> str | None:
    """Return what is wrong with a path in which `{year}` and `{month}` may stand; None if it is right."""
    if re.search("[{}]", _NAME.sub("", str(pattern))):
        return "may have {year} and {month} in it, and no other braces"
    if ".." in DatedFolder.of(pattern).names:
        return "must not have .. behind {year} or {month}"
    return None


def _matcher(name: str) -> re.Pattern[str]:
    parts = (_DIGITS.get(part, re.escape(part)) for part in re.split(f"({_NAME.pattern})", name))
    return re.compile("".join(parts))
