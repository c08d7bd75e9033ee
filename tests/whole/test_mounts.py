"""A mount that is missing, a file system without inodes, a system without threads: each is said, and waited for."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from invoicedrop.sandbox import Running
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import COMMAND, Daemon, Merchant, running
from mounts import bind, tmpfs
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_NOBODY = 65_534
# May pass every folder, so that Python is found wherever it is; the limits hold all the same.
_PASSES = "+dac_override"
_AS_NOBODY = (
    *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
    *(f"--inh-caps={_PASSES}", f"--ambient-caps={_PASSES}", "--bounding-set=-sys_resource,-sys_admin"),
)
_QUICK = replace(QUICK, longest_probe=0.2)


def _last_trouble(daemon: Daemon) -> str:
    return str([{"detail": ""}, *daemon.events("inbox.unavailable")][-1]["detail"])


@pytest.mark.parametrize("place", ["drop", "drop/processed", "drop/failed"])
def test_a_mount_that_is_missing_is_not_an_empty_folder(merchant: Merchant, place: str) -> None:
    """A mount point without its mount makes the inbox unavailable, at work and at a start; with it, all goes on."""
    folder = merchant.home / place
    folder.mkdir(exist_ok=True)
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("inbox.watching")
        with tmpfs(folder):
            shutil.copy(_pdf(merchant, "1.pdf"), merchant.drop)
            daemon.wait_for("invoice.processed")
            wait_until(lambda: "tmpfs" in (merchant.state / "folders.json").read_text(), what="its memory")
        wait_until(lambda: "is its share mounted?" in _last_trouble(daemon), what="a word about the mount")
        assert str(folder) in _last_trouble(daemon)
        shutil.copy(_pdf(merchant, "2.pdf"), merchant.drop)
        assert "is its share mounted?" in merchant.run("status").stdout.replace("\n", " ")
        wait_until(lambda: "is its share mounted?" in merchant.run("health").stdout, what="a beat")
        assert merchant.run("health").returncode == 1
        checked = merchant.run("check")
        assert checked.returncode == 1
        assert "is its share mounted?" in " ".join(checked.stdout.split())
        assert daemon.stop() == 0
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("inbox.unavailable")
        assert (merchant.drop / "2.pdf").exists()
        assert daemon.events("invoice.found") == []
        with tmpfs(folder):
            if place == "drop":
                shutil.copy(_pdf(merchant, "2.pdf"), folder)
            daemon.wait_for("inbox.watching")
            daemon.wait_for("invoice.processed")
            assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("mount", "mount_point", "name"),
    [
        ("tmpfs", "drop/processed", "2.pdf"),
        ("tmpfs", "drop/failed", "nonsense.pdf"),
        ("bind", "drop/processed", "2.pdf"),
        ("bind", "drop/failed", "nonsense.pdf"),
        ("tmpfs", "share", "2.pdf"),
        ("bind", "share", "2.pdf"),
    ],
)
def test_nothing_is_moved_into_the_mount_point_of_a_mount_that_was_just_lost(
    merchant: Merchant, mount: str, mount_point: str, name: str
) -> None:
    """A mount lost long before the next scan: the file stays, nothing comes into what is beneath, and it goes later."""
    beneath = merchant.home / mount_point
    beneath.mkdir(exist_ok=True, parents=True)
    kept = merchant.home / "kept"
    kept.mkdir()
    folders = {"processed_dir": str(beneath / "in" / "processed")} if mount_point == "share" else {}
    mounted = (lambda: tmpfs(beneath)) if mount == "tmpfs" else (lambda: bind(kept, beneath))
    with mounted():
        daemon = merchant.start(program=program(_QUICK, checked=False), scan_interval="3600", **folders)
        daemon.wait_for("inbox.watching")
        merchant.drop_pdf("1.pdf")
        daemon.wait_for("invoice.processed")
    try:
        before = sorted(beneath.rglob("*"))
        merchant.drop_pdf(name)
        wait_until(lambda: "is its share mounted?" in _last_trouble(daemon), what="a word about the mount")
        assert (merchant.drop / name).exists()
        assert sorted(beneath.rglob("*")) == before
        with mounted():
            daemon.wait_for("invoice.processed" if name == "2.pdf" else "invoice.failed", 2 if name == "2.pdf" else 1)
            assert not (merchant.drop / name).exists()
            assert daemon.stop() == 0
    finally:
        daemon.kill()


def test_a_folder_that_was_moved_on_purpose_is_used_again(merchant: Merchant) -> None:
    """Removing `folders.json`, as the message says, is enough for a folder that is local from now on."""
    with tmpfs(merchant.drop), running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("inbox.watching")
        assert daemon.stop() == 0
    with running(merchant, program=program(_QUICK, checked=False)) as daemon:
        daemon.wait_for("inbox.unavailable")
        remembered = merchant.state / "folders.json"
        assert str(remembered) in str(daemon.events("inbox.unavailable")[0]["detail"])
        remembered.unlink()
        daemon.wait_for("inbox.watching")
        shutil.copy(_pdf(merchant, "1.pdf"), merchant.drop)
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"default": 1}', '{"default": {"/x": 5}}', '{"default": null}'])
def test_a_memory_without_sense_stops_nothing(merchant: Merchant, content: str) -> None:
    """Whatever stands in `folders.json`, the daemon starts, and writes it anew."""
    merchant.state.mkdir()
    (merchant.state / "folders.json").write_text(content)
    merchant.drop_pdf("1.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED).returncode == 0
    assert str(merchant.drop) in json.loads((merchant.state / "folders.json").read_text())["default"]


def test_a_file_system_that_is_out_of_inodes_is_told_as_that(merchant: Merchant) -> None:
    """Where no more files can be made though there is room, the log says so, and does not ask for room."""
    with (
        tmpfs(merchant.drop, "size=8m,nr_inodes=10"),
        running(merchant, program=program(_QUICK, checked=False)) as daemon,
    ):
        daemon.wait_for("inbox.watching")
        for number in range(20):
            try:
                (merchant.drop / f"{number}.tmp").touch()
            except OSError:
                break
        (merchant.drop / "0.tmp").write_bytes(_pdf(merchant, "nonsense.pdf").read_bytes())
        (merchant.drop / "0.tmp").rename(merchant.drop / "nonsense.pdf")
        daemon.wait_for("inbox.unavailable")
        assert "out of inodes" in str(daemon.events("inbox.unavailable")[-1]["detail"])
        (merchant.drop / "1.tmp").unlink()
        (merchant.drop / "2.tmp").unlink()
        daemon.wait_for("invoice.failed")
        assert daemon.stop() == 0


@pytest.mark.parametrize(("limit", "words"), [(0, "cannot be started"), (8, "gives no more threads")])
def test_without_threads_or_processes_the_start_ends_with_a_sentence(sandbox: Running, limit: int, words: str) -> None:
    """A system that gives no processes, or no threads, is told in a sentence; exit 75, to be tried again."""
    if subprocess.run([*_AS_NOBODY, "true"], check=False).returncode != 0:
        pytest.skip("only root can become another user, whose processes are limited")
    home = Path(tempfile.mkdtemp(prefix="invoicedrop-"))
    try:
        merchant = Merchant(home, sandbox)
        merchant.state.mkdir()
        for path in (home, merchant.drop, merchant.state):
            os.chown(path, _NOBODY, _NOBODY)
        done = subprocess.run(
            [*_AS_NOBODY, sys.executable, *COMMAND, "run", "--once"],
            env={**os.environ, **merchant.environment, "INVOICEDROP_UPLOAD_WORKERS": "32"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit)),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        shutil.rmtree(home)
    assert done.returncode == 75, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_thread_that_is_refused_at_work_is_trouble_of_ours(sandbox: Running) -> None:
    """Where the system gives no more threads a sentence says so, nothing moves, and it goes on when there are some."""
    if subprocess.run([*_AS_NOBODY, "true"], check=False).returncode != 0:
        pytest.skip("only root can become another user, whose processes are limited")
    with tempfile.TemporaryDirectory(prefix="invoicedrop-") as name:
        merchant = Merchant(Path(name), sandbox)
        merchant.state.mkdir()
        for path in (merchant.home, merchant.drop, merchant.state):
            os.chown(path, _NOBODY, _NOBODY)
        as_nobody = [*_AS_NOBODY, sys.executable, *COMMAND, "run"]
        command = ("-c", f"import os; os.execvp({as_nobody[0]!r}, {as_nobody!r})")
        with running(merchant, program=command, forked=False) as daemon:
            daemon.wait_for("inbox.watching")
            _limit_threads(daemon, "1")
            for order in ("5", "7"):
                merchant.drop_pdf(f"{order}.pdf")
            daemon.wait_for("inbox.unavailable")
            assert "gives no more threads" in _last_trouble(daemon)
            assert sorted(path.name for path in merchant.drop.glob("*.pdf")) == ["5.pdf", "7.pdf"]
            _limit_threads(daemon, "4096")
            daemon.wait_for("invoice.processed", 2)
            assert len(sandbox.store.uploads()) == 2
            assert daemon.stop() == 0


def _limit_threads(daemon: Daemon, number: str) -> None:
    """Change how many processes and threads the daemon's user may have when it asks for one more."""
    command = ["prlimit", f"--pid={daemon.process.pid}", f"--nproc={number}:"]
    subprocess.run([*_AS_NOBODY, *command], check=True)


def _pdf(merchant: Merchant, name: str) -> Path:
    """Return an invoice beside the folders."""
    path = merchant.home / name
    path.write_bytes(invoice_pdf(name))
    return path
