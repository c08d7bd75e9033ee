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
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from invoicedrop.errors import Changed, FileUnavailable, FolderUnavailable, Rejected
from invoicedrop.inbox.identity import Identity, identity_of
from invoicedrop.languages.catalogue import phrase
from invoicedrop.reasons import Reason
from invoicedrop.system import disk, file_errors, permissions
from invoicedrop.system.sealed_memory import anonymous_file, freeze
from invoicedrop.timing import DEFAULT_TIMING, Timing

_CHUNK: Final = 1 << 20


class Snapshot:
    """One dropped file's bytes, frozen in memory.

    `fd` and `view` lead to the bytes, `sha256` is their digest in hex, and `identity` is that of the file. `close`
    gives the memory back.
    """

    def __init__(self, fd: int, memory: mmap.mmap | None, *, sha256: str, identity: Identity) -> None:
        self.fd = fd
        self.view = memoryview(memory if memory is not None else b"")
        self.sha256 = sha256
        self.identity = identity
        self._memory = memory

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.identity.size

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self.view.release()
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def take_snapshot(path: Path, max_bytes: int, *, timing: Timing = DEFAULT_TIMING) -> Snapshot:
    """Read the regular file at `path` into memory.

    Raises:
        Changed: there is no such regular file any more, or it changed while it was read.
        Rejected: it is larger than `max_bytes` (then it is not read).
        FileUnavailable: this one file cannot be read now.
        FolderUnavailable: no file can be read now.

    """
    try:
        source = disk.open_regular(path)
    except OSError as error:
        raise _trouble(path, error, timing) from error
    if source is None:
        raise Changed("no regular file any more")
    try:
        status = os.fstat(source)
        if status.st_size > max_bytes:
            raise Rejected(
                Reason.TOO_LARGE,
                phrase("{size} bytes; the limit (max_file_bytes) is {limit}", size=status.st_size, limit=max_bytes),
            )
        fd = anonymous_file()
        try:
            _copy(source, fd, status)
            freeze(fd)
            return _map(fd, status)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise _trouble(path, error, timing) from error
    finally:
        os.close(source)


def _map(fd: int, status: os.stat_result) -> Snapshot:
    size = status.st_size
    # Private: Linux before 6.7 refuses to share a memfd that is sealed against writing.
    memory = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) if size else None
    sha256 = hashlib.sha256(memory if memory is not None else b"").hexdigest()
    return Snapshot(fd, memory, sha256=sha256, identity=identity_of(status))


def _copy(source: int, target: int, status: os.stat_result) -> None:
    """Copy the whole file, whose status was `status` when it was opened.

    Raises:
        Changed: it is another one by now.

    """
    size, copied = status.st_size, 0
    # One byte more than there should be is asked for, to notice growth.
    while copied <= size:
        count = _copy_chunk(source, target, min(_CHUNK, size + 1 - copied))
        if count == 0:
            break
        copied += count
    # Size and time are enough: behind an open descriptor there is one file, though some FUSE renumber its inode.
    if copied != size or identity_of(os.fstat(source))[2:] != identity_of(status)[2:]:
        raise Changed("the file changed while it was read")


def _copy_chunk(source: int, target: int, count: int) -> int:
    try:
        return os.sendfile(target, source, None, count)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS}:
            raise
        # Some FUSE and network file systems cannot be read by sendfile.
        return os.write(target, os.read(source, count))


def _trouble(path: Path, error: OSError, timing: Timing) -> FileUnavailable | FolderUnavailable:
    where = f"{path.name} in {path.parent} cannot be read"
    if file_errors.is_everybodys(error):
        return FolderUnavailable(f"files in {path.parent} cannot be read: {error.strerror or error}")
    with suppress(OSError):
        if isinstance(error, PermissionError) and not os.access(path, os.R_OK, effective_ids=True):
            words = f"{error.strerror}; {permissions.unreadable(path).sentence}"
            return FileUnavailable(timing.file_retry, f"{where}: {words}")
    words = phrase(
        "{file} in {folder} cannot be read: {why}", file=path.name, folder=path.parent, why=file_errors.in_words(error)
    )
    return FileUnavailable(timing.file_retry, words)
