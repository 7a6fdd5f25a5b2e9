"""When a back that fails is left alone, and when it is tried again. Time and chance are arguments.

A back that can't be reached, or says nothing in its time, is *out* at once: whoever asks is told so without waiting.
One that dies in the middle of calls is out after several deaths in a short time: a single one is mended by the next
call. A back that is out is tried again after a wait that doubles; the jitter keeps many proxies from trying in step.
"""

from collections import deque
from typing import Final

from isthmus import limits

_LEAST_JITTER: Final = 0.5
"""A wait is at least this part of what the doubling says."""


class Breaker:
    """Whether one back is out, why, and how long until it is tried."""

    __slots__ = ("_deaths", "_tries", "why")

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=limits.BREAKER_DEATHS)
        self._tries = 0
        self.why: str | None = None
        """The sentence that says why the back is out; None while it isn't."""

    def trip(self, why: str) -> bool:
        """The back is out; whether it wasn't before."""
        was_in = self.why is None
        self.why = why
        return was_in

    def died(self, now: float, why: str) -> bool:
        """The back failed in the middle of something; whether it is out for that now, and wasn't before."""
        self._deaths.append(now)
        is_full = len(self._deaths) == limits.BREAKER_DEATHS
        return is_full and now - self._deaths[0] <= limits.BREAKER_WINDOW and self.trip(why)

    def wait(self, chance: float) -> float:
        """Seconds until the back is tried again.

        Args:
            chance: a random number from 0 to 1.
        """
        most = min(limits.RESTART_FIRST * 2.0 ** min(self._tries, 16), limits.RESTART_MOST)
        self._tries += 1
        return most * (_LEAST_JITTER + (1 - _LEAST_JITTER) * chance)

    def recovered(self) -> bool:
        """The back answered; whether it was out."""
        was_out = self.why is not None
        self.why = None
        self._tries = 0
        self._deaths.clear()
        return was_out
