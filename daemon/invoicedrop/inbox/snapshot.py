"""Read once: the bytes that are hashed are the bytes that are checked are the bytes that are sent.

A dropped file is opened once and copied, inside the kernel, into anonymous shared memory (a memfd). From there it is
hashed, handed to the checking process as a descriptor, and uploaded: one copy in memory, whatever the file's writer
does meanwhile. That memory is sealed: not even a checking process that a hostile file has taken over can change what
is sent.
"""

import errno
import hashlib
import mmap
import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from invoicedrop.errors import Changed, Deferred, FolderUnavailable, Rejected
from invoicedrop.inbox.identity import identity_of
from invoicedrop.reasons import Reason
from invoicedrop.system import permissions
from invoicedrop.system.sealed_memory import anonymous_file, freeze
from invoicedrop.timing import DEFAULT_TIMING, Timing

_CHUNK: Final = 1 << 20
_ONE_FILE: Final = {errno.EACCES, errno.EPERM, errno.EIO}
# A name that leads to no regular file (any more): gone, a symlink (O_NOFOLLOW), a folder, a socket, a device.
_NOT_A_FILE: Final = {errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ENOTDIR}


class Snapshot:
    """One dropped file's bytes, frozen in memory.

    `fd` and `view` lead to the bytes, `size` and `sha256` describe them, `identity` is that of the file read, and
    `changed_at` is when it last changed by its file system's clock, in seconds since the epoch (its ctime: unlike its
    modification time, no copying program can set that).
    """

    def __init__(self, fd: int, size: int, found: os.stat_result) -> None:
        self.fd = fd
        self.size = size
        self.identity = identity_of(found)
        self.changed_at = found.st_ctime
        # Private: Linux before 6.7 refuses to share a memfd that is sealed against writing.
        self._map = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) if size else None
        self.view = memoryview(self._map) if self._map is not None else memoryview(b"")
        self.sha256 = hashlib.sha256(self.view).hexdigest()

    def close(self) -> None:
        """Give the memory back."""
        self.view.release()
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def read(path: Path, max_bytes: int, *, timing: Timing = DEFAULT_TIMING) -> Snapshot:
    """Read the regular file at `path` into memory.

    Raises:
        Changed: there is no such regular file any more, or it changed while it was read.
        Rejected: it is larger than `max_bytes` (then it is not read).
        Deferred: this one file cannot be read now.
        FolderUnavailable: no file can be read now.

    """
    try:
        source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise Changed(f"no regular file any more: {error.strerror}") from error
        raise _trouble(path, error, timing) from error
    try:
        before = os.fstat(source)
        if not stat.S_ISREG(before.st_mode):
            raise Changed("not a regular file")
        if before.st_size > max_bytes:
            raise Rejected(Reason.TOO_LARGE, f"{before.st_size} bytes; the limit (max_file_bytes) is {max_bytes}")
        target = anonymous_file()
        try:
            size = _copy(source, target, before)
            freeze(target)
            return Snapshot(target, size, before)
        except BaseException:
            os.close(target)
            raise
    except OSError as error:
        raise _trouble(path, error, timing) from error
    finally:
        os.close(source)


def require_there(path: Path) -> None:
    """See that there is still something at `path`.

    Raises:
        Changed: there is nothing any more.
        FolderUnavailable: it cannot be seen now.

    """
    try:
        path.lstat()
    except FileNotFoundError as error:
        raise Changed("the file is gone") from error
    except OSError as error:
        raise FolderUnavailable(f"{path} cannot be seen: {error.strerror or error}") from error


def _trouble(path: Path, error: OSError, timing: Timing) -> Deferred | FolderUnavailable:
    detail = f"{path.name} in {path.parent} cannot be read: {error.strerror or error}"
    with suppress(OSError):
        if isinstance(error, PermissionError) and not os.access(path, os.R_OK, effective_ids=True):
            detail = f"{detail}; {permissions.unreadable(path).sentence}"
    return Deferred(timing.file_retry, detail) if error.errno in _ONE_FILE else FolderUnavailable(detail)


def digest(path: Path) -> str | None:
    """Return the SHA-256 of the regular file at `path`, in hex; None if there is none (any more)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _copy(source: int, target: int, before: os.stat_result) -> int:
    """Copy the whole file; return its size.

    Raises:
        Changed: it is not as it was `before`.

    """
    expected, copied = before.st_size, 0
    # One byte more than expected is asked for, to notice growth.
    while copied <= expected:
        count = _copy_some(source, target, min(_CHUNK, expected + 1 - copied))
        if count == 0:
            break
        copied += count
    if copied != expected or identity_of(os.fstat(source)) != identity_of(before):
        raise Changed("the file changed while it was read")
    return copied


def _copy_some(source: int, target: int, most: int) -> int:
    try:
        return os.sendfile(target, source, None, most)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS}:
            raise
        # Some FUSE and network file systems cannot be read by sendfile.
        return os.write(target, os.read(source, most))
