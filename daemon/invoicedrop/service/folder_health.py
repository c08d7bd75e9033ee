"""Whether an inbox's folders can be used: whether they are ours, and what was seen of them and of the files in them.

A file that cannot be read or moved is its own trouble: it waits alone. Everybody waits only if a trial of the folders
fails, or if several different files fail in a row and none passes; then they are tried one by one, each time another.
"""

import time
from collections.abc import Callable
from typing import Final

from invoicedrop.circuit_breaker import CircuitBreaker
from invoicedrop.errors import PauseCause
from invoicedrop.service.folder_claims import FolderClaim
from invoicedrop.timing import Timing

_FILES_FAIL: Final = "several files in a row cannot be read or moved"


class FolderHealth:
    """The health of one inbox's folders. `on_change` is called as a circuit breaker does. For one thread."""

    def __init__(self, claim: FolderClaim, on_change: Callable[[str | None, float], None], *, timing: Timing) -> None:
        self._claim = claim
        self._refusal: str | None = None
        self._breaker = CircuitBreaker(on_change, timing=timing)
        self._timing = timing
        self._trial_wanted = False
        self._next_file_trial = 0.0
        self._failing: set[str] = set()
        self._files_fail = False
        self._met_by_file = False

    @property
    def detail(self) -> str | None:
        """Why files are held back, in words that name no file; None while all is well."""
        return _FILES_FAIL if self._files_fail and self._breaker.detail is not None else self._breaker.detail

    @property
    def cause(self) -> PauseCause:
        """Why files are held back, or were last."""
        return self._breaker.cause

    @property
    def since(self) -> float:
        """Monotonic time since when files are held back; meaningless while all is well."""
        return self._breaker.since

    @property
    def until(self) -> float:
        """Monotonic time of the next probe; meaningless while all is well."""
        return self._breaker.until

    @property
    def next_look(self) -> float:
        """Monotonic time of the next look at whose the drop folder is."""
        return self._claim.next_look

    @property
    def next_trial(self) -> float:
        """Monotonic time when folders that fail may do again; meaningless while all is well."""
        return self._claim.next_look if self._refusal is not None else min(self._breaker.until, self._claim.next_look)

    @property
    def folders_fail(self) -> bool:
        """Whether the folders themselves are in trouble, not only several files in them."""
        return self._breaker.detail is not None and not self._files_fail

    @property
    def trial_wanted(self) -> bool:
        """Whether the folders are to be tried before anything else."""
        return self._trial_wanted

    def allowance(self, busy: int, wanted: int) -> int:
        """Return how many files may start now while `busy` are under way: all, one as a probe, or none."""
        return self._breaker.allowance(busy, wanted)

    def hold(self, detail: str, cause: PauseCause) -> None:
        """Hold all files back for a while."""
        self._breaker.trip(detail, cause)

    def try_now(self) -> None:
        """Wait for nothing: what was wrong may be over."""
        self._breaker.probe_now()

    # What was seen of the folders

    def are_ours(self) -> bool:
        """Whether the drop folder and our state are still ours; if not, nothing is handed out until they are."""
        refusal = self._claim.refusal()
        if refusal is not None:
            self.folders_failed(refusal, PauseCause.FOLDER)
        elif self._refusal is not None:
            self._breaker.probe_now()
        self._refusal = refusal
        return refusal is None

    def want_trial(self) -> None:
        """Have the folders tried: they may be others by now."""
        self._trial_wanted = True

    def trial_passed(self) -> None:
        """A trial of the folders has passed."""
        self._trial_wanted = False

    def folders_failed(self, detail: str, cause: PauseCause) -> None:
        """The folders, or what all files need, cannot be used: that is no file's trouble."""
        self._met_by_file = self._files_fail = False
        self._breaker.trip(detail, cause)

    def folders_work(self, *, files_wait: bool) -> None:
        """The folders are in order, which says nothing of files: those that fail are counted until one passes."""
        if not self._met_by_file or not files_wait:
            self._met_by_file = self._files_fail = False
            self._breaker.reset()

    # What was seen of files

    def file_passed(self) -> None:
        """A file was read and moved: whatever was wrong is over."""
        self._met_by_file = self._files_fail = False
        self._failing.clear()
        self._breaker.reset()

    def file_was_read(self) -> None:
        """A file could be read, although it has not passed: those that fail are not in a row any more."""
        self._failing.clear()

    def file_failed(self, name: str, detail: str, *, again: bool) -> None:
        """A file cannot be read or moved; `again`: as it could not at its last try."""
        now = time.monotonic()
        if now >= self._next_file_trial:
            self._next_file_trial = now + self._timing.folder_trial
            self._trial_wanted = True
        if not again:
            self._failing.add(name)
        if len(self._failing) >= CircuitBreaker.FAILURE_THRESHOLD or self._files_fail:
            before = self._breaker.detail if self._files_fail else None
            self._met_by_file = self._files_fail = True
            # Another file may pass at any time, and each waits for its own next try besides.
            self._breaker.trip(
                before or f"{_FILES_FAIL}, as this one: {detail}",
                PauseCause.FOLDER,
                wait=self._timing.next_file,
            )

    def file_met_trouble(self, detail: str, cause: PauseCause) -> None:
        """A file met trouble that is everybody's: only one that passes ends it."""
        self._files_fail = False
        self._met_by_file = True
        self._trial_wanted = True
        self._breaker.trip(detail, cause)
