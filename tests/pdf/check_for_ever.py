"""A program with an endless check and an idle process: killed by a test that looks at what becomes of both."""

import os
import sys
import threading
from pathlib import Path

from invoicedrop.pdf.validator import Validator

sys.path.append(str(Path(__file__).parents[1]))  # what the check imports
validator = Validator(timeout=600, memory_mb=512, check="stub_checks:obedient")
fd = os.memfd_create("invoice")
os.write(fd, b"LOOP\n")
threading.Thread(target=validator.check, args=(fd, 5), daemon=True).start()
validator.warm_up()
print("up", flush=True)
sys.stdin.read()
