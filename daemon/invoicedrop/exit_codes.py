"""The exit codes of the commands (outside contract; the numbers above 63 are those of sysexits.h)."""

from typing import Final

OK: Final = 0
"""Done; for `run`: stopped on request."""
FAILED: Final = 1
"""`run --once`: an invoice went to failed; `check`: a problem; `orders --overdue`: an invoice is owed for too
long; `verify`: a difference; `health`: not at work; `notify --test`: a message did not get out; `demo`: an invoice did
not end as it should."""
USAGE: Final = 2
"""Wrong usage."""
TRY_LATER: Final = 75
"""EX_TEMPFAIL: what was asked for cannot be done now; `run`: work is left, or another instance is at work;
`backup`: no copy can be written."""
CONFIG: Final = 78
"""EX_CONFIG: the settings are wrong, or the ledger is damaged: somebody has to act."""
