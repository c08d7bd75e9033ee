import errno
import os
from pathlib import Path

import pytest

from invoicedrop.reporting.memory import Memory
from invoicedrop.reporting.token_ages import TokenAges, token_since
from system_calls import refusing

NOW = 1_800_000_000.0


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A memory is read as it was written, by its owner alone, and leaves nothing else behind."""
    memory = Memory(tmp_path / "m.json")
    memory.write({"a": 1})
    assert Memory(tmp_path / "m.json").read() == {"a": 1}
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("m.json", 0o600)]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"NaN", None])
def test_what_makes_no_sense_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    """Whatever lies there, or does not, a memory begins anew: never an error."""
    if content is None:
        os.mkfifo(tmp_path / "m.json")
    else:
        (tmp_path / "m.json").write_bytes(content)
    assert Memory(tmp_path / "m.json").read() == {}


def test_a_token_is_known_by_a_fingerprint_from_when_it_was_first_seen(tmp_path: Path) -> None:
    """Its first sight stays, over restarts; another one has its own; neither stands in the file."""
    TokenAges(tmp_path).seen(["geheim-1"], NOW)
    TokenAges(tmp_path).seen(["geheim-1", "geheim-2"], NOW + 5)
    assert [token_since(tmp_path, token) for token in ("geheim-1", "geheim-2", "other")] == [NOW, NOW + 5, None]
    assert b"geheim" not in (tmp_path / "tokens.json").read_bytes()


def test_a_clock_that_was_wrong_makes_no_token_old_or_young(tmp_path: Path) -> None:
    """A first sight before the clock was set is forgotten, one that is still to come is now."""
    ages = TokenAges(tmp_path)
    ages.seen(["a"], 100.0)
    ages.seen(["a"], NOW)
    assert token_since(tmp_path, "a") == NOW
    ages.seen(["a"], NOW - 1000)
    assert token_since(tmp_path, "a") == NOW - 1000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_the_file_is_written_into(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no new file can be written, the old one takes the new content, as long as it has the room."""
    memory = Memory(tmp_path / "m.json")
    memory.write({"a": 1})
    monkeypatch.setattr("os.fsync", refusing(number))
    memory.write({"a": 2})
    assert memory.read() == {"a": 2}
    memory.write({"a": "long" * 4096})
    assert memory.read() == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]
