"""What an error that was met on one name means: whose trouble it is, its cause, and what helps."""

import errno
from typing import Final

from invoicedrop.languages.catalogue import phrase
from invoicedrop.system.permissions import Refusal

_EVERYBODYS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The whole disk's or the whole process's."""

_OPEN_ELSEWHERE: Final = Refusal("it is open in another program on the share", "close it there")
_DAMAGED: Final = Refusal(
    "the disk or the file system is damaged at this file",
    "put a good copy in its place, have the disk checked (fsck, smartctl) and look into the file server's log",
)
_FORGOTTEN: Final = Refusal(
    "the server has lost track of it", "mount the share again, or have the file copied anew if only this one is hit"
)
_SLOW: Final = Refusal("the server does not answer in time", "see whether the file server and the network work")
_REFUSED: Final = Refusal(
    "we may not do that with this file",
    "see its rights and owner, and what else forbids it: the rights on the file server, SELinux or AppArmor, an "
    "immutable flag (lsattr)",
)
_MEANINGS: Final[dict[int, Refusal]] = {
    errno.EBUSY: _OPEN_ELSEWHERE,
    errno.ETXTBSY: _OPEN_ELSEWHERE,
    errno.EAGAIN: _OPEN_ELSEWHERE,
    errno.EDEADLK: _OPEN_ELSEWHERE,
    errno.ENOLCK: Refusal("the server gives no locks", "see whether its lock service works"),
    errno.ESTALE: _FORGOTTEN,
    errno.EREMOTEIO: _DAMAGED,
    errno.EIO: _DAMAGED,
    errno.EUCLEAN: _DAMAGED,
    errno.EBADMSG: _DAMAGED,
    errno.ETIMEDOUT: _SLOW,
    errno.EHOSTDOWN: _SLOW,
    errno.EHOSTUNREACH: _SLOW,
    errno.ENETUNREACH: _SLOW,
    errno.ECONNRESET: _SLOW,
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.ENAMETOOLONG: Refusal("its name is too long", "give it a shorter name"),
    errno.EILSEQ: Refusal("its name has characters that the file system cannot hold", "rename it"),
    errno.EINVAL: Refusal("the file system does not accept this name or this request", "rename it, or copy it anew"),
    errno.EFBIG: Refusal("it is larger than the file system allows", "make it smaller"),
    errno.EOVERFLOW: Refusal("its size or its dates cannot be held", "copy it anew"),
    errno.EISDIR: Refusal("a folder stands where a file of this name should", "move that folder away"),
    errno.ELOOP: Refusal("a link stands where a file of this name should", "move that link away"),
    errno.ENXIO: Refusal("the device behind it is gone", "see whether the disk is still attached"),
    errno.ENODEV: Refusal("the device behind it is gone", "see whether the disk is still attached"),
}
_UNKNOWN: Final = Refusal(
    "the file system refuses it", "see the system's log (dmesg) and the file server's, or have the file copied anew"
)


def is_everybodys(error: OSError) -> bool:
    """Whether an error met on one name is not that name's trouble, but the whole disk's or the whole process's."""
    return error.errno in _EVERYBODYS


def meaning(error: OSError) -> Refusal:
    """Return what an error met on one name means, and what helps."""
    return _MEANINGS.get(error.errno or 0, _UNKNOWN)


def in_words(error: OSError) -> str:
    """Return the system's own words for an error met on one name, what they mean, and what helps."""
    words, refusal = error.strerror or error, meaning(error)
    if refusal is _OPEN_ELSEWHERE:
        # What a bookkeeper can help with is told in their language.
        return phrase("{words}: it is open in another program on the share; close it there", words=words)
    return f"{words}: {refusal.sentence}"
