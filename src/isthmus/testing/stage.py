"""Where a rule is played: a link under test, with the client on its near end and the server on its far end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from msgspec import Raw

from isthmus.protocol.names import CAPABILITIES_KEY, CLIENT_INFO_KEY, INITIALIZED, PROGRESS_KEY, VERSION_KEY
from isthmus.transports.channel import Channel, Connect
from isthmus.wire.codec import open_object, parse
from isthmus.wire.envelope import Batch, Envelope, Kind, notification_message, request_message, result_message

Era = Literal["legacy", "modern"]
"""Which protocol is spoken: up to 2025-11-25, or from 2026-07-28 on."""

_INFO: Final = {"name": "check_transport", "version": "1"}
_LEGACY: Final = "2025-11-25"
_MODERN: Final = "2026-07-28"
_SHOWN: Final = 40


class FarEnd(Protocol):
    """The server's end of one connection, which the check plays."""

    async def send(self, message: bytes) -> None:
        """Send one message to the client's end; it has no line breaks."""

    async def receive(self) -> bytes | None:
        """The next message from there; None when that end is gone."""

    async def close(self) -> None:
        """End the connection, as a server does that dies; idempotent."""


@dataclass(frozen=True, slots=True)
class Link:
    """A transport with both its ends.

    Args:
        connect: opens the near end: your back channel, or a client of your front.
        accept: the far end of what was connected next; waits until there is one. Where connections are opened only
            when there is something to say, that may be later than `connect`.
    """

    connect: Connect
    accept: Callable[[], Awaitable[FarEnd]]


OpenLink = Callable[[], AbstractAsyncContextManager[Link]]
"""Makes a link, and clears it away when its context is left."""


class Broken(Exception):
    """A rule is broken; the text says what happened."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What `check_transport` was told."""

    era: Era
    exact: bool
    ordered: bool
    largest: int
    seconds: float


class Near:
    """A client, and its ear."""

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage
        self._news = asyncio.Event()
        self.channel: Channel
        self.heard: list[Envelope] = []
        self.ends: list[str] = []
        self.is_stopped = False

    def received(self, envelope: Envelope) -> None:
        """See `Listener`."""
        if self.is_stopped or self.ends:
            self._stage.faults.append(f"After {'stop' if self.is_stopped else 'lost'}, {envelope!r} was received.")
        self.heard.append(envelope)
        self._news.set()

    def received_batch(self, batch: Batch) -> None:
        """See `Listener`."""
        self._stage.faults.append("A batch was received, and none was sent.")

    def lost(self, why: str) -> None:
        """See `Listener`."""
        self.ends.append(why)
        if len(self.ends) > 1:
            self._stage.faults.append(f"lost was called {len(self.ends)} times: {self.ends}.")
        self._news.set()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that is heard."""
        async with self._stage.within(what):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def call(self, id: int, arguments: bytes = b"{}", *, token: str | None = None) -> None:
        """Call the server's tool."""
        meta: dict[str, Any] = {PROGRESS_KEY: token} if token is not None else {}
        if self._stage.terms.era == "modern":
            meta |= {VERSION_KEY: _MODERN, CLIENT_INFO_KEY: _INFO, CAPABILITIES_KEY: {}}
        params = {"name": "check", "arguments": Raw(arguments)} | ({"_meta": meta} if meta else {})
        self.channel.write(request_message(b"%d" % id, "tools/call", params))

    def answers(self, id: int) -> list[Envelope]:
        """The answers to a call that have come."""
        return [each for each in self.heard if each.kind is Kind.ANSWER and each.key == id]

    async def answer(self, id: int) -> Envelope:
        """The answer to a call, which there is one of."""
        await self.until(lambda: self.answers(id), f"the answer to call {id}")
        if len(self.answers(id)) > 1:
            raise Broken(f"Call {id} was answered {len(self.answers(id))} times.")
        return self.answers(id)[0]


class Stage:
    """One link while a rule is played on it."""

    def __init__(self, link: Link, terms: Terms, tasks: asyncio.TaskGroup) -> None:
        self.terms = terms
        self.faults: list[str] = []
        self.gone = asyncio.Event()
        """A far end has heard that its client is gone."""
        self._link = link
        self._tasks = tasks
        self._nears: list[Near] = []
        self._fars: list[FarEnd] = []
        self._asked: asyncio.Queue[tuple[FarEnd, Envelope]] = asyncio.Queue()
        self._running: list[asyncio.Task[None]] = []
        self.start(self._accept())

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the rule until it has been played."""
        self._running.append(self._tasks.create_task(work))

    def check_faults(self) -> None:
        """Complain about what was seen on the way."""
        if self.faults:
            raise Broken(self.faults[0])

    @asynccontextmanager
    async def within(self, what: str) -> AsyncIterator[None]:
        """Bounds a wait."""
        try:
            async with asyncio.timeout(self.terms.seconds):
                yield
        except TimeoutError:
            self.check_faults()
            raise Broken(f"There was nothing for {self.terms.seconds:g} s where {what} was due.") from None

    async def near(self) -> Near:
        """A client that has introduced itself."""
        near = Near(self)
        async with self.within("connect's return"):
            near.channel = await self._link.connect(near)
        self._nears.append(near)
        if self.terms.era == "legacy":
            params = {"protocolVersion": _LEGACY, "capabilities": {"elicitation": {}}, "clientInfo": _INFO}
            near.channel.write(request_message(b"0", "initialize", params))
            await near.answer(0)
            near.channel.write(notification_message(INITIALIZED))
        return near

    async def asked(self, what: str = "a call") -> tuple[FarEnd, Envelope]:
        """The next message that reaches a server, and which one it was."""
        async with self.within(f"{what} at the far end"):
            return await self._asked.get()

    async def answer(self, far: FarEnd, request: Envelope, payload: bytes = b"{}") -> None:
        """The server answers a call."""
        result: dict[str, Any] = {"content": [], "structuredContent": Raw(payload)}
        if self.terms.era == "modern":
            result = {"resultType": "complete"} | result
        await far.send(result_message(request.id or b"null", result))

    async def echo(self, near: Near, id: int, there: bytes, back: bytes) -> None:
        """One call, whose arguments and whose result must arrive as they were."""
        near.call(id, there)
        far, request = await self.asked()
        self.compare(there, inside(request, "params", "arguments"), "the arguments of a call")
        await self.answer(far, request, back)
        self.compare(back, inside(await near.answer(id), "result", "structuredContent"), "the result of a call")

    def compare(self, sent: bytes, came: bytes, what: str) -> None:
        """Whether a value is the one that was sent."""
        if sent == came or (not self.terms.exact and json.loads(sent) == json.loads(came)):
            return
        at = next((n for n, (one, other) in enumerate(zip(sent, came, strict=False)) if one != other), len(came))
        seen, wanted = (repr(text[at : at + _SHOWN]) for text in (came, sent))
        raise Broken(f"In {what}, {len(sent)} bytes, byte {at} begins {seen} where {wanted} was sent.")

    async def clear(self) -> None:
        """Stop all clients and end all servers, whatever became of them, and hear no more."""
        for near in self._nears:
            near.is_stopped = True
            with suppress(Exception):
                async with asyncio.timeout(self.terms.seconds):
                    await near.channel.stop()
        for far in self._fars:
            with suppress(Exception):
                async with asyncio.timeout(self.terms.seconds):
                    await far.close()
        for task in self._running:
            task.cancel()

    async def _accept(self) -> None:
        while True:
            self.start(self._hear(await self._link.accept()))

    async def _hear(self, far: FarEnd) -> None:
        self._fars.append(far)
        while (text := await far.receive()) is not None:
            message = parse(text)
            if not isinstance(message, Envelope):
                self.faults.append(f"The far end received what is no message: {text[:_SHOWN]!r}.")
            elif (introduction := _introduced(message)) is not None:
                await far.send(introduction)
            elif message.method != INITIALIZED:
                self._asked.put_nowait((far, message))
        self.gone.set()


def _introduced(message: Envelope) -> bytes | None:
    """The server's answer to the requests that come before any call."""
    if message.kind is not Kind.REQUEST or message.id is None:
        return None
    if message.method == "initialize":
        result = {"protocolVersion": _LEGACY, "capabilities": {"tools": {}}, "serverInfo": _INFO}
        return result_message(message.id, result)
    if message.method == "server/discover":
        discovered = {"resultType": "complete", "supportedVersions": [_MODERN], "capabilities": {"tools": {}}}
        return result_message(message.id, discovered)
    return None


def inside(envelope: Envelope, *names: str) -> bytes:
    """The text of a member of a message, at a path of names.

    Raises:
        Broken: there is no such member.
    """
    members, raw = envelope.members, Raw(b"null")
    for name in names:
        if members is None or name not in members:
            said = b" ".join(bytes(raw) for raw in envelope.members.values())[: 4 * _SHOWN]
            raise Broken(f"{envelope!r} has no {'.'.join(names)}: {said!r}.")
        raw = members[name]
        members = open_object(raw) or {}
    return bytes(raw)
