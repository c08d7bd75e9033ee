"""Boots Debian 12 with systemd in a container, installs the service there as README.md says, and tries it out.

    apt-get install -y debootstrap systemd-container
    sudo .venv/bin/python tests/deploy/boot_systemd.py

Needs root, about 2 GB below --folder, and the way to Debian's and Python's packages that this machine has. Nothing
of it is left running; the bare system is kept in --folder for the next time.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import package_mirror
from findings import Findings, must, run
from readme import commands_of
from sandbox_api import SandboxApi, free_port

from invoicedrop.sandbox.paper import invoice_pdf

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = "systemd,systemd-sysv,dbus,python3,ca-certificates,procps"
_TOKEN = "sandbox-token"
_NEW_TOKEN = "another-sandbox-token"
_NOT_COPIED = (".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info")


def bare_system(folder: Path, found: Findings) -> Path:
    """Return a tree with Debian 12 and systemd, made on the first call."""
    tree = folder / "bookworm"
    if not (tree / "usr/bin/systemctl").exists():
        found.note("debootstrap (some minutes, the first time only)")
        must(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", tree])
    return tree


def new_system(folder: Path, readme: Path, found: Findings) -> Path:
    """Copy the bare system, and the project into it as /opt/invoicedrop."""
    root = folder / "run"
    bare = bare_system(folder, found)
    must(["rm", "-rf", root])
    must(["cp", "-a", "--reflink=auto", bare, root])
    package_mirror.copy_into(root)
    skipped = [f"--exclude={name}" for name in _NOT_COPIED]
    packed = subprocess.run(["tar", "-C", _PROJECT, *skipped, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
    (root / "opt/invoicedrop").mkdir(parents=True)
    subprocess.run(["tar", "-C", root / "opt/invoicedrop", "--no-same-owner", "-x"], input=packed, check=True)
    (root / "opt/invoicedrop/README.md").write_text(readme.read_text())
    return root


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


def install(machine: Machine, readme: str, port: int, found: Findings) -> None:
    """Do what README.md says, word for word."""
    found.section("Following README.md")
    blocks = commands_of(readme, "As a systemd service")
    found.check("README.md has the installation and the start", len(blocks) == 2, blocks)
    machine.must(
        f"apt-get update -qq\n{blocks[0].replace('apt-get', 'DEBIAN_FRONTEND=noninteractive apt-get -qq')}",
        stdin=f"{_TOKEN}\n",
    )
    found.check("the commands of the installation end well", True)
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    text = settings.read_text().replace("company_id = 1234", "company_id = 1001")
    text = text.replace("project_id = 56789", "project_id = 2001", 1)
    text = text.replace("# api_url =", f'api_url = "http://127.0.0.1:{port}"\n# api_url =')
    settings.write_text(text.replace("# settle_seconds = 1.0", "settle_seconds = 0.2"))
    machine.must(
        "systemd-run -q --unit=sandbox --property=DynamicUser=yes "
        f"/opt/invoicedrop/venv/bin/invoicedrop sandbox --port {port} --rate 0"
    )
    found.wait("the sandbox API answers", SandboxApi(port).up)
    check = machine.run(blocks[1].splitlines()[0])
    found.check("`invoicedrop check` before the first start finds no problem", check.returncode == 0, check.stdout)
    machine.must(blocks[1].splitlines()[1])
    found.check("`systemctl enable --now` comes back when it is ready", machine.property("ActiveState") == "active")
    status = machine.run(blocks[1].splitlines()[2])
    found.check("`invoicedrop status` ends well", status.returncode == 0, status.stdout)


def units(machine: Machine, found: Findings) -> None:
    """What systemd itself has to say about the unit."""
    found.section("The unit")
    verify = machine.run("systemd-analyze verify --man=no invoicedrop.service")
    found.check(
        "`systemd-analyze verify` has nothing to say", verify.returncode == 0 and not verify.stdout, verify.stdout
    )
    score = machine.run("systemd-analyze security --no-pager --threshold=12 invoicedrop.service")
    found.check("`systemd-analyze security` says at most 1.2", score.returncode == 0, score.stdout)
    found.note(score.stdout.strip().splitlines()[-1])


def works(machine: Machine, api: SandboxApi, found: Findings) -> None:
    """Invoices go through."""
    found.section("Invoices")
    for number in range(1, 6):
        machine.drop(f"{number}.pdf")
    machine.drop("999.pdf")
    found.wait(
        "five dropped invoices lie in processed",
        lambda: machine.processed(*(f"{n}.pdf" for n in range(1, 6))),
        detail=machine.journal,
    )
    found.check("each order has its invoice once", api.uploads() == dict.fromkeys(range(1, 6), 1), api.uploads())
    reason = machine.root / "srv/invoices/failed/999.pdf.reason.txt"
    found.wait("the invoice of no order lies in failed, its reason beside it", reason.is_file)
    group = machine.must("stat -c '%U:%G %a' /srv/invoices/failed /srv/invoices/failed/999.pdf.reason.txt").split("\n")
    found.check("the group can clear up failed", group[0] == "invoicedrop:invoicedrop 2770", group)
    found.check("the group can read the reason", group[1] == "invoicedrop:invoicedrop 660", group)
    found.wait(
        "STATUS= says so in words",
        lambda: "5 sent today" in machine.property("StatusText"),
        detail=lambda: machine.property("StatusText"),
    )
    found.note(f"STATUS={machine.property('StatusText')}")
    health = machine.run("invoicedrop health")
    found.check("`invoicedrop health` says healthy", health.stdout.strip() == "healthy", health.stdout)


def stops(machine: Machine, api: SandboxApi, found: Findings) -> None:
    """A stop in mid-upload waits for the answer, and for nothing else."""
    found.section("systemctl stop in mid-upload")
    api.set_faults({"kind": "latency", "request": "upload", "seconds": 3})
    before = api.requests()["arrived"].get("upload", 0)
    machine.drop("11.pdf")
    found.wait("the upload is under way", lambda: api.requests()["arrived"].get("upload", 0) > before)
    took = float(
        machine.must(
            "start=$(date +%s.%N); systemctl stop invoicedrop; echo $(date +%s.%N) $start | awk '{print $1-$2}'"
        )
    )
    found.check(f"it has stopped after its answer, not after a time-out ({took:.1f} s)", took < 6)
    ended = [machine.property(name) for name in ("Result", "ExecMainCode", "ExecMainStatus", "NRestarts")]
    found.check("it ended by itself, with 0", ended[0] == "success" and ended[2:] == ["0", "0"], ended)
    found.check("the invoice is in processed", machine.processed("11.pdf"), machine.journal())
    api.set_faults()
    machine.must("systemctl start invoicedrop")
    machine.drop("12.pdf")
    found.wait("started again, it goes on", lambda: machine.processed("12.pdf"), detail=machine.journal)
    found.check("nothing was sent twice", max(api.uploads().values()) == 1, api.uploads())


def survives_kill(machine: Machine, api: SandboxApi, found: Findings) -> None:
    """A kill -9 loses nothing and doubles nothing."""
    found.section("kill -9 in mid-upload")
    names = [f"{number}.pdf" for number in range(21, 41)]
    api.set_faults({"kind": "latency", "request": "upload", "seconds": 0.4, "stored": True})
    for name in names:
        machine.drop(name)
    found.wait(
        "some are sent, others under way",
        lambda: machine.processed(names[0]) or api.uploads()[21],
        detail=machine.journal,
    )
    machine.must(f"kill -9 {machine.property('MainPID')}")
    # In a container on cgroup v1 nobody tells systemd that the killed children are gone: it waits out TimeoutStopSec.
    found.wait(
        "systemd has started it again",
        lambda: machine.property("NRestarts") == "1" and machine.property("ActiveState") == "active",
        seconds=120,
        detail=machine.journal,
    )
    found.wait("all twenty lie in processed", lambda: machine.processed(*names), seconds=60, detail=machine.journal)
    sent = {number: count for number, count in api.uploads().items() if number in range(21, 41)}
    found.check("each was sent once", sent == dict.fromkeys(range(21, 41), 1), sent)
    api.set_faults()


def is_watched(machine: Machine, found: Findings) -> None:
    """A hang is ended by the watchdog."""
    found.section("A hang")
    _drop_in(machine, "watchdog", "[Service]\nWatchdogSec=6\n")
    machine.must("systemctl restart invoicedrop")
    hung = machine.property("MainPID")
    machine.must(f"kill -STOP {hung}")
    machine.drop("41.pdf")
    found.wait(
        "the watchdog has ended it, and systemd started another",
        lambda: machine.property("MainPID") not in {hung, "0"},
        seconds=120,
        detail=machine.journal,
    )
    found.check("the journal says why", "Watchdog timeout" in machine.journal())
    found.wait("what was dropped meanwhile is processed", lambda: machine.processed("41.pdf"), detail=machine.journal)
    _drop_in(machine, "watchdog", None)
    machine.must("systemctl restart invoicedrop")


def reloads(machine: Machine, api: SandboxApi, readme: str, found: Findings) -> None:
    """A reload takes a new token."""
    found.section("systemctl reload")
    command = "install -m 600 /dev/stdin /etc/invoicedrop/api_token"
    found.check("README.md says how to replace the token", f"`{command}`" in readme)
    machine.must(f"{command}; systemctl reload invoicedrop", stdin=f"{_NEW_TOKEN}\n")
    api.set_options(tokens=[_NEW_TOKEN])
    refused = api.requests()["answered"].get("401", 0)
    process = machine.property("MainPID")
    machine.drop("42.pdf")
    found.wait("an invoice goes with the new token", lambda: machine.processed("42.pdf"), detail=machine.journal)
    found.check("the old one was not tried again", api.requests()["answered"].get("401", 0) == refused, api.requests())
    found.check("it is the same process", machine.property("MainPID") == process)
    machine.must("systemctl restart invoicedrop")
    machine.drop("43.pdf")
    found.wait("a restart takes the new one too", lambda: machine.processed("43.pdf"), detail=machine.journal)


def keeps_the_token(machine: Machine, found: Findings) -> None:
    """The token is root's and the service's, and is told nobody."""
    found.section("The token")
    for path in (
        "/etc/invoicedrop/api_token",
        "/run/invoicedrop/api_token",
        "/run/credentials/invoicedrop.service/api_token",
    ):
        read = machine.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups cat {path}")
        found.check(f"another user cannot read {path}", read.returncode != 0 and "denied" in read.stdout, read.stdout)
    group = machine.run(
        "cd /; setpriv --reuid=nobody --regid=invoicedrop --clear-groups cat /run/invoicedrop/api_token"
    )
    found.check("a member of the group cannot read it either", "denied" in group.stdout, group.stdout)
    for token in (_TOKEN, _NEW_TOKEN):
        # The sandbox itself is another program, and has its token on its command line.
        told = machine.must(
            f"journalctl --no-pager -o export -u invoicedrop | grep -a -c -w -- {token} || true"
        ).strip()
        found.check("the journal does not have it", told == "0", told)
        pids = " ".join(
            machine.must(
                "cat /sys/fs/cgroup/systemd/system.slice/invoicedrop.service/cgroup.procs 2>/dev/null || cat /sys/fs/cgroup/system.slice/invoicedrop.service/cgroup.procs"
            ).split()
        )
        seen = machine.must(
            f"for p in {pids}; do tr '\\0' '\\n' </proc/$p/environ; tr '\\0' '\\n' </proc/$p/cmdline; done"
        )
        found.check("no environment and no command line has it", token not in seen and "INVOICEDROP" in seen, seen)
        kept = machine.run(f"grep -r -l -a -w -- {token} /var/lib/invoicedrop /srv/invoices /tmp /var/tmp").stdout
        found.check("no file of the service has it", not kept, kept)


def gives_up_on_wrong_settings(machine: Machine, found: Findings) -> None:
    """Exit 78 is the end."""
    found.section("Wrong settings")
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    right = settings.read_text()
    settings.write_text(f'drop_dirr = "/x"\n{right}')
    machine.run("systemctl restart invoicedrop")
    found.wait(
        "it has failed, and is not about to be started again",
        lambda: machine.property("SubState") == "failed",
        detail=lambda: machine.property("SubState"),
    )
    state = [machine.property(name) for name in ("ExecMainStatus", "NRestarts")]
    found.check("with 78, and without a restart", state == ["78", "0"], state)
    status = machine.run("systemctl status --no-pager invoicedrop").stdout
    found.check("systemctl status shows the sentence", "did you mean drop_dir?" in status, status)
    settings.write_text(right)
    machine.must("systemctl start invoicedrop")


def works_elsewhere(machine: Machine, found: Findings) -> None:
    """Another drop folder, by the drop-in; a missing right, by its sentence."""
    found.section("Another drop folder")
    machine.must(
        "groupadd --system accounting && install -d -m 2770 -g accounting /mnt/books /mnt/books/invoices && chmod 755 /mnt/books"
    )
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    settings.write_text(settings.read_text().replace('"/srv/invoices"', '"/mnt/books/invoices"', 1))
    check = machine.run("invoicedrop check")
    found.check(
        "without the drop-in `check` names what is missing",
        "ReadWritePaths=" in check.stdout or "chown" in check.stdout or "chmod" in check.stdout,
        check.stdout,
    )
    found.note(next(line.strip() for line in check.stdout.splitlines() if "/mnt/books" in line))
    example = (machine.root / "opt/invoicedrop/systemd/invoicedrop-drop-folder.conf").read_text()
    _drop_in(machine, "drop-folder", example.replace("#SupplementaryGroups=", "SupplementaryGroups="))
    check = machine.run("invoicedrop check")
    found.check("with it `check` finds no problem", check.returncode == 0, check.stdout)
    machine.must("systemctl restart invoicedrop")
    machine.drop("44.pdf", "/mnt/books/invoices")
    found.wait(
        "invoices go from there",
        lambda: machine.processed("44.pdf", folder="/mnt/books/invoices"),
        detail=machine.journal,
    )
    owner = machine.must("stat -c '%G %a' /mnt/books/invoices/processed").strip()
    found.check("processed belongs to the share's group", owner == "accounting 2770", owner)
    machine.must(
        "chmod 755 /mnt/books/invoices; chgrp root /mnt/books/invoices; systemctl restart --no-block invoicedrop"
    )
    found.wait(
        "a right that is missing is told in the log, with names and the command",
        lambda: re.search(r"inbox\.unavailable.*/mnt/books/invoices.*(chown|chmod)", machine.journal()),
        detail=machine.journal,
    )
    lines = [line for line in machine.journal().splitlines() if "inbox.unavailable" in line]
    found.note(lines[-1])


def works_below_home(machine: Machine, found: Findings) -> None:
    """A drop folder in somebody's home, by the drop-in; and rights by settings, where the unit forbids to set setgid."""
    found.section("A drop folder below /home, with file_mode and dir_mode")
    machine.must("useradd -m -G invoicedrop anna && install -d -o anna -g invoicedrop -m 2770 /home/anna/invoices")
    example = (machine.root / "opt/invoicedrop/systemd/invoicedrop-drop-folder.conf").read_text()
    example = example.replace("/mnt/books/invoices", "/home/anna/invoices")
    _drop_in(
        machine, "drop-folder", example.replace("#ProtectHome=", "ProtectHome=").replace("#BindPaths=", "BindPaths=")
    )
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    text = settings.read_text().replace('"/mnt/books/invoices"', '"/home/anna/invoices"', 1)
    text = text.replace('# file_mode = ""', 'file_mode = "0640"').replace('# dir_mode = ""', 'dir_mode = "2750"')
    settings.write_text(text)
    check = machine.run("invoicedrop check")
    found.check("`check` finds no problem", check.returncode == 0, check.stdout)
    machine.must("systemctl restart invoicedrop")
    for name in ("45.pdf", "998.pdf"):
        machine.drop(name, "/home/anna/invoices")
    found.wait(
        "invoices go from there",
        lambda: machine.processed("45.pdf", folder="/home/anna/invoices"),
        detail=machine.journal,
    )
    reason = "/home/anna/invoices/failed/998.pdf.reason.txt"
    found.wait("or fail there", (machine.root / reason.lstrip("/")).is_file, detail=machine.journal)
    modes = machine.must(f"stat -c '%G %a' /home/anna/invoices/processed /home/anna/invoices/failed {reason}").split(
        "\n"
    )
    found.check("folders have dir_mode, and the group", modes[:2] == ["invoicedrop 2750"] * 2, modes)
    found.check("a reason has file_mode, and the group", modes[2] == "invoicedrop 640", modes)
    hidden = machine.run("nsenter -t $(systemctl show -P MainPID invoicedrop) -m ls -A /home /home/anna").stdout.split()
    found.check(
        "the service sees nothing else in the homes", hidden.count("invoices") == 1 and ".bashrc" not in hidden, hidden
    )


def _drop_in(machine: Machine, name: str, content: str | None) -> None:
    path = machine.root / f"etc/systemd/system/invoicedrop.service.d/{name}.conf"
    path.parent.mkdir(exist_ok=True)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    machine.must("systemctl daemon-reload")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp/invoicedrop-boot"), help="where the systems are kept"
    )
    parser.add_argument("--readme", type=Path, default=_PROJECT / "systemd/README.md", help="the README to follow")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this needs root")
    found = Findings()
    readme = options.readme.read_text()
    options.folder.mkdir(parents=True, exist_ok=True)
    root = new_system(options.folder, options.readme, found)
    port = free_port()
    api = SandboxApi(port)
    with booted(root, found) as machine:
        found.note(machine.must("systemctl --version; python3 --version").replace("\n", "; "))
        install(machine, readme, port, found)
        units(machine, found)
        works(machine, api, found)
        stops(machine, api, found)
        survives_kill(machine, api, found)
        is_watched(machine, found)
        reloads(machine, api, readme, found)
        keeps_the_token(machine, found)
        gives_up_on_wrong_settings(machine, found)
        works_elsewhere(machine, found)
        works_below_home(machine, found)
    must(["rm", "-rf", root])
    found.end()


if __name__ == "__main__":
    main()
