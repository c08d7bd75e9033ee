"""Proxy and certificate variables: what they mean, and that nothing that cannot work gets past the settings."""

import os
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certificates import Authority
from invoicedrop.channable.proxies import for_httpcore
from invoicedrop.settings.environment import read_network
from merchant import Merchant
from networks import network_of

API = "https://api.channable.com"


def problems(**variables: str) -> list[str]:
    """Return what is wrong with the variables."""
    found: list[str] = []
    read_network(variables, found)
    return list(dict.fromkeys(found))


def proxy_of(url: str = API, **variables: str) -> str | None:
    """Return the proxy that requests to `url` go by, with its variable."""
    proxy = network_of(**variables).proxy_for(url)
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128 (HTTPS_PROXY)"),
        ({"https_proxy": "http://proxy:3128/"}, "http://proxy:3128 (https_proxy)"),
        ({"HTTPS_PROXY": "proxy.example"}, "http://proxy.example:80 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "HTTPS://Proxy.example."}, "https://proxy.example.:443 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": " http://10.0.0.1:3128 "}, "http://10.0.0.1:3128 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://anna:s%20x@proxy_1:3128"}, "http://proxy_1:3128 (HTTPS_PROXY)"),
        ({"ALL_PROXY": "http://all:1"}, "http://all:1 (ALL_PROXY)"),
        ({"all_proxy": "http://all:1"}, "http://all:1 (all_proxy)"),
        ({"HTTPS_PROXY": "http://own:1", "ALL_PROXY": "http://all:1"}, "http://own:1 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "", "ALL_PROXY": "http://all:1"}, "http://all:1 (ALL_PROXY)"),
        ({"HTTPS_PROXY": "http://up:1", "https_proxy": "http://low:1"}, "http://low:1 (https_proxy)"),
        ({"HTTPS_PROXY": "http://up:1", "https_proxy": " "}, "http://up:1 (HTTPS_PROXY)"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        # Not used, so it cannot fail: desktops set it beside the others.
        ({"HTTPS_PROXY": "p:1", "HTTP_PROXY": "p:1", "ALL_PROXY": "socks://p:1"}, "http://p:1 (HTTPS_PROXY)"),
    ],
)
def test_which_proxy_is_used(variables: dict[str, str], expected: str | None) -> None:
    """A scheme's own variable comes before ALL_PROXY, lower case before upper, and an empty one is none."""
    assert proxy_of(**variables) == expected


@pytest.mark.parametrize(
    ("exempt", "url", "direct"),
    [
        ("*", API, True),
        ("api.channable.com", API, True),
        ("API.channable.COM.", "https://api.channable.com.", True),
        ("channable.com", API, True),
        (".channable.com", API, True),
        ("*.channable.com", API, True),
        (".channable.com", "https://channable.com", True),
        ("nnable.com", API, False),
        ("x.api.channable.com", API, False),
        ("api.channable.com:443", API, True),
        ("api.channable.com:8443", API, False),
        (".channable.com:8443", f"{API}:8443/v1", True),
        ("other.example, ,\tchannable.com", API, True),
        ("other.example channable.com", API, True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.1/8", "https://10.1.2.3:8443", True),
        ("10.0.0.0/8", "https://10.example", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("10.1.2.3:444", "https://10.1.2.3", False),
        ("0.1.2.3", "https://10.1.2.3", False),
        ("fd00::/8", "https://[fd00::1]", True),
        ("fd00::1", "https://[fd00:0::1]", True),
        ("[fd00::1]", "https://[fd00::1]", True),
        ("[fd00::1]:443", "https://[fd00::1]", True),
        ("[fd00::1]:444", "https://[fd00::1]", False),
        ("fd00::/8", "https://[fe00::1]", False),
        ("fd00::/8", "https://10.1.2.3", False),
    ],
)
def test_which_hosts_are_reached_without_a_proxy(exempt: str, url: str, *, direct: bool) -> None:
    """NO_PROXY has names with all below them, addresses, networks, and each of them with a port, in either case."""
    for variable in ("NO_PROXY", "no_proxy"):
        proxy = network_of(HTTPS_PROXY="proxy:3128", **{variable: exempt}).proxy_for(url)
        assert (proxy is None) is direct


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "127.1", "localhost", "LOCALHOST", "localhost.", "x.localhost", "[::1]"]
)
def test_this_machine_is_reached_without_a_proxy(host: str) -> None:
    """No proxy can reach our own loopback, however it is written."""
    network = network_of(ALL_PROXY="proxy:3128")
    assert network.proxy_for(f"http://{host}:8077") is None
    assert network.proxy_for("http://192.168.1.1:8077") is not None


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://proxy:1080", "socks5:// is no kind of proxy that is supported"),
        ("socks5h://anna:geheim@proxy:1080", "socks5h:// is no kind of proxy that is supported"),
        ("ftp://proxy", "ftp:// is no kind of proxy"),
        ("://proxy", "is no kind of proxy"),
        ('"http://anna:geheim@proxy:3128"', "has quotes"),
        ("'proxy:3128'", "has quotes"),
        ("http://", "is no proxy's address"),
        ("http://:3128", "is no proxy's address"),
        ("http://anna:geheim@", "is no proxy's address"),
        ("proxy geheim", "is no proxy's address"),
        ("http://pro\nxy:3128", "is no proxy's address"),
        ("http://prox\u00fc:3128", "is no proxy's address"),
        ("http://a..b:3128", "is no proxy's address"),
        (f"http://{'a' * 64}:3128", "is no proxy's address"),
        ("http://-x-:3128", "is no proxy's address"),
        ("3128", "is no proxy's address"),
        ("http://10.0.0.300:3128", "is no proxy's address"),
        ("http://[fd00::1:3128", "is no proxy's address"),
        ("http://fd00::1", "is no proxy's address|its port"),
        ("http://proxy:0", "its port must be a number from 1 to 65535"),
        ("http://proxy:65536", "its port must be a number from 1 to 65535"),
        ("http://proxy:geheim", "its port must be a number from 1 to 65535"),
        ("http://proxy:-1", "its port must be a number"),
        ("http://wpad.example/wpad.dat", "is more than a proxy's address"),
        ("http://anna:ge#heim@proxy:3128", "is more than a proxy's address"),
        ("http://anna:ge?heim@proxy:3128", "is more than a proxy's address"),
        ("http://anna:ge/heim@proxy:3128", "is more than a proxy's address|its port"),
    ],
)
def test_what_is_no_proxy_is_a_problem(variable: str, value: str, words: str) -> None:
    """Each address that cannot work is one sentence, which names the variable and never quotes what may be secret."""
    (problem,) = problems(**{variable: value})
    assert problem.startswith(f"{variable}: ")
    assert any(word in problem for word in words.split("|")), problem
    assert not any(secret in problem for secret in ("geheim", "heim@", "anna"))


@pytest.mark.parametrize(
    "entry",
    ["10.0.0.0/33", "10.0.0.300", "x:0", "x:65536", "x:y", "fd00::/200", "[fd00::1", "[x]:1", "a b/c", "http://x"],
)
def test_what_no_proxy_cannot_mean_is_a_problem(entry: str) -> None:
    """An entry that would never match is told, by its number."""
    (problem, *_) = problems(NO_PROXY=f"one.example,{entry}")
    assert "NO_PROXY: entry " in problem
    assert "is not understood" in problem


@given(
    st.text(max_size=40) | st.from_regex(r"(https?://)?[ -~]{0,8}(:[ -~]{0,4}@)?[ -~]{0,12}(:\d{0,6})?", fullmatch=True)
)
def test_any_text_is_a_proxy_or_a_problem(text: str) -> None:
    """Whatever stands in a variable, it is judged without an error, and what is let through httpcore can take."""
    found: list[str] = []
    network = read_network({"HTTPS_PROXY": text, "NO_PROXY": text}, found)
    proxy = network.proxies.get("https")
    assert found or proxy is not None or not text.strip()
    network.proxy_for(API)
    if proxy is not None:
        assert for_httpcore(proxy).url.port == proxy.port


def test_config_shows_the_variables_without_the_password(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    """`config` shows what is obeyed and where it comes from; a password, and a user alone, is masked."""
    authority = Authority(merchant.home)
    for name, value in {
        "HTTPS_PROXY": "http://anna:ge%40heim@proxy:3128",
        "HTTP_PROXY": "http://geheim@proxy:3128",
        "NO_PROXY": ".example,10.0.0.0/8",
        "SSL_CERT_FILE": str(authority.ca_file),
        "COLUMNS": "300",
    }.items():
        monkeypatch.setenv(name, value)
    shown = merchant.run("config").stdout
    for words in (
        "http://anna:[secret]@proxy:3128",
        "http://[secret]@proxy:3128",
        ".example,10.0.0.0/8",
        "environment HTTPS_PROXY",
        str(authority.ca_file),
    ):
        assert words in shown
    assert "heim" not in shown


COMMANDS = [
    ("run", "--once"),
    ("check",),
    ("status",),
    ("orders",),
    ("verify", "--days", "1"),
    ("config",),
    ("demo",),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: str(arguments[0]))
def test_every_command_refuses_what_cannot_work(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Exit 78 with all problems at once, as for a setting, also where the API is on loopback."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://anna:geheim@proxy:1080")
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/33")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    done = merchant.run(*arguments)
    assert done.returncode == 78
    for words in ("HTTPS_PROXY: ", "NO_PROXY: entry 1", "SSL_CERT_FILE (/nowhere/ca.pem): does not exist"):
        assert words in done.stderr
    assert not any(words in done.stderr + done.stdout for words in ("Traceback", "geheim"))


def _certificate_files(folder: Path) -> dict[str, Path]:
    """Make files that are no certificates, and one that is; by what they are."""
    good = Authority(folder).ca_file
    files = {kind: folder / kind for kind in ("missing", "empty", "blank", "text", "damaged", "der", "folder", "fifo")}
    files["empty"].write_bytes(b"")
    files["blank"].write_bytes(b" \n")
    files["text"].write_text("not a certificate")
    pem = good.read_text()
    files["damaged"].write_text(pem + pem.replace("MII", "M!!", 1))
    files["der"].write_bytes(ssl.PEM_cert_to_DER_cert(pem))
    files["folder"].mkdir()
    os.mkfifo(files["fifo"])
    return files | {"good": good}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("blank", "is empty"),
        ("text", "no certificates in PEM form"),
        ("damaged", "no certificates in PEM form, or one that is damaged"),
        ("der", "no certificates in PEM form"),
        ("folder", "is a folder"),
        ("fifo", "is no regular file"),
    ],
)
def test_a_certificate_file_that_cannot_be_used_is_a_problem(tmp_path: Path, kind: str, words: str) -> None:
    """Each kind of file that holds no certificate is told as what it is."""
    path = _certificate_files(tmp_path)[kind]
    (problem,) = problems(SSL_CERT_FILE=str(path))
    assert problem.startswith(f"SSL_CERT_FILE ({path}): ")
    assert words in problem


def test_a_certificate_file_that_may_not_be_read_is_a_problem(tmp_path: Path) -> None:
    """Without the right to read it the file is told as that, and not as empty."""
    if os.geteuid() != 0:
        pytest.skip("needs another user to be")
    path = _certificate_files(tmp_path)["good"]
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        (problem,) = problems(SSL_CERT_FILE=str(path))
    finally:
        os.seteuid(0)
    assert "cannot be read (Permission denied)" in problem


def test_a_certificate_folder_is_judged(tmp_path: Path) -> None:
    """A folder needs a certificate under a name that OpenSSL looks for; of several folders one is enough."""
    good = _certificate_files(tmp_path)["good"].read_bytes()
    hashed = tmp_path / "hashed"
    for name in ("hashed", "unhashed", "void"):
        (tmp_path / name).mkdir()
    (tmp_path / "unhashed" / "ca.pem").write_bytes(good)
    (hashed / "0123abcd.0").write_text("no certificate")
    for name, words in {
        "nowhere": "does not exist",
        "void": "no certificate that can be read",
        "unhashed": "openssl rehash",
        "hashed": "no certificate that can be read",
        "text": "is no folder",
    }.items():
        (problem,) = problems(SSL_CERT_DIR=str(tmp_path / name))
        assert problem.startswith("SSL_CERT_DIR (")
        assert words in problem
    (hashed / "89abcdef.0").write_bytes(good)
    assert problems(SSL_CERT_DIR=f"{tmp_path}/nowhere:{hashed}") == []
    assert network_of(SSL_CERT_DIR=str(hashed)).ssl_context is not None


def test_an_unusable_key_log_is_a_problem() -> None:
    """Python's ssl obeys SSLKEYLOGFILE, and would fail with each connection."""
    (problem,) = problems(SSLKEYLOGFILE="/nowhere/keys")
    assert problem.startswith("SSLKEYLOGFILE (/nowhere/keys): cannot be written")


def test_empty_variables_are_none() -> None:
    """What is set but empty, as Compose does it, is as good as not set."""
    network = network_of(HTTPS_PROXY="", all_proxy="", NO_PROXY=" ", SSL_CERT_FILE="", SSL_CERT_DIR="")
    assert (network.proxy_for(API), network.ssl_context, network.variables) == (None, None, ())
