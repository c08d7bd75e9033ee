"""The real daemon and the real `check` behind a company's proxy, and before one that is of no use."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from certificates import Authority
from connect_proxy import ConnectProxy, forward, running
from merchant import Merchant
from merchant import running as daemon_running
from quick_service import QUICK, program

API = "https://api.example"
_QUICK = program(QUICK, checked=False)


class TlsFront:
    """Stands before the sandbox and speaks TLS for it."""

    def __init__(self, merchant: Merchant) -> None:
        self.stopped = threading.Event()
        self._port = int(merchant.sandbox.url.rpartition(":")[2])

    def serve(self, client: socket.socket) -> None:
        """Forward a connection."""
        with socket.create_connection(("127.0.0.1", self._port)) as upstream:
            forward(client, upstream)


@pytest.fixture
def set_variables(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the environment variables of the daemon and the commands."""
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def test_invoices_go_by_the_proxy(merchant: Merchant, tmp_path: Path, set_variables: Callable[..., None]) -> None:
    """With a login and a CA of the company's own, an invoice is uploaded once, and `check` names the proxy."""
    authority = Authority(tmp_path)
    with running(TlsFront(merchant), authority.server_context("api.example")) as api_port:
        proxy = ConnectProxy(api_port, login="anna:geheim")
        with running(proxy) as port:
            set_variables(HTTPS_PROXY=f"http://anna:geheim@127.0.0.1:{port}", SSL_CERT_FILE=str(authority.ca_file))
            merchant.drop_pdf("8.pdf")
            assert merchant.run("run", "--once", program=_QUICK, api_url=API).returncode == 0
            checked = merchant.run("check", api_url=API)
    assert [upload.order_id for upload in merchant.sandbox.uploads()] == [8]
    assert set(proxy.asked) == {"CONNECT api.example:443 HTTP/1.1"}
    assert f"by the proxy http://127.0.0.1:{port} (HTTPS_PROXY)" in " ".join(checked.stdout.split())
    assert "geheim" not in checked.stdout


def test_a_proxys_trouble_is_told_as_that(merchant: Merchant, set_variables: Callable[..., None]) -> None:
    """Down, or without a login: the log and `check` name the proxy, not the API; the invoice waits."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = unused.getsockname()[1]
        with running(ConnectProxy(1, login="anna:geheim")) as closed:
            for port, login, words in (
                (down, "", "cannot be reached: Connection refused"),
                (closed, "", "wants a login"),
                (closed, "anna:verraten@", "does not take our login"),
            ):
                set_variables(HTTPS_PROXY=f"http://{login}127.0.0.1:{port}")
                merchant.drop_pdf("8.pdf")
                with daemon_running(merchant, program=_QUICK, api_url=API) as daemon:
                    daemon.wait_for("api.paused")
                    log, detail = daemon.errors(), str(daemon.events("api.paused")[0]["detail"])
                assert detail.startswith(f"the proxy http://127.0.0.1:{port} (HTTPS_PROXY) {words}")
                done = merchant.run("check", api_url=API)
                assert done.returncode == 1
                shown = " ".join(done.stdout.split())
                assert words in shown
                assert "gives no answer" not in shown
                assert "verraten" not in log + done.stdout
    assert [path.name for path in merchant.drop.glob("*.pdf")] == ["8.pdf"]


def test_a_ca_that_is_not_trusted_is_told_with_its_remedy(
    merchant: Merchant, tmp_path: Path, set_variables: Callable[..., None]
) -> None:
    """Behind a proxy that looks into TLS the log names the host, the cause, and SSL_CERT_FILE."""
    with (
        running(TlsFront(merchant), Authority(tmp_path).server_context("api.example")) as api_port,
        running(ConnectProxy(api_port)) as port,
    ):
        set_variables(HTTPS_PROXY=f"127.0.0.1:{port}")
        merchant.drop_pdf("8.pdf")
        with daemon_running(merchant, program=_QUICK, api_url=API) as daemon:
            daemon.wait_for("api.paused")
            detail = str(daemon.events("api.paused")[0]["detail"])
        shown = " ".join(merchant.run("check", api_url=API).stdout.split())
    for words in ("the certificate of api.example is not trusted: ", "SSL_CERT_FILE"):
        assert words in detail
        assert words in shown
    assert merchant.sandbox.uploads() == []
