"""docs/reference/python: every public name is on a page, and told with its arguments."""

import ast
import importlib
import subprocess
import sys
from typing import Any, Final

import pytest

from tests.docs.told import TOOL, drawing, missing

MODULES: Final = (
    *("isthmus", "isthmus.server", "isthmus.server.proxy", "isthmus.server.middleware", "isthmus.server.dependencies"),
    *("isthmus.client", "isthmus.client.transports", "isthmus.client.elicitation", "isthmus.client.sampling"),
    *("isthmus.client.logging", "isthmus.exceptions", "isthmus.mcp_config", "isthmus.testing"),
)
"""The modules that users import from."""


def test_the_pages_are_drawn_from_the_docstrings() -> None:
    command = [sys.executable, str(TOOL), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_public_is_told() -> None:
    assert list(missing()) == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_a_page(module: str) -> None:
    """What the module has when it runs, and not only what its source says."""
    loaded: Any = importlib.import_module(module)
    said = getattr(loaded, "__all__", None) or drawing.public(module)
    for name in said:
        thing = drawing.resolve(module, name)
        page = drawing.shown()[thing]
        text = drawing.draw(page)
        assert f"\n## {thing.name}\n" in text, f"{name} is not on {page.file}.md"
        assert getattr(loaded, name, None) is not None or name == "NotSet"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class A:\n    pass", ["A has no docstring."]),
        ('def f(a: int) -> None:\n    """Do it."""', ["f does not tell of its argument 'a'."]),
        ('def f(a: int) -> None:\n    """Do it.\n\n    Args:\n        a: how often.\n    """', []),
        ('class A:\n    """It."""\n\n    size: int', ["A.size is not told."]),
        ('class A:\n    """It has a `size`."""\n\n    size: int', []),
    ],
)
def test_what_is_not_told_is_found(source: str, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (node,) = ast.parse(source).body
    thing = drawing.Thing("isthmus.x", getattr(node, "name", ""), node)
    monkeypatch.setattr(drawing, "shown", lambda: {thing: drawing.PAGES[0]})
    monkeypatch.setattr(drawing, "resolve", lambda module, name: thing)
    assert list(missing()) == [f"isthmus.x.{each}" for each in said]
