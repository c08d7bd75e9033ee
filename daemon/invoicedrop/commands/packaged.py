"""The example files that come with the program: a wheel has them inside, a checkout where they are written."""

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_PLACES: Final = (_PACKAGE / "data", _PACKAGE.parents[1])


def example(name: str) -> str:
    """Return the text of a file of config/ or systemd/, named as in the project: "config/invoicedrop.toml".

    Raises:
        FileNotFoundError: the installation lacks it.

    """
    path = next((place / name for place in _PLACES if (place / name).is_file()), _PLACES[0] / name)
    return path.read_text(encoding="utf-8")
