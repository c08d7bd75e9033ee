"""Since when each trouble goes on, over restarts, and whether it is really over: what flickers is one trouble."""

from collections.abc import Iterable

from invoicedrop.reporting.troubles import Trouble, TroubleKind

ONE_BY_ONE = frozenset({TroubleKind.FAILED, TroubleKind.QUESTIONED})
"""What comes invoice by invoice is told in digests, not as trouble that goes on."""


def key_of(trouble: Trouble) -> str:
    """Return what tells a trouble from every other one, the same from look to look and from start to start."""
    of = trouble.inbox if trouble.kind is not TroubleKind.REPORTING else trouble.words.partition(":")[0]
    return f"{trouble.kind}/{of or ''}"


class Sightings:
    """The troubles that go on, by key. `since` is where one starts from, in seconds since the epoch.

    A trouble is over when it was not seen for `well_after` seconds of this process, so that a service that is started
    again and again does not take its trouble for over each time.
    """

    def __init__(self, since: dict[str, float], well_after: float) -> None:
        self.since = since
        self._well_after = well_after
        self._missing: dict[str, float] = {}

    def note(self, troubles: Iterable[Trouble], now: float, clock: float) -> list[Trouble]:
        """See what is there now; return what goes on and is there. `clock` is the monotonic time."""
        present = {key_of(trouble): trouble for trouble in troubles if trouble.kind not in ONE_BY_ONE}
        for key, trouble in present.items():
            began = [self.since.get(key), trouble.since, now]
            self.since[key] = min(moment for moment in began if moment is not None)
            self._missing.pop(key, None)
        for key in [key for key in self.since if key not in present]:
            if clock - self._missing.setdefault(key, clock) >= self._well_after:
                del self.since[key], self._missing[key]
        return list(present.values())

    def lasted(self, trouble: Trouble, now: float) -> float:
        """Return for how many seconds a trouble has gone on."""
        return now - self.since[key_of(trouble)]
