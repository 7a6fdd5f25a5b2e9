"""A legacy client's session with many backs: one of its own at each, opened when it is first needed.

The client negotiates its revision with the proxy; each back negotiates its own. What each session is (straight, crossed
or leased) is its gateway's affair. Ids and progress tokens of questions are the proxy's own, since two backs may ask at
once.
"""

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus.engine.asking import AskingSession
from isthmus.engine.member import Awaited, Member, Nested, Said, within_deadlines
from isthmus.engine.questions import Questions
from isthmus.engine.sharing import Box
from isthmus.errors import BackUnavailable, Fault, FrontFault, fault_of
from isthmus.many.asker import result_of
from isthmus.many.catalog import KIND_OF, Page, read_page, untold
from isthmus.many.legs import Leg, LegPort, Running, ask, notify
from isthmus.many.listing import read_cursor
from isthmus.many.routes import ROUTED, Route, wanted
from isthmus.many.watched import SUBSCRIBE, UNSUBSCRIBE, UPDATED, Place, Watched
from isthmus.many.words import copy_of, no_one_server, warning
from isthmus.protocol import edits
from isthmus.protocol.crossings import legacy_front
from isthmus.protocol.judge import make_modern
from isthmus.protocol.names import CANCELLED, HEADERS_KEY, INITIALIZED, PROGRESS
from isthmus.routing.face import KEYS, NAMED
from isthmus.transports.target import HttpTarget
from isthmus.types import Port, Strays, refuse_twice
from isthmus.wire.codec import close_object, encode, identify, open_object, parse, parse_own, string
from isthmus.wire.envelope import (
    INVALID_PARAMS,
    Envelope,
    Kind,
    Members,
    error_message,
    notification_message,
    result_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from isthmus.many.gateway import Many

_log: Final = logging.getLogger("isthmus.many")


class ManySession:
    """One legacy client of many backs (`types.Session`, and `catalog.Asker` for its lists).

    Args:
        many: the backs.
        initialize: what the client said first.
        strays: where messages go that belong to no request of it.
        headers: of the HTTP request that opened it; None where its transport has none.
    """

    is_known = True

    def __init__(self, many: "Many", initialize: Envelope, strays: Strays, headers: "Mapping[str, str] | None") -> None:
        self._many = many
        self._front_headers = headers
        self._headers = many.headers_to_forward(headers)
        self._initialize = initialize
        self._client = legacy_front.read_client(copy_of(initialize))
        self.version = self._client.version
        self._strays = strays
        self._legs: dict[Member, Leg] = {}
        self._running: dict[int | str, Running] = {}
        self._questions: Questions[Leg] = Questions()
        self._level: Envelope | None = None
        self._watched = Watched()
        self._watching: asyncio.Task[None] | None = None
        self._told: dict[str, Said] = {}
        self._is_initialized = False
        self._is_closed = False
        strays.opened = self._listens

    # -- as a session -----------------------------------------------------------------------------------------------

    async def open(self) -> bytes:
        """Meet the backs that have never said what they are; the answer to `initialize`."""
        members = self._many.members
        sole = self._many.routes.sole
        if sole is not None:
            return await self._open_sole(sole)
        await self._many.meet([(member, self._meet) for member in members], is_modern=False)
        result: dict[str, Any] = {
            "protocolVersion": self.version,
            "capabilities": self._many.capabilities(self._told, is_modern=False),
            "serverInfo": self._many.info,
        }
        instructions = self._many.instructions(self._told)
        if instructions is not None:
            result["instructions"] = instructions
        return result_message(self._initialize.id or b"null", result)

    async def _open_sole(self, member: Member) -> bytes:
        """With one back that nothing is changed of, all that it says is the client's."""
        leg = await self._leg(member)
        assert leg.session is not None
        self.version = leg.session.version
        return leg.answer_to_initialize

    async def request(self, envelope: Envelope, port: Port) -> None:
        """Take one request to its back, or answer it out of all of them."""
        key = envelope.key if envelope.key is not None else 0
        if key in self._running:
            refuse_twice(envelope.id, port)
            return
        running = self._running[key] = Running()
        try:
            await self._take(envelope, port, running)
        except Exception as error:
            fault = fault_of(error)
            code = fault.code
            if code == INVALID_PARAMS and envelope.method == "resources/read" and fault.data is not None:
                code = legacy_front.RESOURCE_NOT_FOUND
            port.answer(error_message(envelope.id, code, fault.why, fault.data), 200)
        except asyncio.CancelledError:
            if not running.is_cancelled or running.task is None or running.task.uncancel() > 0:
                raise
            port.abandon()
        finally:
            del self._running[key]

    async def notify(self, envelope: Envelope) -> None:
        """Take a notification of the client to where it belongs."""
        if envelope.method == CANCELLED:
            await self._cancel(envelope)
            return
        if envelope.method == INITIALIZED:
            self._is_initialized = True
        legs = self._legs.values() if envelope.method != PROGRESS else self._asked_by(envelope)
        await self._tell_all(lambda leg: notify(leg, copy_of(envelope)), legs)

    async def answer(self, envelope: Envelope) -> None:
        """Take the client's answer to a question there; an answer to nothing is dropped, counted."""
        leg = self._questions.answered(envelope)
        if leg is not None and leg.session is not None:
            await leg.session.answer(envelope)

    @property
    def heard_since(self) -> float:
        there = [leg.session for leg in self._legs.values() if leg.session is not None]
        return max((each.heard_since for each in there), default=inf)

    async def close(self) -> None:
        """The client is gone."""
        self._is_closed = True
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.gather(*(self.leave(member) for member in list(self._legs)), return_exceptions=True)

    # -- what happens to the members --------------------------------------------------------------------------------

    def is_in(self, member: Member) -> bool:
        """Whether a request is under way there."""
        return any(each.member is member for each in self._running.values())

    async def leave(self, member: Member) -> None:
        """End what there is at a member."""
        leg = self._legs.pop(member, None)
        if leg is None:
            return
        self._questions.forget(leg.asked.values())
        if leg.opening is not None:
            leg.opening.cancel()
        if leg.session is not None:
            await member.gateway.end_session(leg.session)

    def changed(self) -> None:
        """A member is there again, or is gone, or the members are others: what there is has changed."""
        if self._is_initialized and not self._is_closed:
            for each in ("tools", "prompts", "resources"):
                if each in self._many.capabilities(self._told, is_modern=False):
                    self._strays.notify(notification_message(f"notifications/{each}/list_changed"))
        self._watch_left()

    # -- as who asks for lists --------------------------------------------------------------------------------------

    @property
    def shape(self) -> str:
        """The revision of the client."""
        return self.version

    @property
    def owner(self) -> object:
        """Its lists are its own: a stateful back may have others for another session."""
        return self

    async def ask(self, member: Member, method: str, cursor: str | None) -> Page:
        """One page of a member's list."""
        leg = await self._own_leg(member)
        params = {"cursor": cursor} if cursor is not None else {}
        if isinstance(leg.session, AskingSession):
            return await self._ask_modern(member, method, params)
        assert leg.session is not None
        began = self._many.loop.time()
        result = result_of(await ask(leg, method, params), member, method)
        good_for = untold(member, method, is_heard=leg.session.heard_since <= began)
        return read_page(member, method, result or {}, untold=good_for)

    async def _ask_modern(self, member: Member, method: str, params: dict[str, Any]) -> Page:
        """A modern back's own word on how long its list is good for is not in what a legacy client is told."""
        own = make_modern(method, legacy_front.meta_of(self._client), open_object(encode(params)))
        box = Box()
        await member.gateway.relay(own, box, self._headers)
        result: Members = result_of(box.message, member, method) or {}
        told = {name: result[name] for name in ("ttlMs", "cacheScope") if name in result}
        legacy_front.legacy_result(method, result, self.version)
        return read_page(member, method, result | told, untold=None)

    # -- inside: requests -------------------------------------------------------------------------------------------

    async def _take(self, envelope: Envelope, port: Port, running: Running) -> None:
        method, id = envelope.method, envelope.id or b"null"
        if method in (SUBSCRIBE, UNSUBSCRIBE):
            running.uri = string(edits.param(envelope, "uri"))
            if method == UNSUBSCRIBE and running.uri is not None:
                self._watched.give_up(running.uri, self._many.members)
        sole = self._many.routes.sole
        if sole is not None:
            await self._send(Route(sole, ""), envelope, port, running)
        elif method in KIND_OF:
            await self._list(envelope, port)
        elif method in ROUTED:
            params = (open_object(envelope.members["params"]) if "params" in envelope.members else None) or {}
            simple = self._many.routes.simple(method, params)
            route = simple or await self._seek(method, params)
            if not route.member.face.is_plain:
                if simple is not None and simple.text is not None:
                    params[KEYS[NAMED[method]]] = simple.text
                else:
                    route.member.face.put(method, route.own, params)
                envelope.members["params"] = Raw(close_object(params))
            await self._send(route, envelope, port, running)
        elif method == "ping":
            port.answer(result_message(id, {}), 200)
        elif method == "logging/setLevel":
            await self._set_level(envelope)
            port.answer(result_message(id, {}), 200)
        else:
            raise no_one_server(method)

    async def _seek(self, method: str, params: Members) -> Route:
        asked, routes = wanted(method, params), self._many.routes
        return routes.find(asked) or await routes.seek(asked, self._many.catalog, self)

    async def _send(self, route: Route, envelope: Envelope, port: Port, running: Running) -> None:
        member = route.member
        if member.why_out is not None and self._many.routes.sole is None:
            raise member.fault()
        if member.spec.hears_headers and self._front_headers is not None:
            edits.set_meta(envelope, HEADERS_KEY, encode(dict(self._front_headers)))
        running.member = member.main
        leg = await self._leg(member)
        running.leg = leg
        assert leg.session is not None
        own = string(edits.param(envelope, "uri")) if running.uri is not None else None
        if running.uri is None or own is None:
            await leg.session.request(envelope, LegPort(self, leg, member.face, envelope.method, port))
            return
        with self._watched.asking(envelope.method, Place(leg.member, own), running.uri) as heed:
            await leg.session.request(envelope, LegPort(self, leg, member.face, envelope.method, port, heed))
        self._watch_left()

    async def _list(self, envelope: Envelope, port: Port) -> None:
        many = self._many
        whole = await many.catalog.whole(envelope.method, self, many.routes)
        if whole.missing and self._level is not None and self._wants_warnings():
            port.notify(warning(whole))
        cursor = read_cursor(edits.param(envelope, "cursor"))
        port.answer(many.pages.answer(envelope.id, whole, cursor, many.now(), is_modern=False), 200)

    async def _set_level(self, envelope: Envelope) -> None:
        level = string(edits.param(envelope, "level"))
        if level not in legacy_front.LEVELS:
            known = ", ".join(legacy_front.LEVELS)
            raise FrontFault(f"There is no log level {level!r}; there are {known}.", code=INVALID_PARAMS)
        self._level = copy_of(envelope)
        await self._tell_all(self._tell_level, self._legs.values(), is_needed=False)

    async def _tell_all(
        self, tell: "Callable[[Leg], Coroutine[Any, Any, None]]", legs: "Iterable[Leg]", *, is_needed: bool = True
    ) -> None:
        """Tell backs something; one that hangs holds the others and the client up for its deadline at most.

        Args:
            tell: tells one of them.
            legs: which.
            is_needed: whether one that does not take it is out.
        """
        telling = [Awaited(leg.member, leg.member.begin(tell(leg))) for leg in legs if leg.session is not None]
        waiting = [each for each in telling if each.member.why_out is None]
        spared = {each.member for each in waiting if not is_needed}
        await within_deadlines(waiting, self._many.now, spared)

    async def _tell_level(self, leg: Leg) -> None:
        """Say the client's level to one back, if it takes any."""
        if (
            self._level is None
            or leg.session is None
            or "logging" not in (leg.member.capabilities(is_modern=False) or {})
        ):
            return
        await ask(leg, "logging/setLevel", self._level.members["params"])

    def _watch_left(self) -> None:
        """Watch again what the client watched at members that are configured no more."""
        if self._is_closed or not self._watched.left(self._many.members):
            return
        if self._watching is not None:
            self._watching.cancel()
        self._watching = self._many.tasks.start(self._watch_again())

    async def _watch_again(self) -> None:
        for old, uri in self._watched.left(self._many.members):
            try:
                route = await self._seek(SUBSCRIBE, {"uri": Raw(encode(uri))})
                leg = await self._leg(route.member)
            except Fault as fault:
                _log.info("A resource can't be watched for now: %s", fault)
                continue
            if not self._watched.has(old):
                continue
            new = Place(leg.member, route.own)
            self._watched.move(old, new)
            try:
                result_of(await ask(leg, SUBSCRIBE, {"uri": new.own}), leg.member, SUBSCRIBE)
            except BaseException as error:
                self._watched.move(new, old)
                if not isinstance(error, Fault):
                    raise
                _log.info("%s", error)

    def _has_left(self, leg: Leg) -> bool:
        """Whether it ends its last calls at a member that is configured no more: another says what is updated."""
        return all(member.main is not leg.member for member in self._many.members)

    def _wants_warnings(self) -> bool:
        level = string(edits.param(self._level, "level")) if self._level is not None else None
        return level in legacy_front.LEVELS[: legacy_front.LEVELS.index("warning") + 1]

    def _asked_by(self, envelope: Envelope) -> "list[Leg]":
        """Where the client's progress goes: to who asked what it is about, under the token of who asked."""
        sole = self._many.routes.sole
        leg = self._questions.progressed(envelope) or (self._legs.get(sole) if sole is not None else None)
        return [leg] if leg is not None else []

    async def _cancel(self, envelope: Envelope) -> None:
        raw = edits.param(envelope, "requestId")
        key = identify(raw) if raw is not None else None
        running = self._running.get(key) if key is not None else None
        if running is None:
            return
        if running.leg is not None and running.leg.session is not None:
            await running.leg.session.notify(envelope)
        elif running.task is not None:
            running.is_cancelled = True
            running.task.cancel()

    # -- inside: sessions -------------------------------------------------------------------------------------------

    async def _meet(self, member: Member) -> None:
        await self._own_leg(member)

    async def _own_leg(self, member: Member) -> Leg:
        """`_leg` for what no client waits for. The opening goes with it, unless others wait or a process starts."""
        try:
            return await self._leg(member)
        except asyncio.CancelledError:
            leg = self._legs.get(member.main)
            is_needed = leg is None or leg.waiting > 0 or not isinstance(member.spec.target, HttpTarget)
            if leg is not None and leg.opening is not None and not is_needed:
                leg.opening.cancel()
            raise

    async def _leg(self, member: Member) -> Leg:
        """What the client has at a member, opened if it isn't.

        Raises:
            Fault: it can't be opened.
        """
        member = member.main
        leg = self._legs.get(member)
        if leg is None:
            leg = self._legs[member] = Leg(self, member, self._strays)
        if leg.session is None:
            if leg.opening is None or leg.opening.done():
                leg.opening = member.begin(self._open(leg))
            leg.waiting += 1
            try:
                await asyncio.wait([leg.opening])
            finally:
                leg.waiting -= 1
            if leg.session is None:
                raise leg.fault or BackUnavailable(f"{member.name} could not be opened for this session. Try again.")
        return leg

    async def _open(self, leg: Leg) -> None:
        member = leg.member
        leg.fault = None
        try:
            headers = self._front_headers if isinstance(member.spec.target, Nested) else self._headers
            session, answer = await member.gateway.open_session(copy_of(self._initialize), leg, headers)
            if self._is_closed:
                await member.gateway.end_session(session)
                return
            told = member.learn(open_object(parse_own(answer).members["result"]) or {})
            if told is not None:
                self._told[member.name] = told
            if self._is_initialized:
                await session.notify(parse_own(notification_message(INITIALIZED)))
            leg.session, leg.answer_to_initialize = session, answer
            await self._tell_level(leg)
        except Fault as fault:
            leg.fault = fault

    def _listens(self) -> None:
        """The client reads what belongs to no request, from now on."""
        for leg in list(self._legs.values()):
            if leg.opened is not None:
                leg.opened()

    # -- inside: what backs say -------------------------------------------------------------------------------------

    def said(self, leg: Leg, message: bytes, to: Port) -> None:
        """A back says or asks something; it reaches the client under its names and an id of ours."""
        envelope = parse(message)
        if not isinstance(envelope, Envelope):
            return
        if envelope.kind is Kind.REQUEST:
            is_alone = leg.member is self._many.routes.sole
            message = self._questions.ask(leg, leg.asked, envelope, is_alone=is_alone)
        elif envelope.method == CANCELLED:
            withdrawn = self._questions.withdraw(leg.asked, envelope)
            if withdrawn is None:
                return
            message = withdrawn
        else:
            if envelope.method.endswith("/list_changed"):
                self._many.catalog.changed(leg.member, envelope.method.split("/")[1])
            face = leg.member.face
            named = self._watched.named(leg.member, envelope) if not face.is_plain else None
            if named is None and envelope.method == UPDATED and self._has_left(leg):
                return
            message = named or face.notification(message)
        to.notify(message)
