"""How soon: from a finished drop to the first byte of its upload, and from the start to the first upload."""

import statistics
import time
from pathlib import Path
from typing import Any, Final

from bench_setup import Bench, Loopback, Merchant, Run

_SETTLE: Final = 1.0
"""Seconds for which the daemon waits, by default (`settle_seconds`), for a writer that comes back after a close."""


def drops(bench: Bench, *, count: int, spacing: float) -> dict[str, Any]:
    """Drop files one by one, written in place (then from just before the close) and moved in (just before that).

    What the daemon waits for a writer that comes back is not counted.
    """
    result: dict[str, Any] = {"drops": count, "spacing": spacing}
    for way in ("close", "rename"):
        best: dict[str, float] | None = None
        for _ in range(bench.rounds):
            found = _drops(bench, way, count, spacing)
            best = found if best is None or found["p50"] < best["p50"] else best
        result[way] = best
    return result


def _drops(bench: Bench, way: str, count: int, spacing: float) -> dict[str, float]:
    invoices = bench.invoices(count)
    with bench.merchant() as merchant, Loopback() as api:
        run = merchant.start(api)
        run.wait_for("inbox.watching")
        done: dict[str, float] = {}
        due = time.monotonic() + 1.0
        for number, invoice in enumerate(invoices, 1):
            body = invoice.read_bytes()
            time.sleep(max(0.0, due - time.monotonic()))
            due += spacing
            done[str(number)] = _drop(merchant, f"{number}.pdf", body, way)
        merchant.wait_for(run, count)
        merchant.stop(run)
        report = api.report()
        merchant.require_all_filed(count, report)
    waits = _SETTLE if way == "close" else 0.0
    taken = sorted((report["first_bytes"][order] - at - waits) * 1000 for order, at in done.items())
    return {
        "p50": statistics.median(taken),
        "p95": taken[round(len(taken) * 0.95) - 1],
        "longest": taken[-1],
        "shortest": taken[0],
    }


def _drop(merchant: Merchant, name: str, body: bytes, way: str) -> float:
    if way == "close":
        with (merchant.drop / name).open("wb", buffering=0) as stream:
            stream.write(body)
            return time.monotonic()
    beside = merchant.home / name
    beside.write_bytes(body)
    at = time.monotonic()
    beside.rename(merchant.drop / name)
    return at


def start(bench: Bench, *, waiting: int) -> dict[str, float]:
    """Start the daemon while files wait: seconds from the start of the process to the first byte of an upload."""
    taken = []
    for _ in range(max(3, bench.rounds)):
        with bench.merchant() as merchant, Loopback() as api:
            merchant.stock(bench.invoices(waiting))
            run = merchant.start(api)
            merchant.wait_for(run, waiting)
            merchant.stop(run)
            taken.append(min(api.report()["first_bytes"].values()) - run.started)
    return {"best": min(taken), "median": statistics.median(taken)}


def help_text(bench: Bench, program: Path) -> dict[str, float]:
    """Ask for help: seconds until it is there."""
    taken = []
    for _ in range(max(7, bench.rounds)):
        with bench.merchant() as merchant:
            run = Run((str(program), "--help"), merchant.home / "help.txt")
            taken.append(run.end().seconds)
    return {"best": min(taken), "median": statistics.median(taken)}
