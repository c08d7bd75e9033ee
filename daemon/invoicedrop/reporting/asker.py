"""Who asks: the service's own user, whose rights are the service's, or another one, who may not see all."""

import os
import stat

from invoicedrop.ledger.ledger import LEDGER_FILE
from invoicedrop.settings.settings import Settings


def user_of_service(settings: Settings) -> int | None:
    """Return the uid that the service's state belongs to; None while there is none, or it cannot be seen."""
    state_dir = settings.state_dir
    try:
        status = state_dir.stat()
        # A state folder for every user (1777), as in the image, is the one's whose ledger is in it.
        return (state_dir / LEDGER_FILE).stat().st_uid if status.st_mode & stat.S_ISVTX else status.st_uid
    except OSError:
        return None


def is_another(settings: Settings) -> bool:
    """Whether another user than the service's asks: one whose own rights say nothing of the service's."""
    user = user_of_service(settings)
    return user is not None and os.geteuid() not in {0, user}
