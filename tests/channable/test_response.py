"""What is read from any response, however odd."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_caller import caller_of
from invoicedrop.channable.response import ApiResponse, Speaker
from invoicedrop.errors import Rejected
from invoicedrop.inbox.snapshot import Snapshot
from scripted_api import as_json, scripted


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"detail": [{"loc": ["body", "file"], "msg": "Field required"}]}, "body.file: Field required"),
        ({"detail": [{"loc": None, "msg": "bad"}]}, "bad"),
        ({"detail": [{"loc": 5, "msg": "bad"}]}, "bad"),
        ({"detail": "plain words"}, "plain words"),
        ({"status": "error", "message": "m"}, "m"),
        ({"status": "error", "message": ["a", {"b": 1}]}, "['a', {'b': 1}]"),
        ({"status": "error", "message": None, "error": "e"}, "e"),
    ],
)
def test_a_422_is_made_readable(invoice: Snapshot, body: object, message: str) -> None:
    """The fields that a 422 complains about are named in one line."""
    with (
        scripted(lambda _request: as_json(body, 422)) as server,
        caller_of(server.url) as caller,
        pytest.raises(Rejected) as caught,
    ):
        caller.project.upload(8, invoice)
    assert message in caught.value.detail


@pytest.mark.parametrize(
    ("status", "body", "speaker"),
    [
        (202, b'{"status": "success", "order_attachment_id": 1}', Speaker.API),
        (202, b'{"status": "error", "message": "no"}', Speaker.API),
        (202, b'{"status": "ok"}', Speaker.OTHER),
        (202, b'{"status": "success", "order_att', Speaker.CUT),
        (202, b"ok", Speaker.OTHER),
        (202, b"", Speaker.OTHER),
        (202, b"[1]", Speaker.OTHER),
        (202, b"{" * 100_000, Speaker.CUT),
        (404, b'{"status": "error", "message": "no such order"}', Speaker.API),
        (404, b'{"status": "error", "message": null}', Speaker.API),
        (404, b'{"status": 404, "message": "no such page"}', Speaker.OTHER),
        (404, b'{"message": "no Route matched"}', Speaker.OTHER),
        (404, b'{"detail": "Not Found"}', Speaker.OTHER),
        (404, b'{"status": "error", "mess', Speaker.OTHER),
        (422, b'{"detail": []}', Speaker.API),
        (422, b'{"detail": {"a": 1}}', Speaker.OTHER),
        (401, b'{"error": "expired"}', Speaker.API),
        (401, b'{"error": "Unauthorized", "status": 401}', Speaker.OTHER),
        (403, b'{"error": "forbidden"}', Speaker.OTHER),
        (503, b'{"status": "error", "message": "maintenance"}', Speaker.API),
        (503, b"<html>{}</html>", Speaker.OTHER),
    ],
)
def test_only_the_apis_own_form_is_its_word(status: int, body: bytes, speaker: Speaker) -> None:
    """Who speaks is told by the form of the body, for each status."""
    form = frozenset({"status", "order_attachment_id"})
    assert ApiResponse(httpx.Response(status), body).speaker(form) is speaker
    page = httpx.Response(status, headers={"content-type": "text/html"})
    assert ApiResponse(page, body).speaker(form) is Speaker.OTHER


def test_a_success_is_never_quoted() -> None:
    """What may be a broken order, with a customer's name, is not in the words about it."""
    assert "Jansen" not in ApiResponse(httpx.Response(200), b'{"order": {"name": "Jansen"').summary()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["detail", "loc", "msg", "message", "error", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_any_error_body_can_be_put_into_words(body: bytes) -> None:
    """Whatever stands in an error response, it becomes a short text and never an error of its own."""
    response = ApiResponse(httpx.Response(422), body)
    assert len(response.message()) <= 500
    assert response.summary().startswith("HTTP 422")


@given(st.text(st.characters(max_codepoint=255), max_size=40) | st.sampled_from(["5", "-5", "1e9", "\u0665", "nan"]))
def test_any_header_can_be_read(value: str) -> None:
    """Whatever stands in the headers that we read, it is a value or nothing."""
    response = ApiResponse(
        httpx.Response(503, headers=[(b"retry-after", value.encode("utf-8")), (b"date", value.encode())]), b""
    )
    assert response.retry_after is None or response.retry_after >= 0
    assert response.date is None or response.date.year


_DATE = "Thu, 26 Nov 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("120", _DATE, 120.0),
        (" 0 ", _DATE, 0.0),
        ("Thu, 26 Nov 2026 09:02:30 GMT", _DATE, 150.0),
        ("Thursday, 26-Nov-26 09:02:30 GMT", _DATE, 150.0),
        ("Thu Nov 26 09:02:30 2026", _DATE, 150.0),
        ("Thu, 26 Nov 2026 08:00:00 GMT", _DATE, 0.0),
        # A clock that is years behind ours: the server's two moments belong together.
        ("Mon, 01 Jan 2001 00:01:00 GMT", "Mon, 01 Jan 2001 00:00:00 GMT", 60.0),
        ("soon", _DATE, None),
        ("-5", _DATE, None),
        ("1.5", _DATE, None),
        ("", _DATE, None),
    ],
)
def test_a_retry_after_is_read_in_both_of_its_forms(value: str, date: str, seconds: float | None) -> None:
    """Seconds, or a moment in each of HTTP's three forms, by the server's own clock."""
    response = ApiResponse(httpx.Response(503, headers={"retry-after": value, "date": date}), b"")
    assert response.retry_after == seconds


@pytest.mark.parametrize("date", [None, "nonsense"])
def test_without_a_date_our_own_clock_tells_how_long_to_wait(date: str | None) -> None:
    """Where the response does not tell its time, a moment is compared with ours."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    headers = {"retry-after": moment} | ({} if date is None else {"date": date})
    seconds = ApiResponse(httpx.Response(503, headers=headers), b"").retry_after
    assert seconds is not None
    assert 60 < seconds <= 100
