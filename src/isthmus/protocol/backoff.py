"""How long to wait before a back that crashed is started again. Time is an argument."""

from isthmus import limits


class Backoff:
    """Doubles from `RESTART_FIRST` to `RESTART_MOST`; the first start after a crash waits for nothing."""

    __slots__ = ("_crashes", "_until")

    def __init__(self) -> None:
        self._crashes = 0
        self._until = 0.0

    def crashed(self, now: float, lived: float) -> None:
        """The back died at `now`, having lived `lived` seconds."""
        self._crashes = 1 if lived >= limits.RESTART_FORGOTTEN else self._crashes + 1
        wait = limits.RESTART_FIRST * 2.0 ** (self._crashes - 2) if self._crashes > 1 else 0.0
        self._until = now + min(wait, limits.RESTART_MOST)

    def wait(self, now: float) -> float:
        """Seconds until the next start may be."""
        return max(0.0, self._until - now)
