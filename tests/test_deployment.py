"""The files for systemd and Docker against the code and each other; booting them is done by the scripts in deploy/."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from invoicedrop import exit_codes
from invoicedrop.commands.packaged import example
from invoicedrop.sandbox import Options, marketplace_number, serve
from invoicedrop.sandbox.paper import invoice_pdf
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import load
from invoicedrop.settings.settings import Settings
from invoicedrop.settings.sources import Places
from invoicedrop.settings.status_place import status_files
from invoicedrop.timing import DEFAULT_TIMING
from merchant import Merchant

PROJECT = Path(__file__).resolve().parents[1]
SYSTEMD = PROJECT / "systemd"
UNIT = SYSTEMD / "invoicedrop.service"
LONGEST_STOP = Inbox.model_fields["request_timeout"].default + DEFAULT_TIMING.last_wait
"""Seconds that an ordered stop may take."""
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def _unit(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def _seconds(span: str) -> int:
    units = {"": 1, "s": 1, "min": 60}
    number, unit = re.fullmatch(r"(\d+)\s*(\w*)", span).groups()  # type: ignore[union-attr]
    return int(number) * units[unit]


def _analyze(*arguments: str, units: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


# systemd


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit_and_its_drop_in(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent about the unit, also with every line of the drop-in in force."""
    # It wants the programs to be there, which they are on no developer's machine.
    unit = re.sub(r"^(Exec\w+)=(\+?)/\S+", r"\1=\2/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    (tmp_path / "invoicedrop.service").write_text(unit)
    verify = ("verify", "--man=no", "invoicedrop.service")
    alone = _analyze(*verify, units=tmp_path)
    assert (alone.returncode, alone.stdout) == (0, "")
    drop_in = re.sub(r"^#(\w+=)", r"\1", (SYSTEMD / "invoicedrop-drop-folder.conf").read_text(), flags=re.MULTILINE)
    assert "SupplementaryGroups=accounting" in drop_in.splitlines()
    (tmp_path / "invoicedrop.service.d").mkdir()
    (tmp_path / "invoicedrop.service.d/drop-folder.conf").write_text(drop_in)
    both = _analyze(*verify, units=tmp_path)
    # The share's mount unit exists on no developer's machine either.
    said = [line for line in both.stdout.splitlines() if "mnt-books.mount" not in line]
    assert (both.returncode, said) == (0, [])


def test_the_unit_lets_the_pdf_check_confine_itself() -> None:
    """The unit's filter names Landlock's calls and seccomp, which systemd 252 counts to no set that it allows."""
    allowed = " ".join(_unit("SystemCallFilter")).split()
    assert set(allowed) >= {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"}


@needs_systemd
def test_the_unit_is_locked_down_to_a_score_of_1_2() -> None:
    """`systemd-analyze security` gives the unit 1.2 points of exposure or less."""
    judged = _analyze("security", "--offline=true", "--threshold=12", str(UNIT), units=SYSTEMD)
    assert judged.returncode == 0, judged.stdout


def test_the_unit_agrees_with_the_program() -> None:
    """Exit code, time to stop, watchdog and the token's way are as the program has them."""
    assert _unit("Type") == ["notify"]
    assert _unit("RestartPreventExitStatus") == [str(exit_codes.CONFIG)]
    assert _seconds(_unit("TimeoutStopSec")[0]) > LONGEST_STOP
    # A beat comes at least once in half of the watchdog's time; one scan must fit in.
    assert _seconds(_unit("WatchdogSec")[0]) >= 10 * Inbox.model_fields["scan_interval"].default
    assert _unit("ExecReload")[-1] == "/bin/kill -HUP $MAINPID"
    (token,) = _unit("Environment")
    assert token == "INVOICEDROP_API_TOKEN_FILE=%t/invoicedrop/api_token"
    assert all(line.endswith("%t/invoicedrop/api_token") for line in [*_unit("ExecStartPre"), *_unit("ExecReload")[:1]])
    assert _unit("LoadCredential") == ["api_token:/etc/invoicedrop/api_token"]


def test_the_sample_settings_work_with_the_unit(tmp_path: Path) -> None:
    """With config/invoicedrop.toml and the unit's environment, the service reads the token that the unit puts there."""
    token = tmp_path / "api_token"
    token.write_text("secret")
    environ = {"INVOICEDROP_API_TOKEN_FILE": str(token), "STATE_DIRECTORY": "/var/lib/invoicedrop"}
    settings = load(PROJECT / "config/invoicedrop.toml", environ)
    assert settings.inboxes[0].api_token_file == token
    assert settings.state_dir == Path("/var/lib/invoicedrop")
    assert _unit("ReadWritePaths") == [f"-{settings.inboxes[0].drop_dir}"]
    assert str(settings.inboxes[0].drop_dir) in (SYSTEMD / "install").read_text()


def test_the_administrator_s_command_is_the_unit_s_program_as_its_user() -> None:
    """systemd/invoicedrop-command is right shell, and runs what the unit runs, with the unit's token and user."""
    script = SYSTEMD / "invoicedrop-command"
    subprocess.run(["sh", "-n", script], check=True)
    text = script.read_text()
    credential, _, token = _unit("LoadCredential")[0].partition(":")
    assert f"program={_unit('ExecStart')[0].removesuffix(' run')}\ntoken={token}\n" in text
    assert f"--property=LoadCredential={credential}:$token" in text
    assert f"--uid={_unit('User')[0]} --gid={_unit('Group')[0]}" in text
    assert f"--property=StateDirectory={_unit('StateDirectory')[0]}" in text
    assert f"--setenv=RUNTIME_DIRECTORY=/run/{_unit('RuntimeDirectory')[0]}" in text


def test_any_user_finds_the_status_file_of_the_unit() -> None:
    """The folder that the unit makes for it is where a monitor looks, and every user may look into it."""
    assert Places().runtime == Path("/run", *_unit("RuntimeDirectory"))
    assert _unit("RuntimeDirectoryMode") == ["0755"]
    environ = {
        "INVOICEDROP_API_TOKEN": "x",
        "RUNTIME_DIRECTORY": str(Places().runtime),
        "STATE_DIRECTORY": "/var/lib/x",
    }
    written = load(PROJECT / "config/invoicedrop.toml", environ)
    assert written.status_file in status_files(PROJECT / "config/invoicedrop.toml", {})
    assert int(written.status_mode, 8) & 0o004


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
def test_the_administrator_s_command_runs_as_who_asks_and_says_who_may_see_more() -> None:
    """For others than root the program runs as who asks, with the service's folders, and it is said who may see all."""
    script = (SYSTEMD / "invoicedrop-command").read_text()
    (line,) = re.findall(r"^program=.*$", script, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program")
        program.write_text('#!/bin/sh\necho "$(id -u) $STATE_DIRECTORY $*"; exit "$2"\n')
        for path, mode in ((Path(folder), 0o755), (program, 0o755)):
            path.chmod(mode)
        command = Path(folder, "command")
        command.write_text(script.replace(line, f"program={program}"))
        asks = [(75, "orders"), (78, "orders"), (1, "orders"), (0, "health"), (0, "status"), (1, "check")]
        for (code, what), hint in zip(asks, (True, True, False, False, True, True), strict=True):
            asked = subprocess.run(
                ["sh", command, what, str(code)],
                user=65534,
                group=65534,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (asked.returncode, asked.stdout) == (code, f"65534 /var/lib/invoicedrop {what} {code}\n")
            assert (f"sudo invoicedrop {what} {code}" in asked.stderr) is hint


def test_a_new_token_reloads_the_service() -> None:
    """The path unit watches the file that the unit hands over, and leads to a reload."""
    watched = (SYSTEMD / "invoicedrop-token.path").read_text()
    acted = (SYSTEMD / "invoicedrop-token.service").read_text()
    token = _unit("LoadCredential")[0].partition(":")[2]
    copy = _unit("Environment")[0].partition("=")[2].replace("%t", "/run")
    assert f"PathChanged={token}" in watched
    assert f"cmp --silent {token} {copy}" in acted
    assert "systemctl reload invoicedrop.service" in acted


def test_everything_of_systemd_is_installed_or_described() -> None:
    """Each file of systemd/ is put in place by systemd/install, or linked in systemd/README.md."""
    install, told = (SYSTEMD / "install").read_text(), (SYSTEMD / "README.md").read_text()
    files = {path.name for path in SYSTEMD.iterdir() if path.suffix != ".txt"} - {"install", "README.md"}
    assert {name for name in files if f"$data/{name}" not in install and f"]({name})" not in told} == set()
    assert "systemd/requirements-build.txt" in install


@pytest.mark.parametrize("script", [".ci/run", ".ci/lock", "systemd/install"])
def test_a_script_is_right(script: str) -> None:
    """It is right bash, and shellcheck, where it is installed, has nothing to say."""
    subprocess.run(["bash", "-n", PROJECT / script], check=True)
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", PROJECT / script], capture_output=True, text=True, check=False)
        assert done.stdout == ""


# Docker


def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "config/compose.yaml").read_text())
    return loaded


def test_every_service_of_the_compose_file_is_locked_down() -> None:
    """Read-only root, no capabilities, no new rights, an init process, and time for an answer, in each of them."""
    services = _compose()["services"]
    assert set(services) == {"invoicedrop", "try", "sandbox", "try-invoices", "pair-one", "pair-two", "database"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        assert _seconds(service["stop_grace_period"]) > LONGEST_STOP, name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert not {"privileged", "cap_add"} & set(service), name


def test_the_service_of_the_compose_file_agrees_with_the_image() -> None:
    """One mount holds all folders of the image's settings, state is a volume, the token's folder is where we look."""
    compose = _compose()
    service = compose["services"]["invoicedrop"]
    mounts = [volume.removesuffix(":ro").rpartition(":")[2] for volume in service["volumes"]]
    with (PROJECT / "config/container.toml").open("rb") as file:
        image = tomllib.load(file)
    folders = {name: image.pop(name) for name in ("drop_dir", "processed_dir", "failed_dir")}
    # The rights that the unit's umask gives: see systemd/README.md, "Shared folders".
    assert image == {"file_mode": "0660", "dir_mode": "2770"}
    assert _unit("UMask") == ["0007"]
    assert {str(Path(folder).parent) for folder in folders.values()} == {"/invoices"}
    # A folder, not a file: a file that is mounted stays the one that was there at the start.
    assert mounts == [str(Places().secret.parent), "/invoices", "/state"]
    assert "INVOICEDROP_STATE_DIR=/state" in (PROJECT / "Dockerfile").read_text()
    ignored = (PROJECT / ".gitignore").read_text().splitlines()
    assert {"config/.env", "config/api_token", "config/secrets/"} <= set(ignored)
    assert "./secrets:/run/secrets:ro" in service["volumes"]
    # One name, whoever starts it: two volumes would be two memories.
    assert compose["volumes"]["invoicedrop-state"] == {"name": "invoicedrop-state"}
    assert service["restart"] == "unless-stopped"


def test_the_variables_of_the_compose_file_are_settings(tmp_path: Path) -> None:
    """With the environment of each service the settings load, and example.env has every variable that is asked for."""
    compose = (PROJECT / "config/compose.yaml").read_text()
    services = _compose()["services"]
    (token := tmp_path / "token").write_text("secret")
    filled = {"INVOICEDROP_COMPANY_ID": "1", "INVOICEDROP_PROJECT_ID": "2", "INVOICEDROP_STATE_DIR": "/state"}
    # The others are for everybody's proxies and certificates: see the last test.
    ours = [name for name in services["invoicedrop"]["environment"] if name.startswith("INVOICEDROP_")]
    live = dict.fromkeys(ours, "7") | filled
    settings = load(PROJECT / "config/container.toml", live, places=Places(secret=token))
    assert settings.inboxes[0].api_token_file == token
    tried = load(PROJECT / "config/container.toml", filled | services["try"]["environment"])
    assert tried.inboxes[0].api_url == "http://127.0.0.1:8077"
    asked = set(ours) | set(re.findall(r"\$\{(\w+)", compose))
    given = set(re.findall(r"^(\w+)=", (PROJECT / "config/example.env").read_text(), re.MULTILINE))
    assert given == asked | {"COMPOSE_PROFILES"}


def test_the_profile_try_talks_to_its_own_sandbox(tmp_path: Path) -> None:
    """The account that `try` uses is the one that `invoicedrop sandbox` serves when nothing is said."""
    services = _compose()["services"]
    assert services["sandbox"]["command"] == ["sandbox"]
    assert all(services[name]["build"]["target"] == "try" for name in ("try", "sandbox", "try-invoices"))
    assert services["invoicedrop"]["build"]["target"] == "live"
    assert {name for name, service in services.items() if service["profiles"] == ["try"]} == {
        "try",
        "sandbox",
        "try-invoices",
    }
    account = services["try"]["environment"]
    defaults = Options()
    assert int(account["INVOICEDROP_COMPANY_ID"]) == defaults.company_id
    assert int(account["INVOICEDROP_PROJECT_ID"]) in defaults.projects
    assert account["INVOICEDROP_API_TOKEN"] in defaults.tokens
    # What makes its invoices is a program inside the file: here with a folder of our own.
    program = services["try-invoices"]["entrypoint"][2]
    exec(compile(program.replace("/invoices/drop", str(tmp_path)), "compose.yaml", "exec"), {})
    assert len(list(tmp_path.glob("*.pdf"))) == 5


def test_the_profile_pair_is_the_service_twice_with_one_ledger_and_one_share() -> None:
    """Both have the same folders, ledger and token, a state and a name of their own, and the driver in their image."""
    compose = _compose()
    services = compose["services"]
    assert {name for name, service in services.items() if service["profiles"] == ["pair"]} == {
        "pair-one",
        "pair-two",
        "database",
    }
    live, one, two = (services[name] for name in ("invoicedrop", "pair-one", "pair-two"))
    own = {"hostname", "volumes"}
    assert {name: value for name, value in one.items() if name not in own} == {
        name: value for name, value in two.items() if name not in own
    }
    assert one["hostname"] != two["hostname"]
    assert one["volumes"][:2] == two["volumes"][:2] == live["volumes"][:2]
    assert one["volumes"][2:] != two["volumes"][2:]
    assert one["environment"] == live["environment"] | {"INVOICEDROP_LEDGER_URL_FILE": "/run/secrets/ledger_url"}
    assert one["build"]["target"] == "live"
    assert one["build"]["args"] == live["build"]["args"] | {"LEDGER": "postgres"}
    assert {"pair-one-state", "pair-two-state", "database"} <= set(compose["volumes"])


def test_the_image_is_built_from_what_reaches_the_build_and_runs_as_no_root() -> None:
    """What the Dockerfile copies passes .dockerignore and is there; user, entry point and health check are right."""
    text = (PROJECT / "Dockerfile").read_text()
    passed = set(re.findall(r"^!(.+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for word in line.split()}
    # Of config/ each file by its name: a token may lie there.
    assert {name for name in passed if not name.startswith("config/")} | {"config"} == {
        name for name in copied if "/" not in name
    }
    assert all((PROJECT / name).exists() for name in copied)
    assert all((PROJECT / name).exists() for name in copied | passed)
    with (PROJECT / "pyproject.toml").open("rb") as file:
        packed = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {name for name in packed if name.startswith("config/")} < passed
    (user,) = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    assert int(user) > 0
    assert 'ENTRYPOINT ["invoicedrop"]\nCMD ["run"]' in text
    assert 'CMD ["invoicedrop", "health"]' in text
    installing = [line for line in re.findall(r"pip install (.*)", text) if "--no-deps" not in line]
    assert installing
    assert all("--require-hashes" in line for line in installing)


def test_the_quadlet_agrees_with_the_compose_file() -> None:
    """config/invoicedrop.container locks the container down as Compose does, on the same volume and folders."""
    quadlet: dict[str, list[str]] = {}
    for name, value in re.findall(
        r"^(\w+)=(.*)$", (PROJECT / "config/invoicedrop.container").read_text(), re.MULTILINE
    ):
        quadlet.setdefault(name, []).append(value)
    service = _compose()["services"]["invoicedrop"]
    assert quadlet["ReadOnly"] == quadlet["NoNewPrivileges"] == quadlet["RunInit"] == ["true"]
    assert quadlet["DropCapability"] == ["all"]
    assert quadlet["Tmpfs"] == service["tmpfs"]
    inside = {volume.removesuffix(":ro").rpartition(":")[2] for volume in quadlet["Volume"]}
    assert inside == {volume.removesuffix(":ro").rpartition(":")[2] for volume in service["volumes"]}
    assert "invoicedrop-state:/state" in quadlet["Volume"]
    assert quadlet["RestartPreventExitStatus"] == [str(exit_codes.CONFIG)]
    (patience,) = quadlet["PodmanArgs"]
    assert int(quadlet["TimeoutStopSec"][0]) > int(patience.removeprefix("--stop-timeout=")) > LONGEST_STOP


# What is installed


def test_the_wheel_has_the_files_that_an_installation_needs() -> None:
    """Every file of systemd/ and config/, but for what only an unpacked project needs, is in the wheel."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        targets = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]
    packed = targets["wheel"]["force-include"]
    assert {f"invoicedrop/data/{name}" for name in packed} == set(packed.values())
    only_here = {"install", "README.md", "container.toml", ".env", "api_token", "secrets"}
    there = {
        f"{place}/{path.name}"
        for place in ("systemd", "config")
        for path in (PROJECT / place).iterdir()
        if path.suffix != ".txt"
    }
    assert {name for name in there if Path(name).name not in only_here} - set(packed) == set()
    assert all(example(name) == (PROJECT / name).read_text() for name in packed)
    # The source archive has what builds the wheel, the image and the tests.
    sources = {name.strip("/") for name in targets["sdist"]["include"]}
    assert sources >= {
        "config",
        "systemd",
        "daemon",
        "tests",
        "Dockerfile",
        ".dockerignore",
        "requirements.txt",
        ".ci",
    }


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_without_the_extra_a_command_says_how_to_get_it(command: str) -> None:
    """Where starlette is not installed, what needs it ends with 78 and says what brings it."""
    program = (
        "import sys; sys.modules['starlette'] = sys.modules['uvicorn'] = None; "
        "sys.argv = ['invoicedrop', sys.argv[1]]; from invoicedrop.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, command], capture_output=True, text=True, check=False)
    assert done.returncode == exit_codes.CONFIG
    assert "pip install 'invoicedrop[sandbox]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_production_needs_nothing_of_the_sandbox() -> None:
    """What requirements.txt locks has no web server, and every other extra of a production has a lock of its own."""
    locked = set(re.findall(r"^([a-z0-9-]+)==", (PROJECT / "requirements.txt").read_text(), re.MULTILINE))
    assert not locked & {"starlette", "uvicorn"}
    # Messages and metrics need no more than a setting.
    assert locked >= {"apprise", "prometheus-client"}
    with (PROJECT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    for extra, wanted in project["project"]["optional-dependencies"].items():
        # Messages and metrics are in requirements.txt: see .ci/lock.
        if extra not in {"test", "bench", "lint", "notify", "metrics"}:
            text = (PROJECT / f"systemd/requirements-{extra}.txt").read_text()
            assert {canonicalize_name(Requirement(line).name) for line in wanted} <= set(
                re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
            )
            assert set(
                re.findall(r"^[a-z0-9-]+==\S+", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
            ) <= set(re.findall(r"^[a-z0-9-]+==\S+", text, re.MULTILINE))
    tools = (PROJECT / "systemd/requirements-build.txt").read_text()
    for line in project["build-system"]["requires"]:
        assert f"\n{canonicalize_name(Requirement(line).name)}==" in tools


def _needed(name: str) -> set[str]:
    """Return what a distribution needs on this machine, and what that needs in turn."""
    found: set[str] = set()
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            child = canonicalize_name(requirement.name)
            found |= {child} | (set() if child in found else _needed(child))
    return found


@pytest.mark.parametrize("extra", [None, "postgres"])
def test_requirements_txt_locks_everything_with_hashes(extra: str | None) -> None:
    """Each package that the program needs, itself or through others, is pinned as pyproject allows, with hashes."""
    # That of an extra has everything else as well.
    text = (PROJECT / ("requirements.txt" if extra is None else f"systemd/requirements-{extra}.txt")).read_text()
    entries = re.findall(
        r"^([a-z0-9-]+)==([^\s;]+)[^\n]*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE
    )
    pinned = {name: version for name, version, _ in entries}
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "--hash"))]
    assert len(lines) == len(pinned), "an entry without hashes, or an option"
    with (PROJECT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    more = project["optional-dependencies"][extra] if extra is not None else []
    wanted = [Requirement(line) for line in (*project["dependencies"], *more)]
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement
    assert {name for requirement in wanted for name in _needed(requirement.name)} <= set(pinned)
    assert "://" not in text


# Several inboxes


def test_the_example_of_three_marketplaces_sends_each_to_its_own_project(tmp_path: Path) -> None:
    """config/three-marketplaces.toml, with its folders and token elsewhere, files one invoice for each of the three."""
    text = (PROJECT / "config/three-marketplaces.toml").read_text().replace("/srv/invoices", str(tmp_path / "invoices"))
    projects = tuple(int(number) for number in re.findall(r"^project_id = (\d+)$", text, re.MULTILINE))
    with serve(Options(rate=0, company_id=1234, projects=projects)) as api:
        (tmp_path / "token").write_text(api.token)
        (tmp_path / "invoicedrop.toml").write_text(text.replace("/etc/invoicedrop/api_token", str(tmp_path / "token")))
        merchant = Merchant(tmp_path, api)
        for name in ("COMPANY_ID", "PROJECT_ID", "DROP_DIR", "API_TOKEN"):
            del merchant.environment[f"INVOICEDROP_{name}"]
        names = {"bol": "8.pdf", "amazon": f"{marketplace_number(9)}.pdf", "kaufland": "10.pdf"}
        for shop, name in names.items():
            (tmp_path / "invoices" / shop).mkdir(parents=True)
            (tmp_path / "invoices" / shop / name).write_bytes(invoice_pdf(shop))
        done = merchant.run("run", "--once", "--config", str(tmp_path / "invoicedrop.toml"))
        assert done.returncode == 0, done.stderr
        assert {(upload.project, upload.order_id) for upload in api.uploads()} == set(
            zip(projects, (8, 9, 10), strict=True)
        )
    assert all((tmp_path / "invoices" / shop / "processed" / name).is_file() for shop, name in names.items())


def test_no_file_for_deployment_names_a_setting_that_is_not_one() -> None:
    """Every INVOICEDROP_ variable in these files is a setting, or names the settings file."""
    known = {f"INVOICEDROP_{name.upper()}" for name in (*Inbox.model_fields, *Settings.model_fields)}
    files = [
        *(path for path in SYSTEMD.iterdir() if path.name != "install"),
        PROJECT / "config/invoicedrop.container",
        PROJECT / "Dockerfile",
        PROJECT / "config/compose.yaml",
        PROJECT / "config/example.env",
    ]
    for file in files:
        assert set(re.findall(r"INVOICEDROP_[A-Z_]+", file.read_text())) <= known, file.name


def test_every_way_of_running_it_hands_on_proxy_and_certificates() -> None:
    """Unit, administrator's command and compose file pass on each variable that is obeyed, in both cases."""
    proxies = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
    variables = {*proxies, *map(str.lower, proxies), "SSL_CERT_FILE", "SSL_CERT_DIR"}
    assert set(_unit("PassEnvironment")[0].split()) == variables
    (file,) = _unit("EnvironmentFile")
    command = (SYSTEMD / "invoicedrop-command").read_text()
    assert f"--property=EnvironmentFile={file} " in command
    assert '--property=PassEnvironment="$(set_in_unit PassEnvironment)"' in command
    # A proxy's password may be in it.
    assert f"z {file.removeprefix('-')} 0600 root root\n" in (SYSTEMD / "invoicedrop.tmpfiles").read_text()
    environment = yaml.safe_load((PROJECT / "config/compose.yaml").read_text())["services"]["invoicedrop"][
        "environment"
    ]
    assert {name for name in variables if name in environment and environment[name] is None} == variables
    told = (PROJECT / "config/README.md").read_text().partition("### Proxies and certificates")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in told for name in (*proxies, "SSL_CERT_FILE", "SSL_CERT_DIR"))
