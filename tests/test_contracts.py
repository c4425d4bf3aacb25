"""The three rooms and what they must not know of one another."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "store": {"torch", "torchvision", "accelerate", "textual", "typer", "plotext", "rich", "pydantic"},
    "engine": {"textual", "plotext", "typer", "rich"},
    "explorer": {"torch", "torchvision", "accelerate", "sklearn"},
}
# The explorer speaks the worker's protocol; commands reach the rest of the engine, inside the command.
COMMANDS = {"explorer/cli.py"}


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at import time) for every import in a file, relative ones made absolute."""
    package = ["lyrx", *path.relative_to(ROOT).parts[:-1]]
    tree = ast.parse(path.read_text())
    inside = {node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
              for node in ast.walk(function)}  # fmt: skip
    lazy = {node for branch in ast.walk(tree) if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
            for node in ast.walk(branch)}  # fmt: skip
    found = []
    for node in ast.walk(tree):
        early = node not in inside and node not in lazy
        if isinstance(node, ast.Import):
            found += [(alias.name, early) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(module, early), *((f"{module}.{alias.name}", early) for alias in node.names)]
    return found


def files(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_room_imports_what_it_must_not_know(room: str):
    wrong = [
        (str(path.relative_to(ROOT)), module)
        for path in files(room)
        for module, _ in imports(path)
        if module.partition(".")[0] in FORBIDDEN[room]
    ]
    assert wrong == []


def test_data_walks_one_way():
    for path in files("store"):
        assert not [m for m, _ in imports(path) if m.startswith(("lyrx.engine", "lyrx.explorer"))], path
    for path in files("engine"):
        assert not [m for m, _ in imports(path) if m.startswith("lyrx.explorer")], path


def test_the_explorer_reaches_the_engine_in_two_ways_only():
    for path in files("explorer"):
        name = str(path.relative_to(ROOT))
        for module, early in imports(path):
            if module.startswith("lyrx.engine") and not module.startswith("lyrx.engine.protocol"):
                spoken = module == "lyrx.engine" and not early
                assert name in COMMANDS or spoken, f"{name} imports {module}"
                assert not early, f"{name} imports {module} at import time"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("lyrx.store", ["torch", "zarr", "numpy", "textual"]),
        ("lyrx.engine", ["torch"]),
        ("lyrx.engine.protocol", ["torch", "zarr"]),
        ("lyrx.engine.specfile", ["torch"]),
        ("lyrx.engine.train", ["torchvision"]),
        ("lyrx.engine.session", ["torchvision"]),
        ("lyrx.explorer.cli", ["torch", "zarr", "textual", "plotext"]),
        ("lyrx.explorer.app", ["torch", "zarr"]),
    ],
)
def test_what_importing_costs(module: str, absent: list[str]):
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_small():
    long = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for room in FORBIDDEN for path in files(room)
    }
    assert {name: lines for name, lines in long.items() if lines > 450} == {}
