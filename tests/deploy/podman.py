"""Builds the image with podman, runs it as README.md says, and tries out what a container may do to it.

    apt-get install -y debootstrap podman runc catatonit
    sudo .venv/bin/python tests/deploy/podman.py

Needs root, about 2 GB below --folder, and the way to Debian's and Python's packages that this machine has. The base
image is a bare Debian 12 with Python, as no registry of images is asked. Nothing of it is left running.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import package_mirror
import yaml
from findings import Findings, must, run
from readme import commands_of
from sandbox_api import SandboxApi, free_port

from invoicedrop.sandbox.paper import invoice_pdf

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = "python3,python3-venv,ca-certificates"
_BASE = "localhost/bookworm-python"
_TOKEN = "sandbox-token"
_USER = 10001
_MEGABYTE = 1_000_000


class Podman:
    """podman with storage of its own, and one merchant's folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.invoices = folder / "merchant/invoices"
        self.drop = self.invoices / "drop"
        self.token = folder / "merchant/api_token"
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

    def run(self, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run podman with these arguments."""
        return run([*self._command, *arguments], stdin=stdin)

    def must(self, *arguments: str | Path) -> str:
        """Run podman with these arguments; it has to succeed."""
        return must([*self._command, *arguments]).strip()

    def shell(self, script: str) -> list[str]:
        """Return a documented docker command as one for this podman, in the merchant's folder."""
        words = shlex.split(
            script.replace("$PWD/config", str(self.token.parent)).replace("/srv/invoices", str(self.invoices))
        )
        return words[1:] if words[0] == "docker" else words

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


@contextmanager
def sandbox() -> Iterator[SandboxApi]:
    """Run the sandbox API on this machine's loopback, as the command does."""
    port = free_port()
    command = [sys.executable, "-m", "invoicedrop.cli", "sandbox", "--port", str(port), "--rate", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield SandboxApi(port)
        finally:
            process.terminate()


def builds(podman: Podman, found: Findings) -> None:
    """The image is built as documented, small and locked down."""
    found.section("The image")
    shown = [f"--volume={folder}:{folder}:ro" for folder in package_mirror.folders()]
    options = ["--isolation", "chroot", "--format", "docker", "--network", "host", "--build-arg", f"BASE={_BASE}"]
    built = podman.run("build", *options, *shown, "-t", "invoicedrop", _PROJECT)
    found.check("it is built from hashed requirements", built.returncode == 0, built.stdout)
    image = json.loads(podman.must("image", "inspect", "invoicedrop"))[0]
    size, base = image["Size"], json.loads(podman.must("image", "inspect", _BASE))[0]["Size"]
    found.note(
        f"{size / _MEGABYTE:.0f} MB, of which {base / _MEGABYTE:.0f} MB are the base: {(size - base) / _MEGABYTE:.0f} MB are ours"
    )
    found.check("what is ours is small (less than 95 MB)", size - base < 95 * _MEGABYTE)
    config = image["Config"]
    found.check("it runs as a number that is not root", config["User"] == f"{_USER}:{_USER}", config)
    found.check("the entry point is the program, no shell", config["Entrypoint"] == ["invoicedrop"], config)
    found.check("it says what it is", "org.opencontainers.image.title" in config["Labels"], config)
    bare = podman.run("run", "--rm", "invoicedrop", "run")
    found.check(
        "without settings it ends with 78 and says what is missing",
        bare.returncode == 78 and "INVOICEDROP_COMPANY_ID" in bare.stdout,
        bare.stdout,
    )


def started(podman: Podman, command: str, api: SandboxApi, *, init: bool = True) -> list[str]:
    """Return README.md's `docker run`, told where the sandbox is."""
    words = podman.shell(command)
    place = words.index("invoicedrop", words.index("INVOICEDROP_PROJECT_ID=56789"))
    extra = ["--network", "host", "-e", f"INVOICEDROP_API_URL={api.url}", "-e", "INVOICEDROP_SCAN_INTERVAL=1"]
    words[place:place] = extra
    words = [word.replace("ID=1234", "ID=1001").replace("ID=56789", "ID=2001") for word in words]
    return words if init else [word for word in words if word != "--init"]


def follows_readme(podman: Podman, api: SandboxApi, readme: str, found: Findings) -> str:
    """Do what README.md says, with Compose's commands left out; return its `docker run`."""
    found.section("Following README.md")
    blocks = "\n".join(commands_of(readme, "In a container")).replace("\\\n", " ").splitlines()
    (folders,) = [line for line in blocks if line.startswith("install -d")]
    (token,) = [line for line in blocks if line.endswith("config/api_token")]
    (command,) = [line for line in blocks if line.startswith("docker run")]
    must(["rm", "-rf", podman.invoices.parent])
    podman.invoices.parent.mkdir()
    must(podman.shell(folders))
    must(podman.shell(token.replace("config/api_token", str(podman.token))), stdin=f"{_TOKEN}\n")
    words = started(podman, command, api)
    check = podman.run(*[word for word in words if word not in {"-d", "--restart", "unless-stopped"}], "check")
    found.check("`check` finds nothing to mend", "Everything is right." in check.stdout, check.stdout)
    podman.must("rm", "invoicedrop")
    podman.must(*words)
    found.wait("it is healthy", lambda: podman.health()[0], detail=podman.logs)
    return command


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
    found.check("each order has its invoice once", api.uploads() == dict.fromkeys(range(1, 6), 1), api.uploads())
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
    os.kill(int(main), 19)
    found.wait("it is unhealthy when the work loop hangs", lambda: not podman.health()[0], seconds=60)
    found.note(podman.health()[1].strip())
    os.kill(int(main), 18)
    found.wait("it is healthy when it goes on", lambda: podman.health()[0])


def stops(podman: Podman, command: str, api: SandboxApi, found: Findings, *, init: bool) -> None:
    """SIGTERM in mid-upload waits for the answer."""
    found.section(f"Stop in mid-upload, {'with' if init else 'without'} --init")
    name = "11.pdf" if init else "13.pdf"
    podman.clear()
    podman.must(*started(podman, command, api, init=init))
    found.wait("it is healthy", lambda: podman.health()[0], detail=podman.logs)
    api.set_faults({"kind": "latency", "request": "upload", "seconds": 2})
    before = api.requests()["arrived"].get("upload", 0)
    podman.drop_invoice(name)
    found.wait(
        "the upload is under way", lambda: api.requests()["arrived"].get("upload", 0) > before, detail=podman.logs
    )
    podman.must("stop", "invoicedrop")
    state = json.loads(podman.must("inspect", "invoicedrop"))[0]["State"]
    found.check("it ended by itself, with 0", state["ExitCode"] == 0, state)
    found.check("after its answer: the invoice is in processed", podman.processed(name), podman.logs())
    api.set_faults()
    podman.must("start", "invoicedrop")
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


def explains_rights(podman: Podman, command: str, api: SandboxApi, readme: str, found: Findings) -> None:
    """A folder of another user is explained, by `check` and in the log."""
    found.section("A folder of another user")
    podman.clear()
    for folder in (podman.invoices, podman.drop, podman.invoices / "processed", podman.invoices / "failed"):
        os.chown(folder, 0, 0)
        folder.chmod(0o755)
    words = started(podman, command, api)
    check = podman.run(*[word for word in words if word not in {"-d", "--restart", "unless-stopped"}], "check")
    found.check(
        "`check` finds it",
        check.returncode == 1 and f"chown {_USER}:{_USER} /invoices/drop" in check.stdout,
        check.stdout,
    )
    found.note(next(line.strip() for line in check.stdout.splitlines() if "/invoices/drop" in line))
    podman.must("rm", "invoicedrop")
    podman.must(*words)
    found.wait(
        "the log tells it in a sentence",
        lambda: re.search(r"inbox\.unavailable.*belongs to root:root.*chown 10001:10001", podman.logs()),
        detail=podman.logs,
    )
    found.note(next(line for line in podman.logs().splitlines() if "inbox.unavailable" in line))
    found.check("health tells it too", "chown" in podman.health()[1], podman.health())
    must(["chown", "-R", f"{_USER}:{_USER}", podman.invoices])
    found.wait("mended, it goes on by itself", lambda: podman.health()[0], seconds=60, detail=podman.logs)
    podman.clear()
    must(["chown", "-R", "1234:1234", podman.invoices, podman.token])
    words.insert(words.index("--read-only"), "--user=1234:1234")
    once = [word for word in words if word not in {"-d", "--restart", "unless-stopped"}]
    refused = podman.run(*once)
    found.check("another user is refused the first one's state", refused.returncode == 78, refused.stdout)
    found.note(next(line.strip() for line in refused.stdout.splitlines() if "state_dir" in line))
    podman.clear()
    (given,) = re.findall(r"`(docker run [^`]+ chown [^`]+)`", readme)
    podman.must(*podman.shell(given.replace("invoicedrop_state", "invoicedrop-state").replace("1000", "1234")))
    podman.must(*words)
    podman.drop_invoice("51.pdf")
    found.wait(
        "with README.md's command, and a folder of that user's, it works",
        lambda: podman.processed("51.pdf"),
        detail=podman.logs,
    )


def works_across_mounts(podman: Podman, command: str, api: SandboxApi, found: Findings) -> None:
    """Three mounts instead of one: files are copied."""
    found.section("Three mounts")
    podman.clear()
    must(["chown", "-R", f"{_USER}:{_USER}", podman.invoices, podman.token])
    words = [word.replace("invoicedrop-state", "other-state") for word in started(podman, command, api)]
    place = words.index(f"{podman.invoices}:/invoices")
    mounts = [f"{podman.invoices / name}:/invoices/{name}" for name in ("drop", "processed", "failed")]
    words[place : place + 1] = [mounts[0], "-v", mounts[1], "-v", mounts[2]]
    podman.must(*words)
    podman.drop_invoice("52.pdf")
    podman.drop_invoice("998.pdf")
    found.wait("a good one arrives in processed", lambda: podman.processed("52.pdf"), detail=podman.logs)
    found.wait("a bad one in failed", (podman.invoices / "failed/998.pdf.reason.txt").is_file, detail=podman.logs)
    found.wait("and both have left drop", lambda: not list(podman.drop.glob("*.pdf")), detail=podman.logs)


def composed(service: dict[str, Any], name: str) -> list[str]:
    """Return `podman run`'s arguments for a service of config/compose.yaml, as Compose would start it."""
    words = ["run", "-d", "--name", name, "--network", service["network_mode"]]
    words += ["--read-only"] * service["read_only"] + ["--init"] * service["init"]
    words += [f"--tmpfs={place}" for place in service["tmpfs"]]
    words += [f"--cap-drop={one}" for one in service["cap_drop"]]
    words += [f"--security-opt={one.removesuffix(':true')}" for one in service["security_opt"]]
    words += [f"--env={variable}={value}" for variable, value in service.get("environment", {}).items()]
    words += [f"--volume={volume}" for volume in service.get("volumes", [])]
    entry, *arguments = service.get("entrypoint", [""])
    words += ["--entrypoint", entry] if entry else []
    return [*words, service["image"], *arguments, *service.get("command", [])]


def shows_itself(podman: Podman, found: Findings) -> None:
    """The profile `try` of the compose file: no Compose here, so each service is started as it would."""
    found.section("The profile try")
    podman.clear()
    services = yaml.safe_load((_PROJECT / "config/compose.yaml").read_text())["services"]
    for name in ("sandbox", "try-invoices", "try"):
        podman.must(*composed(services[name], name))
    events = ("invoice.processed", "invoice.failed")

    def ended() -> list[str]:
        lines = [json.loads(line) for line in podman.logs("try").splitlines() if line.startswith("{")]
        return sorted(f"{line['file']}: {line.get('reason', 'processed')}" for line in lines if line["event"] in events)

    found.wait("five invoices come to their end", lambda: len(ended()) == 5, detail=lambda: podman.logs("try"))
    found.note("; ".join(ended()))
    found.check("two of them in processed", sum("processed" in line for line in ended()) == 2)
    found.check("the sandbox's page is there for a browser", SandboxApi(8077).up())


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp/invoicedrop-podman"), help="where images are kept"
    )
    parser.add_argument("--readme", type=Path, default=_PROJECT / "config/README.md", help="the README to follow")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this needs root")
    found = Findings()
    options.folder.mkdir(parents=True, exist_ok=True)
    podman = Podman(options.folder)
    podman.clear()
    podman.run("volume", "rm", "--all", "-f")
    podman.import_base(found)
    try:
        with sandbox() as api:
            found.wait("the sandbox API answers", api.up)
            builds(podman, found)
            readme = options.readme.read_text()
            command = follows_readme(podman, api, readme, found)
            works(podman, api, found)
            tells_its_health(podman, found)
            stops(podman, command, api, found, init=True)
            stops(podman, command, api, found, init=False)
            survives_kill(podman, api, found)
            explains_rights(podman, command, api, readme, found)
            works_across_mounts(podman, command, api, found)
            shows_itself(podman, found)
    finally:
        podman.clear()
    found.end()


if __name__ == "__main__":
    main()
