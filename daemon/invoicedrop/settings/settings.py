"""What there is to set for the whole service, and all settings in force: a frozen model, made of all sources at once.

The descriptions are what config/invoicedrop.toml says about each setting (a test compares them).
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from invoicedrop.errors import ConfigError
from invoicedrop.settings import notify_addresses
from invoicedrop.settings.environment import read_network
from invoicedrop.settings.fields import (
    AbsolutePath,
    AnyCase,
    FileMode,
    HeartbeatUrl,
    MetricsAddress,
    NotifyAddresses,
    Number,
    Whole,
    sentence_error,
)
from invoicedrop.settings.inbox import Inbox
from invoicedrop.settings.ledger_url import is_url
from invoicedrop.settings.rules import (
    check_ledger_url,
    check_tokens,
    different_rates,
    same_folders,
    same_names,
    same_pages,
    validated,
)
from invoicedrop.settings.sources import FILE_NAME, PREFIX, Environment, Names, Reading, TomlFile, provided
from invoicedrop.settings.tables import Table, inbox_tables


class Settings(BaseSettings):
    """All settings in force: those of the whole service, and the inboxes. Made by `load.load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, case_sensitive=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    inboxes: Annotated[tuple[Inbox, ...], NoDecode] = Field(
        min_length=1,
        description="Several drop folders, each with its own name, project_id and drop_dir and, where they differ, "
        "any other setting that is not for the whole service; what stands above the first [[inboxes]] counts for all.",
    )
    state_dir: AbsolutePath = Field(
        description="Where the ledger of invoices is kept, on a local disk; by default $STATE_DIRECTORY (systemd), "
        "else the folder invoicedrop in the user's state folder."
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        description="The address of a PostgreSQL database in which the ledger is kept instead, for several machines at "
        "one share (needs invoicedrop[postgres]); a file (ledger_url_file), or libpq's own password file, is the safer "
        "place for a password.",
    )
    ledger_url_file: AbsolutePath | None = Field(
        default=None, description="A file that holds nothing but that address."
    )
    status_file: AbsolutePath = Field(
        default_factory=lambda service: service["state_dir"] / FILE_NAME,
        description="Where the service writes how it is doing, for `invoicedrop health`, `status` and monitors; by "
        "default service.json in $RUNTIME_DIRECTORY (systemd), else in state_dir. It names no invoice and no customer.",
    )
    status_mode: FileMode = Field(
        default="0644",
        description="The rights of that file, as an octal number in quotes; with 0644 every user of this machine may "
        "read it.",
    )
    notify: Annotated[NotifyAddresses, NoDecode] = Field(
        default=(),
        description="Who gets messages about trouble: a list of addresses of Apprise (mailto://..., slack://..., a "
        "hundred services), each with its password; a file (notify_file) is the safer place for them.",
    )
    notify_file: AbsolutePath | None = Field(
        default=None, description="A file that holds such addresses, one a line; a line that begins with # is none."
    )
    notify_after: Number = Field(
        default=3600.0,
        ge=0,
        description="The least time between two messages about the same thing, in seconds; failed invoices that come "
        "meanwhile are told together.",
    )
    heartbeat_url: HeartbeatUrl = Field(
        default=None,
        description="An address of a service that watches for signs of life (healthchecks.io and its kin): it is asked "
        "for about once a minute while all is well, and with /fail and the cause while something is wrong.",
    )
    metrics_address: MetricsAddress = Field(
        default=None,
        description="Where /metrics for Prometheus and /health for probes are served, without any password: an address "
        "of this machine and a port, like 127.0.0.1:9709.",
    )
    upload_workers: Whole = Field(
        default=8,
        ge=1,
        le=64,
        description="How many uploads may run at the same time; there are fewer where they do not get through.",
    )
    validator_timeout: Number = Field(
        default=20.0, gt=0, description="How long the check of one PDF may take, in seconds."
    )
    validator_memory_mb: Whole = Field(
        default=1024, ge=128, description="How much memory the check of one PDF may take, in MiB."
    )
    log_format: Annotated[Literal["auto", "console", "json"], AnyCase] = Field(
        default="auto",
        description="How the log looks: console for people, json for programs, auto for console on a terminal and "
        "json elsewhere.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        default="info", description="The least serious lines that are logged: debug, info, warning or error."
    )
    source: Path | None = None
    """The TOML file that was read."""
    warnings: tuple[str, ...] = ()
    """Sentences for the log."""
    unseen: tuple[str, ...] = ()
    """Sentences about what this user may not read: for commands that can do without."""
    origins: tuple[tuple[str, str, str], ...] = Field(default=(), repr=False)
    """Inbox ("" for the service, and without [[inboxes]]), setting, and where its value was written."""

    @field_validator("ledger_url")
    @classmethod
    def _check_ledger_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not is_url(url.get_secret_value().strip()):
            raise sentence_error("must be an address like postgresql://user@host/database")
        return url

    @field_validator("ledger_url_file")
    @classmethod
    def _check_single_ledger_url(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("ledger_url") is not None:
            raise sentence_error("stands beside ledger_url; keep one of the two")
        return file

    @property
    def has_ledger_url(self) -> bool:
        """Whether the ledger is in a database, which others may share, and not in a file in `state_dir`."""
        return self.ledger_url is not None or self.ledger_url_file is not None

    @property
    def folders(self) -> frozenset[Path]:
        """All folders of the inboxes, and the state folder."""
        return frozenset({self.state_dir}.union(*(inbox.fixed_folders for inbox in self.inboxes)))

    @property
    def own_paths(self) -> frozenset[Path]:
        """What of a drop folder's entries is ours: all folders, and the status pages."""
        return self.folders | {inbox.page for inbox in self.inboxes if inbox.page is not None}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the TOML file, and both over what the system provides."""
        reading = init_settings()["reading"]
        return (
            init_settings,  # hands `reading` on to the validator below
            Environment(TopLevel, reading),
            TomlFile(TopLevel, reading),
            InitSettingsSource(TopLevel, provided(reading)),
        )

    @model_validator(mode="wrap")
    @classmethod
    def _from_entries(cls, entries: dict[str, Any], validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Give each inbox its own values and those of the top level, and check everything before raising anything.

        Raises:
            ConfigError: with every problem.

        """
        reading: Reading = entries.pop("reading")
        tables = inbox_tables(entries, reading)
        service = Table("", {name: entry for name, entry in entries.items() if name in NAMES.service})
        check_tokens(tables, reading)
        check_ledger_url(service, reading)
        notify_addresses.check(service.entries.get("notify_file"), reading)
        network = read_network(reading.environ, reading.problems)
        inboxes = [
            inbox.in_network(network) for table in tables if (inbox := validated(Inbox.model_validate, table, reading))
        ]
        others = {
            "inboxes": inboxes,
            "source": reading.file and reading.file_or_default,
            "warnings": tuple(dict.fromkeys(reading.warnings)),
            "unseen": tuple(dict.fromkeys(reading.unseen)),
            "origins": [
                (table.label, name, entry.origin)
                for table in (*tables, service)
                for name, entry in table.entries.items()
            ],
        }
        settings = validated(lambda values: validate(values | others), service, reading)
        rates = [(inbox.account, inbox.name, inbox.requests_per_second, inbox.burst) for inbox in inboxes]
        reading.problems.extend((*same_names(tables), *same_folders([*tables, service]), *same_pages(tables)))
        reading.problems.extend(different_rates(rates))
        if settings is None or reading.problems:
            raise ConfigError(list(dict.fromkeys([*reading.problems, *reading.unseen])))
        return settings


class TopLevel(Settings, Inbox):
    """The fields that the sources look for: those of the service, and those of an inbox, as defaults of each inbox."""

    model_config = Settings.model_config


NAMES: Final = Names(
    inbox=tuple(Inbox.model_fields),
    service=tuple(
        name for name in Settings.model_fields if name not in {"inboxes", "source", "warnings", "unseen", "origins"}
    ),
)
