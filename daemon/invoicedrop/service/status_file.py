"""The status file, `service.json`: what a running service last wrote about itself, for every user of the machine.

It lies where `status_file` says: in the folder for such files that systemd makes, else in the state folder. The
heartbeat writes it; `status`, `health` and monitors read it, and believe it while it is fresh. They may be of another
version than the service, so no field changes its name or its meaning. All times are in seconds since the epoch.

Names of files, which may be customers', and words of the API are not for every user: they stand in `details.json` in
the state folder, and a reader who may read that gets both as one.
"""

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from invoicedrop.printable import storable
from invoicedrop.settings.sources import FILE_NAME
from invoicedrop.system import permissions, small_file
from invoicedrop.system.boot import boot_id
from invoicedrop.system.life import Life

_DETAILS: Final = "details.json"
_PRIVATE: Final = ("unavailable", "paused", "stopped_by", "put_off", "token")
"""What of an inbox stands in the details in full."""
_QUOTED: Final = re.compile(r"(HTTP \d{3}[A-Za-z' -]*): .*?(\)?)$", re.DOTALL)
"""The words of whoever answered, behind the status (channable.response), at the end of a sentence."""
_MAX_BYTES: Final = 16 * 1024 * 1024
"""Far more than a service writes, whose deferred files are counted (`InboxReport.put_off`)."""
_MISSED_BEATS: Final = 3
_LONGEST_INTERVAL: Final = 60.0
"""No service beats more seldom: what says so is no service's word."""
_GRACE: Final = 10.0
"""Seconds that a fresh report may be older than that many intervals, for a machine that is busy."""


def _as_storable(value: Any) -> Any:
    # An error's words may quote a file name in bytes that are no text, which JSON cannot hold.
    return storable(value) if isinstance(value, str) else value


_Text = Annotated[str, BeforeValidator(_as_storable)]


class InboxReport(BaseModel):
    """How one inbox is doing. `put_off` holds, by file, until when it is deferred and why: not more than a hundred.

    `paused` and `unavailable` say in words why the API or the folders cannot be used, their `_cause` why (one of
    `errors.PauseCause`), and their `_since` since when; an older version says the words only. `standby` is who works on
    it, if another daemon does. `slow` is how slowly the last upload left, if it did. `stopped_by` says that a person
    has paused it, or that its first start holds it. `token` is a fingerprint of the API token in use.

    Since the service began: how many invoices were `accepted`, were `duplicates`, or failed (`failures`, by reason);
    when the last one was accepted; the API's `answers` by status; how many `checks` of PDFs took how long
    (`pipeline.job.CHECK_BOUNDS`), and `check_seconds` in all. `rate` is the rate of requests in force, 0 without limit.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    waiting: int = 0
    mode: _Text = "scans"
    unavailable: _Text | None = None
    standby: _Text | None = None
    unavailable_cause: _Text | None = None
    unavailable_since: float | None = None
    paused: _Text | None = None
    paused_cause: _Text | None = None
    paused_since: float | None = None
    next_probe: float | None = None
    stopped_by: _Text | None = None
    slow: _Text | None = None
    token: _Text | None = None
    put_off: dict[_Text, tuple[float, _Text]] = {}
    accepted: int = 0
    duplicates: int = 0
    failures: dict[_Text, int] = {}
    last_accepted: float | None = None
    answers: dict[_Text, int] = {}
    rate: float | None = None
    checks: list[int] = []
    check_seconds: float = 0.0

    def for_everybody(self) -> Self:
        """Return it without what is only for the service's own user: names of files, words of the API or a person."""
        return self.model_copy(
            update={
                "put_off": {},
                "token": None,
                "unavailable": without_quotes(self.unavailable),
                "paused": without_quotes(self.paused),
                # What a person gives as the reason comes behind a colon, and may be about anybody.
                "stopped_by": None if self.stopped_by is None else self.stopped_by.partition(": ")[0],
            }
        )


class Report(BaseModel):
    """How the service is doing: `beat` is when it wrote this, `interval` is how often it does.

    `pid` is None once the service has stopped; `started` and `namespace` tell its process from any other one of this
    number (`system.life`), `began` is when it began to work. `monotonic` is the beat by the monotonic clock of the
    machine's start `boot`: an older version does not say it. `reporting` is what is wrong with those that tell others
    of the service (`Companion.troubles`).
    """

    model_config = ConfigDict(allow_inf_nan=False)

    pid: int | None
    started: int = 0
    namespace: str = ""
    version: str = ""
    beat: float
    interval: float
    inboxes: dict[_Text, InboxReport]
    began: float | None = None
    boot: str = ""
    monotonic: float | None = None
    reporting: dict[_Text, _Text] = {}

    def age(self, now: float) -> float:
        """Return how old the report is, in seconds; `now` is the time of the wall clock.

        That clock counts only where the report is of another start of the machine, or of another machine: the age is
        negative where it was set back.
        """
        if self.monotonic is not None and self.boot and self.boot == boot_id():
            return time.monotonic() - self.monotonic
        return now - self.beat

    def is_fresh(self, now: float) -> bool:
        """Whether the report is young enough to be believed: a service that writes no other one hangs or is dead."""
        return abs(self.age(now)) <= min(self.interval, _LONGEST_INTERVAL) * _MISSED_BEATS + _GRACE

    @property
    def is_over(self) -> bool:
        """Whether the process that wrote it has certainly ended."""
        if self.pid is None or not self.boot or self.boot != boot_id():
            return False
        return Life(self.pid, self.started, self.namespace).is_over


class StatusFile:
    """The status file as the service has it that writes it. `mode` are its rights."""

    def __init__(self, path: Path, state_dir: Path, mode: int) -> None:
        self._path = path
        self._details_path = state_dir / _DETAILS
        self._mode = mode
        self._details: dict[str, Any] | None = None
        if path.parent != state_dir:
            # What an older version wrote would tell of a service that has stopped.
            with suppress(OSError):
                (state_dir / FILE_NAME).unlink()

    def write(self, report: Report) -> str | None:
        """Replace the file; return why that fails, in words. No invoice depends on it."""
        details = {
            name: {
                field: value for field, value in inbox.model_dump(mode="json", include=set(_PRIVATE)).items() if value
            }
            for name, inbox in report.inboxes.items()
        }
        public = {name: inbox.for_everybody() for name, inbox in report.inboxes.items()}
        content = report.model_copy(update={"inboxes": public}).model_dump(mode="json")
        if details != self._details:
            with suppress(OSError):
                _write(self._details_path, details, 0o600)
                self._details = details
        try:
            _write(self._path, content, self._mode)
        except OSError as error:
            return f"{self._path} cannot be written: {error.strerror or error}"
        return None


def without_quotes(words: str | None) -> str | None:
    """Return a sentence without what the API, or a box before it, has said."""
    return None if words is None else _QUOTED.sub(r"\1\2", words)


def _write(path: Path, content: Any, mode: int) -> None:
    small_file.write(path, json.dumps(content).encode(), mode=mode)


def read(path: Path, state_dir: Path | None = None) -> Report | None:
    """Return what the service last wrote; None if there is nothing, or nothing that a service has written.

    With its details where the `state_dir` is given, and may be read.

    Raises:
        OSError: what is there cannot be read (`unreadable_in_words`).

    """
    try:
        report = Report.model_validate_json(_content(path))
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    if state_dir is not None:
        with suppress(OSError, ValidationError, ValueError, RecursionError):
            details = json.loads(_content(state_dir / _DETAILS))
            for name, inbox in report.inboxes.items():
                if isinstance(details, dict) and isinstance(details.get(name), dict):
                    report.inboxes[name] = _with_details(inbox, details[name])
    return report


def _with_details(inbox: InboxReport, details: dict[str, Any]) -> InboxReport:
    """Return the report with the words in full, but for what is over by now."""
    values = inbox.model_dump()
    known = {field: details[field] for field in _PRIVATE if field in details}
    over = {field for field in ("unavailable", "paused", "stopped_by") if values[field] is None}
    return InboxReport.model_validate(values | {field: value for field, value in known.items() if field not in over})


def _content(path: Path) -> bytes:
    # Not blocking: a FIFO in its place would hold us up for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def unreadable_in_words(path: Path, error: OSError) -> str:
    """Return why the status file cannot be read, and what helps."""
    if isinstance(error, PermissionError):
        who = permissions.ourselves()
        return f"{path} cannot be read by {who}: {error.strerror}; run this command as the service's user"
    return f"{path} cannot be read: {error.strerror or error}"
