"""What is remembered of each company's bucket, the rate limit's measure (`channable.rate_limit`)."""

from typing import NamedTuple

from invoicedrop.ledger import statements
from invoicedrop.ledger.engine import Engine


class BucketLevel(NamedTuple):
    """What is remembered of a bucket across a restart: drops in it, at which wall-clock time."""

    level: float
    at: float


class Buckets:
    """The buckets of all companies. Thread-safe; raises LedgerUnavailable when the database cannot be used now."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def level(self, account: str) -> BucketLevel | None:
        """Return what was in the account's bucket when it was last written down."""
        rows = self._database.read(statements.BUCKET, {"account": account})
        return BucketLevel(*rows[0]) if rows else None

    def remember(self, account: str, bucket: BucketLevel) -> None:
        """Write down what is in the account's bucket."""
        self._database.write(statements.REMEMBER_BUCKET, {"account": account, **bucket._asdict()})

    def take_room(self, account: str, most: int, rate: float, capacity: float) -> tuple[int, float]:
        """Take room for up to `most` requests in the account's bucket, which leaks `rate` a second.

        Return for how many there is some (0: for none now), and what was in it before. Only a shared ledger has this:
        it counts by the database's clock.
        """
        values = {"account": account, "most": float(most), "rate": float(rate), "capacity": float(capacity)}
        rows = self._database.write(statements.TAKE_ROOM, values)
        if not rows:
            self._database.write(statements.NEW_BUCKET, {"account": account})
            rows = self._database.write(statements.TAKE_ROOM, values)
        taken, level = rows[0]
        return int(taken), float(level)

    def fill(self, account: str, capacity: float) -> None:
        """The account's bucket is full, as the API says. Only a shared ledger has this."""
        self._database.write(statements.FILL_BUCKET, {"account": account, "capacity": float(capacity)})
