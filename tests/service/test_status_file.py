import json
import os
import time
from pathlib import Path

import pytest

from invoicedrop.commands.health import health
from invoicedrop.service import status_file
from invoicedrop.service.status_file import InboxReport, Report
from invoicedrop.system.boot import boot_id

_BEAT = 1_700_000_000.0


def _report(**changes: object) -> Report:
    return Report.model_validate(
        {"pid": 4711, "version": "1.2.3", "beat": _BEAT, "interval": 5.0, "inboxes": {}} | changes
    )


def test_the_fields_are_those_that_other_versions_read(tmp_path: Path) -> None:
    """The file has these fields and no others: a program of another version may read it."""
    inbox = InboxReport(waiting=2, mode="events", paused="the API is out of service", next_probe=_BEAT + 4)
    inbox.put_off["5.pdf"] = (_BEAT + 60, "HTTP 500")
    report = _report(inboxes={"default": inbox})
    status_file.write(tmp_path, report)
    assert json.loads((tmp_path / "service.json").read_bytes()) == {
        "pid": 4711,
        "version": "1.2.3",
        "beat": _BEAT,
        "interval": 5.0,
        "inboxes": {
            "default": {
                "waiting": 2,
                "mode": "events",
                "unavailable": None,
                "unavailable_cause": None,
                "unavailable_since": None,
                "paused": "the API is out of service",
                "paused_cause": None,
                "paused_since": None,
                "next_probe": _BEAT + 4,
                "slow": None,
                "put_off": {"5.pdf": [_BEAT + 60, "HTTP 500"]},
            }
        },
        "boot": "",
        "monotonic": None,
        "reporting": {},
    }
    assert status_file.read(tmp_path) == report
    assert [path.name for path in tmp_path.iterdir()] == ["service.json"]


def test_a_report_of_another_version_is_read(tmp_path: Path) -> None:
    """A newer service may report more, an older one had no `put_off`: both are understood."""
    inbox = {"waiting": 3, "mode": "scans", "unavailable": None, "paused": None, "next_probe": None, "new": [1]}
    report = {"pid": 1, "version": "9", "beat": _BEAT, "interval": 5.0, "inboxes": {"default": inbox}, "also new": {}}
    (tmp_path / "service.json").write_text(json.dumps(report))
    assert status_file.read(tmp_path) == Report(
        pid=1, version="9", beat=_BEAT, interval=5.0, inboxes={"default": InboxReport(waiting=3)}
    )


def test_words_that_are_no_text_are_made_readable(tmp_path: Path) -> None:
    """A detail that quotes a file name in broken bytes is reported, escaped, and harms neither writer nor reader."""
    broken = os.fsdecode(b"\xff.pdf")
    inbox = InboxReport(unavailable=f"{broken} is in the way", put_off={broken: (1.0, broken)})
    status_file.write(tmp_path, _report(inboxes={"default": inbox}))
    report = status_file.read(tmp_path)
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
    assert status_file.read(tmp_path) is None


def test_what_is_no_file_is_no_report(tmp_path: Path) -> None:
    """A folder, a FIFO without a writer, a link to itself in the file's place: no report, and nothing hangs.

    What cannot be read is not taken for what was never written: its error says why.
    """
    path = tmp_path / "service.json"
    assert status_file.read(tmp_path / "nowhere") is None
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        status_file.read(tmp_path)
    path.rmdir()
    os.mkfifo(path)
    assert status_file.read(tmp_path) is None
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        status_file.read(tmp_path)


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
        report = status_file.read(tmp_path)
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
    status_file.write(tmp_path, _report(beat=time.time() + 3600))
    assert health(tmp_path) == 1


def test_a_report_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """Where the file cannot be written, the service goes on without it."""
    status_file.write(tmp_path / "nowhere", _report(beat=time.time()))
    (tmp_path / "service.json").mkdir()
    (tmp_path / "service.json" / "in the way").touch()
    status_file.write(tmp_path, _report())
    assert (tmp_path / "service.json").is_dir()
