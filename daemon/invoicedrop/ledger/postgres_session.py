"""A session with a PostgreSQL server: how it is reached, what it must be able to do, how soon its loss is noticed."""

import os
import re
from contextlib import suppress
from typing import Any, Final, Self

import psycopg
from psycopg import conninfo
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus

from invoicedrop.errors import ConfigError
from invoicedrop.ledger.engine import Row
from invoicedrop.printable import printable

_OLDEST: Final = 120_000
"""PostgreSQL 12: the first whose server can be told for how long sent data may stay unacknowledged."""
_CLIENT: Final = {
    # https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS: a server that is gone is noticed.
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "target_session_attrs": "read-write",
    "fallback_application_name": "invoicedrop",
}
_VARIABLES: Final = {"connect_timeout": "PGCONNECT_TIMEOUT", "target_session_attrs": "PGTARGETSESSIONATTRS"}
"""Those of them that libpq has an environment variable for."""
_SERVER: Final = {
    # A client that is gone is noticed there: its session ends, and with it its locks.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "client_connection_check_interval": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "lock_timeout": "10000",
}
_DURABLE: Final = frozenset({"on", "remote_apply"})
"""Values of `synchronous_commit` with which COMMIT returns when it is on disk."""
_SETTING_FAULTS: Final = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|(role|database|user) .* does not exist"
    r"|permission denied|not permitted to log in|definition of service|service file|does not support SSL|certificate"
    r"|private key file",
    re.IGNORECASE,
)
"""What is wrong with the setting, or with the server's own settings, in the server's and libpq's words. (While it
connects, libpq gives no SQLSTATE.) In another language it is waited for, as an outage is, and the log has the words."""


class Session(psycopg.Connection[Row]):
    """A connection that waits for each answer for `patience` seconds, and no longer: then it is closed."""

    patience = 10.0

    @classmethod
    def begin(cls, connection_string: str, name: str, patience: float) -> Self:
        """Return a new session with the database called `name`, in which each statement is committed by itself.

        Raises:
            ConfigError: a setting is wrong.
            psycopg.Error: the server cannot be reached, or used, now.

        """
        try:
            session = cls.connect(connection_string, autocommit=True)
        except psycopg.OperationalError as error:
            said = words(error)
            if _SETTING_FAULTS.search(said):
                raise ConfigError([f"ledger_url: {name} cannot be used: {said}"]) from error
            raise
        session.patience = patience
        session.execute(f"SET statement_timeout = {int(patience * 800)}")
        for parameter, value in _SERVER.items():
            # Not every server has each of them, on each operating system.
            with suppress(psycopg.NotSupportedError, psycopg.ProgrammingError, psycopg.DataError):
                session.execute(f"SET {parameter} = {value}")
        return session

    def require_durable(self) -> None:
        """Check that this is a server's own session, and see to it that a commit is on disk when it returns.

        Raises:
            ConfigError: it is not, or the server is too old.

        """
        if self.info.server_version < _OLDEST:
            raise ConfigError(["ledger_url: the server is older than PostgreSQL 12; use a newer one"])
        rows = self.execute("SELECT pg_backend_pid(), current_setting('synchronous_commit')").fetchall()
        ((backend, durable),) = rows
        if backend != self.info.backend_pid:
            raise ConfigError(
                ["ledger_url: leads to a pooler (PgBouncer?), which shares sessions; name the server itself"]
            )
        if durable not in _DURABLE:
            self.execute("SET synchronous_commit = on")

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for what libpq is to do (psycopg's own method, which waits for ever)."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # The answer to this statement must not be taken for that of the next one.
                self.pgconn.finish()
            raise


def understood(url: str) -> tuple[str, str]:
    """Return the connection string with our own parameters, and what the database is called.

    Raises:
        ConfigError: `url` is no address.

    """
    own: dict[str, Any] = {}
    # The words of libpq quote what it could not read, which may be a part of the password.
    with suppress(psycopg.Error):
        own = conninfo.conninfo_to_dict(url)
    if not own or "@" in str(own.get("host", "")) or not re.fullmatch(r"[\d,]*", str(own.get("port", ""))):
        raise ConfigError(
            [
                (
                    "ledger_url: is no address that libpq understands, like postgresql://user:password@host/database "
                    "(special characters in a password as %XX)"
                )
            ]
        )
    ours = {name: value for name, value in _CLIENT.items() if name not in own and not _is_in_environment(name)}
    names: dict[str, Any] = {"dbname": "its user's database", "host": "this machine"} | {
        name: value for name, value in own.items() if value
    }
    return conninfo.make_conninfo(url, **ours), printable(f"the database {names['dbname']} on {names['host']}")


def _is_in_environment(name: str) -> bool:
    return bool(os.environ.get(_VARIABLES.get(name, ""), ""))


def words(error: psycopg.Error) -> str:
    """Return what the server or libpq says, on one line."""
    return printable(" ".join(str(error).split()).removeprefix("connection failed: ")) or type(error).__name__
