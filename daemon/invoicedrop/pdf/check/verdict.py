"""The verdict on a PDF, facts or a refusal: what the checking process and the daemon share."""

from dataclasses import dataclass
from typing import Final

KINDER: Final = "if it opens fine for you, send this file to the maker of your accounting software"
"""What the details of a refusal end with where a viewer may be kinder than the rule."""


class Refused(Exception):  # noqa: N818 - it is a verdict, not a fault
    """The file is no invoice that can be sent: a rule of the check says so, and nothing else may raise this.

    `reason` is a value of `reasons.Reason`; `detail` is technical, and quotes nothing of the file's content.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class PdfFacts:
    """What a good invoice says about itself, for the log and the ledger; nothing of its content.

    `version` is the PDF version ("1.7"), `producer` the program that wrote it, `pdfa` the PDF/A part and level it
    claims ("3B"), `einvoice` "ZUGFeRD 1", "ZUGFeRD 2", "Factur-X" or "XRechnung". `order_number_found` is None
    if no number was asked for. `credit_note` is what in the e-invoice says that it is a credit note, in words.
    """

    pages: int
    version: str
    producer: str | None
    pdfa: str | None
    einvoice: str | None
    order_number_found: bool | None
    credit_note: str | None = None


Verdict = PdfFacts | Refused
"""What a check that ran to its end says about a file."""
