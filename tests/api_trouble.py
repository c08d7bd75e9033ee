"""What may happen to an API; each begins its trouble and returns what ends it."""

from collections.abc import Callable
from typing import Any

from invoicedrop.sandbox import Running


def down(api: Running) -> Callable[[], None]:
    """Stop the server, so that connections are refused."""
    api.stop()
    return api.start


def fault(kind: str, **values: Any) -> Callable[[Running], Callable[[], None]]:
    """Return what lets every request meet a fault of this kind (`sandbox.faults`)."""

    def begin(api: Running) -> Callable[[], None]:
        api.faults.add(kind, **values)
        return api.faults.clear

    return begin
