"""The log: structlog, one object or line for each event, on standard error. It shows no secret and stops no upload.

Every line, also those of libraries that use the standard `logging`, takes these steps: exceptions lose their local
variables, values become what JSON knows and a person can read (`printable`, no endless text), secrets are
taken out, the line is rendered and written in one call. Whatever fails on the way is swallowed: a full disk behind
standard error must not stop an upload.
"""

import io
import json
import logging
import math
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, ClassVar, Final, TextIO, cast

from invoicedrop.optional_imports import without
from invoicedrop.printable import printable, printable_lines

with without("rich"):
    import structlog
from structlog.dev import ConsoleRenderer
from structlog.processors import ExceptionRenderer, TimeStamper, add_log_level
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_HIDDEN: Final = "[secret]"
_TEXT_LIMIT: Final = 8_000
"""Characters of one value; an API's error page or a deep traceback must not fill the disk."""
_DEPTH_LIMIT: Final = 8
_NUMBERS: Final = frozenset({int, bool, type(None)})
_PATIENCE: Final = 1.0
"""Seconds that one line may wait for a reader."""
_BEARER: Final = re.compile(r"\b(bearer)\s+[^\s\"',;]+", re.IGNORECASE)
_PYDANTIC_INPUT: Final = re.compile(r"input_value=.*?(?=, input_type=)", re.DOTALL)
"""What pydantic quotes in its errors: an order's customer, perhaps."""

_METHODS: Final = ("log", "critical", "fatal", "error", "warning", "warn", "info", "msg", "debug")

_secrets: tuple[str, ...] = ()
_secrets_change = threading.Lock()


def get_logger() -> FilteringBoundLogger:
    """Return a logger; it may be made before `configure` is called. `bind` gives its lines fields."""
    return cast("FilteringBoundLogger", structlog.get_logger())


def hide(secret: str) -> None:
    """Keep `secret` out of every line from now on, wherever it would appear, and for good."""
    global _secrets  # noqa: PLW0603 - read without a lock on every line; swapped whole
    if not secret.strip():
        return
    with _secrets_change:
        # Inside a repr, or in JSON, it would be written with escapes.
        forms = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]}
        # The longest first: a secret that begins with another one must not leave its rest behind.
        _secrets = tuple(sorted({*_secrets, *forms}, key=len, reverse=True))


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Set up the log of this process; may be called again.

    Args:
        log_format: "console", "json", or "auto": console on a terminal, json elsewhere.
        log_level: "debug", "info", "warning" or "error", the least serious lines that are written.
        stream: where lines go; without it, what `sys.stderr` is when a line is written.

    """
    _configure_structlog(log_format, log_level, stream)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Foreign):
            root.removeHandler(handler)
    root.addHandler(_Foreign(logging.WARNING))
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _configure_structlog(log_format: str, log_level: str, stream: TextIO | None) -> None:
    colours = _is_terminal(stream if stream is not None else sys.stderr)
    chain: list[Processor]
    if log_format == "json" or (log_format == "auto" and not colours):
        exceptions = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        chain = [exceptions, _plain, add_log_level, TimeStamper(fmt="iso", utc=True), _json_line]
    else:
        console = ConsoleRenderer(colors=colours and not os.environ.get("NO_COLOR"), sort_keys=False)
        chain = [ExceptionRenderer(), _plain, add_log_level, TimeStamper(fmt="%H:%M:%S", utc=False), console]
    structlog.configure(
        processors=chain,
        wrapper_class=_never_raising(log_level),
        logger_factory=lambda *_: _Sink(stream),
        # Not cached: a logger made at import would keep the set-up that was in force when it was first used.
        cache_logger_on_first_use=False,
    )


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False  # closed


def _plain(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Reduce every value to what JSON knows: no secrets, nothing endless, nothing that a terminal would obey."""
    # These three first: they are what a person looks for. The first two get their values later.
    plain: EventDict = {"timestamp": None, "level": None, "event": None}
    for key, value in event.items():
        if key == "exception" and isinstance(value, str):
            plain[key] = printable_lines(_redacted(value))
        else:
            plain[key] = _reduced(value, 0)
    return plain


def _reduced(value: object, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return _clean(cast("str", value))
    if kind in _NUMBERS or (kind is float and math.isfinite(cast("float", value))):
        return value
    if depth < _DEPTH_LIMIT and isinstance(value, Mapping):
        return {_clean(_text(key)): _reduced(item, depth + 1) for key, item in value.items()}
    if depth < _DEPTH_LIMIT and isinstance(value, list | tuple | set | frozenset):
        return [_reduced(item, depth + 1) for item in value]
    return _clean(_text(value))


def _text(value: object) -> str:
    try:
        return str(value) if isinstance(value, str | PurePath) else repr(value)
    except Exception as error:  # noqa: BLE001 - the rest of the line is worth more than this value
        return f"<{type(value).__name__} without repr: {type(error).__name__}>"


def _clean(text: str) -> str:
    return printable(_redacted(text))


def _redacted(text: str) -> str:
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, _HIDDEN)
    if "earer" in text or "EARER" in text:
        text = _BEARER.sub(rf"\1 {_HIDDEN}", text)
    if "input_value=" in text:
        text = _PYDANTIC_INPUT.sub("input_value=[hidden]", text)
    if len(text) > _TEXT_LIMIT:
        text = f"{text[:_TEXT_LIMIT]}... ({len(text) - _TEXT_LIMIT} more characters)"
    return text


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(event)


class _Sink:
    """Writes lines; never raises. Every level's method is the same."""

    # Reentrant: a signal handler that logs while its own thread is writing must not wait for itself.
    _lock: Final = threading.RLock()
    _torn: ClassVar = False
    """Whether the last line's end could not be written, so that the next one has to begin on a line of its own."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        stream = self._stream if self._stream is not None else sys.stderr
        try:
            with self._lock:
                if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.BufferedWriter):
                    # Past the buffer: what it could not write it would keep, and Python would then end with 120.
                    self._write_through(stream.fileno(), f"{line}\n".encode(stream.encoding, "backslashreplace"))
                elif stream is not None:
                    stream.write(f"{line}\n")
                    stream.flush()
        except Exception:  # noqa: BLE001, S110 - closed, full, gone: there is nowhere to report it, and work goes on
            pass

    debug = info = warning = error = critical = exception = write

    @classmethod
    def _write_through(cls, fd: int, line: bytes) -> None:
        left = b"\n" + line if cls._torn else line
        whole = len(left)
        try:
            while left:
                try:
                    left = left[os.write(fd, left) :]
                except BlockingIOError:
                    # Whoever shares the pipe or terminal with us made it non-blocking: wait as if it were blocking,
                    # but not for ever.
                    if not select.select((), (fd,), (), _PATIENCE)[1]:
                        raise
        finally:
            cls._torn = bool(left) and (cls._torn or len(left) < whole)


def _never_raising(log_level: str) -> type[FilteringBoundLogger]:
    """Make structlog's filtering logger, with methods that report what went wrong instead of raising it."""
    plain = structlog.make_filtering_bound_logger(log_level)

    def guarded(method: Callable[..., Any]) -> Callable[..., None]:
        def log(self: Any, event: Any, /, *args: Any, **fields: Any) -> None:
            try:
                method(self, event, *args, **fields)
            except Exception as error:  # noqa: BLE001 - a line that cannot be made must not stop an upload
                _last_resort(self, event, error)

        return log

    return type("Logger", (plain,), {name: guarded(getattr(plain, name)) for name in _METHODS})


def _last_resort(logger: Any, event: object, error: Exception) -> None:
    """Log that a line could not be made; of its content only the event's name, if it is one."""
    try:
        fields = {"log_error": type(error).__name__, "lost_event": event if isinstance(event, str) else None}
        logger._proxy_to_logger("error", "log.unwritable", **fields)  # noqa: SLF001 - with its processors and sink
    except Exception:  # noqa: BLE001, S110 - nothing more can be done
        pass


class _Foreign(logging.Handler):
    """Takes the lines of libraries that use the standard `logging` the same way as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001 - a library's wrong arguments are no reason to fail
            message = f"a line that cannot be made ({type(error).__name__})"
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        get_logger().log(level, message, logger=record.name, exc_info=record.exc_info or None)


# Until `configure` is called: structlog's own default would print local variables, and onto standard output.
_configure_structlog("auto", "info", None)
