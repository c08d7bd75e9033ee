import platform
import subprocess
import sys

import pytest

_BURST = """
import sys
from invoicedrop.system.allocator import keep_little

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if sys.argv[1] == "little":
    keep_little()
large = bytes(4_000_000)
del large
before = resident()
blocks = [bytes([1]) * 400_000 for _ in range(17)]
del blocks
print(resident() - before)
"""


def _kept(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _BURST, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps nothing")
def test_what_a_burst_took_goes_back() -> None:
    """Blocks as large as invoices are given back when they are freed; left to itself the allocator keeps them."""
    assert _kept("little") < 1_000_000
    assert _kept("as it is") > 4_000_000
