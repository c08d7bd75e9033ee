"""A caller of the sandbox, which shares no code with the client."""

import base64
from collections.abc import Callable
from typing import Any

import httpx

from invoicedrop.sandbox import Running
from invoicedrop.sandbox.paper import invoice_pdf


class Caller:
    """Talks to a sandbox as its user would, with the right token unless another is given."""

    def __init__(self, sandbox: Running, client: httpx.Client) -> None:
        self.sandbox = sandbox
        self.client = client

    def path(self, version: int, rest: str = "", *, company: Any = None, project: Any = None) -> str:
        """Return the URL of a resource in a project."""
        company = self.sandbox.company_id if company is None else company
        project = self.sandbox.project_id if project is None else project
        return f"{self.sandbox.url}/v{version}/companies/{company}/projects/{project}/orders{rest}"

    def ask(self, method: str, url: str, *, token: str | None = "", **values: Any) -> httpx.Response:
        """Send a request; token None sends none."""
        headers = values.pop("headers", {})
        if token is not None:
            headers = {"Authorization": f"Bearer {token or self.sandbox.token}"} | headers
        return self.client.request(method, url, headers=headers, **values)

    def upload(self, order: Any = 7, pdf: bytes | None = None, **values: Any) -> httpx.Response:
        """Upload an invoice."""
        body = {
            "file": base64.b64encode(invoice_pdf("7") if pdf is None else pdf).decode(),
            "attachment_type": "INVOICE",
        } | values.pop("fields", {})
        project = {name: values.pop(name) for name in ("company", "project") if name in values}
        return self.ask("POST", self.path(1, f"/{order}/attachments", **project), json=body, **values)

    def order(self, order: Any = 7, **values: Any) -> httpx.Response:
        """Read one order."""
        return self.ask("GET", self.path(2, f"/{order}"), **values)

    def orders(self, **query: Any) -> httpx.Response:
        """Read the list of orders."""
        return self.ask("GET", self.path(2), params=query)

    def order_ids(self, **query: Any) -> list[int]:
        """Read the ids of a list of orders."""
        return [order["id"] for order in self.orders(**query).json()["orders"]]

    def download_url(self, attachment: int = 1, order: int = 7) -> httpx.Response:
        """Request the download URL of an attachment."""
        return self.ask("GET", self.path(1, f"/{order}/attachments/{attachment}"))

    def events(self, order: Any = 7) -> list[tuple[str, str]]:
        """Read the status and message of each event of an order."""
        return [(event["status"], event["message"]) for event in self.order(order).json()["events"]]

    def attachments(self, order: Any = 7) -> list[dict[str, Any]]:
        """Read the attachments of an order."""
        attachments: list[dict[str, Any]] = self.order(order).json()["order"]["attachments"]
        return attachments

    def listed(self, order: int = 7, **query: Any) -> dict[str, Any]:
        """Read one order from the list of orders."""
        (found,) = [item for item in self.orders(**query).json()["orders"] if item["id"] == order]
        return dict(found)

    def control(self, method: str, path: str, value: Any = None) -> httpx.Response:
        """Use the sandbox's own control."""
        return self.ask(method, f"{self.sandbox.url}/sandbox/{path}", token=None, json=value)


Started = Callable[..., Caller]
"""Starts a sandbox with these options, and returns its caller."""
