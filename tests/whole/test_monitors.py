"""What monitors see of a real service: metrics, health, signs of life."""

import json
import os
import socket
from pathlib import Path

import pytest

from merchant import Merchant, running
from monitors import PROGRAM, get, monitored, samples, wait_for_sample
from ports import free_port
from waiting import wait_until
from web_sink import web_sink


def test_what_became_of_invoices_is_counted(merchant: Merchant) -> None:
    """Accepted, failed by reason, requests by status, checks and the last success are there, and parse."""
    for name in ("1.pdf", "2.pdf", "no order.pdf", "77777.pdf"):
        merchant.drop_pdf(name)
    with monitored(merchant) as (daemon, url):
        daemon.wait_for("invoice.failed", 2)
        daemon.wait_for("invoice.processed", 2)
        found = wait_for_sample(url, "accepted_total", ("default",), 2)
        wait_for_sample(url, "in_failed_folder", ("default",), 2)
        found = wait_for_sample(url, "waiting", ("default",), 0)
        assert found["failed_total", ("default", "name_without_order")] == 1
        assert found["failed_total", ("default", "order_not_found")] == 1
        assert found["requests_total", ("default", "202")] == 2
        assert found["check_seconds_count", ("default",)] == 3
        assert found["check_seconds_bucket", ("default", "+Inf")] == 3
        assert found["last_accepted_timestamp_seconds", ("default",)] > found["start_time_seconds", ()] - 60
        assert found["token_first_seen_timestamp_seconds", ("default",)] > 0
        assert (found["up", ()], found["at_work", ()], found["waiting", ("default",)]) == (1, 1, 0)
        assert get(f"{url}/health") == (200, "healthy\n")
        assert get(f"{url}/nowhere")[0] == 404


def test_an_outage_is_a_number_and_a_503(merchant: Merchant) -> None:
    """While the API is away the inbox is paused, its trouble has a kind, and probes get the cause."""
    merchant.sandbox.faults.add("status", status=503, count=100_000)
    merchant.drop_pdf("1.pdf")
    with monitored(merchant) as (_, url):
        found = wait_for_sample(url, "trouble", ("default", "outage"), 1)
        assert found["paused", ("default",)] == 1
        assert found["at_work", ()] == 0
        assert found["oldest_waiting_seconds", ("default",)] >= 0
        status, words = get(f"{url}/health")
        assert (status, words.partition(" (")[0]) == (503, "inbox default is paused: the API is out of service")
        merchant.sandbox.faults.clear()
        wait_for_sample(url, "at_work", (), 1)


def test_a_port_that_is_taken_stops_nothing(merchant: Merchant) -> None:
    """An address in use is told in the log and in health; invoices go, and it is served when the address is free."""
    merchant.drop_pdf("1.pdf")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(merchant, program=PROGRAM, metrics_address=f"127.0.0.1:{port}") as daemon:
            daemon.wait_for("notify.failed")
            daemon.wait_for("invoice.processed")
            words = f"healthy, but metrics: 127.0.0.1:{port} cannot be used: Address already in use\n"
            wait_until(lambda: merchant.run("health").stdout == words, what="a beat that tells of it")
            taken.close()
            wait_until(lambda: get(f"http://127.0.0.1:{port}/health")[0] == 200, what="it is served")
            assert daemon.stop() == 0
    assert len(daemon.events("notify.failed")) == 1


def test_a_textfile_is_whole_and_for_everybody(merchant: Merchant) -> None:
    """`metrics` prints what a scrape would give, also of a service that does not run; a file is replaced at once."""
    merchant.drop_pdf("1.pdf")
    printed = merchant.run("metrics")
    assert printed.returncode == 0, printed.stderr
    found = samples(printed.stdout)
    assert (found["up", ()], found["trouble", ("", "stopped")], found["waiting", ("default",)]) == (0, 1, 1)
    file = merchant.home / "invoicedrop.prom"
    file.write_text("old")
    umask = os.umask(0o077)
    try:
        assert merchant.run("metrics", "--textfile", str(file)).returncode == 0
    finally:
        os.umask(umask)
    assert samples(file.read_text()).keys() == found.keys()
    assert file.stat().st_mode & 0o777 == 0o644
    refused = merchant.run("metrics", "--textfile", "/nowhere/x.prom")
    assert (refused.returncode, refused.stderr) == (1, "/nowhere/x.prom cannot be written: No such file or directory\n")


def test_signs_of_life_go_out_and_fail_with_the_cause(merchant: Merchant) -> None:
    """While all is well the address is asked for; in an outage /fail gets the cause; then it is well again."""
    with (
        web_sink() as sink,
        running(merchant, program=PROGRAM, heartbeat_url=f"http://{sink.place}/geheim/?x=1") as daemon,
    ):
        wait_until(lambda: "GET /geheim/?x=1" in sink.paths(), what="a sign of life")
        merchant.sandbox.faults.add("status", status=503, count=100_000)
        merchant.drop_pdf("1.pdf")
        wait_until(lambda: "POST /geheim/fail?x=1" in sink.paths(), what="that it fails")
        (failed, *_) = [request for request in sink.requests if request.method == "POST"]
        assert failed.body.startswith("inbox default is paused: the API is out of service (HTTP 503")
        merchant.sandbox.faults.clear()
        daemon.wait_for("invoice.processed")
        count = len(sink.requests)
        wait_until(lambda: "GET /geheim/?x=1" in sink.paths()[count + 1 :], what="a sign of life again")
        assert daemon.stop() == 0
        assert "geheim" not in daemon.errors()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(500, id="error"),
        pytest.param(302, id="elsewhere", marks=pytest.mark.soak),
        pytest.param(None, id="none", marks=pytest.mark.soak),
    ],
)
def test_a_heartbeat_that_does_not_arrive_is_told_once(merchant: Merchant, answer: int | None) -> None:
    """Nobody there, an error, a redirect: one line in the log, a word in health, and invoices go all the same."""
    merchant.drop_pdf("1.pdf")
    with web_sink() as sink:
        sink.status = answer or 200
        place = sink.place if answer else f"127.0.0.1:{free_port()}"
        with running(merchant, program=PROGRAM, heartbeat_url=f"http://{place}/geheim") as daemon:
            daemon.wait_for("notify.failed")
            daemon.wait_for("invoice.processed")
            wait_until(lambda: "healthy, but heartbeat: " in merchant.run("health").stdout, what="a beat that tells it")
            assert len(daemon.events("notify.failed")) == 1
            assert "geheim" not in daemon.errors()


def test_a_heartbeat_that_hangs_holds_up_nothing(merchant: Merchant) -> None:
    """A server that never answers delays neither an invoice nor the stop."""
    with web_sink() as sink:
        sink.delay = 30
        with running(merchant, program=PROGRAM, heartbeat_url=f"http://{sink.place}/x") as daemon:
            wait_until(lambda: sink.requests, what="a sign of life")
            merchant.drop_pdf("1.pdf")
            daemon.wait_for("invoice.processed")
            daemon.signal(15)
            assert daemon.wait(10) == 0
        sink.delay = 0


def test_notify_test_says_what_came_of_each_address(merchant: Merchant) -> None:
    """Each address gets a message; what did not get out is told with its cause, exit 1; no address is shown."""
    with web_sink() as sink:
        notify = f"json://{sink.place}/geheim json://127.0.0.1:{free_port()}/geheim nonsense://geheim"
        done = merchant.run("notify", "--test", notify=notify)
        assert (done.returncode, len(sink.requests)) == (1, 1)
        first, second, third = done.stdout.splitlines()
        assert first == "address 1 (json): sent"
        assert second.startswith("address 2 (json): not sent: ")
        assert third == "address 3 (nonsense): not sent: Apprise does not understand this address"
        assert "geheim" not in done.stdout + done.stderr
        file = merchant.home / "notify"
        file.write_text(f"# the administrator\n\njson://{sink.place}/a\n")
        file.chmod(0o600)
        done = merchant.run("notify", "--test", notify_file=str(file))
        assert (done.returncode, done.stdout) == (0, "address 1 (json): sent\n")
        assert json.loads(sink.bodies()[1])["title"].endswith("a test")
    assert merchant.run("notify", "--test").returncode == 2
    assert merchant.run("notify", notify="json://127.0.0.1/").returncode == 2


def test_what_is_not_installed_is_said_at_the_start(merchant: Merchant, tmp_path: Path) -> None:
    """Without Apprise or Prometheus's client, the settings that need them are exit 78 and name the extra."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "gone = {'apprise', 'prometheus_client'}\n"
        "importlib.util.find_spec = lambda name, package=None: None if name in gone else find(name, package)\n"
    )
    merchant.environment["PYTHONPATH"] = str(tmp_path)
    for changes, extra in (
        ({"notify": "json://x.example"}, "notify"),
        ({"metrics_address": "127.0.0.1:9709"}, "metrics"),
    ):
        done = merchant.run("run", forked=False, **changes)
        assert done.returncode == 78
        assert f"pip install 'invoicedrop[{extra}]'" in done.stderr
