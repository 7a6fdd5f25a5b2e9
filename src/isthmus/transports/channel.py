"""What a back looks like that is spoken to on one connection for everything: stdio, HTTP+SSE, memory, a user's own.

A channel moves whole JSON-RPC messages both ways and knows nothing of what they mean. Whoever writes a transport writes
a `Channel` and a function that opens one; `isthmus.testing.check_transport` is the contract as a test.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from isthmus.wire.codec import parse
from isthmus.wire.envelope import Batch, Envelope, Malformed


class Listener(Protocol):
    """Who hears a channel. All three are called on the loop, must not block and must not raise."""

    def received(self, envelope: Envelope) -> None:
        """A message, in the order in which they came."""

    def received_batch(self, batch: Batch) -> None:
        """A JSON array of messages."""

    def lost(self, why: str) -> None:
        """The channel is of no use any more; once for every channel, also after `stop`. Nothing is received after it.

        Args:
            why: a sentence that names the back and says what became of it.
        """


class Channel(Protocol):
    """An open connection to a back."""

    @property
    def is_alive(self) -> bool:
        """Whether it takes messages: it shows no sign of an end and nobody stopped it."""

    def write(self, message: bytes) -> None:
        """Send one message, which has no line breaks. It is sent in the order of the calls, without waiting.

        Raises:
            BackUnavailable: the channel has ended, or the back reads nothing and too much waits for it.
        """

    async def stop(self) -> None:
        """End the channel, in bounded time; idempotent."""


Connect = Callable[[Listener], Awaitable[Channel]]
"""Opens a channel whose messages go to the listener, which may hear some before this returns.

Raises `BackUnavailable`, a sentence, if it can't be opened; the listener hears nothing then. The caller bounds the time
and may cancel; nothing of a channel that was not returned is left.
"""


def hear(listener: Listener, text: bytes) -> Malformed | None:
    """Hand a listener one message as it was read; what is no message is returned instead, and is to be skipped."""
    message = parse(text)
    if isinstance(message, Envelope):
        listener.received(message)
    elif isinstance(message, Batch):
        listener.received_batch(message)
    else:
        return message
    return None
