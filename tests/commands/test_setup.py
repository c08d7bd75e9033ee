import errno
import io
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invoicedrop import exit_codes
from invoicedrop.cli import app
from invoicedrop.commands.setup import command
from invoicedrop.commands.setup.answers import Answers
from invoicedrop.errors import ConfigError, NotSetUp
from invoicedrop.settings.load import load, read_token
from invoicedrop.settings.sources import Places
from merchant import COMMAND

TOKEN = "a-token-of-forty-characters-0123456789ab"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Have the fixed places below a folder of the test's own."""
    return Places(tmp_path / "etc/invoicedrop.toml", tmp_path / "run/api_token", user_config=tmp_path / "config")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the settings are to be written."""
    return tmp_path / "new/invoicedrop.toml"


@pytest.fixture
def said(tmp_path: Path) -> Answers:
    """Have all answers, the token in a file."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return Answers("12", "34", str(tmp_path / "drop"), str(tmp_path / "token"))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_four_answers_make_settings_that_load(target: Path, said: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    """The commented example with the answers in it, a token that only this user may read, and what is next."""
    command.setup(said, target)
    settings = load(target, {})
    inbox = settings.inboxes[0]
    assert (inbox.company_id, inbox.project_id, str(inbox.drop_dir)) == (12, 34, said.drop_dir)
    assert read_token(inbox) == TOKEN
    assert inbox.api_token_file == target.parent / "api_token"
    assert _mode(target.parent / "api_token") == 0o600
    assert "# How often the drop folder is looked through" in target.read_text()
    assert inbox.drop_dir.is_dir()
    printed = capsys.readouterr().out
    assert f"invoicedrop check --config {target}" in printed
    assert TOKEN not in printed
    assert {path.name for path in target.parent.iterdir()} == {"invoicedrop.toml", "api_token"}


def test_nothing_is_overwritten(target: Path, said: Answers) -> None:
    """Where there are settings, nothing is asked or changed; a token that is there is kept, and not asked for."""
    command.setup(said, target)
    before = target.read_bytes()
    with pytest.raises(NotSetUp, match="is there already"):
        command.setup(Answers("7", "8", said.drop_dir, said.token_file), target)
    assert target.read_bytes() == before
    target.unlink()
    command.setup(Answers("7", "8", said.drop_dir, "/no/such/file"), target)
    assert read_token(load(target, {}).inboxes[0]) == TOKEN


def test_a_folder_that_cannot_be_synced_leaves_both_files(
    target: Path, said: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that are in their place keep their token, whatever the disk says then."""
    fsync = os.fsync

    def refusing_folders(descriptor: int) -> None:
        if target.exists() and stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing_folders)
    command.setup(said, target)
    assert read_token(load(target, {}).inboxes[0]) == TOKEN


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"company": "acme"}, "--company: must be a whole number"),
        ({"project": "0"}, "--project: must be a whole number"),
        ({"drop_dir": "invoices"}, "--drop-dir: must be a full path"),
        ({"token_file": "/no/such/file"}, "--token-file: token file /no/such/file: does not exist"),
        ({"api_url": "ftp://example.org"}, "api_url"),
        ({"api_url": 'x"\ny = 1'}, "api_url"),
    ],
    ids=["company", "project", "folder", "token", "address", "quotes"],
)
def test_a_wrong_answer_is_a_sentence_and_leaves_nothing(
    target: Path, said: Answers, wrong: dict[str, str], sentence: str
) -> None:
    """What cannot be right is told at once, with the option that says it, and nothing is written."""
    with pytest.raises(NotSetUp, match=sentence):
        command.setup(Answers(**wrong).over(said), target)
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


def test_questions_are_answered_by_lines(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no option says is read line by line; the project's address, given for the company, answers two questions."""
    address = "https://app.channable.com/companies/12/projects/34/orders"
    _typed(monkeypatch, address, str(tmp_path / 'a "drop" folder'), TOKEN)
    command.setup(Answers(), target)
    inbox = load(target, {}).inboxes[0]
    assert (inbox.company_id, inbox.project_id, inbox.drop_dir.name) == (12, 34, 'a "drop" folder')
    assert read_token(inbox) == TOKEN
    shown = capsys.readouterr()
    assert "Project id" not in shown.err
    assert "Company id" not in shown.out


def test_an_answer_that_does_not_come_names_its_option(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of what can be read, the option that answers the question is named."""
    _typed(monkeypatch, "12")
    with pytest.raises(NotSetUp, match="give it by --project"):
        command.setup(Answers(), target)


def test_answers_come_from_a_file(target: Path, said: Answers, tmp_path: Path) -> None:
    """A TOML file answers what no option does; a name that is no answer is refused."""
    file = tmp_path / "answers.toml"
    file.write_text(f'company = 12\nproject = 99\ndrop_dir = "{said.drop_dir}"\ntoken_file = "{said.token_file}"\n')
    command.setup(Answers(project="34").over(Answers.read(file)), target)
    assert load(target, {}).inboxes[0].project_id == 34
    file.write_text("companny = 12\n")
    with pytest.raises(NotSetUp, match="companny is no answer"):
        Answers.read(file)
    file.write_text("company =\n")
    with pytest.raises(NotSetUp, match="cannot be read"):
        Answers.read(file)


def test_the_environment_is_not_taken_for_what_is_written(
    target: Path, said: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that are set here, and will not be for the service, neither help nor hinder."""
    monkeypatch.setenv("INVOICEDROP_COMPANY_ID", "no number")
    command.setup(said, target)
    assert load(target, {}).inboxes[0].company_id == 12


def test_a_users_settings_are_found_where_no_others_are(places: Places, said: Answers) -> None:
    """What `setup` writes for a user is what `run` reads, unless there are settings for the whole machine."""
    command.setup(said, places.users_config, places=places)
    assert load(None, {}, places=places).source == places.users_config
    places.config.parent.mkdir()
    places.config.write_text("")
    with pytest.raises(ConfigError, match="company_id"):
        load(None, {}, places=places)


def test_where_settings_go_if_nobody_says(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's are the machine's, a user's are in the user's folder, and INVOICEDROP_CONFIG names another file."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert command.default_config({}, places) == places.config
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command.default_config({}, places) == places.users_config
    assert command.default_config({"INVOICEDROP_CONFIG": "/x/y.toml"}, places) == Path("/x/y.toml")


def test_at_a_terminal_a_wrong_answer_is_asked_again_and_the_token_is_not_shown(target: Path, tmp_path: Path) -> None:
    """The real command at a terminal: what cannot be is asked once more, and what is pasted as token is not echoed."""
    ours, theirs = pty.openpty()
    arguments = ["setup", "--config", str(target), "--project", "34", "--drop-dir", str(tmp_path / "drop")]
    with subprocess.Popen(
        [sys.executable, *COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        seen = b""
        for question, answer in ((b"browser: ", b"acme"), (b"browser: ", b"12"), (b"paste it): ", TOKEN.encode())):
            while not seen.endswith(question):
                seen += os.read(ours, 1024)
            os.write(ours, answer + b"\n")
            # An echo, or the end of the line: the same question is not seen twice.
            seen += os.read(ours, 1)
        while True:
            try:
                seen += os.read(ours, 1024)
            except OSError:
                break
        assert process.wait(20) == exit_codes.OK, seen
    os.close(ours)
    assert b"must be a whole number" in seen
    assert TOKEN.encode() not in seen
    assert read_token(load(target, {}).inboxes[0]) == TOKEN


def test_the_example_is_printed_as_it_stands() -> None:
    """`config --example` prints config/invoicedrop.toml, and needs no settings."""
    printed = CliRunner().invoke(app, ["config", "--example"], env={"INVOICEDROP_CONFIG": "/no/such/file"})
    assert printed.exit_code == exit_codes.OK
    assert printed.output == (Path(__file__).parents[2] / "config/invoicedrop.toml").read_text()
