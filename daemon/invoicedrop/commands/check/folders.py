"""What `invoicedrop check` finds in the folders: each right is tested by using it, as the daemon does."""

import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from invoicedrop.commands.check import planted, trials, waiting_files
from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.inbox.events import Events
from invoicedrop.inbox.ownership import OWNER_FILE, last_owner
from invoicedrop.printable import printable
from invoicedrop.service.known_folders import missing_mount
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system import permissions
from invoicedrop.system.file_systems import FileSystem, Nature, file_system_of
from invoicedrop.system.held_folder import link_below, link_below_in_words
from invoicedrop.system.local_time import minute

_EVENT_DEADLINE: Final = 2.0
"""Seconds; an event of this machine takes a millisecond."""
_MANY_FILES: Final = 10
"""Room for fewer invoices of the largest size than this is worth a warning."""
_FEW_INODES: Final = 1_000
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_LIMITS: Final = "sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=1048576"


def of_inbox(
    inbox: Inbox,
    *,
    state_dir: Path | None = None,
    ledger: str | None = None,
    put_off: Mapping[str, tuple[float, str]] | None = None,
    event_deadline: float = _EVENT_DEADLINE,
) -> list[Finding]:
    """Test an inbox's three folders, moves between them, events, room, and the files that wait there.

    `state_dir` has the daemon's memory of what was mounted there, `ledger` is the identity of our ledger, if there is
    one, `put_off` is what a running service reports of deferred files (`InboxReport`); `event_deadline` is how long an
    event is waited for, in seconds.
    """
    now = time.time()
    for subject, folder in zip(("drop", "processed", "failed"), inbox.fixed_folders, strict=True):
        missing = None if state_dir is None else missing_mount(state_dir, inbox.name, folder)
        if missing is not None:
            # To try the folder in its place would write into the mount point.
            return [Finding(f"{subject}_dir", inbox.name, Level.PROBLEM, missing, "mount it, or do as it says")]
        refusal = planted.strangers_link(folder)
        if refusal is not None:
            # To try it would write where the link leads.
            return [_refused(f"{subject}_dir", inbox, refusal)]
    link = link_below(inbox.processed, now)
    if link is not None:
        return [_refused("processed_dir", inbox, link_below_in_words(link, inbox.processed.fixed))]
    refusal = trials.use(inbox.drop_dir)
    if refusal is not None:
        # What is inside it, and moves out of it, would fail for the same reason.
        return [_refused("drop_dir", inbox, refusal)]
    return [
        *_usable("drop_dir", inbox.drop_dir, inbox),
        *_sticky(inbox),
        *_owner(inbox, ledger),
        *waiting_files.of_inbox(inbox, put_off or {}),
        *planted.of_inbox(inbox, now),
        *_target("processed", inbox.processed.at(now), inbox),
        *_target("failed", inbox.failed_dir, inbox),
        _events(inbox, event_deadline),
    ]


def of_state(state_dir: Path) -> list[Finding]:
    """Test the state folder: the ledger must be written safely, and survive a reboot."""
    if trials.is_missing(state_dir) and trials.can_be_made(state_dir):
        finding = Finding("state_dir", "", Level.OK, f"{state_dir}: is made at the first start")
        return [finding, *_durability(state_dir, file_system_of(state_dir))]
    refusal = trials.use(state_dir)
    if refusal is not None:
        return [Finding("state_dir", "", Level.PROBLEM, refusal.problem, refusal.remedy, refusal.by_rights)]
    file_system = file_system_of(state_dir)
    room, level = _room(state_dir, _MIB)
    text = f"{state_dir}: write, rename and delete work; {file_system}, {room}"
    findings = [Finding("state_dir", "", Level.OK, text)]
    if level is not Level.OK:
        findings.append(Finding("state_dir room", "", level, f"{state_dir}: {room}", "make room on that disk"))
    return findings + _durability(state_dir, file_system)


def _refused(subject: str, inbox: Inbox, refusal: permissions.Refusal) -> Finding:
    return Finding(subject, inbox.name, Level.PROBLEM, refusal.problem, refusal.remedy, refusal.by_rights)


def _usable(subject: str, folder: Path, inbox: Inbox) -> Iterator[Finding]:
    file_system = file_system_of(folder)
    room, room_level = _room(folder, inbox.max_file_bytes)
    text = f"{folder}: write, rename and delete work; {file_system}, {room}"
    in_container = file_system.nature is Nature.CONTAINER
    if room_level is not Level.OK:
        yield Finding(f"{subject} room", inbox.name, room_level, f"{folder}: {room}", "make room on that disk")
    if in_container:
        text += ": only programs in this container see it, and it is gone with the container"
    level = Level.OK if room_level is Level.OK and not in_container else Level.NOTE
    yield Finding(subject, inbox.name, level, text)


def _target(name: str, folder: Path, inbox: Inbox) -> Iterator[Finding]:
    """Test the folder that finished invoices are moved to."""
    subject = f"{name}_dir"
    try:
        with trials.temporarily_made(folder, inbox.drop_dir):
            refusal = trials.use(folder)
            if refusal is not None:
                yield _refused(subject, inbox, refusal)
                return
            yield from _usable(subject, folder, inbox)
            yield _move(f"drop to {name}", folder, inbox)
    except OSError as error:
        yield _refused(subject, inbox, permissions.explained(folder, error))


def _move(subject: str, folder: Path, inbox: Inbox) -> Finding:
    """Move a file as a finished invoice is moved. An equal st_dev proves nothing: bind mounts have it too."""
    drop = inbox.drop_dir
    try:
        trials.move(drop, folder)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return Finding(
                subject,
                inbox.name,
                Level.WARNING,
                "another file system or another mount: each file is copied, compared and then removed, "
                "which is safe but slower",
                f"put {drop} and {folder} below one mount (in Docker: mount the folder above both, once)",
            )
        return _refused(subject, inbox, permissions.explained(folder, error))
    return Finding(subject, inbox.name, Level.OK, "a plain rename, in one step")


def _sticky(inbox: Inbox) -> Iterator[Finding]:
    refusal = permissions.sticky(inbox.drop_dir)
    if refusal is not None:
        yield _refused("drop_dir sticky", inbox, refusal)


def _owner(inbox: Inbox, ledger: str | None) -> Iterator[Finding]:
    """Tell whose the drop folder is, if a daemon is at work on it, or was ended hard."""
    last = last_owner(inbox.drop_dir)
    if last is None:
        return
    if last.owner.ledger == ledger:
        yield Finding("drop_dir owner", inbox.name, Level.OK, f"this service's ({last.owner})")
        return
    beat, writer = minute(last.beat), permissions.user_name(last.uid)
    yield Finding(
        "drop_dir owner",
        inbox.name,
        Level.WARNING,
        f"another invoicedrop's ({last.owner}; last sign of life {beat}; the file is {writer}'s): while that one is at "
        "work, none with this state_dir starts",
        "stop that one, or let each have a drop folder of its own; one that has ended is succeeded at the next start. "
        f"If none is at work on {printable(last.owner.host)}, somebody who may write here keeps {OWNER_FILE} fresh: "
        f"see what {writer} runs, and take the right to write away where it is not needed",
    )


def _events(inbox: Inbox, deadline: float) -> Finding:
    """Test whether an event comes for a file of our own; without events, scans find the files."""
    scans = f"a look at the whole folder every {inbox.scan_interval:g} s"
    woken = threading.Event()
    events = Events(woken.set)
    try:
        refusal = events.watch(inbox.drop_dir)
        if refusal is not None:
            text = f"the system allows no events here ({refusal}): files are found by {scans}"
            return Finding("events", inbox.name, Level.WARNING, text, _LIMITS)
        event_came = trials.event_comes(events, woken, inbox.drop_dir, deadline)
    except OSError as error:
        return _refused("events", inbox, permissions.explained(inbox.drop_dir, error))
    finally:
        events.close()
    file_system = file_system_of(inbox.drop_dir)
    level = Level.NOTE
    if not event_came:
        text = f"none come from {file_system}: files are found by {scans}"
    elif file_system.shared:
        text = f"{file_system}: of what other machines write no event comes; {scans} finds it"
    else:
        level, text = Level.OK, f"inotify is at work (and besides, {scans})"
    return Finding("events", inbox.name, level, text)


def _durability(state_dir: Path, file_system: FileSystem) -> list[Finding]:
    trouble = {
        Nature.MEMORY: "what was sent is forgotten at a reboot, and could then be sent again",
        Nature.CONTAINER: "what was sent is forgotten with the container, and could then be sent again",
        Nature.NETWORK: "a network share does not keep SQLite's locks and its order of writing reliably",
        Nature.HOST: "a folder of the host does not keep SQLite's locks and its order of writing reliably",
    }.get(file_system.nature)
    if trouble is None:
        return []
    remedy = "set state_dir to a folder on a local disk"
    if file_system.nature is Nature.CONTAINER:
        remedy = f"mount a volume at {state_dir}"
    return [Finding("state_dir kind", "", Level.WARNING, f"{file_system}: {trouble}", remedy)]


def _room(folder: Path, largest: int) -> tuple[str, Level]:
    """Return how much room there is, in words, and whether it is enough for files of at most `largest` bytes."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    text = f"{free / _GIB:.1f} GiB free" if free >= _GIB else f"{free / _MIB:.0f} MiB free"
    # Some file systems (btrfs, network shares) do not count inodes.
    inodes = status.f_favail if status.f_files else _FEW_INODES
    if inodes < _FEW_INODES:
        text += f", but only {inodes} files more"
    if free < largest or inodes < _MANY_FILES:
        return text, Level.PROBLEM
    if free < largest * _MANY_FILES or inodes < _FEW_INODES:
        return text, Level.WARNING
    return text, Level.OK
