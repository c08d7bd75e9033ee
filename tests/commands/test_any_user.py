"""Commands by another user than the service's: they say what that user may see, and what not."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import as_nobody
from invoicedrop import exit_codes
from invoicedrop.sandbox import Running
from merchant import Merchant

_SERVICE = 12_345
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's service")
_WRONG = ("cannot start", "Traceback", "o+x", "chown", "chmod", "mkdir")
"""What would be wrong to tell somebody who is not the service: its rights are not theirs to give."""


@pytest.fixture
def shop(sandbox: Running) -> Iterator[Merchant]:
    """A service of another user, as systemd has it: state, token and drop folder are closed to everybody else."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        merchant = Merchant(home, sandbox)
        (home / "token").write_text(sandbox.token)
        merchant.state.mkdir()
        for path in (merchant.state, merchant.drop, home / "token"):
            os.chown(path, _SERVICE, _SERVICE)
            path.chmod(0o600 if path.name == "token" else 0o700)
        del merchant.environment["INVOICEDROP_API_TOKEN"]
        merchant.environment["INVOICEDROP_API_TOKEN_FILE"] = str(home / "token")
        yield merchant


def _asked(shop: Merchant, *arguments: str) -> tuple[int, str]:
    """Ask as nobody; return the exit code, and all that is said, on one line."""
    done = shop.run(*arguments, program=(as_nobody.__file__,))
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    assert not [words for words in _WRONG if words in said], said
    return done.returncode, said


def test_status_says_what_is_not_seen(shop: Merchant) -> None:
    """Whether a daemon runs, the folder and the ledger are not seen: each is said, with who may."""
    (shop.state / "ledger.sqlite3").write_bytes(b"of the service")
    code, said = _asked(shop, "status")
    assert code == exit_codes.OK
    assert "Whether a daemon is running cannot be told by this user" in said
    assert f"this user may not see it: {shop.drop} belongs to {_SERVICE}:{_SERVICE}" in said
    assert "ask as root where the systemd unit is at work, sudo invoicedrop" in said
    _, said = _asked(shop, "status", "--json")
    assert '"unseen": "' in said


def test_check_says_what_is_not_seen_and_finds_no_problem_in_it(shop: Merchant) -> None:
    """State, folder, token and ledger are unseen, not wrong: whose rights are tested is not the service's user."""
    code, said = _asked(shop, "check")
    lines = {subject: f"unseen {subject} " in said for subject in ("drop_dir", "state_dir", "token", "ledger")}
    assert all(lines.values()), (lines, said)
    assert "4 things could not be seen by this user." in said
    assert "Everything is right" not in said
    # Where Python itself is closed to this user, no PDF can be checked either.
    assert code == (exit_codes.FAILED if "problem PDF check" in said else exit_codes.TRY_LATER)


def test_config_and_support_are_answered(shop: Merchant) -> None:
    """The settings are shown without the token, and the report has all of its sections."""
    code, said = _asked(shop, "config")
    assert (code, "Not seen: token file" in said, "company_id" in said) == (exit_codes.OK, True, True)
    code, said = _asked(shop, "support")
    assert code == exit_codes.OK
    assert all(f"### {section}" in said for section in ("Versions", "Check", "Status", "Settings"))


def test_health_is_answered(shop: Merchant) -> None:
    """Whether a service is at work is told, or why that cannot be seen."""
    code, said = _asked(shop, "health")
    assert code == exit_codes.FAILED
    assert "service.json" in said


def test_settings_that_are_closed_are_no_wrong_settings(shop: Merchant) -> None:
    """Where even the settings may not be read, commands say so, with who may; the service itself cannot start."""
    file = shop.home / "invoicedrop.toml"
    file.write_text("burst = 1\n")
    file.chmod(0o600)
    for command in ("status", "check", "config", "support"):
        code, said = _asked(shop, command, "--config", str(file))
        assert code == exit_codes.TRY_LATER, (command, said)
        assert f"settings file {file}, given by --config: may not be read by nobody" in said
    done = shop.run("run", "--config", str(file), program=(as_nobody.__file__,))
    assert done.returncode == exit_codes.CONFIG
    assert "invoicedrop cannot start" in done.stderr


def test_what_needs_the_token_names_the_file_and_who_may(shop: Merchant) -> None:
    """A command that cannot do without the token says that it may not be read, and how to ask as the service."""
    done = shop.run("orders", program=(as_nobody.__file__,))
    assert done.returncode == exit_codes.CONFIG
    assert "may not be read by nobody" in done.stderr
    assert "sudo invoicedrop" in done.stderr
    assert "chown" not in done.stderr
