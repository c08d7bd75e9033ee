"""The rooms and their floors: who may import whom, read from the source itself."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import invoicedrop

PACKAGE = Path(invoicedrop.__file__).parent
ROOT = Path(__file__).parent.parent

# Highest first. A module imports from floors below its own; on its own floor only without going in circles.
FLOORS = (
    ("cli",),
    [
        "service",
        "station",
        "heartbeat",
        "health",
        "progress",
        "demo",
        "sandbox_command",
        "checkup",
        "checkup_*",
        "overview",
        "overview_*",
        "owed",
        "verification",
    ],
    ["intake", "pipeline", "reconcile", "api_access"],
    [
        "watcher",
        "stability",
        "validator",
        "check_process",
        "channable",
        "connection",
        "transport",
        "api_models",
        "throttle",
        "ledger",
        "ledger_schema",
        "ledger_statements",
        "group_commit",
        "filing",
        "filed_names",
        "document",
        "disk",
        "instance",
        "notify",
        "turns",
        "liveness",
        "rights",
        "file_systems",
        "screen",
    ],
    ["invoice", "reasons", "settings", "config_*", "logs"],
)
ISLAND = "pdf_*"
"""What runs in the checking child: it imports what reads PDFs, its siblings, and nothing else of ours."""
HEAVY = [
    "httpx",
    "httpcore",
    "pydantic",
    "pydantic_settings",
    "pypdf",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
    "watchdog",
]


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, anywhere in it, but not what only type checkers see."""
    tree = ast.parse(path.read_text())
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            yield from (
                (f"{node.module}.{alias.name}" for alias in node.names)
                if node.module == "invoicedrop"
                else (node.module,)
            )


def ours(path: Path) -> set[str]:
    """Return which of our own modules a file imports (`sandbox` for any part of it), `__version__` not counted."""
    names = (name.split(".") for name in imports(path) if name.split(".")[0] == "invoicedrop")
    return {name[1] for name in names if len(name) > 1} - {"__version__"}


def others(path: Path) -> set[str]:
    """Return which libraries a file imports."""
    return {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"invoicedrop"}


MODULES = {path.stem: path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
SANDBOX = sorted((PACKAGE / "sandbox").glob("*.py"))


def floor_of(module: str) -> int:
    """Return a module's floor, 0 being the lowest."""
    floors = [
        height
        for height, patterns in enumerate(reversed(FLOORS))
        if any(fnmatchcase(module, pattern) for pattern in patterns)
    ]
    assert len(floors) == 1, f"{module} needs one floor in the table of this test, and a line in daemon/README.md"
    return floors[0]


MAINLAND = sorted(name for name in MODULES if not fnmatchcase(name, ISLAND))


@pytest.mark.parametrize("module", MAINLAND)
def test_imports_go_downward(module: str) -> None:
    """A module imports nothing from a floor above its own, and nothing of the island."""
    for imported in ours(MODULES[module]) - {"sandbox"}:
        assert not fnmatchcase(imported, ISLAND), f"{module} imports {imported}, which is for the child only"
        assert floor_of(imported) <= floor_of(module), f"{module} imports {imported}, which is above it"


def test_no_imports_go_in_circles() -> None:
    """There is an order in which the modules could be understood one after the other."""
    graph = {name: ours(path) for name, path in MODULES.items()}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("invoice") < order.index("pipeline") < order.index("cli")


@pytest.mark.parametrize("module", sorted(name for name in MODULES if fnmatchcase(name, ISLAND)))
def test_the_island_knows_nothing_of_us(module: str) -> None:
    """What runs in the checking child imports what reads PDFs, its siblings and the standard library only."""
    assert all(fnmatchcase(name, ISLAND) for name in ours(MODULES[module]))
    assert others(MODULES[module]) <= {"pypdf", "zlib_ng"}


@pytest.mark.parametrize("path", SANDBOX, ids=lambda path: path.stem)
def test_the_sandbox_knows_nothing_of_us(path: Path) -> None:
    """The stand-in API shares no code with the client that is tried against it, so that they cannot be wrong alike."""
    assert ours(path) <= {"sandbox"}
    assert others(path) <= {"starlette", "uvicorn"}


@pytest.mark.parametrize("module", MAINLAND)
def test_the_sandbox_is_for_two_commands_only(module: str) -> None:
    """Only the commands `sandbox` and `demo` import the stand-in."""
    assert "sandbox" not in ours(MODULES[module]) or module in {"sandbox_command", "demo"}


def test_what_is_imported_is_declared() -> None:
    """Every library that the package imports stands among its dependencies, and every dependency is imported."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[>]", line)[0].strip().replace("-", "_") for line in declared}
    imported: set[str] = set().union(*(others(path) for path in (*MODULES.values(), *SANDBOX)))
    # pydantic brings its own core.
    assert imported - {"pydantic_core"} == names


@pytest.mark.parametrize("module", ["invoicedrop", "invoicedrop.cli"])
def test_the_command_starts_without_heavy_libraries(module: str) -> None:
    """`invoicedrop --help` does not wait for libraries that only some commands need."""
    program = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & set(HEAVY) == set()


def test_importing_the_package_does_nothing() -> None:
    """`import invoicedrop` brings the version and nothing else of ours or of others."""
    program = "import sys; before = set(sys.modules); import invoicedrop; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["invoicedrop"]
