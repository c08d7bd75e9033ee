"""What `invoicedrop check` says of the ledger: whether it can be used, is whole, and is the one that was in use."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from invoicedrop.commands.check.finding import Finding, Level
from invoicedrop.errors import ConfigError, LedgerUnavailable
from invoicedrop.ledger.condition import Condition, condition_of, examine, make_ready
from invoicedrop.ledger.ledger import LEDGER_FILE, Ledger
from invoicedrop.ledger.trouble import damaged
from invoicedrop.reporting.existing_ledger import existing_ledger, ledger_file
from invoicedrop.service import lost_ledger
from invoicedrop.settings.settings import Settings

_SECONDS: Final = 30.0
"""How long the ledger is looked through; one of 500 MB takes 3 s of processor time, on a busy machine 14 s in all."""


def of_ledger(settings: Settings, opened: ExitStack) -> tuple[Ledger | None, list[Finding]]:
    """Return the ledger, where there is one that can be used, and what is to be said of it; `opened` closes it."""
    try:
        if settings.has_ledger_url:
            return _of_shared(settings, opened)
        # First, since it says who may.
        path = ledger_file(settings)
        before = condition_of(settings.state_dir / LEDGER_FILE)
        damage = _damage(path)
        if damage is not None and damage.level is Level.PROBLEM:
            return None, [damage]
        ledger = opened.enter_context(existing_ledger(settings))
        text = "none yet: it is made at the first start" if ledger is None else f"{ledger.name} can be used"
        findings = [Finding("ledger", "", Level.OK, text), *([damage] if damage else [])]
        return ledger, findings + _lost(settings, before, ledger)
    except (LedgerUnavailable, ConfigError) as error:
        return None, [ledger_problem(error)]


def _of_shared(settings: Settings, opened: ExitStack) -> tuple[Ledger | None, list[Finding]]:
    ledger = opened.enter_context(existing_ledger(settings))
    if ledger is None:
        return None, [Finding("ledger", "", Level.OK, "none yet: its tables are made at the first start")]
    findings = [Finding("ledger", "", Level.OK, f"{ledger.name} can be used")]
    if (shortcoming := ledger.shortcoming()) is not None:
        remedy = "set it to on in the server's postgresql.conf"
        findings = [Finding("ledger", "", Level.WARNING, f"{ledger.name}: {shortcoming}", remedy)]
    return ledger, findings + _lost(settings, lost_ledger.NO_FILE, ledger)


def ledger_problem(error: LedgerUnavailable | ConfigError) -> Finding:
    """Return the finding that the ledger cannot be used."""
    by_rights = isinstance(error.__cause__, PermissionError)
    return Finding("ledger", "", Level.PROBLEM, str(error), by_rights=by_rights)


def _damage(path: Path | None) -> Finding | None:
    if path is None:
        return None
    # A log beside it that is another file's would be taken for damage.
    make_ready(path)
    found = examine(path, seconds=_SECONDS, indexes=True)
    if found.damage is not None:
        return ledger_problem(damaged(path, found.damage))
    if not found.is_complete:
        return Finding("ledger", "", Level.NOTE, f"no damage found in {_SECONDS:.0f} s; not all of it was looked at")
    return None


def _lost(settings: Settings, before: Condition, ledger: Ledger | None) -> list[Finding]:
    signs = lost_ledger.signs(settings, before, ledger)
    findings = [Finding("ledger", "", Level.WARNING, sign) for sign in signs]
    if ledger is not None and not signs:
        older = ((inbox, lost_ledger.older_than(ledger, inbox)) for inbox in settings.inboxes)
        findings += [Finding("ledger", inbox.name, Level.NOTE, text) for inbox, text in older if text]
    return findings
