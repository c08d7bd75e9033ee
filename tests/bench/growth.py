"""What a longer backlog costs: memory and time for each file; what an idle daemon costs; what the rate limit costs."""

import shutil
import time
from typing import Any, Final

import paper
from bench_setup import Bench, Loopback
from process_tree import MemoryWatch, cpu_seconds, exact_cpu_seconds, wake_ups

_MB: Final = 1_000_000


def waiting(bench: Bench, count: int, *, warm: int, until: int) -> dict[str, float]:
    """Work on `count` waiting files until so many are done; the cost of each is that after the first `warm` ones."""
    kinds = bench.invoices(min(count, 1000))
    with bench.merchant() as merchant, Loopback() as api:
        merchant.stock(kinds, count)
        run = merchant.start(api)
        with MemoryWatch(run.pid) as memory:
            merchant.wait_for(run, warm, pause=0.02)
            first, at, cpu = merchant.filed(), time.monotonic(), cpu_seconds(run.pid)
            merchant.wait_for(run, until, pause=0.1)
            last, seconds, cpu = merchant.filed(), time.monotonic() - at, cpu_seconds(run.pid) - cpu
        merchant.stop(run)
        repeated = api.report()["repeated"]
        assert repeated == 0, f"{repeated} were sent twice"
    peaks = memory.peaks
    return {
        "files": last - first,
        "seconds_per_1000": seconds / (last - first) * 1000,
        "cpu_per_1000": cpu / (last - first) * 1000,
        "resident_mb": peaks.resident / _MB,
        "proportional_mb": peaks.proportional / _MB,
    }


def backlogs(bench: Bench, *, counts: tuple[int, ...], most_done: int) -> dict[str, Any]:
    """Measure longer and longer backlogs, each up to `most_done` files done."""
    result: dict[str, Any] = {}
    for count in counts:
        until = min(count, most_done)
        found = [waiting(bench, count, warm=min(300, until // 4), until=until) for _ in range(_rounds(bench, count))]
        result[str(count)] = {name: min(one[name] for one in found) for name in found[0]}
    return result


def _rounds(bench: Bench, count: int) -> int:
    return bench.rounds if count <= 2000 else 1


def large_invoice(bench: Bench, *, count: int) -> dict[str, float]:
    """Say what one invoice of 10 MB adds to the memory of a daemon that has worked on small ones."""
    body = paper.large()
    with bench.merchant() as merchant, Loopback() as api:
        merchant.stock(bench.invoices(count))
        run = merchant.start(api)
        with MemoryWatch(run.pid) as memory:
            merchant.wait_for(run, count)
            before = memory.peaks
            beside = merchant.home / "large.pdf"
            beside.write_bytes(body)
            beside.rename(merchant.drop / f"{count + 1}.pdf")
            merchant.wait_for(run, count + 1)
            after = memory.peaks
        merchant.stop(run)
    return {
        "bytes": len(body),
        "added_resident_mb": (after.resident - before.resident) / _MB,
        "added_proportional_mb": (after.proportional - before.proportional) / _MB,
    }


def idle(bench: Bench, *, processed: int, seconds: float) -> dict[str, float]:
    """Watch an idle daemon with many files in its processed folder: share of a core, times it woke up."""
    with bench.merchant() as merchant, Loopback() as api:
        merchant.stock(bench.invoices(min(processed, 1000)), processed, folder=merchant.processed)
        run = merchant.start(api)
        run.wait_for("inbox.watching")
        # One invoice, so that all is loaded and connected that ever will be; its connection may grow cold.
        shutil.copy(bench.invoices(1)[0], merchant.drop / f"{processed + 1}.pdf")
        merchant.wait_for(run, processed + 1, pause=0.2)
        time.sleep(6.0)
        cpu, wakes = exact_cpu_seconds(run.pid), wake_ups(run.pid)
        time.sleep(seconds)
        cpu, wakes = exact_cpu_seconds(run.pid) - cpu, wake_ups(run.pid) - wakes
        merchant.stop(run)
    return {"percent_of_core": cpu / seconds * 100, "wake_ups": wakes, "seconds": seconds}


def rate_limited(bench: Bench, *, count: int, rate: float, burst: int) -> dict[str, float]:
    """Send more than the bucket holds: the time from the first upload to the last beside the shortest possible one."""
    with bench.merchant() as merchant, Loopback(rate=rate, burst=burst) as api:
        merchant.stock(bench.invoices(min(count, 1000)), count)
        run = merchant.start(api, requests_per_second=rate, burst=burst)
        merchant.wait_for(run, count, pause=0.1)
        merchant.stop(run)
        report = api.report()
        merchant.require_all_filed(count, report)
    sent = report["first_bytes"].values()
    seconds = max(sent) - min(sent)
    ideal = (count - burst) / rate
    return {"files": count, "rate": rate, "seconds": seconds, "of_ideal": seconds / ideal, "refused": report["refused"]}
