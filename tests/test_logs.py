import io
import json
import logging
import os
import pty
import re
import secrets
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from foreign_text import NAMES, TRICKS, is_harmless
from invoicedrop import logs

TOKEN = "tok-9a8b7c6d5e4f"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the process's log back as it was; colours are the test's to choose."""
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    monkeypatch.setattr(logs, "_secrets", ())
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before[1], before[2]
    structlog.configure(**before[0])


@pytest.fixture
def stream() -> io.StringIO:
    """What is written, in memory."""
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    """Log JSON from debug on; the call returns the lines as objects."""
    logs.configure("json", "debug", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def run(program: str, by: Sequence[str] = (), **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a program of its own that has `logs` and a logger `log`."""
    start = "import logging, os, sys; from invoicedrop import logs; log = logs.get_logger()\n"
    return subprocess.run([*by, sys.executable, "-c", start + program], check=False, timeout=60, **how)


def test_a_line_is_one_object_with_time_level_event_and_fields(lines: Lines) -> None:
    """A JSON line starts with UTC time, level and event, and carries bound and given fields as they are."""
    logs.get_logger().bind(inbox="default").info("invoice.processed", bytes=4711, order_id=None, ok=True, took=1.5)
    (line,) = lines()
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "event": "invoice.processed",
        "inbox": "default",
        "bytes": 4711,
        "order_id": None,
        "ok": True,
        "took": 1.5,
    }


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    """The level is a floor, for our lines and for those of libraries."""
    logs.configure("json", "ERROR", stream)
    logs.get_logger().warning("too.low")
    logging.getLogger("httpx").warning("too low")
    logs.get_logger().error("high.enough")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["high.enough"]


def test_a_logger_made_before_configuring_follows(stream: io.StringIO) -> None:
    """A module's logger, made at import and used already, takes up every later set-up."""
    log = logs.get_logger()
    logs.configure("json", "info", io.StringIO())
    log.info("first")
    logs.configure("json", "info", stream)
    log.info("second")
    assert json.loads(stream.getvalue())["event"] == "second"


def test_without_configuring_lines_go_to_stderr() -> None:
    """Before anybody configures the log, results on standard output stay clean and locals stay unseen."""
    done = run(
        "secret = 'loc' + 'al-value'\ntry: raise ValueError('x')\nexcept ValueError: log.exception('early')",
        capture_output=True,
    )
    assert done.stdout == b""
    assert json.loads(done.stderr)["event"] == "early"
    assert b"local-value" not in done.stderr


def test_stderr_is_looked_up_for_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream lines go where sys.stderr points now, so that a progress bar can take it over."""
    logs.configure("json", "info")
    sys.stderr = taken = io.StringIO()
    try:
        logs.get_logger().info("over.the.bar")
    finally:
        sys.stderr = sys.__stderr__
    assert json.loads(taken.getvalue())["event"] == "over.the.bar"
    assert capsys.readouterr().err == ""


def _shown_on(terminal: bool) -> str:
    """Log one line with format auto, on a terminal or into a pipe, and return what arrives."""
    read, write = pty.openpty() if terminal else os.pipe()
    with os.fdopen(write, "w") as out:
        logs.configure("auto", "info", out)
        logs.get_logger().warning("api.paused", until="12:00")
        shown = os.read(read, 4096).decode()
    os.close(read)
    return shown


def test_auto_is_console_with_colours_on_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sees colours (unless NO_COLOR is set), a program gets JSON."""
    assert json.loads(_shown_on(terminal=False))["until"] == "12:00"
    coloured = _shown_on(terminal=True)
    assert "\x1b[" in coloured
    assert "api.paused" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = _shown_on(terminal=True)
    assert "\x1b[" not in plain
    assert "until=12:00" in plain


def test_auto_looks_at_stderr_itself() -> None:
    """Without a stream it is standard error that decides: a person at a terminal sees colours."""
    read, write = pty.openpty()
    assert run("logs.configure('auto', 'info'); log.info('hello')", stderr=write).returncode == 0
    os.close(write)
    assert b"\x1b[" in os.read(read, 4096)
    os.close(read)


_secret_text = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=6, max_size=40)
_nested = st.recursive(
    st.tuples(st.text(max_size=5), st.text(max_size=5)),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=2)
        | inner.map(lambda value: (value,))
        | inner.map(lambda value: {"k": value})
    ),
    max_leaves=4,
)


def _fail(message: str, cause: Exception | None = None) -> None:
    raise ValueError(message) from cause


def _planted(value: Any, secret: str) -> Any:
    """Put the secret into every leaf."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return secret.join(value)
    if isinstance(value, dict):
        return {secret + key: _planted(one, secret) for key, one in value.items()}
    return type(value)(_planted(one, secret) for one in value)


@given(secret=_secret_text, shape=_nested, log_format=st.sampled_from(["json", "console"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_secret_is_hidden_wherever_it_is(secret: str, shape: Any, log_format: str) -> None:
    """In texts, containers, their keys, objects, paths, errors and their tracebacks: the secret never comes out."""
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    logs.hide(secret)
    log = logs.get_logger().bind(bound=secret)
    planted = _planted(shape, secret)
    event = f"event {secret}"
    log.info(
        event, value=planted, error=ValueError(secret), path=Path("/x", secret.replace("/", "_")), raw=secret.encode()
    )
    logging.getLogger("httpx").warning("sent %s", secret)
    try:
        _fail(f"a {secret}", OSError(f"b {secret}"))
    except ValueError as error:
        error.add_note(f"c {secret}")
        log.exception("failed")
    written = stream.getvalue()
    # One less where the path's slashes had to go.
    assert written.count("[secret]") >= 9
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], json.dumps(repr(secret)[1:-1])[1:-1]}
    # A short secret can be a word of the line itself; it must not be there because it was logged.
    frame = (
        f"event bound value error path raw level timestamp logger httpx sent {log_format} ValueError OSError {__file__}"
    )
    assert not any(form in written for form in forms if form not in frame and len(form) >= 6)


def test_two_secrets_of_which_one_begins_the_other(lines: Lines) -> None:
    """Hiding the shorter one first would leave the rest of the longer one to be read."""
    logs.hide("abcdef")
    logs.hide("abcdefghi")
    logs.hide("  ")
    logs.get_logger().info("x", both="abcdefghi abcdef", blank="a  b")
    (line,) = lines()
    assert (line["both"], line["blank"]) == ("[secret] [secret]", "a  b")


@pytest.mark.parametrize(
    "text",
    ["Authorization: Bearer {0}", "bearer {0}", "{{'authorization': 'Bearer {0}'}}", "b'BEARER {0}'", '"Bearer {0}",'],
)
def test_a_bearer_is_hidden_though_nobody_registered_it(lines: Lines, text: str) -> None:
    """What follows the word Bearer is a token, whoever logs it."""
    logs.get_logger().info("x", headers=text.format("abc.DEF-123_~+/="))
    logs.get_logger().info("y", headers={"h": [text.format("abc.DEF-123_~+/=")]})
    assert not any("abc" in json.dumps(line) for line in lines())
    assert all("[secret]" in json.dumps(line) for line in lines())


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_tracebacks_have_no_locals(log_format: str, stream: io.StringIO) -> None:
    """A traceback names file, line and function of each frame, and the value of no variable."""
    logs.configure(log_format, "info", stream)

    def failing(argument: str) -> None:
        local = argument[::-1]
        raise RuntimeError(len(local))

    value = secrets.token_hex(16)
    try:
        failing(value)
    except RuntimeError:
        logs.get_logger().exception("service.failed")
    written = stream.getvalue()
    assert "failing" in written
    assert "test_logs.py" in written
    assert value not in written
    assert value[::-1] not in written
    if log_format == "json":
        (stack,) = json.loads(written)["exception"]
        assert (stack["exc_type"], stack["exc_value"]) == ("RuntimeError", "32")
        assert all(set(frame) == {"filename", "lineno", "name"} for frame in stack["frames"])


def test_what_pydantic_quotes_is_hidden(lines: Lines) -> None:
    """An API answer that does not fit a model may hold a customer; pydantic would quote it."""

    class Order(BaseModel):
        id: int

    try:
        Order.model_validate({"id": "Ada Lovelace, 1 Main Street"})
    except ValidationError as error:
        logs.get_logger().exception("api.unreadable", error=error)
    (line,) = lines()
    assert "Ada" not in json.dumps(line)
    assert "input_value=[hidden], input_type=str" in line["exception"][0]["exc_value"]


def test_libraries_take_the_same_way_from_warning_on(lines: Lines) -> None:
    """Standard logging and Python's warnings arrive as the same JSON lines; INFO of a library does not."""
    logger = logging.getLogger("watchdog.observers")
    logger.info("chatter")
    talkative = logging.getLogger("uvicorn.access")
    talkative.setLevel(logging.INFO)
    talkative.info("chatter")
    talkative.setLevel(logging.NOTSET)
    logger.warning("lost %d events", 3)
    logger.log(35, "between")
    logger.log(70, "beyond")
    try:
        _fail("inner")
    except ValueError:
        logger.exception("thread died")
    with warnings.catch_warnings():
        # catch_warnings puts showwarning back at its end; within it the warnings machinery must be ours.
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    found = [(line["level"], line["logger"], line["event"]) for line in lines()]
    assert found[:4] == [
        ("warning", "watchdog.observers", "lost 3 events"),
        ("warning", "watchdog.observers", "between"),
        ("critical", "watchdog.observers", "beyond"),
        ("error", "watchdog.observers", "thread died"),
    ]
    assert found[4][:2] == ("warning", "py.warnings")
    assert "DeprecationWarning: old" in found[4][2]
    assert lines()[3]["exception"][0]["exc_value"] == "inner"


def test_configuring_twice_does_not_double_lines(lines: Lines, stream: io.StringIO) -> None:
    """A second set-up replaces the first one, also for libraries."""
    logs.configure("json", "info", stream)
    logging.getLogger("uvicorn").error("once")
    assert [line["event"] for line in lines()] == ["once"]


class _Colour(StrEnum):
    RED = "red"


class _Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_no_value_is_too_strange(lines: Lines) -> None:
    """Whatever a field holds, the line is written: surrogates escaped, odd values as repr, endless ones cut."""
    circle: list[Any] = []
    circle.append(circle)
    logs.get_logger().info(
        "odd",
        file="caf\udce9.pdf",
        lone="\ud800",
        path=Path("/a/\udcff"),
        raw=b"\xff",
        colour=_Colour.RED,
        thing=_Unprintable(),
        circle=circle,
        numbers={1: float("nan"), 2: float("-inf")},
        some={3},
        long="x" * 100_000,
        kind=int,
    )
    (line,) = lines()
    assert line["file"] == "caf\\udce9.pdf"
    assert line["lone"] == "\\ud800"
    assert line["path"] == "/a/\\udcff"
    assert (line["raw"], line["colour"], line["some"]) == ("b'\\xff'", "red", [3])
    assert line["thing"] == "<_Unprintable without repr: RuntimeError>"
    assert "[...]" in json.dumps(line["circle"])
    assert line["numbers"] == {"1": "nan", "2": "-inf"}
    assert len(line["long"]) < 10_000
    assert line["long"].endswith("(92000 more characters)")
    assert line["kind"] == "<class 'int'>"


def test_a_line_that_cannot_be_made_is_told_and_not_raised(lines: Lines) -> None:
    """Wrong arguments to our log or to a library's are no reason to stop an upload."""
    root = logging.getLogger()
    # pytest's own handlers would raise here.
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, logs._Foreign)]
    log = logs.get_logger()
    log.info("%d pages", "three")
    log.info("twice", event="given")  # type: ignore[misc] # this is the mistake
    log.log(33, "odd.level")
    log.info("endless", number=10**5_000)
    logging.getLogger("httpx").warning("%d", "x")
    events = [(line["event"], line.get("log_error"), line.get("lost_event")) for line in lines()]
    assert events == [
        ("log.unwritable", "TypeError", "%d pages"),
        ("log.unwritable", "TypeError", "twice"),
        ("log.unwritable", "KeyError", None),
        ("log.unwritable", "ValueError", "endless"),
        ("a line that cannot be made (TypeError)", None, None),
    ]


@given(text=st.text(st.characters(), max_size=20), log_format=st.sampled_from(["json", "console"]))
@settings(max_examples=100, deadline=None)
def test_no_name_can_forge_a_line_or_steer_a_terminal(text: str, log_format: str) -> None:
    """Whatever a file is called, its line is one line, printable, and can be written in UTF-8."""
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    logs.get_logger().info("invoice.found", file=f"{text}\n\x1b[2J\u2028\x85.pdf")
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f]", written)
    assert written.encode()
    if log_format == "json":
        assert json.loads(written)["event"] == "invoice.found"


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, item in value.items():
                yield from (key, *_texts(item))
        case list():
            for item in value:
                yield from _texts(item)


@given(text=TRICKS)
@settings(deadline=None)
def test_what_a_program_reads_from_the_log_is_harmless(text: str) -> None:
    """Whatever a name, a message or an error says, each text in a JSON line can be shown on a terminal as it is."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    try:
        _fail(text)
    except ValueError:
        logs.get_logger().exception("invoice.failed", file=text, detail=[{text: text}])
    logs.get_logger().error(text)
    for line in stream.getvalue().splitlines():
        assert all(map(is_harmless, _texts(json.loads(line))))


@given(text=TRICKS)
@settings(deadline=None)
def test_no_error_can_forge_a_line_on_a_console(text: str) -> None:
    """Whatever an exception says, only the lines that we log begin like ours."""
    stream = io.StringIO()
    logs.configure("console", "info", stream)
    try:
        _fail(text)
    except ValueError:
        logs.get_logger().exception("invoice.failed", file=text)
    first, *rest = stream.getvalue().removesuffix("\n").split("\n")
    assert is_harmless(first)
    assert all(line.startswith("  ") and is_harmless(line) for line in rest)


@pytest.mark.parametrize("name", NAMES)
def test_an_honest_name_stays_as_it_is(lines: Lines, name: str) -> None:
    """Umlauts, other scripts, writing from right to left and emoji are what they were for whoever reads the JSON."""
    logs.get_logger().info("invoice.found", file=name)
    assert lines()[0]["file"] == name


@pytest.mark.parametrize("where", ["closed", "/dev/full", "no reader", "no descriptor"])
def test_a_broken_stderr_neither_stops_nor_fails_the_program(where: str, tmp_path: Path) -> None:
    """With a full disk, a gone reader or a closed descriptor behind standard error, work goes on and exits with 0."""
    program = (
        "logs.configure('json', 'info')\n"
        "for n in range(3000): log.info('line', n=n)\n"
        "logging.getLogger('httpx').error('x')\n"
        "open('done', 'w').close()"
    )
    how: dict[str, Any] = {"cwd": tmp_path}
    if where == "closed":
        program = "sys.stderr.close()\n" + program
        done = run(program, stderr=subprocess.DEVNULL, **how)
    elif where == "/dev/full":
        with Path(where).open("wb") as full:
            done = run(program, stderr=full, **how)
    elif where == "no reader":
        read, write = os.pipe()
        os.close(read)
        done = run(program, stderr=write, **how)
        os.close(write)
    else:
        done = run(program, by=["sh", "-c", 'exec "$0" "$@" 2>&-'], **how)
    assert done.returncode == 0
    assert (tmp_path / "done").exists()


def test_after_a_full_disk_lines_come_again(tmp_path: Path) -> None:
    """Lines that could not be written are gone; the first one after the trouble is whole."""
    target = tmp_path / "log"
    program = (
        "logs.configure('json', 'info')\n"
        "log.info('lost')\n"
        f"os.dup2(os.open({str(target)!r}, os.O_CREAT | os.O_WRONLY), 2)\n"
        "log.info('kept')"
    )
    with Path("/dev/full").open("wb") as full:
        assert run(program, stderr=full).returncode == 0
    assert [json.loads(line)["event"] for line in target.read_text().splitlines()] == ["kept"]


def test_each_line_is_one_write() -> None:
    """A line leaves in one system call, so that lines of several processes on one pipe do not mix."""
    # A pipe in packet mode keeps the borders between writes (pipe(2), O_DIRECT).
    read, write = os.pipe2(os.O_DIRECT)
    with os.fdopen(write, "w") as out:
        logs.configure("json", "info", out)
        for number in range(3):
            logs.get_logger().info("line", number=number, text="x" * 2_000)
            packet = os.read(read, 4096)
            assert packet.endswith(b"}\n")
            assert json.loads(packet)["number"] == number
    os.close(read)


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    """Eight threads that log at once, through our log and a library's, leave nothing but whole lines."""
    with (tmp_path / "log").open("w") as out:
        logs.configure("json", "info", out)
        start = threading.Barrier(8)

        def work(worker: int) -> None:
            start.wait(timeout=10)
            log = logs.get_logger().bind(worker=worker)
            for number in range(100):
                log.info("line", number=number, text="x" * 500)
                logs.hide(f"secret-{worker}-{number}")
                logging.getLogger("httpx").warning("line %d", number)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    found = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(found) == 1600
    assert len({(line["worker"], line["number"]) for line in found if "worker" in line}) == 800


def test_a_line_within_a_line_does_not_wait_for_itself() -> None:
    """A signal handler that logs while its own thread is writing a line must not hang the daemon."""

    class Interrupted(io.StringIO):
        def write(self, text: str) -> int:
            if "outer" in text:
                logs.get_logger().info("inner")
            return super().write(text)

    stream = Interrupted()
    logs.configure("json", "info", stream)
    logs.get_logger().info("outer")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["inner", "outer"]


def test_a_pipe_that_was_made_non_blocking_loses_nothing() -> None:
    """Somebody who shares our standard error may have made it non-blocking; a line waits for its reader then."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    got = bytearray()

    def collect() -> None:
        while piece := os.read(read, 65_536):
            got.extend(piece)

    reader = threading.Thread(target=collect)
    with os.fdopen(write, "w") as out:
        logs.configure("json", "info", out)
        reader.start()
        # Sixty times what a pipe holds: the writer is ahead of the reader again and again.
        logs.get_logger().info("long", texts=["x" * 8_000] * 500)
        logs.get_logger().info("short")
    reader.join(timeout=30)
    os.close(read)
    assert [json.loads(line)["event"] for line in got.splitlines()] == ["long", "short"]


def test_after_a_torn_line_the_next_one_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody reads, a long line is cut after a while; it does not spoil the one that follows."""
    monkeypatch.setattr(logs, "_PATIENCE", 0.0)
    read, write = os.pipe()
    os.set_blocking(write, False)
    os.set_blocking(read, False)
    with os.fdopen(write, "w") as out:
        logs.configure("json", "info", out)
        log = logs.get_logger()
        log.info("torn", texts=["x" * 8_000] * 500)
        log.info("lost")
        assert b"\n" not in os.read(read, 1 << 20)
        log.info("whole")
        log.info("after")
    torn, *lines = os.read(read, 1 << 20).split(b"\n")
    os.close(read)
    assert torn == b""
    assert [json.loads(line)["event"] for line in lines if line] == ["whole", "after"]
