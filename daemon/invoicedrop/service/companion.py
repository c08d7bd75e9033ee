"""What runs beside the service in threads of its own, and what no invoice waits for."""

from collections.abc import Mapping
from typing import Protocol


class Companion(Protocol):
    """Something that tells others of the service: it reads what the service writes, as any command does."""

    def start(self) -> None:
        """Begin, when the service has begun."""

    def stop(self) -> None:
        """End within a second or two, when the service has written down that it stopped."""

    def troubles(self) -> Mapping[str, str]:
        """Return what keeps it from telling others, in words, by what it tells them with. Never waits."""
