"""Memory that can be sealed against every change."""

import errno
import fcntl
import os
import tempfile
from typing import Final

_MFD_NOEXEC_SEAL: Final = 0x0008
"""Linux 6.3, memfd_create(2): memory that may be sealed, and never executed; hardened systems grant no other."""


def anonymous_file() -> int:
    """Return the descriptor of an empty file in memory; where the system has no memfd, of an unlinked temporary file.

    Raises:
        OSError: the system gives none now.

    """
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("invoicedrop", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return os.memfd_create("invoicedrop", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as stream:
        return os.dup(stream.fileno())


def freeze(fd: int) -> None:
    """Seal memory for good: from now on nobody who has its descriptor can change it, or its size (fcntl(2)).

    A temporary file has no seals, and is left as it is: no Linux of today needs one.

    Raises:
        OSError: it cannot be sealed.

    """
    if hasattr(os, "memfd_create"):
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
