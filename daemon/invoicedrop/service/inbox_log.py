"""What is logged of an inbox as a whole: how it is watched, that it cannot be used, what is left alone in it."""

from collections.abc import Callable

from invoicedrop.ledger.stops import Stop
from invoicedrop.logs import get_logger
from invoicedrop.settings.inbox import Inbox
from invoicedrop.system.file_systems import file_system_of
from invoicedrop.system.local_time import iso


class InboxLog:
    """The log of one inbox; `mode` returns how its drop folder is watched now.

    `held_up` is told what keeps all of its invoices, and None when that is over.
    """

    def __init__(self, inbox: Inbox, mode: Callable[[], str], held_up: Callable[[str, str | None], None]) -> None:
        self._inbox = inbox
        self._mode = mode
        self._held_up = held_up
        self._log = get_logger().bind(inbox=inbox.name)
        self._inodes_told = False

    def watching(self, **fields: object) -> None:
        """The drop folder is watched (again)."""
        folder = self._inbox.drop_dir
        self._log.info(
            "inbox.watching", folder=str(folder), file_system=str(file_system_of(folder)), mode=self._mode(), **fields
        )

    def standby(self, who: str) -> None:
        """Another daemon works on the inbox; this one takes over when that one ends."""
        self._log.info("inbox.standby", folder=str(self._inbox.drop_dir), detail=f"{who}, works on it")

    def owner(self, before: str | None) -> None:
        """This daemon works on the inbox from now on; `before` did, and has not given it up."""
        taken = {} if before is None else {"taken_over_from": before}
        self._log.info("inbox.owner", folder=str(self._inbox.drop_dir), **taken)

    def stopped(self, stop: Stop, detail: str) -> None:
        """A person has stopped the inbox, or its first start holds what waits."""
        self._held_up("stop", detail)
        files = {} if stop.files is None else {"files": stop.files}
        self._log.warning("inbox.paused", reason=stop.words, since=iso(stop.since), detail=detail, **files)

    def resumed(self, stop: Stop) -> None:
        """A person has let the inbox go on that was stopped so."""
        self._held_up("stop", None)
        self._log.info("inbox.resumed", reason=stop.words, since=iso(stop.since))

    def folders_changed(self, detail: str | None, seconds: float) -> None:
        """The folders cannot be used, or can be used again (no `detail`)."""
        self._held_up("folders", detail)
        if detail is None:
            self.watching()
        else:
            self._log.error("inbox.unavailable", detail=detail, seconds=round(seconds, 1))

    def api_changed(self, detail: str | None, seconds: float) -> None:
        """The API cannot be used, or can be used again (no `detail`)."""
        self._held_up("api", detail)
        if detail is None:
            self._log.info("api.resumed")
        else:
            self._log.warning("api.paused", detail=detail, seconds=round(seconds, 1))

    def ignored(self, name: str, why: str) -> None:
        """An entry is left alone."""
        self._log.info("file.ignored", file=name, why=why)

    def many_ignored(self, count: int) -> None:
        """So many entries are left alone that new ones are not named."""
        self._log.info("file.ignored", count=count, why="so many entries are left alone that new ones are only counted")

    def unseen(self, name: str, detail: str) -> None:
        """A file cannot be looked at: it is looked at again at the next scan."""
        seconds = round(self._inbox.scan_interval, 1)
        self._log.warning("invoice.deferred", file=name, seconds=seconds, detail=detail)

    def unstable_inodes(self) -> None:
        """Inode numbers change from look to look: told once."""
        if not self._inodes_told:
            self._inodes_told = True
            self.watching(
                detail="inode numbers change from look to look here (a FUSE file system without stable ones?): "
                "files are told apart by size and time alone"
            )

    def internal_error(self, name: str, delay: float, error: BaseException) -> None:
        """This program itself failed on an invoice."""
        self._log.error("invoice.deferred", file=name, seconds=delay, detail="internal error", exc_info=error)
