"""A wall clock that a test sets, for one process: libfaketime (https://github.com/wolfcw/libfaketime), where it is."""

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_LIBRARIES: Final = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_SHOW_CLOCK: Final = "import time; print(time.time())"


class SetClock:
    """The wall clock of processes that run in `environment`; the monotonic one and the files' stay as they are."""

    def __init__(self, home: Path) -> None:
        self._file = home / "faketime"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(_LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: float) -> None:
        """Let the clock be ahead by this much, from now on."""
        # In one step: a process may read it at any moment.
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}")
        new.replace(self._file)


@functools.cache
def _works(folder: Path) -> bool:
    if not _LIBRARIES:
        return False
    clock = SetClock(folder)
    clock.set(1_000_000)
    shown = subprocess.run(
        [sys.executable, "-c", _SHOW_CLOCK], env=os.environ | clock.environment, capture_output=True, check=False
    )
    real = subprocess.run([sys.executable, "-c", _SHOW_CLOCK], capture_output=True, check=True)
    return shown.returncode == 0 and float(shown.stdout) > float(real.stdout) + 900_000


def set_clock(folder: Path) -> SetClock:
    """Return a clock that can be set; skip the test where libfaketime is not there or does not work."""
    if not _works(folder):
        pytest.skip("needs libfaketime")
    return SetClock(folder)
