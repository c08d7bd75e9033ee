"""Where downloads may lead: real servers on loopback addresses, of which `PUBLIC` stands for all public ones."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from api_caller import caller_of
from invoicedrop.channable.destinations import Destinations
from invoicedrop.errors import Unanswered
from invoicedrop.system.network import DIRECT, Network
from networks import network_of
from scripted_api import Reply, Request, ScriptedApi, as_json, scripted

API, INNER, PUBLIC = "127.0.0.1", "127.0.0.2", "127.0.0.3"
CONTENT = b"%PDF-1.7"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names resolve to; `api.test` is the API."""
    names = {"api.test": [API]}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **options: Any) -> list[Any]:
        return [entry for address in names.get(host, [host]) for entry in resolve(address, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def is_public(address: str) -> bool:
    """Whether an address is public in these tests."""
    return address == PUBLIC


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedApi]]:
    """Start a server of the file at an address, which may redirect to another URL instead."""
    with ExitStack() as servers:

        def start(host: str, location: str | None = None) -> ScriptedApi:
            reply = Reply(CONTENT) if location is None else Reply(b"", 302, (("location", location),))
            return servers.enter_context(scripted(lambda _request: reply, host))

        yield start


def download(url: str, api_url: str = "http://api.test:1", network: Network = DIRECT) -> bytes:
    """Fetch a file as its API's client does."""
    received = bytearray()
    with caller_of(api_url, is_public=is_public, network=network) as caller:
        assert caller.client.download(url, received.extend, 1000) == 200
    return bytes(received)


@pytest.mark.usefixtures("names")
def test_a_download_from_a_public_address_comes(serve: Callable[..., ScriptedApi]) -> None:
    """A file at a public address is fetched."""
    assert download(f"{serve(PUBLIC).url}/file") == CONTENT


@pytest.mark.parametrize("host", ["127.0.0.2", "127.2", "2130706434", "0x7f000002", "[::ffff:127.0.0.2]", "files.test"])
def test_an_inner_address_is_never_asked(
    serve: Callable[..., ScriptedApi], names: dict[str, list[str]], host: str
) -> None:
    """However an inner address is written, nothing is fetched from there, and the refusal names the host."""
    names["files.test"] = [INNER]
    server = serve(INNER)
    with pytest.raises(Unanswered, match="not on the public Internet"):
        download(f"http://{host}:{server.port}/file")
    assert server.requests == []


def test_a_redirect_is_judged_like_a_first_address(
    serve: Callable[..., ScriptedApi], names: dict[str, list[str]]
) -> None:
    """A public host may redirect to another public one, and to no inner one."""
    names["files.test"] = [INNER]
    inner, public = serve(INNER), serve(PUBLIC)
    assert download(f"{serve(PUBLIC, f'{public.url}/file').url}/first") == CONTENT
    for target in (f"{inner.url}/file", f"http://files.test:{inner.port}/file"):
        with pytest.raises(Unanswered, match="not on the public Internet"):
            download(f"{serve(PUBLIC, target).url}/first")
    assert inner.requests == []


@pytest.mark.parametrize("addresses", [[INNER, PUBLIC], [PUBLIC, INNER]])
def test_each_address_of_a_name_is_judged(
    serve: Callable[..., ScriptedApi], names: dict[str, list[str]], addresses: list[str]
) -> None:
    """Of a name with several addresses only the public ones are connected to, whatever their order."""
    names["files.test"] = addresses
    inner = serve(INNER)
    with pytest.raises(Unanswered):
        # Nobody listens on this port at the public one.
        download(f"http://files.test:{inner.port}/file")
    assert inner.requests == []
    assert download(f"http://files.test:{serve(PUBLIC).port}/file") == CONTENT


def test_what_was_judged_is_what_is_connected_to(
    serve: Callable[..., ScriptedApi], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to another address each time is resolved once: the second answer is never used."""
    answers = [PUBLIC, INNER]
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **options: Any) -> list[Any]:
        return resolve(answers.pop(0) if host == "files.test" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert download(f"http://files.test:{serve(PUBLIC).port}/file") == CONTENT
    assert answers == [INNER]


def test_the_apis_own_host_may_have_any_address(serve: Callable[..., ScriptedApi], names: dict[str, list[str]]) -> None:
    """An API inside a company, at an inner address, may serve its files itself; another inner host may not."""
    names.update({"api.test": [INNER], "other.test": [INNER]})
    server = serve(INNER)
    assert download(f"http://api.test:{server.port}/file") == CONTENT
    with pytest.raises(Unanswered):
        download(f"http://other.test:{server.port}/file")


def test_loopback_is_for_an_api_on_loopback(serve: Callable[..., ScriptedApi]) -> None:
    """Where the API is on loopback, its files may be anywhere on loopback, as the sandbox's are."""
    assert download(f"{serve(INNER).url}/file", api_url="http://127.0.0.1:1") == CONTENT


@pytest.mark.usefixtures("names")
def test_a_refused_download_is_one_attachments_trouble(serve: Callable[..., ScriptedApi]) -> None:
    """A refused address leaves that attachment unanswered; the project is not paused."""
    inner = serve(INNER)

    def script(_request: Request) -> Reply:
        return as_json({"url": f"{inner.url}/file"})

    with scripted(script) as server, caller_of(f"http://api.test:{server.port}", is_public=is_public) as caller:
        for _ in range(5):
            with pytest.raises(Unanswered):
                caller.project.attachment_digest(8, 1, 1000)
        assert caller.details == []
    assert inner.requests == []


@pytest.mark.usefixtures("names")
def test_redirects_come_to_an_end(serve: Callable[..., ScriptedApi]) -> None:
    """A host that redirects for ever is left after a few requests."""
    server = serve(PUBLIC, "/again")
    with pytest.raises(Unanswered, match="again and again"):
        download(f"{server.url}/file")
    assert len(server.requests) == 5


@pytest.mark.usefixtures("names")
def test_a_download_carries_no_cookie() -> None:
    """What one hop sets as a cookie, no other hop gets."""

    def script(request: Request) -> Reply:
        if request.path == "/first":
            return Reply(b"", 302, (("location", "/file"), ("set-cookie", "id=1; Path=/")))
        return Reply(CONTENT)

    with scripted(script, PUBLIC) as server:
        assert download(f"{server.url}/first") == CONTENT
    assert all("cookie" not in request.headers for request in server.requests)


def test_a_proxy_decides_about_names_and_is_never_sent_to_an_inner_address(names: dict[str, list[str]]) -> None:
    """Where a proxy connects, it may be anywhere itself and gets names unresolved, but no literal inner address."""
    names["proxy.test"] = [INNER]
    with scripted(lambda _request: Reply(CONTENT), INNER) as proxy:
        network = network_of(http_proxy=f"http://proxy.test:{proxy.port}")
        assert download("http://files.test/file", network=network) == CONTENT
        assert [request.path for request in proxy.requests] == ["http://files.test/file"]
        for host in (INNER, "127.2", "localhost", "x.localhost", "[::1]", "169.254.169.254"):
            with pytest.raises(Unanswered, match="not on the public Internet"):
                download(f"http://{host}/file", network=network)
    assert len(proxy.requests) == 1


def test_a_host_without_proxy_is_judged_by_its_address(
    serve: Callable[..., ScriptedApi], names: dict[str, list[str]]
) -> None:
    """Where NO_PROXY lets a download go directly, its address is judged, also when the API itself goes by a proxy."""
    names.update({"inner.test": [INNER], "public.test": [PUBLIC]})
    inner, public = serve(INNER), serve(PUBLIC)
    network = network_of(http_proxy="http://127.0.0.1:1", no_proxy=".test")
    assert download(f"http://public.test:{public.port}/file", "http://api.other", network) == CONTENT
    with pytest.raises(Unanswered, match="not on the public Internet"):
        download(f"http://inner.test:{inner.port}/file", "http://api.other", network)
    assert inner.requests == []


def test_a_download_goes_by_its_own_proxy_where_the_api_needs_none() -> None:
    """An API that NO_PROXY names is reached directly, and what it names elsewhere by the proxy all the same."""
    with scripted(lambda _request: Reply(CONTENT), INNER) as proxy:
        network = network_of(http_proxy=f"http://{INNER}:{proxy.port}", no_proxy="api.test")
        assert download("http://files.example/file", "http://api.test:1", network) == CONTENT
    assert [request.path for request in proxy.requests] == ["http://files.example/file"]


@pytest.mark.parametrize(
    ("api_url", "scheme", "allowed"),
    [
        ("https://api.test", "https", True),
        ("https://api.test", "http", False),
        ("https://api.test", "ftp", False),
        ("http://api.test", "http", True),
        ("http://api.test", "https", True),
    ],
)
def test_a_download_in_the_clear_is_for_an_api_in_the_clear(api_url: str, scheme: str, *, allowed: bool) -> None:
    """Only https, at the first address and after each redirect, unless the API itself is http."""
    assert (Destinations(api_url).refusal(scheme, "api.test") is None) is allowed
