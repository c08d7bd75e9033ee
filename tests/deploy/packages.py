"""Builds source archive and wheel, and installs the program from them as people do: pip, pipx, uv.

    .venv/bin/python tests/deploy/packages.py

Needs the way to Python's packages that this machine has. Everything is made below a temporary folder.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from findings import Findings, must, run
from machine import source_archive

_PROJECT = Path(__file__).resolve().parents[2]
_DATA = {
    f"invoicedrop/data/{place}/{name}"
    for place, names in {
        "config": (
            "invoicedrop.toml",
            "three-marketplaces.toml",
            "compose.yaml",
            "example.env",
            "invoicedrop.container",
        ),
        "systemd": (
            "invoicedrop.service",
            "invoicedrop-token.path",
            "invoicedrop-token.service",
            "invoicedrop-command",
        ),
    }.items()
    for name in names
}


def works(command: Path, found: Findings, *, by: str, sandbox: bool) -> None:
    """See that an installed command has all that it needs."""
    outside = ["env", "-C", "/", command]
    version = run([*outside, "--version"])
    found.check(f"{by}: the command is there ({version.stdout.strip()})", version.returncode == 0, version.stdout)
    example = run([*outside, "config", "--example"])
    same = example.stdout == (_PROJECT / "config/invoicedrop.toml").read_text()
    found.check(f"{by}: `config --example` prints the example", same, example.stdout)
    demo = run([*outside, "demo"])
    if sandbox:
        found.check(f"{by}: the demo ends well", demo.returncode == 0, demo.stdout)
    else:
        said = demo.returncode == 78 and "pip install 'invoicedrop[sandbox]'" in demo.stdout
        found.check(f"{by}: without the extra the demo says how to get it", said, demo.stdout)


def environment(folder: Path, *what: str | Path) -> Path:
    """Make an environment with pip, install something into it, and return its `bin`."""
    venv.create(folder, with_pip=True)
    must([folder / "bin/pip", "install", "-q", *what])
    return folder / "bin"


def main() -> None:
    """Run all of it."""
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        found.section("Building")
        archive = source_archive(home / "built")
        with tarfile.open(archive) as packed:
            names = {name.partition("/")[2] for name in packed.getnames()}
            packed.extractall(home, filter="data")
        source = home / archive.name.removesuffix(".tar.gz")
        must(["git", "-C", _PROJECT, "rev-parse", "--git-dir"])
        tracked = set(must(["git", "-C", _PROJECT, "ls-files"]).split("\n")) - {""}
        left_out = {name for name in tracked - names if name != ".gitignore"}
        found.check("the source archive has every file of the project", not left_out, left_out)
        secret = {name for name in names if name.endswith(("/.env", "api_token"))}
        found.check("and nobody's token or settings", not secret, secret)
        must([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", home / "built", source])
        (wheel,) = (home / "built").glob("*.whl")
        with zipfile.ZipFile(wheel) as packed_wheel:
            inside = set(packed_wheel.namelist())
        found.check("the wheel has example settings and units", inside >= _DATA, _DATA - inside)
        found.check("and no tests", not any(name.startswith("tests") for name in inside))
        found.note(
            f"{archive.name}: {archive.stat().st_size / 1e3:.0f} kB; {wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB"
        )

        found.section("Installing")
        bare = environment(home / "bare", wheel)
        works(bare / "invoicedrop", found, by="pip install *.whl", sandbox=False)
        works(
            environment(home / "extra", f"{source}[sandbox]") / "invoicedrop",
            found,
            by="pip install '.[sandbox]'",
            sandbox=True,
        )
        tools = environment(home / "tools", "uv", "pipx")
        places = {
            "PIPX_HOME": str(home / "pipx"),
            "PIPX_BIN_DIR": str(home / "bin"),
            "UV_TOOL_DIR": str(home / "uv"),
            "UV_TOOL_BIN_DIR": str(home / "uv-bin"),
        }
        os.environ.update(places)
        must([tools / "pipx", "install", source])
        works(home / "bin/invoicedrop", found, by="pipx install .", sandbox=False)
        must([tools / "uv", "tool", "install", "--no-cache", source])
        works(home / "uv-bin/invoicedrop", found, by="uv tool install .", sandbox=False)

        found.section("The tests from the source archive")
        must([bare / "pip", "install", "-q", "-e", f"{source}[test]"])
        smoke = [
            "tests/test_deployment.py",
            "tests/test_readme.py",
            "tests/commands/test_setup.py",
            "tests/commands/test_demo.py",
        ]
        tests = subprocess.run(
            [bare / "pytest", "-n2", "-q", *smoke], cwd=source, capture_output=True, text=True, check=False
        )
        found.check("a share of them passes", tests.returncode == 0, tests.stdout[-4000:])
        found.note(tests.stdout.strip().splitlines()[-1])
    found.end()


if __name__ == "__main__":
    main()
