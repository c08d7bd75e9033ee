"""What an invoice is: its order, its file name, its states, and every way it can go wrong.

    InvoicedropError
      Rejected         this invoice can never pass            -> failed/
      Deferred         this invoice, later                    -> stays in the drop folder, own backoff
      OutcomeUnknown   the POST may have arrived              -> ask the API, then one of the others
      Unanswered       a question to the API got no answer    -> stays, own backoff
      Paused           nobody can upload now                  -> the whole project waits, one probe at a time
      Changed          the file is not what was read any more -> stays, treated as new
      Stopping         the service is being stopped           -> stays, for the next start
      ConfigError      cannot start                           -> exit 78, all problems at once
      InstanceRunning  the state folder is in use             -> exit 75

The groups follow what a caller does, not what went wrong underneath: foreign errors (httpx, OSError,
SQLAlchemy) are translated into these at one boundary each.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

OrderIdKind = Literal["channable", "marketplace"]


class State(StrEnum):
    """How far an invoice has come; the ledger's states.

    received -> uploading -> uploaded -> processed, or from any of the first two -> rejected -> failed.
    """

    RECEIVED = "received"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    PROCESSED = "processed"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The API's word that it took an invoice: its attachment id, and the message of a warning, if any."""

    attachment_id: int
    message: str | None = None
