"""Boots Debian with systemd in a container, installs the service there with systemd/install, and tries it out.

    apt-get install -y debootstrap systemd-container
    sudo .venv/bin/python tests/deploy/boot_systemd.py --suite bookworm     (or trixie)

Needs root, about 2 GB below --folder, and the way to Debian's and Python's packages that this machine has. Nothing
of it is left running; the bare system is kept in --folder for the next time.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

from findings import Findings, must
from machine import Machine, booted, new_system
from sandbox_api import SandboxApi, running

_TOKEN = "sandbox-token"
_NEW_TOKEN = "another-sandbox-token"
_LAST_TOKEN = "the-last-sandbox-token"
_INSTALL = "DEBIAN_FRONTEND=noninteractive systemd/install"


def install(machine: Machine, project: str, api: SandboxApi, found: Findings) -> None:
    """From an unpacked project to a processed invoice: three commands; then again, and again after it was killed."""
    found.section("Installing")
    answers = f"1001\n2001\n/srv/invoices\n{_TOKEN}\n"
    command = f"cd {project} && {_INSTALL} --api-url {api.url}"
    seconds = machine.timed(command, stdin=answers)
    found.note(f"1: sudo systemd/install: {seconds:.1f} s, from nothing, downloads included")
    found.check("it took less than 90 s", seconds < 90)
    found.check("the service is at work when it comes back", machine.property("ActiveState") == "active")
    began = time.monotonic()
    machine.drop("7.pdf")
    found.wait("the first invoice lies in processed", lambda: machine.processed("7.pdf"), detail=machine.journal)
    found.note(f"2: an invoice is dropped: {time.monotonic() - began:.1f} s until it is in processed")
    seconds = machine.timed("invoicedrop status")
    found.note(f"3: invoicedrop status: {seconds:.1f} s")
    check = machine.run("invoicedrop check")
    # systemd-nspawn lets no Landlock through.
    found.check("`invoicedrop check` finds no problem", "0 problems, 1 warning." in check.stdout, check.stdout)
    process = machine.property("MainPID")
    again = machine.run(command)
    found.check("run again, it ends well", again.returncode == 0, again.stdout)
    found.check("and the service went on meanwhile", machine.property("MainPID") == process, again.stdout)
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    text = settings.read_text()
    found.check(
        "the answers stand in the commented example", "company_id = 1001" in text and "# order_grace" in text, text
    )
    machine.must(f"cd {project} && systemd/install --remove && rm -r /etc/invoicedrop")
    for moment in (0.5, 2, 4, 5, 6, 7):
        machine.run(f"cd {project} && timeout -s KILL {moment} systemd/install --api-url {api.url}", stdin=answers)
    again = machine.run(command, stdin=answers)
    found.check("killed at six moments, and run again, it ends well", again.returncode == 0, again.stdout)
    found.check("and the service is at work", machine.property("ActiveState") == "active", again.stdout)
    settings.write_text(text.replace("# settle_seconds = 1.0", "settle_seconds = 0.2"))
    modes = machine.must("stat -c '%U:%G %a %n' /etc/invoicedrop/* /srv/invoices").splitlines()
    right = ["root:root 600 /etc/invoicedrop/api_token", "root:root 644 /etc/invoicedrop/invoicedrop.toml"]
    found.check(
        "the rights are as they should be", modes == [*right, "invoicedrop:invoicedrop 2770 /srv/invoices"], modes
    )
    machine.must("systemctl restart invoicedrop")


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
    found.check("each order has its invoice once", api.uploads() == dict.fromkeys((*range(1, 6), 7), 1), api.uploads())
    reason = machine.root / "srv/invoices/failed/999.pdf.reason.txt"
    found.wait("the invoice of no order lies in failed, its reason beside it", reason.is_file)
    group = machine.must("stat -c '%U:%G %a' /srv/invoices/failed /srv/invoices/failed/999.pdf.reason.txt").split("\n")
    found.check("the group can clear up failed", group[0] == "invoicedrop:invoicedrop 2770", group)
    found.check("the group can read the reason", group[1] == "invoicedrop:invoicedrop 660", group)
    found.wait(
        "STATUS= says so in words",
        lambda: "6 sent today" in machine.property("StatusText"),
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


def takes_new_tokens(machine: Machine, api: SandboxApi, found: Findings) -> None:
    """A new token in its file is taken, whoever writes it and how, and without another command."""
    found.section("A new token")
    ways = {
        _NEW_TOKEN: "install -m 600 /dev/stdin /etc/invoicedrop/api_token",
        "a-third-sandbox-token": "cat > /etc/invoicedrop/api_token",
        "a-fourth-sandbox-token": "cat > /etc/invoicedrop/new && mv /etc/invoicedrop/new /etc/invoicedrop/api_token",
        _LAST_TOKEN: "for n in 1 2 3 4 5; do echo wrong-$n > /etc/invoicedrop/api_token; sleep 0.1; done; cat > /etc/invoicedrop/api_token",
    }
    process, before = machine.property("MainPID"), _TOKEN
    for number, (token, command) in enumerate(ways.items(), 50):
        # Both are valid for a while, as Channable has it: nothing says that the old one is the wrong one.
        api.set_options(tokens=[before, token])
        machine.must(command, stdin=f"{token}\n")
        found.wait(
            f"`check` says that the service has it ({command})",
            lambda: machine.run("invoicedrop check | grep 'token in use'").stdout.startswith("ok"),
            detail=lambda: machine.run("invoicedrop check; journalctl --no-pager -n 20").stdout,
        )
        api.set_options(tokens=[token])
        before, refused = token, api.requests()["answered"].get("401", 0)
        name = f"{number}.pdf"
        machine.drop(name)
        found.wait("an invoice goes with it", lambda name=name: machine.processed(name), detail=machine.journal)  # type: ignore[misc]
        found.check("no request had the old one", api.requests()["answered"].get("401", 0) == refused, api.requests())
    found.check("it is the same process", machine.property("MainPID") == process)
    machine.must("systemctl restart invoicedrop")
    machine.drop("43.pdf")
    found.wait("a restart takes the new one too", lambda: machine.processed("43.pdf"), detail=machine.journal)
    machine.must(
        "systemctl stop invoicedrop-token.path; cp -a /etc/invoicedrop/api_token /root/kept; echo other > /etc/invoicedrop/api_token"
    )
    check = machine.run("invoicedrop check")
    found.check(
        "where nobody watches, `check` says that the service has another one",
        "problem  token in use" in check.stdout,
        check.stdout,
    )
    machine.must(
        "cp -a /root/kept /etc/invoicedrop/api_token; systemctl start invoicedrop-token.path; systemctl reload invoicedrop"
    )
    machine.must("mv /etc/invoicedrop/api_token /root/kept; systemctl restart invoicedrop || true")
    check = machine.run("invoicedrop check")
    found.check(
        "without a token `check` says so", "does not exist; write the API token into it" in check.stdout, check.stdout
    )
    machine.must("install -m 600 /root/kept /etc/invoicedrop/api_token")
    found.wait(
        "a token that comes late starts the service that failed for want of it",
        lambda: machine.property("ActiveState") == "active",
        detail=machine.journal,
    )


def tells_anybody(machine: Machine, found: Findings) -> None:
    """Any user may ask; what they may not see is told as that."""
    found.section("Any user may ask")
    for command, said in {
        "status": "this user may not see it",
        "check": "could not be seen by this user",
        "config": "Not seen: token file",
        "support": "### Check",
        "health": "healthy",
    }.items():
        asked = machine.run(f"cd /; setpriv --reuid=nobody --regid=nogroup --clear-groups invoicedrop {command}")
        found.check(
            f"`invoicedrop {command}` has an answer for nobody",
            said in asked.stdout and "cannot start" not in asked.stdout and "Traceback" not in asked.stdout,
            asked.stdout,
        )
        wrong = [word for word in ("o+x", "chown", "polkit", "authentication") if word in asked.stdout]
        found.check("and no advice that would open what is closed", not wrong, asked.stdout)
    asked = machine.run("cd /; setpriv --reuid=nobody --regid=nogroup --clear-groups invoicedrop status")
    found.check("the command says who may see all", "sudo invoicedrop status" in asked.stdout, asked.stdout)
    bundle = machine.must("invoicedrop support")
    found.check(
        "root's `support` has all sections",
        all(f"### {name}" in bundle for name in ("Versions", "Check", "Status", "Settings")),
        bundle,
    )
    found.check("and no token", not any(token in bundle for token in (_TOKEN, _NEW_TOKEN, _LAST_TOKEN)), bundle)


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
    for token in (_TOKEN, _NEW_TOKEN, _LAST_TOKEN):
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


def works_elsewhere(machine: Machine, project: str, found: Findings) -> None:
    """Another drop folder, which `systemd/install` lets the service write to; a missing right, by its sentence."""
    found.section("Another drop folder")
    machine.must(
        "groupadd --system accounting && install -d -m 2770 -g accounting '/mnt/books' '/mnt/books/the invoices' && chmod 755 /mnt/books"
    )
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    settings.write_text(settings.read_text().replace('"/srv/invoices"', '"/mnt/books/the invoices"', 1))
    check = machine.run("invoicedrop check")
    found.check(
        "before that `check` names what is missing",
        "ReadWritePaths=" in check.stdout or "chown" in check.stdout,
        check.stdout,
    )
    found.note(next(line.strip() for line in check.stdout.splitlines() if "/mnt/books" in line))
    again = machine.run(f"cd {project} && {_INSTALL}")
    found.check("run again, it ends well", again.returncode == 0, again.stdout)
    check = machine.run("invoicedrop check")
    found.check("`check` finds no problem", check.returncode == 0, check.stdout)
    machine.drop("44.pdf", "/mnt/books/the invoices")
    found.wait(
        "invoices go from there",
        lambda: machine.processed("44.pdf", folder="/mnt/books/the invoices"),
        detail=machine.journal,
    )
    owner = machine.must("stat -c '%G %a' '/mnt/books/the invoices/processed'").strip()
    found.check("processed belongs to the share's group", owner == "accounting 2770", owner)
    machine.must("chmod 755 '/mnt/books/the invoices'; chgrp root '/mnt/books/the invoices'")
    seconds = machine.timed("systemctl restart invoicedrop")
    found.check(f"a start does not wait for a right that is missing ({seconds:.1f} s)", seconds < 10)
    found.wait(
        "it is told in the log, with names and the command",
        lambda: re.search(r"inbox\.unavailable.*/mnt/books/the invoices.*(chown|chmod)", machine.journal()),
        detail=machine.journal,
    )
    lines = [line for line in machine.journal().splitlines() if "inbox.unavailable" in line]
    found.note(lines[-1])
    found.wait(
        "and in the status line",
        lambda: "default unavailable: /mnt/books" in machine.property("StatusText"),
        detail=lambda: machine.property("StatusText"),
    )
    status = machine.run("invoicedrop status").stdout
    found.check("and in `status`", "cannot go on: /mnt/books/the invoices" in status, status)


def works_below_home(machine: Machine, project: str, found: Findings) -> None:
    """A drop folder in somebody's home, by the drop-in; and rights by settings, where the unit forbids to set setgid."""
    found.section("A drop folder below /home, with file_mode and dir_mode")
    machine.must("useradd -m -G invoicedrop anna && install -d -o anna -g invoicedrop -m 2770 /home/anna/invoices")
    example = (machine.root / project.lstrip("/") / "systemd/invoicedrop-drop-folder.conf").read_text()
    example = example.replace("/mnt/books/invoices", "/home/anna/invoices")
    _drop_in(
        machine, "drop-folder", example.replace("#ProtectHome=", "ProtectHome=").replace("#BindPaths=", "BindPaths=")
    )
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    text = settings.read_text().replace('"/mnt/books/the invoices"', '"/home/anna/invoices"', 1)
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


def upgrades(machine: Machine, project: str, api: SandboxApi, found: Findings) -> None:
    """An upgrade, and the way back, with invoices in flight: each is sent once, none is lost, what was changed stays."""
    found.section("Upgrade and way back")
    newer = f"{project}-newer"
    machine.must(
        f"cp -a {project} {newer}; sed -i 's/^__version__ = .*/__version__ = \"99.0.0\"/' {newer}/daemon/invoicedrop/__init__.py"
    )
    machine.must("echo '# a line of an administrator' >> /etc/tmpfiles.d/invoicedrop.conf")
    _drop_in(machine, "own", "[Service]\nNice=5\n")
    settings = machine.root / "etc/invoicedrop/invoicedrop.toml"
    before = settings.read_text()
    folder = "/home/anna/invoices"
    api.set_faults({"kind": "latency", "request": "upload", "seconds": 0.5, "stored": True})
    for step, (command, version, first) in enumerate(
        (
            (f"cd {newer} && {_INSTALL}", "99.0.0", 100),
            (f"cd {newer} && systemd/install --back", "", 200),
            (f"cd {newer} && systemd/install --back", "99.0.0", 300),
        )
    ):
        names = [f"{number}.pdf" for number in range(first, first + 80)]
        for name in names:
            machine.drop(name, folder)
        found.wait("some are sent, others under way", lambda first=first: api.uploads()[first], detail=machine.journal)  # type: ignore[misc]
        done = machine.run(command)
        found.check(f"`{command.rpartition('&& ')[2]}` ends well", done.returncode == 0, done.stdout)
        runs = machine.must("invoicedrop --version").split()[-1]
        found.check(f"{runs} is at work", (runs == "99.0.0") is bool(version), runs)
        found.wait(
            "all eighty lie in processed",
            lambda names=names: machine.processed(*names, folder=folder),
            seconds=90,
            detail=machine.journal,
        )  # type: ignore[misc]
        sent = {number: count for number, count in api.uploads().items() if first <= number < first + 80}
        found.check("each was sent once", sent == dict.fromkeys(range(first, first + 80), 1), sent)
        copies = machine.must("ls /var/lib/invoicedrop/backups").split()
        found.check("the ledger was copied before", len(copies) == step + 1, copies)
    api.set_faults()
    found.check(
        "settings, and what an administrator had changed, are as they were",
        settings.read_text() == before
        and "a line of an" in (machine.root / "etc/tmpfiles.d/invoicedrop.conf").read_text()
        and machine.property("Nice") == "5",
    )
    versions = machine.must("ls /opt/invoicedrop/versions").split()
    found.check("two versions are kept: this one, and the one before", len(versions) == 2, versions)


def goes(machine: Machine, project: str, found: Findings) -> None:
    """`--remove` takes out what was put in, and leaves what is the merchant's."""
    found.section("Removing it")
    done = machine.run(f"cd {project} && systemd/install --remove")
    found.check("it ends well", done.returncode == 0, done.stdout)
    found.note(done.stdout.strip().replace("\n", "; "))
    left = machine.run(
        "ls -d /opt/invoicedrop /usr/local/bin/invoicedrop /etc/systemd/system/invoicedrop* /etc/sysusers.d/invoicedrop.conf"
    ).stdout
    found.check(
        "nothing of it is left, but the drop-ins of an administrator",
        re.findall(r"^/\S+$", left, re.MULTILINE) == ["/etc/systemd/system/invoicedrop.service.d"],
        left,
    )
    kept = machine.run(
        "ls -d /etc/invoicedrop/api_token /etc/invoicedrop/invoicedrop.toml /var/lib/invoicedrop/ledger.sqlite3 /srv/invoices/processed/1.pdf /etc/tmpfiles.d/invoicedrop.conf"
    )
    found.check("settings, token, ledger and invoices are", kept.returncode == 0, kept.stdout)


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
    parser.add_argument("--suite", choices=["bookworm", "trixie"], default="bookworm", help="Debian 12 or 13")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this needs root")
    found = Findings()
    options.folder.mkdir(parents=True, exist_ok=True)
    root, project = new_system(options.folder, options.suite, found)
    with running() as api, booted(root, found) as machine:
        found.wait("the sandbox API answers", api.up)
        found.note(machine.must("systemctl --version; python3 --version").replace("\n", "; "))
        install(machine, project, api, found)
        units(machine, found)
        works(machine, api, found)
        stops(machine, api, found)
        survives_kill(machine, api, found)
        is_watched(machine, found)
        takes_new_tokens(machine, api, found)
        tells_anybody(machine, found)
        keeps_the_token(machine, found)
        gives_up_on_wrong_settings(machine, found)
        works_elsewhere(machine, project, found)
        works_below_home(machine, project, found)
        upgrades(machine, project, api, found)
        goes(machine, project, found)
    must(["rm", "-rf", root])
    found.end()


if __name__ == "__main__":
    main()
