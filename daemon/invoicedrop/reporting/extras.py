"""What is only installed where it is asked for: without it, a setting that needs it cannot be used."""

from importlib.util import find_spec

from invoicedrop.errors import NotInstalled


def require(library: str, extra: str, what: str) -> None:
    """Check that the library of an extra is installed, for `what` needs it.

    Raises:
        NotInstalled: it is not.

    """
    if find_spec(library) is None:
        raise NotInstalled(library, extra, what)
