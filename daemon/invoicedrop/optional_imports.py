"""Libraries load others, where they are there, for what we never use: that costs start and memory, for nothing.

structlog loads rich to draw tracebacks, httpx loads rich, Pygments and click for a command line of its own. Both go on
without, as if these were not installed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(module: str) -> Iterator[None]:
    """Let imports in the block find that `module` is not installed, unless it is loaded already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment] # https://docs.python.org/3/reference/import.html#the-module-cache
    try:
        yield
    finally:
        del sys.modules[module]
