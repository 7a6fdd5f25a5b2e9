"""The page that says what works: `docs/compatibility.md`, from what a run gave."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

from .book import SPEC, Row
from .columns import ALL, COLUMNS, ERAS
from .reasons import Reason

Failures = Mapping[tuple[str, str], str]
"""What failed and how, by the column's name and the row's key."""

SITE: Final = "https://modelcontextprotocol.io/specification/"
PAIRS: Final = [(client, server) for client in ERAS for server in ERAS]
INTRODUCTION: Final = """# Compatibility

What works between a client of one era and a server of another, through isthmus. `make matrix` plays every line below
and writes this page; `make test` plays them too.

A line is a behaviour, linked to the page of the specification that tells of it. A column is the era of the client,
*legacy* (2024-11-05 to 2025-11-25) or *modern* (2026-07-28), and that of the server. In a field stands over how many
pairs of transports the behaviour works: a client on stdio, HTTP, HTTP+SSE or in memory, and a server on one of these.
{pairs}

The clients are of the official Python SDK 2.x, each pinned to one era. The legacy server is of SDK 1.30 and knows
nothing of the modern era (in memory it is of 2.x, and refuses what is modern); the modern one is of 2.x and refuses
`initialize`. *Works* means that the client sees what it sees when it is connected to a server of its own era with
nothing between, member for member, or what a note says instead. Clients of SDK 1.30, and servers of both eras, play all
lines too, over fewer pairs.

{total}
"""


def page(rows: Sequence[Row], failures: Failures) -> str:
    """The page as Markdown."""
    notes = _Notes()
    parts = [_table(group, list(members), failures, notes) for group, members in groupby(rows, lambda row: row.group)]
    counted = [(row, column) for row in rows for column in COLUMNS]
    there = [(row, column) for row, column in counted if row.impossible(column) is None]
    total = f"{len(there)} fields of {len(rows)} lines and {len(COLUMNS)} columns are played; {len(failures)} fail."
    most = " · ".join(f"{client} to {server}: {_most((client, server))}" for client, server in PAIRS)
    pairs = f"All pairs that can be: {most}.\n{_sse()}"
    return "\n".join([INTRODUCTION.format(pairs=pairs, total=total), *parts, *notes.lines()])


def _most(eras: tuple[str, str]) -> int:
    return sum(column.eras == eras for column in COLUMNS)


def _sse() -> str:
    reasons = sorted({column.impossible.value for column in ALL if column.impossible is not None})
    return f"The other {len(ALL) - len(COLUMNS)} can't be: {' '.join(reasons)}"


def _table(group: str, rows: list[Row], failures: Failures, notes: "_Notes") -> str:
    head = f"## {group.capitalize()}\n\n| | " + " | ".join(f"{client} → {server}" for client, server in PAIRS) + " |\n"
    lines = [f"| {_link(row)} | {' | '.join(_cell(row, eras, failures, notes) for eras in PAIRS)} |" for row in rows]
    return head + "|---|" + "---|" * len(PAIRS) + "\n" + "\n".join(lines) + "\n"


def _link(row: Row) -> str:
    address = row.page.removeprefix(SPEC).removesuffix(".mdx").removesuffix("/index")
    return f"[{row.name}]({SITE}{address})"


def _cell(row: Row, eras: tuple[str, str], failures: Failures, notes: "_Notes") -> str:
    """What stands in a field: over how many pairs it works, and the notes."""
    columns = [column for column in COLUMNS if column.eras == eras]
    there = [column for column in columns if row.impossible(column) is None]
    reasons = [why for column in columns if (why := row.impossible(column)) is not None]
    reasons += [why for pair, (_, why) in row.instead.items() if pair == eras and there]
    marks = "".join(f" ({notes.mark(why)})" for why in dict.fromkeys(reasons))
    if not there:
        return f"–{marks}"
    works = sum((str(column), row.key) not in failures for column in there)
    return (f"{works}" if works == len(there) else f"**{works} of {len(there)}**") + marks


class _Notes:
    """The reasons, each with a letter."""

    def __init__(self) -> None:
        self._marks: dict[Reason, str] = {}

    def mark(self, why: Reason) -> str:
        number = len(self._marks)
        return self._marks.setdefault(why, chr(ord("a") + number) if number < 26 else f"a{chr(ord('a') + number - 26)}")

    def lines(self) -> list[str]:
        return ["## Notes", "", *(f"* {mark}: {why.value}" for why, mark in self._marks.items()), ""]
