"""A relay around a relay in which somebody stands in for the clients: modern ones in `engine/answering`, legacy ones in
`engine/standing`. What neither has anything to do for goes by as if it were not there.
"""

import asyncio
import itertools
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus.engine.answering import StoodCall, state_below
from isthmus.engine.inner import Inner
from isthmus.engine.stand import FORWARD, OFF, Stand, capabilities_in
from isthmus.engine.standing import StandSession
from isthmus.errors import Fault, FrontFault, fault_of
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CAPABILITIES_KEY, LOG_LEVEL_KEY, PROGRESS_KEY
from isthmus.protocol.parking import Seal
from isthmus.types import Port, Session, Strays
from isthmus.wire.codec import encode
from isthmus.wire.envelope import INVALID_PARAMS, Envelope, error_message

if TYPE_CHECKING:
    from isthmus.engine.visiting import Held

_DEBUG: Final = Raw(b'"debug"')


def stand_in(relay: Inner, stand: Stand) -> Inner:
    """The relay, with somebody who stands in for its clients; the relay itself where nobody does.

    Args:
        relay: what takes requests to the back.
        stand: who does what.
    """
    return relay if stand.is_idle else StandIn(relay, stand)


class StandIn:
    """A relay around a relay (`types.Relay`), and as such a member among others (`member.Inner`).

    Args: see `stand_in`.
    """

    def __init__(self, relay: Inner, stand: Stand) -> None:
        self.below = relay
        self.stand = stand
        self.limits = relay.limits
        self.tasks = relay.tasks
        self._numbers = itertools.count(1)
        self._sealing: Seal | None = None

    def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Take one modern request to the back and its answer to `port`; see `types.Relay`."""
        if self._passes(request):
            return self.below.relay(request, port, headers, task)
        return self._relay(request, port, headers, task)

    def express(self, request: ModernRequest, port: Port, headers: Mapping[str, str]) -> Callable[[], None] | None:
        """Take one modern request to the back without a task, if nothing is to be done for it."""
        return self.below.express(request, port, headers) if self._passes(request) else None

    def is_named(self, via: str) -> bool:
        """See `types.Relay`."""
        return self.below.is_named(via)

    def can_express(self) -> bool:
        """Whether `express` is likely to take a request now; with functions there is always something to be done."""
        return self.stand.is_negative and self.below.can_express()

    async def notify(self, envelope: Envelope, version: str) -> None:
        """Take a modern client's notification to the back."""
        await self.below.notify(envelope, version)

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        """A session for a legacy client, and the answer to its `initialize`; see `types.Relay`."""
        try:
            session = StandSession(self.stand, envelope, strays, self.tasks, self.limits.answer_wait)
        except RecursionError:
            raise FrontFault("What the client says of itself nests too deeply.", code=INVALID_PARAMS) from None
        below, answer = await self.below.open_session(session.initialize, session.strays, headers)
        return session, session.begin(below, answer)

    async def end_session(self, session: Session) -> None:
        """A legacy client left."""
        if isinstance(session, StandSession):
            session.stop()
            if session.session is not None:
                await self.below.end_session(session.session)

    @property
    def seal(self) -> Seal:
        """What seals the states of the clients."""
        if self._sealing is None:
            self._sealing = Seal(secrets.token_bytes(32))
        return self._sealing

    def edit(self, request: ModernRequest) -> None:
        """Have a request say what the back is to be told of the client."""
        stand, meta = self.stand, request.meta
        meta[CAPABILITIES_KEY] = stand.declared(meta.get(CAPABILITIES_KEY))
        if stand.log is OFF:
            meta.pop(LOG_LEVEL_KEY, None)
        elif stand.log is not FORWARD and not request.row.is_endless:
            meta[LOG_LEVEL_KEY] = _DEBUG
        if stand.progress is OFF:
            meta.pop(PROGRESS_KEY, None)
        elif stand.progress is not FORWARD and request.row.may_ask and PROGRESS_KEY not in meta:
            meta[PROGRESS_KEY] = Raw(encode(f"isthmus-{next(self._numbers)}"))

    def _passes(self, request: ModernRequest) -> bool:
        """Whether nothing is to be done for a request: all that is switched off its client has not got."""
        stand, meta = self.stand, request.meta
        if not stand.is_negative or (stand.log is OFF and request.row.name == "server/discover"):
            return False
        if (stand.log is OFF and LOG_LEVEL_KEY in meta) or (stand.progress is OFF and PROGRESS_KEY in meta):
            return False
        try:
            return not stand.changes(capabilities_in(meta.get(CAPABILITIES_KEY)))
        except RecursionError:
            return False

    async def _relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None,
    ) -> None:
        try:
            call = StoodCall(self, request, port)
            await call.run(headers, task)
        except RecursionError:
            why = "What the client says of itself nests too deeply."
            port.answer(error_message(request.envelope.id, INVALID_PARAMS, why), 400)
        except Exception as error:
            fault = fault_of(error)
            port.answer(error_message(request.envelope.id, fault.code, fault.why, fault.data), fault.status)

    # -- as a member of others --------------------------------------------------------------------------------------

    @property
    def is_legacy(self) -> bool:
        return self.below.is_legacy

    @property
    def heard_since(self) -> float:
        return self.below.heard_since

    @property
    def is_opening(self) -> bool:
        return self.below.is_opening

    @property
    def forwards(self) -> bool:
        return self.below.forwards

    def forwarded(self, headers: Mapping[str, str] | None) -> bytes:
        return self.below.forwarded(headers)

    def hear(self, failed: Callable[[Fault], object], changed: Callable[[str | None], object]) -> None:
        self.below.hear(failed, changed)

    async def probe(self) -> bytes:
        return await self.below.probe()

    def holds(self, state: str | None) -> bool:
        """Whether a call is parked below that a `requestState` stands for, be it sealed into one of ours."""
        return self.below.holds(state_below(self.seal, state))

    def parked(self, state: str | None) -> "Held | None":
        return self.below.parked(state_below(self.seal, state))

    def is_busy(self) -> bool:
        return self.below.is_busy()

    async def close(self) -> None:
        await self.below.close()
