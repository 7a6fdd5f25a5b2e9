"""A modern client's `subscriptions/listen` at many backs: one stream at each that has something to say.

Each member's stream has the client's own id, so that what comes is addressed already. The client is told once what was
granted, when every member has said so or its deadline has passed. A stream that ends by itself is opened again, and
each kind of change announced once, for what was missed.

Source: 2026-07-28 basic/patterns/subscriptions.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus import limits
from isthmus.engine.member import Awaited, Member, within_deadlines
from isthmus.errors import Fault
from isthmus.many.ports import Heard
from isthmus.protocol import edits
from isthmus.protocol.judge import ModernRequest, make_modern
from isthmus.protocol.names import ACKNOWLEDGED, SUBSCRIPTION_KEY
from isthmus.protocol.subscriptions import closing_message
from isthmus.types import Port
from isthmus.wire.codec import close_object, decode, encode, one_line, parse_own, string
from isthmus.wire.envelope import Envelope, notification_message

if TYPE_CHECKING:
    from isthmus.many.asker import ModernAsker
    from isthmus.many.gateway import Many

_CHANGES: Final = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
_URIS: Final = "resourceSubscriptions"
_UPDATED: Final = "notifications/resources/updated"


async def listen(many: "Many", request: ModernRequest, port: Port, asker: "ModernAsker") -> None:
    """Hear of changes at every member, until the client leaves or a day has passed."""
    listener = _Listener(many, request, port, asker)
    try:
        await listener.begin()
        await asyncio.sleep(limits.LISTEN)
        port.answer(closing_message(request.envelope.id or b"null"), 200)
    finally:
        listener.end()


class _Listener:
    """One client that listens.

    Args:
        many: the backs.
        request: its `subscriptions/listen`.
        port: the way back to it.
        asker: asks in its name.
    """

    def __init__(self, many: "Many", request: ModernRequest, port: Port, asker: "ModernAsker") -> None:
        self._many = many
        self._asker = asker
        self._request = request
        self._port = port
        self._id = request.envelope.id or b"null"
        wanted = decode(request.params["notifications"]) if "notifications" in request.params else {}
        wanted = wanted if isinstance(wanted, dict) else {}
        self._kinds = [name for name in _CHANGES if wanted.get(name) is True]
        uris = wanted.get(_URIS)
        self._uris = [uri for uri in uris if isinstance(uri, str)] if isinstance(uris, list) else []
        self._by_member: dict[Member, list[tuple[str, str]]] = {}
        """The resources of each: the client's URI and the back's own."""
        self._tasks: dict[Member, asyncio.Task[None]] = {}
        self._joining: asyncio.Task[None] | None = None
        self._granted: list[str] = []
        self._waiting: list[bytes] | None = []
        """What came before the client was told what was granted."""

    async def begin(self) -> None:
        """Listen, and tell the client what was granted."""
        many = self._many
        self._by_member = await self._sort()
        acknowledged = {member: self._begin(member) for member in many.members if self._wants(member)}
        many.listeners.add(self._changed)
        waiting = [Awaited(member, many.tasks.start(_wait(event))) for member, event in acknowledged.items()]
        try:
            await within_deadlines([each for each in waiting if each.member.why_out is None], many.now)
        finally:
            for each in waiting:
                each.task.cancel()
        granted: dict[str, Any] = dict.fromkeys(self._kinds, True)
        if self._granted:
            granted[_URIS] = self._granted
        self._say(notification_message(ACKNOWLEDGED, {"notifications": granted, "_meta": self._meta()}))
        said, self._waiting = self._waiting or [], None
        for message in said:
            self._say(message)

    def end(self) -> None:
        """The client is gone, or heard enough."""
        self._many.listeners.discard(self._changed)
        for task in (*self._tasks.values(), self._joining):
            if task is not None:
                task.cancel()

    async def _sort(self) -> dict[Member, list[tuple[str, str]]]:
        """Which resources go to which member."""
        from isthmus.many.routes import Wanted

        sorted_: dict[Member, list[tuple[str, str]]] = {}
        for uri in self._uris:
            asked = Wanted("resources", uri)
            try:
                routes = self._many.routes
                route = routes.find(asked) or await routes.seek(asked, self._many.catalog, self._asker)
            except Fault:
                continue  # not granted
            sorted_.setdefault(route.member, []).append((uri, route.own))
        return sorted_

    def _wants(self, member: Member) -> bool:
        return member in self._by_member or any(member.announces(_CHANGES[name]) for name in self._kinds)

    def _begin(self, member: Member) -> asyncio.Event:
        event = asyncio.Event()
        self._tasks[member] = self._many.tasks.start(self._listen(member, event))
        return event

    async def _listen(self, member: Member, acknowledged: asyncio.Event) -> None:
        """Keep a stream open at one member."""
        wait = limits.RETRY_GET
        while True:
            port = Heard(lambda message: self._heard(member, message, acknowledged))
            began = self._many.now()
            await member.gateway.relay(self._filtered(member), port, self._asker.headers)
            acknowledged.set()
            wait = limits.RETRY_GET if self._many.now() - began > wait else min(2 * wait, limits.RETRY_MOST)
            await asyncio.sleep(wait)

    def _filtered(self, member: Member) -> ModernRequest:
        """The client's request for one member, under the client's id."""
        wanted: dict[str, Any] = {name: True for name in self._kinds if member.announces(_CHANGES[name])}
        if member in self._by_member:
            wanted[_URIS] = [own for _, own in self._by_member[member]]
        own = make_modern("subscriptions/listen", self._request.meta, {"notifications": Raw(encode(wanted))})
        own.envelope.id = self._id
        own.principal = self._request.principal
        return own

    def _heard(self, member: Member, message: bytes, acknowledged: asyncio.Event) -> None:
        envelope = parse_own(message)
        if envelope.method == ACKNOWLEDGED:
            raw = edits.param(envelope, "notifications")
            said = decode(raw) if raw is not None else None
            uris = said.get(_URIS) if isinstance(said, Mapping) else None
            granted = [shown for shown, own in self._by_member.get(member, []) if own in (uris or [])]
            if acknowledged.is_set():
                self._catch_up(member, granted)
            self._granted += granted
            acknowledged.set()
        elif envelope.method.endswith("/list_changed"):
            self._many.catalog.changed(member, envelope.method.split("/")[1])
            self._say(message)
        else:
            self._say(self._named(member, envelope) or member.face.notification(message))

    def _named(self, member: Member, envelope: Envelope) -> bytes | None:
        """An update under the URI that the client wrote; None where it is none of what was asked for."""
        own = string(edits.param(envelope, "uri")) if envelope.method == _UPDATED else None
        uri = next((uri for uri, each in self._by_member.get(member, []) if each == own), None)
        if uri is None:
            return None
        edits.set_param(envelope, "uri", encode(uri))
        return one_line(close_object(envelope.members))

    def _say(self, message: bytes) -> None:
        if self._waiting is not None and ACKNOWLEDGED.encode() not in message:
            self._waiting.append(message)
        else:
            self._port.notify(message)

    def _catch_up(self, member: Member, uris: list[str]) -> None:
        """Nobody knows what a member would have said while there was no stream: so everything may have changed."""
        self._announce([_CHANGES[name] for name in self._kinds if member.announces(_CHANGES[name])])
        for uri in uris:
            self._say(notification_message(_UPDATED, {"uri": uri, "_meta": self._meta()}))

    def _announce(self, kinds: list[str]) -> None:
        for kind in kinds:
            self._say(notification_message(f"notifications/{kind}/list_changed", {"_meta": self._meta()}))

    def _changed(self) -> None:
        """A member is there again, or is gone, or the members are others."""
        there = self._many.members
        for each in [each for each in self._tasks if each not in there]:
            self._tasks.pop(each).cancel()
            self._by_member.pop(each, None)
        if self._joining is not None:
            self._joining.cancel()
        self._joining = self._many.tasks.start(self._join())
        self._announce([_CHANGES[name] for name in self._kinds])

    async def _join(self) -> None:
        """Listen at those that were not there before."""
        self._by_member = await self._sort() | self._by_member
        for each in self._many.members:
            if each not in self._tasks and self._wants(each):
                self._begin(each)

    def _meta(self) -> dict[str, Raw]:
        return {SUBSCRIPTION_KEY: Raw(self._id)}


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
