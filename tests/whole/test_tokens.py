"""A new API token, as it is replaced in life: both are valid for a while, so nothing says that the old one is wrong."""

import signal
from pathlib import Path

import pytest

from invoicedrop.commands.check import tokens
from invoicedrop.commands.check.finding import Level
from invoicedrop.sandbox import Options, serve
from invoicedrop.service import status_file
from merchant import Merchant, running
from quick_service import UNCHECKED
from waiting import wait_until

_OLD, _NEW = "old-token", "new-token"


def _in_use(merchant: Merchant) -> Level | None:
    """Return what `check` says of the running service's token."""
    report = status_file.read(merchant.state / "service.json", merchant.state)
    inboxes = {} if report is None or report.pid is None else report.inboxes
    return next((finding.level for finding in tokens.in_use(merchant.settings().inboxes[0], inboxes)), None)


@pytest.mark.parametrize("way", ["written", "renamed", "SIGHUP"])
def test_a_new_token_is_taken_without_a_restart_while_uploads_are_under_way(tmp_path: Path, way: str) -> None:
    """However the file changes, the next requests have the new token; what is under way is neither lost nor doubled."""
    with serve(Options(rate=0, tokens=(_OLD, _NEW), latency=0.05)) as api:
        merchant = Merchant(tmp_path, api)
        token = tmp_path / "token"
        token.write_text(_OLD)
        del merchant.environment["INVOICEDROP_API_TOKEN"]
        merchant.environment["INVOICEDROP_API_TOKEN_FILE"] = str(token)
        # SIGHUP is for those who do not want to wait for the next look.
        interval = "60" if way == "SIGHUP" else "0.2"
        with running(merchant, program=UNCHECKED, scan_interval=interval) as daemon:
            for number in range(1, 21):
                merchant.drop_pdf(f"{number}.pdf")
            wait_until(lambda: len(api.uploads()) > 2, what="uploads are under way")
            if way == "renamed":
                (tmp_path / "other").write_text(_NEW)
                (tmp_path / "other").rename(token)
            else:
                token.write_text(_NEW)
            if way == "SIGHUP":
                wait_until(lambda: _in_use(merchant) is Level.PROBLEM, what="`check` finds it")
                daemon.signal(signal.SIGHUP)
                merchant.drop_pdf("21.pdf")
                wait_until((merchant.processed / "21.pdf").exists, what="the loop has gone round")
            else:
                wait_until(lambda: _in_use(merchant) is Level.OK, what="the new one is in use")
            wait_until(lambda: len(list(merchant.processed.iterdir())) >= 20, what="all are sent")
            api.store.tokens = {_NEW}
            merchant.drop_pdf("22.pdf")
            wait_until((merchant.processed / "22.pdf").exists, what="one goes with the new token alone")
            assert not daemon.events("api.paused"), daemon.errors()
        uploads = [upload.order_id for upload in api.uploads()]
        assert sorted(uploads) == sorted(set(uploads))


def test_a_service_that_is_not_at_work_has_no_token(merchant: Merchant) -> None:
    """Without a running service `check` says nothing of a token in use."""
    assert _in_use(merchant) is None
