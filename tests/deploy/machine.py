"""A Debian with systemd, booted in a container from a bare tree, with the project unpacked in it as a newcomer has it."""

import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import package_mirror
from findings import Findings, must, run

from invoicedrop.sandbox.paper import invoice_pdf

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = "systemd,systemd-sysv,dbus,python3,ca-certificates,procps"


def source_archive(folder: Path) -> Path:
    """Build the project's source archive (sdist) into `folder`, by the tools that are locked for it."""
    with tempfile.TemporaryDirectory() as tools:
        locked = ["--require-hashes", "-r", _PROJECT / "requirements-build.txt"]
        must([sys.executable, "-m", "pip", "install", "-q", "--target", tools, *locked])
        build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
        subprocess.run(build, cwd=_PROJECT, env=os.environ | {"PYTHONPATH": tools}, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    return archive


def bare_system(folder: Path, suite: str, found: Findings) -> Path:
    """Return a tree with Debian and systemd, made on the first call."""
    tree = folder / suite
    if not (tree / "usr/bin/systemctl").exists():
        found.note("debootstrap (some minutes, the first time only)")
        must(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, tree])
    return tree


def new_system(folder: Path, suite: str, found: Findings) -> tuple[Path, str]:
    """Copy the bare system, and unpack the project below its /root; return the tree, and the project's place in it."""
    root = folder / f"{suite}-run"
    bare = bare_system(folder, suite, found)
    must(["rm", "-rf", root])
    must(["cp", "-a", "--reflink=auto", bare, root])
    package_mirror.copy_into(root)
    with tempfile.TemporaryDirectory() as built, tarfile.open(source_archive(Path(built))) as archive:
        archive.extractall(root / "root", filter="data")
        name = archive.getnames()[0].partition("/")[0]
    return root, f"/root/{name}"


class Machine:
    """The booted container."""

    def __init__(self, root: Path, container: int) -> None:
        self.root = root
        self._children = Path(f"/proc/{container}/task/{container}/children")

    def run(self, script: str, *, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root inside."""
        clean = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
        }
        variables = [f"{name}={value}" for name, value in (clean | package_mirror.environment()).items()]
        # Looked up anew: while it is coming up, systemd-nspawn's child is a helper of its own.
        leader = self._children.read_text().split()[0]
        inside = ["nsenter", "-t", leader, "-m", "-u", "-i", "-p", "-r", "-w"]
        return run([*inside, "env", "-i", *variables, "bash", "-ec", script], stdin=stdin)

    def must(self, script: str, *, stdin: str | None = None) -> str:
        """Run a shell script as root inside; it has to succeed."""
        done = self.run(script, stdin=stdin)
        if done.returncode != 0:
            print(done.stdout)
            print(self.run("journalctl --no-pager -n 40 -u invoicedrop").stdout)
            sys.exit(f"inside, this ended with {done.returncode}: {script}")
        return done.stdout

    def timed(self, script: str, *, stdin: str | None = None) -> float:
        """Run a shell script as root inside, which has to succeed; return its seconds."""
        began = time.monotonic()
        self.must(script, stdin=stdin)
        return time.monotonic() - began

    def property(self, name: str) -> str:
        """Return a property of the service."""
        return self.must(f"systemctl show --property={name} --value invoicedrop").strip()

    def journal(self) -> str:
        """Return what the service and systemd have said about it."""
        return self.must("journalctl --no-pager -o cat -u invoicedrop")

    def drop(self, name: str, folder: str = "/srv/invoices") -> bytes:
        """Drop an invoice as careful software does."""
        content = invoice_pdf(name)
        drop = self.root / folder.lstrip("/")
        part = drop / f"{name}.part"
        part.write_bytes(content)
        # As a member of the group would leave it.
        os.chown(part, 0, drop.stat().st_gid)
        part.chmod(0o660)
        part.rename(drop / name)
        return content

    def processed(self, *names: str, folder: str = "/srv/invoices") -> bool:
        """Say whether all of these lie in processed."""
        return all((self.root / folder.lstrip("/") / "processed" / name).is_file() for name in names)


@contextmanager
def booted(root: Path, found: Findings) -> Iterator[Machine]:
    """Boot the tree; yield it when systemd has come up; power it off at the end."""
    legacy = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    environment = os.environ | ({"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"} if legacy else {})
    shown = [f"--bind-ro={folder}" for folder in package_mirror.folders()]
    command = ["systemd-nspawn", "-q", "-b", "-D", str(root), "--register=no", "--keep-unit", "--resolv-conf=off"]
    arguments = ["systemd.unified_cgroup_hierarchy=0"] if legacy else []
    with (root.parent / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [*command, *shown, *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        found.wait("the container starts", lambda: process.poll() is not None or children.read_text().strip())
        machine = Machine(root, process.pid)
        states = {"running", "degraded"}
        found.wait(
            "systemd has booted inside",
            lambda: machine.run("systemctl is-system-running || true").stdout.strip() in states,
            seconds=120,
            detail=lambda: machine.run("systemctl list-jobs; systemctl is-system-running").stdout,
        )
        yield machine
    finally:
        # SIGTERM asks for a clean power-off; systemd-nspawn takes everything inside with it.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
