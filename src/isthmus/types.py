"""What the rooms hand to one another: the way back to a client, and a request on its way to a back."""

import asyncio
from abc import ABC, abstractmethod
from typing import Protocol

from isthmus.protocol.methods import Method
from isthmus.wire.envelope import Envelope


class Port(Protocol):
    """The way back to one request of a client.

    Messages are whole JSON-RPC messages as bytes, without line breaks. After `answer` nothing more is sent.
    """

    def notify(self, message: bytes) -> None:
        """Send a notification or a question before the answer."""

    def answer(self, message: bytes, status: int) -> None:
        """Send the final answer; `status` is the HTTP status where one can still be chosen."""

    async def drain(self) -> None:
        """Wait until the client has read enough; bounded by `limits.WRITE_STALLED`, after which it is cut off."""


class Call(ABC):
    """One request on its way to a back, under the proxy's own `id`, and where its answer goes.

    Transports call the methods below from their readers; none of them waits and none raises.
    """

    __slots__ = ("id", "method", "row", "timeout")

    id: int
    method: str
    row: Method
    timeout: asyncio.Timeout | None
    """The deadline around the call; moved on every sign of life."""

    @abstractmethod
    def notified(self, envelope: Envelope) -> None:
        """The back sent a notification that belongs to this call."""

    @abstractmethod
    def asked(self, envelope: Envelope) -> None:
        """The back sent a request of its own in the middle of this call."""

    @abstractmethod
    def answered(self, envelope: Envelope, status: int) -> None:
        """The back answered; `status` is its HTTP status, 200 where there is none."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until the client has read enough."""
