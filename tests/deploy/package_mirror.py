"""How this machine reaches package registries, handed on to a container of a test. Nothing of it is written down here."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from findings import run

_BUNDLE = Path("etc/ssl/certs/ca-certificates.crt")
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def environment() -> dict[str, str]:
    """Return the variables by which pip and the like find their way, as they hold inside the container."""
    wanted = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    wanted |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return wanted | dict.fromkeys(_CERTIFICATES, f"/{_BUNDLE}")


def folders() -> list[Path]:
    """Return the folders of this machine that pip's configuration names, to be shown to the container read-only."""
    words = re.findall(r"(?:file://)?(/[^\s'\"]+)", run(["python3", "-m", "pip", "config", "list"]).stdout)
    found = {Path(word) for word in words if Path(word).is_dir()}
    # An index made of files links to its siblings.
    return sorted({path.parent if path.name == "simple" else path for path in found})


def copy_into(tree: Path) -> None:
    """Write pip's configuration and the certificates in force here into a container's tree."""
    (tree / "etc/pip.conf").write_text(_pip_configuration())
    bundle = Path(os.environ.get("SSL_CERT_FILE", f"/{_BUNDLE}"))
    (tree / _BUNDLE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle, tree / _BUNDLE)
    if Path("/etc/resolv.conf").exists():
        (tree / "etc/resolv.conf").unlink(missing_ok=True)
        shutil.copyfile("/etc/resolv.conf", tree / "etc/resolv.conf")


def _pip_configuration() -> str:
    return "\n".join(["[global]", f"cert = /{_BUNDLE}", *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    for line in run(["python3", "-m", "pip", "config", "list"]).stdout.splitlines():
        name, separator, value = line.partition("=")
        # A constraint is a file of this machine.
        here_only = name.endswith((".cert", ".constraint"))
        if separator and name.startswith(("global.", "install.", "user.")) and not here_only:
            yield f"{name.partition('.')[2]} = {value.strip(chr(39))}"
