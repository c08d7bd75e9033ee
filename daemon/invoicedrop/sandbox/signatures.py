"""Download URLs, signed like those of an object store, so that none has to be stored."""

import hashlib
import hmac
import secrets
import time


class UrlSigner:
    """Signs paths of downloads, and knows its own signatures."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def sign(self, attachment_id: int, lifetime: float) -> str:
        """Return path and query of a download URL that is valid for `lifetime` seconds from now."""
        expires = int((time.time() + lifetime) * 1000)
        return f"/files/{attachment_id}?expires={expires}&signature={self._signature(attachment_id, expires)}"

    def signed(self, attachment_id: int, expires: int, signature: str) -> bool:
        """Whether a download URL was signed here and is still valid."""
        genuine = hmac.compare_digest(self._signature(attachment_id, expires), signature)
        return genuine and time.time() * 1000 < expires

    def _signature(self, attachment_id: int, expires: int) -> str:
        return hmac.new(self._key, f"{attachment_id}:{expires}".encode(), hashlib.sha256).hexdigest()
