"""Which kind of file system a folder lies on, and what that means for a daemon that watches the folder.

Source: /proc/self/mountinfo (https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html).
"""

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

UNKNOWN: Final = "unknown"
"""The kind of a file system that is not listed, or where nobody may look."""
_MOUNTS: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


class Nature(StrEnum):
    """What a kind of file system means to us, as a phrase that completes "ext4, ..."."""

    LOCAL = "a local disk"
    NETWORK = "a network share"
    HOST = "a folder of the host machine"
    USER_SPACE = "a file system of a program (FUSE)"
    MEMORY = "in memory"
    CONTAINER = "a container's own layer"
    UNKNOWN = "a kind that we do not know"


_NATURES: Final[dict[Nature, str]] = {
    Nature.NETWORK: (
        "cifs smb3 smbfs nfs nfs4 afs ncpfs ceph lustre gfs2 ocfs2 beegfs gpfs "
        "fuse.sshfs fuse.rclone fuse.glusterfs fuse.davfs2 fuse.davfs fuse.s3fs fuse.gcsfuse fuse.smbnetfs fuse.ceph "
        "fuse.ceph-fuse fuse.moosefs fuse.seaweedfs fuse.juicefs"
    ),
    Nature.HOST: "9p virtiofs vboxsf prl_fs drvfs fakeowner osxfs vmhgfs fuse.vmhgfs-fuse fuse.grpcfuse",
    Nature.MEMORY: "tmpfs ramfs devtmpfs",
    Nature.CONTAINER: "overlay aufs",
    Nature.LOCAL: (
        "ext2 ext3 ext4 xfs btrfs zfs f2fs jfs reiserfs bcachefs nilfs2 vfat exfat ntfs ntfs3 fuseblk hfsplus apfs "
        "fuse.ntfs-3g fuse.mergerfs fuse.bindfs ecryptfs fuse.gocryptfs"
    ),
}
_NATURE_OF: Final = {kind: nature for nature, kinds in _NATURES.items() for kind in kinds.split()}


class FileSystem(NamedTuple):
    """A mounted file system: the kernel's name for its kind, where it is mounted, and what it means."""

    kind: str
    mount_point: Path
    nature: Nature

    @property
    def shared(self) -> bool:
        """Whether others may write there without our kernel knowing, so that no event comes."""
        return self.nature in {Nature.NETWORK, Nature.HOST, Nature.USER_SPACE, Nature.UNKNOWN}

    def __str__(self) -> str:
        return f"{self.kind}, {self.nature}"


def file_system_of(path: Path, mounts: str | None = None) -> FileSystem:
    """Return the file system that `path` lies on, or would lie on; `mounts` is the text of mountinfo, if at hand."""
    real = f"{os.path.realpath(path)}/"
    nearest, nearest_kind = "/", UNKNOWN
    for mount_point, kind in _mounts(mounts):
        # Of several mounts on one folder, the last one hides the others.
        if len(mount_point) >= len(nearest) and real.startswith(f"{mount_point.rstrip('/')}/"):
            nearest, nearest_kind = mount_point, kind
    return FileSystem(nearest_kind, Path(nearest), _nature(nearest_kind))


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly at `path`."""
    return any(mount_point == str(path) for mount_point, _ in _mounts())


def _mounts(mounts: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield where something is mounted, and the kind of it, in the order of mounting.

    As text: some hosts have hundreds of mounts.
    """
    if mounts is None:
        try:
            mounts = os.fsdecode(_MOUNTS.read_bytes())
        except OSError:
            mounts = ""
    for line in mounts.splitlines():
        left, separator, right = line.partition(" - ")
        if separator:
            yield _OCTAL.sub(lambda code: chr(int(code[1], 8)), left.split()[4]), right.split(maxsplit=1)[0]


def _nature(kind: str) -> Nature:
    if kind in _NATURE_OF:
        return _NATURE_OF[kind]
    return Nature.USER_SPACE if kind.startswith("fuse") else Nature.UNKNOWN
