"""systemd/install below a folder of its own, where systemd, pip and the program only say what they were asked.

What they do for real is seen by deploy/boot_systemd.py. Here it is about order, what stays, and each way to end early.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from invoicedrop.ledger.schema import VERSION

PROJECT = Path(__file__).parents[1]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the command that it installs asks as the service for root only")
pytestmark = as_root
_ANSWERS = ("--company", "1", "--project", "2", "--drop-dir")
_STAND_IN = f"""#!/bin/sh
name=${{0##*/}}
echo "$name $*" >>"$SEEN"
number=none
[ -z "$FAIL_AT$DIE_AT" ] || number=$(wc -l <"$SEEN")
if [ "$number" = "$FAIL_AT" ]; then echo "$name does not want to" >&2; exit 1; fi
if [ "$number" = "$DIE_AT" ]; then kill -KILL 0; fi
case "$name $1" in
    "systemctl --version") echo "systemd ${{RELEASE:-252}} (252.39)" ;;
    "systemctl is-active") [ -e "$STATE/active" ] ;;
    "systemctl start" | "systemctl restart") touch "$STATE/active" ;;
    "systemctl stop") rm -f "$STATE/active" ;;
    "systemd-run "*)
        while [ "${{1#--}}" != "$1" ]; do shift; done
        exec "$@"
        ;;
    "base-python -m")
        mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/invoicedrop"
        cp -r "$DATA" "$3/lib/python3.11/site-packages/invoicedrop/data"
        for program in pip python invoicedrop; do ln -s "$STATE/stand-in" "$3/bin/$program"; done
        ;;
    "base-python -c") ;;
    "python -")
        case "$2" in *.sqlite3) exec {sys.executable} "$@" ;; esac
        sed -n 's/^drop_dir = "\\(.*\\)"$/\\1/p' "$2"
        ;;
    "invoicedrop setup")
        printf 'drop_dir = "%s"\\n' "$DROP" >"$3"
        echo token >"$(dirname "$3")/api_token"
        ;;
    "invoicedrop check") exit "${{CHECK:-0}}" ;;
    "invoicedrop backup")
        [ -n "$HAS_BACKUP" ] || exit 2
        if [ "$2" != --help ]; then
            case "$0" in *"/$REFUSES"*) exit 78 ;; esac
            echo "backup of $0" >"$2"
        fi
        ;;
    "invoicedrop config") exit "${{CONFIG:-0}}" ;;
    "invoicedrop status") case "$0" in "$NEW"*) ;; *) exit "${{STATUS:-0}}" ;; esac ;;
esac
"""


class Machine:
    """A folder for the installer to see as the machine, and what was asked of the stand-ins."""

    def __init__(self, home: Path) -> None:
        self.root = home / "root"
        self.drop = self.root / "srv/invoices"
        self.base = self.root / "opt/invoicedrop"
        self.unit = self.root / "etc/systemd/system/invoicedrop.service"
        self.settings = self.root / "etc/invoicedrop/invoicedrop.toml"
        self.ledger = self.root / "var/lib/invoicedrop/ledger.sqlite3"
        self.project = home / "project"
        self._state = home / "state"
        self._seen = self._state / "seen"
        (self.root / "run/systemd/system").mkdir(parents=True)
        self._state.mkdir()
        stand_in = self._state / "stand-in"
        stand_in.write_text(_STAND_IN)
        stand_in.chmod(0o755)
        for name in ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "systemd-run", "base-python"):
            (self._state / name).symlink_to(stand_in)
        (self.project / "daemon/invoicedrop").mkdir(parents=True)
        for name in ("systemd", "config"):
            shutil.copytree(PROJECT / name, self.project / name, ignore=shutil.ignore_patterns("secrets", ".env"))
        for name in ("requirements.txt", "pyproject.toml"):
            shutil.copyfile(PROJECT / name, self.project / name)
        self.of_version("1.0.0")

    def of_version(self, number: str) -> None:
        """Have the unpacked project be of this version from now on."""
        (self.project / "daemon/invoicedrop/__init__.py").write_text(f'__version__ = "{number}"\n')

    def tells(self, waiting: list[dict[str, bool]]) -> None:
        """Have the version at work tell that these files wait."""
        report = self.root / "report.json"
        report.write_text(json.dumps({"waiting": {"files": waiting}}))
        program = (self.base / "current").resolve() / "bin/invoicedrop"
        program.unlink()
        program.write_text(f"#!/bin/sh\ncase $1 in status) cat {report} ;; backup) exit 2 ;; esac\n")
        program.chmod(0o755)
        (program.parent / "python").unlink()
        (program.parent / "python").symlink_to(sys.executable)

    def install(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the installer; what it asked for is in `seen`."""
        self._seen.write_text("")
        environment = {
            "PATH": f"{self._state}:{os.environ['PATH']}",
            "STATE": str(self._state),
            "SEEN": str(self._seen),
            "DATA": str(self.project),
            "DROP": str(self.drop),
            "FAIL_AT": "",
            "DIE_AT": "",
            "HAS_BACKUP": "",
            "NEW": "nothing",
            "REFUSES": "nothing",
        }
        command = [self.project / "systemd/install", "--root", self.root, "--python", "base-python", *arguments]
        return subprocess.run(
            command,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,
        )

    def installed(self, *arguments: str, **variables: str) -> str:
        """Run the installer, which has to end well; return what it said."""
        done = self.install(*arguments, **variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def asked(self, word: str = "") -> list[str]:
        """Return what was asked of systemd, pip and the program since the last start, in order."""
        return [line for line in self._seen.read_text().splitlines() if word in line]

    @property
    def active(self) -> bool:
        """Whether the service is at work."""
        return (self._state / "active").exists()

    def version(self, link: str = "current") -> str:
        """Return the version that a link leads to."""
        return (self.base / link).resolve().name.partition("-")[0]

    def record(self, number: int) -> None:
        """Write something into the ledger, as the service does."""
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.ledger)) as ledger, ledger:
            ledger.execute("CREATE TABLE IF NOT EXISTS sent (number)")
            ledger.execute("INSERT INTO sent VALUES (?)", (number,))

    def files(self) -> dict[str, str]:
        """Return all files outside of /opt, with their content."""
        paths = (path for place in ("etc", "usr", "srv", "var") for path in (self.root / place).rglob("*"))
        return {str(path.relative_to(self.root)): path.read_text(errors="replace") for path in paths if path.is_file()}


def _sent(ledger: Path) -> list[int]:
    with closing(sqlite3.connect(ledger)) as opened:
        return [number for (number,) in opened.execute("SELECT number FROM sent ORDER BY number")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Have a machine with systemd and nothing else."""
    return Machine(tmp_path)


def test_one_command_installs_checks_and_starts(machine: Machine) -> None:
    """Locked libraries, then settings, units and user, then a check, and only then the start; run again, it goes on."""
    said = machine.installed(*_ANSWERS, str(machine.drop))
    pip = machine.asked("pip install")
    assert [line for line in pip if "--require-hashes" in line] == pip[:-1]
    assert "--no-deps --no-index --no-build-isolation" in pip[-1]
    order = (
        "pip install",
        "invoicedrop setup",
        "systemd-sysusers",
        "daemon-reload",
        "invoicedrop check",
        "restart",
        "status",
    )
    places = [next(i for i, line in enumerate(machine.asked()) if word in line) for word in order]
    assert places == sorted(places), machine.asked()
    assert machine.active
    assert machine.drop.is_dir()
    assert machine.drop.stat().st_mode & 0o7777 == 0o2770
    assert (machine.root / "usr/local/bin/invoicedrop").stat().st_mode & 0o777 == 0o755
    assert "invoicedrop 1.0.0-" in said
    files = machine.files()
    machine.installed()
    assert machine.files() == files
    # Nothing is built, stopped or restarted for what is there already.
    assert not [line for line in machine.asked() if line.startswith(("pip", "systemctl stop", "systemctl restart"))]


def test_an_upgrade_copies_the_ledger_while_the_service_rests_and_can_go_back(machine: Machine) -> None:
    """Between the stop and the start of the new version the ledger is copied; --back runs the old one, and forward."""
    machine.installed()
    machine.record(1)
    machine.of_version("2.0.0")
    machine.installed()
    asked = [line for line in machine.asked("systemctl") if line.split()[1] in {"stop", "restart"}]
    assert [line.split()[1] for line in asked] == ["stop", "restart"]
    (copy,) = (machine.ledger.parent / "backups").iterdir()
    assert _sent(copy) == [1]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (machine.version(), machine.version("previous")) == ("2.0.0", "1.0.0")
    machine.record(2)
    machine.installed("--back")
    assert (machine.version(), machine.version("previous")) == ("1.0.0", "2.0.0")
    assert machine.active
    # The old version could read it: it stays as it is.
    assert _sent(machine.ledger) == [1, 2]
    machine.installed("--back")
    assert machine.version() == "2.0.0"
    for number in ("3.0.0", "4.0.0"):
        machine.of_version(number)
        machine.installed()
    assert {path.name[:5] for path in (machine.base / "versions").iterdir()} == {"3.0.0", "4.0.0"}


def test_a_backup_is_the_program_s_own_where_it_has_one(machine: Machine) -> None:
    """`invoicedrop backup` is called if the installed version has it."""
    machine.installed()
    machine.record(1)
    machine.of_version("2.0.0")
    machine.installed(HAS_BACKUP="yes")
    (copy,) = (machine.ledger.parent / "backups").iterdir()
    assert copy.read_text().startswith("backup of ")


def test_without_a_copy_of_the_ledger_the_version_before_goes_on(machine: Machine) -> None:
    """A ledger that cannot be copied ends the upgrade: nothing is changed, and the service is at work again."""
    machine.installed()
    machine.record(1)
    machine.ledger.write_bytes(b"no ledger" * 1000)
    machine.of_version("2.0.0")
    done = machine.install()
    assert done.returncode == 1
    assert "the ledger could not be copied: nothing was changed" in done.stdout
    assert (machine.version(), machine.active) == ("1.0.0", True)
    machine.installed("--no-backup")
    assert machine.version() == "2.0.0"


@pytest.mark.parametrize("doubts", [0, 2])
def test_a_ledger_that_the_old_version_refuses_is_replaced_by_its_copy(machine: Machine, doubts: int) -> None:
    """Then the copy from before the upgrade comes back, and the newer one is kept; not while uploads are in doubt."""
    machine.installed()
    machine.record(1)
    machine.of_version("2.0.0")
    machine.installed()
    machine.record(2)
    machine.tells([{"in_doubt": number < doubts} for number in range(3)])
    back = machine.install("--back", STATUS="78", HAS_BACKUP="")
    if doubts:
        assert back.returncode == 1
        assert "of 2 uploads it is not known" in back.stdout
        assert machine.version() == "2.0.0"
        assert _sent(machine.ledger) == [1, 2]
    else:
        assert back.returncode == 0, back.stdout
        assert machine.version() == "1.0.0"
        assert _sent(machine.ledger) == [1]
        kept = [copy for copy in (machine.ledger.parent / "backups").iterdir() if "back-to-1.0.0" in copy.name]
        assert [_sent(copy) for copy in kept] == [[1, 2]]
    assert machine.active


def test_going_back_twice_takes_the_newest_copy(machine: Machine) -> None:
    """What the old version wrote between two upgrades is not forgotten when the second one is taken back."""
    machine.installed()
    machine.record(1)
    machine.of_version("2.0.0")
    machine.installed()
    machine.record(2)
    machine.tells([])
    for entry, version, held in ((3, "1.0.0", [1]), (4, "2.0.0", [1, 3]), (5, "1.0.0", [1, 3])):
        assert machine.install("--back", STATUS="78", HAS_BACKUP="").returncode == 0
        assert (machine.version(), _sent(machine.ledger)) == (version, held)
        machine.record(entry)


def test_an_older_version_than_the_ledger_s_is_refused_while_the_newer_one_is_at_work(machine: Machine) -> None:
    """Nothing is stopped or changed by a version that could not read the ledger; what helps is said."""
    machine.installed()
    machine.record(1)
    with closing(sqlite3.connect(machine.ledger)) as ledger, ledger:
        ledger.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        ledger.execute(f"INSERT INTO schema_version VALUES ({VERSION + 1})")
    machine.of_version("0.9.0")
    done = machine.install()
    assert done.returncode == 1
    assert "was written by a newer invoicedrop" in done.stdout
    assert machine.active
    assert machine.version() == "1.0.0"
    assert not machine.asked("systemctl stop")
    with closing(sqlite3.connect(machine.ledger)) as ledger, ledger:
        ledger.execute(f"UPDATE schema_version SET version = {VERSION}")
    machine.installed()
    assert machine.version() == "0.9.0"


def test_going_back_from_a_version_that_cannot_read_the_ledger(machine: Machine) -> None:
    """The version that is gone back to copies the ledger then; if neither can, it is not said that one goes on."""
    machine.installed(HAS_BACKUP="yes")
    machine.record(1)
    machine.of_version("0.9.0")
    machine.installed(HAS_BACKUP="yes")
    machine.installed("--back", HAS_BACKUP="yes", REFUSES="versions/0.9.0")
    assert machine.version() == "1.0.0"
    assert machine.active
    copy = next((machine.ledger.parent / "backups").glob("before-back-*"))
    assert "versions/1.0.0" in copy.read_text()
    done = machine.install("--back", HAS_BACKUP="yes", REFUSES="versions")
    assert done.returncode == 1
    assert "the version at work goes on" in done.stdout
    assert machine.version() == "1.0.0"


def test_a_longer_path_of_somebody_s_drop_in_is_not_the_folder(machine: Machine) -> None:
    """A drop-in of the administrator's for another folder that begins alike does not stand for the folder's own."""
    machine.drop = machine.root.parent / "elsewhere/drop"
    machine.drop.mkdir(parents=True)
    own = machine.unit.parent / "invoicedrop.service.d"
    own.mkdir(parents=True)
    (own / "override.conf").write_text(f"[Service]\nReadWritePaths={machine.drop}-old\n")
    assert machine.install(*_ANSWERS, str(machine.drop), "--token-file", "x", DROP=str(machine.drop)).returncode == 0
    assert f'ReadWritePaths="-{machine.drop}"\n' in (own / "installed-drop-folder.conf").read_text()


def test_what_somebody_has_changed_stays(machine: Machine) -> None:
    """Settings and token always; a changed unit is kept, with the new one beside it, until that is asked for."""
    machine.installed()
    machine.settings.write_text(f'drop_dir = "{machine.drop}"\n# mine\n')
    machine.unit.write_text("# my own unit\n")
    own = machine.unit.parent / "invoicedrop.service.d/override.conf"
    own.parent.mkdir()
    own.write_text("[Service]\nNice=5\n")
    machine.of_version("2.0.0")
    (machine.project / "systemd/invoicedrop-token.path").write_text("# the next version's\n")
    said = machine.installed(*_ANSWERS, "/elsewhere")
    assert "the answers given here are not used" in said
    assert machine.unit.read_text() == "# my own unit\n"
    assert f"{machine.unit}.new" in said
    assert "mine" in machine.settings.read_text()
    assert own.read_text() == "[Service]\nNice=5\n"
    # One that nobody has changed is replaced.
    assert (machine.unit.parent / "invoicedrop-token.path").read_text() == "# the next version's\n"
    machine.installed("--replace-changed")
    assert "ExecStart" in machine.unit.read_text()
    assert machine.unit.with_name("invoicedrop.service.old").read_text() == "# my own unit\n"
    assert not machine.unit.with_name("invoicedrop.service.new").exists()


def test_removing_leaves_what_is_the_merchant_s(machine: Machine) -> None:
    """Units, command and versions go, but for what somebody has changed; settings, token, ledger and invoices stay."""
    before = set(machine.files())
    machine.installed()
    machine.record(1)
    (machine.drop / "8355.pdf").write_text("an invoice")
    (machine.root / "etc/tmpfiles.d/invoicedrop.conf").write_text("# mine\n")
    said = machine.installed("--remove")
    assert set(machine.files()) - before == {
        "etc/invoicedrop/api_token",
        "etc/invoicedrop/invoicedrop.toml",
        "etc/tmpfiles.d/invoicedrop.conf",
        "srv/invoices/8355.pdf",
        "var/lib/invoicedrop/ledger.sqlite3",
    }
    assert not machine.base.exists()
    assert machine.asked("disable --now")
    for left in ("etc/invoicedrop", "var/lib/invoicedrop", "srv/invoices", "etc/tmpfiles.d/invoicedrop.conf"):
        assert f"  {machine.root / left}" in said
    machine.installed()
    assert _sent(machine.ledger) == [1]


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        ((), {"RELEASE": "250"}, "systemd 252 or later is needed"),
        ((), {"CHECK": "1"}, "check has found problems"),
        (("--with", "nonsense"), {}, "there is no extra nonsense"),
        (("--back",), {}, "there is no version before to go back to"),
    ],
    ids=["systemd", "check", "extra", "back"],
)
def test_what_stands_against_it_is_a_sentence(
    machine: Machine, arguments: tuple[str, ...], variables: dict[str, str], sentence: str
) -> None:
    """It ends with 1 and a sentence, and nothing is started."""
    done = machine.install(*arguments, **variables)
    assert done.returncode == 1
    assert f"systemd/install: {sentence}" in done.stdout
    assert not machine.active


def test_a_version_that_cannot_use_the_settings_changes_nothing(machine: Machine) -> None:
    """Before the service is stopped, the new version has to understand the settings."""
    machine.installed()
    machine.of_version("2.0.0")
    files = machine.files()
    done = machine.install(CONFIG="78")
    assert done.returncode == 1
    assert "whether this version can use the settings: this failed" in done.stdout
    assert (machine.version(), machine.active) == ("1.0.0", True)
    assert machine.files() == files
    assert not machine.asked("systemctl stop")


def test_a_wrong_option_is_wrong_usage(machine: Machine) -> None:
    """An unknown option, or one without its value, ends with 2, before anything else."""
    assert machine.install("--compny").returncode == 2
    assert machine.install("--company").returncode == 2
    assert machine.asked() == []


def test_other_folders_get_what_the_unit_needs_for_them(machine: Machine) -> None:
    """A folder elsewhere is named in a drop-in, quoted, and keeps its rights; else there is no drop-in."""
    drop_in = machine.unit.parent / "invoicedrop.service.d/installed-drop-folder.conf"
    elsewhere = machine.root / "mnt/50% of all/invoices"
    elsewhere.mkdir(parents=True, mode=0o755)
    machine.installed(DROP=str(elsewhere))
    assert f'ReadWritePaths="-{str(elsewhere).replace("%", "%%")}"' in drop_in.read_text().splitlines()
    assert elsewhere.stat().st_mode & 0o7777 == 0o755
    machine.settings.write_text(f'drop_dir = "{machine.drop}"\n')
    machine.installed()
    assert not drop_in.exists()


def _commands(machine: Machine) -> int:
    """Return how many commands a first installation asks for."""
    machine.installed()
    count = len(machine.asked())
    machine.installed("--remove")
    return count


def _ends_early(machine: Machine, name: str, number: int) -> None:
    """Let the installation end at a command, then run it again; it is as if nothing had happened."""
    shutil.rmtree(machine.root / "etc", ignore_errors=True)
    ended = machine.install(**{name: str(number)})
    if name == "DIE_AT":
        assert ended.returncode == -signal.SIGKILL
    elif ended.returncode != 0:
        assert "systemd/install: " in ended.stdout, ended.stdout
    machine.installed()
    assert machine.active
    assert (machine.base / "current/complete").exists()
    assert not [name for name in machine.files() if name.endswith((".part", ".new"))]
    machine.installed("--remove")


@pytest.mark.parametrize("name", ["FAIL_AT", "DIE_AT"])
def test_a_command_that_fails_or_a_kill_in_the_middle_is_made_good_by_the_next_run(machine: Machine, name: str) -> None:
    """Wherever it ends, with a sentence or killed, the next run installs it all (a share of the moments)."""
    for number in range(4, _commands(machine), 20):
        _ends_early(machine, name, number)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["FAIL_AT", "DIE_AT"])
def test_every_command_that_fails_or_a_kill_at_it_is_made_good_by_the_next_run(machine: Machine, name: str) -> None:
    """Likewise at each single command."""
    for number in range(1, _commands(machine) + 1):
        _ends_early(machine, name, number)
