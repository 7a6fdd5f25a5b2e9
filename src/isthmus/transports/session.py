"""A session with a legacy back, on whatever transport, and whose it is."""

from typing import Protocol

from isthmus.types import Call
from isthmus.wire.envelope import Envelope


class SessionOwner(Protocol):
    """Who a legacy back talks to outside any call."""

    def notified(self, envelope: Envelope) -> None:
        """The back sent a notification."""

    def asked(self, envelope: Envelope) -> None:
        """The back sent a request of its own."""

    def missed(self) -> None:
        """Where the back says what belongs to no call was interrupted, and can't be made up for."""

    def unheard(self) -> None:
        """What the back says outside any call isn't heard for now; its session goes on."""

    def lost(self, why: str) -> None:
        """The back's session ended; every call in flight has failed or is about to."""


class BackSession(Protocol):
    """A session with a legacy back, on whatever transport."""

    heard_since: float
    """Since when on the loop's clock what the back says outside any call is heard; infinite where it isn't now."""

    async def initialize(self, call: Call, text: bytes) -> None:
        """Open it and send `initialize`."""

    def settle(self, version: str) -> None:
        """The negotiated revision is known."""

    async def request(self, call: Call, text: bytes) -> None:
        """Send a request; returns when it is answered."""

    async def send(self, text: bytes) -> None:
        """Send a notification or an answer."""

    def listen(self) -> None:
        """Hear what the back says outside any call."""

    async def close(self) -> None:
        """End it."""
