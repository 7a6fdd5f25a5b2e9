"""The deadlines of all calls, on one timer.

A timer of its own for every call would cost more than all the checks of a small call together. Calls that are given
the same patience expire in about the order they came, so one timer at the earliest deadline is enough: when it fires,
what is due is ended and the timer is set to the earliest deadline that is left. A deadline that was moved on is found
out then.
"""

import asyncio

from isthmus.types import Call


class Deadlines:
    """Ends calls whose deadline has passed (`Call.expire`)."""

    __slots__ = ("_at", "_timer", "_watched", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        self._watched: set[Call] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._at = float("inf")

    def watch(self, call: Call, deadline: float) -> None:
        """End the call at `deadline` on the loop's clock, unless it is forgotten or extended."""
        self._watched.add(call)
        self.move(call, deadline)

    def move(self, call: Call, deadline: float) -> None:
        """Another deadline, which may be earlier; one that is only later may be set at the call itself."""
        call.deadline = deadline
        if deadline < self._at and call in self._watched:
            self._arm(deadline)

    def forget(self, call: Call) -> None:
        """The call has ended."""
        self._watched.discard(call)

    def __len__(self) -> int:
        return len(self._watched)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._at = float("inf")

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._fire)

    def _fire(self) -> None:
        now = self.now()
        self._timer = None
        self._at = float("inf")
        for call in [call for call in self._watched if call.deadline <= now]:
            self._watched.discard(call)
            call.expire()
        if self._watched:
            self._arm(min(call.deadline for call in self._watched))
