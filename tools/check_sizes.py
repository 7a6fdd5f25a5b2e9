"""Fails when a function, module or signature is larger than the house allows.

An exception is one line in `EXCEPTIONS` with its reason; one that is no longer needed fails too, so the list can only
shrink.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FUNCTION_LINES = 60
MODULE_LINES = 500
PARAMETERS = 8

EXCEPTIONS: dict[str, str] = {
    "src/isthmus/client/client.py:__init__()": "FastMCP's signature, which is the contract",
    "src/isthmus/client/stdio.py:__init__()": "FastMCP's signature, which is the contract",
}


def main() -> int:
    """Print what is too large; 1 if anything is."""
    found = {place: what for path in sorted(_files()) for place, what in _measure(path)}
    wrong = [f"{place}: {what}" for place, what in found.items() if place not in EXCEPTIONS]
    wrong += [f"{place}: is in EXCEPTIONS but small enough; take it out" for place in EXCEPTIONS if place not in found]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


def _files() -> Iterator[Path]:
    for folder in ("src", "tests", "examples", "bench", "tools"):
        yield from (path for path in Path(folder).rglob("*.py") if "node_modules" not in path.parts)


def _measure(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > MODULE_LINES:
        yield str(path), f"{lines} lines; a module may have {MODULE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        place = f"{path}:{node.name}"
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES:
            yield place, f"{length} lines; a function may have {FUNCTION_LINES}"
        arguments = node.args
        count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        count -= 1 if arguments.args and arguments.args[0].arg in ("self", "cls") else 0
        if count > PARAMETERS:
            yield f"{place}()", f"{count} parameters; a function may have {PARAMETERS}"


if __name__ == "__main__":
    sys.exit(main())
