import platform
import subprocess
import sys

import pytest

_BURST = """
import ctypes, sys, tempfile, threading
from invoicedrop.system.allocator import keep_little

if sys.argv[1] == "little":
    keep_little()
together = threading.Barrier(12)

def burst():
    together.wait()
    kept = [bytes([1]) * 1000 for _ in range(1000)]
    together.wait()

threads = [threading.Thread(target=burst) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
with tempfile.TemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    file.seek(0)
    print(file.read().count(b"<heap nr="))
"""


def _arenas(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _BURST, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no arenas")
def test_threads_share_two_arenas() -> None:
    """Twelve threads at once make no arena each, which would keep what they freed; left alone the allocator does so."""
    assert _arenas("little") <= 2
    assert _arenas("as it is") > 2
