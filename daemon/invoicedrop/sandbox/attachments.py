"""A document of an order, as it is kept and as an order shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from invoicedrop.sandbox.overrides import overridden

_LIFETIME: Final = timedelta(days=365)
_REENCODED: Final = b"\n% re-encoded\n"


def utc_text(moment: datetime) -> str:
    """Return a time as the API writes it: UTC, ISO 8601."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True, kw_only=True)
class StoredAttachment:
    """A document of an order. `visible_at` is on the store's clock, `size` and `sha256` (hex) are of what was received.

    Attributes:
        posted: it came through the API; false for what somebody else put there.
        reencoded: downloads have other bytes than what was received.
        length_told: downloads have a Content-Length.
        shown, hidden: fields that the order shows instead of the facts, or does not show; see `overrides`.

    """

    id: int
    order_id: int
    project_id: int
    title: str
    attachment_type: str
    created: datetime
    size: int
    sha256: str
    item_ids: tuple[int, ...] = ()
    visible_at: float = 0.0
    posted: bool = False
    reencoded: bool = False
    length_told: bool = True
    shown: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    def downloaded(self, content: bytes) -> bytes:
        """Return the bytes that a download gives for what was received."""
        return content + _REENCODED if self.reencoded else content

    def to_json(self) -> dict[str, Any]:
        """Return the attachment as an order shows it."""
        facts = {
            "id": self.id,
            "title": self.title,
            "attachment_type": self.attachment_type,
            "file_type": "PDF",
            "created": utc_text(self.created),
            "expires_at": utc_text(self.created + _LIFETIME),
            "order_id": self.order_id,
            "project_id": self.project_id,
            "data": {"order_item_ids": list(self.item_ids)} if self.item_ids else {},
        }
        return overridden(facts, self.shown, self.hidden)
