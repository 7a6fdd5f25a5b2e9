"""Looks for what comes next for a moment before the loop sleeps (busy polling).

Who sleeps has to be woken, and on a virtual machine that takes longer than everything else that is done for a small
call. So after each write, when an answer or the next request may be near, the loop goes round for a moment without
sleeping. Where nothing comes in so short a time, as from a slow back, that is wasted; so it is learned from: a moment
in vain costs twice what one that brought something earns, and with nothing left only one write of many is looked after.

It is only done where the process is the proxy's own (`start`); else the loop is somebody else's.
"""

import asyncio
import os
import time
from typing import Final

from isthmus.limits import POLL_CREDIT, POLL_RETRY
from isthmus.transports.per_loop import PerLoop


class BusyPoll:
    """The one of a loop."""

    __slots__ = ("_credit", "_for", "_has_written", "_is_looking", "_skipped", "_until")

    def __init__(self) -> None:
        self._for = 0.0
        self._credit = POLL_CREDIT
        self._skipped = 0
        self._until = 0.0
        self._has_written = False
        self._is_looking = False

    def start(self, seconds: float) -> None:
        """Look for so long after a write from now on; never where the machine has one core, which others need then."""
        self._for = seconds if (os.cpu_count() or 1) > 1 else 0.0

    def wrote(self) -> None:
        """Something was written that may be answered soon."""
        if self._is_looking:
            self._has_written = True
        elif self._for:
            if self._credit <= 0:
                self._skipped += 1
                if self._skipped < POLL_RETRY:
                    return
                self._skipped = 0
            self._begin()

    def _begin(self) -> None:
        self._is_looking = True
        self._until = time.perf_counter() + self._for
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        if self._has_written:
            self._has_written = False
            self._credit = min(POLL_CREDIT, self._credit + 1)
            self._until = time.perf_counter() + self._for
        elif time.perf_counter() >= self._until:
            self._is_looking = False
            self._credit = max(0, self._credit - 2)
            return
        asyncio.get_running_loop().call_soon(self._look)


poll_of: Final = PerLoop(lambda _: BusyPoll())
