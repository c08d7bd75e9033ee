"""A folder whose events do not reach us, made by the kernel itself: everything dropped arrives by scans all the same.

samba.py tries the same with FUSE; here it takes nothing but util-linux, in a user namespace of the daemon's own. How to
refuse events: https://man7.org/linux/man-pages/man7/namespaces.7.html (/proc/sys/user). How to hide them: a change in
the layer below an overlay is no event of the overlay.
"""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from merchant import Daemon, Merchant, running
from waiting import wait_until

INTERVAL = 0.5
"""Seconds between two scans: long against everything else that happens to an invoice."""
REFUSED = "echo 0 > /proc/sys/user/max_inotify_instances"


def _start_after(preparation: str, merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every daemon of this test do `preparation` first, as root of a user namespace and with mounts of its own."""
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    tried = subprocess.run([*inside, preparation], stderr=subprocess.PIPE, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this machine allows no such namespace: {tried.stderr.strip()}")
    starter = merchant.home / "python"
    starter.write_text(
        f"""#!/bin/sh\nexec {" ".join(inside)} '{preparation}; exec "$0" "$@"' {sys.executable} "$@"\n"""
    )
    starter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(starter))


def _arrive_within_two_scans(merchant: Merchant, daemon: Daemon) -> None:
    """Drop invoices one after the other; each is found in time, and comes to its end."""
    for number in range(1, 4):
        name = f"{number}.pdf"
        dropped = datetime.now(UTC)
        merchant.drop_pdf(name)
        wait_until((merchant.processed / name).is_file, what=f"{name} in processed; {daemon.errors()}")
        (found,) = [line for line in daemon.events("invoice.found") if line["file"] == name]
        waited = (datetime.fromisoformat(str(found["timestamp"])) - dropped).total_seconds()
        # One scan sees it first, a look after settle_seconds hands it out; the last second is the machine's.
        assert waited < 2 * INTERVAL + 1, name
    assert len(merchant.sandbox.uploads()) == 3


def test_where_the_kernel_refuses_events_scans_find_everything(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no inotify to be had, the log says that scans are in force, and each invoice arrives within two of them."""
    _start_after(REFUSED, merchant, monkeypatch)
    with running(merchant, forked=False, scan_interval=str(INTERVAL)) as daemon:
        daemon.wait_for("inbox.watching")
        assert daemon.events("inbox.watching")[0]["mode"] == "scans"
        _arrive_within_two_scans(merchant, daemon)


def test_where_events_stay_away_unnoticed_scans_find_everything(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel promises events and sends none, as on a share, each invoice arrives within two scans."""
    below, layer, seen = (merchant.home / name for name in ("below", "layer", "seen"))
    merchant.drop = layer / "drop"
    merchant.processed = merchant.drop / "processed"
    for folder in (below, merchant.home / "work", seen, merchant.drop):
        folder.mkdir(parents=True)
    layers = f"lowerdir={below},upperdir={layer},workdir={merchant.home}/work"
    _start_after(f"mount -t overlay -o {layers} none {seen}", merchant, monkeypatch)
    merchant.environment["INVOICEDROP_DROP_DIR"] = str(seen / "drop")
    with running(merchant, forked=False, scan_interval=str(INTERVAL)) as daemon:
        daemon.wait_for("inbox.watching")
        watching = daemon.events("inbox.watching")[0]
        assert watching["mode"] == "events"
        assert str(watching["file_system"]).startswith("overlay")
        _arrive_within_two_scans(merchant, daemon)
