import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from invoicedrop.errors import ConfigError
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.load import describe, load, read_token, token_reader
from invoicedrop.settings.settings import NAMES, Settings
from invoicedrop.settings.sources import PATHS, Places

TOKEN = "tok-5f0c1a77e2d94b"
BASICS = {
    "INVOICEDROP_COMPANY_ID": "12",
    "INVOICEDROP_PROJECT_ID": "34",
    "INVOICEDROP_DROP_DIR": "/srv/drop",
    "INVOICEDROP_API_TOKEN": TOKEN,
}
SAMPLE = Path(__file__).parents[2] / "config" / "invoicedrop.toml"
SETTINGS = (*(name for name in NAMES.inbox if name != "name"), *NAMES.service)
within_a_test = hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Host:
    """A machine of its own: its places in a temporary folder, no environment but what a test gives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places = Places(root / "etc.toml", root / "run" / "api_token", root / "state", root / "config")

    def toml(self, text: str) -> Path:
        """Write the settings file that a test gives."""
        path = self.root / "given.toml"
        path.write_text(text)
        return path

    def token_file(self, content: bytes | str = TOKEN, mode: int = 0o600, name: str = "token") -> Path:
        """Write a file with a token in it."""
        path = self.root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def load(self, toml: str | None = None, environ: Mapping[str, str] = BASICS) -> Settings:
        """Load this machine's settings."""
        return load(None if toml is None else self.toml(toml), environ, places=self.places)

    def problems(self, toml: str | None = None, environ: Mapping[str, str] = BASICS) -> tuple[str, ...]:
        """Return what is wrong with this machine's settings; something must be."""
        with pytest.raises(ConfigError) as caught:
            self.load(toml, environ)
        return caught.value.problems


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Give each test a machine of its own."""
    return Host(tmp_path)


@contextmanager
def without_rights(path: Path) -> Iterator[None]:
    """Take the right to read `path` away, also where the tests run as root."""
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def sources(settings: Settings) -> dict[tuple[str, str], tuple[str, str]]:
    """Return value and source of every setting, by inbox and name."""
    return {(row.inbox, row.setting): (row.value, row.source) for row in describe(settings)}


def without(environ: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return `environ` without some of its variables."""
    return {name: value for name, value in environ.items() if name not in names}


def test_defaults_are_those_of_the_contract(host: Host) -> None:
    """Plain settings make one inbox called default, with every default that the contract promises."""
    settings = host.load()
    (inbox,) = settings.inboxes
    drop = Path("/srv/drop")
    assert inbox.model_dump(exclude={"api_token"}) == {
        "name": "default",
        "company_id": 12,
        "project_id": 34,
        "api_token_file": None,
        "api_url": "https://api.channable.com",
        "allow_http": False,
        "drop_dir": drop,
        "processed_dir": drop / "processed",
        "failed_dir": drop / "failed",
        "order_id_kind": "channable",
        "order_grace": 0,
        "order_check": "on",
        "resend_after": 300,
        "wait_for_shipment": "off",
        "shipment_grace": 1_209_600,
        "confirm": "on",
        "require_order_number": "off",
        "hold_above": 1000,
        "max_pages": 500,
        "max_file_bytes": 10_485_760,
        "file_mode": "",
        "dir_mode": "",
        "language": "en",
        "status_page": drop / "status.html",
        "settle_seconds": 1.0,
        "scan_interval": 5.0,
        "incomplete_grace": 60.0,
        "requests_per_second": 4,
        "burst": 150,
        "request_timeout": 60,
        "give_up_after": 259_200,
    }
    assert settings.model_dump(exclude={"inboxes", "origins"}) == {
        "state_dir": host.places.user_state,
        "ledger_url": None,
        "ledger_url_file": None,
        "status_file": host.root / "state" / "service.json",
        "status_mode": "0644",
        "notify": (),
        "notify_file": None,
        "notify_after": 3600,
        "heartbeat_url": None,
        "metrics_address": None,
        "upload_workers": 8,
        "validator_timeout": 20,
        "validator_memory_mb": 1024,
        "log_format": "auto",
        "log_level": "info",
        "source": None,
        "warnings": (),
        "unseen": (),
    }
    assert inbox.account == "https://api.channable.com/12"
    assert read_token(inbox) == TOKEN


@pytest.mark.parametrize(("value", "meaning"), [(True, "on"), (False, "off"), ("On", "on"), ("OFF", "off")])
def test_a_switch_takes_true_and_false_too(host: Host, value: object, meaning: str) -> None:
    """What is on or off may also be written as true or false."""
    names = ("order_check", "confirm", "wait_for_shipment")
    (inbox,) = host.load("\n".join(f"{name} = {json.dumps(value)}" for name in names)).inboxes
    assert {inbox.order_check, inbox.confirm, inbox.wait_for_shipment} == {meaning}


def test_the_object_is_frozen(host: Host) -> None:
    """No setting can be changed once it is loaded."""
    settings = host.load()
    with pytest.raises(ValidationError):
        settings.upload_workers = 3
    with pytest.raises(ValidationError):
        settings.inboxes[0].burst = 3


def test_environment_wins_over_the_file_and_both_are_named(host: Host) -> None:
    """Each value is described with the place that it came from, the environment before the file."""
    toml = 'project_id = 99\nburst = 50\nstate_dir = "ledger"\nlog_level = "WARNING"\n'
    settings = host.load(toml, BASICS | {"INVOICEDROP_SCAN_INTERVAL": "2.5"})
    shown, file = sources(settings), str(host.root / "given.toml")
    assert settings.source == host.root / "given.toml"
    assert shown["default", "project_id"] == ("34", "environment INVOICEDROP_PROJECT_ID")
    assert shown["default", "burst"] == ("50", file)
    assert shown["default", "scan_interval"] == ("2.5", "environment INVOICEDROP_SCAN_INTERVAL")
    assert shown["default", "processed_dir"] == ("/srv/drop/processed", "inside drop_dir")
    assert shown["default", "max_file_bytes"] == ("10485760", "default")
    assert shown["default", "allow_http"] == ("false", "default")
    assert shown["default", "api_token"] == ("[secret]", "environment INVOICEDROP_API_TOKEN")
    assert ("default", "api_token_file") not in shown
    assert shown["", "state_dir"] == (str(host.root / "ledger"), file)
    assert shown["", "log_level"] == ("warning", file)
    assert TOKEN not in repr(describe(settings))


def test_config_file_is_argument_then_variable_then_default_place(host: Host) -> None:
    """The TOML file in force is the one given, else INVOICEDROP_CONFIG's, else the one in the default place."""
    host.places.config.write_text("burst = 1\n")
    named = host.root / "named.toml"
    named.write_text("burst = 2\n")
    variable = BASICS | {"INVOICEDROP_CONFIG": str(named)}
    in_home = BASICS | {"INVOICEDROP_CONFIG": "~/named.toml", "HOME": str(host.root)}
    assert host.load().inboxes[0].burst == 1
    assert host.load(environ=variable).inboxes[0].burst == 2
    assert host.load(environ=in_home).inboxes[0].burst == 2
    assert host.load("burst = 3\n", variable).inboxes[0].burst == 3


def test_relative_paths_start_where_they_were_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file a path starts from the file's folder, in the environment from the working directory; ~ is HOME."""
    (host.root / "cwd").mkdir()
    monkeypatch.chdir(host.root / "cwd")
    environ = without(BASICS, "INVOICEDROP_DROP_DIR") | {"INVOICEDROP_FAILED_DIR": "bad", "HOME": "/home/ada"}
    settings = host.load('drop_dir = "in"\nstate_dir = "~/ledger"\n', environ)
    assert settings.inboxes[0].drop_dir == host.root / "in"
    assert settings.inboxes[0].failed_dir == host.root / "cwd" / "bad"
    assert settings.state_dir == Path("/home/ada/ledger")


def test_a_working_directory_that_is_gone_is_a_sentence(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a deleted working directory a relative path of the environment is a problem, and absolute ones still work."""
    gone = host.root / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert host.load().inboxes[0].drop_dir == Path("/srv/drop")
    (problem,) = host.problems(environ=BASICS | {"INVOICEDROP_DROP_DIR": "in"})
    assert problem.startswith("drop_dir (environment INVOICEDROP_DROP_DIR): is relative")


def test_state_dir_is_systemds_else_the_users(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder is the first of $STATE_DIRECTORY, else the user's state folder as platformdirs knows it."""
    systemd = host.load(environ=BASICS | {"STATE_DIRECTORY": "/var/lib/invoicedrop:/var/lib/other"})
    assert sources(systemd)["", "state_dir"] == ("/var/lib/invoicedrop", "$STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(host.root / "xdg"))
    user = load(None, BASICS, places=Places(host.places.config, host.places.secret))
    assert sources(user)["", "state_dir"] == (str(host.root / "xdg" / "invoicedrop"), "user state folder")


def test_an_inbox_overrides_what_stands_above_it(host: Host) -> None:
    """Top-level values, wherever they come from, are the defaults of each inbox; its own value wins."""
    toml = f"""
        company_id = 12
        settle_seconds = 3
        api_token = "{TOKEN}"
        [[inboxes]]
        name = "bol"
        project_id = 1
        drop_dir = "bol"
        [[inboxes]]
        name = "amazon"
        project_id = 2
        drop_dir = "amazon"
        settle_seconds = 9
        order_id_kind = "marketplace"
        scan_interval = 7
    """
    settings = host.load(toml, {"INVOICEDROP_SCAN_INTERVAL": "6"})
    bol, amazon = settings.inboxes
    assert (bol.name, bol.company_id, bol.project_id, bol.settle_seconds) == ("bol", 12, 1, 3)
    assert (amazon.project_id, amazon.settle_seconds, amazon.order_id_kind) == (2, 9, "marketplace")
    assert (bol.scan_interval, amazon.scan_interval) == (6, 7)
    file = host.root / "given.toml"
    assert sources(settings)["amazon", "settle_seconds"] == ("9", f"{file}, inbox amazon")
    assert sources(settings)["bol", "settle_seconds"] == ("3", str(file))
    assert sources(settings)["bol", "failed_dir"] == (str(host.root / "bol" / "failed"), "inside drop_dir")
    unused = "environment INVOICEDROP_SCAN_INTERVAL is not used for inbox amazon, which sets its own scan_interval"
    assert f"{unused} ({file}, inbox amazon)" in settings.warnings


def test_inboxes_from_the_environment_replace_those_of_the_file(host: Host) -> None:
    """INVOICEDROP_INBOXES holds JSON; null in it is the same as leaving the setting out."""
    inboxes = [{"name": "a b", "project_id": 7, "drop_dir": "/srv/a", "burst": None}]
    environ = without(BASICS, "INVOICEDROP_DROP_DIR") | {"INVOICEDROP_INBOXES": json.dumps(inboxes)}
    settings = host.load('[[inboxes]]\nname = "gone"\ndrop_dir = "x"\n', environ)
    assert [(one.name, one.project_id, one.burst) for one in settings.inboxes] == [("a b", 7, 150)]
    assert sources(settings)["a b", "project_id"] == ("7", "environment INVOICEDROP_INBOXES, inbox a b")


def test_every_problem_is_told_at_once(host: Host) -> None:
    """One start names everything that is wrong, in file, environment, token and folders, with its place and remedy."""
    file = host.root / "given.toml"
    toml = f"""
        company_id = true
        dropdir = "x"
        drop_dir = "in"
        failed_dir = "in"
        scan_interval = 0
        name = "shop"
        api_token_file = "{host.root}/none"
    """
    environ = {"INVOICEDROP_DROPDIR": "/x", "INVOICEDROP_BURST": "lots", "INVOICEDROP_LOG_LEVEL": "loud"}
    assert set(host.problems(toml, environ)) == {
        "INVOICEDROP_DROPDIR: did you mean INVOICEDROP_DROP_DIR?",
        f"dropdir: did you mean drop_dir? ({file})",
        f"name ({file}): only an inbox has a name; write it below [[inboxes]]",
        f"company_id ({file}): must be a number, not true or false",
        f"project_id: is missing; set it in {file} or as INVOICEDROP_PROJECT_ID",
        f"scan_interval ({file}): must be more than 0",
        "burst (environment INVOICEDROP_BURST): must be a whole number",
        "log_level (environment INVOICEDROP_LOG_LEVEL): must be 'debug', 'info', 'warning' or 'error'",
        f"token file {host.root}/none: does not exist; write the API token into it, or correct the path",
        f"drop_dir and failed_dir are the same folder, {host.root}/in; give each its own",
    }


def test_nothing_set_names_what_is_required(host: Host) -> None:
    """Without any setting the four required ones are named, with both places to set them."""
    both = f"is missing; set it in {host.places.config} or as INVOICEDROP_"
    assert set(host.problems(environ={})) == {
        f"company_id: {both}COMPANY_ID",
        f"project_id: {both}PROJECT_ID",
        f"drop_dir: {both}DROP_DIR",
        f"api_token_file: {both}API_TOKEN_FILE, with the path of a file that holds it",
    }


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("company_id", "0", "must be more than 0"),
        ("company_id", "1.5", "must be a whole number"),
        ("project_id", "-3", "must be more than 0"),
        ("allow_http", "perhaps", "must be true or false"),
        ("order_id_kind", "bol", "must be 'channable' or 'marketplace'"),
        ("order_grace", "-1", "must be at least 0"),
        ("require_order_number", "yes", "must be 'off', 'warn' or 'reject'"),
        ("max_pages", "0", "must be at least 1"),
        ("max_file_bytes", "0", "must be at least 1"),
        ("file_mode", "rw-rw----", 'must be an octal number in quotes, like "0660"'),
        ("file_mode", "0888", 'must be an octal number in quotes, like "0660"'),
        ("file_mode", "0440", 'must leave all rights to the service itself and give no unusual ones; like "0660"'),
        ("file_mode", "0755", 'must leave all rights to the service itself and give no unusual ones; like "0660"'),
        ("dir_mode", "0660", 'must leave all rights to the service itself and give no unusual ones; like "2770"'),
        ("dir_mode", "4770", 'must leave all rights to the service itself and give no unusual ones; like "2770"'),
        ("settle_seconds", "-0.1", "must be at least 0"),
        ("settle_seconds", "soon", "must be a number"),
        ("scan_interval", "0", "must be more than 0"),
        ("scan_interval", "nan", "must be more than 0"),
        ("incomplete_grace", "-1", "must be at least 0"),
        ("requests_per_second", "-1", "must be at least 0"),
        ("burst", "0", "must be at least 1"),
        ("request_timeout", "0", "must be more than 0"),
        ("request_timeout", "1e12", "must be at most 31536000"),
        ("give_up_after", "0", "must be more than 0"),
        ("upload_workers", "0", "must be at least 1"),
        ("upload_workers", "65", "must be at most 64"),
        ("validator_timeout", "0", "must be more than 0"),
        ("validator_memory_mb", "127", "must be at least 128"),
        ("log_format", "xml", "must be 'auto', 'console' or 'json'"),
        ("drop_dir", "~nobody-of-that-name/x", "starts with ~, but this user has no home folder; write the full path"),
        ("api_url", "api.channable.com", "must be an address like https://api.channable.com"),
    ],
)
def test_a_wrong_value_is_a_sentence(host: Host, name: str, value: str, sentence: str) -> None:
    """Each bound holds, and its problem names the setting, the source and what is right."""
    variable = f"INVOICEDROP_{name.upper()}"
    assert host.problems(environ=BASICS | {variable: value}) == (f"{name} (environment {variable}): {sentence}",)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("drop_dir = 3", "must be a path, as text in quotes"),
        ('drop_dir = " "', "must be a path; it is empty or has control characters"),
        ('drop_dir = "a\\u0000b"', "must be a path; it is empty or has control characters"),
        ("order_id_kind = 1", "must be 'channable' or 'marketplace'"),
        ("burst = true", "must be a number, not true or false"),
        ("burst = [1]", "must be a whole number"),
        ("request_timeout = inf", "must be at most 31536000"),
        ("api_url = 1", "must be text in quotes"),
    ],
)
def test_a_wrong_type_in_the_file_is_a_sentence(host: Host, line: str, sentence: str) -> None:
    """Values that only TOML can hold are checked too."""
    name = line.split(" ", maxsplit=1)[0]
    environ = without(BASICS, f"INVOICEDROP_{name.upper()}")
    assert host.problems(line + "\n", environ) == (f"{name} ({host.root}/given.toml): {sentence}",)


def test_an_empty_variable_is_refused(host: Host) -> None:
    """A variable whose substitution came out empty must not silently make room for the file's project."""
    problems = host.problems("project_id = 99\n", BASICS | {"INVOICEDROP_PROJECT_ID": " "})
    assert problems == ("INVOICEDROP_PROJECT_ID: is set but empty; give it a value or remove it from the environment",)


@pytest.mark.parametrize("name", ["DROP_DIR", "source", "warnings", "origins", "reading"])
def test_only_the_settings_own_names_are_known(host: Host, name: str) -> None:
    """Other spellings, and words of the settings' inner parts, are unknown names in the file and the environment."""
    (problem,) = host.problems(f'{name} = "x"\n')
    assert problem.startswith(f"{name}: ")
    assert problem.endswith(f" ({host.root}/given.toml)")
    variable = f"invoicedrop_{name}" if name.isupper() else f"INVOICEDROP_{name.upper()}"
    (problem,) = host.problems(environ=BASICS | {variable: "x"})
    assert problem.startswith(f"{variable}: ")


@given(name=st.sampled_from(SETTINGS), at=st.integers(0, 40), in_file=st.booleans())
@within_a_test
def test_a_slip_of_the_pen_is_answered_with_the_right_name(host: Host, name: str, at: int, in_file: bool) -> None:
    """Whichever letter a name lacks, in the file or in the environment, the right name is suggested."""
    at %= len(name)
    slip = name[:at] + name[at + 1 :]
    if in_file:
        assert f"{slip}: did you mean {name}? ({host.root}/given.toml)" in host.problems(f"{slip} = 1\n")
    else:
        expected = f"INVOICEDROP_{slip.upper()}: did you mean INVOICEDROP_{name.upper()}?"
        assert expected in host.problems(environ=BASICS | {f"INVOICEDROP_{slip.upper()}": "1"})


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("INVOICEDROP_CONFG", "INVOICEDROP_CONFG: did you mean INVOICEDROP_CONFIG?"),
        ("invoicedrop_drop_dir", "invoicedrop_drop_dir: did you mean INVOICEDROP_DROP_DIR?"),
        ("INVOICEDROP_ZZZZ", "INVOICEDROP_ZZZZ: there is no such setting; remove it"),
        (
            "INVOICEDROP_NAME",
            "INVOICEDROP_NAME: only an inbox has a name; write it into INVOICEDROP_INBOXES or [[inboxes]]",
        ),
    ],
)
def test_unknown_variables_are_refused(host: Host, variable: str, problem: str) -> None:
    """A variable with our prefix that nobody reads is an error, not a setting that silently does nothing."""
    assert host.problems(environ=BASICS | {variable: "x"}) == (problem,)


def test_mistakes_with_inboxes_are_sentences(host: Host) -> None:
    """Folders for no inbox, service settings in one, misspelt, missing and double names: each is a problem."""
    file = host.root / "given.toml"
    toml = """
        failed_dir = "bad"
        [[inboxes]]
        name = "bol"
        drop_dir = "1"
        upload_workers = 3
        setle_seconds = 1
        [[inboxes]]
        name = "BOL"
        drop_dir = "2"
        [[inboxes]]
        drop_dir = "3"
        [[inboxes]]
        name = "a/b"
    """
    why = "does not say which inbox it is for; write it below each [[inboxes]]"
    assert set(host.problems(toml)) == {
        f"drop_dir (environment INVOICEDROP_DROP_DIR): {why}",
        f"failed_dir ({file}): {why}",
        f"upload_workers ({file}, inbox bol): is for the whole service; write it above the first [[inboxes]]",
        f"setle_seconds: did you mean settle_seconds? ({file}, inbox bol)",
        "name: two inboxes are called BOL; give each inbox a name of its own",
        f"name ({file}, inbox number 3): is missing; give each inbox a name of its own",
        f"name ({file}, inbox a/b): must be 1 to 64 ordinary characters, without / and outer spaces",
        "drop_dir (inbox a/b): is missing; set it for this inbox",
    }
    missing = host.problems('[[inboxes]]\nname = "bol"\n', without(BASICS, "INVOICEDROP_DROP_DIR"))
    assert missing == ("drop_dir (inbox bol): is missing; set it for this inbox",)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("[{", "is not valid JSON (line 1, column 3)"),
        ("[" * 100_000, "is not valid JSON; it is nested too deeply"),
        ('{"name": "a"}', "write them as a JSON array of objects"),
        ("[1]", "write them as a JSON array of objects"),
        ("[]", "is empty; name at least one inbox, or leave it out"),
    ],
)
def test_broken_inboxes_in_the_environment_are_a_sentence(host: Host, value: str, sentence: str) -> None:
    """INVOICEDROP_INBOXES that holds anything but a list of inboxes is a problem that does not quote it."""
    environ = without(BASICS, "INVOICEDROP_DROP_DIR") | {"INVOICEDROP_INBOXES": value}
    assert host.problems(environ=environ) == (f"inboxes (environment INVOICEDROP_INBOXES): {sentence}",)


def test_inboxes_with_one_bracket_are_a_sentence(host: Host) -> None:
    """[inboxes] with one bracket, a common mistake in TOML, is named as what it is."""
    problems = host.problems('[inboxes]\nname = "a"\n', without(BASICS, "INVOICEDROP_DROP_DIR"))
    assert problems == (f"inboxes ({host.root}/given.toml): write them as tables: [[inboxes]], two brackets",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"burst = \n", "is not valid TOML: Invalid value (at line 1, column 9)"),
        (b"burst = 1\nburst = 2\n", "is not valid TOML: Cannot overwrite a value (at line 2, column 10)"),
        (b"# caf\xe9\n", "is not UTF-8 text (byte 5); save it as UTF-8"),
        (b"x = " + b"[" * 100_000, "cannot be read; look for control characters in its path, and for endless numbers"),
        (b"x = " + b"1" * 5_000, "cannot be read; look for control characters in its path, and for endless numbers"),
    ],
)
def test_a_broken_file_is_one_sentence_with_the_place(host: Host, content: bytes, problem: str) -> None:
    """A file that cannot be read is the only problem: what would seem to be missing stands in it, perhaps."""
    path = host.root / "given.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path, {}, places=host.places)
    (told,) = caught.value.problems
    assert told.startswith(f"settings file {path}, given by --config: {problem}")


def test_a_file_that_is_missing_a_folder_or_locked_is_told(host: Host) -> None:
    """A given file must be there and readable; the one in the default place must be readable if it is there."""
    given = host.root / "no" / "such.toml"
    with pytest.raises(ConfigError, match="given by --config: does not exist; correct the path or create the file"):
        load(given, BASICS, places=host.places)
    with pytest.raises(ConfigError, match="given by INVOICEDROP_CONFIG: is a folder; name the TOML file inside it"):
        load(None, BASICS | {"INVOICEDROP_CONFIG": str(host.root)}, places=host.places)
    host.places.config.write_text("burst = 1\n")
    with (
        without_rights(host.places.config),
        pytest.raises(ConfigError, match=r"may not be read by .*; let the service's user read it"),
    ):
        host.load()


def test_the_file_may_be_a_pipe(host: Host) -> None:
    """A settings file that is no regular one, as `--config <(...)` gives, is read."""
    read, write = os.pipe()
    os.write(write, b"burst = 9\n")
    os.close(write)
    try:
        assert load(Path(f"/dev/fd/{read}"), BASICS, places=host.places).inboxes[0].burst == 9
    finally:
        os.close(read)


def test_a_broken_file_does_not_hide_wrong_variables(host: Host) -> None:
    """Misspelt variables are named beside a file that cannot be read."""
    slip, file = host.problems("x", BASICS | {"INVOICEDROP_BRUST": "1"})
    assert slip == "INVOICEDROP_BRUST: did you mean INVOICEDROP_BURST?"
    assert "is not valid TOML" in file


def test_a_byte_order_mark_is_no_obstacle(host: Host) -> None:
    """Windows editors put a mark before the text of files; settings and token are read all the same."""
    token = host.token_file(b"\xef\xbb\xbf" + TOKEN.encode() + b"\r\n")
    host.places.config.write_bytes(b"\xef\xbb\xbf" + f'burst = 7\r\napi_token_file = "{token}"\r\n'.encode())
    (inbox,) = host.load(environ=without(BASICS, "INVOICEDROP_API_TOKEN")).inboxes
    assert (inbox.burst, read_token(inbox)) == (7, TOKEN)


@pytest.mark.parametrize(
    ("drop", "other", "clash"),
    [
        ("a", {"drop_dir": "a"}, "drop_dir of inbox one and drop_dir of inbox two"),
        ("a", {"drop_dir": "a/failed"}, "failed_dir of inbox one and drop_dir of inbox two"),
        (
            "a",
            {"drop_dir": "b", "processed_dir": "a/processed"},
            "processed_dir of inbox one and processed_dir of inbox",
        ),
        ("a", {"drop_dir": "b", "failed_dir": "a/../a"}, "drop_dir of inbox one and failed_dir of inbox two"),
        ("a", {"drop_dir": "link"}, "drop_dir of inbox one and drop_dir of inbox two"),
        ("a/x", {"drop_dir": "link/x"}, "drop_dir of inbox one and drop_dir of inbox two"),
        ("a", {"drop_dir": "b", "processed_dir": "b"}, "drop_dir of inbox two and processed_dir of inbox two"),
        ("a", {"drop_dir": "ledger"}, "drop_dir of inbox two and state_dir"),
        ("a", {"drop_dir": "a/b"}, None),
        ("a/b", {"drop_dir": "a"}, None),
        ("a", {"drop_dir": "a/failed/b"}, None),
    ],
)
def test_no_two_folders_are_the_same(host: Host, drop: str, other: dict[str, str], clash: str | None) -> None:
    """Folders of all inboxes and the state folder differ, also where symlinks hide it; nested ones are right."""
    (host.root / "a").mkdir()
    (host.root / "link").symlink_to("a")
    toml = f"""
        state_dir = "ledger"
        [[inboxes]]
        name = "one"
        drop_dir = "{drop}"
        [[inboxes]]
        name = "two"
    """ + "".join(f'{name} = "{path}"\n' for name, path in other.items())
    environ = without(BASICS, "INVOICEDROP_DROP_DIR")
    if clash is None:
        assert len(host.load(toml, environ).inboxes) == 2
    else:
        (problem,) = host.problems(toml, environ)
        assert problem.startswith(clash)
        assert " are the same folder, " in problem


def test_inboxes_of_one_company_share_one_limit(host: Host) -> None:
    """Different rates for one company are refused, for different companies or API addresses they are right."""
    toml = """
        [[inboxes]]
        name = "one"
        drop_dir = "1"
        [[inboxes]]
        name = "two"
        drop_dir = "2"
        burst = 100
    """
    environ = without(BASICS, "INVOICEDROP_DROP_DIR")
    assert host.problems(toml + 'api_url = "https://API.Channable.com:443/"\n', environ) == (
        (
            "requests_per_second and burst: inboxes one and two are of one company, whose limit they share; "
            "set both once, above the first [[inboxes]]"
        ),
    )
    assert len(host.load(toml + "company_id = 13\n", environ).inboxes) == 2
    assert len(host.load(toml + 'api_url = "https://other.example"\n', environ).inboxes) == 2


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://api.channable.com/", "https://api.channable.com"),
        ("HTTPS://API.Channable.COM:443", "https://api.channable.com"),
        ("https://proxy.example:8443/channable/", "https://proxy.example:8443/channable"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.3.2.1", "http://127.3.2.1"),
        ("http://localhost:80/", "http://localhost"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_right_addresses_are_brought_to_one_form(host: Host, url: str, right: str) -> None:
    """An address is kept without trailing slash and in one spelling, so that one account is seen as one."""
    assert host.load(environ=BASICS | {"INVOICEDROP_API_URL": url}).inboxes[0].api_url == right


@pytest.mark.parametrize(
    "url",
    [
        "http://api.channable.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://10.0.0.1",
        "https://user:pw@api.channable.com",
        "http://localhost@evil.example",
        "https://@api.channable.com",
        "https://api.channable.com/?a=b",
        "https://api.channable.com/#x",
        "https://api.channable.com?",
        "https://api.chan nable.com",
        "https://api.channable.com\n.evil.example",
        "https://xn--é.example",
        "https://",
        "https://:443",
        "https://a:99999",
        "https://[::1",
        "ftp://api.channable.com",
        "file:///etc/passwd",
        "//api.channable.com",
    ],
)
def test_wrong_addresses_are_refused_without_showing_them(host: Host, url: str) -> None:
    """The token goes nowhere unencrypted or ambiguous, and an address with a password in it is not printed."""
    (problem,) = host.problems(environ=BASICS | {"INVOICEDROP_API_URL": url})
    assert problem.startswith("api_url (environment INVOICEDROP_API_URL): ")
    assert not re.search("pw|evil|passwd", problem)


def test_http_needs_the_explicit_word(host: Host) -> None:
    """allow_http = true lets an http:// address of another host through."""
    environ = BASICS | {"INVOICEDROP_API_URL": "http://10.0.0.1:8080", "INVOICEDROP_ALLOW_HTTP": "true"}
    assert host.load(environ=environ).inboxes[0].api_url == "http://10.0.0.1:8080"


def test_the_nearest_token_wins(host: Host) -> None:
    """Inbox, environment, file, credential, container secret: the nearest layer that has a token gives it."""
    bare = without(BASICS, "INVOICEDROP_API_TOKEN")
    for name in ("env", "toml", "cred"):
        host.token_file(name, name=name)
    (host.root / "cred").rename(host.root / "api_token")
    host.places.secret.parent.mkdir()
    host.places.secret.write_text("run\n")
    credential = bare | {"CREDENTIALS_DIRECTORY": str(host.root)}
    toml_file, toml_inline = f'api_token_file = "{host.root}/toml"\n', 'api_token = "inline"\n'
    cases: list[tuple[str, dict[str, str], str, str]] = [
        ("", bare, "run", str(host.places.secret)),
        ("", credential, "cred", "$CREDENTIALS_DIRECTORY/api_token"),
        (toml_file, credential, "toml", str(host.root / "given.toml")),
        (toml_inline, credential, "inline", str(host.root / "given.toml")),
        (
            toml_inline,
            bare | {"INVOICEDROP_API_TOKEN_FILE": f"{host.root}/env"},
            "env",
            "environment INVOICEDROP_API_T",
        ),
        (toml_file, bare | {"INVOICEDROP_API_TOKEN": "direct"}, "direct", "environment INVOICEDROP_API_TOKEN"),
    ]
    for toml, environ, token, source in cases:
        settings = host.load(toml, environ)
        assert read_token(settings.inboxes[0]) == token
        (row,) = [row for row in describe(settings) if row.setting.startswith("api_token")]
        assert row.source.startswith(source)


def test_an_inbox_has_its_own_token_before_the_environments(host: Host) -> None:
    """Two companies need two tokens: an inbox uses its own, and a warning names what it does not use."""
    toml = f"""
        [[inboxes]]
        name = "one"
        drop_dir = "1"
        [[inboxes]]
        name = "two"
        company_id = 13
        drop_dir = "2"
        api_token_file = "{host.token_file("second")}"
    """
    settings = host.load(toml, without(BASICS, "INVOICEDROP_DROP_DIR"))
    assert [read_token(inbox) for inbox in settings.inboxes] == [TOKEN, "second"]
    assert any(warning.startswith("environment INVOICEDROP_COMPANY_ID is not used") for warning in settings.warnings)


def test_two_tokens_in_one_place_are_refused(host: Host) -> None:
    """A token beside a token file is a problem: which one counts would be open."""
    environ = BASICS | {"INVOICEDROP_API_TOKEN_FILE": str(host.token_file())}
    assert host.problems(environ=environ) == (
        "api_token_file (environment INVOICEDROP_API_TOKEN_FILE): stands beside api_token; keep one of the two",
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \r\n\t", "is empty"),
        (b"one\ntwo", "has several lines"),
        (b"Bearer abc", "has spaces or special characters"),
        ("tok€n".encode(), "has spaces or special characters"),
        (b"\xff\xfea\0b\0", "has spaces or special characters"),
        (b"a\0b", "has spaces or special characters"),
        (b"x" * 9000, "is too long"),
    ],
)
def test_a_token_file_without_a_usable_token_is_a_sentence(host: Host, content: bytes, sentence: str) -> None:
    """A token that cannot be sent in a header is refused at the start, and not shown."""
    path = host.token_file(content)
    environ = without(BASICS, "INVOICEDROP_API_TOKEN") | {"INVOICEDROP_API_TOKEN_FILE": str(path)}
    (problem,) = host.problems(environ=environ)
    assert problem.startswith(f"token file {path}: {sentence}")
    assert "abc" not in problem


def test_a_token_file_that_is_none_is_a_sentence_and_never_a_hang(host: Host) -> None:
    """A folder, a FIFO without a writer and a file without rights are refused at once."""
    fifo = host.root / "fifo"
    os.mkfifo(fifo)
    inbox = host.load().inboxes[0].model_copy(update={"api_token": None})
    for path, sentence in ((fifo, "is not a regular file"), (host.root, "is not a regular file")):
        with pytest.raises(ConfigError, match=f"token file {path}: {sentence}"):
            read_token(inbox.model_copy(update={"api_token_file": path}))
    locked = host.token_file()
    with without_rights(locked), pytest.raises(ConfigError, match="may not be read by"):
        read_token(inbox.model_copy(update={"api_token_file": locked}))
    with pytest.raises(ConfigError, match="api_token_file of inbox default: is missing"):
        read_token(inbox)


def test_a_renewed_token_is_found(host: Host) -> None:
    """The file is read again at each call; a file that went bad raises then, not a stale token."""
    path = host.token_file("old-token\n")
    environ = without(BASICS, "INVOICEDROP_API_TOKEN") | {"INVOICEDROP_API_TOKEN_FILE": str(path)}
    (inbox,) = host.load(environ=environ).inboxes
    assert read_token(inbox) == "old-token"
    path.write_text("new-token\n")
    assert read_token(inbox) == "new-token"
    path.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        read_token(inbox)


def test_a_token_is_hidden_before_it_is_used(host: Host) -> None:
    """A token reader hands each token that it reads to the log's `hide`."""
    path = host.token_file("first")
    environ = without(BASICS, "INVOICEDROP_API_TOKEN") | {"INVOICEDROP_API_TOKEN_FILE": str(path)}
    hidden: list[str] = []
    read = token_reader(host.load(environ=environ).inboxes[0], hidden.append)
    tokens = [read()]
    path.write_text("second")
    assert [*tokens, read()] == hidden == ["first", "second"]


def test_a_token_that_everybody_may_read_is_a_warning(host: Host) -> None:
    """A warning names a world-readable token file, or TOML file with the token in it, but no container secret."""
    bare = without(BASICS, "INVOICEDROP_API_TOKEN")
    path = host.token_file(mode=0o644)
    (warning,) = host.load(environ=bare | {"INVOICEDROP_API_TOKEN_FILE": str(path)}).warnings
    assert warning == f"{path} holds the API token and everybody may read it: chmod 600"
    host.toml("").chmod(0o644)
    (warning,) = host.load(f'api_token = "{TOKEN}"\n', bare).warnings
    assert warning == f"{host.root}/given.toml holds the API token and everybody may read it: chmod 640"
    path.chmod(0o640)
    assert host.load(environ=bare | {"INVOICEDROP_API_TOKEN_FILE": str(path)}).warnings == ()
    host.places.secret.parent.mkdir()
    host.places.secret.write_text(TOKEN)
    host.places.secret.chmod(0o444)
    assert host.load(environ=bare).warnings == ()
    assert host.load(environ=bare | {"INVOICEDROP_API_TOKEN_FILE": str(host.places.secret)}).warnings == ()


@given(name=st.sampled_from([name for name in SETTINGS if name not in PATHS and name != "api_token"]), st_=st.data())
@within_a_test
def test_a_token_in_the_wrong_place_is_never_shown(host: Host, name: str, st_: st.DataObject) -> None:
    """A token pasted into any other setting, in file, environment or inbox, appears in no text of the error."""
    where = st_.draw(st.sampled_from(["environment", "file", "inbox"]))
    environ, toml = dict(BASICS), None
    if where == "environment":
        environ[f"INVOICEDROP_{name.upper()}"] = TOKEN
    elif where == "file":
        environ.pop(f"INVOICEDROP_{name.upper()}", None)
        toml = f'{name} = "{TOKEN}"\n'
    else:
        environ["INVOICEDROP_INBOXES"] = json.dumps([{"name": "a", "drop_dir": "/srv/a", name: TOKEN}])
    with pytest.raises(ConfigError) as caught:
        host.load(toml, environ)
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


def test_the_token_is_in_no_text_of_the_settings(host: Host) -> None:
    """Neither repr nor str nor a dump of the settings shows a token that stands in them."""
    settings = host.load()
    texts = (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json(), f"{settings!r:>20}")
    assert not any(TOKEN in text for text in texts)
    with pytest.raises(ConfigError) as caught:
        host.load(environ=BASICS | {"INVOICEDROP_API_TOKEN": f"Bearer {TOKEN}"})
    assert TOKEN not in str(caught.value)


def outcome(path: Path | None, environ: Mapping[str, str], host: Host) -> tuple[Settings | None, tuple[str, ...]]:
    """Load settings, or say what is wrong with them; anything else that is raised fails the test."""
    try:
        return load(path, environ, places=host.places), ()
    except ConfigError as error:
        return None, error.problems


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SETTINGS) | st.text(max_size=4), inner),
    max_leaves=4,
)
_text = st.text(st.characters(exclude_characters="\0"), max_size=12)


@given(
    environ=st.dictionaries(
        st.sampled_from([f"INVOICEDROP_{name.upper()}" for name in (*SETTINGS, "name", "config")]) | _text, _text
    ),
    inboxes=st.none()
    | st.lists(
        st.dictionaries(st.sampled_from((*NAMES.inbox, "log_level")) | st.text(max_size=3), _anything), max_size=3
    )
    | _anything,
)
@within_a_test
def test_whatever_is_written_ends_in_settings_or_sentences(host: Host, environ: dict[str, str], inboxes: Any) -> None:
    """No value of any type anywhere brings a traceback: there are settings, or a list of sentences on one line each."""
    if inboxes is not None:
        environ |= {"INVOICEDROP_INBOXES": json.dumps(inboxes)}
    settings, problems = outcome(None, BASICS | environ, host)
    assert all(problem.isprintable() for problem in problems)
    assert all(row.value.isprintable() for row in describe(settings)) if settings else problems


@given(content=st.binary(max_size=40) | st.text(st.sampled_from('ab_1="[]{}\n.,# '), max_size=40).map(str.encode))
@within_a_test
def test_whatever_the_file_holds_ends_in_settings_or_sentences(host: Host, content: bytes) -> None:
    """No content of the TOML file brings a traceback."""
    path = host.root / "given.toml"
    path.write_bytes(content)
    settings, problems = outcome(path, BASICS, host)
    assert settings or problems


def test_paths_are_known_as_such() -> None:
    """Every setting that is a path is taken from where it was written, no other one is."""
    fields = Inbox.model_fields | Settings.model_fields
    assert set(PATHS) == {name for name, field in fields.items() if "Path" in str(field.annotation)} - {"source"}


def test_an_inbox_made_by_hand_obeys_the_same_rules() -> None:
    """The rules are the model's own: relative folders, a second token and plain http are refused there too."""
    right: dict[str, Any] = {"company_id": 1, "project_id": 2, "drop_dir": Path("/srv/drop")}
    assert Inbox(**right).failed_dir == Path("/srv/drop/failed")
    for wrong in (
        {"drop_dir": Path("drop")},
        {"api_url": "http://api.channable.com"},
        {"api_token": "a", "api_token_file": Path("/b")},
        {"dropdir": Path("/srv")},
    ):
        with pytest.raises(ValidationError):
            Inbox(**right | wrong)
    with pytest.raises(ValidationError) as caught:
        Inbox(**right | {"company_id": TOKEN})
    assert TOKEN not in str(caught.value)


def _uncommented(text: str) -> str:
    return re.sub(r"^# (?=[a-z_]+ = |\[\[inboxes\]\]$)", "", text, flags=re.MULTILINE)


def test_the_sample_file_has_every_setting_with_its_meaning_and_default(host: Host) -> None:
    """config/invoicedrop.toml names each setting once, in the code's words, and shows the code's defaults."""
    text = SAMPLE.read_text()
    plain, _, several = text.partition("# [[inboxes]]")
    lines = re.findall(r"^(?:# )?([a-z_]+) = ", plain, flags=re.MULTILINE)
    assert sorted(lines) == sorted(SETTINGS)
    prose = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    for model in (Inbox, Settings):
        for name, field in model.model_fields.items():
            assert (field.description or "") in prose, name
            assert field.description or name in {"source", "warnings", "unseen", "origins"}
    assert re.findall(r"^# ([a-z_]+) = ", several, flags=re.MULTILINE)

    environ = {"INVOICEDROP_API_TOKEN_FILE": str(host.token_file())}
    as_it_is = host.load(plain, environ)
    own = "api_token|notify_file|ledger_url|ledger_url_file"
    defaults = re.sub(rf"^({own}) = .*$", "", _uncommented(plain), flags=re.MULTILINE)
    written_out = host.load(defaults, environ)
    assert written_out.inboxes == as_it_is.inboxes
    service = {"origins", "state_dir", "status_file"}
    assert written_out.model_dump(exclude=service) == as_it_is.model_dump(exclude=service)
    assert set(dict(sources(written_out))) == set(dict(sources(as_it_is)))
    from_file = {name for (_, name), (_, source) in sources(written_out).items() if source.endswith("given.toml")}
    assert from_file == set(SETTINGS) - {
        "api_token",
        "api_token_file",
        "ledger_url",
        "ledger_url_file",
        "notify_file",
        "heartbeat_url",
        "metrics_address",
    }


def test_the_sample_files_inboxes_load(host: Host) -> None:
    """The commented example of several inboxes works once its lines are taken in and the single folder out."""
    text = SAMPLE.read_text()
    plain, marker, several = text.partition("# [[inboxes]]")
    plain = re.sub(r"^(drop_dir|project_id) = .*$", "", plain, flags=re.MULTILINE)
    settings = host.load(plain + _uncommented(marker + several), {"INVOICEDROP_API_TOKEN_FILE": str(host.token_file())})
    assert [(one.name, one.company_id, one.order_id_kind) for one in settings.inboxes] == [
        ("bol", 1234, "channable"),
        ("amazon", 1234, "marketplace"),
    ]


def test_importing_settings_brings_nothing_heavy() -> None:
    """Importing the settings imports neither the HTTP client nor the database nor the log."""
    program = "import invoicedrop.settings.load, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"httpx", "sqlite3", "structlog", "rich", "pypdf", "watchdog"} & set(loaded)
