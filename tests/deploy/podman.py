"""Builds the images with podman, runs them by Compose as config/README.md says, and tries out what may happen to them.

    apt-get install -y debootstrap podman runc catatonit
    sudo .venv/bin/python tests/deploy/podman.py

Needs root, about 2 GB below --folder, and the way to Debian's and Python's packages that this machine has. Compose is
podman-compose, in an environment of its own in --folder. The base image is a bare Debian 12 with Python, as no registry
of images is asked. Nothing of it is left running.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import package_mirror
import yaml
from findings import Findings, must, run
from readme import commands_of
from sandbox_api import SandboxApi, running

from invoicedrop.sandbox.paper import invoice_pdf

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = "python3,python3-venv,ca-certificates"
_BASE = "localhost/bookworm-python"
_TOKEN = "sandbox-token"
_USER = 10001
_MEGABYTE = 1_000_000


class Podman:
    """podman with storage of its own, Compose for it, and one merchant's folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.invoices = folder / "merchant/invoices"
        self.drop = self.invoices / "drop"
        self.project = folder / "merchant/project"
        self.token = self.project / "config/secrets/api_token"
        limits = folder / "containers.conf"
        # Modest: root in a container of a CI may not raise them.
        limits.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\n'
        )
        os.environ["CONTAINERS_CONF"] = str(limits)
        self._command = [
            "podman",
            "--root",
            str(folder / "storage"),
            "--runroot",
            str(folder / "run"),
            "--runtime",
            "runc",
        ]
        self._compose = folder / "compose/bin/podman-compose"
        # What Compose calls: our podman, which builds on our base and by this machine's way to packages.
        shown = [f"--volume={place}:{place}:ro" for place in package_mirror.folders()]
        build = [
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "--network",
            "host",
            "--build-arg",
            f"BASE={_BASE}",
            *shown,
        ]
        self._wrapper = folder / "podman"
        self._wrapper.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = build ]; then shift; set -- build {shlex.join(build)} "$@"; fi\n'
            f'exec {shlex.join(self._command)} "$@"\n'
        )
        self._wrapper.chmod(0o755)

    def install_compose(self) -> None:
        """Make an environment with podman-compose, on the first call."""
        if not self._compose.exists():
            venv.create(self._compose.parents[1], with_pip=True)
            must([self._compose.with_name("pip"), "install", "-q", "podman-compose"])

    def run(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run podman with these arguments."""
        return run([*self._command, *arguments], stdin=stdin)

    def must(self, *arguments: str | Path) -> str:
        """Run podman with these arguments; it has to succeed."""
        return must([*self._command, *arguments]).strip()

    def documented(self, line: str, *, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a documented line, in the merchant's copy of the project: Docker is this podman."""
        line = line.replace("/srv/invoices", str(self.invoices))
        words = shlex.split(line)
        if words[:2] == ["docker", "compose"]:
            words[:2] = [str(self._compose), "--podman-path", str(self._wrapper)]
        elif words[0] == "docker":
            words[:1] = self._command
        return run(["env", "-C", str(self.project), *words], stdin=stdin)

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Compose with the merchant's file."""
        return self.documented(
            shlex.join(["docker", "compose", "-f", "config/compose.yaml", "--profile", "live", *arguments])
        )

    def compose_with(self, api: SandboxApi, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
        """Write the merchant's compose file: the project's, told where the sandbox is, and changed."""
        file = yaml.safe_load((_PROJECT / "config/compose.yaml").read_text())
        service = file["services"]["invoicedrop"]
        service |= {"container_name": "invoicedrop", "network_mode": "host"}
        service["environment"] |= {"INVOICEDROP_API_URL": api.url, "INVOICEDROP_SCAN_INTERVAL": "1"}
        change(service)
        (self.project / "config/compose.yaml").write_text(yaml.safe_dump(file, sort_keys=False))

    def up(self, api: SandboxApi, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
        """Start the service anew, with another compose file."""
        self.clear()
        self.compose_with(api, change)
        up = self.compose("up", "-d")
        if up.returncode != 0:
            print(up.stdout)
            sys.exit("it does not come up")

    def import_base(self, found: Findings) -> None:
        """Make the base image, on the first call."""
        if self.run("image", "exists", _BASE).returncode == 0:
            return
        tree = self.folder / "bookworm-python"
        if not (tree / "usr/bin/python3").exists():
            found.note("debootstrap (some minutes, the first time only)")
            must(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", tree])
            must(["rm", "-rf", tree / "var/lib/apt/lists", tree / "var/cache/apt"])
        package_mirror.copy_into(tree)
        with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run([*self._command, "import", "-", _BASE], stdin=packed.stdout, check=True, capture_output=True)

    def drop_invoice(self, name: str) -> None:
        """Drop an invoice as careful software does."""
        part = self.drop / f"{name}.part"
        part.write_bytes(invoice_pdf(name))
        part.rename(self.drop / name)

    def processed(self, *names: str) -> bool:
        """Say whether all of these lie in processed."""
        return all((self.invoices / "processed" / name).is_file() for name in names)

    def logs(self, name: str = "invoicedrop") -> str:
        """Return what a container has said."""
        return self.run("logs", name).stdout

    def health(self, name: str = "invoicedrop") -> tuple[bool, str]:
        """Carry the image's HEALTHCHECK out; return whether it is healthy, and what it said."""
        healthy = self.run("healthcheck", "run", name).returncode == 0
        said = json.loads(self.must("inspect", name))[0]["State"]
        log = (said.get("Health") or said["Healthcheck"]).get("Log") or [{}]
        return healthy, str(log[-1].get("Output", ""))

    def clear(self) -> None:
        """Remove every container of this storage."""
        self.run("rm", "-f", "-t", "0", "--all")


def plain(text: str) -> str:
    """Return what was printed at a terminal as one line, without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def unpack(podman: Podman, api: SandboxApi) -> None:
    """Have a merchant's folders, with a copy of the project as a newcomer has it."""
    must(["rm", "-rf", podman.project.parent])
    hidden = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "secrets", ".env"
    )
    shutil.copytree(_PROJECT, podman.project, ignore=hidden)
    podman.compose_with(api)


def follows_readme(podman: Podman, api: SandboxApi, readme: str, found: Findings) -> None:
    """Do what config/README.md says, word for word."""
    found.section("Following config/README.md")
    prepared, started = commands_of(readme, "In a container")[1:3]
    unpack(podman, api)
    for line in prepared.splitlines():
        done = podman.documented(line, stdin=f"{_TOKEN}\n")
        found.check(f"`{line}`", done.returncode == 0, done.stdout)
    env = podman.project / "config/.env"
    text = env.read_text().replace("COMPANY_ID=", "COMPANY_ID=1001").replace("PROJECT_ID=", "PROJECT_ID=2001")
    env.write_text(text.replace("INVOICES=/srv/invoices", f"INVOICES={podman.invoices}"))
    for line in started.splitlines():
        began = time.monotonic()
        done = podman.documented(line)
        found.check(f"`{line}` ({time.monotonic() - began:.1f} s)", done.returncode == 0, done.stdout)
        if line.endswith(" check"):
            found.check(
                "`check` finds no problem",
                "Everything is right." in done.stdout or "0 problems" in done.stdout,
                done.stdout,
            )
    found.wait("it is healthy", lambda: podman.health()[0], detail=podman.logs)
    began = time.monotonic()
    podman.drop_invoice("7.pdf")
    found.wait("the first invoice lies in processed", lambda: podman.processed("7.pdf"), detail=podman.logs)
    found.note(f"an invoice is dropped: {time.monotonic() - began:.1f} s until it is in processed")


def image(podman: Podman, found: Findings) -> None:
    """The image is small, locked down, and holds nothing but what runs."""
    found.section("The image")
    described = json.loads(podman.must("image", "inspect", "invoicedrop"))[0]
    size, base = described["Size"], json.loads(podman.must("image", "inspect", _BASE))[0]["Size"]
    ours = (size - base) / _MEGABYTE
    found.note(f"{size / _MEGABYTE:.0f} MB, of which {base / _MEGABYTE:.0f} MB are the base: {ours:.0f} MB are ours")
    found.check("what is ours is small (less than 90 MB)", ours < 90)
    config = described["Config"]
    found.check("it runs as a number that is not root", config["User"] == f"{_USER}:{_USER}", config)
    found.check("the entry point is the program, no shell", config["Entrypoint"] == ["invoicedrop"], config)
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    found.check("it says what it is", labels >= {"title", "description", "licenses", "version", "revision"}, config)
    packages = "/opt/invoicedrop/lib/python3*/site-packages"
    there = podman.must(
        "run",
        "--rm",
        "--entrypoint",
        "sh",
        "invoicedrop",
        "-c",
        f"ls -d {packages}/* /opt/invoicedrop/bin/*; ls /src /tools 2>&1; true",
    )
    names = {Path(line).name for line in there.splitlines()}
    unwanted = names & {"pip", "setuptools", "hatchling", "starlette", "uvicorn", "pytest", "activate"}
    found.check("nothing in it installs, builds or serves as a stand-in", not unwanted and "pypdf" in names, there)
    demo = podman.run("run", "--rm", "invoicedrop", "demo")
    found.check(
        "`demo` says what it would need", demo.returncode == 78 and "invoicedrop[sandbox]" in demo.stdout, demo.stdout
    )
    bare = podman.run("run", "--rm", "invoicedrop", "run")
    found.check(
        "without settings it ends with 78 and says what is missing",
        bare.returncode == 78 and "INVOICEDROP_COMPANY_ID" in bare.stdout,
        bare.stdout,
    )


def works(podman: Podman, api: SandboxApi, found: Findings) -> None:
    """Invoices from a mounted folder go through, with nothing allowed."""
    found.section("Invoices")
    for number in range(1, 6):
        podman.drop_invoice(f"{number}.pdf")
    podman.drop_invoice("999.pdf")
    found.wait(
        "five dropped invoices lie in processed",
        lambda: podman.processed(*(f"{n}.pdf" for n in range(1, 6))),
        detail=podman.logs,
    )
    found.check("each order has its invoice once", api.uploads() == dict.fromkeys((*range(1, 6), 7), 1), api.uploads())
    found.wait(
        "the invoice of no order has its reason beside it", (podman.invoices / "failed/999.pdf.reason.txt").is_file
    )
    # Of the service itself: the init process has it as its child.
    state = podman.must("exec", "invoicedrop", "sh", "-c", "cat /proc/[0-9]*/status")
    found.check(
        "nothing in it runs as root", set(re.findall(r"^Uid:\t(\d+)", state, re.MULTILINE)) == {str(_USER)}, state
    )
    found.check(
        "nothing in it has a capability",
        set(re.findall(r"^Cap(?:Eff|Prm|Bnd):\t(\w+)", state, re.MULTILINE)) == {"0" * 16},
        state,
    )
    found.check(
        "nothing in it can get more rights", set(re.findall(r"^NoNewPrivs:\t(\d)", state, re.MULTILINE)) == {"1"}, state
    )
    wrote = podman.run("exec", "invoicedrop", "touch", "/opt/invoicedrop/x", "/etc/x", "/x")
    found.check("its root is read-only", wrote.stdout.count("Read-only") == 3, wrote.stdout)
    found.check("the token is in no log", _TOKEN not in podman.logs())
    found.check("nor in what the engine tells of it", _TOKEN not in podman.must("inspect", "invoicedrop"))


def tells_its_health(podman: Podman, found: Findings) -> None:
    """Health follows the drop folder."""
    found.section("HEALTHCHECK")
    gone = podman.drop.with_name("gone")
    podman.drop.rename(gone)
    found.wait("it is unhealthy when the drop folder has vanished", lambda: not podman.health()[0], detail=podman.logs)
    found.note(podman.health()[1].strip())
    found.check("and says which", "/invoices/drop" in podman.health()[1], podman.health())
    gone.rename(podman.drop)
    found.wait("it is healthy when the folder is back", lambda: podman.health()[0], detail=podman.logs)
    podman.drop_invoice("6.pdf")
    found.wait("and works", lambda: podman.processed("6.pdf"), detail=podman.logs)
    pid = podman.must("inspect", "--format", "{{.State.Pid}}", "invoicedrop")
    main = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    os.kill(int(main), signal.SIGSTOP)
    found.wait("it is unhealthy when the work loop hangs", lambda: not podman.health()[0], seconds=60)
    found.note(podman.health()[1].strip())
    os.kill(int(main), signal.SIGCONT)
    found.wait("it is healthy when it goes on", lambda: podman.health()[0])


def takes_new_tokens(podman: Podman, api: SandboxApi, readme: str, found: Findings) -> None:
    """A new token in its file is taken, whoever writes it and how, without another command."""
    found.section("A new token")
    written = commands_of(readme, "In a container")[1].splitlines()[-1]
    started = podman.must("inspect", "--format", "{{.State.StartedAt}}", "invoicedrop")
    before = _TOKEN
    for token, number in (("another-sandbox-token", 61), ("a-third-sandbox-token", 62)):
        # Both are valid for a while, as Channable has it: nothing says that the old one is the wrong one.
        api.set_options(tokens=[before, token])
        before = token
        if number == 61:
            podman.documented(written, stdin=f"{token}\n")
        else:
            podman.token.write_text(f"{token}\n")
        found.wait(
            "`check` says that the service has it",
            lambda: re.search(
                r"^ok +token in use", podman.run("exec", "invoicedrop", "invoicedrop", "check").stdout, re.MULTILINE
            ),
            detail=lambda: podman.run("exec", "invoicedrop", "invoicedrop", "check").stdout,
        )
        api.set_options(tokens=[token])
        podman.drop_invoice(f"{number}.pdf")
        found.wait(
            "an invoice goes with it", lambda number=number: podman.processed(f"{number}.pdf"), detail=podman.logs
        )  # type: ignore[misc]
    found.check("no request had an old one", "401" not in api.requests()["answered"], api.requests())
    found.check(
        "it was not restarted", podman.must("inspect", "--format", "{{.State.StartedAt}}", "invoicedrop") == started
    )
    podman.token.write_text(f"{_TOKEN}\n")
    api.set_options(tokens=[_TOKEN])


def stops(podman: Podman, api: SandboxApi, found: Findings, *, init: bool) -> None:
    """SIGTERM in mid-upload waits for the answer."""
    found.section(f"Stop in mid-upload, {'with' if init else 'without'} an init process")
    name = "11.pdf" if init else "13.pdf"
    podman.up(api, lambda service: service.update(init=init))
    found.wait("it is healthy", lambda: podman.health()[0], detail=podman.logs)
    api.set_faults({"kind": "latency", "request": "upload", "seconds": 2})
    before = api.requests()["arrived"].get("upload", 0)
    podman.drop_invoice(name)
    found.wait(
        "the upload is under way", lambda: api.requests()["arrived"].get("upload", 0) > before, detail=podman.logs
    )
    stopped = podman.compose("stop")
    found.check("Compose stops it", stopped.returncode == 0, stopped.stdout)
    state = json.loads(podman.must("inspect", "invoicedrop"))[0]["State"]
    found.check("it ended by itself, with 0", state["ExitCode"] == 0, state)
    found.check("after its answer: the invoice is in processed", podman.processed(name), podman.logs())
    api.set_faults()
    podman.compose("start")
    follower = f"{int(name[:2]) + 1}.pdf"
    podman.drop_invoice(follower)
    found.wait("started again, it goes on", lambda: podman.processed(follower), detail=podman.logs)
    found.check("nothing was sent twice", max(api.uploads().values()) == 1, api.uploads())


def survives_kill(podman: Podman, api: SandboxApi, found: Findings) -> None:
    """A kill -9 of the whole container loses nothing and doubles nothing."""
    found.section("Kill in mid-upload")
    names = [f"{number}.pdf" for number in range(21, 41)]
    api.set_faults({"kind": "latency", "request": "upload", "seconds": 0.4, "stored": True})
    for name in names:
        podman.drop_invoice(name)
    found.wait("some are sent, others under way", lambda: api.uploads()[21], detail=podman.logs)
    podman.must("kill", "-s", "KILL", "invoicedrop")
    api.set_faults()
    podman.run("start", "invoicedrop")
    found.wait("all twenty lie in processed", lambda: podman.processed(*names), seconds=60, detail=podman.logs)
    sent = {number: count for number, count in api.uploads().items() if number in range(21, 41)}
    found.check("each was sent once", sent == dict.fromkeys(range(21, 41), 1), sent)


def explains_rights(podman: Podman, api: SandboxApi, readme: str, found: Findings) -> None:
    """A folder of another user is explained, by `check` and in the log."""
    found.section("A folder of another user")
    podman.clear()
    for folder in (podman.invoices, podman.drop, podman.invoices / "processed", podman.invoices / "failed"):
        os.chown(folder, 0, 0)
        folder.chmod(0o755)
    check = podman.compose("run", "--rm", "invoicedrop", "check")
    found.check(
        "`check` finds it",
        check.returncode == 1 and f"chown {_USER}:{_USER} /invoices/drop" in check.stdout,
        check.stdout,
    )
    found.note(next(line.strip() for line in check.stdout.splitlines() if "/invoices/drop" in line))
    podman.up(api)
    found.wait(
        "the log tells it in a sentence",
        lambda: re.search(r"inbox\.unavailable.*belongs to root:root.*chown 10001:10001", podman.logs()),
        detail=podman.logs,
    )
    found.note(next(line for line in podman.logs().splitlines() if "inbox.unavailable" in line))
    found.check("health tells it too", "chown" in podman.health()[1], podman.health())
    must(["chown", "-R", f"{_USER}:{_USER}", podman.invoices])
    found.wait("mended, it goes on by itself", lambda: podman.health()[0], seconds=60, detail=podman.logs)
    found.section("Another user")
    podman.clear()
    env = podman.project / "config/.env"
    env.write_text(env.read_text().replace("RUN_AS=10001:10001", "RUN_AS=1234:1234"))
    must(["chown", "-R", "1234:1234", podman.invoices])
    locked = podman.compose("run", "--rm", "invoicedrop", "check")
    found.check(
        "a token of another user is told, without a chown of it",
        "install -o 1234 -m 400 /dev/stdin /run/secrets/api_token" in plain(locked.stdout),
        locked.stdout,
    )
    podman.documented(
        commands_of(readme, "In a container")[1].splitlines()[-1].replace("10001", "1234"), stdin=f"{_TOKEN}\n"
    )
    refused = podman.compose("run", "--rm", "invoicedrop")
    found.check("another user is refused the first one's state", refused.returncode == 78, refused.stdout)
    found.note(next(line.strip() for line in refused.stdout.splitlines() if "state_dir" in line))
    podman.clear()
    (given,) = re.findall(r"`(docker run [^`]+ chown [^`]+)`", readme)
    done = podman.documented(given.replace("1000", "1234"))
    found.check("the documented command hands it over", done.returncode == 0, done.stdout)
    podman.up(api)
    podman.drop_invoice("51.pdf")
    found.wait("then, with a folder of that user's, it works", lambda: podman.processed("51.pdf"), detail=podman.logs)
    podman.clear()
    env.write_text(env.read_text().replace("RUN_AS=1234:1234", "RUN_AS=10001:10001"))
    must(["chown", "-R", f"{_USER}:{_USER}", podman.invoices])
    podman.documented(commands_of(readme, "In a container")[1].splitlines()[-1], stdin=f"{_TOKEN}\n")
    podman.documented(given.replace("1000", str(_USER)))


def works_across_mounts(podman: Podman, api: SandboxApi, found: Findings) -> None:
    """Three mounts instead of one: files are copied."""
    found.section("Three mounts")

    def three(service: dict[str, Any]) -> None:
        mounts = [f"{podman.invoices / name}:/invoices/{name}" for name in ("drop", "processed", "failed")]
        service["volumes"] = [*(mount for mount in service["volumes"] if not mount.endswith(":/invoices")), *mounts]

    podman.up(api, three)
    podman.drop_invoice("52.pdf")
    podman.drop_invoice("998.pdf")
    found.wait("a good one arrives in processed", lambda: podman.processed("52.pdf"), detail=podman.logs)
    found.wait("a bad one in failed", (podman.invoices / "failed/998.pdf.reason.txt").is_file, detail=podman.logs)
    found.wait("and both have left drop", lambda: not list(podman.drop.glob("*.pdf")), detail=podman.logs)


def shows_itself(podman: Podman, found: Findings) -> None:
    """The profile `try` of the compose file, by config/README.md's command."""
    found.section("The profile try")
    podman.clear()
    shutil.copyfile(_PROJECT / "config/compose.yaml", podman.project / "config/compose.yaml")
    command = commands_of((_PROJECT / "config/README.md").read_text(), "In a container")[0].strip()
    up = podman.documented(f"{command} -d")
    found.check(f"`{command}` comes up", up.returncode == 0, up.stdout)
    events = ("invoice.processed", "invoice.failed")
    (name,) = [
        name for name in podman.must("ps", "-a", "--format", "{{.Names}}").split() if re.search(r"[_-]try[_-]1$", name)
    ]

    def ended() -> list[str]:
        lines = [json.loads(line) for line in podman.logs(name).splitlines() if line.startswith("{")]
        return sorted(f"{line['file']}: {line.get('reason', 'processed')}" for line in lines if line["event"] in events)

    found.wait("five invoices come to their end", lambda: len(ended()) == 5, detail=lambda: podman.logs(name))
    found.note("; ".join(ended()))
    found.check("two of them in processed", sum("processed" in line for line in ended()) == 2)
    found.check("the sandbox's page is there for a browser", SandboxApi(8077).up())


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp/invoicedrop-podman"), help="where images are kept"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this needs root")
    found = Findings()
    options.folder.mkdir(parents=True, exist_ok=True)
    podman = Podman(options.folder)
    podman.install_compose()
    podman.clear()
    podman.run("volume", "rm", "--all", "-f")
    podman.run("image", "rm", "-f", "invoicedrop", "invoicedrop-try")
    podman.import_base(found)
    readme = (_PROJECT / "config/README.md").read_text()
    try:
        with running() as api:
            found.wait("the sandbox API answers", api.up)
            follows_readme(podman, api, readme, found)
            image(podman, found)
            works(podman, api, found)
            takes_new_tokens(podman, api, readme, found)
            tells_its_health(podman, found)
            stops(podman, api, found, init=True)
            stops(podman, api, found, init=False)
            survives_kill(podman, api, found)
            explains_rights(podman, api, readme, found)
            works_across_mounts(podman, api, found)
            shows_itself(podman, found)
    finally:
        podman.clear()
    found.end()


if __name__ == "__main__":
    main()
