"""Attachments: of others, with odd fields, of other bytes than were sent, and with trouble of their own."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from invoicedrop.sandbox.paper import invoice_pdf
from sandbox_caller import Caller, Started

PDF = invoice_pdf("7")
THEIRS = invoice_pdf("7 by somebody else")


def _download(caller: Caller, attachment: int) -> bytes:
    return caller.ask("GET", caller.download_url(attachment).json()["url"], token=None).content


def test_others_attach_what_and_when_they_like(started: Started) -> None:
    """Documents of others have the given bytes, type and time, come at a given moment, and are told from uploads."""
    caller = started()
    store = caller.sandbox.store
    store.attach(7, THEIRS, created=datetime(2026, 10, 1, tzinfo=UTC))
    store.attach(7, b"label", attachment_type="SHIPPING_LABEL")
    store.attach(7, b"%PDF later", visible_after=0.05)
    caller.upload()
    caller.sandbox.wait_until(lambda: len(caller.attachments()) == 4)
    kinds = [attachment["attachment_type"] for attachment in caller.attachments()]
    assert kinds == ["INVOICE", "SHIPPING_LABEL", "INVOICE", "INVOICE"]
    assert caller.attachments()[0]["created"] == "2026-10-01T00:00:00.000000Z"
    assert [_download(caller, number) for number in (1, 2, 3, 4)] == [THEIRS, b"label", b"%PDF later", PDF]
    assert [upload.posted for upload in caller.sandbox.uploads()] == [False, False, False, True]


def test_fields_of_an_attachment_can_be_odd_or_missing(started: Started) -> None:
    """`created` may be missing, an id null, a date anything; the document can still be fetched by its id."""
    caller = started()
    caller.sandbox.store.attach(7, THEIRS, hidden=("created",), shown={"expires_at": "31.12.", "data.note": 1})
    caller.sandbox.store.attach(7, THEIRS, shown={"id": None, "attachment_type": None})
    first, second = caller.attachments()
    assert "created" not in first
    assert (first["expires_at"], first["data"]) == ("31.12.", {"note": 1})
    assert (second["id"], second["attachment_type"]) == (None, None)
    assert _download(caller, 1) == THEIRS


def test_a_download_may_not_tell_its_size(started: Started) -> None:
    """A download has a Content-Length unless that is not told; the bytes are the same."""
    caller = started()
    caller.sandbox.store.attach(7, THEIRS)
    caller.sandbox.store.attach(7, THEIRS, length_told=False)
    responses = [caller.ask("GET", caller.download_url(n).json()["url"], token=None) for n in (1, 2)]
    assert [response.headers.get("content-length") for response in responses] == [str(len(THEIRS)), None]
    assert [response.content for response in responses] == [THEIRS, THEIRS]


def test_uploads_can_be_reencoded(started: Started, tmp_path: Path) -> None:
    """With reencodes a download of an upload gives other bytes, even after a restart; what others attach stays."""
    caller = started(reencodes=True, folder=tmp_path)
    caller.upload()
    caller.sandbox.store.attach(7, THEIRS)
    again = started(folder=tmp_path)
    for sandbox in (caller, again):
        reencoded = _download(sandbox, 1)
        assert reencoded != PDF
        assert reencoded.startswith(b"%PDF")
        assert _download(sandbox, 2) == THEIRS
    again.upload()
    assert _download(again, 3) == PDF
    assert [upload.sha256 for upload in again.sandbox.uploads() if upload.posted] == [
        upload.sha256 for upload in caller.sandbox.uploads() if upload.posted
    ] * 2


@pytest.mark.parametrize("request_kind", ["attachment", "download"])
@pytest.mark.parametrize("status", [401, 403, 503])
def test_trouble_can_be_one_attachments(started: Started, request_kind: str, status: int) -> None:
    """A fault with an attachment's id is about its URL or its download, for ever, and about no other's."""
    caller = started()
    for _ in range(2):
        caller.sandbox.store.attach(7, THEIRS)
    urls = [caller.download_url(number).json()["url"] for number in (1, 2)]
    caller.sandbox.faults.add("status", request_kind, attachment_id=2, status=status)
    for _ in range(3):
        looked_up = [caller.download_url(number).status_code for number in (1, 2)]
        fetched = [caller.ask("GET", url, token=None).status_code for url in urls]
        assert looked_up == [200, status if request_kind == "attachment" else 200]
        assert fetched == [200, status if request_kind == "download" else 200]
    assert caller.order().status_code == 200
