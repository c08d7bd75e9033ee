"""What there is to set: meaning, default and bounds of every setting, as two frozen models.

The descriptions are what config/invoicedrop.toml says about each (a test holds them equal).
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from invoicedrop.invoice import OrderIdKind
from invoicedrop.system.loopback import is_loopback

_YEAR: Final = 31_536_000.0
"""Seconds; a longer wait is a slip of the pen, and the longest ones overflow the operating system's timers."""


_NAME_LIMIT: Final = 64


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        # pydantic would make project 1 of `project_id = true`.
        raise PydanticCustomError("sentence", "must be a number, not true or false")
    return value


def _absolute_path(path: Path) -> Path:
    if not path.is_absolute():
        raise PydanticCustomError("sentence", "must be an absolute path")
    return path


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _mode(mode: str, *, owner: int, allowed: int, like: str) -> str:
    if mode and not (mode.isascii() and mode.isdigit() and len(mode) <= len("02770") and set(mode) <= set("01234567")):
        raise PydanticCustomError("sentence", "must be an octal number in quotes, like {like}", {"like": f'"{like}"'})
    if mode and (int(mode, 8) & owner != owner or int(mode, 8) & ~allowed):
        what = "must leave all rights to the service itself and give no unusual ones; like {like}"
        raise PydanticCustomError("sentence", what, {"like": f'"{like}"'})
    return mode


def _file_mode(mode: str) -> str:
    return _mode(mode, owner=0o600, allowed=0o666, like="0660")


def _folder_mode(mode: str) -> str:
    return _mode(mode, owner=0o700, allowed=0o3777, like="2770")


_Whole = Annotated[int, BeforeValidator(_no_boolean)]
_Number = Annotated[float, BeforeValidator(_no_boolean), Field(le=_YEAR, allow_inf_nan=False)]
_AbsolutePath = Annotated[Path, AfterValidator(_absolute_path)]
OrderNumberRule = Literal["off", "warn", "reject"]
"""What is to become of an invoice in which no number of its order occurs."""


class Inbox(BaseModel):
    """One drop folder and the Channable project that its invoices go to. Times in seconds, folders absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(
        default="default", description="The inbox's name in the log and in `invoicedrop status`, unlike any other's."
    )
    company_id: _Whole = Field(gt=0, description="Your company's number in Channable.")
    project_id: _Whole = Field(gt=0, description="The number of the Channable project that the orders are in.")
    api_token: SecretStr | None = Field(
        default=None, description="The API token itself; a file (api_token_file) is the safer place for it."
    )
    api_token_file: _AbsolutePath | None = Field(
        default=None,
        description="A file that holds nothing but the API token; without it, $CREDENTIALS_DIRECTORY/api_token "
        "(systemd) or /run/secrets/api_token (Docker) is read.",
    )
    # Before api_url, whose validator has to know it.
    allow_http: bool = Field(
        default=False,
        description="Whether the token may travel unencrypted, to an http:// address in your own network.",
    )
    api_url: str = Field(
        default="https://api.channable.com",
        description="The address of the Channable API; http:// only for this machine itself, or with allow_http.",
    )
    drop_dir: _AbsolutePath = Field(description="The folder that the accounting software puts invoices into.")
    processed_dir: _AbsolutePath = Field(
        default_factory=lambda inbox: inbox["drop_dir"] / "processed",
        description="Where uploaded invoices go; by default the folder processed inside drop_dir.",
    )
    failed_dir: _AbsolutePath = Field(
        default_factory=lambda inbox: inbox["drop_dir"] / "failed",
        description="Where invoices go that cannot be uploaded, each with a text that says why; "
        "by default the folder failed inside drop_dir.",
    )
    order_id_kind: OrderIdKind = Field(
        default="channable",
        description="What file names begin with: the order's Channable id (channable), "
        "or the marketplace's own order number (marketplace).",
    )
    order_grace: _Number = Field(
        default=0.0,
        ge=0,
        description="How long an order that Channable does not know may still turn up there, in seconds after the "
        "invoice was first seen; until then the invoice waits.",
    )
    require_order_number: Annotated[OrderNumberRule, BeforeValidator(_lower)] = Field(
        default="off",
        description="Whether a number of its order must occur in the invoice's text or e-invoice, against sending it "
        "to the wrong customer: off; warn, in the log; or reject, to the failed folder. It costs one more request for "
        "each invoice.",
    )
    max_pages: _Whole = Field(default=500, ge=1, description="The most pages that an invoice may have.")
    max_file_bytes: _Whole = Field(
        default=10_485_760, ge=1, description="The largest invoice that is accepted, in bytes (10485760 is 10 MiB)."
    )
    file_mode: Annotated[str, AfterValidator(_file_mode)] = Field(
        default="",
        description="The rights that invoices get when they are moved, and the reasons beside failed ones, as an octal "
        'number in quotes, like "0660"; without it, invoices keep theirs, and reasons follow the umask.',
    )
    dir_mode: Annotated[str, AfterValidator(_folder_mode)] = Field(
        default="",
        description="The rights that folders get which the service makes, as an octal number in quotes, "
        'like "2770"; without it, they follow the umask.',
    )
    settle_seconds: _Number = Field(
        default=1.0,
        ge=0,
        description="How long a file must stay unchanged before it counts as completely written, in seconds.",
    )
    scan_interval: _Number = Field(
        default=5.0, gt=0, description="How often the drop folder is looked through without being told to, in seconds."
    )
    incomplete_grace: _Number = Field(
        default=60.0,
        ge=0,
        description="How long a file whose end is missing may still be being written, in seconds after its "
        "last change.",
    )
    requests_per_second: _Number = Field(
        default=4.0,
        ge=0,
        description="How many requests a second Channable allows your company; 0 means no limit and is for tests.",
    )
    burst: _Whole = Field(
        default=200, ge=1, description="How many requests Channable lets your company send at once after a rest."
    )
    request_timeout: _Number = Field(
        default=60.0, gt=0, description="How long one request to the API may take in all, in seconds."
    )
    give_up_after: _Number = Field(
        default=259_200.0,
        gt=0,
        description="How long an invoice is tried again while others go through, in seconds (259200 is 3 days).",
    )

    @property
    def account(self) -> str:
        """What shares one rate limit: a company at one API address."""
        return f"{self.api_url}/{self.company_id}"

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not 0 < len(name) <= _NAME_LIMIT or name != name.strip() or not name.isprintable() or "/" in name:
            raise PydanticCustomError(
                "sentence", f"must be 1 to {_NAME_LIMIT} ordinary characters, without / and outer spaces"
            )
        return name

    @field_validator("api_token_file")
    @classmethod
    def _check_single_token(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("api_token") is not None:
            raise PydanticCustomError("sentence", "stands beside api_token; keep one of the two")
        return file

    @field_validator("api_url")
    @classmethod
    def _check_url(cls, url: str, info: ValidationInfo) -> str:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if (
            not url.isascii()
            or not url.isprintable()
            or " " in url
            or not host
            or parts.scheme not in {"http", "https"}
        ):
            raise PydanticCustomError("sentence", "must be an address like https://api.channable.com")
        if "@" in parts.netloc or "?" in url or "#" in url:
            raise PydanticCustomError("sentence", "must have no user, password, ? or # in it; write only the address")
        if parts.scheme == "http" and not is_loopback(host) and not info.data.get("allow_http"):
            raise PydanticCustomError(
                "sentence",
                "would send the token unencrypted; use https://, or set allow_http = true in a network of your own",
            )
        shown_host = f"[{host}]" if ":" in host else host
        default_port = {"http": 80, "https": 443}[parts.scheme]
        shown_port = "" if port in {None, default_port} else f":{port}"
        return f"{parts.scheme}://{shown_host}{shown_port}{parts.path.rstrip('/')}"


class Settings(BaseModel):
    """All settings in force. `source` is the TOML file read, `warnings` are for the log, `origins` are for describe."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    inboxes: tuple[Inbox, ...] = Field(
        min_length=1,
        description="Several drop folders, each with its own name, project_id and drop_dir and, where they differ, "
        "any other setting that is not for the whole service; what stands above the first [[inboxes]] counts for all.",
    )
    state_dir: _AbsolutePath = Field(
        description="Where the ledger of invoices is kept, on a local disk; by default $STATE_DIRECTORY (systemd), "
        "else the folder invoicedrop in the user's state folder."
    )
    upload_workers: _Whole = Field(default=8, ge=1, le=64, description="How many uploads may run at the same time.")
    validator_timeout: _Number = Field(
        default=20.0, gt=0, description="How long the check of one PDF may take, in seconds."
    )
    validator_memory_mb: _Whole = Field(
        default=1024, ge=128, description="How much memory the check of one PDF may take, in MiB."
    )
    log_format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = Field(
        default="auto",
        description="How the log looks: console for people, json for programs, auto for console on a terminal and "
        "json elsewhere.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="The least serious lines that are logged: debug, info, warning or error."
    )
    source: Path | None = None
    warnings: tuple[str, ...] = ()
    origins: tuple[tuple[str, str, str], ...] = Field(default=(), repr=False)
