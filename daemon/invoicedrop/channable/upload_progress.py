"""What is seen of one upload on its way: how much of it has left, and in what time."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_KILO: Final = 1000


class UploadProgress:
    """An upload that may take `total` seconds if it has the line for itself, and `more` for each that shares it.

    One whose bytes take longer than `slow_after` to leave is slow. `left` bytes left in `seconds`; `has_left` once
    there are no more. Written by the thread that sends it, but for `shared_by`, how many uploads there were at most.
    `may_leave` is called before each part of it, and raises where that may not leave any more.
    """

    def __init__(self, total: float, slow_after: float, *, more: float = 0.0) -> None:
        self._total = total
        self._more = more
        self.shared_by = 1
        self.left = 0
        self.seconds = 0.0
        self.has_left = False
        self.may_leave: Callable[[], None] | None = None
        self._slow_after = slow_after

    @property
    def total(self) -> float:
        """How long it may take, in seconds."""
        return self._total + self._more * (self.shared_by - 1)

    @property
    def is_slow(self) -> bool:
        """Whether its bytes leave slowly, or do not leave at all."""
        return self.seconds > self._slow_after

    @property
    def slowness(self) -> str | None:
        """How slow it was, in words, and which settings help; None if it was not."""
        if not self.is_slow:
            return None
        speed = self.left / self.seconds
        shared = f", shared by up to {self.shared_by} uploads" if self.shared_by > 1 else ""
        return (
            f"the line is slow: {self.left / _KILO:.0f} kB left in {self.seconds:.0f} s ({speed / _KILO:.3g} kB/s)"
            f"{shared}; a lower upload_workers or a longer request_timeout may help"
        )
