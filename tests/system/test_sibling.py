"""A process that is forked for somebody else's parent."""

import os
import subprocess
import sys

PROGRAM = """
import os, threading
from invoicedrop.system.sibling import fork_sibling
child = fork_sibling()
if child == 0:
    # What the interpreter does after a fork is done.
    assert threading.current_thread() is threading.main_thread()
    os._exit(7)
print(child, flush=True)
"""


def test_sibling_is_our_own_child() -> None:
    """What a child of ours forks so is a child of ours, which outlives it, and for whose end we wait."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, check=True)
    pid, status = os.waitpid(int(done.stdout), 0)
    assert (pid, os.waitstatus_to_exitcode(status)) == (int(done.stdout), 7)
