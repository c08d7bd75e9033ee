"""The fault proxy does what its rules say, as other tests rely on it."""

import time
from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from fault_proxy import FaultProxy, Rule, fault_proxy
from scripted_api import Reply, ScriptedApi, as_json, scripted


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    """A server that says what it was asked."""
    with scripted(lambda request: as_json([request.method, request.path, request.body.decode()], 201)) as api:
        yield api


@pytest.fixture
def proxy(api: ScriptedApi) -> Iterator[FaultProxy]:
    """A proxy in front of it."""
    with fault_proxy(api.url) as proxy:
        yield proxy


def test_without_a_rule_all_is_passed_on(api: ScriptedApi, proxy: FaultProxy) -> None:
    """Method, path, query, headers and body arrive, and so do status, headers and body of the response."""
    response = httpx.post(f"{proxy.url}/a?b=c", content=b"body", headers={"x-mine": "1"})
    assert (response.status_code, response.json()) == (201, ["POST", "/a?b=c", "body"])
    assert response.headers["content-type"] == "application/json"
    assert api.requests[0].headers["x-mine"] == "1"
    assert [(passage.rule, passage.status) for passage in proxy.passages] == [(None, 201)]


@pytest.mark.parametrize("passed_on", [True, False])
def test_a_reply_may_come_before_or_after_passing_on(api: ScriptedApi, proxy: FaultProxy, *, passed_on: bool) -> None:
    """A box's answer takes the place of the API's own, which may have carried the request out."""
    proxy.add(Rule(passed_on=passed_on, reply=Reply(b"no", 403)))
    response = httpx.get(proxy.url)
    assert (response.status_code, response.content) == (403, b"no")
    assert len(api.requests) == passed_on


def test_a_rule_is_for_the_requests_that_it_names(proxy: FaultProxy) -> None:
    """Method, path, skip and count select; the first rule that takes a request decides."""
    proxy.add(Rule("GET", "/a$", skip=1, count=2, reply=Reply(b"", 500)))
    proxy.add(Rule("GET", "/a$", count=1, skip=1, reply=Reply(b"", 501)))
    assert [httpx.get(f"{proxy.url}/a").status_code for _ in range(5)] == [201, 500, 500, 501, 201]
    assert httpx.post(f"{proxy.url}/a").status_code == httpx.get(f"{proxy.url}/ab").status_code == 201
    assert proxy.count("GET", "/a$", faulty=True) == 3
    assert proxy.count(faulty=False) == 4


@pytest.mark.parametrize("without_query", [False, True])
def test_a_cache_gives_the_first_answer_of_each_address_again(*, without_query: bool) -> None:
    """What is kept is given again, with the cache's own headers; whether another query is another address, is told."""
    numbers = count()
    with scripted(lambda _request: as_json(next(numbers))) as api, fault_proxy(api.url) as proxy:
        proxy.add(Rule("GET", "/a", keeps=True, without_query=without_query, kept_headers=(("age", "7"),)))
        answers = [httpx.get(f"{proxy.url}/{path}") for path in ("a", "a", "a?b=c", "b", "b")]
    another = 0 if without_query else 1
    assert [answer.json() for answer in answers] == [0, 0, another, another + 1, another + 2]
    assert ["age" in answer.headers for answer in answers] == [False, True, without_query, False, False]


def test_answers_are_dropped_cut_and_delayed(api: ScriptedApi, proxy: FaultProxy) -> None:
    """A response may be lost, lose its end, or come late, after the API has carried the request out."""
    proxy.add(Rule(path="/drop", drop=True))
    proxy.add(Rule(path="/cut", cut=3))
    proxy.add(Rule(path="/late", delay=0.1, delay_after=0.1))
    for path in ("drop", "cut"):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{proxy.url}/{path}")
    began = time.monotonic()
    assert httpx.get(f"{proxy.url}/late").status_code == 201
    assert time.monotonic() - began >= 0.2
    assert len(api.requests) == 3
    proxy.clear()
    assert httpx.get(f"{proxy.url}/drop").status_code == 201
