"""`invoicedrop sandbox`: what it prints, and what it takes."""

import re

import httpx

from merchant import Merchant, running
from waiting import wait_until


def test_the_sandbox_has_samples_and_says_which(merchant: Merchant) -> None:
    """With --samples each order of another kind is printed and there, and the options for later words are in force."""
    options = ("--port", "0", "--orders", "3", "--samples", "--list-lag", "7", "--visible-after", "5")
    event = '{"status": "warning", "after": 3}'
    with running(merchant, "sandbox", *options, "--event", event) as daemon:
        wait_until(lambda: "9053" in daemon.output(), what=f"the list of samples; {daemon.errors()}")
        assert re.search(r"^  9003  cancelled$", daemon.output(), re.MULTILINE)
        (url,) = set(re.findall(r"http://127\.0\.0\.1:\d+", daemon.output()))
        control = f"{url}/sandbox"
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{control}/samples/9003_credit-note.pdf").content.startswith(b"%PDF")
            shown = client.get(f"{control}/options").json()
            assert (shown["list_lag"], shown["visible_after"]) == (7, 5)
            assert (client.get(f"{control}/events").json()[-1]["status"]) == "warning"
        assert daemon.stop() == 0


def test_an_impossible_event_is_a_configuration_error(merchant: Merchant) -> None:
    """An event of an unknown level ends the command with 78 and a sentence."""
    done = merchant.run("sandbox", "--port", "0", "--event", '{"status": "debug"}')
    assert done.returncode == 78
    assert "info, warning, error" in done.stderr
