"""How a row is written down."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from .columns import Column
from .peer import Era, Json
from .reasons import Reason

SPEC: Final = "docs/specification/"
"""Where the pages are in the repository modelcontextprotocol/modelcontextprotocol."""

Play = Callable[..., Awaitable[Any]]
Pair = tuple[Era, Era]
LEGACY_FRONT: Final[tuple[Pair, ...]] = (("legacy", "legacy"), ("legacy", "modern"))
MODERN_FRONT: Final[tuple[Pair, ...]] = (("modern", "legacy"), ("modern", "modern"))
LEGACY_BACK: Final[tuple[Pair, ...]] = (("legacy", "legacy"), ("modern", "legacy"))
MODERN_BACK: Final[tuple[Pair, ...]] = (("legacy", "modern"), ("modern", "modern"))
LEGACY_STRAIGHT: Final[tuple[Pair, ...]] = (("legacy", "legacy"),)


@dataclass(frozen=True)
class Row:
    """One behaviour.

    `play` plays it with a client, which it is given, asserts that the interesting thing happened, and gives what was
    seen as JSON: the same must be seen with no proxy between. `never` says for which pairs of eras (the client's, the
    server's) it can't be, and why; `unless` the same of a column, beyond the eras; `instead` what is seen there that
    differs from what is seen directly, and why.
    """

    group: str
    name: str
    page: str
    play: Play
    variant: Json = field(default_factory=dict)
    never: dict[Pair, Reason] = field(default_factory=dict)
    instead: dict[Pair, tuple[Any, Reason]] = field(default_factory=dict)
    unless: Callable[[Column], Reason | None] = lambda column: None

    def impossible(self, column: Column) -> Reason | None:
        """Why there is no such cell."""
        return column.impossible or self.never.get(column.eras) or self.unless(column)

    @property
    def key(self) -> str:
        return f"{self.group}: {self.name}"


ROWS: list[Row] = []


def row(
    group: str,
    name: str,
    page: str,
    *,
    never: dict[Pair, Reason] | None = None,
    instead: dict[Pair, tuple[Any, Reason]] | None = None,
    unless: Callable[[Column], Reason | None] = lambda column: None,
    **variant: Any,
) -> Callable[[Play], Play]:
    """Write the function below down as a row; `page` is below `SPEC`, `variant` is which client plays it."""

    def add(play: Play) -> Play:
        ROWS.append(Row(group, name, SPEC + page, play, variant, never or {}, instead or {}, unless))
        return play

    return add


def each(pairs: tuple[Pair, ...], why: Any) -> dict[Pair, Any]:
    """The same for several pairs of eras."""
    return dict.fromkeys(pairs, why)
