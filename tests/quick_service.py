"""The real service with other waits, as a program: `python quick_service.py [--fault NAME] TIMING run [--once]`.

TIMING is a JSON object of `Timing`'s fields. Everything else is as in the command: settings from the environment, the
log on stderr, the exit code.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from invoicedrop import logs
from invoicedrop.service import service
from invoicedrop.settings.load import load
from invoicedrop.system import disk
from invoicedrop.timing import Timing

QUICK = Timing(look_again=0.02, first_retry=0.02, file_retry=0.02, first_probe=0.02, longest_probe=1.0)
"""Waits so short that a test need not wait for them."""
_HELD, _GATE = Path("at the move"), Path("gate")


def program(timing: Timing, *, fault: str | None = None) -> tuple[str, ...]:
    """Return the arguments for Python that run this program."""
    return (__file__, *(("--fault", fault) if fault else ()), json.dumps(dataclasses.asdict(timing)))


def hold_the_move() -> None:
    """Let a move hang, as on a dead network share, until something is written into the FIFO `gate`."""
    real = disk.move

    def held(source: Path, target: Path) -> None:
        _HELD.touch()
        _GATE.open().close()
        real(source, target)

    vars(disk)["move"] = held


def break_the_loop() -> None:
    """Let a move hang, and then the loop break by a mistake in this program."""
    hold_the_move()
    real = service.Heartbeat.beat

    def beat(*args: Any) -> None:
        if _HELD.exists():
            raise RuntimeError("a mistake in this program")
        real(*args)

    vars(service)["Heartbeat"] = type("Heartbeat", (service.Heartbeat,), {"beat": beat})


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
    sys.exit(service.Service(settings, timing=Timing(**arguments.timing)).run(once=arguments.once))


if __name__ == "__main__":
    main()
