import json
import os
import time
from pathlib import Path

import pytest

from invoicedrop.commands.health import health
from invoicedrop.service import status_file
from invoicedrop.service.status_file import InboxReport, Report, StatusFile
from invoicedrop.system.boot import boot_id

_BEAT = 1_700_000_000.0


def _report(**changes: object) -> Report:
    return Report.model_validate(
        {"pid": 4711, "version": "1.2.3", "beat": _BEAT, "interval": 5.0, "inboxes": {}} | changes
    )


def _written_to(folder: Path) -> StatusFile:
    return StatusFile(folder / "service.json", folder, 0o644)


def test_the_fields_are_those_that_other_versions_read(tmp_path: Path) -> None:
    """The file has these fields and no others: a program of another version may read it."""
    inbox = InboxReport(waiting=2, mode="events", paused="the API is out of service", next_probe=_BEAT + 4, token="a:b")
    inbox.put_off["5.pdf"] = (_BEAT + 60, "HTTP 500")
    report = _report(inboxes={"default": inbox})
    assert _written_to(tmp_path).write(report) is None
    assert json.loads((tmp_path / "service.json").read_bytes()) == {
        "pid": 4711,
        "started": 0,
        "namespace": "",
        "version": "1.2.3",
        "beat": _BEAT,
        "interval": 5.0,
        "inboxes": {
            "default": {
                "waiting": 2,
                "mode": "events",
                "unavailable": None,
                "standby": None,
                "unavailable_cause": None,
                "unavailable_since": None,
                "paused": "the API is out of service",
                "paused_cause": None,
                "paused_since": None,
                "next_probe": _BEAT + 4,
                "stopped_by": None,
                "slow": None,
                "token": None,
                "put_off": {},
                "accepted": 0,
                "duplicates": 0,
                "failures": {},
                "last_accepted": None,
                "answers": {},
                "rate": None,
                "checks": [],
                "check_seconds": 0.0,
            }
        },
        "began": None,
        "boot": "",
        "monotonic": None,
        "reporting": {},
    }
    assert json.loads((tmp_path / "details.json").read_bytes()) == {
        "default": {
            "paused": "the API is out of service",
            "put_off": {"5.pdf": [_BEAT + 60, "HTTP 500"]},
            "token": "a:b",
        }
    }
    assert status_file.read(tmp_path / "service.json", tmp_path) == report
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "service.json": 0o644,
        "details.json": 0o600,
    }


def test_what_others_said_is_not_for_everybody(tmp_path: Path) -> None:
    """The words of whoever answered, behind the status, are for the service's user; what is over is over in both."""
    said = "the API is out of service (HTTP 503 Service Unavailable: no invoice for Jan (Jansen))"
    file = _written_to(tmp_path)
    held = InboxReport(paused=said, stopped_by="paused by a person since 09:03: Jan Jansen: asked")
    file.write(_report(inboxes={"a": held, "b": InboxReport(paused="a.example: HTTP 500: Jan")}))
    public, full = (status_file.read(tmp_path / "service.json", folder) for folder in (None, tmp_path))
    assert public is not None
    assert public.inboxes["a"].paused == "the API is out of service (HTTP 503 Service Unavailable)"
    assert public.inboxes["a"].stopped_by == "paused by a person since 09:03"
    assert public.inboxes["b"].paused == "a.example: HTTP 500"
    assert full is not None
    assert full.inboxes["a"] == held
    (tmp_path / "service.json").write_text(_report(inboxes={"a": InboxReport()}).model_dump_json())
    later = status_file.read(tmp_path / "service.json", tmp_path)
    assert later is not None
    assert later.inboxes["a"].paused is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"default": 5}', b'{"default": {"put_off": 5}}', b"\xff"])
def test_details_that_make_no_sense_are_left_out(tmp_path: Path, content: bytes) -> None:
    """Whatever lies in the details' place, the report itself is read."""
    (tmp_path / "service.json").write_text(_report(inboxes={"default": InboxReport(waiting=3)}).model_dump_json())
    (tmp_path / "details.json").write_bytes(content)
    report = status_file.read(tmp_path / "service.json", tmp_path)
    assert report is not None
    assert report.inboxes["default"].waiting == 3


def test_a_report_of_another_version_is_read(tmp_path: Path) -> None:
    """A newer service may report more, an older one had no `put_off`: both are understood."""
    inbox = {"waiting": 3, "mode": "scans", "unavailable": None, "paused": None, "next_probe": None, "new": [1]}
    report = {"pid": 1, "version": "9", "beat": _BEAT, "interval": 5.0, "inboxes": {"default": inbox}, "also new": {}}
    (tmp_path / "service.json").write_text(json.dumps(report))
    assert status_file.read(tmp_path / "service.json") == Report(
        pid=1, version="9", beat=_BEAT, interval=5.0, inboxes={"default": InboxReport(waiting=3)}
    )


def test_words_that_are_no_text_are_made_readable(tmp_path: Path) -> None:
    """A detail that quotes a file name in broken bytes is reported, escaped, and harms neither writer nor reader."""
    broken = os.fsdecode(b"\xff.pdf")
    inbox = InboxReport(unavailable=f"{broken} is in the way", put_off={broken: (1.0, broken)})
    _written_to(tmp_path).write(_report(inboxes={"default": inbox}))
    report = status_file.read(tmp_path / "service.json", tmp_path)
    assert report is not None
    assert report.inboxes["default"].unavailable == "\\udcff.pdf is in the way"
    assert report.inboxes["default"].put_off == {"\\udcff.pdf": (1.0, "\\udcff.pdf")}


_VALID = _report().model_dump_json().encode()
_NO_REPORTS = {
    "empty": b"",
    "half written": _VALID[:20],
    "an empty object": b"{}",
    "a list": b"[]",
    "null": b"null",
    "binary": bytes(range(256)) * 100,
    "a word for a number": _VALID.replace(b"5.0", b'"soon"'),
    "a list for inboxes": _VALID.replace(b"{}", b"[]"),
    "a word for an inbox": _VALID.replace(b"{}", b'{"default": "fine"}'),
    "a time that is no number": _VALID.replace(b"1700000000.0", b"NaN"),
    "a time without end": _VALID.replace(b"1700000000.0", b"1e999"),
    "a number of a million digits": _VALID.replace(b"4711", b"9" * 1_000_000),
    "nested beyond all measure": _VALID.replace(b"{}", b"[" * 1_000_000),
    "half a character": _VALID.replace(b"1.2.3", b"\\udcff"),
    "huge": _VALID[:-1] + b" " * (17 << 20) + b"}",
}


@pytest.mark.parametrize("content", _NO_REPORTS)
def test_whatever_else_lies_there_is_no_report(tmp_path: Path, content: str) -> None:
    """Content that no service has written is as good as none, and never an error."""
    (tmp_path / "service.json").write_bytes(_NO_REPORTS[content])
    assert status_file.read(tmp_path / "service.json") is None


def test_what_is_no_file_is_no_report(tmp_path: Path) -> None:
    """A folder, a FIFO without a writer, a link to itself in the file's place: no report, and nothing hangs.

    What cannot be read is not taken for what was never written: its error says why.
    """
    path = tmp_path / "service.json"
    assert status_file.read(tmp_path / "nowhere" / "service.json") is None
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        status_file.read(tmp_path / "service.json")
    path.rmdir()
    os.mkfifo(path)
    assert status_file.read(tmp_path / "service.json") is None
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        status_file.read(tmp_path / "service.json")


_VALUES: list[object] = [
    None,
    True,
    -1,
    1e308,
    -1e308,
    10**400,
    "",
    "5",
    "soon",
    [],
    [[]],
    {},
    {"default": None},
    {"default": {}},
]


@pytest.mark.parametrize("field", Report.model_fields)
def test_any_values_are_a_report_or_none(tmp_path: Path, field: str) -> None:
    """Whatever value a field has, neither reading the report nor judging its age is an error."""
    for value in _VALUES:
        (tmp_path / "service.json").write_text(json.dumps(_report().model_dump() | {field: value}))
        report = status_file.read(tmp_path / "service.json")
        assert report is None or isinstance(report.is_fresh(_BEAT), bool), value


def test_a_report_is_fresh_for_three_intervals_and_ten_seconds() -> None:
    """A service that has missed its beats for longer hangs or is dead; up to then the machine may only be busy."""
    report = _report(interval=5.0)
    assert report.is_fresh(_BEAT)
    assert report.is_fresh(_BEAT + 25.0)
    assert not report.is_fresh(_BEAT + 25.1)


@pytest.mark.parametrize("clock", [-1e6, 1e6], ids=["set back", "set forward"])
def test_a_report_of_this_start_of_the_machine_has_an_age_that_no_clock_changes(clock: float) -> None:
    """Whatever the wall clock says, a beat of a moment ago is fresh and one of minutes ago is not."""
    now = time.time()
    beat = _report(beat=now - clock, boot=boot_id(), monotonic=time.monotonic())
    assert beat.is_fresh(now)
    old = beat.model_copy(update={"monotonic": time.monotonic() - 100.0, "beat": now})
    assert not old.is_fresh(now)
    assert old.age(now) == pytest.approx(100.0, abs=5)


def test_a_report_from_the_future_is_not_fresh(tmp_path: Path) -> None:
    """Of another start of the machine only the wall clock tells: what it calls the future is no sign of life."""
    assert _report(beat=_BEAT + 5).is_fresh(_BEAT)
    assert not _report(beat=_BEAT + 60).is_fresh(_BEAT)
    assert not _report(beat=_BEAT + 60, boot="another", monotonic=time.monotonic()).is_fresh(_BEAT)
    _written_to(tmp_path).write(_report(beat=time.time() + 3600))
    assert health(tmp_path / "service.json") == 1


def test_a_report_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """Where the file cannot be written, why is returned, and the service goes on without it."""
    refused = _written_to(tmp_path / "nowhere").write(_report(beat=time.time()))
    assert refused == f"{tmp_path}/nowhere/service.json cannot be written: No such file or directory"
    (tmp_path / "service.json").mkdir()
    (tmp_path / "service.json" / "in the way").touch()
    assert _written_to(tmp_path).write(_report()) is not None
    assert (tmp_path / "service.json").is_dir()
