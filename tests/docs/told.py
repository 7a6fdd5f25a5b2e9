"""What public names of the package have to be told of, for tools/draw_reference.py to draw."""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from tests.conformance.processes import ROOT

TOOL: Final = ROOT / "tools" / "draw_reference.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("draw_reference", TOOL)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["draw_reference"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["draw_reference"])
    return sys.modules["draw_reference"]


drawing: Final = _load()


def missing() -> Iterator[str]:
    """What is public and not told: sentences.

    Each class and function has a docstring; each argument and field is in its `Args:`, has a text of its own, or is
    named in the docstring, in that of what it is inherited from, or in one that the docstring sends to.
    """
    for thing in drawing.shown():
        if thing.is_other or thing.name == "__version__":
            continue
        where = f"{thing.module}.{thing.name}"
        if not isinstance(thing.node, drawing.Def):
            yield from () if thing.doc else (f"{where} has no text below it.",)
            continue
        text = ast.get_docstring(thing.node) or ""
        if not text:
            yield f"{where} has no docstring."
        if isinstance(thing.node, ast.ClassDef):
            yield from _missing_of_class(where, thing)
        else:
            yield from _untold(where, thing.node, text)


def _missing_of_class(where: str, thing: Any) -> Iterator[str]:
    line = [thing, *_lineage(thing)]
    text = "\n".join(ast.get_docstring(each.node) or "" for each in line if isinstance(each.node, drawing.Def))
    made = drawing.made_by(thing)
    if made is not None:
        yield from _untold(f"{where}()", made, text)
    for name, node, said in drawing.members(thing):
        if not isinstance(node, drawing.Function):
            if not said and not _names(text, name):
                yield f"{where}.{name} is not told."
            continue
        same = [found for each in line if (found := _method(each, name)) is not None]
        own = "\n".join(ast.get_docstring(each) or "" for each in same)
        if not own:
            yield f"{where}.{name} has no docstring."
        if not drawing.is_decorated(node, "property"):
            yield from _untold(f"{where}.{name}", node, f"{own}\n{text}")


def _lineage(thing: Any) -> Iterator[Any]:
    for base in drawing.bases(thing):
        yield base
        yield from _lineage(base)


def _method(thing: Any, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    body = thing.node.body if isinstance(thing.node, ast.ClassDef) else ()
    found = (each for each in body if isinstance(each, drawing.Function) and not drawing.is_decorated(each, "overload"))
    return next((each for each in found if each.name == name), None)


def _names(text: str, name: str) -> bool:
    """Whether a text names something, maybe in words: `progress_token` as "progress token"."""
    return re.search(rf"\b({name}|{name.replace('_', ' ')})\b", text, re.IGNORECASE) is not None


def _untold(where: str, node: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> Iterator[str]:
    """The arguments of a function that its docstring does not tell of."""
    sends = re.search(r"\b(?:as (?:of |for )?|see |those of )`", text, re.IGNORECASE)
    for name, _ in drawing.arguments_of(node):
        if name and not sends and not _names(text, name):
            yield f"{where} does not tell of its argument {name!r}."
