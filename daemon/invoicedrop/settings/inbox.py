"""What there is to set for an inbox: meaning, default and bounds of every setting, as a frozen model.

The descriptions are what config/invoicedrop.toml says about each (a test compares them).
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator

from invoicedrop.invoice import OrderIdKind
from invoicedrop.languages.catalogue import Language
from invoicedrop.printable import printable
from invoicedrop.settings.fields import (
    AbsolutePath,
    Address,
    AnyCase,
    FileMode,
    FolderMode,
    InboxName,
    Number,
    PagePath,
    Switch,
    Whole,
    sentence_error,
)
from invoicedrop.settings.rules import is_same_place
from invoicedrop.system.dated_folder import DatedFolder, problem_with
from invoicedrop.system.network import DIRECT, Network

OnOff = Literal["on", "off"]
OrderNumberRule = Literal["off", "warn", "reject"]
"""What becomes of an invoice in which no number of its order occurs."""


class Inbox(BaseModel):
    """One drop folder and the Channable project that its invoices go to. Times in seconds, folders absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: InboxName = Field(
        default="default", description="The inbox's name in the log and in `invoicedrop status`, unlike any other's."
    )
    company_id: Whole = Field(gt=0, description="Your company's number in Channable.")
    project_id: Whole = Field(gt=0, description="The number of the Channable project that the orders are in.")
    api_token: SecretStr | None = Field(
        default=None, description="The API token itself; a file (api_token_file) is the safer place for it."
    )
    api_token_file: AbsolutePath | None = Field(
        default=None,
        description="A file that holds nothing but the API token; without it, $CREDENTIALS_DIRECTORY/api_token "
        "(systemd) or /run/secrets/api_token (Docker) is read.",
    )
    # Before api_url, whose check has to know it.
    allow_http: bool = Field(
        default=False,
        description="Whether the token may travel unencrypted, to an http:// address in your own network.",
    )
    api_url: Address = Field(
        default="https://api.channable.com",
        description="The address of the Channable API; http:// only for this machine itself, or with allow_http.",
    )
    drop_dir: AbsolutePath = Field(description="The folder that the accounting software puts invoices into.")
    processed_dir: AbsolutePath = Field(
        default_factory=lambda inbox: inbox["drop_dir"] / "processed",
        description="Where uploaded invoices go; by default the folder processed inside drop_dir. {year} and {month} "
        "in it are those of the day when an invoice is filed, as in /srv/processed/{year}/{month}.",
    )
    failed_dir: AbsolutePath = Field(
        default_factory=lambda inbox: inbox["drop_dir"] / "failed",
        description="Where invoices go that cannot be uploaded, each with a text that says why; "
        "by default the folder failed inside drop_dir.",
    )
    order_id_kind: OrderIdKind = Field(
        default="channable",
        description="What file names begin with: the order's Channable id (channable), "
        "or the marketplace's own order number (marketplace).",
    )
    order_grace: Number = Field(
        default=0.0,
        ge=0,
        description="How long an order that Channable does not know may still turn up there, in seconds after the "
        "invoice was first seen; until then the invoice waits.",
    )
    order_check: Annotated[OnOff, Switch] = Field(
        default="on",
        description="Whether the order is looked at before its invoice is sent (on): that it is not cancelled, and "
        "does not have the same PDF already. off sends by the file's name alone.",
    )
    resend_after: Number = Field(
        default=300.0,
        ge=0,
        description="For how long the order is looked at, in seconds, before an invoice is sent again of which it is "
        "not known whether Channable took it: lists lag, and servers store late.",
    )
    wait_for_shipment: Annotated[OnOff, Switch] = Field(
        default="off",
        description="Whether an invoice waits until its order is shipped (on), or not (off); Amazon, for one, refuses "
        "invoices before dispatch.",
    )
    shipment_grace: Number = Field(
        default=1_209_600.0,
        gt=0,
        description="How long an invoice waits for the shipment, in seconds after it was first seen, before it goes to "
        "the failed folder (1209600 is 14 days).",
    )
    confirm: Annotated[OnOff, Switch] = Field(
        default="on",
        description="Whether the order is looked at again after its invoice was accepted (on), about 10 minutes, 1, 6, "
        "24 and 72 hours later: whether it shows the invoice, and no trouble; or not (off).",
    )
    require_order_number: Annotated[OrderNumberRule, AnyCase] = Field(
        default="off",
        description="Whether a number of its order must occur in the invoice's text or e-invoice, against sending it "
        "to the wrong customer: off; warn, in the log; or reject, to the failed folder.",
    )
    hold_above: Whole = Field(
        default=1000,
        ge=0,
        description="How many files may wait at the very first start; more are held until `invoicedrop resume`, so "
        "that nobody sends an archive by accident. 0 never holds.",
    )
    max_pages: Whole = Field(default=500, ge=1, description="The most pages that an invoice may have.")
    max_file_bytes: Whole = Field(
        default=10_485_760, ge=1, description="The largest invoice that is accepted, in bytes (10485760 is 10 MiB)."
    )
    file_mode: FileMode = Field(
        default="",
        description="The rights that invoices get when they are moved, and the reasons beside failed ones, as an octal "
        'number in quotes, like "0660"; without it, invoices keep theirs, and reasons follow the umask.',
    )
    dir_mode: FolderMode = Field(
        default="",
        description="The rights that folders get which the service makes, as an octal number in quotes, "
        'like "2770"; without it, they follow the umask.',
    )
    language: Annotated[Language, AnyCase] = Field(
        default="en",
        description="The language of the reasons beside failed invoices, of the status page and of messages: en, de, "
        "nl or fr. The log and what commands print stay English.",
    )
    status_page: PagePath = Field(
        default_factory=lambda inbox: inbox["drop_dir"] / "status.html",
        description="The web page, a file, that says how the inbox is doing; by default status.html inside drop_dir; "
        "empty for none.",
    )
    settle_seconds: Number = Field(
        default=1.0,
        ge=0,
        description="How long a file must stay unchanged, and nobody write to it, before it counts as completely "
        "written, in seconds; longer where programs sign invoices late. A whole file that is moved in need not wait.",
    )
    scan_interval: Number = Field(
        default=5.0, gt=0, description="How often the drop folder is looked through without being told to, in seconds."
    )
    incomplete_grace: Number = Field(
        default=60.0,
        ge=0,
        description="How long a file whose end is missing may still be being written, in seconds after its "
        "last change.",
    )
    requests_per_second: Number = Field(
        default=4.0,
        ge=0,
        description="How many requests a second Channable allows your company; 0 means no limit and is for tests.",
    )
    burst: Whole = Field(
        default=150,
        ge=1,
        description="How many requests may be sent at once after a rest; Channable allows your company 200, and the "
        "rest of them is for its other programs.",
    )
    request_timeout: Number = Field(
        default=60.0,
        gt=0,
        description="How long one request to the API may take in all, in seconds; of an upload it is how long no byte "
        "of it may leave. In all an upload may take longer, so that even an invoice of max_file_bytes has time on a "
        "line of 20 kB a second.",
    )
    give_up_after: Number = Field(
        default=259_200.0,
        gt=0,
        description="How long an invoice is tried again while others go through, in seconds (259200 is 3 days).",
    )
    _network: Network = PrivateAttr(default=DIRECT)

    @property
    def page(self) -> Path | None:
        """Where the status page is; None if none is wanted."""
        return self.status_page or None

    @property
    def account(self) -> str:
        """What shares one rate limit: a company at one API address."""
        return f"{self.api_url}/{self.company_id}"

    @property
    def processed(self) -> DatedFolder:
        """Where uploaded invoices go: one folder, or one for each month."""
        return DatedFolder.of(self.processed_dir)

    @property
    def fixed_folders(self) -> tuple[Path, Path, Path]:
        """The drop folder, and what is fixed of the processed and failed folders."""
        return self.drop_dir, self.processed.fixed, self.failed_dir

    @property
    def network(self) -> Network:
        """What the usual environment variables (HTTPS_PROXY, SSL_CERT_FILE) say; no setting of a file."""
        return self._network

    def in_network(self, network: Network) -> Self:
        """Return the inbox as it is where the environment variables say this."""
        inbox = self.model_copy()
        inbox._network = network  # noqa: SLF001 - our own
        return inbox

    @field_validator("drop_dir", "failed_dir")
    @classmethod
    def _check_undated(cls, folder: Path, info: ValidationInfo) -> Path:
        # Inside a drop_dir that is wrong already, it would only be named as well.
        follows = info.field_name == "failed_dir" and "drop_dir" not in info.data
        if DatedFolder.of(folder).is_dated and not follows:
            raise sentence_error("must be one folder: only processed_dir may have {year} and {month} in it")
        return folder

    @field_validator("processed_dir")
    @classmethod
    def _check_dated(cls, folder: Path, info: ValidationInfo) -> Path:
        problem, dated = problem_with(folder), DatedFolder.of(folder)
        if problem is not None:
            raise sentence_error(problem)
        drop_dir = info.data.get("drop_dir")
        if dated.is_dated and drop_dir is not None and is_same_place(dated.fixed, drop_dir):
            raise sentence_error(
                "would fill the drop folder itself with folders for years or months; write one in between, like "
                f"{printable(drop_dir)}/processed/{{year}}"
            )
        return folder

    @field_validator("api_token_file")
    @classmethod
    def _check_single_token(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("api_token") is not None:
            raise sentence_error("stands beside api_token; keep one of the two")
        return file
