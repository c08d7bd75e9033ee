"""Trouble in a bookkeeper's words: what it means for the invoices, and who can help."""

from typing import Final

from invoicedrop.languages.catalogue import Catalogue, phrase
from invoicedrop.reporting.troubles import Trouble, TroubleKind

_WORDS: Final = {
    TroubleKind.STOPPED: phrase(
        "The service does not run. Invoices wait in the drop folder until it is started. Tell your administrator."
    ),
    TroubleKind.HANGS: phrase(
        "The service does not respond. Invoices wait in the drop folder. Tell your administrator."
    ),
    TroubleKind.OUTAGE: phrase(
        "Channable cannot be reached, or does not work. Nothing is lost: the invoices wait, and are sent by themselves "
        "once it works again. If this lasts for hours, tell your administrator."
    ),
    TroubleKind.TOKEN: phrase(
        "Channable does not let this service in. Tell your administrator: the API token has to be renewed. The "
        "invoices wait until then."
    ),
    TroubleKind.PROJECT: phrase(
        "Channable does not know several orders in a row. Tell your administrator: perhaps the wrong project is set. "
        "The invoices wait until then."
    ),
    TroubleKind.FOLDER: phrase(
        "A folder cannot be used now. The invoices wait, and are sent by themselves once it can be used again. If this "
        "lasts, tell your administrator."
    ),
    TroubleKind.DISK: phrase("The disk is full. Tell your administrator: the invoices wait until there is room again."),
    TroubleKind.LEDGER: phrase(
        "The service cannot use its own records now. Tell your administrator: the invoices wait until then."
    ),
    TroubleKind.CHECK: phrase(
        "No PDF can be checked now. Tell your administrator: the invoices wait until that works again."
    ),
    TroubleKind.THREADS: phrase(
        "The computer that the service runs on is overloaded. If this lasts, tell your administrator."
    ),
    TroubleKind.WAITING: phrase("An invoice has been waiting for hours: see below why."),
    TroubleKind.FAILED: phrase("Invoices could not be sent: see the failed folder. Beside each stands why."),
    TroubleKind.QUESTIONED: phrase("Orders report trouble with invoices that Channable had accepted."),
    TroubleKind.TOKEN_AGE: phrase(
        "The access to Channable expires soon. Tell your administrator: a new API token is needed."
    ),
    TroubleKind.REPORTING: phrase("The service cannot tell of itself everywhere it should. Tell your administrator."),
    TroubleKind.HELD: phrase("The sending is paused. Invoices wait in the drop folder until somebody resumes it."),
}


def in_plain_words(trouble: Trouble, words: Catalogue) -> str:
    """Return what a trouble means for the invoices, and who can help, in whole sentences."""
    return words(_WORDS[trouble.kind])
