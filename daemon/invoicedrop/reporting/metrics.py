"""The service in numbers, as Prometheus reads them (https://prometheus.io/docs/practices/naming/).

All is told by what the service reports and by what lies in its folders; nothing is counted here. Labels have few
values: inboxes, reasons, HTTP statuses, kinds of trouble.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from invoicedrop import __version__
from invoicedrop.pipeline.job import CHECK_BOUNDS
from invoicedrop.reporting.troubles import TroubleKind, is_at_work
from invoicedrop.reporting.watch import Picture

_PREFIX: Final = "invoicedrop_"


class Metrics(Collector):
    """What a scrape collects; `picture` returns how the service is now."""

    def __init__(self, picture: Callable[[], Picture], inboxes: Sequence[str]) -> None:
        self._picture = picture
        self._inboxes = inboxes

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the moment."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        picture = self._picture()
        yield from _of_the_service(picture, self._inboxes)
        yield from _of_the_report(picture)
        yield from _of_the_folders(picture)


def _gauge(name: str, documentation: str, values: Mapping[str, float | None]) -> Metric:
    """Return a gauge by inbox; what is not known is left out."""
    family = GaugeMetricFamily(_PREFIX + name, documentation, labels=["inbox"])
    for inbox, value in values.items():
        if value is not None:
            family.add_metric([inbox], value)
    return family


def _plain(name: str, documentation: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, documentation)
    if value is not None:
        family.add_metric([], value)
    return family


def _of_the_service(picture: Picture, inboxes: Sequence[str]) -> Iterator[Metric]:
    report = picture.daemon.report
    build = GaugeMetricFamily(
        f"{_PREFIX}build_info", "Always 1; the version that runs, else the one that tells this.", labels=["version"]
    )
    build.add_metric([__version__ if report is None else report.version], 1)
    yield build
    up = report is not None and picture.daemon.is_fresh and picture.daemon.running is not False
    yield _plain("up", "1 while the service runs and goes round, else 0.", up)
    yield _plain(
        "at_work", "1 while it can send invoices from every inbox, else 0.", up and is_at_work([*picture.troubles])
    )
    yield _plain(
        "beat_age_seconds",
        "How old the service's last sign of life is.",
        None if report is None else report.age(picture.now),
    )
    yield _plain(
        "start_time_seconds", "When the service began, since the epoch.", None if report is None else report.began
    )
    trouble = GaugeMetricFamily(
        f"{_PREFIX}trouble",
        "1 for each kind of trouble of an inbox that there is now, else 0; of the whole service the inbox is empty.",
        labels=["kind", "inbox"],
    )
    there = {(found.kind, found.inbox or "") for found in picture.troubles}
    for kind in TroubleKind:
        for inbox in ("", *inboxes):
            trouble.add_metric([kind, inbox], (kind, inbox) in there)
    yield trouble


def _of_the_report(picture: Picture) -> Iterator[Metric]:
    report = picture.daemon.report
    inboxes = {} if report is None else report.inboxes
    fresh = inboxes if picture.daemon.is_fresh else {}
    yield _gauge(
        "paused",
        "1 while nobody can upload (the API, the token), else 0.",
        {name: inbox.paused is not None for name, inbox in fresh.items()},
    )
    yield _gauge(
        "unavailable",
        "1 while folders, disk, ledger or PDF check cannot be used, else 0.",
        {name: inbox.unavailable is not None for name, inbox in fresh.items()},
    )
    yield _gauge(
        "request_rate_limit",
        "Requests a second that are allowed now, lowered after refusals; 0 is no limit.",
        {name: inbox.rate for name, inbox in fresh.items()},
    )
    yield _counter(
        "accepted",
        "Invoices that Channable accepted, since the start.",
        {(name,): inbox.accepted for name, inbox in inboxes.items()},
    )
    yield _counter(
        "duplicates",
        "Invoices that were there already, since the start.",
        {(name,): inbox.duplicates for name, inbox in inboxes.items()},
    )
    yield _counter(
        "failed",
        "Invoices that went to the failed folder, by reason, since the start.",
        {(name, reason): count for name, inbox in inboxes.items() for reason, count in inbox.failures.items()},
        "reason",
    )
    yield _counter(
        "requests",
        'Requests to the API, by the status of the answer ("none": no answer), since the start.',
        {(name, status): count for name, inbox in inboxes.items() for status, count in inbox.answers.items()},
        "status",
    )
    checks = HistogramMetricFamily(
        f"{_PREFIX}check_seconds", "How long the check of a PDF took, since the start.", labels=["inbox"]
    )
    for name, inbox in inboxes.items():
        if len(inbox.checks) == len(CHECK_BOUNDS) + 1:
            bounds = [*map(str, CHECK_BOUNDS), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(inbox.checks)), strict=True))
            checks.add_metric([name], buckets, inbox.check_seconds)
    yield checks


def _counter(name: str, documentation: str, counts: Mapping[tuple[str, ...], int], label: str | None = None) -> Metric:
    labels = ["inbox", *([label] if label else [])]
    family = CounterMetricFamily(_PREFIX + name, documentation, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _of_the_folders(picture: Picture) -> Iterator[Metric]:
    overview = picture.overview
    inboxes = [] if overview is None else overview.inboxes
    yield _gauge(
        "waiting",
        "Invoices in the drop folder.",
        {inbox.name: None if inbox.trouble is not None and not inbox.waiting else inbox.waiting for inbox in inboxes},
    )
    yield _gauge(
        "oldest_waiting_seconds",
        "For how long the oldest invoice waits, but for those that are to wait for their order; 0 if none does.",
        {inbox.name: 0 if inbox.oldest is None else max(0.0, picture.now - inbox.oldest) for inbox in inboxes},
    )
    yield _gauge(
        "in_doubt",
        "Waiting invoices of which it is not known whether Channable has them.",
        {inbox.name: inbox.in_doubt for inbox in inboxes},
    )
    yield _gauge(
        "in_failed_folder",
        "Invoices that lie in the failed folder now.",
        {inbox.name: inbox.failed for inbox in inboxes},
    )
    yield _gauge(
        "questioned",
        "Accepted invoices whose orders report trouble, of the last 30 days.",
        {
            inbox.name: sum(file.inbox == inbox.name for file in overview.questioned) if overview else 0
            for inbox in inboxes
        },
    )
    yield _gauge(
        "token_first_seen_timestamp_seconds",
        "When the API token was first seen here, since the epoch.",
        {inbox.name: inbox.token_since for inbox in inboxes},
    )
    yield _gauge(
        "last_accepted_timestamp_seconds",
        "When Channable last accepted an invoice, since the epoch.",
        {inbox.name: _last_accepted(inbox.name, picture) for inbox in inboxes},
    )


def _last_accepted(inbox: str, picture: Picture) -> float | None:
    """Return when the last invoice was accepted: in this life of the service, or as the ledger says."""
    report = picture.daemon.report
    moments = [file.when for file in (picture.overview.sent if picture.overview else []) if file.inbox == inbox]
    if report is not None and inbox in report.inboxes:
        moments.append(report.inboxes[inbox].last_accepted or 0.0)
    return max(filter(None, moments), default=None)
