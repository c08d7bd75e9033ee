import pytest

from invoicedrop.commands.support import support
from invoicedrop.sandbox import CUSTOMER_SURNAME
from merchant import Merchant, running
from quick_service import UNCHECKED
from waiting import wait_until

_NAMES = ("5 Erika Mustermann.pdf", "999 Erika Mustermann.pdf", "Rechnung Mustermann.pdf", "Mustermann 7")


def test_the_report_has_everything_but_secrets_and_customers(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Versions, check, status and settings; no token, no proxy's password, no name of a file that has a person's."""
    (merchant.home / "token").write_text(merchant.sandbox.token)
    del merchant.environment["INVOICEDROP_API_TOKEN"]
    merchant.environment["INVOICEDROP_API_TOKEN_FILE"] = str(merchant.home / "token")
    merchant.sandbox.faults.add("status", "order", status=500, order_id=8)
    for name in (*_NAMES, "8 Mustermann.pdf"):
        merchant.drop_pdf(name)
    with running(merchant, program=UNCHECKED):
        wait_until((merchant.processed / _NAMES[0]).exists, what="an invoice is sent")
        wait_until(lambda: len(list(merchant.failed.glob("*.pdf"))) == 2, what="two invoices have failed")
        for name in ("https_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy-user:proxy-password@127.0.0.1:9")
        network = {"HTTPS_PROXY": "http://proxy-user:proxy-password@127.0.0.1:9"}
        merchant.environment |= network
        support(merchant.settings())
    report = capsys.readouterr().out
    for section in ("Versions", "Check", "Status", "Settings"):
        assert f"### {section}\n\n```\n" in report
    for said in ("Python 3.", "pypdf ", "drop_dir", "order_not_found: ", "today: 1 sent, ", "company_id", "[secret]"):
        assert said in report, said
    for secret in (merchant.sandbox.token, "proxy-password", "Mustermann", CUSTOMER_SURNAME):
        assert secret not in report, report
    assert "[file]" in report
