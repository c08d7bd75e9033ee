from invoicedrop.timing import backoff


def test_backoff_doubles_to_its_cap() -> None:
    """The first delay, then its doubles, never more than the cap."""
    delays = [0.0]
    for _ in range(6):
        delays.append(backoff(delays[-1], 2.0, 30.0))
    assert delays[1:] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
