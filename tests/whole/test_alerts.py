"""The alert rules and the dashboard for Prometheus and Grafana, held to what a real service in trouble says."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from invoicedrop.reporting.troubles import TroubleKind
from merchant import Merchant
from monitors import get, monitored, wait_for_sample
from mounts import tmpfs
from ports import free_port
from waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
ALERTS = PROJECT / "config/alerts.yml"
DASHBOARD = PROJECT / "config/dashboard.json"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
Change = tuple[str, str]


def _rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return [*shown, *(rule["expr"] for rule in _rules())]


def test_every_metric_that_is_named_is_told(merchant: Merchant) -> None:
    """Each metric of a rule or a panel is one that the service has; each label, and each kind, exists."""
    merchant.drop_pdf("no order.pdf")
    merchant.drop_pdf("1.pdf")
    with monitored(merchant) as (daemon, url):
        daemon.wait_for("invoice.failed")
        daemon.wait_for("invoice.processed")
        wait_for_sample(url, "failed_total", ("default", "name_without_order"), 1)
        wait_for_sample(url, "accepted_total", ("default",), 1)
        wait_for_sample(url, "in_failed_folder", ("default",), 1)
        text = get(f"{url}/metrics")[1]
    told = {
        sample.name: set(sample.labels) for family in text_string_to_metric_families(text) for sample in family.samples
    }
    for expression in _expressions():
        for name, labels in re.findall(r"\b(invoicedrop_\w+)(?:\{([^}]*)\})?", expression):
            assert name in told, expression
            used = set(re.findall(r"(\w+)=", labels)) - {"instance"}
            assert used <= told[name], expression
        for kinds in re.findall(r'kind=~?"([^"]*)"', expression):
            assert set(kinds.split("|")) <= {*TroubleKind}, expression
    assert all(name.startswith("invoicedrop_") for name in told)
    # Of what nobody looks at there is no number.
    used_names = " ".join(_expressions())
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {family for family in families if family not in used_names} == set()


def test_each_alert_says_what_to_do() -> None:
    """Each rule has a severity, words for it, and a runbook line; together they cover every kind that stops work."""
    for rule in _rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule
        assert {"summary", "description", "runbook"} == set(rule["annotations"]), rule
    text = ALERTS.read_text()
    stops = {kind for kind in TroubleKind if kind.stops_work} - {TroubleKind.STOPPED, TroubleKind.HANGS}
    assert {kind for kind in stops if not re.search(rf'kind=~?"[^"]*\b{kind}\b', text)} == set()


def test_the_dashboard_is_whole() -> None:
    """Each panel has an id and a place of its own, a title and a question."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24
    assert all(panel["title"] and panel["targets"] for panel in panels)


@needs_promtool
def test_the_rules_are_right_and_fire_when_they_should() -> None:
    """Prometheus's own tool finds no fault in the rules, and they stand their tests on made-up series."""
    for command in (("check", "rules", ALERTS), ("test", "rules", PROJECT / "tests/alerts_test.yml")):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# Real trouble


@contextmanager
def _outage(merchant: Merchant, start: Callable[..., Any]) -> Iterator[tuple[Any, str]]:
    merchant.sandbox.faults.add("status", status=503, count=100_000)
    with start() as (daemon, url):
        yield daemon, url


@contextmanager
def _expired(merchant: Merchant, start: Callable[..., Any]) -> Iterator[tuple[Any, str]]:  # noqa: ARG001 - as the others
    with start(api_token="expired") as (daemon, url):
        yield daemon, url


@contextmanager
def _share_gone(merchant: Merchant, start: Callable[..., Any]) -> Iterator[tuple[Any, str]]:
    with start() as (daemon, url):
        daemon.wait_for("inbox.watching")
        merchant.drop.rename(merchant.home / "away")
        yield daemon, url
    (merchant.home / "away").rename(merchant.drop)


@contextmanager
def _full_disk(merchant: Merchant, start: Callable[..., Any]) -> Iterator[tuple[Any, str]]:
    processed = merchant.home / "small"
    processed.mkdir()
    with tmpfs(processed, "size=64k"):
        with suppress(OSError), (processed / "filling").open("wb", buffering=0) as filling:
            while True:
                filling.write(bytes(4096))
        with start(processed_dir=str(processed)) as (daemon, url):
            yield daemon, url


TROUBLES = {
    "outage": (_outage, "outage", "InvoicedropPaused"),
    "token": (_expired, "token", "InvoicedropTokenRefused"),
    "share": (_share_gone, "folder", "InvoicedropFolderUnavailable"),
    "disk": (_full_disk, "disk", "InvoicedropDiskFull"),
}


@needs_promtool
@pytest.mark.parametrize("trouble", TROUBLES)
def test_real_trouble_fires_its_alert(merchant: Merchant, trouble: str) -> None:
    """What a service in trouble tells, as Prometheus reads it, fires the alert that is for it, and no other page."""
    make, kind, alert = TROUBLES[trouble]
    merchant.drop_pdf("1.pdf")
    with make(merchant, lambda **changes: monitored(merchant, **changes)) as (_, url):
        wait_for_sample(url, "trouble", ("default", kind), 1)
        text = get(f"{url}/metrics")[1]
    series = [
        {"series": f"{sample.name}{json.dumps(sample.labels)}", "values": f"{sample.value}x60"}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("invoicedrop_trouble", "invoicedrop_up", "invoicedrop_at_work"))
    ]
    for item in series:
        item["series"] = re.sub(r'"(\w+)": ', r"\1=", item["series"])
    pages = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing", severity="page"})',
        "eval_time": "30m",
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
    }
    test = {
        "rule_files": [str(ALERTS)],
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [pages]}],
    }
    file = merchant.home / "alerts_test.yml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_real_prometheus_raises_the_alert(merchant: Merchant, trouble: str) -> None:
    """A Prometheus that scrapes a real service in trouble raises the alert, and only that one, within seconds."""
    make, _, alert = TROUBLES[trouble]
    merchant.drop_pdf("1.pdf")
    rules = re.sub(r"(?m)^( +for: ).*$", r"\g<1>2s", ALERTS.read_text())
    (merchant.home / "alerts.yml").write_text(rules)
    with make(merchant, lambda **changes: monitored(merchant, **changes)) as (_, url):
        port = free_port()
        job = {"job_name": "invoicedrop", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [job],
        }
        (merchant.home / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            "prometheus",
            f"--config.file={merchant.home}/prometheus.yml",
            f"--storage.tsdb.path={merchant.home}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            firing: list[str] = []

            def fires() -> bool:
                status, said = get(f"http://127.0.0.1:{port}/api/v1/alerts")
                alerts = json.loads(said)["data"]["alerts"] if status == 200 else []
                firing[:] = sorted(each["labels"]["alertname"] for each in alerts if each["state"] == "firing")
                return alert in firing

            wait_until(fires, seconds=60, what=f"{alert} fires")
            print(trouble, firing)
            assert firing == [alert]
        finally:
            server.kill()
            server.wait()
