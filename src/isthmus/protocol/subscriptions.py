"""How a listening stream ends (2026-07-28 basic/patterns/subscriptions)."""

from msgspec import Raw

from isthmus.protocol.names import SUBSCRIPTION_KEY
from isthmus.wire.envelope import result_message


def closing_message(id: bytes) -> bytes:
    """The result that says to the listener with this id that its subscription ended in good order.

    "When the server ends a subscription on its own initiative (for example, during shutdown), it SHOULD respond to the
    original `subscriptions/listen` request with a completion result before closing the stream" (*Graceful Closure*).
    """
    return result_message(id, {"resultType": "complete", "_meta": {SUBSCRIPTION_KEY: Raw(id)}})
