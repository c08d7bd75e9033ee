"""What is known of the channels that take invoices: one table.

The vendor's help page lists channels that take invoices, and none that do not. So a channel that is not in the table
is unknown, which is never a reason to refuse an invoice or to hide an order.
"""

import re
import unicodedata
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

_HELP_PAGE: Final = 'Channable\'s help centre, "Upload and manage invoices with Channable API" (2026-10)'
_AMAZON: Final = f"{_HELP_PAGE}; Amazon's seller documentation (errors 79517, 79525)"
_BOL: Final = "the OpenAPI 3.1 document of Channable's order connection API (2026-10)"


class Channel(NamedTuple):
    """A channel that takes invoices, and what is documented of it.

    `name` is what people call it; `also` are other names for it. `last_day` is the last day on which it takes invoices,
    if it ends. `keeps_latest`: a new invoice replaces the order's others. `needs_dispatch`: an invoice is refused
    before the order is shipped. `takes_items`: an invoice may be for single items of the order.
    """

    name: str
    also: tuple[str, ...] = ()
    last_day: date | None = None
    keeps_latest: bool = False
    needs_dispatch: bool = False
    takes_items: bool = False
    source: str = _HELP_PAGE

    def takes_invoices(self, now: datetime) -> bool:
        """Whether it takes invoices at this moment."""
        return self.last_day is None or now.astimezone(UTC).date() <= self.last_day


_MIRAKL: Final = Channel("Mirakl")
"""Any marketplace on Mirakl: the help page names these below, and says that all of them take invoices."""
CHANNELS: Final = (
    Channel("Allegro"),
    Channel("Amazon", keeps_latest=True, needs_dispatch=True, source=_AMAZON),
    Channel("bol", takes_items=True, source=_BOL),
    Channel("Channable Sandbox"),
    Channel("Kaufland"),
    Channel("ANWB"),
    Channel("BlokkerConnect", also=("Blokker",)),
    Channel("Boulanger"),
    Channel("But"),
    Channel("Carrefour"),
    Channel("Castorama"),
    Channel("Conforama"),
    Channel("Conrad"),
    Channel("Debenhams"),
    Channel("Decathlon"),
    Channel("Douglas"),
    Channel("ePrice"),
    Channel("Fnac Darty", also=("Fnac", "Darty"), last_day=date(2026, 12, 31)),
    Channel("fonQ"),
    Channel("Galeries Lafayette"),
    Channel("Home24"),
    Channel("Hornbach"),
    Channel("INNO"),
    Channel("Kruidvat"),
    Channel("La Redoute"),
    Channel("Le BHV Marais"),
    Channel("Leen Bakker"),
    Channel("Leroy Merlin"),
    Channel("Maisons du Monde"),
    Channel("Manor"),
    Channel("Maxeda", also=("Brico", "Praxis")),
    Channel("MediaMarkt"),
    Channel("Nextail"),
    Channel("Nocibe"),
    Channel("Obelink"),
    Channel("PcComponentes"),
    Channel("Shop Apotheke"),
    Channel("Showroomprive"),
    Channel("Sprinter"),
    Channel("Teract"),
    Channel("vtwonen"),
    Channel("Worten"),
)
"""Every channel that the help page names, those that are not on Mirakl first."""
_MIRAKL_PREFIX: Final = "mirakl"


def find_channel(channel_name: str | None) -> Channel | None:
    """Return what is known of a channel by what the API calls it; None if it is unknown.

    `mirakl_mediamarkt`, `amazon_de` and `Leroy Merlin` are found by the words that they begin with, behind `mirakl`.
    """
    words = _words(channel_name or "")
    on_mirakl = words[:1] == [_MIRAKL_PREFIX]
    words = words[1:] if on_mirakl else words
    beginnings = ("".join(words[:count]) for count in range(len(words), 0, -1))
    channel = next((_BY_NAME[beginning] for beginning in beginnings if beginning in _BY_NAME), None)
    return channel or (_MIRAKL if on_mirakl else None)


def _words(name: str) -> list[str]:
    """Split a name into words without accents, capitals and signs."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return re.findall(r"[a-z0-9]+", plain.casefold())


_BY_NAME: Final = {"".join(_words(name)): channel for channel in CHANNELS for name in (channel.name, *channel.also)}
