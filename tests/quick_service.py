"""The real service with other waits, as a program: `python quick_service.py [--fault NAME] TIMING run [--once]`.

TIMING is a JSON object of `Timing`'s fields. Everything else is as in the command: settings from the environment, the
log on stderr, the exit code.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from invoicedrop import logs
from invoicedrop.service.heartbeat import Heartbeat
from invoicedrop.service.inbox_worker import InboxWorker
from invoicedrop.service.service import Service
from invoicedrop.settings.load import load
from invoicedrop.system import disk
from invoicedrop.timing import Timing

QUICK = Timing(look_again=0.02, first_retry=0.02, file_retry=0.02, first_probe=0.02, longest_probe=1.0)
"""Waits so short that a test need not wait for them."""
_HELD = Path("at the move")
_GATE = Path("gate")


def program(timing: Timing, *, fault: str | None = None) -> tuple[str, ...]:
    """Return the arguments for Python that run this program."""
    return (__file__, *(("--fault", fault) if fault else ()), json.dumps(dataclasses.asdict(timing)))


def hold_the_move() -> None:
    """Have a move hang, as on a dead network share, until something is written into the FIFO `gate`."""
    real = disk.move

    def move(source: Path, target: Path) -> None:
        _HELD.touch()
        _GATE.open().close()
        real(source, target)

    disk.move = move


def break_the_loop() -> None:
    """Have a move hang, and then the main loop fail by a fault of this program."""
    hold_the_move()
    real = Heartbeat.beat

    def beat(heartbeat: Heartbeat, workers: Sequence[InboxWorker]) -> None:
        if _HELD.exists():
            raise RuntimeError("a mistake in this program")
        real(heartbeat, workers)

    Heartbeat.beat = beat  # type: ignore[assignment,method-assign]


FAULTS: dict[str, Callable[[], None]] = {"move": hold_the_move, "loop": break_the_loop}


def main() -> NoReturn:
    """Run the service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("timing", type=json.loads)
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    if arguments.fault is not None:
        FAULTS[arguments.fault]()
    settings = load()
    logs.configure(settings.log_format, settings.log_level)
    sys.exit(Service(settings, timing=Timing(**arguments.timing)).run(once=arguments.once))


if __name__ == "__main__":
    main()
