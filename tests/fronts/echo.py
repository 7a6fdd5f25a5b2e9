"""A relay without a back: it answers by the name of the tool that is called, and remembers what reached it."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from isthmus.limits import Limits
from isthmus.protocol.judge import ModernRequest
from isthmus.types import Port, Session, Strays
from isthmus.wire.codec import close_object, decode
from isthmus.wire.envelope import Envelope, notification_message, result_message

if TYPE_CHECKING:
    from isthmus.errors import Fault

PIECE = 64 * 1024


class Echo:
    """What both eras share: the tools."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.cancelled: list[str] = []
        self.finished: list[str] = []
        self.told: list[Any] = []
        self.sent: list[bytes] = []
        self.headers: Mapping[str, str] | None = None
        self.release = asyncio.Event()
        self.written = 0

    async def call(self, name: str, id: bytes, params: Any, port: Port) -> None:
        """Do what the name says, and answer."""
        self.began.append(name)
        try:
            await self._do(name, params, port)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        self.finished.append(name)
        said = "x" * params["arguments"]["size"] if name == "big" else params
        port.answer(result_message(id, {"resultType": "complete", "said": said}), 200)

    async def _do(self, name: str, params: Any, port: Port) -> None:
        if name == "noisy":
            for step in (1, 2):
                port.notify(notification_message("notifications/progress", {"progress": step}))
        elif name in ("hang", "subscriptions/listen"):
            if name != "hang":
                port.notify(notification_message("notifications/subscriptions/acknowledged", {}))
            await self.release.wait()
        elif name == "flood":
            for _ in range(params["arguments"]["pieces"]):
                port.notify(notification_message("notifications/message", {"data": "x" * PIECE}))
                self.written += PIECE
                await port.drain()
        elif name == "fail":
            raise ValueError("a bug")


class EchoRelay(Echo):
    """`types.Relay` for one front."""

    def __init__(self, bounds: Limits | None = None) -> None:
        super().__init__()
        self.limits = bounds or Limits()
        self.sessions: list[EchoSession] = []
        self.ended: list[Session] = []
        self.refusal: Fault | None = None

    def is_named(self, via: str) -> bool:
        """It sends nothing."""
        return False

    def can_express(self) -> bool:
        """Never: every request is to go through `relay`."""
        return False

    def express(self, request: ModernRequest, port: Port, headers: Mapping[str, str]) -> None:
        """Never called."""
        raise AssertionError

    async def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> None:
        """One modern request."""
        self.headers = headers
        params = {name: decode(raw) for name, raw in request.params.items()}
        self.sent.append(request.write(1))
        await self.call(request.name or request.row.name, request.envelope.id or b"null", params, port)

    async def notify(self, envelope: Envelope, version: str) -> None:
        """A modern notification."""
        self.told.append(envelope.method)

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        """A legacy session, in the revision that the client wants."""
        if self.refusal is not None:
            raise self.refusal
        version = decode(envelope.members["params"])["protocolVersion"]
        session = EchoSession(version, strays)
        self.sessions.append(session)
        answer = {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "echo", "version": "1"}}
        return session, result_message(envelope.id or b"null", answer)

    async def end_session(self, session: Session) -> None:
        """The session is over."""
        self.ended.append(session)


class EchoSession(Echo):
    """`types.Session` for one client."""

    heard_since = 0.0

    def __init__(self, version: str, strays: Strays) -> None:
        super().__init__()
        self.version = version
        self.strays = strays

    async def request(self, envelope: Envelope, port: Port) -> None:
        """One request."""
        params = decode(envelope.members["params"]) if "params" in envelope.members else {}
        self.told.append(envelope.method)
        await self.call(params.get("name", envelope.method), envelope.id or b"null", params, port)

    async def notify(self, envelope: Envelope) -> None:
        """One notification."""
        self.told.append(envelope.method)

    async def answer(self, envelope: Envelope) -> None:
        """One answer."""
        self.told.append(json.loads(close_object(envelope.members)))

    async def close(self) -> None:
        """The client is gone."""
