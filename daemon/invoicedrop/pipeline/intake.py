"""Where a settled file comes in: its name and bytes are read, once; and where what a crash left half done is ended."""

import os
from contextlib import suppress

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.errors import Changed, Rejected
from invoicedrop.inbox import snapshot as documents
from invoicedrop.inbox.names import parse_name
from invoicedrop.invoice import State
from invoicedrop.logs import get_logger
from invoicedrop.pipeline.delivery import Delivery
from invoicedrop.pipeline.job import DeliveryContext, Outcome, SettledFile, deferral_logged
from invoicedrop.printable import storable


class Intake:
    """Takes in the files of one inbox. Thread-safe."""

    def __init__(self, context: DeliveryContext) -> None:
        self.context = context
        self._log = get_logger().bind(inbox=context.inbox.name)

    def take(self, settled: SettledFile) -> Outcome:
        """Take one settled file to its end.

        Raises:
            Deferred: it stays, for later.
            Paused: nobody can upload (or file) now; it stays.
            Changed: the file is not the one it was; it stays and is new.
            Stopping: it stays for the next start.

        """
        log = self._log.bind(file=settled.name)
        try:
            name = parse_name(settled.name, self.context.inbox.order_id_kind)
            with deferral_logged(log):
                document = documents.read(self.context.inbox.drop_dir / settled.name, self.context.inbox.max_file_bytes)
        except Rejected as rejection:
            return self._reject_unread(settled, rejection, log)
        with document:
            if document.identity != settled.identity:
                raise Changed("it changed after it was found settled")
            order = int(name.order) if self.context.inbox.order_id_kind == "channable" else name.order
            return Delivery(
                self.context, settled, name, document, log.bind(order_id=order, sha256=document.sha256)
            ).run()

    def recover(self) -> None:
        """Complete the entries of invoices that were moved just before a crash.

        Raises:
            Paused: the ledger or a folder cannot be used now.

        """
        inbox, ledger, filing = self.context.inbox, self.context.ledger, self.context.filing
        for entry in ledger.in_state(State.UPLOADED, State.REJECTED):
            if entry.inbox != inbox.name or os.path.lexists(inbox.drop_dir / entry.file):
                continue
            # After a trouble this runs beside the upload threads: one of them may be completing the entry now.
            with suppress(Changed):
                if entry.state is State.UPLOADED:
                    ledger.processed(entry, filing.lies_in(inbox.processed_dir, entry.file, entry.sha256))
                else:
                    ledger.failed(entry, filing.lies_in(inbox.failed_dir, entry.file, entry.sha256))

    def _reject_unread(self, settled: SettledFile, rejection: Rejected, log: Log) -> Outcome:
        """File a bad invoice that was never read: its name says no order, or it is too large."""
        # Written down anew, a file that has left already would stay rejected for ever.
        documents.require_there(self.context.inbox.drop_dir / settled.name)
        identity = settled.identity
        stand_in = f"unread:{identity.size}:{identity.mtime_ns}:{storable(settled.name)}"
        fresh = self.context.new_entry(settled, "", stand_in, identity.size)
        known = self.context.ledger.find(fresh.account, fresh.project_id, fresh.reference, fresh.sha256)
        entry = self.context.ledger.rejected(known or fresh, rejection.reason, rejection.detail)
        log.info("invoice.found", bytes=identity.size)
        with deferral_logged(log):
            filed_as = self.context.filing.failed(settled.name, identity, None, rejection.reason, rejection.detail)
        self.context.ledger.failed(entry, filed_as)
        log.warning("invoice.failed", reason=str(rejection.reason), detail=rejection.detail)
        return Outcome.FAILED
