"""What requests of a member are handed to."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from isthmus.engine.tasks import Tasks
from isthmus.errors import Fault
from isthmus.types import Relay

if TYPE_CHECKING:
    from isthmus.engine.visiting import Held


class Inner(Relay, Protocol):
    """What a member's requests are handed to: the gateway of one back, or again of many."""

    tasks: Tasks

    @property
    def is_legacy(self) -> bool:
        """Whether what it lists has no word on how long that is good for."""

    @property
    def heard_since(self) -> float:
        """Since when, on the loop's clock, all sessions that modern clients share say what of their lists has changed.

        Infinite where they don't; it counts only where it `is_legacy`.
        """

    @property
    def is_opening(self) -> bool:
        """Whether a process of it has been started and has not said yet what it is."""

    @property
    def forwards(self) -> bool:
        """Whether headers of clients go on to it."""

    def forwarded(self, headers: Mapping[str, str] | None) -> bytes:
        """The lines of a client's headers that go on to it: what it may tell clients apart by."""

    def hear(self, failed: Callable[[Fault], object], changed: Callable[[str | None], object]) -> None:
        """Have others told what requests failed with, and that what a session lists of a kind changed."""

    async def probe(self) -> bytes:
        """Ask it what it is: the text of the result of `initialize`.

        Raises:
            Fault: it can't be asked.
        """

    def holds(self, state: str | None) -> bool:
        """Whether a call is parked there that a `requestState` stands for."""

    def parked(self, state: str | None) -> "Held | None":
        """The call parked there that a `requestState` stands for, if there is one."""

    def is_busy(self) -> bool:
        """Whether calls are in flight, or parked."""

    async def close(self) -> None:
        """End every session, process and connection."""
