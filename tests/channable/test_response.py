"""What is read from any response, however odd."""

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_caller import caller_of
from invoicedrop.channable.response import ApiResponse
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
