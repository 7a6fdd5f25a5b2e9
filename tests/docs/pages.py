"""The pages of the documentation, and the fenced blocks on them."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.conformance.processes import ROOT

PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCED: Final = re.compile(r"^([ ]*)```([^\n`]*)\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its page, relative to the root, its line there, its language (maybe none) and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for the name of a test."""
        return f"{self.page}:{self.line}"


def name_of(path: Path) -> str:
    """A page's name: its path from the root."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a page, in their order, without the indentation of their fence."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCED.finditer(text):
        indent, language, inside = match.groups()
        lines = [line.removeprefix(indent) for line in inside.splitlines(keepends=True)]
        found.append(Block(name_of(path), text.count("\n", 0, match.start()) + 1, language.strip(), "".join(lines)))
    return found


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCED.sub("", path.read_text(encoding="utf-8"))


def use(heading: str) -> str:
    """The block of README.md that stands under a use's heading.

    Args:
        heading: how the bold text begins, such as `1.`.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return blocks_in(text.split(f"**{heading}", 1)[1])


def blocks_in(text: str) -> str:
    """The first fenced block of a text."""
    match = _FENCED.search(text)
    assert match is not None
    return match.group(3)
