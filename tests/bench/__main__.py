"""How fast and how light the daemon is, beside a bare httpx loop on the same machine in the same minutes.

    python tests/bench [PART ...] [--rounds 3] [--files 2000] [--order-check off] [--invoices FOLDER] [--work FOLDER]
                       [--json FILE] [--full]

Parts (all but `long` without a name given): backlog burst latency start help idle memory large rate long.
`--full` takes the numbers of the targets where the default is a shorter version: the rate limit of 4/s with 1,000
invoices (4 minutes), 100,000 waiting files worked off for 20,000, five rounds. On a busy machine wall-clock figures
mean little: the table names the load; ratios are of runs that took turns, the best of each.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import growth
import latency
import table
import throughput
from bench_setup import Bench

_PARTS: Final = ("backlog", "burst", "latency", "start", "help", "idle", "memory", "large", "rate", "long")


def main() -> None:
    """Measure what was asked for; print a table, and write JSON."""
    options = _options()
    work = options.work or Path(tempfile.mkdtemp(prefix="invoicedrop-bench-", dir="/var/tmp"))
    bench = Bench(work, options.invoices, options.rounds, options.order_check)
    parts = options.part or [part for part in _PARTS if part != "long"]
    results: dict[str, Any] = {"machine": _machine(), "parts": {}}
    try:
        for part, measured in _measurements(bench, options).items():
            if part.partition(" ")[0] not in parts:
                continue
            before, began = os.getloadavg()[0], time.monotonic()
            print(f"{part} ...", file=sys.stderr, flush=True)
            found = measured()
            load = [round(before, 1), round(os.getloadavg()[0], 1)]
            results["parts"][part] = found | {"load": load, "took": round(time.monotonic() - began)}
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    finally:
        if options.work is None:
            shutil.rmtree(work)
    print(table.text(results))


def _measurements(bench: Bench, options: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    files, full = options.files, options.full

    def sent(kind: str, seconds: float) -> Callable[[], dict[str, Any]]:
        return lambda: throughput.measure(bench, kind, count=files, latency=seconds)

    program = Path(sys.executable).with_name("invoicedrop")
    return {
        "backlog": sent("backlog", 0.0),
        "backlog 50 ms": sent("backlog", 0.05),
        "burst": sent("burst", 0.0),
        "burst 50 ms": sent("burst", 0.05),
        "latency": lambda: latency.drops(bench, count=100, spacing=0.1),
        "start": lambda: latency.start(bench, waiting=20),
        "help": lambda: latency.help_text(bench, program),
        "idle": lambda: growth.idle(bench, processed=20_000, seconds=60.0),
        "memory": lambda: growth.backlogs(bench, counts=(100, 1000, 2000, 20_000), most_done=8000),
        "large": lambda: growth.large_invoice(bench, count=200),
        "rate": lambda: growth.rate_limited(bench, count=1000, rate=4.0 if full else 20.0, burst=200),
        "long": lambda: growth.backlogs(bench, counts=(1000, 100_000), most_done=20_000 if full else 8000),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="*", choices=_PARTS, help="what to measure (default: all but long)")
    parser.add_argument("--rounds", type=int, help="rounds; the best of each counts (3, with --full 5)")
    parser.add_argument("--files", type=int, default=2000, help="invoices in the backlog and the burst")
    parser.add_argument("--order-check", choices=("on", "off"), default="on", help="the daemon's setting")
    parser.add_argument("--invoices", type=Path, help="a folder with real invoices to use instead of made ones")
    parser.add_argument("--work", type=Path, help="a folder on a real disk, kept: invoices made there serve again")
    parser.add_argument("--json", type=Path, help="write everything there, after each part")
    parser.add_argument("--full", action="store_true", help="the long version of what is shortened by default")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.full else 3)
    return options


def _machine() -> dict[str, Any]:
    return {"python": platform.python_version(), "kernel": platform.release(), "cores": os.cpu_count()}


if __name__ == "__main__":
    main()
