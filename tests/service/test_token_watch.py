from pathlib import Path

import pytest

from invoicedrop.errors import ConfigError
from invoicedrop.service.token_watch import TokenWatch
from invoicedrop.settings.token import fingerprint, is_of, read_token_file


class Requests:
    """What requests have for a token: read when it is needed, and kept."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.token: str | None = None
        self.watch = TokenWatch(file, self.read, lambda: self.token, interval=0.0)

    def read(self) -> str:
        """Read the file."""
        return read_token_file(self.file)


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    """Have requests with a first token in its file."""
    (tmp_path / "token").write_text("first\n")
    return Requests(tmp_path / "token")


def test_a_new_token_is_new_once_requests_have_another(requests: Requests) -> None:
    """Before the first request nothing is in use; then another content is new, and the same again is not."""
    assert not requests.watch.has_new()
    requests.token = "first"
    assert not requests.watch.has_new()
    requests.file.write_text("second\n")
    assert requests.watch.has_new()
    requests.token = "second"
    assert not requests.watch.has_new()
    replaced = requests.file.with_name("other")
    replaced.write_text("third\n")
    replaced.rename(requests.file)
    assert requests.watch.has_new()


@pytest.mark.parametrize("content", ["", "two\nlines\n", None], ids=["empty", "lines", "gone"])
def test_what_is_no_token_changes_nothing(requests: Requests, content: str | None) -> None:
    """A file in the middle of being written, or gone for a moment, leaves the token that requests have."""
    requests.token = "first"
    if content is None:
        requests.file.unlink()
    else:
        requests.file.write_text(content)
    assert not requests.watch.has_new()
    with pytest.raises(ConfigError):
        requests.read()
    requests.file.write_text("second\n")
    assert requests.watch.has_new()


def test_a_token_that_becomes_readable_is_noticed(requests: Requests) -> None:
    """A new file that may not be read, and then may, looks the same: it is read again until it has been."""
    requests.token = "first"
    may_read = False

    def read() -> str:
        if not may_read:
            raise ConfigError(["may not be read"])
        return requests.read()

    watch = TokenWatch(requests.file, read, lambda: requests.token, interval=0.0)
    requests.file.write_text("second\n")
    assert not watch.has_new()
    may_read = True
    assert watch.has_new()


def test_a_mark_tells_tokens_apart_and_nothing_else(requests: Requests) -> None:
    """A fingerprint is the token's in use, else the file's; it fits no other token, and is another one each start."""
    mark = requests.watch.mark()
    assert mark is not None
    assert is_of(mark, "first")
    assert not is_of(mark, "second")
    assert "first" not in mark
    requests.token = "second"
    assert is_of(requests.watch.mark() or "", "second")
    assert fingerprint("first") != fingerprint("first")
    requests.token = None
    requests.file.unlink()
    assert requests.watch.mark() is None


@pytest.mark.parametrize("mark", ["", ":", "salt", "salt:", f"{'s' * 65}:00", "\udce9:\udce9"])
def test_a_mark_without_sense_is_nobody_s(mark: str) -> None:
    """What another version or a broken file says is no error."""
    assert not is_of(mark, "first")


def test_without_a_file_there_is_nothing_to_watch() -> None:
    """A token that stands in the settings does not change while the service runs."""
    watch = TokenWatch(None, lambda: "first", lambda: "other", interval=0.0)
    assert not watch.has_new()
    assert is_of(watch.mark() or "", "other")
