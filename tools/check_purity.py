"""Fails when a lower floor does what it may not: wait, read a clock, roll dice, log, or touch the world.

`wire`, `protocol` and `routing` take time, ids and keys as arguments; that is what makes them testable without a loop.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PURE = (Path("src/isthmus/wire"), Path("src/isthmus/protocol"), Path("src/isthmus/routing"))
FORBIDDEN = {
    "asyncio", "concurrent", "contextvars", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random",
    "secrets", "select", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
FORBIDDEN_CALLS = {"print", "open", "input"}


def main() -> int:
    """Print each breach; 1 if there is any."""
    files = [path for folder in PURE for path in sorted(folder.rglob("*.py"))]
    breaches = [f"{path}:{line}: {what}" for path in files for line, what in _look(path)]
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


def _look(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield node.lineno, "waits; only transports, engine and above may"
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, f"imports {each.name}") for each in node.names if _is_forbidden(each.name))
        elif isinstance(node, ast.ImportFrom) and _is_forbidden(node.module or ""):
            yield node.lineno, f"imports from {node.module}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            yield node.lineno, f"calls {node.func.id}"


def _is_forbidden(module: str) -> bool:
    return module.partition(".")[0] in FORBIDDEN


if __name__ == "__main__":
    sys.exit(main())
