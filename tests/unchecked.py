"""A stand-in for the PDF check, for tests that are about something else: no process starts for it."""

from typing import Any

from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.settings.settings import Settings


class EveryPdfIsGood:
    """Stands in for the validator: whatever is checked is a good invoice of one page."""

    def __init__(self, _settings: Settings) -> None:
        """Need nothing."""

    def warm_up(self) -> None:
        """Start nothing."""

    def check(self, _fd: int, _size: int, **_more: Any) -> PdfFacts:
        """Find the PDF good."""
        return PdfFacts(1, "1.4", None, None, None, None)

    def close(self) -> None:
        """Have nothing to close."""
