"""The stand-in as one ASGI application: which endpoint answers which path, on which of the two origins."""

from typing import Final

from starlette.routing import Mount, Route, Router
from starlette.types import Receive, Scope, Send

from invoicedrop.sandbox import api, control, order_control
from invoicedrop.sandbox.exchange import Context, Endpoint

CONTROL_PREFIX: Final = "/sandbox"


class Application:
    """Answers everything on the API's port, and only downloads on `download_port` if that is another one."""

    def __init__(self, context: Context, api_port: int, download_port: int) -> None:
        unknown = Endpoint(context, "other", None)
        download = Route(api.DOWNLOAD_PATH, Endpoint(context, "download", api.download, public=True))
        routes = [
            Route(api.UPLOAD_PATH, Endpoint(context, "upload", api.upload, method="POST")),
            Route(api.ORDER_PATH, Endpoint(context, "order", api.one_order)),
            Route(api.ATTACHMENT_PATH, Endpoint(context, "attachment", api.attachment_url)),
            Route(api.ORDERS_PATH, Endpoint(context, "orders", api.list_orders)),
            Mount(CONTROL_PREFIX, routes=[*control.routes(context), *order_control.routes(context)]),
            control.page_route(context),
        ]
        if download_port == api_port:
            routes.append(download)
        self._api = Router(routes, redirect_slashes=False, default=unknown)
        self._downloads = Router([download], redirect_slashes=False, default=unknown)
        self._api_port = api_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        router = self._api if scope["server"][1] == self._api_port else self._downloads
        await router(scope, receive, send)
