"""How many files a second, at what cost, beside the bare loop: a backlog that waits, and a burst that comes."""

import sys
import time
from pathlib import Path
from typing import Any, Final

from bench_setup import Bench, Loopback, Merchant, Run
from process_tree import MemoryWatch, cpu_seconds

_BARE_LOOP: Final = str(Path(__file__).with_name("bare_loop.py"))
_MB: Final = 1_000_000


def bare(bench: Bench, count: int, latency: float) -> dict[str, float]:
    """Send the files with the bare loop; the time is from the first byte sent to the last answer."""
    with bench.merchant() as merchant, Loopback(latency=latency, orders=count) as api:
        merchant.stock(bench.invoices(count))
        run = Run((sys.executable, _BARE_LOOP, api.url, str(merchant.drop)), merchant.home / "bare.log")
        merchant.runs.append(run)
        cost = run.end()
        report = api.report()
        assert report["uploads"] == count
        seconds = report["last_answer"] - min(report["first_bytes"].values())
    return _figures(count, seconds, cost.cpu)


def backlog(bench: Bench, count: int, latency: float) -> dict[str, float]:
    """Work off what waits, with `run --once`; the time is from the first byte sent to the last file filed."""
    with bench.merchant() as merchant, Loopback(latency=latency, orders=count) as api:
        merchant.stock(bench.invoices(count))
        run = merchant.start(api, "run", "--once")
        with MemoryWatch(run.pid) as memory:
            merchant.wait_for(run, count, pause=0.05)
            end = time.monotonic()
            cost = run.end()
        seconds = end - min(api.report()["first_bytes"].values())
        result = _result(merchant, api, count, seconds, cost.cpu, memory)
        return result | {"seconds_with_start": end - run.started}


def burst(bench: Bench, count: int, latency: float) -> dict[str, float]:
    """Move the files in one after another while the daemon runs; the time is from the first to the last file filed."""
    with bench.merchant() as merchant, Loopback(latency=latency, orders=count) as api:
        # Made beside the drop folder, so that each comes by a rename.
        merchant.stock(bench.invoices(count), folder=merchant.home / "beside")
        run = merchant.start(api)
        run.wait_for("inbox.watching")
        before = cpu_seconds(run.pid)
        with MemoryWatch(run.pid) as memory:
            begin = time.monotonic()
            for number in range(1, count + 1):
                (merchant.home / "beside" / f"{number}.pdf").rename(merchant.drop / f"{number}.pdf")
            merchant.wait_for(run, count, pause=0.05)
            end = time.monotonic()
            cpu = cpu_seconds(run.pid) - before
        merchant.stop(run)
        return _result(merchant, api, count, end - begin, cpu, memory)


def _result(
    merchant: Merchant, api: Loopback, count: int, seconds: float, cpu: float, memory: MemoryWatch
) -> dict[str, float]:
    merchant.require_all_filed(count, api.report())
    peaks = memory.peaks
    return _figures(count, seconds, cpu) | {
        "resident_mb": peaks.resident / _MB,
        "proportional_mb": peaks.proportional / _MB,
    }


def _figures(count: int, seconds: float, cpu: float) -> dict[str, float]:
    return {"files_per_second": count / seconds, "cpu_per_1000": cpu / count * 1000}


def measure(bench: Bench, kind: str, *, count: int, latency: float) -> dict[str, Any]:
    """Let the bare loop and the daemon take turns, several rounds; the ratio is that of the best of each."""
    ways = {"bare": bare, kind: {"backlog": backlog, "burst": burst}[kind]}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    bench.invoices(count)
    for _ in range(bench.rounds):
        for name, way in ways.items():
            runs[name].append(way(bench, count, latency))
    result: dict[str, Any] = {"files": count, "latency": latency, "rounds": runs}
    for name, found in runs.items():
        result[name] = {
            figure: (max if figure == "files_per_second" else min)(one[figure] for one in found) for figure in found[0]
        }
    mine, yardstick = result[kind], result["bare"]
    mine["of_bare"] = mine["files_per_second"] / yardstick["files_per_second"]
    result["of_bare_by_round"] = [
        round(one["files_per_second"] / beside["files_per_second"], 3)
        for one, beside in zip(runs[kind], runs["bare"], strict=True)
    ]
    return result
