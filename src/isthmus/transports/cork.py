"""Small writes of one turn of the loop, sent together at its end.

A write wakes the process at the other end, and on a busy machine the waking costs more than the sending. Writes that
come one after the other find it awake, and it finds more to do when it wakes.
"""

import asyncio
from typing import Protocol


class Corked(Protocol):
    """A connection with something to write."""

    def uncork(self) -> None:
        """Write it."""


class Cork:
    """Has connections write at the end of this turn of the loop."""

    __slots__ = ("_held", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: list[Corked] = []

    def hold(self, connection: Corked) -> None:
        """Call the connection's `uncork` once, soon."""
        if not self._held:
            self._loop.call_soon(self._release)
        self._held.append(connection)

    def _release(self) -> None:
        held, self._held = self._held, []
        for connection in held:
            connection.uncork()
