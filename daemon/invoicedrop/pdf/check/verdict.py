"""Facts or a refusal: what both sides share."""

from dataclasses import dataclass


class Refused(Exception):  # noqa: N818 - it is a verdict, not a fault
    """The file is no invoice that can be sent. `reason` is a value of `reasons.Reason`; `detail` tells no content."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class NeedsCryptographyError(Exception):
    """The file is encrypted with AES, and this process has no AES (yet)."""


@dataclass(frozen=True, slots=True)
class PdfFacts:
    """What a checked invoice says about itself, for the log and the ledger; nothing of its content.

    `version` is the PDF version ("1.7"), `producer` the program that wrote it, `pdfa` the PDF/A part and level it
    claims ("3B"), `einvoice` "ZUGFeRD 1", "ZUGFeRD 2", "Factur-X" or "XRechnung". `order_number_found` is None
    when no number was asked for.
    """

    pages: int
    version: str
    producer: str | None
    pdfa: str | None
    einvoice: str | None
    order_number_found: bool | None
