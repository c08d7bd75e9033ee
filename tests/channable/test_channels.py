from datetime import UTC, date, datetime

import pytest

from invoicedrop.channable.channels import CHANNELS, find_channel

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("channel_name", "name"),
    [
        ("bol", "bol"),
        ("bol.com", "bol"),
        ("amazon", "Amazon"),
        ("amazon_de", "Amazon"),
        ("Amazon.co.uk", "Amazon"),
        ("kaufland", "Kaufland"),
        ("channable_sandbox", "Channable Sandbox"),
        ("mirakl_mediamarkt", "MediaMarkt"),
        ("mirakl_media_markt_nl", "MediaMarkt"),
        ("mirakl_leroy_merlin_fr", "Leroy Merlin"),
        ("leroymerlin", "Leroy Merlin"),
        ("Showroomprivé", "Showroomprive"),
        ("Nocibé", "Nocibe"),
        ("mirakl_fnac", "Fnac Darty"),
        ("mirakl_brico", "Maxeda"),
        ("mirakl_example", "Mirakl"),
        ("mirakl", "Mirakl"),
    ],
)
def test_a_channel_is_found_by_what_the_api_calls_it(channel_name: str, name: str) -> None:
    """Countries behind a channel's name, and `mirakl` before it, make no difference; nor do accents and signs."""
    channel = find_channel(channel_name)
    assert channel is not None
    assert channel.name == name


@pytest.mark.parametrize(
    "channel_name", [None, "", "_", "example_bazaar", "boldly", "manomano", "amazonia", "shop_bol"]
)
def test_what_only_looks_like_a_channel_is_unknown(channel_name: str | None) -> None:
    """A name is compared word by word from its beginning: another name with the same letters stays unknown."""
    assert find_channel(channel_name) is None


def test_each_channel_is_found_by_each_of_its_names() -> None:
    """No two channels of the table share a name, and each row has a source."""
    for channel in CHANNELS:
        for name in (channel.name, *channel.also):
            assert find_channel(name) is channel
            assert find_channel(f"mirakl_{name.casefold().replace(' ', '_')}") is channel
        assert channel.source


def test_what_is_documented_of_single_channels() -> None:
    """Amazon wants dispatch first and keeps the latest invoice only; invoices for single items are bol's alone."""
    assert [channel.name for channel in CHANNELS if channel.needs_dispatch] == ["Amazon"]
    assert [channel.name for channel in CHANNELS if channel.keeps_latest] == ["Amazon"]
    assert [channel.name for channel in CHANNELS if channel.takes_items] == ["bol"]


def test_a_channel_that_ends_takes_invoices_up_to_its_last_day() -> None:
    """Fnac Darty ends on 31 December 2026, with that day; the others do not end."""
    assert {channel.name: channel.last_day for channel in CHANNELS if channel.last_day} == {
        "Fnac Darty": date(2026, 12, 31)
    }
    fnac = find_channel("mirakl_fnac_darty")
    assert fnac is not None
    assert fnac.takes_invoices(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    assert not fnac.takes_invoices(datetime(2027, 1, 1, tzinfo=UTC))
    assert all(channel.takes_invoices(NOW) for channel in CHANNELS)
