"""How long to wait before a back that crashed is started again. Time is an argument."""

from typing import Final

from isthmus import limits

_MOST_DOUBLINGS: Final = 16
"""More than that are far beyond `RESTART_MOST`, and at last beyond what a float holds."""


class Backoff:
    """Doubles from `RESTART_FIRST` to `RESTART_MOST`; the first start after a crash waits for nothing.

    A back may run as many processes at once. What kills one often kills them all, so crashes of processes that were
    started before the last crash are that crash.
    """

    __slots__ = ("_crashed", "_crashes", "_until")

    def __init__(self) -> None:
        self._crashes = 0
        self._crashed = float("-inf")
        self._until = 0.0

    def crashed(self, now: float, lived: float) -> None:
        """The back died at `now`, having lived `lived` seconds."""
        if now - lived < self._crashed:
            return
        self._crashed = now
        self._crashes = 1 if lived >= limits.RESTART_FORGOTTEN else self._crashes + 1
        doublings = min(self._crashes - 2, _MOST_DOUBLINGS)
        wait = limits.RESTART_FIRST * 2.0**doublings if doublings >= 0 else 0.0
        self._until = now + min(wait, limits.RESTART_MOST)

    def wait(self, now: float) -> float:
        """Seconds until the next start may be."""
        return max(0.0, self._until - now)
