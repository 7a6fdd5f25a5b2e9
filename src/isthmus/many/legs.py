"""What a legacy client of many backs has at one of them: a session, and the ways back of its requests there."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from isthmus.engine.member import Member
from isthmus.engine.sharing import Box
from isthmus.types import Mute, Port, Session, Strays, Through
from isthmus.wire.codec import encode, parse_own
from isthmus.wire.envelope import Envelope, request_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from isthmus.engine.questions import Asked
    from isthmus.errors import Fault
    from isthmus.many.session import ManySession
    from isthmus.routing.face import Face


class Running:
    """A request that is under way: at which back, once it is there."""

    __slots__ = ("is_cancelled", "leg", "member", "task", "uri")

    def __init__(self) -> None:
        self.leg: Leg | None = None
        self.member: Member | None = None
        """Where it goes, from before anything is opened there."""
        self.uri: str | None = None
        """The client's URI of a resource that it subscribes to, or unsubscribes from."""
        self.is_cancelled = False
        self.task = asyncio.current_task()


class Leg(Mute):
    """What the client has at one back (`types.Strays` for what belongs to no request there)."""

    def __init__(self, owner: "ManySession", member: Member, strays: Strays) -> None:
        self.member = member
        self.session: Session | None = None
        self.opening: asyncio.Task[None] | None = None
        self.opened: Callable[[], object] | None = None
        self.fault: Fault | None = None
        """Why it could not be opened."""
        self.waiting = 0
        """Requests that wait for the opening."""
        self.answer_to_initialize = b""
        self.asked: Asked = {}
        self._owner = owner
        self._strays = strays

    @property
    def is_open(self) -> bool:
        return self._strays.is_open

    def notify(self, message: bytes) -> None:
        self._owner.said(self, message, self._strays)

    async def drain(self) -> None:
        await self._strays.drain()


async def ask(leg: Leg, method: str, params: Any) -> bytes:
    """A back's answer to a request of ours."""
    assert leg.session is not None
    box, id = Box(), encode(f"isthmus-{secrets.token_hex(8)}")
    await leg.session.request(parse_own(request_message(id, method, params)), box)
    return box.message


async def notify(leg: Leg, envelope: Envelope) -> None:
    """Tell a back something, if it is there."""
    if leg.session is not None:
        await leg.session.notify(envelope)


class LegPort(Through):
    """The way back of a request that went to one back (`types.Port`)."""

    __slots__ = ("_face", "_heed", "_leg", "_method", "_owner")

    def __init__(
        self,
        owner: "ManySession",
        leg: Leg,
        face: "Face",
        method: str,
        port: Port,
        heed: "Callable[[bytes], object] | None" = None,
    ) -> None:
        super().__init__(port)
        self._owner = owner
        self._leg = leg
        self._face = face
        self._method = method
        self._heed = heed

    def notify(self, message: bytes) -> None:
        self._owner.said(self._leg, message, self._port)

    def answer(self, message: bytes, status: int) -> None:
        if self._heed is not None:
            self._heed(message)
        face = self._face
        if not face.is_plain:  # that one back of many lost its session is no reason for the client to begin a new one
            status = 200
        self._port.answer(face.answer(self._method, message), status)
