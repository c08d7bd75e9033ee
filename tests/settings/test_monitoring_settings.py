import os
from pathlib import Path

import pytest

from invoicedrop.errors import ConfigError
from invoicedrop.settings.load import describe, load
from invoicedrop.settings.notify_addresses import read_addresses
from invoicedrop.settings.settings import Settings

BASICS = {
    "INVOICEDROP_COMPANY_ID": "1",
    "INVOICEDROP_PROJECT_ID": "2",
    "INVOICEDROP_API_TOKEN": "token",
    "INVOICEDROP_DROP_DIR": "/srv/drop",
    "INVOICEDROP_STATE_DIR": "/var/lib/x",
}


def _load(**values: str) -> Settings:
    return load(None, BASICS | {f"INVOICEDROP_{name.upper()}": value for name, value in values.items()})


def _problem(**values: str) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(**values)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.0.0.1:9709", "127.0.0.1:9709"),
        ("[::1]:9709", "[::1]:9709"),
        (":9709", "127.0.0.1:9709"),
        ("9709", "127.0.0.1:9709"),
        ("localhost:1", "localhost:1"),
        ("0.0.0.0:65535", "0.0.0.0:65535"),
    ],
)
def test_where_metrics_are_served(written: str, meant: str) -> None:
    """An address with a port, or a port alone, which is on this machine only."""
    assert _load(metrics_address=written).metrics_address == meant


@pytest.mark.parametrize(
    "written",
    [
        "127.0.0.1",
        "::1:9709",
        "[127.0.0.1]:1",
        "a.example:1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "1:²",
        "unix:/x",
        "http://127.0.0.1:1",
    ],
)
def test_what_is_no_place_for_metrics(written: str) -> None:
    """Anything else is refused with an example."""
    assert "must be an address and a port, like 127.0.0.1:9709" in _problem(metrics_address=written)


def test_a_heartbeat_goes_encrypted_or_stays_here() -> None:
    """http:// is for this machine, or where allow_http says so; the address is a secret and never shown."""
    for url in ("https://hc.example/u-u/?a=b", "http://127.0.0.1:1/u"):
        found = _load(heartbeat_url=url)
        assert found.heartbeat_url is not None
        assert found.heartbeat_url.get_secret_value() == url
        assert "u-u" not in repr(found) + str(describe(found))
    assert "would travel unencrypted" in _problem(heartbeat_url="http://hc.example/geheim")
    assert _load(heartbeat_url="http://hc.example/x", allow_http="true").heartbeat_url is not None


@pytest.mark.parametrize(
    "url", ["hc.example", "ftp://hc.example/", "https://", "https://a b", "https://a:99999/", "https://a/#x"]
)
def test_what_is_no_heartbeat(url: str) -> None:
    """What cannot be asked for is refused, and not shown."""
    words = "must have no # in it" if "#" in url else "must be an address like https://hc-ping.com/your-uuid"
    assert _problem(heartbeat_url=url) == f"heartbeat_url (environment INVOICEDROP_HEARTBEAT_URL): {words}"


@pytest.mark.parametrize(
    "written", ["mailto://a:b@c.example json://d.example/x,y", '["mailto://a:b@c.example", "json://d.example/x,y"]']
)
def test_addresses_are_a_list(written: str) -> None:
    """In the environment, addresses have spaces between them, or are JSON; none is shown."""
    found = _load(notify=written)
    assert read_addresses(found.notify, None) == ["mailto://a:b@c.example", "json://d.example/x,y"]
    assert not any("c.example" in row.value for row in describe(found))


@pytest.mark.parametrize("written", ["geheim", "mailto://a@b.example geheim", "[1]", "[", '{"a": 1}', '"x"'])
def test_what_is_no_list_of_addresses(written: str) -> None:
    """What cannot be addresses is refused, and not shown."""
    assert "geheim" not in _problem(notify=written)


def test_addresses_in_a_file(tmp_path: Path) -> None:
    """One a line, without comments and empty lines; a file that everybody may read is a warning."""
    file = tmp_path / "notify"
    file.write_text("# anna\n  mailto://a:b@c.example  \n\njson://d.example\nmailto://a:b@c.example\n")
    file.chmod(0o644)
    found = _load(notify_file=str(file), notify="json://d.example")
    assert read_addresses(found.notify, found.notify_file) == ["json://d.example", "mailto://a:b@c.example"]
    assert any("everybody may read it: chmod 600" in warning for warning in found.warnings)


def test_a_file_of_addresses_that_cannot_be_used(tmp_path: Path) -> None:
    """One that is not there, is a folder or a FIFO, or has a line that is no address, is named, never its content."""
    file = tmp_path / "notify"
    assert "cannot be read (No such file or directory)" in _problem(notify_file=str(file))
    assert "cannot be read" in _problem(notify_file=str(tmp_path))
    os.mkfifo(file)
    assert "cannot be read" in _problem(notify_file=str(file))
    file.unlink()
    file.write_text("# x\nmailto://a@b.example\ngeheim\n")
    assert _problem(notify_file=str(file)).endswith("line 3 is no address of Apprise; they are like mailto://...")


def test_where_the_status_file_is() -> None:
    """Where systemd has a folder for it, else in the state folder, or where a setting says."""
    assert _load().status_file == Path("/var/lib/x/service.json")
    assert load(None, BASICS | {"RUNTIME_DIRECTORY": "/run/x:/run/y"}).status_file == Path("/run/x/service.json")
    assert _load(status_file="/s/y.json").status_file == Path("/s/y.json")
