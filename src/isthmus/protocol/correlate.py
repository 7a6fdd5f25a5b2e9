"""Ids of our own and what waits for each: one rule for both faces.

On every leg the proxy is the one who asks, so the ids there are its own (JSON-RPC 2.0 §4: an id "established by the
Client"). An answer finds what it answers by that id or not at all: a late one is no error, it is counted.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Correlator(Generic[T]):
    """What waits for an answer, by the id it was sent under."""

    __slots__ = ("_last", "_waiting", "late")

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int | str, T] = {}
        self.late = 0

    def mint(self) -> int:
        """The next id; never used twice on this leg."""
        self._last += 1
        return self._last

    def expect(self, id: int, waiting: T) -> None:
        """Remember what waits for the answer to `id`."""
        self._waiting[id] = waiting

    def find(self, id: int | str | None) -> T | None:
        """What waits for `id`, left waiting."""
        return self._waiting.get(id) if id is not None else None

    def take(self, id: int | str | None) -> T | None:
        """What waited for `id`, which waits no more; None, counted as late, where nothing does."""
        waiting = self._waiting.pop(id, None) if id is not None else None
        if waiting is None:
            self.late += 1
        return waiting

    def forget(self, id: int) -> None:
        """Stop waiting for `id`; an answer from now on is late."""
        self._waiting.pop(id, None)

    def __iter__(self) -> Iterator[tuple[int | str, T]]:
        return iter(list(self._waiting.items()))

    def __len__(self) -> int:
        return len(self._waiting)
