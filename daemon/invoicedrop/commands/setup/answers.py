"""The four answers that a set-up needs: from options, from a file, or asked one by one."""

import getpass
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Final, TypeVar

from invoicedrop.errors import ConfigError, NotSetUp
from invoicedrop.printable import printable
from invoicedrop.settings.token import check_token, read_token_file

_Answer = TypeVar("_Answer")
_ADDRESS: Final = re.compile(r"/companies/(\d+)/projects/(\d+)")
_TRIES: Final = 3
_STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was said beforehand; what is None is asked. `token_file` is read once ("-": a line of standard input)."""

    company: str | None = None
    project: str | None = None
    drop_dir: str | None = None
    token_file: str | None = None
    api_url: str | None = None

    @classmethod
    def read(cls, file: Path) -> "Answers":
        """Read a TOML file with any of these names in it.

        Raises:
            NotSetUp: it cannot be read, or has something else in it.

        """
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise NotSetUp([f"the answers in {printable(file)} cannot be read: {printable(str(error))}"]) from error
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise NotSetUp([f"{printable(file)}: {printable(unknown[0])} is no answer; they are {', '.join(known)}"])
        return cls(**{name: str(value) for name, value in values.items()})

    def over(self, others: "Answers") -> "Answers":
        """Return these, and those of `others` where there is none here."""
        return replace(others, **{name: value for name, value in asdict(self).items() if value is not None})

    def numbers(self) -> tuple[str, str]:
        """Return company and project id; the address of the project, given for the first, has both."""
        company = _asked("Company id, or the project's address in the browser", "--company", self.company, _company)
        if match := _ADDRESS.search(company):
            return match[1], match[2] if self.project is None else _judged("--project", self.project, _number)
        return company, _asked("Project id", "--project", self.project, _number)

    def folder(self) -> Path:
        """Return the drop folder."""
        return _asked(
            "Drop folder, which the accounting software puts invoices into", "--drop-dir", self.drop_dir, _path
        )

    def token(self) -> str:
        """Return the API token."""
        if self.token_file == _STDIN:
            return _judged("--token-file", sys.stdin.readline(), _token)
        if self.token_file is not None:
            return _judged("--token-file", self.token_file, lambda name: read_token_file(Path(name)))
        return _asked("API token (not shown while you paste it)", "--token-file", None, _token, secret=True)


def _asked(
    question: str, option: str, said: str | None, judge: Callable[[str], _Answer], *, secret: bool = False
) -> _Answer:
    """Return what was said, or what a person answers: asked again where it cannot be right."""
    if said is not None:
        return _judged(option, said, judge)
    at_a_terminal = sys.stdin.isatty()
    for left in reversed(range(_TRIES if at_a_terminal else 1)):
        try:
            answer = _line(f"{question}: ", secret=secret and at_a_terminal, end="" if at_a_terminal else "\n")
        except EOFError:
            raise NotSetUp([f"there is no answer to {question!r}: give it by {option}"]) from None
        try:
            return _judged(option, answer, judge)
        except NotSetUp as error:
            if not left:
                raise
            sys.stderr.write(f"  {error.problems[0].removeprefix(f'{option}: ')}\n")
    raise AssertionError("the last try returns or raises")


def _line(question: str, *, secret: bool, end: str) -> str:
    if secret:
        return getpass.getpass(question, sys.stderr)
    # Not by `input`, which prints its question among the results.
    sys.stderr.write(question + end)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _judged(option: str, answer: str, judge: Callable[[str], _Answer]) -> _Answer:
    try:
        return judge(answer.strip())
    except ConfigError as error:
        raise NotSetUp([f"{option}: {problem}" for problem in error.problems]) from None


def _number(answer: str) -> str:
    if not (answer.isascii() and answer.isdigit() and int(answer) > 0):
        raise ConfigError(["must be a whole number, as it stands in the project's address"])
    return str(int(answer))


def _company(answer: str) -> str:
    return answer if _ADDRESS.search(answer) else _number(answer)


def _path(answer: str) -> Path:
    path = Path(answer).expanduser()
    if not path.is_absolute() or not answer.isprintable():
        raise ConfigError(["must be a full path, like /srv/invoices"])
    return path


def _token(answer: str) -> str:
    return check_token(answer, "the token")
