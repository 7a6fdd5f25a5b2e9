"""What the fronts hand their messages to: each takes its path to the back."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final

from isthmus.engine import modern
from isthmus.engine.back import Back
from isthmus.engine.express import ExpressCall
from isthmus.engine.legacy import LegacySession
from isthmus.engine.settings import Settings
from isthmus.errors import BackUnavailable, Fault, WrongEra
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CANCELLED
from isthmus.protocol.versions import LEGACY
from isthmus.transports.http_back import error_code
from isthmus.transports.target import Target
from isthmus.types import Mute, Port, Session, Strays
from isthmus.version import __version__
from isthmus.wire.codec import close_object, one_line, parse_own
from isthmus.wire.envelope import METHOD_NOT_FOUND, Envelope, error_message, request_message
from isthmus.wire.headers import mirrored_lines

if TYPE_CHECKING:
    from isthmus.engine.sharing import Opened
    from isthmus.engine.visiting import Held, Visiting
    from isthmus.pool.pool import Pool

PROBE: Final = request_message(
    b"0",
    "initialize",
    {"protocolVersion": LEGACY[-1], "capabilities": {}, "clientInfo": {"name": "isthmus", "version": __version__}},
)
"""The `initialize` of one who only wants to know what a back is."""
_log: Final = logging.getLogger("isthmus.engine")


class Gateway:
    """Stands in front of one back (`types.Relay`).

    Args:
        target: the back.
        settings: how.
        stray: where a modern channel's messages go that belong to no call, if there is one client only.
        died: called with the sentence when the back fails before it has ever answered.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings | None = None,
        *,
        stray: Callable[[Envelope], None] | None = None,
        died: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self.back = Back(target, self._settings, stray=stray, died=died)
        self.limits = self.back.limits
        self.tasks = self.back.tasks
        self._sessions: set[Session] = set()
        self._visiting: Visiting | None = None
        self._pool: Pool[Opened] | None = None
        self._finding_out = 0
        """Requests that wait for the back's word on which era it speaks."""

    async def close(self) -> None:
        """End every session, process and connection."""
        if self._visiting is not None:
            self._visiting.close()
        sessions = (self.end_session(session) for session in list(self._sessions))
        pools = [self._pool.close()] if self._pool is not None else []
        await asyncio.gather(*sessions, *pools, self.back.end_channels(), return_exceptions=True)
        await self.back.close()

    def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Take one modern request to the back and its answer to `port`; see `types.Relay`."""
        if self.back.forwards and headers is not None:
            request.forwarded = self.back.forwarded(headers)
        speaks_modern = self.back.speaks_modern
        if speaks_modern is True:
            return modern.relay(self.back, request, port, headers, task)
        if speaks_modern is False:
            return self._visitors().relay(request, port)
        return self._relay(request, port, headers, task)

    async def _relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None,
    ) -> None:
        """Straight if the back turns out to be modern, across if it doesn't."""
        try:
            is_modern = await self._is_spoken(request)
        except Fault as fault:
            self.back.failed(fault)
            port.answer(error_message(request.envelope.id, fault.code, fault.why, fault.data), fault.status)
        else:
            if is_modern:
                await modern.relay(self.back, request, port, headers, task)
            else:
                await self._visitors().relay(request, port)

    async def _is_spoken(self, request: ModernRequest) -> bool:
        self._finding_out += 1
        try:
            async with asyncio.timeout(self.limits.call):
                return await self.back.is_spoken(request)
        except TimeoutError:
            why = f"{self.back.name} did not say in time which revisions it speaks. Try again."
            raise BackUnavailable(why) from None
        finally:
            self._finding_out -= 1

    def _visitors(self) -> "Visiting":
        if self._visiting is None:
            from isthmus.engine.visiting import Visiting

            self._visiting = Visiting(self.back, self._sessions_to_lease())
        return self._visiting

    def _sessions_to_lease(self) -> "Pool[Opened]":
        if self._pool is None:
            from isthmus.engine.sharing import make_pool

            self._pool = make_pool(self.back, self._settings.isolation)
        return self._pool

    def is_named(self, via: str) -> bool:
        """Whether a request came from this gateway's own connection to its back; see `types.Relay`."""
        return self.back.client is not None and self.back.client.via in via

    def can_express(self) -> bool:
        """Whether `express` is likely to take a request now."""
        client = self.back.client
        return client is not None and self.back.is_modern is True and not self.back.mirrored and client.has_idle()

    def express(self, request: ModernRequest, port: Port, headers: Mapping[str, str]) -> Callable[[], None] | None:
        """Take one modern request to the back without a task, where it can go at once; see `types.Relay`."""
        client = self.back.client
        if client is None or self.back.is_modern is not True:
            return None
        if self.back.forwards:
            request.forwarded = self.back.forwarded(headers)
        call = ExpressCall(self.back, request, port, headers)
        return call.leave if call.start(client) else None

    async def notify(self, envelope: Envelope, version: str) -> None:
        """Take a modern client's notification to the back; a back that is not modern or not there gets none.

        A cancellation is none of these: fronts that have it (stdio) cancel the request's task. Its id is a client's,
        and at the back would be the id of somebody else's request.
        """
        if envelope.method == CANCELLED:
            return
        back = self.back
        text = one_line(close_object(envelope.members))
        try:
            async with asyncio.timeout(self.limits.call):
                if back.client is None:
                    back.channels().send(text)
                elif back.is_modern is not False:
                    response = await back.client.request("POST", mirrored_lines(version, envelope.method), text)
                    if response.stream is not None:
                        response.stream.close()
        except (Fault, TimeoutError) as fault:
            _log.info("%s did not take %s: %s", back.name, envelope.method, fault)

    async def probe(self) -> bytes:
        """Ask the back what it is, as a legacy client would that leaves at once; the result's text.

        Raises:
            Fault: it can't be asked.
        """
        self.back.doubt()
        session, answer = await self.open_session(parse_own(PROBE), Mute())
        try:
            if self._settings.isolation == "shared":  # and opened long since
                await self._ping(session)
        finally:
            await self.end_session(session)
        return bytes(parse_own(answer).members["result"])

    async def _ping(self, session: Session) -> None:
        from isthmus.engine.sharing import Box

        box = Box()
        await session.request(parse_own(request_message(b"1", "ping", {})), box)
        answer = parse_own(box.message)
        if "error" in answer.members and error_code(answer) != METHOD_NOT_FOUND:
            raise BackUnavailable(f"{self.back.name} does not answer a ping.")

    @property
    def is_legacy(self) -> bool:
        """Whether the back is known to be spoken to in the legacy era alone."""
        return self.back.speaks_modern is False

    @property
    def heard_since(self) -> float:
        """Since when the sessions that are leased say what changed; one that ends after one request says nothing."""
        if self._pool is None or self._settings.isolation == "request":
            return inf
        return max((each.session.heard_since for each in self._pool), default=inf)

    @property
    def is_opening(self) -> bool:
        """Whether a process of the back has been started and has not said yet what it is."""
        return self.back.is_opening

    @property
    def forwards(self) -> bool:
        """Whether headers of clients go on to the back."""
        return self.back.forwards

    def forwarded(self, headers: Mapping[str, str] | None) -> bytes:
        """The lines of a client's headers that go on to the back."""
        return self.back.forwarded(headers)

    def hear(self, failed: Callable[[Fault], object], changed: Callable[[str | None], object]) -> None:
        """Have others told what requests failed with, and that a legacy session's list of a kind changed."""
        self.back.on_fault, self.back.on_change = failed, changed

    def is_busy(self) -> bool:
        """Whether calls are in flight, or parked."""
        is_awaited = self._finding_out > 0 or (self._pool is not None and self._pool.is_awaited())
        has_parked = self._visiting is not None and self._visiting.has_parked()
        return is_awaited or has_parked or len(self.back.deadlines) > 0

    def holds(self, state: str | None) -> bool:
        """Whether a call is parked here that a `requestState` stands for."""
        return self._visiting is not None and self._visiting.holds(state)

    def parked(self, state: str | None) -> "Held | None":
        """The call parked here that a `requestState` stands for, if there is one."""
        return self._visiting.parked(state) if self._visiting is not None else None

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        """A legacy client's own session with the back, and the answer to its `initialize`; see `types.Relay`.

        Raises:
            Fault: the back can't be opened, or refused.
        """
        try:
            session, answer = await self._open(envelope, strays, self.back.forwarded(headers))
        except Fault as fault:
            self.back.failed(fault)
            raise
        self.back.has_answered = True
        self._sessions.add(session)
        return session, answer

    async def _open(self, envelope: Envelope, strays: Strays, forwarded: bytes) -> tuple[Session, bytes]:
        """Straight if the back speaks the client's era, across if it doesn't."""
        if self.back.is_legacy is not False:
            try:
                if self._settings.isolation == "session":
                    session = LegacySession(self.back, strays, forwarded)
                    return session, await session.open(envelope)
                from isthmus.engine.leasing import LeasingSession

                leasing = LeasingSession(self.back, self._sessions_to_lease(), strays, forwarded)
                return leasing, await leasing.open(envelope)
            except WrongEra:
                self.back.is_legacy = False
        from isthmus.engine import asking

        return await asking.open_session(self.back, envelope, strays, forwarded)

    async def end_session(self, session: Session) -> None:
        """A legacy client left."""
        if session in self._sessions:
            self._sessions.discard(session)
            await session.close()
