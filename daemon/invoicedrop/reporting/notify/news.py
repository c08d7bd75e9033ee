"""What there is to tell somebody who was told this and that before: once each, and again after `notify_after`.

A message names orders by Channable's number, never a file (whose name may be a customer's), and quotes nobody.
"""

import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from pydantic import BaseModel

from invoicedrop.languages.catalogue import Catalogue, catalogue, phrase
from invoicedrop.languages.moments import moment
from invoicedrop.reporting.notify.sightings import Sightings, key_of
from invoicedrop.reporting.overview import FailedFile, Overview, QuestionedFile
from invoicedrop.reporting.troubles import Trouble, TroubleKind
from invoicedrop.reporting.waiting import MAX_FILES
from invoicedrop.reporting.watch import Picture
from invoicedrop.timing import Timing

_TITLES: Final = {
    TroubleKind.HANGS: phrase("the service hangs"),
    TroubleKind.OUTAGE: phrase("Channable cannot be used"),
    TroubleKind.TOKEN: phrase("the API token is refused"),
    TroubleKind.PROJECT: phrase("Channable knows none of several orders"),
    TroubleKind.FOLDER: phrase("a folder cannot be used"),
    TroubleKind.DISK: phrase("a disk is full"),
    TroubleKind.LEDGER: phrase("the ledger cannot be used"),
    TroubleKind.CHECK: phrase("no PDF can be checked"),
    TroubleKind.THREADS: phrase("the system gives no threads"),
    TroubleKind.WAITING: phrase("invoices wait for a long time"),
    TroubleKind.TOKEN_AGE: phrase("the API token expires soon"),
    TroubleKind.REPORTING: phrase("somebody is not told"),
}
"""The troubles that are told as long as they go on. A service that has stopped cannot say so."""
_NO_ALARM: Final = frozenset({TroubleKind.TOKEN_AGE, TroubleKind.REPORTING})
"""What goes on without that anything else is wrong."""
_LONG_PATIENCE: Final = frozenset({TroubleKind.OUTAGE, TroubleKind.PROJECT, TroubleKind.THREADS, TroubleKind.REPORTING})
_AT_ONCE: Final = frozenset({TroubleKind.TOKEN, TroubleKind.WAITING, TroubleKind.TOKEN_AGE})
_MOST_ORDERS: Final = 10
_ENGLISH: Final = catalogue("en")
_LONGEST_TITLE: Final = 200
_LONGEST_BODY: Final = 10_000
"""Characters; what is handed to the process that sends must fit into a pipe."""
_ALL_WELL: Final = phrase("all is well again")


class Told(BaseModel):
    """What one recipient was told, and when; times are in seconds since the epoch.

    `troubles` are those that were told, `over` those among them that ended since; `alarmed`: it was not said yet that
    all is well again. Failed and questioned invoices are told up to a moment. `attempts` counts those in a row that did
    not get out, and before `not_before` there is no other one.
    """

    troubles: dict[str, float] = {}
    over: set[str] = set()
    alarmed: bool = False
    failed: float
    failed_at: float = 0.0
    questioned: float
    questioned_at: float = 0.0
    attempts: int = 0
    not_before: float = 0.0

    def clamped(self, now: float) -> "Told":
        """Return it with no moment that is still to come: the clock was set back."""
        values = self.model_dump()
        for name in ("failed", "failed_at", "questioned", "questioned_at"):
            values[name] = min(values[name], now)
        values["troubles"] = {key: min(at, now) for key, at in self.troubles.items()}
        return Told.model_validate(values)


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a line, and a text of a few lines."""

    title: str
    body: str


def news_for(
    told: Told,
    picture: Picture,
    going_on: Sequence[Trouble],
    sightings: Sightings,
    *,
    after: float,
    timing: Timing,
    words: Catalogue = _ENGLISH,
) -> tuple[Message | None, Told]:
    """Return what to tell, if anything, and what will have been told then. `going_on` is what `sightings` has seen.

    `words` is the language that it is told in.
    """
    now = picture.now
    next_told = told.model_copy(deep=True)
    next_told.over |= {key for key in told.troubles if key not in sightings.since}
    titles: list[str] = []
    lines: list[str] = []
    for trouble in going_on:
        if _is_news(trouble, next_told, sightings, now, after, timing):
            key = key_of(trouble)
            next_told.troubles[key] = now
            next_told.over.discard(key)
            next_told.alarmed |= trouble.kind not in _NO_ALARM
            titles.append(words(_TITLES[trouble.kind]))
            since = moment(sightings.since[key], words)
            lines.append(words("{sentence} (since {time})", sentence=_sentence(trouble, words), time=since))
    # While a person has paused an inbox, nothing is sent from it.
    held = any(trouble.kind is TroubleKind.HELD for trouble in picture.troubles)
    if next_told.alarmed and not held and not any(_is_alarm(key) for key in sightings.since):
        next_told.alarmed = False
        titles.append(words(_ALL_WELL))
        lines.append(words("All is well again: invoices are sent."))
    for title, text in _digests(next_told, picture, after, words):
        titles.append(title)
        lines.append(text)
    if not titles and told.attempts:
        titles.append(words("an earlier message did not get out"))
        lines.append(words("An earlier message could not be sent; what it was about is over."))
    # What ended long ago may be told again at once.
    for key in [key for key in next_told.over if now - next_told.troubles.get(key, 0.0) >= after]:
        next_told.troubles.pop(key, None)
        next_told.over.discard(key)
    return (_message(titles, lines, words) if titles else None), next_told


def _sentence(trouble: Trouble, words: Catalogue) -> str:
    """Return what is wrong, whole: `Trouble.sentence` in another language."""
    told = words.translated(trouble.words)
    return told if trouble.inbox is None else words("inbox {inbox} {words}", inbox=trouble.inbox, words=told)


def _is_news(trouble: Trouble, told: Told, sightings: Sightings, now: float, after: float, timing: Timing) -> bool:
    key = key_of(trouble)
    if trouble.kind not in _TITLES or key == f"{TroubleKind.REPORTING}/notify":
        return False
    if sightings.lasted(trouble, now) < _patience(trouble.kind, timing):
        return False
    return key not in told.troubles or (key in told.over and now - told.troubles[key] >= after)


def _patience(kind: TroubleKind, timing: Timing) -> float:
    if kind in _AT_ONCE:
        return 0.0
    if kind is TroubleKind.HANGS:
        return timing.silence_told
    return timing.outage_told if kind in _LONG_PATIENCE else timing.trouble_told


def _is_alarm(key: str) -> bool:
    kind = key.partition("/")[0]
    return kind in {*_TITLES} and kind not in _NO_ALARM


class _Listed(Protocol):
    @property
    def inbox(self) -> str: ...
    @property
    def order_id(self) -> int | None: ...
    @property
    def when(self) -> float: ...


_ListedT = TypeVar("_ListedT", bound=_Listed)


def _digests(told: Told, picture: Picture, after: float, words: Catalogue) -> list[tuple[str, str]]:
    """Return what has failed, and what orders complain of, since it was told last; not more often than that."""
    if picture.overview is None:
        return []
    digests = []
    failed, told.failed = _untold(picture.overview.failed, told.failed, picture.overview, picture.now)
    if failed and picture.now - told.failed_at >= after:
        told.failed, told.failed_at = max(file.when for file in failed), picture.now
        if len(failed) >= MAX_FILES:
            title = words("{most} or more invoices failed", most=MAX_FILES)
        else:
            title = words.counted("{count} invoice failed", "{count} invoices failed", len(failed))
        digests.append((title, f"{title}: {_reasons(failed)}{_orders(failed, words)}."))
    questioned, told.questioned = _untold(picture.overview.questioned, told.questioned, picture.overview, picture.now)
    if questioned and picture.now - told.questioned_at >= after:
        told.questioned, told.questioned_at = max(file.when for file in questioned), picture.now
        title = words.counted(
            "trouble is reported of {count} accepted invoice",
            "trouble is reported of {count} accepted invoices",
            len(questioned),
        )
        text = words("Orders report trouble with invoices that Channable had accepted.")
        digests.append((title, f"{text}{_orders(questioned, words)}"))
    return digests


def _untold(files: Sequence[_ListedT], told: float, overview: Overview, now: float) -> tuple[Sequence[_ListedT], float]:
    """Return the files that are to be told, and up to when all was told, where there are none.

    What is of a time still to come was told before the clock was set back.
    """
    news = [file for file in files if told < file.when <= now]
    # The machine that works on an inbox tells of its invoices; that counts as told here, too.
    others = {inbox.name for inbox in overview.inboxes if inbox.standby is not None}
    ours = [file for file in news if file.inbox not in others]
    return ours, told if ours else max((file.when for file in news), default=told)


def _reasons(failed: Sequence[FailedFile]) -> str:
    reasons = Counter(file.reason for file in failed)
    return ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())


def _orders(files: Sequence[FailedFile] | Sequence[QuestionedFile], words: Catalogue) -> str:
    listed: Sequence[_Listed] = files
    ids = list(dict.fromkeys(file.order_id for file in listed if file.order_id is not None))
    if not ids:
        return ""
    rest = len(ids) - _MOST_ORDERS
    shown = ", ".join(map(str, ids[:_MOST_ORDERS]))
    if rest > 0:
        shown += " " + words.counted("and {count} more", "and {count} more", rest)
    told = words.counted("order {orders}", "orders {orders}", len(ids), orders=shown)
    return f" ({told})"


def _message(titles: Sequence[str], lines: Sequence[str], words: Catalogue) -> Message:
    host = socket.gethostname()
    title = words("invoicedrop on {host}: {news}", host=host, news=", ".join(dict.fromkeys(titles)))
    body = "\n\n".join((*lines, words("More is shown by `invoicedrop status` on {host}.", host=host)))
    return Message(title[:_LONGEST_TITLE], body[:_LONGEST_BODY])
