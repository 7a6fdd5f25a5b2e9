"""The front of one client that is spoken to on one channel: stdio, HTTP+SSE, a pair of streams in memory."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from isthmus.errors import fault_of
from isthmus.protocol.handshake import MOVES, Do, Event, State, event_of, refusal
from isthmus.protocol.judge import ModernRequest, Refusal, judge_modern, meta_of
from isthmus.protocol.names import CANCELLED, VERSION_KEY
from isthmus.protocol.subscriptions import closing_message
from isthmus.protocol.versions import BATCHES, MODERN, has_unaddressed_errors
from isthmus.types import Relay, Session, refuse_twice
from isthmus.wire.codec import close_object, identify, one_line, open_object, parse
from isthmus.wire.envelope import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    Batch,
    Envelope,
    Kind,
    Malformed,
    error_message,
)

_VERSION_IN_BODY: Final = VERSION_KEY.encode()


class Outlet(Protocol):
    """Where a client's messages are written."""

    def write(self, message: bytes) -> None:
        """One message, without line breaks; nothing happens once the client is gone."""

    async def drain(self) -> None:
        """Wait until the client has read enough; bounded, and the client is given up then."""


class _ChannelPort:
    """The way back on a channel; also where messages go that belong to no request."""

    is_open = True
    opened: Callable[[], object] | None = None

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def notify(self, message: bytes) -> None:
        self._outlet.write(message)

    def answer(self, message: bytes, status: int) -> None:
        self._outlet.write(message)

    def stream(self, is_chosen: bool = True) -> None:
        """There is one stream for everything."""

    def abandon(self) -> None:
        """Nothing has to be closed."""

    async def drain(self) -> None:
        await self._outlet.drain()


class _BatchPort(_ChannelPort):
    """One batch of a 2025-03-26 client: the answers go out in an array when the last is there."""

    def __init__(self, outlet: Outlet, expected: int) -> None:
        super().__init__(outlet)
        self._missing = expected
        self._answers: list[bytes] = []

    def answer(self, message: bytes, status: int) -> None:
        self._answers.append(message)
        self.abandon()

    def abandon(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._answers:
            self._outlet.write(b"[" + b",".join(self._answers) + b"]")


class _CallPort(_ChannelPort):
    """The way back to one request, which is answered once.

    Args:
        port: where its messages go.
        id: the request's id.
    """

    def __init__(self, port: _ChannelPort, id: bytes) -> None:
        self._port = port
        self.id = id
        self.is_done = False

    def notify(self, message: bytes) -> None:
        if not self.is_done:
            self._port.notify(message)

    def answer(self, message: bytes, status: int) -> None:
        if not self.is_done:
            self.is_done = True
            self._port.answer(message, status)

    def abandon(self) -> None:
        if not self.is_done:
            self.is_done = True
            self._port.abandon()

    async def drain(self) -> None:
        await self._port.drain()


class ChannelFront:
    """Serves one client on a channel.

    Args:
        relay: what takes the messages on.
        start: starts the task of a request.
        outlet: where the client's messages are written.
        headers: of the HTTP request that opened the channel; None where there was none.
    """

    def __init__(
        self,
        relay: Relay,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        outlet: Outlet,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._relay = relay
        self._headers = headers
        self._start = start
        self._outlet = outlet
        self._port = _ChannelPort(outlet)
        self._ended = asyncio.Event()
        self._settled = asyncio.Event()
        self._state = State.NEW
        self._session: Session | None = None
        self._early: list[tuple[Envelope, _ChannelPort]] = []
        self._modern: dict[int | str, tuple[asyncio.Task[None], ModernRequest]] = {}
        self._running: dict[asyncio.Task[None], _CallPort | None] = {}

    async def serve(self) -> None:
        """Serve until `end`, `stop` or `leave`, then answer what is in flight, within `Limits.drain`."""
        try:
            await self._ended.wait()
            await self._settle()
        finally:
            for task, port in list(self._running.items()):
                if port is not None:
                    why = "The proxy stopped before the answer came."
                    port.answer(error_message(port.id, INTERNAL_ERROR, why), 200)
                task.cancel()

    async def close(self) -> None:
        """End the client's session; after `serve`."""
        if self._move(Event.ENDED) is Do.END and self._session is not None:
            await self._relay.end_session(self._session)

    def end(self) -> None:
        """The client sends nothing more, or the back is dead: what is in flight may still be answered."""
        self._ended.set()
        if not self._running:
            self._settled.set()

    def stop(self) -> None:
        """The proxy is to stop; at once, if it was about to end already."""
        if self._ended.is_set():
            self._settled.set()
        self.end()

    def leave(self) -> None:
        """The client no longer reads: nothing is worth waiting for."""
        self._settled.set()
        self._ended.set()

    def stray(self, envelope: Envelope) -> None:
        """A modern back's message that belongs to no call."""
        self._port.notify(one_line(close_object(envelope.members)))

    def take(self, message: Envelope | Batch | Malformed) -> None:
        """One message of the client."""
        if isinstance(message, Malformed):
            self._refuse(message)
        elif isinstance(message, Batch):
            self._take_batch(message)
        else:
            self._dispatch(message, self._port)

    def _dispatch(self, message: Envelope, port: _ChannelPort) -> None:
        if message.kind is Kind.REQUEST and _is_modern(message):
            self._take_modern(message, port)
        elif self._state is State.NEW and message.kind is Kind.NOTIFICATION:
            self._take_modern_notification(message)
        else:
            self._take_legacy(message, port)

    # -- modern -----------------------------------------------------------------------------------------------------

    def _take_modern(self, message: Envelope, port: _ChannelPort) -> None:
        judged = judge_modern(message, None)
        if isinstance(judged, Refusal):
            port.answer(error_message(message.id, judged.code, judged.why, judged.data), 200)
            return
        key = message.key if message.key is not None else 0
        if key in self._modern:
            refuse_twice(message.id, port)
            return
        to = _CallPort(port, message.id or b"null")
        task = self._run(self._relay.relay(judged, to, None), to)
        self._modern[key] = (task, judged)
        task.add_done_callback(lambda _: self._modern.pop(key, None))
        if self._ended.is_set():
            self._end_listening()

    def _take_modern_notification(self, message: Envelope) -> None:
        if message.method == CANCELLED:
            params = open_object(message.members["params"]) if "params" in message.members else None
            raw = params.get("requestId") if params is not None else None
            key = identify(raw) if raw is not None else None
            if key is not None and key in self._modern:
                task, _ = self._modern[key]
                port = self._running.get(task)
                if port is not None:
                    port.abandon()
                task.cancel()
        else:
            self._run(self._relay.notify(message, MODERN[-1]))

    # -- legacy -----------------------------------------------------------------------------------------------------

    def _take_legacy(self, message: Envelope, port: _ChannelPort) -> None:
        do = self._move(event_of(message))
        if do is Do.BEGIN:
            to = _CallPort(port, message.id or b"null")
            self._run(self._open(message, to), to)
        elif do is Do.KEEP:
            self._early.append((message, port))
        elif do is Do.PASS and self._session is not None:
            self._pass(message, port, self._session)
        elif message.kind is Kind.REQUEST:
            port.answer(error_message(message.id, *refusal(do, message)), 200)

    async def _open(self, message: Envelope, to: _CallPort) -> None:
        """Open the session, and pass on what came in the meantime, in its order."""
        why = ""
        try:
            self._session, answer = await self._relay.open_session(message, self._port, self._headers)
            self._move(Event.OPENED)
        except Exception as error:
            fault = fault_of(error)
            why = fault.why
            self._move(Event.FAILED)
            answer = error_message(message.id, fault.code, fault.why, fault.data)
        to.answer(answer, 200)
        early, self._early = self._early, []
        for each, port in early:
            if self._session is not None:
                self._pass(each, port, self._session)
            elif each.kind is Kind.REQUEST:
                why_not = f"The session could not be opened: {why}"
                port.answer(error_message(each.id, INVALID_REQUEST, why_not), 200)

    def _pass(self, message: Envelope, port: _ChannelPort, session: Session) -> None:
        if message.kind is Kind.NOTIFICATION:
            self._run(session.notify(message))
        elif message.kind is Kind.ANSWER:
            self._run(session.answer(message))
        else:
            to = _CallPort(port, message.id or b"null")
            self._run(session.request(message, to), to)

    def _take_batch(self, batch: Batch) -> None:
        messages = [parse(item) for item in batch.items]
        is_legal = self._session is not None and self._session.version == BATCHES and messages
        if not is_legal or any(isinstance(each, Envelope) and each.method == "initialize" for each in messages):
            why = "Send one message at a time; batches are part of revision 2025-03-26 alone, after initialize."
            self._refuse(Malformed(INVALID_REQUEST, why))
            return
        answered = [each for each in messages if not isinstance(each, Envelope) or each.kind is Kind.REQUEST]
        port = _BatchPort(self._outlet, len(answered))
        for each in messages:
            if isinstance(each, Envelope):
                self._dispatch(each, port)
            elif isinstance(each, Malformed):
                port.answer(error_message(each.id, each.code, each.why), 200)
            else:
                port.answer(error_message(None, INVALID_REQUEST, "A batch holds messages, not batches."), 200)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _move(self, event: Event) -> Do:
        do, self._state = MOVES[self._state][event]
        return do

    def _run(self, work: Coroutine[Any, Any, None], port: _CallPort | None = None) -> asyncio.Task[None]:
        task = self._start(work)
        self._running[task] = port
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        port = self._running.pop(task)
        if port is not None and not task.cancelled() and task.exception() is not None:
            port.answer(error_message(port.id, INTERNAL_ERROR, "The proxy failed. See its log."), 200)
        if not self._running and self._ended.is_set():
            self._settled.set()

    async def _settle(self) -> None:
        """Wait until all is answered that can be, within `Limits.drain`."""
        self._end_listening()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._relay.limits.drain):
                await self._settled.wait()

    def _end_listening(self) -> None:
        for task, request in list(self._modern.values()):
            port = self._running.get(task)
            if request.row.is_endless and port is not None:
                port.answer(closing_message(port.id), 200)
                task.cancel()

    def _refuse(self, malformed: Malformed) -> None:
        """An error without an id exists only from 2025-11-25 on; older clients get a line on stderr."""
        version = self._session.version if self._session is not None else MODERN[-1]
        if malformed.id is None and not has_unaddressed_errors(version):
            sys.stderr.write(f"isthmus: a message was refused: {malformed.why}\n")
        else:
            self._port.answer(error_message(malformed.id, malformed.code, malformed.why), 200)


def _is_modern(message: Envelope) -> bool:
    """ "A request carrying modern per-request `_meta`" (2026-07-28 basic/versioning)."""
    raw = message.members.get("params")
    if raw is None or _VERSION_IN_BODY not in bytes(raw):
        return message.method == "server/discover"
    meta = meta_of(open_object(raw))
    return meta is not None and VERSION_KEY in meta
