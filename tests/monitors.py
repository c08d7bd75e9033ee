"""A service with metrics, as Prometheus and a probe see it."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError

from prometheus_client.parser import text_string_to_metric_families

from invoicedrop.timing import Timing
from merchant import Daemon, Merchant, running
from ports import free_port
from quick_service import program
from waiting import wait_until

QUICK = Timing(
    first_probe=0.05,
    longest_probe=0.2,
    report_look=0.05,
    overview_look=0.1,
    ping=0.3,
    outage_shown=0.1,
    server_retry=0.2,
)
PROGRAM = program(QUICK, checked=False)
Samples = dict[tuple[str, tuple[str, ...]], float]


def get(url: str) -> tuple[int, str]:
    """Return status and text that are answered; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except URLError:
        return 0, ""


def samples(text: str) -> Samples:
    """Return what Prometheus's own parser reads: values by name and labels, these in order of their names."""
    return {
        (
            sample.name.removeprefix("invoicedrop_"),
            tuple(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def monitored(merchant: Merchant, **changes: str) -> Iterator[tuple[Daemon, str]]:
    """Run the service with metrics while the block runs; yield it and where they are."""
    port = free_port()
    with running(merchant, program=PROGRAM, metrics_address=f"127.0.0.1:{port}", **changes) as daemon:
        yield daemon, f"http://127.0.0.1:{port}"


def wait_for_sample(url: str, name: str, labels: tuple[str, ...], value: float) -> Samples:
    """Wait until a scrape has this value; return the whole scrape."""
    found: Samples = {}

    def there() -> bool:
        found.clear()
        found.update(samples(get(f"{url}/metrics")[1]))
        return found.get((name, labels)) == value

    wait_until(there, what=f"{name}{labels} = {value}")
    return found
