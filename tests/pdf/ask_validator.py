"""A daemon's part in a process of its own: has PDFs checked, and prints the outcomes as a JSON object.

Usage: python ask_validator.py {pdfs FILE...,attempts FOLDER PORT,imports,hog}
"""

import json
import os
import resource
import sys
from contextlib import closing
from pathlib import Path

import forbidden
from invoicedrop.errors import CheckUnavailable, Rejected
from invoicedrop.pdf.validator import Validator


def outcome(validator: Validator, content: bytes) -> str:
    """Return the facts of a PDF, or why it was rejected."""
    fd = os.memfd_create("invoice")
    try:
        os.write(fd, content)
        return str(validator.check(fd, len(content), expect=["8355"]))
    except Rejected as rejected:
        return rejected.detail or str(rejected.reason)
    finally:
        os.close(fd)


def pdfs(*paths: str) -> None:
    """Have real PDFs checked."""
    with closing(Validator(timeout=60, memory_mb=1024)) as validator:
        outcomes = {path: outcome(validator, Path(path).read_bytes()) for path in paths}
        print(json.dumps([validator.confinement(), outcomes]))


def attempts(folder: str, port: str) -> None:
    """Have a checking process try what is forbidden, with us as its parent."""
    with closing(Validator(timeout=20, memory_mb=512, check="stub_checks:obedient")) as validator:
        outcomes = {}
        for name in (*forbidden.FILES, *forbidden.CALLS, forbidden.EXEC):
            order = json.dumps([name, folder, int(port), os.getpid()])
            outcomes[name] = outcome(validator, f"TRY\n{order}\n".encode())
        print(json.dumps([validator.confinement(), outcomes]))


def imports() -> None:
    """Have a checking process import whatever there is."""
    with closing(Validator(timeout=60, memory_mb=1024, check="stub_checks:obedient")) as validator:
        print(json.dumps([validator.confinement(), {"failed": outcome(validator, b"IMPORT\n")}]))


def hog() -> None:
    """Have a file take more memory than there is, where that is less than it might take; print what comes of it."""
    resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))
    with closing(Validator(timeout=60, memory_mb=2048, check="stub_checks:obedient")) as validator:
        try:
            print(outcome(validator, b"HOG\n"))
        except CheckUnavailable as error:
            print(repr(error))


if __name__ == "__main__":
    {"pdfs": pdfs, "attempts": attempts, "imports": imports, "hog": hog}[sys.argv[1]](*sys.argv[2:])
