"""A FUSE file system whose errors, inode numbers and delays the test decides: it speaks the kernel's protocol itself.

It mirrors a real folder. `FuseFolder.trouble[name][operation] = errno` lets an operation on that name fail, for
everybody who looks through the mount. Needs root and /dev/fuse; `mounted` skips without them. The protocol is that of
<linux/fuse.h>, version 7.31 (https://man7.org/linux/man-pages/man4/fuse.4.html).
"""

import ctypes
import errno
import itertools
import os
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

_HEADER: Final = struct.Struct("<IIQQIIII")
_ATTR: Final = struct.Struct("<QQQQQQIIIIIIIIII")
_BUFFER: Final = 1 << 18
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH: Final = 2

Reply = bytes | int


class FuseFolder:
    """A mirror of `real`; see the module. `trouble` is by name: operation to errno ("*": every operation)."""

    def __init__(self, real: Path) -> None:
        self.real = real
        self.trouble: dict[str, dict[str, int]] = {}
        self.unstable_inodes = False
        self.getattr_delay = 0.0
        self.seen: list[tuple[str, str]] = []
        self._nodes: dict[int, Path] = {1: real}
        self._ids: dict[Path, int] = {real: 1}
        self._inodes = itertools.count(1000)
        self._handles: dict[int, list[os.DirEntry[str]]] = {}
        self._lock = threading.Lock()

    # The protocol

    def serve(self, device: int) -> None:
        """Answer the kernel until the file system is unmounted."""
        while True:
            try:
                request = os.read(device, _BUFFER)
            except OSError as error:
                if error.errno in {errno.EINTR, errno.EAGAIN, errno.ENOENT}:
                    continue
                return
            _length, opcode, unique, node, *_rest = _HEADER.unpack_from(request)
            body = request[_HEADER.size :]
            answer = self._answer(opcode, node, body)
            if answer is None:
                continue
            code, content = (-answer, b"") if isinstance(answer, int) else (0, answer)
            with suppress(OSError):
                os.write(device, struct.pack("<IiQ", 16 + len(content), code, unique) + content)

    def _answer(self, opcode: int, node: int, body: bytes) -> Reply | None:
        known = {
            1: self._lookup,
            3: self._getattr,
            4: self._setattr,
            9: self._mkdir,
            10: self._unlink,
            11: self._rmdir,
            12: self._rename,
            13: self._link,
            14: self._open,
            15: self._read,
            16: self._write,
            17: self._statfs,
            18: self._release,
            20: self._fsync,
            25: self._fsync,
            26: self._init,
            27: self._opendir,
            28: self._readdir,
            29: self._releasedir,
            30: self._fsync,
            35: self._create,
            45: self._rename2,
        }
        if opcode in {2, 42}:
            return None
        call: Callable[[int, bytes], Reply] | None = known.get(opcode)
        if call is None:
            return errno.ENOSYS
        try:
            return call(node, body)
        except OSError as error:
            return error.errno or errno.EIO

    def _meet(self, path: Path, operation: str) -> Path:
        """Raise the trouble that this name has with this operation."""
        self.seen.append((operation, path.name))
        trouble = self.trouble.get(path.name, {})
        code = trouble.get(operation, trouble.get("*"))
        if code is not None:
            raise OSError(code, os.strerror(code))
        return path

    def _child(self, node: int, name: bytes) -> Path:
        return self._nodes[node] / os.fsdecode(name.split(b"\0")[0])

    def _attr(self, path: Path) -> bytes:
        status = path.lstat()
        inode = next(self._inodes) if self.unstable_inodes else status.st_ino
        times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
        return _ATTR.pack(
            inode,
            status.st_size,
            status.st_blocks,
            *(moment // 10**9 for moment in times),
            *(moment % 10**9 for moment in times),
            status.st_mode,
            status.st_nlink,
            status.st_uid,
            status.st_gid,
            0,
            4096,
            0,
        )

    def _entry(self, path: Path) -> bytes:
        attr = self._attr(path)
        with self._lock:
            if path not in self._ids:
                self._ids[path] = len(self._nodes) + 1
                self._nodes[self._ids[path]] = path
        # Nothing is cached: every look comes here.
        return struct.pack("<QQQQII", self._ids[path], 0, 0, 0, 0, 0) + attr

    # The operations

    def _init(self, _node: int, body: bytes) -> Reply:
        _major, _minor, readahead, _flags = struct.unpack_from("<IIII", body)
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, readahead, 0, 12, 9, 1 << 17, 1, 32, 0, 0, *[0] * 7)

    def _lookup(self, node: int, body: bytes) -> Reply:
        return self._entry(self._meet(self._child(node, body), "getattr"))

    def _getattr(self, node: int, _body: bytes) -> Reply:
        path = self._meet(self._nodes[node], "getattr")
        time.sleep(self.getattr_delay)
        return struct.pack("<QII", 0, 0, 0) + self._attr(path)

    def _setattr(self, node: int, body: bytes) -> Reply:
        valid, _pad, _handle, size, _owner, atime, mtime, _ctime, atime_ns, mtime_ns, _ctime_ns, mode = (
            struct.unpack_from("<IIQQQQQQIIII", body)
        )
        path = self._meet(self._nodes[node], "setattr")
        if valid & 1:
            path.chmod(stat.S_IMODE(mode))
        if valid & 8:
            os.truncate(path, size)
        if valid & 32:
            os.utime(path, ns=(atime * 10**9 + atime_ns, mtime * 10**9 + mtime_ns))
        return struct.pack("<QII", 0, 0, 0) + self._attr(path)

    def _mkdir(self, node: int, body: bytes) -> Reply:
        mode, _umask = struct.unpack_from("<II", body)
        path = self._meet(self._child(node, body[8:]), "mkdir")
        path.mkdir(mode)
        return self._entry(path)

    def _unlink(self, node: int, body: bytes) -> Reply:
        self._meet(self._child(node, body), "unlink").unlink()
        return b""

    def _rmdir(self, node: int, body: bytes) -> Reply:
        self._meet(self._child(node, body), "rmdir").rmdir()
        return b""

    def _rename(self, node: int, body: bytes) -> Reply:
        (new_node,) = struct.unpack_from("<Q", body)
        old_name, new_name = body[8:].split(b"\0")[:2]
        return self._move(self._child(node, old_name), self._child(new_node, new_name), 0)

    def _rename2(self, node: int, body: bytes) -> Reply:
        new_node, flags, _pad = struct.unpack_from("<QII", body)
        old_name, new_name = body[16:].split(b"\0")[:2]
        return self._move(self._child(node, old_name), self._child(new_node, new_name), flags)

    def _move(self, source: Path, target: Path, flags: int) -> Reply:
        self._meet(source, "rename")
        if flags & 1 and os.path.lexists(target):
            return errno.EEXIST
        source.rename(target)
        with self._lock:
            number = self._ids.pop(source, None)
            if number is not None:
                self._ids[target] = number
                self._nodes[number] = target
        return b""

    def _link(self, node: int, body: bytes) -> Reply:
        (old_node,) = struct.unpack_from("<Q", body)
        source, target = self._meet(self._nodes[old_node], "link"), self._child(node, body[8:])
        os.link(source, target)
        return self._entry(target)

    def _open(self, node: int, body: bytes) -> Reply:
        (flags,) = struct.unpack_from("<I", body)
        path = self._meet(self._nodes[node], "open")
        handle = os.open(path, flags & ~os.O_CREAT & ~os.O_EXCL & ~os.O_NOFOLLOW)
        # Direct: no page is cached, every read comes here.
        return struct.pack("<QII", handle, 1, 0)

    def _create(self, node: int, body: bytes) -> Reply:
        flags, mode, _umask, _pad = struct.unpack_from("<IIII", body)
        path = self._meet(self._child(node, body[16:]), "create")
        handle = os.open(path, flags | os.O_CREAT, stat.S_IMODE(mode))
        return self._entry(path) + struct.pack("<QII", handle, 1, 0)

    def _read(self, node: int, body: bytes) -> Reply:
        handle, offset, size = struct.unpack_from("<QQI", body)
        self._meet(self._nodes[node], "read")
        return os.pread(handle, size, offset)

    def _write(self, _node: int, body: bytes) -> Reply:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def _statfs(self, _node: int, _body: bytes) -> Reply:
        status = os.statvfs(self.real)
        return struct.pack(
            "<QQQQQIIII24x",
            status.f_blocks,
            status.f_bfree,
            status.f_bavail,
            status.f_files,
            status.f_ffree,
            status.f_bsize,
            255,
            status.f_frsize,
            0,
        )

    def _release(self, _node: int, body: bytes) -> Reply:
        (handle,) = struct.unpack_from("<Q", body)
        os.close(handle)
        return b""

    def _fsync(self, _node: int, _body: bytes) -> Reply:
        return b""

    def _opendir(self, node: int, _body: bytes) -> Reply:
        path = self._meet(self._nodes[node], "opendir")
        number = next(self._inodes)
        with os.scandir(path) as entries:
            self._handles[number] = list(entries)
        return struct.pack("<QII", number, 0, 0)

    def _readdir(self, _node: int, body: bytes) -> Reply:
        handle, offset, size = struct.unpack_from("<QQI", body)
        answer = b""
        for number, entry in enumerate(itertools.islice(self._handles[handle], offset, None), offset + 1):
            name = os.fsencode(entry.name)
            kind = 4 if entry.is_dir(follow_symlinks=False) else 8
            record = struct.pack("<QQII", entry.inode(), number, len(name), kind) + name
            record += bytes(-len(record) % 8)
            if len(answer) + len(record) > size:
                break
            answer += record
        return answer

    def _releasedir(self, _node: int, body: bytes) -> Reply:
        (handle,) = struct.unpack_from("<Q", body)
        self._handles.pop(handle, None)
        return b""


@contextmanager
def mounted(real: Path, at: Path) -> Iterator[FuseFolder]:
    """Mount a mirror of `real` while the block runs; skip the test where that is not possible."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("only root can mount a FUSE file system, where the kernel has it")
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions".encode()
    if _LIBC.mount(b"mirror", os.fsencode(at), b"fuse.mirror", 0, options) != 0:
        os.close(device)
        pytest.skip(f"no FUSE file system may be mounted here: {os.strerror(ctypes.get_errno())}")
    folder = FuseFolder(real)
    server = threading.Thread(target=folder.serve, args=(device,), daemon=True)
    server.start()
    try:
        yield folder
    finally:
        _LIBC.umount2(os.fsencode(at), _MNT_DETACH)
        os.close(device)
        server.join(5)
