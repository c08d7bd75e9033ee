"""What is only installed where it is asked for: without it, a setting that needs it cannot be used."""

from importlib.util import find_spec

from invoicedrop.errors import ConfigError


def require(library: str, extra: str, what: str) -> None:
    """Check that the library of an extra is installed, for `what` needs it.

    Raises:
        ConfigError: it is not; the sentence says how to install it.

    """
    if find_spec(library) is None:
        raise ConfigError([f"{what}: needs {library}, which is not installed: pip install 'invoicedrop[{extra}]'"])
