"""What is said in the name of many servers: refusals, warnings, and copies of what was asked."""

from typing import TYPE_CHECKING

from isthmus.errors import Fault, FrontFault
from isthmus.protocol.names import MESSAGE
from isthmus.wire.envelope import METHOD_NOT_FOUND, Envelope, error_message, notification_message

if TYPE_CHECKING:
    from isthmus.many.catalog import Whole
    from isthmus.protocol.judge import ModernRequest
    from isthmus.types import Port


def no_one_server(method: str) -> FrontFault:
    """What to say to a request of which nobody knows where it goes."""
    why = f"Method not found: nothing in {method} says which of the servers it is for."
    return FrontFault(why, code=METHOD_NOT_FOUND, status=404)


def warning(whole: "Whole") -> bytes:
    """The log message that says who took no part in a list."""
    said = [f"{each.why}" for each in whole.missing]
    return notification_message(MESSAGE, {"level": "warning", "logger": "isthmus", "data": " ".join(said)})


def copy_of(envelope: Envelope) -> Envelope:
    """Another one with the same members, for whoever changes it."""
    return Envelope(
        envelope.kind, dict(envelope.members), envelope.method, envelope.id, envelope.key, envelope.is_plain
    )


async def refuse(request: "ModernRequest", port: "Port", fault: Fault) -> None:
    """Answer with a fault of ours."""
    port.answer(error_message(request.envelope.id, fault.code, fault.why, fault.data), fault.status)
