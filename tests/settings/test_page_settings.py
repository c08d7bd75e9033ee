"""The settings of reasons and status page: where the page is, whether there is one, and in which language."""

from pathlib import Path

import pytest

from invoicedrop.errors import ConfigError
from invoicedrop.settings.load import describe, load
from invoicedrop.settings.settings import Settings
from invoicedrop.settings.sources import Places

BASICS = {
    "INVOICEDROP_COMPANY_ID": "12",
    "INVOICEDROP_API_TOKEN": "a-token-of-some-length",
    "INVOICEDROP_STATE_DIR": "/srv/state",
}
ONE = {**BASICS, "INVOICEDROP_PROJECT_ID": "34", "INVOICEDROP_DROP_DIR": "/srv/drop"}
BOX = '[[inboxes]]\nname = "{0}"\nproject_id = 3\ndrop_dir = "/srv/{0}"\n{1}\n'


def _load(tmp_path: Path, toml: str = "", environ: dict[str, str] = ONE) -> Settings:
    file = tmp_path / "invoicedrop.toml"
    file.write_text(toml)
    return load(file, environ, places=Places(tmp_path / "none", tmp_path / "none"))


def _problem(tmp_path: Path, toml: str = "", environ: dict[str, str] = ONE) -> str:
    with pytest.raises(ConfigError) as refused:
        _load(tmp_path, toml, environ)
    (problem,) = refused.value.problems
    return problem


def test_the_page_is_in_the_drop_folder_unless_it_is_set(tmp_path: Path) -> None:
    """By default it is status.html in the drop folder, a relative path starts at the file that it stands in."""
    settings = _load(tmp_path)
    assert settings.inboxes[0].page == Path("/srv/drop/status.html")
    assert Path("/srv/drop/status.html") in settings.own_paths
    shown = {row.setting: (row.value, row.source) for row in describe(settings)}
    assert shown["status_page"] == ("/srv/drop/status.html", "inside drop_dir")
    assert _load(tmp_path, 'status_page = "www/bol.HTML"').inboxes[0].page == tmp_path / "www/bol.HTML"


@pytest.mark.parametrize("empty", ["", " "])
def test_empty_is_no_page(tmp_path: Path, empty: str) -> None:
    """An empty value, in the file or in the environment, means that there is no page; that is shown as it is."""
    for settings in (
        _load(tmp_path, f'status_page = "{empty}"'),
        _load(tmp_path, environ=ONE | {"INVOICEDROP_STATUS_PAGE": empty}),
        _load(tmp_path, 'status_page = "/srv/x.html"', ONE | {"INVOICEDROP_STATUS_PAGE": empty}),
    ):
        assert settings.inboxes[0].page is None
        assert "status_page" in {row.setting for row in describe(settings) if row.value == ""}


@pytest.mark.parametrize("path", ["/srv/drop/page.pdf", "/srv/drop/", "/srv/drop/8355", "/srv/page.html.exe"])
def test_a_page_is_called_like_a_page(tmp_path: Path, path: str) -> None:
    """What could be taken for an invoice, or is no page's name, is refused with a sentence."""
    assert "must be the path of a file that ends in .html" in _problem(tmp_path, f'status_page = "{path}"')


def test_each_inbox_has_its_own_page(tmp_path: Path) -> None:
    """Two inboxes cannot share a page, nor have one set above both; to have none can be set above all."""
    two = BOX.format("bol", 'language = "nl"') + BOX.format("amazon", 'language = "DE"')
    settings = _load(tmp_path, two, BASICS)
    assert [inbox.page for inbox in settings.inboxes] == [Path("/srv/bol/status.html"), Path("/srv/amazon/status.html")]
    assert [inbox.language for inbox in settings.inboxes] == ["nl", "de"]
    none = _load(tmp_path, 'status_page = ""\n' + two, BASICS)
    assert [inbox.page for inbox in none.inboxes] == [None, None]
    some = _load(tmp_path, 'status_page = ""\n' + two + 'status_page = "/srv/amazon.html"', BASICS)
    assert [inbox.page for inbox in some.inboxes] == [None, Path("/srv/amazon.html")]
    same = 'status_page = "/srv/www/../www/x.html"'
    both = BOX.format("bol", same) + BOX.format("amazon", 'status_page = "/srv/www/x.html"')
    assert "are the same file" in _problem(tmp_path, both, BASICS)
    assert "does not say which inbox it is for" in _problem(tmp_path, 'status_page = "/srv/x.html"\n' + two, BASICS)


def test_a_language_is_one_that_there_is(tmp_path: Path) -> None:
    """A language that the program does not speak is refused with those that it does."""
    assert "must be 'en', 'de', 'nl' or 'fr'" in _problem(tmp_path, 'language = "es"')
    assert _load(tmp_path, environ=ONE | {"INVOICEDROP_LANGUAGE": "FR"}).inboxes[0].language == "fr"
