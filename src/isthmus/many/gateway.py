"""What fronts hand their messages to where there are many backs."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus import limits
from isthmus.engine.gateway import PROBE
from isthmus.engine.member import Awaited, Ends, Member, Said, Spec, quietly, within_deadlines
from isthmus.engine.settings import Settings
from isthmus.engine.tasks import Tasks
from isthmus.errors import Fault, fault_of
from isthmus.many.asker import ModernAsker
from isthmus.many.catalog import KIND_OF, Catalog
from isthmus.many.listing import Pages, read_cursor
from isthmus.many.ports import RoutedPort
from isthmus.many.routes import ROUTED, Route, Routes, Wanted, wanted
from isthmus.many.words import copy_of, no_one_server, refuse, warning
from isthmus.protocol import edits
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CANCELLED, HEADERS_KEY, LOG_LEVEL_KEY, MISSING_KEY
from isthmus.protocol.versions import MODERN
from isthmus.routing import merge
from isthmus.routing.face import KEYS, NAMED
from isthmus.types import Mute, Port, Session, Strays
from isthmus.wire.codec import encode, parse_own, string
from isthmus.wire.envelope import (
    Envelope,
    result_message,
)

if TYPE_CHECKING:
    from isthmus.engine.visiting import Held
    from isthmus.many.session import ManySession

_LISTEN: Final = "subscriptions/listen"
"""Never left to a sole member: it may be one of several as soon as something is added."""
_WARNED: Final = frozenset({"debug", "info", "notice", "warning"})


class Many:
    """Stands in front of many backs (`types.Relay`).

    Args:
        specs: the servers, in the order of the configuration.
        settings: the name, the limits of the front, and whether its clients are local.
        stray, died: as for `engine.gateway.Gateway`, where there is one server.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        settings: Settings | None = None,
        *,
        stray: Callable[[Envelope], None] | None = None,
        died: Callable[[str], None] | None = None,
    ) -> None:
        self._ends = Ends(stray, died) if len(specs) == 1 else Ends()
        self.settings = settings or Settings()
        self.limits = self.settings.limits
        self.tasks = Tasks()
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.info: Raw = edits.server_info(self.settings.name).raw
        self.pages = Pages(self.info)
        self.catalog = Catalog(self.now)
        self.sessions: set[ManySession] = set()
        self.listeners: set[Callable[[], object]] = set()
        self._outer: list[Callable[[str | None], object]] = []
        self._retiring: list[Member] = []
        self._hidden: Collection[tuple[str, str]] = ()
        self.routes = Routes([])
        self.reload(specs)

    # -- as a member of others (`member.Inner`) ---------------------------------------------------------------------

    is_legacy = False
    is_opening = False
    heard_since = inf

    def hear(self, failed: Callable[[Fault], object], changed: Callable[[str | None], object]) -> None:
        """Have others told that what is listed changed; what fails here is put out here."""
        self.listeners.add(partial(changed, None))
        self._outer.append(changed)

    async def probe(self) -> bytes:
        """Ask all of them what they are."""
        session, answer = await self.open_session(parse_own(PROBE), Mute())
        await self.end_session(session)
        return bytes(parse_own(answer).members["result"])

    def holds(self, state: str | None) -> bool:
        """Whether a call is parked at one of them that a `requestState` stands for."""
        return any(member.gateway.holds(state) for member in self.members)

    def parked(self, state: str | None) -> "Held | None":
        """The call that is parked at one of them and that a `requestState` stands for, if there is one."""
        there = (member.gateway.parked(state) for member in self.members)
        return next((each for each in there if each is not None), None)

    def is_busy(self) -> bool:
        """Whether calls are in flight, or parked."""
        return any(member.is_busy() for member in self.members)

    def __repr__(self) -> str:
        out = [f"{member.name}: {member.why_out}" for member in self.members if member.why_out is not None]
        return f"<Many {len(self.members)} servers, {len(self.sessions)} sessions, out: {out}>"

    @property
    def members(self) -> tuple[Member, ...]:
        """The backs, in the order of the configuration."""
        return self.routes.members

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Wait for the servers that the proxy does not start without, and for those that a reload puts in their place.

        Raises:
            Fault: one of them is not there.
        """
        met: set[Member] = set()
        while needed := [member for member in self.members if member.spec.required and member not in met]:
            found = await asyncio.gather(*(member.probe() for member in needed), return_exceptions=True)
            for member, got in zip(needed, found, strict=True):
                if isinstance(got, BaseException) and member in self.members:
                    raise got
            met.update(needed)

    def reload(self, specs: Sequence[Spec], hidden: Collection[tuple[str, str]] = ()) -> None:
        """Put other servers in place of these. Equal ones stay as they are; calls in flight end where they began.

        Args:
            specs: the servers.
            hidden: what nobody is to see of them (`routes.Routes`).

        Raises:
            ConfigError: one of them can't be used. Then nothing has changed.
        """
        members = self._members_for(specs)
        left = [member for member in self.members if member not in members]
        if tuple(members) == self.members and hidden == self._hidden:
            return
        self._hidden = hidden
        self.routes = Routes(members, hidden, may_pass=self.settings.instructions is None)
        self._retiring += left
        for member in left:
            self.catalog.changed(member, None)
            self.tasks.start(self._retire(member))
        self.catalog.reordered()
        self._announce()

    def refresh(self, name: str) -> None:
        """A server of this process has other things than before."""
        for member in self.members:
            if member.name == name:
                self._turned(member)

    async def close(self) -> None:
        """End every session, process and connection."""
        self.listeners.clear()  # that all members go is no change that anybody could look at
        sessions = [self.end_session(session) for session in list(self.sessions)]
        await asyncio.gather(*sessions, return_exceptions=True)
        await self.tasks.close()
        members = [*self.members, *self._retiring]
        await asyncio.gather(*(member.close() for member in members), return_exceptions=True)

    def _members_for(self, specs: Sequence[Spec]) -> list[Member]:
        """The member of each, an old one or a new one; where one can't be made, the new ones are closed."""
        left = list(self.members)
        entered: dict[int, Member] = {}
        try:
            for at in sorted(range(len(specs)), key=lambda at: specs[at].beside is not None):
                same = next((member for member in left if member.spec == specs[at]), None)
                if same is not None:
                    left.remove(same)
                entered[at] = same or self._enter(specs[at], entered.values())
        except BaseException:
            for member in entered.values():
                if member not in self.members:
                    self.tasks.start(member.close())
            raise
        return [entered[at] for at in range(len(specs))]

    def _enter(self, spec: Spec, others: Iterable[Member]) -> Member:
        main = next((each for each in others if each.name == spec.beside), None) if spec.beside is not None else None
        return Member(
            spec,
            is_local=self.settings.is_local,
            turned=self._turned,
            changed=self._changed,
            main=main,
            ends=self._ends,
        )

    async def _retire(self, member: Member) -> None:
        """End a member that is configured no more, when its calls in flight have ended."""
        until = self.now() + self.limits.call_most
        # calls end in many places, none of which has to know that somebody waits for the last one
        while self.now() < until and self._is_used(member):  # noqa: ASYNC110
            await asyncio.sleep(limits.RETIRE_LOOK)
        for session in list(self.sessions):
            await session.leave(member)
        await member.close()
        self._retiring.remove(member)

    def _is_used(self, member: Member) -> bool:
        """Whether calls are in flight there, or parked."""
        return member.is_busy() or any(each.is_in(member) for each in self.sessions)

    def _turned(self, member: Member) -> None:
        """A member is out, or there again."""
        self.catalog.turned(member)
        self._announce()

    def _changed(self, member: Member, kind: str | None) -> None:
        """What a member lists of a kind may be other than before."""
        self.catalog.changed(member, kind)
        for changed in self._outer:
            changed(kind)

    def _announce(self) -> None:
        """What there is has changed: everybody who listens hears so."""
        for hear in [*self.listeners, *(session.changed for session in self.sessions)]:
            hear()

    # -- modern clients ---------------------------------------------------------------------------------------------

    def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Take one modern request to its back and the answer to `port`; see `types.Relay`."""
        sole, method = self.routes.sole, request.row.name
        try:
            route = self._where_parked(request)
            if route is None and sole is not None and method != _LISTEN:
                return sole.gateway.relay(request, port, headers, task)
            if method not in ROUTED:
                return self._answer(request, port, headers)
            asked = wanted(method, request.params)
            route = route or self.routes.find(asked)
            if route is None:
                return self._seek(request, asked, port, headers, task)
            return self._send(request, route, port, headers, task)
        except Fault as fault:
            return refuse(request, port, fault)

    def is_named(self, via: str) -> bool:
        """Whether a request came from one of the backs' own gateways; see `types.Relay`."""
        return any(member.gateway.is_named(via) for member in self.members)

    def can_express(self) -> bool:
        """Whether `express` is likely to take a request now."""
        sole = self.routes.sole
        return sole is None or sole.gateway.can_express()

    def express(self, request: ModernRequest, port: Port, headers: Mapping[str, str]) -> Callable[[], None] | None:
        """Take one modern request to its back without a task, or a ready list to its client; see `types.Relay`."""
        sole, method = self.routes.sole, request.row.name
        if self._retiring and "requestState" in request.params:
            return None
        if sole is not None and method != _LISTEN:
            return sole.gateway.express(request, port, headers)
        if method in KIND_OF:
            return self._express_list(request, port, headers)
        params = request.params
        route = self.routes.simple(method, params)
        if route is None or route.text is None or route.member.why_out is not None or "requestState" in params:
            return None
        gateway, face = route.member.gateway, route.member.face
        if not gateway.can_express():
            return None
        if face.is_plain:
            return gateway.express(request, port, headers)
        key, name = KEYS[NAMED[method]], request.name
        said, params[key] = params[key], route.text
        request.name = route.own if request.row.routed is not None else None
        leave = gateway.express(request, RoutedPort(port, face, method), headers)
        if leave is None:  # nothing has been done then: the name must be the client's again
            params[key], request.name = said, name
        return leave

    def _express_list(
        self, request: ModernRequest, port: Port, headers: Mapping[str, str]
    ) -> Callable[[], None] | None:
        if "cursor" in request.params or LOG_LEVEL_KEY in request.meta:
            return None
        whole = self.catalog.ready(KIND_OF[request.row.name], ModernAsker(self, request, headers))
        if whole is None:
            return None
        port.answer(self.pages.answer(request.envelope.id, whole, None, self.now(), is_modern=True), 200)
        return _nothing

    def _send(
        self,
        request: ModernRequest,
        route: Route,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None,
    ) -> Coroutine[Any, Any, None]:
        member, method = route.member, request.row.name
        if member.why_out is not None:
            raise member.fault()
        if member.spec.hears_headers and headers is not None:
            request.meta[HEADERS_KEY] = Raw(encode(dict(headers)))
        return member.gateway.relay(_readdressed(request, route), _routed(port, route, method), headers, task)

    def _where_parked(self, request: ModernRequest) -> Route | None:
        """Where a call is parked that its client comes back to, if that is configured no more, or otherwise."""
        if not self._retiring or "requestState" not in request.params or request.row.name not in ROUTED:
            return None
        state = string(request.params["requestState"])
        old = next((each for each in self._retiring if each.gateway.holds(state)), None)
        return Routes([old]).find(wanted(request.row.name, request.params)) if old is not None else None

    async def _seek(
        self,
        request: ModernRequest,
        asked: Wanted,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None,
    ) -> None:
        try:
            route = await self.routes.seek(asked, self.catalog, ModernAsker(self, request, headers))
            work = self._send(request, route, port, headers, task)
        except Exception as error:
            work = refuse(request, port, fault_of(error))
        await work

    async def _answer(self, request: ModernRequest, port: Port, headers: Mapping[str, str] | None) -> None:
        """Answer what goes to all of them."""
        method, asker = request.row.name, ModernAsker(self, request, headers)
        try:
            if method in KIND_OF:
                port.answer(await self._list(request, port, asker), 200)
            elif method == "server/discover":
                port.answer(result_message(request.envelope.id or b"null", await self._discover(asker)), 200)
            elif method == _LISTEN:
                from isthmus.many.listening import listen

                await listen(self, request, port, asker)
            else:
                raise no_one_server(method)
        except Exception as error:
            await refuse(request, port, fault_of(error))

    async def _list(self, request: ModernRequest, port: Port, asker: ModernAsker) -> bytes:
        whole = await self.catalog.whole(request.row.name, asker, self.routes)
        level = string(request.meta.get(LOG_LEVEL_KEY))
        if whole.missing and level in _WARNED:
            port.notify(warning(whole))
        cursor = read_cursor(request.params.get("cursor"))
        return self.pages.answer(request.envelope.id, whole, cursor, self.now(), is_modern=True)

    async def _discover(self, asker: ModernAsker) -> dict[str, Any]:
        missing = await self.meet([(member, asker.meet) for member in self.members], is_modern=True)
        offered = self.capabilities(asker.told, is_modern=True)
        return merge.discover(offered, self.instructions(asker.told), MODERN, self.info, missing or None, MISSING_KEY)

    async def notify(self, envelope: Envelope, version: str) -> None:
        """Take a modern client's notification to every back that is there."""
        if envelope.method == CANCELLED:
            return
        there = [member for member in self.members if member.why_out is None]
        telling = [Awaited(each, each.begin(each.gateway.notify(copy_of(envelope), version))) for each in there]
        await within_deadlines(telling, self.now)

    # -- legacy clients ---------------------------------------------------------------------------------------------

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        """A legacy client's session, and the answer to its `initialize`."""
        from isthmus.many.session import ManySession

        return await self.keep(ManySession(self, envelope, strays, headers))

    async def keep(self, session: "ManySession") -> tuple[Session, bytes]:
        """Open a session, and keep it until it is ended."""
        self.sessions.add(session)
        try:
            return session, await session.open()
        except BaseException as error:
            await self.end_session(session)
            if isinstance(error, Exception):
                raise fault_of(error) from None
            raise

    async def end_session(self, session: Session) -> None:
        """A legacy client left."""
        if session in self.sessions:
            self.sessions.discard(session)
            self.catalog.forget(session)
            await session.close()

    # -- what is known of the members -------------------------------------------------------------------------------

    async def meet(
        self, wanted: Sequence[tuple[Member, Callable[[Member], Coroutine[Any, Any, None]]]], *, is_modern: bool
    ) -> dict[str, str]:
        """Have each member say what it is that has not said so in this era, within its deadline.

        Returns:
            Who is missing, and why. One that is late and has said so in the other era is not.
        """
        new = [(m, work) for m, work in wanted if not m.has_met(is_modern=is_modern) and m.why_out is None]
        waiting = [Awaited(m, m.begin(quietly(work(m))), partial(work, m)) for m, work in new]
        known = {m for m, _ in new if m.is_met and not m.is_private}
        await within_deadlines(waiting, self.now, known)
        return {member.name: member.why_out for member, _ in wanted if member.why_out is not None}

    @property
    def forwards(self) -> bool:
        """Whether headers of clients go on to any member."""
        return any(member.gateway.forwards for member in self.members)

    def headers_to_forward(self, headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """A client's headers without those that mirror its request; None where no member gets any."""
        if headers is None or not self.forwards:
            return None
        return {name: value for name, value in headers.items() if not name.startswith("mcp-")}

    def forwarded(self, headers: Mapping[str, str] | None) -> bytes:
        """The lines of a client's headers that go on to any member."""
        return b"".join(member.gateway.forwarded(headers) for member in self.members) if headers is not None else b""

    def capabilities(self, told: Mapping[str, Said], *, is_modern: bool) -> dict[str, Any]:
        """What all of them can do together; one that has never said may be able to do anything that a list shows.

        Args:
            told: what they said to one client alone, by their names.
            is_modern: whether it is a modern client.
        """
        each = [
            told[member.name].offered if member.name in told else member.capabilities(is_modern=is_modern)
            for member in self.members
        ]
        known = [offered for offered in each if offered is not None]
        return merge.capabilities(known, is_whole=len(known) == len(self.members))

    def instructions(self, told: Mapping[str, Said]) -> str | None:
        """What all of them say of themselves, under their names; the proxy's own instead, where it has any.

        Args:
            told: what they said to one client alone, by their names.
        """
        if self.settings.instructions is not None:
            return self.settings.instructions
        each = [(member.name, told.get(member.name, member).instructions) for member in self.members]
        said = [(name, text) for name, text in each if text]
        if len(self.members) == 1:
            return said[0][1] if said else None
        return merge.instructions(said)


def _readdressed(request: ModernRequest, route: Route) -> ModernRequest:
    face = route.member.face
    if not face.is_plain:
        face.put(request.row.name, route.own, request.params)
        if request.row.routed is not None:
            request.name = route.own
        if request.row.name == "tools/call":
            request.covered |= face.covered(route.own)
    return request


def _routed(port: Port, route: Route, method: str) -> Port:
    return port if route.member.face.is_plain else RoutedPort(port, route.member.face, method)


def _nothing() -> None:
    """Nothing is left to cancel."""
