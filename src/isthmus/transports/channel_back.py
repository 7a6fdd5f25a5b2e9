"""Backs that are spoken to on one channel for everything: a process, an HTTP+SSE stream, a pair of streams in memory.

A legacy channel is one client's session. Modern channels are shared: every request stands alone, and what must not be
mixed is kept apart by the proxy's own ids: answers by `id`, progress by `progressToken`, listeners by `subscriptionId`.
Log messages carry nothing of the kind ("correlated" only by being sent while the request runs, 2026-07-28
basic/transports/stdio), so of the calls that ask for them a channel has at most one at a time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from msgspec import Raw

from isthmus import limits
from isthmus.errors import BackFault, BackUnavailable, WrongEra
from isthmus.protocol import edits
from isthmus.protocol.backoff import Backoff
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CANCELLED, LOG_LEVEL_KEY, MESSAGE, PROGRESS, PROGRESS_KEY
from isthmus.transports.channel import Channel, Connect
from isthmus.transports.http_back import is_modern_answer
from isthmus.transports.session import SessionOwner
from isthmus.types import Call, Collect
from isthmus.wire.codec import identify, one_line, parse
from isthmus.wire.envelope import Batch, Envelope, Kind, notification_message

_log: Final = logging.getLogger("isthmus.back")

_OPENINGS: Final = frozenset(("initialize", "server/discover"))
"""What only clients say: whoever sends it repeats what is written to it, or is a client."""

_Waiting = tuple[Call, asyncio.Future[None]]


class Opener:
    """Opens channels to one back, not more often than its crashes allow.

    Args:
        name: the back's.
        connect: opens a channel.
    """

    def __init__(self, name: str, connect: Connect) -> None:
        self.name = name
        self.connect = connect
        self._backoff = Backoff()
        self._is_closed = False
        self.running: set[_Pipe] = set()
        """What was opened and not yet stopped."""

    async def open(self, listener: "_Pipe") -> Channel:
        """A fresh channel.

        Raises:
            BackUnavailable: it can't be opened.
        """
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._backoff.wait(now()))
        if self._is_closed:
            raise BackUnavailable(f"{self.name} is not opened any more: the proxy is about to stop.")
        listener.began = now()
        self.running.add(listener)
        return await (listener.connect or self.connect)(listener)

    def crashed(self, began: float) -> None:
        """A channel of this back ended by itself."""
        now = asyncio.get_running_loop().time()
        self._backoff.crashed(now, now - began)

    async def close(self) -> None:
        """End every channel; none is opened any more."""
        self._is_closed = True
        await asyncio.gather(*(pipe.stop() for pipe in list(self.running)), return_exceptions=True)


class _Pipe:
    """One channel and the requests that wait for it."""

    def __init__(self, opener: Opener, connect: Connect | None = None) -> None:
        self._opener = opener
        self.connect = connect
        """What opens this channel, where that is not the opener's own way."""
        self._waiting: Correlator[_Waiting] = Correlator()
        self._channel: Channel | None = None
        self._stopping = False
        self.began = 0.0
        self.why_lost: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether requests can be written."""
        return self._channel is not None and self.why_lost is None and self._channel.is_alive

    @property
    def is_idle(self) -> bool:
        """Whether no request waits for an answer."""
        return not len(self._waiting)

    async def _start(self) -> None:
        self._channel = await self._opener.open(self)

    def _write(self, text: bytes) -> None:
        if self._channel is None or self.why_lost is not None:
            raise BackUnavailable(self.why_lost or f"{self._opener.name} is not running.")
        self._channel.write(one_line(text))

    async def _ask(self, call: Call, text: bytes) -> None:
        """Send a request and wait for its answer; the caller bounds that. Cancelling stops the waiting only."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.expect(call.id, (call, done))
        try:
            try:
                self._write(text)
            except BackUnavailable:
                if self._channel is None or self._channel.is_alive or self.why_lost is not None:
                    raise
                with suppress(BackFault):  # it is ending, and why is known in a moment
                    await done
                raise BackUnavailable(self.why_lost or f"{self._opener.name} has ended.") from None
            await done
        finally:
            self._waiting.forget(call.id)

    async def stop(self) -> None:
        """End the channel; idempotent."""
        self._stopping = True
        if self._channel is not None:
            await self._channel.stop()
        self._opener.running.discard(self)

    def received(self, envelope: Envelope) -> None:
        """One message of the back."""
        if envelope.kind is Kind.ANSWER:
            waiting = self._waiting.take(envelope.key)
            if waiting is None:
                _log.debug("%s: an answer came that nobody waits for; dropped.", self._opener.name)
                return
            call, done = waiting
            call.answered(envelope, 200)
            if not done.done():
                done.set_result(None)
        elif envelope.kind is Kind.NOTIFICATION:
            self._notified(envelope)
        elif envelope.method in _OPENINGS:
            self.lost(f"{self._opener.name} says {envelope.method} itself, so it is no MCP server. Check what it is.")
        else:
            self._asked(envelope)

    def received_batch(self, batch: Batch) -> None:
        """A batch is taken apart; only a 2025-03-26 server may send one."""
        for item in batch.items:
            message = parse(item)
            if isinstance(message, Envelope):
                self.received(message)

    def lost(self, why: str) -> None:
        """The channel is gone: every request that waits fails now."""
        self.why_lost = why
        if not self._stopping:
            self._opener.crashed(self.began)
        for id, (_, done) in self._waiting:
            self._waiting.take(id)
            if not done.done():
                done.set_exception(BackFault(why))

    def _notified(self, envelope: Envelope) -> None:
        raise NotImplementedError

    def _asked(self, envelope: Envelope) -> None:
        raise NotImplementedError


class ChannelSession(_Pipe):
    """A legacy client's own channel.

    Args:
        opener: opens channels to the back.
        owner: who gets what the back says outside a call.
        connect: opens this channel, where that is not the opener's own way.
    """

    heard_since = 0.0

    def __init__(self, opener: Opener, owner: SessionOwner, connect: Connect | None = None) -> None:
        super().__init__(opener, connect)
        self._owner = owner

    async def initialize(self, call: Call, text: bytes) -> None:
        """Open the channel and send `initialize`."""
        await self._start()
        await self._ask(call, text)

    def settle(self, version: str) -> None:
        """The negotiated revision is known; on a channel nothing depends on it."""

    async def request(self, call: Call, text: bytes) -> None:
        """Send one request; returns when it is answered.

        Raises:
            BackUnavailable, BackFault: there is no answer and there will be none.
        """
        await self._ask(call, text)

    async def send(self, text: bytes) -> None:
        """Send a notification or an answer."""
        self._write(text)

    def listen(self) -> None:
        """The one stream is always open."""

    async def close(self) -> None:
        """End the channel."""
        await self.stop()

    def lost(self, why: str) -> None:
        super().lost(why)
        self._owner.lost(why)

    def _notified(self, envelope: Envelope) -> None:
        self._owner.notified(envelope)

    def _asked(self, envelope: Envelope) -> None:
        self._owner.asked(envelope)


class _ModernPipe(_Pipe):
    """A channel that modern requests share.

    `logging` is the call that its log messages belong to.
    """

    def __init__(self, opener: Opener, stray: Callable[[Envelope], None] | None) -> None:
        super().__init__(opener)
        self._stray = stray
        self.logging: Call | None = None

    async def open(self, probe: Call, text: bytes) -> None:
        """Open the channel and ask `server/discover`; a server that stays silent leaves `probe` without answer."""
        await self._start()
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.PROBE):
                await self._ask(probe, text)

    def send(self, text: bytes) -> None:
        """Send a notification, if the channel takes any."""
        with suppress(BackUnavailable):
            self._write(text)

    async def ask(self, call: Call, text: bytes) -> None:
        """Send a request; a cancelled wait cancels it at the back too."""
        try:
            await self._ask(call, text)
        except asyncio.CancelledError:
            self.send(notification_message(CANCELLED, {"requestId": call.id}))
            raise

    def _notified(self, envelope: Envelope) -> None:
        waiting = None
        if envelope.method == PROGRESS:
            token = edits.param(envelope, PROGRESS_KEY)
            waiting = self._waiting.find(identify(token)) if token is not None else None
        elif envelope.method == CANCELLED:
            raw = edits.param(envelope, "requestId")
            waiting = self._waiting.find(identify(raw)) if raw is not None else None
        elif envelope.method == MESSAGE and self._stray is None:
            if self.logging is not None:
                self.logging.notified(envelope)
                return
        else:
            waiting = self._waiting.find(edits.subscription_of(envelope))
        if waiting is not None:
            waiting[0].notified(envelope)
        elif self._stray is not None:
            self._stray(envelope)
        else:
            self._waiting.late += 1

    def _asked(self, envelope: Envelope) -> None:
        """ "The server MUST NOT write JSON-RPC requests to stdout": dropped."""
        _log.warning("%s, a modern server, sent a request; it was dropped.", self._opener.name)


class ModernChannels:
    """The modern face of a back that is spoken to on channels.

    A call that wants log messages has a channel whose messages are nobody else's. When it is cancelled, nobody knows
    when the server stops talking about it, so that channel is *retired*: it serves the calls it has, and no other.

    Args:
        opener: opens channels to the back.
        stray: where messages go that belong to no call, when there is one client only; None where clients share.
        start: starts a task that nobody waits for.
    """

    def __init__(
        self,
        opener: Opener,
        stray: Callable[[Envelope], None] | None,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._opener = opener
        self._stray = stray
        self._start = start
        self._pipes: list[_ModernPipe] = []
        self._retired: list[_ModernPipe] = []
        self._opening = asyncio.Lock()
        self._queue: deque[asyncio.Future[None]] = deque()
        self.is_modern: bool | None = None

    @property
    def is_opening(self) -> bool:
        """Whether a channel is being opened."""
        return self._opening.locked()

    async def call(self, call: Call, request: ModernRequest, probe: Callable[[], tuple[Collect, bytes]]) -> None:
        """Send one modern request; returns when it is answered. Cancelling cancels it at the back too.

        Raises:
            WrongEra: the back is legacy.
            BackUnavailable, BackFault: there is no answer and there will be none.
        """
        wants_logs = self._stray is None and LOG_LEVEL_KEY in request.meta and not request.row.is_endless
        pipe = self._fitting(wants_logs) or await self._pipe(wants_logs, probe)
        if PROGRESS_KEY in request.meta:
            request.meta[PROGRESS_KEY] = Raw(str(call.id).encode())
        if wants_logs:
            pipe.logging = call
        try:
            await pipe.ask(call, request.write(call.id))
        except asyncio.CancelledError:
            if wants_logs:
                self._retire(pipe)
            raise
        finally:
            if wants_logs:
                pipe.logging = None
                self._wake()
            if self._retired:
                self._end_retired()

    def send(self, text: bytes) -> None:
        """Send a notification on every open channel."""
        for pipe in self._pipes:
            pipe.send(text)

    async def is_spoken(self, probe: Collect, text: bytes) -> bool:
        """Whether the back is modern; found out if it isn't known.

        Raises:
            BackUnavailable, BackFault: it can't be asked.
        """
        if self.is_modern is None:
            with suppress(WrongEra):
                await self._pipe(False, lambda: (probe, text))
        return self.is_modern is True

    def _fitting(self, wants_logs: bool) -> _ModernPipe | None:
        for pipe in self._pipes:
            if pipe.is_alive and not (wants_logs and pipe.logging is not None):
                return pipe
        return None

    async def _pipe(self, wants_logs: bool, probe: Callable[[], tuple[Collect, bytes]]) -> _ModernPipe:
        """A channel for one call. Nothing is awaited between its return and its use."""
        while True:
            async with self._opening:
                if self.is_modern is False:
                    raise self._wrong_era()
                for pipe in self._pipes:
                    if not pipe.is_alive:
                        self._start(pipe.stop())
                self._pipes = [pipe for pipe in self._pipes if pipe.is_alive]
                fitting = self._fitting(wants_logs)
                if fitting is not None:
                    return fitting
                if len(self._pipes) < limits.LOGGING_CHANNELS:
                    return await self._open(*probe())
                freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._queue.append(freed)
            try:
                await freed
            except asyncio.CancelledError:
                if freed.done():
                    self._wake()
                raise

    async def _open(self, probe: Collect, text: bytes) -> _ModernPipe:
        pipe = _ModernPipe(self._opener, self._stray)
        try:
            await pipe.open(probe, text)
            if probe.answer is None:
                raise self._wrong_era(f" It did not answer server/discover within {limits.PROBE:.0f} s.")
            self.is_modern = is_modern_answer(probe.answer)
            if not self.is_modern:
                raise self._wrong_era()
        except BaseException:
            self._start(pipe.stop())
            raise
        self._pipes.append(pipe)
        return pipe

    def _wake(self) -> None:
        """A channel may have become free: let the call that has waited longest look."""
        while self._queue:
            freed = self._queue.popleft()
            if not freed.done():
                freed.set_result(None)
                return

    def _retire(self, pipe: _ModernPipe) -> None:
        if pipe in self._pipes:
            self._pipes.remove(pipe)
            self._retired.append(pipe)

    def _end_retired(self) -> None:
        """Stop retired channels that have no calls left, and the oldest where there are too many."""
        ended = [pipe for pipe in self._retired if pipe.is_idle or not pipe.is_alive]
        ended += [pipe for pipe in self._retired if pipe not in ended][: -limits.LOGGING_CHANNELS]
        for pipe in ended:
            self._retired.remove(pipe)
            self._start(pipe.stop())

    def _wrong_era(self, more: str = "") -> WrongEra:
        return WrongEra(f"{self._opener.name} speaks only revisions before 2026-07-28. Open it with initialize.{more}")
