"""The Channable API: its endpoints, its rate limit, every failure as one of our errors."""

from invoicedrop.optional_imports import without

with without("httpx._main"):
    import httpx as _httpx  # noqa: F401 - before the modules of this package import it
