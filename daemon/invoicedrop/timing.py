"""The waits that nobody sets: one frozen object with defaults, handed to whoever waits. Tests hand in others.

All times are in seconds. What an administrator may want to change is a setting (room `settings`), not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long the program waits, where no setting says so."""

    # One invoice
    first_retry: float = 2.0
    """The first delay of an invoice that has trouble of its own; each further one doubles."""
    longest_retry: float = 900.0
    """The longest such delay."""
    file_retry: float = 5.0
    """The first delay of a file that cannot be read or moved, although its folder can; each further one doubles, up
    to `longest_retry`."""
    next_file: float = 0.2
    """Between two files that are tried, one by one, while several in a row could not be read or moved."""
    folder_trial: float = 5.0
    """The least time between two trials of the folders because single files cannot be read or moved."""
    deferral_logged: float = 3600.0
    """A deferral that is repeated in the same words is logged once in this time."""
    order_retry: float = 60.0
    """Between two tries while an order may still be imported (`order_grace`)."""
    order_fresh: float = 60.0
    """An order that was read is not read again within this time, but where an upload to it is in doubt."""
    longest_order_retry: float = 3600.0
    """The longest time between two looks whether an order is shipped; the first is `order_retry`."""
    doubt_looks: tuple[float, ...] = (2.0, 10.0, 60.0)
    """When an order is looked at after an upload to it whose outcome is not known; the last look is at the setting
    `resend_after`."""
    conflict_patience: float = 3600.0
    """For how long, at least, an upload that conflicts with the order's state (HTTP 409) is tried again."""
    fault_retry: float = 60.0
    """Until an invoice is tried again on which this program itself failed."""

    # Nobody can upload
    first_probe: float = 2.0
    """The first backoff step of a circuit breaker; each further one doubles."""
    longest_probe: float = 300.0
    """The longest such step."""
    longest_retry_after: float = 300.0
    """A longer Retry-After of the API is not believed: the next answer will say it again."""
    project_question: float = 10.0
    """For how long several unknown orders in a row are a question about the project before its list answers it."""

    # The rate limit
    rate_recovery: float = 150.0
    """Without a 429, a lowered rate is back at the allowed one after this time at the latest; after twice as long where
    too many requests were refused before."""
    unstated_wait: float = 2.0
    """The wait after a 429 that names none."""
    first_refusal_wait: float = 5.0
    """The first wait after a 429 that comes soon after the one before; each further one doubles."""
    longest_refusal_wait: float = 180.0
    """The longest such wait: until then it is not noticed that the other programs have stopped."""
    same_refusal: float = 1.0
    """Several 429 within this time slow the rate down once."""
    arrival_jitter: float = 1.0
    """By how much requests may bunch up on their way: as many drops of the bucket are kept free."""
    bucket_ahead: float = 30.0
    """For how long ahead a bucket is written down as full, so that not every request costs a write."""
    rate_limit_patience: float = 120.0
    """How long a command waits, for one request, while others use up the rate limit."""

    # After an invoice was accepted
    confirm_after: Sequence[float] = (600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0)
    """When its order is looked at again, after it was accepted."""
    confirm_retry: float = 60.0
    """The first delay of a look that could not be taken; each further one doubles."""
    longest_confirm_retry: float = 3600.0
    """The longest such delay."""
    confirm_give_up: float = 86_400.0
    """For how long after the last look was due an order that cannot be read is tried again."""

    # Who works on an inbox, where several daemons share a ledger
    lease_beat: float = 2.0
    """Between two renewals of what is ours, and between two looks at what is not."""
    lease_valid: float = 12.0
    """For how long after a renewal something may be sent, or moved."""
    lease_stale: float = 16.0
    """After so long without a renewal another daemon takes over. It asks about what was perhaps sent only after that
    time, too."""

    database_answer: float = 10.0
    """How long a database server's answer is waited for, before the connection counts as dead."""

    # Whose a drop folder is
    owner_look: float = 5.0
    """Between two looks whether a drop folder is still ours."""
    owner_beat: float = 20.0
    """Between two beats in a drop folder's owner file."""
    owner_stale: float = 60.0
    """Without a beat for so long, by the folder's own clock, another daemon has ended."""

    # The service
    told_wait: float = 10.0
    """What held up all invoices of an inbox for less than this is not written down with each."""
    stop_look: float = 1.0
    """The least time between two looks whether a person has stopped an inbox, or let it go on."""
    longest_beat: float = 30.0
    """The longest time between two heartbeats, however seldom the folders are looked through."""
    reason_sweep: float = 60.0
    """Between two looks for reasons whose invoice has left the failed folder."""
    once_patience: float = 60.0
    """`run --once` waits for an invoice that is put off for less than this."""
    last_wait: float = 5.0
    """What uploads get, beyond their own deadline, to end when the service stops."""

    # The status page
    page_first: float = 1.0
    """Until it is written for the first time: the service has then reported for the first time."""
    page_change: float = 10.0
    """The least time between two looks whether there is something new for it."""
    page_alive: float = 60.0
    """It is written as a sign of life when nothing has changed for this time."""

    # What is told of the service
    report_look: float = 2.0
    """Between two looks at what the service reports of itself."""
    overview_look: float = 30.0
    """Between two looks at what lies in the folders, at the least; one that takes long is followed by 20 times its
    length of something else."""
    ping: float = 60.0
    """Between two heartbeats to the outside."""
    ping_timeout: float = 10.0
    """For one of them."""
    outage_shown: float = 15.0
    """An outage that is shorter is no reason for a heartbeat to say that something is wrong."""
    outage_told: float = 900.0
    """One that is shorter is not worth a message."""
    silence_told: float = 60.0
    """A main loop that is silent for a shorter time may be at a slow share, which is not worth one either."""
    trouble_told: float = 10.0
    """Other trouble that is shorter is not worth one either."""
    well_after: float = 60.0
    """So long no trouble may be seen before all is said to be well again."""
    message_timeout: float = 30.0
    """For one message to one address."""
    message_retry: float = 60.0
    """Until a message is tried again that did not get out; each further time twice as long, up to an hour."""
    longest_message_retry: float = 3600.0
    scrape_timeout: float = 10.0
    """What a connection to the metrics may take from its first byte to its last."""
    server_retry: float = 60.0
    """Until an address for metrics that is in use is tried again."""
    longest_wait: float = 14_400.0
    """An invoice that waits for longer is trouble (`reporting.troubles`)."""
    token_age: float = 365 * 86_400.0
    """Channable's tokens are valid for a year."""
    token_notice: float = 30 * 86_400.0
    """So long before that it is trouble."""


DEFAULT_TIMING: Final = Timing()

LOOK_SHARE: Final = 20
"""A look at folders is followed by so many times its length of something else: a share where each look takes seconds
is not kept busy by us."""


def backoff(delay: float, first: float, cap: float) -> float:
    """Return the delay after `delay`, in seconds: `first`, then its doubles, up to `cap`."""
    return min(cap, max(first, delay * 2))
