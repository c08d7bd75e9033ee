"""What `invoicedrop check` tries out in the folders: each right by using it, as the daemon will.

A running daemon is not disturbed: trial files have names that its watcher passes over, and nothing is left behind,
folders made for the trial included.
"""

import errno
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.inbox.events import Events
from invoicedrop.inbox.listing import list_folder
from invoicedrop.settings.models import Inbox
from invoicedrop.system import disk, permissions
from invoicedrop.system.file_systems import FileSystem, Nature, file_system_of
from invoicedrop.system.mover import DEFAULT_MOVER

_TRIES: Final = 3
"""A daemon that starts, or comes back from trouble, removes trial files as left over: then they are made again."""
_EVENT_DEADLINE: Final = 2.0
"""Seconds; an event of this machine takes a millisecond."""
_MOST_FILES: Final = 10_000
"""Waiting files whose rights are looked at."""
_MANY_FILES: Final = 10
"""Room for fewer of the largest invoices than this is worth a warning."""
_FEW_INODES: Final = 1_000
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_LIMITS: Final = "sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=1048576"


def of_inbox(inbox: Inbox) -> list[Finding]:
    """Try out an inbox's three folders, the ways between them, events, room, and the files that wait there."""
    return list(_InboxCheck(inbox).findings())


class _InboxCheck:
    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    def found(self, subject: str, level: Level, text: str, remedy: str = "") -> Finding:
        return Finding(subject, self.inbox.name, level, text, remedy)

    def refused(self, subject: str, refusal: permissions.Refusal) -> Finding:
        return self.found(subject, Level.PROBLEM, refusal.problem, refusal.remedy)

    def findings(self) -> Iterator[Finding]:
        drop = self.inbox.drop_dir
        refusal = _trial(drop)
        if refusal is not None:
            # What lies inside it, and the ways from it, would fail for the same reason.
            yield self.refused("drop_dir", refusal)
            return
        yield from self._good_folder("drop_dir", drop)
        yield from self._sticky()
        yield from self._waiting_files()
        for subject, folder in (("processed_dir", self.inbox.processed_dir), ("failed_dir", self.inbox.failed_dir)):
            yield from self._target(subject, folder)
        yield self._events()

    def _target(self, subject: str, folder: Path) -> Iterator[Finding]:
        try:
            with _made_for_the_trial(folder, self.inbox.drop_dir):
                refusal = _trial(folder)
                if refusal is not None:
                    yield self.refused(subject, refusal)
                    return
                yield from self._good_folder(subject, folder)
                yield self._way(subject.removesuffix("_dir"), folder)
        except OSError as error:
            yield self.refused(subject, permissions.explained(folder, error))

    def _good_folder(self, subject: str, folder: Path) -> Iterator[Finding]:
        where = file_system_of(folder)
        room, enough = _room(folder, self.inbox.max_file_bytes)
        text = f"{folder}: write, rename and delete work; {where}, {room}"
        level = Level.OK if enough is Level.OK and where.nature is not Nature.CONTAINER else Level.NOTE
        if enough is not Level.OK:
            yield self.found(f"{subject} room", enough, f"{folder}: {room}", "make room on that disk")
        if where.nature is Nature.CONTAINER:
            text += ": only programs in this container see it, and it is gone with the container"
        yield self.found(subject, level, text)

    def _way(self, name: str, folder: Path) -> Finding:
        """Move a file as a finished invoice is moved. An equal st_dev proves nothing: bind mounts have it too."""
        subject = f"drop to {name}"
        drop = self.inbox.drop_dir
        try:
            _again(lambda: _move_one(drop, folder))
        except OSError as error:
            if error.errno == errno.EXDEV:
                return self.found(
                    subject,
                    Level.WARNING,
                    "another file system or another mount: each file is copied, compared and then removed, "
                    "which is safe but slower",
                    f"put {drop} and {folder} below one mount (in Docker: mount the folder above both, once)",
                )
            return self.refused(subject, permissions.explained(folder, error))
        return self.found(subject, Level.OK, "a plain rename, in one step")

    def _sticky(self) -> Iterator[Finding]:
        refusal = permissions.sticky(self.inbox.drop_dir)
        if refusal is not None:
            yield self.refused("drop_dir sticky", refusal)

    def _waiting_files(self) -> Iterator[Finding]:
        """Look for waiting files that we may not read; only trouble is worth a line."""
        drop = self.inbox.drop_dir
        invoices = (drop / entry.name for entry in islice(list_folder(drop), _MOST_FILES) if entry.left_alone is None)
        unreadable = [path for path in invoices if not os.access(path, os.R_OK, effective_ids=True)]
        if not unreadable:
            return
        with suppress(FileNotFoundError):
            first = permissions.unreadable(unreadable[0])
            others = f" ({len(unreadable)} such files wait)" if len(unreadable) > 1 else ""
            yield self.found("waiting files", Level.PROBLEM, first.problem + others, first.remedy)

    def _events(self) -> Finding:
        """See whether the kernel tells us of a file of our own, and say how files are found if it does not."""
        every = f"a look at the whole folder every {self.inbox.scan_interval:g} s"
        heard = threading.Event()
        events = Events(heard.set)
        try:
            refused = events.watch(self.inbox.drop_dir)
            if refused is not None:
                text = f"the system allows no events here ({refused}): files are found by {every}"
                return self.found("events", Level.WARNING, text, _LIMITS)
            came = _hears(events, heard, self.inbox.drop_dir)
        except OSError as error:
            return self.refused("events", permissions.explained(self.inbox.drop_dir, error))
        finally:
            events.close()
        where = file_system_of(self.inbox.drop_dir)
        if not came:
            return self.found("events", Level.NOTE, f"none come from {where}: files are found by {every}")
        if where.shared:
            return self.found(
                "events", Level.NOTE, f"{where}: of what other machines write no event comes; {every} finds it"
            )
        return self.found("events", Level.OK, f"inotify is at work (and besides, {every})")


def of_state(state_dir: Path) -> list[Finding]:
    """Try out the state folder: the memory of what was sent must be written safely, and survive a reboot."""
    if not os.path.lexists(state_dir) and _can_be_made(state_dir):
        made = Finding("state_dir", "", Level.OK, f"{state_dir}: is made at the first start")
        return [made, *_lasting(state_dir, file_system_of(state_dir))]
    refusal = _trial(state_dir)
    if refusal is not None:
        return [Finding("state_dir", "", Level.PROBLEM, refusal.problem, refusal.remedy)]
    where = file_system_of(state_dir)
    room, enough = _room(state_dir, _MIB)
    findings = [Finding("state_dir", "", Level.OK, f"{state_dir}: write, rename and delete work; {where}, {room}")]
    if enough is not Level.OK:
        findings.append(Finding("state_dir room", "", enough, f"{state_dir}: {room}", "make room on that disk"))
    return findings + _lasting(state_dir, where)


def _lasting(state_dir: Path, where: FileSystem) -> list[Finding]:
    trouble = {
        Nature.MEMORY: "what was sent is forgotten at a reboot, and could then be sent again",
        Nature.CONTAINER: "what was sent is forgotten with the container, and could then be sent again",
        Nature.NETWORK: "a network share does not keep SQLite's locks and its order of writing reliably",
        Nature.HOST: "a folder of the host does not keep SQLite's locks and its order of writing reliably",
    }.get(where.nature)
    if trouble is None:
        return []
    remedy = "set state_dir to a folder on a local disk"
    if where.nature is Nature.CONTAINER:
        remedy = f"mount a volume at {state_dir}"
    return [Finding("state_dir kind", "", Level.WARNING, f"{where}: {trouble}", remedy)]


# Trials


def _trial(folder: Path) -> permissions.Refusal | None:
    """Write, rename, list and delete in `folder`; return what was refused."""

    def use() -> None:
        with os.scandir(folder) as entries:
            next(entries, None)
        _move_one(folder, folder)

    try:
        if not folder.is_dir() and folder.exists():
            return permissions.explained(folder, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        _again(use)
    except OSError as error:
        return permissions.explained(folder, error)
    return None


def _again(trial: Callable[[], None]) -> None:
    for left in reversed(range(_TRIES)):
        try:
            trial()
        except FileNotFoundError:
            if not left:
                raise
        else:
            return


def _move_one(source: Path, target: Path) -> None:
    """Write a trial file in one folder, move it to another (or rename it within), and delete it there."""
    trial = disk.write_new(source, b"A trial of invoicedrop check; may be removed.\n")
    moved = target / f"{disk.TEMPORARY}{secrets.token_hex(8)}.tmp"
    try:
        DEFAULT_MOVER.move(trial, moved)
        moved.unlink()
    finally:
        for left in (trial, moved):
            # What cannot be removed is what is being reported.
            with suppress(OSError):
                disk.remove(left)


@contextmanager
def _made_for_the_trial(folder: Path, drop_dir: Path) -> Iterator[None]:
    """Make a folder as the daemon would at its start (a drop folder that goes away is not made anew), and remove it."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        disk.make_folder(folder, parents=drop_dir not in folder.parents)
        yield
    finally:
        for path in missing:
            # A daemon that has begun meanwhile may have put something into it.
            with suppress(OSError):
                path.rmdir()


def _can_be_made(folder: Path) -> bool:
    there = next(parent for parent in folder.parents if os.path.lexists(parent))
    return os.access(there, os.W_OK | os.X_OK, effective_ids=True)


def _hears(events: Events, heard: threading.Event, folder: Path) -> bool:
    trial = disk.write_new(folder, b"A trial of invoicedrop check; may be removed.\n")
    try:
        deadline = time.monotonic() + _EVENT_DEADLINE
        while heard.wait(max(0.0, deadline - time.monotonic())):
            heard.clear()
            names, _ = events.take()
            if trial.name in names:
                return True
        return False
    finally:
        disk.remove(trial)


def _room(folder: Path, largest: int) -> tuple[str, Level]:
    """Say how much room there is for files of at most `largest` bytes, and whether that is enough."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    text = f"{free / _GIB:.1f} GiB free" if free >= _GIB else f"{free / _MIB:.0f} MiB free"
    # Some file systems (btrfs, network shares) do not count inodes.
    inodes = found.f_favail if found.f_files else _FEW_INODES
    if inodes < _FEW_INODES:
        text += f", but only {inodes} files more"
    if free < largest or inodes < _MANY_FILES:
        return text, Level.PROBLEM
    if free < largest * _MANY_FILES or inodes < _FEW_INODES:
        return text, Level.WARNING
    return text, Level.OK
