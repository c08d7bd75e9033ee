"""The types of settings that pydantic does not know by itself; what is wrong with a value is said in a sentence."""

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from invoicedrop.system.loopback import is_loopback

_YEAR: Final = 31_536_000.0
"""Seconds; a longer wait is a typing error, and the longest ones overflow the operating system's timers."""
_NAME_LIMIT: Final = 64
"""Characters."""
_LARGEST_PORT: Final = 65_535
_NOTIFY_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s]+")


def sentence_error(text: str) -> PydanticCustomError:
    """Return the error that says `text` about a value (rules.sentence)."""
    return PydanticCustomError("sentence", "{text}", {"text": text})


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        # pydantic would make project 1 of `project_id = true`.
        raise sentence_error("must be a number, not true or false")
    return value


def _absolute_path(value: Any) -> Any:
    """Refuse what is no absolute path: text that is still relative here could not be located where it was written."""
    if isinstance(value, Path):
        if not value.is_absolute():
            raise sentence_error("must be an absolute path")
    elif not isinstance(value, str):
        raise sentence_error("must be a path, as text in quotes")
    elif not value.strip() or "\0" in value:
        raise sentence_error("must be a path; it is empty or has control characters")
    elif value.startswith("~"):
        raise sentence_error("starts with ~, but this user has no home folder; write the full path")
    elif not os.path.isabs(value):  # noqa: PTH117 - text, not yet a path
        raise sentence_error("is relative to a working directory that no longer exists; write the full path")
    return value


def _page_path(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        return ""
    path = _absolute_path(value)
    if not str(path).lower().endswith((".html", ".htm")):
        # What ends in .pdf would be taken for an invoice, and a folder's name for a page.
        raise sentence_error("must be the path of a file that ends in .html, or empty for no page")
    return path


def _mode(owner: int, allowed: int, like: str) -> AfterValidator:
    def check(mode: str) -> str:
        if mode and not (
            mode.isascii() and mode.isdigit() and len(mode) <= len("02770") and set(mode) <= set("01234567")
        ):
            raise sentence_error(f'must be an octal number in quotes, like "{like}"')
        if mode and (int(mode, 8) & owner != owner or int(mode, 8) & ~allowed):
            raise sentence_error(f'must leave all rights to the service itself and give no unusual ones; like "{like}"')
        return mode

    return AfterValidator(check)


def _inbox_name(name: str) -> str:
    if not 0 < len(name) <= _NAME_LIMIT or name != name.strip() or not name.isprintable() or "/" in name:
        raise sentence_error(f"must be 1 to {_NAME_LIMIT} ordinary characters, without / and outer spaces")
    return name


def _address(url: str, info: ValidationInfo) -> str:
    """Return an address in its one spelling, so that two inboxes of one account are seen to share it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not url.isascii() or not url.isprintable() or " " in url or not host or parts.scheme not in {"http", "https"}:
        raise sentence_error("must be an address like https://api.channable.com")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise sentence_error("must have no user, password, ? or # in it; write only the address")
    if parts.scheme == "http" and not is_loopback(host) and not info.data.get("allow_http"):
        raise sentence_error(
            "would send the token unencrypted; use https://, or set allow_http = true in a network of your own"
        )
    shown_host = f"[{host}]" if ":" in host else host
    default_port = {"http": 80, "https": 443}[parts.scheme]
    shown_port = "" if port in {None, default_port} else f":{port}"
    return f"{parts.scheme}://{shown_host}{shown_port}{parts.path.rstrip('/')}"


def _heartbeat_url(secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Refuse what cannot be asked for; http:// as for the API, since who knows the address can speak for us."""
    url = "" if secret is None else secret.get_secret_value().strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not url.isascii() or not url.isprintable() or " " in url or not host or parts.scheme not in {"http", "https"}:
        raise sentence_error("must be an address like https://hc-ping.com/your-uuid")
    if parts.fragment:
        raise sentence_error("must have no # in it")
    allowed = any(inbox.allow_http for inbox in info.data.get("inboxes", ()))
    if parts.scheme == "http" and not is_loopback(host) and not allowed:
        raise sentence_error(
            "would travel unencrypted; use https://, or set allow_http = true in a network of your own"
        )
    return SecretStr(url)


def _metrics_address(value: Any) -> Any:
    """Return host and port, a number as the port on this machine alone; None for the empty text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    host, colon, port = value.strip().rpartition(":")
    if not host + colon + port:
        return None
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        is_host = bare in {"", "localhost"} or ((":" in bare) == (bare != host) and bool(ipaddress.ip_address(bare)))
    except ValueError:
        is_host = False
    if not is_host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _LARGEST_PORT):
        raise sentence_error("must be an address and a port, like 127.0.0.1:9709 or [::1]:9709")
    return f"{host or '127.0.0.1'}:{port}"


def _notify(value: Any) -> Any:
    """Return a list of addresses; in the environment it is one text, with spaces between them, or JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else value.split()
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list | tuple) or not all(isinstance(address, str | SecretStr) for address in value):
        raise sentence_error('must be a list of addresses, like ["mailto://user:password@example.com"]')
    plain = [address if isinstance(address, str) else address.get_secret_value() for address in value]
    refused = [number for number, address in enumerate(plain, 1) if not is_notify_address(address)]
    if refused:
        raise sentence_error(
            f"address {refused[0]} is none that Apprise knows; they are like mailto://..., slack://..."
        )
    return tuple(map(SecretStr, plain))


def is_notify_address(text: str) -> bool:
    """Whether this can be one of Apprise's addresses; which services there are, Apprise itself knows."""
    return _NOTIFY_ADDRESS.fullmatch(text) is not None


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _switch(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else _lower(value)


NotifyAddresses = Annotated[tuple[SecretStr, ...], BeforeValidator(_notify)]
HeartbeatUrl = Annotated[SecretStr | None, AfterValidator(_heartbeat_url)]
"""http:// only to this machine, or where an inbox of the model's `inboxes`, declared before, allows it."""
MetricsAddress = Annotated[str | None, BeforeValidator(_metrics_address)]
"""As host:port."""
Whole = Annotated[int, BeforeValidator(_no_boolean)]
Number = Annotated[float, BeforeValidator(_no_boolean), Field(le=_YEAR, allow_inf_nan=False)]
AbsolutePath = Annotated[Path, BeforeValidator(_absolute_path)]
PagePath = Annotated[Path | Literal[""], BeforeValidator(_page_path)]
FileMode = Annotated[str, _mode(owner=0o600, allowed=0o666, like="0660")]
FolderMode = Annotated[str, _mode(owner=0o700, allowed=0o3777, like="2770")]
InboxName = Annotated[str, AfterValidator(_inbox_name)]
Address = Annotated[str, AfterValidator(_address)]
"""The API's address; http:// only to this machine, or where the model's `allow_http`, declared before, is true."""
AnyCase = BeforeValidator(_lower)
"""Beside a Literal of lower-case words: takes them in upper case, too."""
Switch = BeforeValidator(_switch)
"""Beside the Literal of on and off: takes them in upper case, and true and false, too."""
