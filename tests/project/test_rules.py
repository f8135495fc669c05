"""The rules of the design that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PURE = ("decode", "dpi", "engine", "flow", "formats", "ledger", "ledgerfile")
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
IMPURE_METHODS = {"now", "utcnow", "today"}


def pure_modules(repo: Path) -> list[Path]:
    package = repo / "exporter"
    modules = [package / f"{name}.py" for name in PURE]
    return sorted([m for m in modules if m.exists()] + [f for n in PURE for f in (package / n).rglob("*.py")])


def impure(tree: ast.AST) -> list[str]:
    """Calls that look at the clock or the world through builtins and `datetime`, which no import betrays."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                found.append(f"{node.lineno}: {name}()")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="datetime" | "date"), attr=name)) if (
                name in IMPURE_METHODS
            ):
                found.append(f"{node.lineno}: {name}()")
    return found


def test_import_contracts(repo: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo"], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_calls_nothing_impure(repo: Path) -> None:
    modules = pure_modules(repo)
    assert modules
    found = {str(m.relative_to(repo)): calls for m in modules if (calls := impure(ast.parse(m.read_text())))}
    assert found == {}


@pytest.mark.parametrize(
    "source", ["open('x')", "datetime.now(UTC)", "def f():\n    print(1)", "x = date.today()"]
)
def test_impure_calls_are_found(source: str) -> None:
    assert impure(ast.parse(source))
