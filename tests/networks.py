"""What environment variables say about networks, as the settings read it."""

from invoicedrop.settings.environment import read_network
from invoicedrop.system.network import Network


def network_of(**variables: str) -> Network:
    """Return what these variables say; there must be nothing wrong with them."""
    problems: list[str] = []
    network = read_network(variables, problems)
    assert problems == []
    return network
