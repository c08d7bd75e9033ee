"""The real service with other waits, as a program.

`python quick_service.py [--fault NAME] [--unchecked] TIMING run [--once]`.
TIMING is a JSON object of `Timing`'s fields. Everything else is as in the command: settings from the environment, the
log on stderr, the exit code.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from invoicedrop import logs
from invoicedrop.cli import watch_of
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.reporting.page.writer import status_pages
from invoicedrop.service.heartbeat import Heartbeat
from invoicedrop.service.service import Service, new_validator
from invoicedrop.settings.load import load
from invoicedrop.system.mover import DEFAULT_MOVER, Mover
from invoicedrop.timing import Timing
from unchecked import EveryPdfIsGood

QUICK = Timing(doubt_looks=(0.02,), first_retry=0.02, file_retry=0.02, first_probe=0.02, longest_probe=1.0)
"""Waits so short that a test need not wait for them."""
_HELD, _GATE = Path("at the move"), Path("gate")


def program(timing: Timing, *, fault: str | None = None, checked: bool = True) -> tuple[str, ...]:
    """Return the arguments for Python that run this program; not `checked`: every PDF counts as good."""
    faults = ("--fault", fault) if fault else ()
    return (__file__, *faults, *(() if checked else ("--unchecked",)), json.dumps(dataclasses.asdict(timing)))


UNCHECKED = program(Timing(), checked=False)
"""The service with the command's own waits, for tests that are not about the PDF check: no process starts for it."""


class HeldMover(Mover):
    """Lets the first move hang, as on a dead network share, until something is written into the FIFO `gate`."""

    def move(self, source: Path, target: Path) -> None:
        """Move a file, late."""
        if not _HELD.exists():
            _HELD.touch()
            _GATE.open().close()
        super().move(source, target)


def hang_after_the_intent() -> Mover:
    """Let the thread that has written its intent hang, before the first byte leaves, as `HeldMover` does at a move."""
    real = Ledger.uploading

    def uploading(*args: Any, **more: Any) -> Any:
        entry = real(*args, **more)
        _HELD.touch()
        _GATE.open().close()
        return entry

    Ledger.uploading = uploading  # type: ignore[method-assign]
    return DEFAULT_MOVER


def break_the_loop() -> Mover:
    """Let a move hang, and then the loop break by a mistake in this program."""
    real = Heartbeat.beat

    def beat(*args: Any) -> None:
        if _HELD.exists():
            raise RuntimeError("a mistake in this program")
        real(*args)

    Heartbeat.beat = beat  # type: ignore[method-assign]
    return HeldMover()


def die_at_a_look(*, after: bool) -> Mover:
    """End the process right before, or right after, what a look at an order found is on disk."""
    real = Ledger.looked_at

    def looked_at(*args: Any, **more: Any) -> Any:
        if after:
            real(*args, **more)
        os._exit(137)

    Ledger.looked_at = looked_at  # type: ignore[method-assign]
    return DEFAULT_MOVER


FAULTS: dict[str, Callable[[], Mover]] = {
    "intent": hang_after_the_intent,
    "move": HeldMover,
    "loop": break_the_loop,
    "look-before": partial(die_at_a_look, after=False),
    "look-after": partial(die_at_a_look, after=True),
}


def main() -> NoReturn:
    """Run the service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--unchecked", action="store_true")
    parser.add_argument("timing", type=json.loads)
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    mover = FAULTS[arguments.fault]() if arguments.fault else DEFAULT_MOVER
    settings = load()
    logs.configure(settings.log_format, settings.log_level)
    validator = EveryPdfIsGood if arguments.unchecked else new_validator
    timing = Timing(**arguments.timing)
    companions = [watch_of(settings, timing), *status_pages(settings, timing=timing)]
    service = Service(settings, timing=timing, mover=mover, validator=validator, companions=companions)
    sys.exit(service.run(once=arguments.once))


if __name__ == "__main__":
    main()
