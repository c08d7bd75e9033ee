"""Why an invoice can never pass, in words for the two people who ask: a program and a bookkeeper.

`Reason` is the short name that logs, the ledger and `status --json` carry. `advice` says what is wrong and what to do,
in plain language; `reason_text` is what a bookkeeper reads beside the PDF in the failed folder.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from invoicedrop.languages.catalogue import Catalogue, Language, catalogue, phrase
from invoicedrop.languages.moments import clock, day
from invoicedrop.printable import printable
from invoicedrop.system.local_time import utc


class Reason(StrEnum):
    """Why an invoice was rejected: the machine-readable name, stable across versions."""

    NAME_WITHOUT_ORDER = "name_without_order"
    NAME_NOT_UNDERSTOOD = "name_not_understood"
    NAME_AMBIGUOUS = "name_ambiguous"
    EMPTY = "empty"
    NOT_A_PDF = "not_a_pdf"
    INCOMPLETE = "incomplete"
    DAMAGED = "damaged"
    ENCRYPTED = "encrypted"
    NO_PAGES = "no_pages"
    TOO_LARGE = "too_large"
    TOO_MANY_PAGES = "too_many_pages"
    PORTFOLIO = "portfolio"
    JAVASCRIPT = "javascript"
    LAUNCH_ACTION = "launch_action"
    OPEN_ACTION = "open_action"
    CHECK_TIMEOUT = "check_timeout"
    CHECK_CRASHED = "check_crashed"
    WRONG_ORDER_NUMBER = "wrong_order_number"
    CREDIT_NOTE = "credit_note"
    SENT_TO_ANOTHER_ORDER = "sent_to_another_order"
    ORDER_NOT_FOUND = "order_not_found"
    ORDER_AMBIGUOUS = "order_ambiguous"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_NOT_SHIPPED = "order_not_shipped"
    REFUSED_BY_API = "refused_by_api"
    OUTCOME_UNCLEAR = "outcome_unclear"
    GAVE_UP = "gave_up"

    @property
    def is_soft(self) -> bool:
        """Whether a person may know better: moving the PDF back into the drop folder then sends it all the same."""
        return self in _SOFT


_SOFT: Final = frozenset(
    {
        Reason.NAME_AMBIGUOUS,
        Reason.CREDIT_NOTE,
        Reason.SENT_TO_ANOTHER_ORDER,
        Reason.ORDER_CANCELLED,
        Reason.ORDER_NOT_SHIPPED,
        Reason.OUTCOME_UNCLEAR,
    }
)


class Advice(NamedTuple):
    """What a bookkeeper reads: what is wrong, and what to do about it."""

    problem: str
    remedy: str


_RETRY: Final = phrase("Then move the PDF back into the drop folder.")
_EXPORT_AGAIN: Final = phrase("Export the invoice again from your accounting software into the drop folder.")
_EXPORT_ORDINARY: Final = phrase("Export the invoice as an ordinary PDF.")

_ADVICE: Final[dict[Reason, tuple[str, ...]]] = {
    Reason.NAME_WITHOUT_ORDER: (
        phrase(
            "The file name does not start with an order number, so nobody can tell which order this invoice is for."
        ),
        phrase(
            "Rename the file so that its name is the order number, as your other invoices' names are: Channable's own "
            "number (8355.pdf or 8355_2.pdf) or the marketplace's (302-1234567-1234567.pdf)."
        ),
        _RETRY,
    ),
    Reason.NAME_NOT_UNDERSTOOD: (
        phrase(
            "The file name seems to name order items, but it is not clear which ones, and the invoice must not go to "
            "the others."
        ),
        phrase(
            "Rename the file: the order number, then _items- and the item numbers joined by hyphens, for example "
            "8355_items-11-12.pdf. If it is for the whole order, take the word out of the name."
        ),
        _RETRY,
    ),
    Reason.NAME_AMBIGUOUS: (
        phrase(
            "The file name begins with a number that may be a year, a date or a counter, and another number follows, "
            "so it is not certain which order this invoice is for."
        ),
        phrase(
            "If another number is the order, rename the file so that it begins with that number, for example 8355.pdf."
        ),
        _RETRY,
        phrase(
            "If the first number is the order (the details below say how the name was read), move the PDF back into "
            "the drop folder as it is: it is then sent to that order all the same."
        ),
    ),
    Reason.EMPTY: (phrase("The file is empty (0 bytes)."), _EXPORT_AGAIN),
    Reason.NOT_A_PDF: (
        phrase("The file is named .pdf but is not a PDF document inside (a web page or a picture, perhaps)."),
        _EXPORT_AGAIN,
        phrase("Choose PDF as the format."),
    ),
    Reason.INCOMPLETE: (
        phrase("The PDF looks half-copied: its end is missing, or parts of it are blank."),
        _EXPORT_AGAIN,
        phrase("If this happens often, the copying onto the shared folder is being interrupted."),
    ),
    Reason.DAMAGED: (phrase("The PDF is damaged: parts of it cannot be read."), _EXPORT_AGAIN),
    Reason.ENCRYPTED: (
        phrase(
            "The PDF needs a password before it can be opened, so neither the marketplace nor the customer could read "
            "it."
        ),
        phrase("Export the invoice without a password."),
        _RETRY,
    ),
    Reason.NO_PAGES: (phrase("The PDF has no page."), _EXPORT_AGAIN),
    Reason.TOO_LARGE: (
        phrase("The PDF is larger than the limit for invoices."),
        phrase(
            "Export it with smaller pictures or logos. If marketplaces really take files this large, the "
            "administrator can raise the setting max_file_bytes."
        ),
    ),
    Reason.TOO_MANY_PAGES: (
        phrase("The PDF has more pages than an invoice can have."),
        phrase("Check that this really is one invoice. If it is, the administrator can raise the setting max_pages."),
    ),
    Reason.PORTFOLIO: (
        phrase("The file is a PDF portfolio: a wrapper around other files, without the invoice as a page of its own."),
        _EXPORT_ORDINARY,
        _RETRY,
    ),
    Reason.JAVASCRIPT: (
        phrase("The PDF contains a program (JavaScript). An invoice must not, and marketplaces refuse it."),
        _EXPORT_ORDINARY,
        phrase(
            "If your software did not put the program there, show the file to your administrator: it may be harmful."
        ),
    ),
    Reason.LAUNCH_ACTION: (
        phrase("The PDF can start another program on the reader's computer. An invoice must not."),
        phrase("Do not open it. Show the file to your administrator, and export the invoice again."),
    ),
    Reason.OPEN_ACTION: (
        phrase("The PDF does something by itself when it is opened. An invoice must not."),
        _EXPORT_ORDINARY,
        phrase("If your software did not do this, show the file to your administrator."),
    ),
    Reason.CHECK_TIMEOUT: (
        phrase("The PDF could not be checked: reading it takes far too long, as with damaged or malicious files."),
        _EXPORT_AGAIN,
    ),
    Reason.CHECK_CRASHED: (
        phrase("The PDF could not be checked: reading it broke the reader, as with damaged or malicious files."),
        _EXPORT_AGAIN,
    ),
    Reason.WRONG_ORDER_NUMBER: (
        phrase("The order number does not occur in the invoice, so it may belong to somebody else."),
        phrase("Open the PDF and compare it with the order. If the file has the wrong name, rename it."),
        _RETRY,
    ),
    Reason.CREDIT_NOTE: (
        phrase(
            "The document says in its e-invoice that it is a credit note, or a correction to less than nothing. "
            "Marketplaces take it for one more invoice of the order, and some replace the right one by it."
        ),
        phrase(
            "If the customer is to get it in another way, take the PDF out of this folder. If it is to be attached to "
            "the order, move the PDF back into the drop folder as it is: it is then sent all the same."
        ),
    ),
    Reason.SENT_TO_ANOTHER_ORDER: (
        phrase(
            "The very same PDF went to Channable for another order already (the details below say which), so it may "
            "be another customer's invoice."
        ),
        phrase(
            "Open the PDF and compare it with the order. If it is another order's, export the right invoice into the "
            "drop folder. If one invoice is for both orders, move the PDF back into the drop folder as it is: it is "
            "then sent all the same."
        ),
    ),
    Reason.ORDER_CANCELLED: (
        phrase("The order was cancelled, so its customer should get no invoice."),
        phrase(
            "If there is nothing to pay, take the PDF out of this folder. If the customer is to get this invoice, "
            "move the PDF back into the drop folder as it is: it is then sent all the same."
        ),
    ),
    Reason.ORDER_NOT_SHIPPED: (
        phrase(
            "The order is still not shipped, a long time after the invoice was made; marketplaces refuse invoices "
            "before dispatch."
        ),
        phrase(
            "Look at the order in Channable. If it was shipped, or is to get its invoice before that, move the PDF "
            "back into the drop folder as it is: it is then sent all the same."
        ),
    ),
    Reason.ORDER_NOT_FOUND: (
        phrase("Channable does not know an order with this number in this project."),
        phrase(
            "Compare the file name with the order in Channable and correct it, or wait until the order has been "
            "imported."
        ),
        _RETRY,
    ),
    Reason.ORDER_AMBIGUOUS: (
        phrase("More than one order in Channable has this number, so nobody can tell which one the invoice is for."),
        phrase(
            "Ask the administrator to find the right order (the command `invoicedrop orders` lists them) and to "
            "upload the invoice by hand in Channable."
        ),
    ),
    Reason.REFUSED_BY_API: (
        phrase("Channable refused the invoice. Its own words stand below."),
        phrase("Correct what it says."),
        _RETRY,
    ),
    Reason.OUTCOME_UNCLEAR: (
        phrase(
            "Channable did not say whether it took the invoice, and the order does not tell for certain either: a new "
            "document there may be this one, or what it shows may be old."
        ),
        phrase(
            "Look at the order in Channable. If the invoice is there, take the PDF out of this folder. If it is not, "
            "move the PDF back into the drop folder as it is: it is then sent all the same."
        ),
    ),
    Reason.GAVE_UP: (
        phrase("Channable could not take this invoice for a long time, although others went through."),
        phrase(
            "Look at the order in Channable: if the invoice is there, keep this PDF and do nothing. If it is not, "
            "move the PDF back into the drop folder: Channable is asked first, so that it cannot arrive twice."
        ),
    ),
}
"""What is wrong, and then, sentence by sentence, what to do."""


def advice(reason: Reason, language: Language = "en") -> Advice:
    """Return what is wrong, and what to do about it, in a bookkeeper's words."""
    words = catalogue(language)
    problem, *remedy = map(words, _ADVICE[reason])
    return Advice(problem, " ".join(remedy))


def reason_text(
    name: str, reason: Reason, detail: str, sha256: str | None, *, at: float, language: Language = "en"
) -> str:
    """Return what a bookkeeper finds beside the failed invoice `name`; `at` is in seconds since the epoch."""
    words = catalogue(language)
    problem, remedy = advice(reason, language)
    technical = (
        (words("reason"), str(reason)),
        (words("detail"), printable(words.translated(" ".join(detail.split())))),
        (words("time"), f"{utc(at):%Y-%m-%d %H:%M:%S} UTC"),
        *(() if sha256 is None else (("sha256", sha256),)),
    )
    width = max(len(label) for label, _ in technical)
    return "\n".join(
        (
            words("{file} was not sent to the marketplace.", file=printable(name)),
            _moment(at, words),
            "",
            words("What is wrong:"),
            f"  {problem}",
            "",
            words("What to do:"),
            f"  {remedy}",
            "",
            words("Details for your administrator:"),
            *(f"  {label:{width}}  {value}" for label, value in technical),
            "",
        )
    )


def _moment(at: float, words: Catalogue) -> str:
    return words("{day}, {time}", day=day(at, words), time=clock(at))
