"""Where a settled file comes in: its name and its bytes are read, once. Recovery after a crash begins here as well."""

from contextlib import suppress

from structlog.typing import FilteringBoundLogger as Log

from invoicedrop.errors import Changed, FileUnavailable, Rejected
from invoicedrop.inbox.listing import require_present
from invoicedrop.inbox.names import parse_name
from invoicedrop.inbox.snapshot import take_snapshot
from invoicedrop.invoice import State
from invoicedrop.ledger.entry import Entry
from invoicedrop.logs import get_logger
from invoicedrop.pipeline.delivery import Delivery
from invoicedrop.pipeline.job import DeliveryContext, Outcome, SettledFile
from invoicedrop.printable import storable


class Intake:
    """Takes in the files of one inbox. Thread-safe."""

    def __init__(self, context: DeliveryContext) -> None:
        self.context = context
        self._log = get_logger().bind(inbox=context.inbox.name)

    def take(self, file: SettledFile) -> Outcome:
        """Take one settled file to its end.

        Raises:
            Deferred: it stays, for later (FileUnavailable: because it cannot be read or moved).
            Paused: nobody can upload (or file) now; it stays.
            Changed: the file is not the one it was; it stays and is new.
            Stopping: it stays for the next start, or until its inbox goes on.

        """
        self.context.require_not_stopped()
        inbox = self.context.inbox
        log = self._log.bind(file=file.name)
        try:
            name = parse_name(file.name, inbox.order_id_kind)
            with self.context.deferrals.noted(file.name, log):
                snapshot = take_snapshot(inbox.drop_dir / file.name, inbox.max_file_bytes, timing=self.context.timing)
        except Rejected as rejection:
            return self._reject_unread(file, rejection, log)
        with snapshot:
            if not snapshot.identity.is_like(file.identity):
                raise Changed("it changed after it was found settled")
            order = int(name.order) if self.context.inbox.order_id_kind == "channable" else name.order
            return Delivery(self.context, file, name, snapshot, log.bind(order_id=order, sha256=snapshot.sha256)).run()

    def recover(self) -> None:
        """Complete the entries of invoices that were moved just before a crash.

        An entry whose file cannot be looked at now waits for the next recovery: it holds up no other.

        Raises:
            Paused: the ledger or a folder cannot be used now.

        """
        inbox, ledger = self.context.inbox, self.context.ledger
        for entry in ledger.in_state(State.UPLOADED, State.REJECTED):
            # Another company's daemon may share the ledger, and call its inbox the same.
            is_others = (entry.account, entry.project_id) != (inbox.account, inbox.project_id)
            if entry.inbox != inbox.name or (ledger.is_shared and is_others):
                continue
            # After a trouble this runs beside the upload threads: one of them may be completing the entry now.
            with suppress(Changed, FileUnavailable), self.context.deferrals.noted(entry.file, self._log_of(entry)):
                self._complete(entry)

    def _complete(self, entry: Entry) -> None:
        """Complete an entry whose file has left the drop folder."""
        inbox, ledger, filing = self.context.inbox, self.context.ledger, self.context.filing
        try:
            require_present(inbox.drop_dir / entry.file, timing=self.context.timing)
        except Changed:
            if entry.state is State.UPLOADED:
                since = entry.uploaded_at
                ledger.processed(entry, filing.lies_in(inbox.processed_dir, entry.file, entry.sha256, since=since))
            else:
                ledger.failed(entry, filing.lies_in(inbox.failed_dir, entry.file, entry.sha256))

    def _log_of(self, entry: Entry) -> Log:
        return self._log.bind(file=entry.file, order_id=entry.order_id, sha256=entry.sha256)

    def _reject_unread(self, file: SettledFile, rejection: Rejected, log: Log) -> Outcome:
        """File a bad invoice that was never read: its name says no order, or it is too large."""
        # Written down anew, a file that has left already would stay rejected for ever.
        with self.context.deferrals.noted(file.name, log):
            require_present(self.context.inbox.drop_dir / file.name, timing=self.context.timing)
        identity = file.identity
        stand_in = f"unread:{identity.size}:{identity.mtime_ns}:{storable(file.name)}"
        fresh = self.context.new_entry(file, "", stand_in, identity.size)
        row = self.context.ledger.find(fresh.account, fresh.project_id, fresh.reference, fresh.sha256)
        retried = row is not None and row.state is State.FAILED
        known = fresh if row is None else self.context.ledger.retried(row) if retried else row
        entry = self.context.ledger.rejected(known, rejection.reason, rejection.detail)
        log.info("invoice.found", bytes=identity.size)
        self.context.lease.require()
        with self.context.deferrals.noted(file.name, log):
            filed_as = self.context.filing.failed(file.name, identity, None, rejection.reason, rejection.detail)
        self.context.ledger.failed(entry, filed_as)
        log.warning("invoice.failed", reason=str(rejection.reason), detail=rejection.detail)
        self.context.failures.add(rejection.reason)
        return Outcome.FAILED
