"""Takes from this process, for good, what a program that only reads needs not: by Landlock and seccomp, without rights.

Landlock (https://docs.kernel.org/userspace-api/landlock.html, Linux 5.13) lets files be opened only below the folders
that are named. seccomp (https://docs.kernel.org/userspace-api/seccomp_filter.html, Linux 3.5) refuses the system calls
for networks, signals, processes, other programs, and for changing files; as EPERM, so that a library that tries one
gets an error that it knows. A kernel, an architecture or a container's own filter may offer only one of them, or none.
What neither stops is asking whether a path exists, and using what is open already.

Calls are refused by name, and what is not named is allowed: which harmless ones a C library or Python needs differs
by version, and no invoice may fail for that. Newer calls than Linux 5.0's, those of the future included, do not exist
here (ENOSYS): everything that runs on older kernels does without them, and most would be doors.

Both are spoken to by ctypes: the libraries that wrap them need one of C's, or are young, and what is needed is small.
"""

import ctypes
import errno
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple


class Confinement(NamedTuple):
    """What is in force, or could be: the version of Landlock (0: none), and whether system calls are filtered."""

    landlock: int
    seccomp: bool

    @property
    def shortcoming(self) -> str:
        """What is missing and what that means, as a sentence for an administrator; empty if nothing is."""
        if self.landlock and self.seccomp:
            return ""
        names = " and ".join(
            name for name, there in (("Landlock", self.landlock), ("seccomp", self.seccomp)) if not there
        )
        harm = "use the network and end other processes" if self.landlock else "read what we may read"
        return (
            f"PDFs are read without {names}, which this system (or container) does not offer: "
            f"one that takes over the process that reads it could {harm}"
        )


def offered() -> Confinement:
    """Return what the kernel, and whatever filters our calls already, would let `confine` do. Nothing is changed."""
    # Without a program, the kernel finds a bad address, if it comes as far as looking (seccomp(2)).
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER)
    seccomp = ctypes.get_errno() == errno.EFAULT and _architecture() is not None
    return Confinement(_landlock_version(), seccomp)


def confine(readable: Iterable[Path]) -> Confinement:
    """Confine this process, and return what is in force. Only files below `readable`, files or folders, can be opened.

    Called once, while the process has one thread. There is no way back.
    """
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1) != 0:
        return Confinement(0, seccomp=False)
    # In this order: the filter refuses Landlock's calls.
    return Confinement(_restrict_files(readable), _filter_calls())


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2


def _prctl(option: int, value: int, program: object = None) -> int:
    zero = ctypes.c_ulong(0)
    return int(_libc.prctl(option, ctypes.c_ulong(value), zero if program is None else program, zero, zero))


# Landlock

_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
"""The same numbers on every architecture that we know."""
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many file-system rights a version knows; from version 5 on 16."""
_LATEST_FILE_RIGHTS: Final = 16
_WITH_NETWORK: Final = 4
_WITH_SCOPES: Final = 6
"""The versions that know two rights on TCP ports, and two scopes: abstract sockets and signals."""


def _landlock(number: int, *arguments: "int | bytes | None") -> int:
    longs = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *longs))


def _landlock_version() -> int:
    return max(0, _landlock(_LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))


def _restrict_files(readable: Iterable[Path]) -> int:
    version = _landlock_version()
    if version == 0:
        return 0
    # struct landlock_ruleset_attr: an older kernel takes the longer one of a newer kernel if what it adds is zero.
    attributes = struct.pack(
        "=QQQ",
        (1 << _FILE_RIGHTS.get(version, _LATEST_FILE_RIGHTS)) - 1,
        0b11 if version >= _WITH_NETWORK else 0,
        0b11 if version >= _WITH_SCOPES else 0,
    )
    ruleset = _landlock(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return 0
    try:
        for path in readable:
            with suppress(OSError):  # what is not there need not be read
                _allow_reading(ruleset, path)
        return version if _landlock(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: Path) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        # struct landlock_path_beneath_attr, which is packed.
        _landlock(_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


# seccomp: a program of classic BPF over `struct seccomp_data` (number, architecture, instruction pointer, arguments).

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH of each, and its column in the tables."""
_REFUSED: Final = """
the network: socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, listen 50 201, accept 43 202,
    accept4 288 242
signals: tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240
processes and programs: fork 57 -, vfork 58 -, clone 56 220, execve 59 221, execveat 322 281, ptrace 101 117,
    process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, unshare 272 97, setns 308 268
the place of others: setpriority 141 140, sched_setparam 142 118, sched_setscheduler 144 119, sched_setaffinity 203 122,
    sched_setattr 314 274, ioprio_set 251 30, migrate_pages 256 238, move_pages 279 239
changing files by name: creat 85 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276,
    link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, mkdir 83 -, mkdirat 258 34, rmdir 84 -, mknod 133 -,
    mknodat 259 33, truncate 76 45, chmod 90 -, fchmodat 268 53, chown 92 -, lchown 94 -, fchownat 260 54, utime 132 -,
    utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5, lsetxattr 189 6, removexattr 197 14,
    lremovexattr 198 15, open_by_handle_at 304 265
watching folders: inotify_add_watch 254 27, fanotify_init 300 262
changing open files: ftruncate 77 46, fallocate 285 47, fchmod 91 52, fchown 93 55, fsetxattr 190 7, fremovexattr 199 16
shared memory and queues: shmget 29 194, shmat 30 196, shmctl 31 195, msgget 68 186, msgsnd 69 189, msgrcv 70 188,
    msgctl 71 187, semget 64 190, semop 65 193, semtimedop 220 192, semctl 66 191, mq_open 240 180, mq_unlink 241 181
the kernel: bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, keyctl 250 219, add_key 248 217,
    request_key 249 218, personality 135 92, modify_ldt 154 -, io_setup 206 0
the machine of root: mount 165 40, umount2 166 39, chroot 161 51, pivot_root 155 41, swapon 167 224, swapoff 168 225,
    reboot 169 142, acct 163 89, quotactl 179 60, sethostname 170 161, setdomainname 171 162, settimeofday 164 170,
    clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266, syslog 103 116, iopl 172 -, ioperm 173 -,
    init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294
"""
"""What is refused whatever its arguments: names, numbers on x86_64, and on aarch64 (-: not there)."""
_FIRST_UNKNOWN: Final = 424
"""The first call after Linux 5.0; from here on the numbers are the same everywhere."""
_X32: Final = 0x40000000
"""x86_64 reaches the same calls by other numbers from here on."""
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
"""(O_TMPFILE works only with one of the first two.)"""
_F_SETOWN: Final = 8
_F_SETOWN_EX: Final = 15
_FIOSETOWN: Final = 0x8901
_SIOCSPGRP: Final = 0x8902
"""Ways to have the kernel send a signal to somebody else: whoever is said to own a descriptor."""

_STEP: Final = struct.Struct("=HBBI")
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""The low half of a long is loaded, which is all that an int fills; both architectures are little-endian."""
_ALLOW: Final = 0x7FFF0000
_EPERM: Final = 0x00050000 | errno.EPERM
_ENOSYS: Final = 0x00050000 | errno.ENOSYS
_KILL_PROCESS: Final = 0x80000000
_SECCOMP: Final = (317, 277)
_SECCOMP_SET_MODE_FILTER: Final = 1
_SPEC_ALLOW: Final = 4
"""Before Linux 5.16, a process is slowed down otherwise: it might look at secrets in its own memory, and has none."""


class _Program(ctypes.Structure):
    """The struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _architecture() -> tuple[int, int] | None:
    # A 32-bit Python on a 64-bit kernel calls by other numbers.
    return _ARCHITECTURES.get(os.uname().machine) if sys.maxsize > 1 << 32 else None


def _filter_calls() -> bool:
    architecture = _architecture()
    return architecture is not None and _install(b"".join(_filter(*architecture, os.getpid())), architecture[1])


def _install(program: bytes, column: int) -> bool:
    """Have the kernel run a program at each system call of ours; return whether it does."""
    header = _Program(len(program) // _STEP.size, program)
    arguments = (ctypes.c_long(_SECCOMP_SET_MODE_FILTER), ctypes.c_long(_SPEC_ALLOW), ctypes.byref(header))
    if _libc.syscall(ctypes.c_long(_SECCOMP[column]), *arguments) == 0:
        return True
    return _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(header)) == 0


def _filter(architecture: int, column: int, pid: int) -> Iterator[bytes]:
    yield _step(_LOAD, 4)
    yield _step(_IF_EQUAL, architecture, 1, 0)
    yield _step(_RETURN, _KILL_PROCESS)
    yield _step(_LOAD, 0)
    yield from (_step(_IF_AT_LEAST, _X32, 0, 1), _step(_RETURN, _EPERM))
    yield from (_step(_IF_AT_LEAST, _FIRST_UNKNOWN, 0, 1), _step(_RETURN, _ENOSYS))
    for numbers in re.findall(r" (\d+|-) (\d+|-)(?=[,\n])", _REFUSED):
        if numbers[column] != "-":
            yield from (_step(_IF_EQUAL, int(numbers[column]), 0, 1), _step(_RETURN, _EPERM))
    if column == 0:
        yield from _refuse_if(2, 1, _IF_ANY_BIT, _WRITING)  # open
    yield from _refuse_if((257, 56)[column], 2, _IF_ANY_BIT, _WRITING)  # openat
    yield from _refuse_if((302, 261)[column], 0, _IF_AT_LEAST, 1)  # prlimit64; 0 is ourselves
    yield from _refuse_if((72, 25)[column], 1, _IF_EQUAL, _F_SETOWN, _F_SETOWN_EX)  # fcntl
    yield from _refuse_if((16, 29)[column], 1, _IF_EQUAL, _FIOSETOWN, _SIOCSPGRP)  # ioctl
    yield from _refuse_unless((62, 129)[column], 0, pid)  # kill
    yield from _refuse_unless((234, 131)[column], 0, pid)  # tgkill, which abort(3) uses
    yield _step(_RETURN, _ALLOW)


def _refuse_if(number: int, argument: int, comparison: int, *values: int) -> Iterator[bytes]:
    """Refuse a call whose argument compares so with one of the values."""
    yield _step(_IF_EQUAL, number, 0, 2 + 2 * len(values))
    yield _step(_LOAD, 16 + 8 * argument)
    for value in values:
        yield from (_step(comparison, value, 0, 1), _step(_RETURN, _EPERM))
    yield _step(_RETURN, _ALLOW)


def _refuse_unless(number: int, argument: int, value: int) -> Iterator[bytes]:
    """Refuse a call whose argument is not this value."""
    yield _step(_IF_EQUAL, number, 0, 4)
    yield _step(_LOAD, 16 + 8 * argument)
    yield from (_step(_IF_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW), _step(_RETURN, _EPERM))


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """Return a struct sock_filter; a jump skips so many steps."""
    return _STEP.pack(code, then, otherwise, value)
