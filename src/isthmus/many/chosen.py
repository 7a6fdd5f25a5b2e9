"""One back for each request, chosen when it comes: the front's requests are not all for the same one.

Which it is says a function of the user's. Backs that were chosen before are known by their spec, so that what is kept
of them (connections, sessions that last) is kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Final

from isthmus.engine.member import Member, Spec
from isthmus.engine.settings import Settings
from isthmus.errors import Fault
from isthmus.many.gateway import Many
from isthmus.many.legs import Running
from isthmus.many.routes import Route
from isthmus.many.session import ManySession
from isthmus.many.words import refuse
from isthmus.protocol.judge import ModernRequest
from isthmus.types import Port, Session, Strays
from isthmus.wire.envelope import Envelope

CHOSEN_KEPT: Final = 256
"""Backs that are remembered when they were not chosen lately: users with credentials of their own."""


class Chosen(Many):
    """Stands in front of whatever `choose` says, request by request.

    Args:
        choose: which back the request at hand goes to, given the HTTP headers that came with it or opened its session
            (None where there are none); it may raise a `Fault`.
        settings: as for `Many`.
    """

    def __init__(
        self, choose: Callable[[Mapping[str, str] | None], Awaitable[Spec]], settings: Settings | None = None
    ) -> None:
        super().__init__((), settings)
        self._choose = choose

    async def member(self, headers: Mapping[str, str] | None) -> Member:
        """The back of the request at hand.

        Raises:
            Fault: there is none.
        """
        spec = await self._choose(headers)
        found = next((each for each in self.members if each.spec == spec), None)
        if found is not None:
            return found
        kept = self.members[-CHOSEN_KEPT:]
        self.reload([*(each.spec for each in kept), spec])
        return self.members[-1]

    def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[None, None, None]:
        """Take one modern request to the back that is chosen for it; see `types.Relay`."""
        return self._relay(request, port, headers, task)

    async def _relay(
        self, request: ModernRequest, port: Port, headers: Mapping[str, str] | None, task: asyncio.Task[None] | None
    ) -> None:
        try:
            member = await self.member(headers)
        except Fault as fault:
            await refuse(request, port, fault)
        else:
            await member.gateway.relay(request, port, headers, task)

    def _announce(self) -> None:
        """That another back was chosen changes nothing for anybody."""

    def can_express(self) -> bool:
        """Choosing takes a task."""
        return False

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        """A legacy client's session, whose `initialize` goes to the back that is chosen for that."""
        session = ChosenSession(self, envelope, strays, headers)
        return await self.keep(session)


class ChosenSession(ManySession):
    """A legacy client each of whose requests goes to the back that is chosen for it."""

    _many: Chosen

    async def open(self) -> bytes:
        """The answer to `initialize` is that of the back chosen for it."""
        return await self._open_sole(await self._many.member(self._front_headers))

    async def _take(self, envelope: Envelope, port: Port, running: Running) -> None:
        await self._send(Route(await self._many.member(self._front_headers), ""), envelope, port, running)
