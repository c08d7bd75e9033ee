"""Shares the drop folder with a real Samba server, set up as systemd/README.md says, and drops invoices as its clients do.

    apt-get install -y samba smbclient python3-samba bindfs iproute2
    sudo .venv/bin/python tests/deploy/samba.py

Needs root. smbd listens on loopback, and its users (anna, who drops invoices, and bert, the bookkeeper) exist, only in
namespaces of this script: nothing of this machine is changed. A folder without events is made with bindfs (FUSE).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from findings import Findings, must, run
from readme import commands_of

from invoicedrop.sandbox import Options, Running, serve
from invoicedrop.sandbox.paper import invoice_pdf

_PROJECT = Path(__file__).resolve().parents[2]
_INSIDE = "INVOICEDROP_IN_NAMESPACE"
_SERVICE, _ANNA, _BERT = 4100, 4101, 4102
_PASSWORD = "a-password"
_SCAN_INTERVAL = 2.0
_SETTLE = 0.2


def enter_namespace(home: Path) -> None:
    """Start this script again where anna and the service's user exist, and where that user can reach Python."""
    accounts = {
        "passwd": f"invoicedrop:x:{_SERVICE}:{_SERVICE}::/nonexistent:/usr/sbin/nologin\n"
        f"anna:x:{_ANNA}:{_ANNA}::/nonexistent:/bin/sh\nbert:x:{_BERT}:{_BERT}::/nonexistent:/bin/sh\n",
        "group": f"invoicedrop:x:{_SERVICE}:anna,bert\nanna:x:{_ANNA}:\nbert:x:{_BERT}:\n",
    }
    # Its own loopback as well: Samba's Python client knows only the standard port.
    script = ["set -e", "ip link set lo up"]
    for name, lines in accounts.items():
        (home / name).write_text(Path("/etc", name).read_text() + lines)
        script.append(f'mount --bind "{home}/{name}" /etc/{name}')
    interpreter = Path(sys.base_prefix)
    closed = next((parent for parent in reversed(interpreter.parents) if not parent.stat().st_mode & 0o001), None)
    if closed is not None:
        (home / "python").mkdir()
        script += [
            f'mount --bind "{interpreter}" "{home}/python"',
            f'mount -t tmpfs -o mode=755 none "{closed}"',
            f'mkdir -p "{interpreter}"',
            f'mount --bind "{home}/python" "{interpreter}"',
        ]
    script.append('exec "$@"')
    command = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", "\n".join(script), "sh"]
    code = subprocess.run(
        [*command, sys.executable, __file__, *sys.argv[1:]], env=os.environ | {_INSIDE: str(home)}, check=False, cwd="/"
    ).returncode
    sys.exit(code)


class Share:
    """A Samba server with the share of systemd/README.md, and its clients."""

    def __init__(self, home: Path, folder: Path, section: str) -> None:
        self._home = home
        own = "\n".join(
            f"{name} = {home}/samba"
            for name in (
                "private dir",
                "lock directory",
                "state directory",
                "cache directory",
                "pid directory",
                "ncalrpc dir",
            )
        )
        (home / "samba").mkdir(mode=0o755)
        self._configuration = home / "smb.conf"
        self._configuration.write_text(
            f"[global]\ninterfaces = 127.0.0.1/8\nbind interfaces only = yes\n"
            f"server role = standalone server\ndisable spoolss = yes\nload printers = no\nlog file = {home}/samba/log\n"
            f"{own}\n{section.replace('/srv/invoices', str(folder))}"
        )
        for user in ("anna", "bert"):
            must(["smbpasswd", "-c", self._configuration, "-a", "-s", user], stdin=f"{_PASSWORD}\n{_PASSWORD}\n")

    @contextmanager
    def served(self, found: Findings) -> Iterator[None]:
        """Run smbd."""
        # At its end it ends its whole process group, which is one of its own only without --no-process-group.
        command = ["smbd", "--foreground", f"--configfile={self._configuration}"]
        with (
            (self._home / "smbd.log").open("wb") as log,
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
        ):
            try:
                found.wait(
                    "anna sees the share",
                    lambda: self._client("ls").returncode == 0,
                    detail=lambda: self._client("ls").stdout,
                )
                yield
            finally:
                process.terminate()

    def do(self, *commands: str, user: str = "anna") -> str:
        """Carry smbclient's commands out; return what it said."""
        done = self._client("; ".join(commands), user)
        if done.returncode != 0:
            sys.exit(f"smbclient: {done.stdout}")
        return done.stdout

    def _client(self, commands: str, user: str = "anna") -> subprocess.CompletedProcess[str]:
        login = ["-U", f"{user}%{_PASSWORD}", "-s", str(self._configuration)]
        return run(["smbclient", *login, "//127.0.0.1/invoices", "-c", commands])

    def write(self, way: str, name: str, content: bytes, seconds: float) -> subprocess.Popen[bytes]:
        """Begin to write a file over that many seconds; `way`: slow or preallocated."""
        writer = Path(__file__).with_name("smb_writer.py")
        where = [str(self._configuration), f"anna%{_PASSWORD}", "invoices"]
        process = subprocess.Popen(
            # -I: without this folder, in which `samba` is this script.
            ["/usr/bin/python3", "-I", str(writer), *where, way, name, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdin is not None
        process.stdin.write(content)
        process.stdin.close()
        return process


class Daemon:
    """The real command, run as the service's user, with the systemd unit's umask if nothing else is said."""

    def __init__(
        self, home: Path, drop: Path, sandbox: Running, *, umask: int = 0o007, settings: dict[str, str] | None = None
    ) -> None:
        self.drop = drop
        self._umask = umask
        state = home / f"state-{drop.name}"
        state.mkdir(exist_ok=True)
        os.chown(state, _SERVICE, _SERVICE)
        self._log = home / f"{drop.name}-{umask:03o}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("INVOICEDROP_")},
            "INVOICEDROP_COMPANY_ID": str(sandbox.company_id),
            "INVOICEDROP_PROJECT_ID": str(sandbox.project_id),
            "INVOICEDROP_API_TOKEN": sandbox.token,
            "INVOICEDROP_API_URL": sandbox.url,
            "INVOICEDROP_DROP_DIR": str(drop),
            "INVOICEDROP_STATE_DIR": str(state),
            "INVOICEDROP_SETTLE_SECONDS": str(_SETTLE),
            "INVOICEDROP_SCAN_INTERVAL": str(_SCAN_INTERVAL),
            "INVOICEDROP_INCOMPLETE_GRACE": "20",
            **(settings or {}),
        }

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the program, likewise."""
        return subprocess.run(
            [sys.executable, "-m", "invoicedrop.cli", *arguments],
            env=self._environment,
            user=_SERVICE,
            group=_SERVICE,
            extra_groups=[],
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @contextmanager
    def running(self, found: Findings) -> Iterator[None]:
        """Run it until the end of the block."""
        with (
            self._log.open("wb") as log,
            subprocess.Popen(
                [sys.executable, "-m", "invoicedrop.cli", "run"],
                env=self._environment,
                user=_SERVICE,
                group=_SERVICE,
                extra_groups=[],
                umask=self._umask,
                cwd="/",
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                found.wait("the service watches", lambda: self.events("inbox.watching"), detail=self.log)
                yield
            finally:
                process.terminate()

    def log(self) -> str:
        """Return its log so far."""
        return self._log.read_text()

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the log's lines of one event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == name]

    def processed(self, *names: str) -> bool:
        """Say whether all of these lie in processed."""
        return all((self.drop / "processed" / name).is_file() for name in names)


def over_the_share(share: Share, daemon: Daemon, sandbox: Running, home: Path, found: Findings) -> None:
    """What clients of a share do."""
    found.section("Over the share")
    sources = home / "anna"
    for number in range(1, 31):
        (sources / f"{number}.pdf").write_bytes(invoice_pdf(str(number)))
    share.do(f"lcd {sources}", "prompt OFF", "mput *.pdf")
    names = [f"{number}.pdf" for number in range(1, 31)]
    found.wait("thirty files of one `mput` arrive", lambda: daemon.processed(*names), detail=daemon.log)

    (sources / "31.upload").write_bytes(invoice_pdf("31"))
    share.do(f"lcd {sources}", "put 31.upload 31.tmp", "rename 31.tmp 31.pdf")
    found.wait("one that was renamed into place arrives", lambda: daemon.processed("31.pdf"), detail=daemon.log)
    (sources / "32.upload").write_bytes(invoice_pdf("32"))
    share.do(f"lcd {sources}", "mkdir outbox", "put 32.upload outbox/32.pdf", "rename outbox/32.pdf 32.pdf")
    found.wait(
        "one that was moved in from another folder arrives", lambda: daemon.processed("32.pdf"), detail=daemon.log
    )

    for number, way in ((33, "slow"), (34, "preallocated")):
        content = invoice_pdf(str(number), pages=40)
        writer = share.write(way, f"{number}.pdf", content, 3)
        assert writer.stdout is not None
        said = writer.stdout.readline()
        found.check(f"a {way} writer has begun", b" of " in said, said)
        found.check("and its file is left alone", (daemon.drop / f"{number}.pdf").exists() and writer.poll() is None)
        code = writer.wait(60)
        found.check("and ended well", code == 0, writer.stdout.read())
        found.wait("what it wrote arrives", partial(daemon.processed, f"{number}.pdf"), detail=daemon.log)
        sent = [upload for upload in sandbox.uploads() if upload.order_id == number]
        same = len(sent) == 1 and sandbox.store.content(sent[0].attachment_id) == content
        found.check("once, whole, byte for byte", same, sent)
    found.check("nothing has failed", not daemon.events("invoice.failed"), daemon.log())
    count = {upload.order_id for upload in sandbox.uploads()}
    found.check("each of the 34 went once", len(sandbox.uploads()) == 34 == len(count), sandbox.uploads())


def rights_of_people(share: Share, daemon: Daemon, home: Path, found: Findings) -> None:
    """What the bookkeeper may do with what others dropped and the service made."""
    _belong_to_the_group(daemon, found)
    sees = share.do("ls", "ls processed/*", user="bert")
    found.check(
        "he sees processed and failed, and what is in them", re.search(r"processed +D", sees) and "30.pdf" in sees, sees
    )
    share.do(f"lcd {home}/bert", "get processed/30.pdf 30.pdf", user="bert")
    found.check("he can read what anna dropped", (home / "bert/30.pdf").read_bytes() == invoice_pdf("30"))
    _mends_what_failed(share, daemon, home, "35.pdf", found)
    share.do("del processed/1.pdf", user="bert")
    found.check("he can clear out processed", not (daemon.drop / "processed/1.pdf").exists())


def closed_file(daemon: Daemon, found: Findings) -> None:
    """A file of which the group has no rights: it waits, and its owner and the command are told."""
    found.section("A file without rights for the group")
    closed = daemon.drop / "36.pdf"
    part = daemon.drop / "36.part"
    part.write_bytes(invoice_pdf("36"))
    os.chown(part, _ANNA, _ANNA)
    part.chmod(0o600)
    part.rename(closed)
    check = daemon.command("check")
    found.check(
        "`check` tells whose it is, and what to do",
        check.returncode == 1 and "36.pdf" in check.stdout and "anna" in check.stdout and "chmod" in check.stdout,
        check.stdout,
    )
    found.wait(
        "so does the log",
        lambda: [line for line in daemon.events("invoice.deferred") if line["file"] == "36.pdf"],
        detail=daemon.log,
    )
    told = str(daemon.events("invoice.deferred")[-1]["detail"])
    found.check("with the owner and the command", "anna:anna" in told and "chmod g+r" in told, told)
    found.note(told)
    closed.unlink()


def rights_by_settings(share: Share, home: Path, drop: Path, sandbox: Running, found: Findings) -> None:
    """Where the umask gives the group nothing (Docker's gives no writing, a person's perhaps nothing), settings do."""
    found.section("With file_mode and dir_mode, against a umask of 077")
    for folder in ("processed", "failed"):
        shutil.rmtree(drop / folder)
    settings = {"INVOICEDROP_FILE_MODE": "0660", "INVOICEDROP_DIR_MODE": "2770"}
    daemon = Daemon(home, drop, sandbox, umask=0o077, settings=settings)
    check = daemon.command("check")
    found.check("`check` finds no problem", check.returncode == 0, check.stdout)
    with daemon.running(found):
        _belong_to_the_group(daemon, found)
        # As accounting software leaves it that runs as the service's own user.
        part = drop / "37.part"
        part.write_bytes(invoice_pdf("37"))
        os.chown(part, _SERVICE, _SERVICE)
        part.chmod(0o600)
        part.rename(drop / "37.pdf")
        found.wait("an invoice of the service's own user arrives", lambda: daemon.processed("37.pdf"))
        found.wait("with the group's rights", lambda: _rights(drop / "processed/37.pdf") == (_SERVICE, 0o660))
        share.do(f"lcd {home}/bert", "get processed/37.pdf 37.pdf", user="bert")
        found.check("the bookkeeper can read it", (home / "bert/37.pdf").read_bytes() == invoice_pdf("37"))
        page = drop / "status.html"
        found.wait("the status page says so", lambda: page.is_file() and "37.pdf" in page.read_text(), seconds=30)
        found.check("it has the group's rights", _rights(page) == (_SERVICE, 0o660), _rights(page))
        share.do(f"lcd {home}/bert", "get status.html page.html", user="bert")
        found.check("the bookkeeper can read it", "37.pdf" in (home / "bert/page.html").read_text())
        _mends_what_failed(share, daemon, home, "38.pdf", found)


def _mends_what_failed(share: Share, daemon: Daemon, home: Path, name: str, found: Findings) -> None:
    """Anna drops an invoice under a wrong name, another under a worse one; bert puts one right and clears the other."""
    failed = daemon.drop / "failed"
    (home / "anna/bad").write_bytes(invoice_pdf(name))
    share.do(f"lcd {home}/anna", "put bad 9999.pdf", "put bad 9998.pdf")
    for wrong in ("9999.pdf", "9998.pdf"):
        reason = failed / f"{wrong}.reason.txt"
        found.wait(f"{wrong} is in failed, its reason beside it", (failed / wrong).is_file, detail=daemon.log)
        found.check("the reason is the group's", _rights(reason) == (_SERVICE, 0o660), _rights(reason))
    share.do(f"lcd {home}/bert", "get failed/9999.pdf.reason.txt reason", user="bert")
    found.check("the bookkeeper can read it", "was not sent" in (home / "bert/reason").read_text())
    share.do("del failed/9998.pdf.reason.txt", "del failed/9998.pdf", user="bert")
    found.check("he can delete a reason and its PDF", not list(failed.glob("9998*")), list(failed.iterdir()))
    share.do(f"rename failed/9999.pdf {name}", user="bert")
    found.wait(
        "he can move a PDF back under its right name, and it goes", lambda: daemon.processed(name), detail=daemon.log
    )


def _belong_to_the_group(daemon: Daemon, found: Findings) -> None:
    for folder in ("processed", "failed"):
        state = _rights(daemon.drop / folder)
        found.check(f"{folder} is the group's", state == (_SERVICE, 0o2770), state)


def _rights(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_gid, state.st_mode & 0o7777


def without_events(home: Path, sandbox: Running, found: Findings) -> None:
    """A folder whose events do not reach us: bindfs passes no event of what is written beneath it."""
    found.section("A folder without events (FUSE)")
    beneath, drop = home / "beneath", home / "without-events"
    for folder in (beneath, drop):
        folder.mkdir()
        os.chown(folder, _SERVICE, _SERVICE)
    with subprocess.Popen(["bindfs", "-f", str(beneath), str(drop)]) as mount:
        try:
            found.wait("it is mounted", drop.is_mount)
            daemon = Daemon(home, drop, sandbox)
            check = daemon.command("check")
            found.check("`check` names the kind of file system", "fuse" in check.stdout, check.stdout)
            found.note(next(line.strip() for line in check.stdout.splitlines() if " events " in line))
            with daemon.running(found):
                watching = daemon.events("inbox.watching")[0]
                found.check(
                    "so does the log, with the way files are found",
                    "fuse" in str(watching.get("file_system")),
                    watching,
                )
                slowest = 0.0
                for number in range(41, 46):
                    began = time.monotonic()
                    (beneath / f"{number}.pdf").write_bytes(invoice_pdf(str(number)))
                    os.chown(beneath / f"{number}.pdf", _SERVICE, _SERVICE)
                    name = f"{number}.pdf"
                    found.wait(f"{name} arrives", partial(daemon.processed, name), detail=daemon.log)
                    slowest = max(slowest, time.monotonic() - began)
                found.check(f"each within two scans ({slowest:.1f} s)", slowest < 2 * _SCAN_INTERVAL + _SETTLE + 0.8)
        finally:
            run(["umount", drop])
            mount.terminate()


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--readme", type=Path, default=_PROJECT / "systemd/README.md", help="the README to follow")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this needs root")
    if _INSIDE not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="invoicedrop-samba-", dir="/var/tmp"))
        home.chmod(0o755)
        try:
            enter_namespace(home)
        finally:
            shutil.rmtree(home)
    home = Path(os.environ[_INSIDE])
    found = Findings()
    drop = home / "invoices"
    # As invoicedrop.tmpfiles makes it.
    drop.mkdir()
    os.chown(drop, _SERVICE, _SERVICE)
    drop.chmod(0o2770)
    (section,) = [
        block for block in commands_of(options.readme.read_text(), "Shared folders") if block.startswith("[invoices]")
    ]
    for user, number in (("anna", _ANNA), ("bert", _BERT)):
        (home / user).mkdir()
        os.chown(home / user, number, number)
    with ExitStack() as stack:
        sandbox = stack.enter_context(serve(Options(rate=0)))
        share = Share(home, drop, section)
        stack.enter_context(share.served(found))
        daemon = Daemon(home, drop, sandbox)
        check = daemon.command("check")
        found.check("`check` finds no problem", check.returncode == 0, check.stdout)
        with daemon.running(found):
            over_the_share(share, daemon, sandbox, home, found)
            found.section("The bookkeeper's rights")
            rights_of_people(share, daemon, home, found)
            closed_file(daemon, found)
        rights_by_settings(share, home, drop, sandbox, found)
        without_events(home, sandbox, found)
    found.end()


if __name__ == "__main__":
    main()
