"""What is seen of one upload on its way: how much of it has left, and in what time."""

from typing import Final

_KILO: Final = 1000


class UploadProgress:
    """An upload that may take `total` seconds; one whose bytes take longer than `slow_after` to leave is slow.

    `left` bytes left in `seconds`; `has_left` once there are no more. Written by the thread that sends it.
    """

    def __init__(self, total: float, slow_after: float) -> None:
        self.total = total
        self.left = 0
        self.seconds = 0.0
        self.has_left = False
        self._slow_after = slow_after

    @property
    def is_slow(self) -> bool:
        """Whether its bytes leave slowly, or do not leave at all."""
        return self.seconds > self._slow_after

    def slowness(self, at_once: int) -> str | None:
        """Return how slow it was, in words, with up to `at_once` uploads at once, and which settings help; or None."""
        if not self.is_slow:
            return None
        speed = self.left / self.seconds
        uploads = "one upload" if at_once == 1 else f"up to {at_once} uploads"
        return (
            f"the line is slow: {self.left / _KILO:.0f} kB left in {self.seconds:.0f} s ({speed / _KILO:.3g} kB/s), "
            f"with {uploads} at once; a lower upload_workers or a longer request_timeout may help"
        )
