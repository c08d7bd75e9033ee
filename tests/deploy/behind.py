"""A merchant whose API address is a box: what it drops, and what has to be so at the end, whatever the box did."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from findings import Findings

from invoicedrop.sandbox import Running
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Daemon, Merchant

_TROUBLE = ("api.paused", "upload.unknown", "invoice.deferred")
RESEND_AFTER = "3"


class Scene:
    """One kind of trouble, with a merchant, a state folder and orders of its own."""

    def __init__(
        self, home: Path, sandbox: Running, findings: Findings, title: str, orders: Iterator[int], api_url: str
    ) -> None:
        self.title = title
        self.sandbox = sandbox
        self._findings = findings
        self._orders = orders
        self._dropped: dict[int, bytes] = {}
        folder = home / f"{len(list(home.iterdir()))}"
        folder.mkdir()
        self._merchant = Merchant(folder, sandbox)
        self._merchant.environment |= {"INVOICEDROP_API_URL": api_url, "INVOICEDROP_RESEND_AFTER": RESEND_AFTER}
        self._daemon: Daemon | None = None

    @contextmanager
    def running(self, environment: dict[str, str] | None = None, **settings: str) -> Iterator[None]:
        """Run the real command, as a user starts it, with more of an environment and of settings."""
        self._merchant.environment |= environment or {}
        # For `status` too.
        self._merchant.environment |= {f"INVOICEDROP_{name.upper()}": value for name, value in settings.items()}
        self._daemon = self._merchant.start(forked=False)
        try:
            self._daemon.wait_for("inbox.watching")
            yield
            self._daemon.stop()
        finally:
            self._daemon.kill()

    def drop(self, count: int, *, pages: int = 1) -> list[int]:
        """Drop invoices of new orders; return the orders."""
        numbers = [next(self._orders) for _ in range(count)]
        for number in numbers:
            content = invoice_pdf(str(number), pages=pages)
            self._dropped[number] = self._merchant.drop_pdf(f"{number}.pdf", content)
        return numbers

    def events(self, *names: str) -> list[dict[str, object]]:
        """Return the daemon's log lines of these events."""
        assert self._daemon is not None
        return [line for line in self._daemon.events() if line["event"] in names]

    def waits_with(self, words: str, *, seconds: float = 30.0) -> None:
        """Check that the log, and then `status`, tell of trouble in words that match this regular expression."""

        def told() -> str:
            details = (str(line.get("detail")) for line in self.events(*_TROUBLE))
            return next((detail for detail in details if re.search(words, detail)), "")

        self._findings.wait(f"{self.title}: the log names it ({words})", told, seconds=seconds, detail=self.log)
        self._findings.note(told())

        def status() -> str:
            return " ".join(self._merchant.run("status", forked=False).stdout.split())

        # Between two tries it tells of what is done instead.
        self._findings.wait(f"{self.title}: so does `status`", lambda: re.search(words, status()), detail=status)

    def names(self, words: str) -> None:
        """Check that the log has told of trouble in words that match this regular expression."""
        details = [str(line.get("detail")) for line in self.events(*_TROUBLE)]
        matching = [detail for detail in details if re.search(words, detail)]
        self._findings.check(f"{self.title}: the log names it ({words})", matching, self.log())
        self._findings.note(f"{len(matching)} x {matching[0]}")

    def doubts(self, least: int) -> None:
        """Check that so many uploads, or more, had no known outcome."""
        unknown = len(self.events("upload.unknown"))
        self._findings.check(
            f"{self.title}: {unknown} uploads were in doubt, {least} at least", unknown >= least, self.log()
        )

    def processed(self) -> int:
        """Return how many invoices lie in processed."""
        return len(list(self._merchant.processed.glob("*.pdf")))

    def stays(self, numbers: list[int]) -> None:
        """Check that these invoices are still in the drop folder, and not at their orders."""
        here = all((self._merchant.drop / f"{number}.pdf").is_file() for number in numbers)
        self._findings.check(f"{self.title}: {len(numbers)} wait in the drop folder", here, self.log())
        sent = [upload.order_id for upload in self.sandbox.uploads() if upload.order_id in numbers]
        self._findings.check(f"{self.title}: and not at their orders", not sent, sent)

    def ends_well(self, *, seconds: float = 90.0) -> None:
        """Check that each invoice gets into processed, none into failed, and that each order has its own, once."""
        count = len(self._dropped)
        self._findings.wait(
            f"{self.title}: {count} of {count} are in processed",
            lambda: self.processed() == count,
            seconds=seconds,
            detail=self.log,
        )
        failed = sorted(path.name for path in self._merchant.failed.iterdir())
        self._findings.check(f"{self.title}: nothing is in failed", not failed, failed)
        self.exactly_once()

    def exactly_once(self) -> None:
        """Check that each order has the bytes that were dropped, in one attachment."""
        attached: dict[int, list[bytes | None]] = {number: [] for number in self._dropped}
        for upload in self.sandbox.uploads():
            if upload.order_id in attached:
                attached[upload.order_id].append(self.sandbox.store.content(upload.attachment_id))
        wrong = {number: len(contents) for number, contents in attached.items() if contents != [self._dropped[number]]}
        self._findings.check(
            f"{self.title}: each order has its invoice once, byte for byte",
            not wrong,
            f"attachments of orders: {wrong}\n{self.log()}",
        )

    def log(self) -> str:
        """Return the daemon's log so far."""
        assert self._daemon is not None
        return self._daemon.errors()
