"""What happens to a ledger's file: each is done to a folder whose ledger a killed process has left, log included."""

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

LEDGER = "ledger.sqlite3"
_KILLED = """
    import os, shutil, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from entries import invoice
    from invoicedrop.ledger.backup import back_up
    from invoicedrop.ledger.ledger import Ledger
    state = Path(sys.argv[1])
    ledger = Ledger.open(state)
    ledger.identity()
    for number in range(40):
        ledger.uploading(invoice(number))
    ledger._database._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(ledger.path, state.parent / "plain copy")
    back_up(ledger.path, state.parent / "backup")
    for number in range(40, 100):
        ledger.uploading(invoice(number))
    ledger._database._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(100, 160):
        ledger.uploading(invoice(number))
    os._exit(9)
"""


def killed_ledger(state: Path) -> None:
    """Make a ledger of 160 entries, 60 of them in its log alone; beside the folder are two copies with 40."""
    state.mkdir()
    program = [sys.executable, "-c", textwrap.dedent(_KILLED), str(state), str(Path(__file__).parent)]
    done = subprocess.run(program, check=False)
    assert done.returncode == 9
    assert (state / f"{LEDGER}-wal").stat().st_size > 100_000


def without_log(state: Path) -> Path:
    """Write the log's content into the file, as the last one that closes it does; return the file."""
    path = state / LEDGER
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _cut(size: int) -> Callable[[Path], None]:
    return lambda state: os.truncate(without_log(state), size)


def _overwrite(content: bytes, at: int) -> Callable[[Path], None]:
    def overwrite(state: Path) -> None:
        with without_log(state).open("r+b") as file:
            file.seek(at)
            file.write(content)

    return overwrite


def _other_programs(state: Path) -> None:
    without_log(state).unlink()
    with closing(sqlite3.connect(state / LEDGER)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")


def _without_table(state: Path) -> None:
    with closing(sqlite3.connect(without_log(state))) as connection:
        connection.execute("DROP TABLE invoices")


def _a_copy_with_a_foreign_log(state: Path) -> None:
    shutil.copy(state.parent / "plain copy", state / LEDGER)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut to a byte": _cut(1),
    "cut in the header": _cut(60),
    "cut to a page": _cut(4096),
    "cut in the middle": _cut(50_000),
    "zeros": lambda state: without_log(state).write_bytes(bytes(40_960)) and None,
    "another file": lambda state: without_log(state).write_bytes(b"%PDF-1.7 " * 5000) and None,
    "header": _overwrite(b"\0" * 16, 0),
    "schema": _overwrite(b"\xff" * 3000, 1000),
    "another program's database": _other_programs,
    "table missing": _without_table,
}
"""What the ledger cannot be opened after, by name."""
HIDDEN_DAMAGE: dict[str, Callable[[Path], None]] = {
    "hole": _overwrite(bytes(40_960), 40_960),
    "copy with a foreign log": _a_copy_with_a_foreign_log,
}
"""What may be found only where it is read."""
