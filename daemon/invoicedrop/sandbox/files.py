"""Where the bytes of uploads are kept: in memory, or in a folder that outlives the sandbox.

The folder holds `<project>_<order>_<id>.pdf` files and `uploads.jsonl`, which has a line for each of them. The PDF is
written before its line, so a sandbox that is killed in between has not accepted the upload.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from invoicedrop.sandbox.attachments import StoredAttachment, utc_text

INDEX_NAME: Final = "uploads.jsonl"


class FileKeeper:
    """Keeps the bytes of attachments and assigns their ids; `folder` None keeps them in memory.

    Not thread-safe: the store calls it with its own lock held.

    Raises:
        OSError: the folder cannot be made, read or written.

    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._last_id = 0
        # Keyed by content: a load test that sends one PDF to thousands of orders keeps it in memory once.
        self._contents: dict[str, bytes] = {}
        self._gone: set[int] = set()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def next_id(self) -> int:
        """Return the id for the next attachment; no id is used twice, even across restarts."""
        self._last_id += 1
        return self._last_id

    def restored(self) -> Iterator[StoredAttachment]:
        """Yield the attachments of earlier runs from the folder, oldest first."""
        index = None if self._folder is None else self._folder / INDEX_NAME
        if index is None or not index.exists():
            return
        text = index.read_bytes()
        complete = text[: text.rfind(b"\n") + 1]
        if complete != text:
            # The last line was cut off by a kill: the next one must not be appended to it.
            index.write_bytes(complete)
        for line in complete.splitlines():
            attachment = _from_index(json.loads(line))
            self._last_id = max(self._last_id, attachment.id)
            yield attachment

    def keep(self, attachment: StoredAttachment, pdf: bytes) -> None:
        """Keep an attachment's bytes."""
        if self._folder is None:
            self._contents.setdefault(attachment.sha256, pdf)
            return
        self._path(self._folder, attachment).write_bytes(pdf)
        with (self._folder / INDEX_NAME).open("ab") as index:
            index.write(json.dumps(_to_index(attachment)).encode() + b"\n")

    def read(self, attachment: StoredAttachment) -> bytes | None:
        """Return an attachment's bytes, or None if they are gone."""
        if attachment.id in self._gone:
            return None
        if self._folder is None:
            return self._contents.get(attachment.sha256)
        try:
            return self._path(self._folder, attachment).read_bytes()
        except FileNotFoundError:
            return None

    def forget(self, attachment: StoredAttachment) -> None:
        """Drop an attachment's bytes."""
        self._gone.add(attachment.id)
        if self._folder is not None:
            self._path(self._folder, attachment).unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, attachment: StoredAttachment) -> Path:
        return folder / f"{attachment.project_id}_{attachment.order_id}_{attachment.id}.pdf"


def _to_index(attachment: StoredAttachment) -> dict[str, Any]:
    return {
        "id": attachment.id,
        "order_id": attachment.order_id,
        "project_id": attachment.project_id,
        "title": attachment.title,
        "attachment_type": attachment.attachment_type,
        "created": utc_text(attachment.created),
        "size": attachment.size,
        "sha256": attachment.sha256,
        "item_ids": list(attachment.item_ids),
        "posted": attachment.posted,
        "reencoded": attachment.reencoded,
    }


def _from_index(line: dict[str, Any]) -> StoredAttachment:
    fields = line | {"created": datetime.fromisoformat(line["created"]), "item_ids": tuple(line["item_ids"])}
    return StoredAttachment(**fields)
