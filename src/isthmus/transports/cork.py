"""Small writes of one turn of the loop, sent together at its end.

A write wakes the process at the other end, and on a busy machine the waking costs more than the sending. Writes that
come one after the other find it awake, and it finds more to do when it wakes. It is one for all connections of a loop:
with many backs, hardly any has more than one write in a turn.
"""

import asyncio
import logging
from typing import Final, Protocol

from isthmus.transports.busy_poll import poll_of
from isthmus.transports.per_loop import PerLoop

_log: Final = logging.getLogger("isthmus.transports")


class Corked(Protocol):
    """A connection with something to write."""

    def uncork(self) -> None:
        """Write it."""


class Cork:
    """Has connections write at the end of this turn of the loop."""

    __slots__ = ("_held", "_poll")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._held: list[Corked] = []
        self._poll = poll_of(loop)

    def hold(self, connection: Corked) -> None:
        """Call the connection's `uncork` once, soon."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._release)
        self._held.append(connection)

    def _release(self) -> None:
        held, self._held = self._held, []
        for connection in held:
            try:
                connection.uncork()
            except Exception:
                _log.exception("A connection could not be written to; this is a bug of isthmus.")
        self._poll.wrote()


cork_of: Final = PerLoop(Cork)
