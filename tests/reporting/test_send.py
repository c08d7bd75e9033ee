import pytest

from invoicedrop.reporting.notify.send import masked


@pytest.mark.parametrize(
    ("address", "words", "shown"),
    [
        (
            "mailto://anna:geh%40im@smtp.shop.example",
            "anna / geh@im at smtp.shop.example",
            "[secret] / [secret] at smtp.shop.example",
        ),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#c", "T1JJ3T3L2 A1BRTD4JD", "[secret] [secret]"),
        (
            "json://hooks.example/abc/def?key=value1",
            "POST http://hooks.example/abc/def?key=value1",
            "POST http://hooks.example/[secret]/[secret]?key=[secret]",
        ),
        ("json://127.0.0.1/", "no connection to 127.0.0.1", "no connection to 127.0.0.1"),
        ("tgram://123456:AAbb/99887766", "bot 123456:AAbb says no to 99887766", "bot [secret] says no to [secret]"),
        (
            "mailto://anna:gehe#i?m/nis@smtp.shop.example",
            "gehe#i?m/nis of anna (gehe, nis) is refused by smtp.shop.example",
            "[secret] of [secret] ([secret], [secret]) is refused by smtp.shop.example",
        ),
        (
            "mailtos://anna:a@b:c=deep@smtp.shop.example?to=boss@shop.example&smtp=relay.example",
            "SMTP: anna a@b:c=deep deep boss@shop.example at smtp.shop.example, relay.example",
            "SMTP: [secret] [secret] [secret] [secret] at smtp.shop.example, [secret]",
        ),
    ],
    ids=["mail", "slack", "web hook", "nothing secret", "telegram", "raw # ? and /", "raw @ : and ="],
)
def test_words_of_a_failure_show_a_server_at_most(address: str, words: str, shown: str) -> None:
    """Of an address only a server's name is left: no user, password, token or path."""
    assert masked(words, address) == shown
