"""Keeps compiled modules, as Python does where the environment does not forbid it (PYTHONDONTWRITEBYTECODE).

Without them, each process that runs tests compiles every test anew, and each one that tests start the whole package: a
tenth of a run. Imported before anything that is to be kept.
"""

import os
import sys

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
