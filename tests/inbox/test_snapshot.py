import errno
import fcntl
import hashlib
import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invoicedrop.errors import Changed, FileUnavailable, FolderUnavailable, Rejected
from invoicedrop.inbox.identity import digest, identity_of
from invoicedrop.inbox.snapshot import _CHUNK, take_snapshot
from invoicedrop.reasons import Reason
from system_calls import refusing

LIMIT = 8 * _CHUNK


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an invoice is dropped."""
    return tmp_path / "8355.pdf"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=3000))
def test_what_is_read_is_what_is_there(path: Path, content: bytes) -> None:
    """Bytes, size, hash and identity are those of the file."""
    path.write_bytes(content)
    with take_snapshot(path, LIMIT) as snapshot:
        assert bytes(snapshot.view) == content
        assert os.pread(snapshot.fd, 4000, 0) == content
        assert snapshot.size == len(content)
        assert snapshot.sha256 == hashlib.sha256(content).hexdigest() == digest(path)
        assert snapshot.identity == identity_of(path.lstat())


@pytest.mark.parametrize("size", [0, 1, _CHUNK - 1, _CHUNK, _CHUNK + 1, 3 * _CHUNK + 5])
@pytest.mark.parametrize("sendfile", [True, False])
def test_every_size_is_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, sendfile: bool) -> None:
    """Around the edges of what is copied at once, and where the file system knows no sendfile, nothing is missing."""
    if not sendfile:
        monkeypatch.setattr(os, "sendfile", refusing(errno.EINVAL))
    content = hashlib.sha512(b"%d" % size).digest() * (size // 64 + 1)
    path.write_bytes(content[:size])
    with take_snapshot(path, LIMIT) as snapshot:
        assert bytes(snapshot.view) == content[:size]


def test_without_memory_files_a_temporary_file_serves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no memfd, the bytes are frozen all the same."""
    monkeypatch.delattr(os, "memfd_create")
    path.write_bytes(b"%PDF")
    with take_snapshot(path, LIMIT) as snapshot:
        path.write_bytes(b"other")
        assert bytes(snapshot.view) == b"%PDF"


@pytest.mark.parametrize("oldest", [False, True])
def test_what_was_read_is_sealed(path: Path, monkeypatch: pytest.MonkeyPatch, *, oldest: bool) -> None:
    """Nobody who has the descriptor can write to the memory or change its size, on older kernels, too."""
    if oldest:
        create = os.memfd_create

        def as_before_linux_6_3(name: str, flags: int) -> int:
            if flags & ~(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
                raise OSError(errno.EINVAL, "Invalid argument")
            return create(name, flags)

        monkeypatch.setattr(os, "memfd_create", as_before_linux_6_3)
    path.write_bytes(b"%PDF the first")
    with take_snapshot(path, LIMIT) as snapshot:
        with pytest.raises(PermissionError):
            os.pwrite(snapshot.fd, b"x", 0)
        with pytest.raises(PermissionError):
            mmap.mmap(snapshot.fd, 4)
        for size in (3, 4000):
            with pytest.raises(PermissionError):
                os.ftruncate(snapshot.fd, size)
        with pytest.raises(PermissionError):
            fcntl.fcntl(snapshot.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        assert bytes(snapshot.view) == b"%PDF the first"


def test_trouble_with_memory_leaves_no_descriptor(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is not granted or cannot be sealed, the inbox waits, and every descriptor is given back."""
    path.write_bytes(b"%PDF")
    before = descriptors()
    for module, call in ((os, "memfd_create"), (fcntl, "fcntl")):
        with monkeypatch.context() as patch:
            patch.setattr(module, call, refusing(errno.ENOMEM))
            with pytest.raises(FolderUnavailable):
                take_snapshot(path, LIMIT)
    assert descriptors() == before


def test_what_was_read_stays_as_it_was(path: Path) -> None:
    """Nothing that happens to the file afterwards changes what was read."""
    path.write_bytes(b"%PDF the first")
    with take_snapshot(path, LIMIT) as snapshot:
        with path.open("r+b") as stream:
            stream.write(b"overwritten in place")
        path.unlink()
        assert bytes(snapshot.view) == b"%PDF the first"
        assert hashlib.sha256(snapshot.view).hexdigest() == snapshot.sha256


def test_a_file_is_opened_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One open, so that what is hashed, checked and sent cannot be two different files."""
    path.write_bytes(b"%PDF")
    opened: list[object] = []
    real = os.open

    def counting(name: str | Path, flags: int) -> int:
        opened.append(name)
        return real(name, flags)

    monkeypatch.setattr(os, "open", counting)
    take_snapshot(path, LIMIT).close()
    assert opened == [path]


def test_closing_gives_everything_back(path: Path) -> None:
    """A closed snapshot holds no descriptor, and may be closed twice."""
    path.write_bytes(b"%PDF")
    before = descriptors()
    snapshot = take_snapshot(path, LIMIT)
    snapshot.close()
    snapshot.close()
    assert descriptors() == before


def test_a_file_at_the_limit_passes_and_one_byte_more_is_never_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is the largest size that passes; what is larger is refused by its size alone."""
    path.write_bytes(b"x" * 1000)
    take_snapshot(path, 1000).close()
    path.write_bytes(b"x" * 1001)
    monkeypatch.setattr(os, "sendfile", refusing(errno.EIO))
    monkeypatch.setattr(os, "read", refusing(errno.EIO))
    with pytest.raises(Rejected, match="1001 bytes") as caught:
        take_snapshot(path, 1000)
    assert caught.value.reason is Reason.TOO_LARGE


def bind(path: Path) -> None:
    """Bind a socket there."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def link_to_a_file(path: Path) -> None:
    """Link to a regular file beside."""
    (path.parent / "target").write_bytes(b"%PDF")
    path.symlink_to("target")


NO_FILES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _path: None,
    "symlink": link_to_a_file,
    "dangling": lambda path: path.symlink_to("nowhere"),
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "socket": bind,
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_regular_file_is_not_read(path: Path, kind: str) -> None:
    """A link, FIFO, folder, socket or nothing where a file was is a change: no waiting, no error, no digest."""
    NO_FILES[kind](path)
    before = descriptors()
    with pytest.raises(Changed):
        take_snapshot(path, LIMIT)
    assert digest(path) is None
    assert descriptors() == before


def exchanging(path: Path, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the file once, in the middle of its being copied."""
    real = os.sendfile
    done: list[bool] = []

    def copy(target: int, source: int, offset: int | None, count: int) -> int:
        copied = real(target, source, offset, min(count, 500))
        if not done:
            done.append(True)
            change(path)
        return copied

    monkeypatch.setattr(os, "sendfile", copy)


def append(path: Path) -> None:
    """Write on at the end."""
    with path.open("ab") as stream:
        stream.write(b"more")


def overwrite(path: Path) -> None:
    """Change a byte in place and set the time a little on, as a later write would."""
    with path.open("r+b") as stream:
        stream.write(b"X")
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))


@pytest.mark.parametrize("change", [append, overwrite, lambda path: os.truncate(path, 10)])
def test_a_file_that_changes_while_it_is_read_is_not_taken(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    """Growing, shrinking or being overwritten during the read makes it a file that is still being written."""
    path.write_bytes(b"x" * 2000)
    exchanging(path, change, monkeypatch)
    with pytest.raises(Changed):
        take_snapshot(path, LIMIT)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.rename(path.with_name("away"))])
def test_a_file_that_loses_its_name_while_it_is_read_is_read_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    """The name is not looked at again: what was opened is read to its end."""
    path.write_bytes(b"x" * 2000)
    exchanging(path, change, monkeypatch)
    with take_snapshot(path, LIMIT) as snapshot:
        assert bytes(snapshot.view) == b"x" * 2000


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EDQUOT])
def test_trouble_of_the_machine_is_not_the_invoices(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """No descriptors, no memory, a disk that has turned read-only: the inbox waits, and no invoice is named for it."""
    path.write_bytes(b"%PDF")
    monkeypatch.setattr(os, "open", refusing(code))
    with pytest.raises(FolderUnavailable) as raised:
        take_snapshot(path, LIMIT)
    assert str(raised.value) == f"files in {path.parent} cannot be read: {os.strerror(code)}"


@pytest.mark.parametrize("call", ["open", "sendfile"])
@pytest.mark.parametrize(
    "code",
    [
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.EBUSY,
        errno.EAGAIN,
        errno.ETXTBSY,
        errno.ESTALE,
        errno.EUCLEAN,
        errno.ENXIO,
        errno.ENODEV,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ETIMEDOUT,
    ],
)
def test_one_file_that_cannot_be_read_does_not_stop_the_others(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """A file without the right to read it, open elsewhere, or on a bad sector waits alone, with words that name it."""
    path.write_bytes(b"%PDF")
    monkeypatch.setattr(os, call, refusing(code))
    with pytest.raises(FileUnavailable, match=r"8355\.pdf") as caught:
        take_snapshot(path, LIMIT)
    assert caught.value.delay >= 1


def test_memory_that_is_not_given_leaks_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no memory can be mapped, the inbox waits and every descriptor is given back."""
    path.write_bytes(b"%PDF")
    before = descriptors()
    monkeypatch.setattr(mmap, "mmap", refusing(errno.ENOMEM))
    with pytest.raises(FolderUnavailable):
        take_snapshot(path, LIMIT)
    assert descriptors() == before
