"""What an error that was met on one name means, in words."""

import errno
import os

import pytest

from invoicedrop.system.file_errors import in_words, is_everybodys


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_every_error_has_a_cause_and_a_remedy(code: int) -> None:
    """Whatever the system says, a person reads its own words, what they mean, and what to do."""
    error = OSError(code, os.strerror(code))
    words = in_words(error)
    assert words.startswith(f"{os.strerror(code)}: ")
    meaning = words.removeprefix(f"{os.strerror(code)}: ")
    assert len(meaning.split("; ")) == 2


@pytest.mark.parametrize("code", [errno.EBUSY, errno.ETXTBSY, errno.EAGAIN])
def test_a_file_that_is_open_elsewhere_is_told_to_be_closed_there(code: int) -> None:
    """The three answers of a lock on a share point to the program that has the file open."""
    assert "open in another program on the share; close it there" in in_words(OSError(code, os.strerror(code)))


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_only_what_is_everybodys_is_everybodys(code: int) -> None:
    """Room, descriptors and memory are shared by all; every other error is the name's on which it was met."""
    shared = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
    assert is_everybodys(OSError(code, os.strerror(code))) is (code in shared)
