"""Backs that are started as a process and spoken to on its stdin and stdout.

A legacy process is one client's session. Modern processes are shared: every request stands alone, and what must not be
mixed is kept apart by the proxy's own ids: answers by `id`, progress by `progressToken`, listeners by `subscriptionId`.
Log messages carry nothing of the kind ("correlated" only by being sent while the request runs, 2026-07-28
basic/transports/stdio), so of the calls that ask for them a process has at most one at a time.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from isthmus import limits
from isthmus.errors import BackFault, BackUnavailable, WrongEra
from isthmus.protocol import edits
from isthmus.protocol.backoff import Backoff
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CANCELLED, LOG_LEVEL_KEY, MESSAGE, PROGRESS, PROGRESS_KEY
from isthmus.transports.http_back import SessionOwner, is_modern_answer
from isthmus.transports.process import Launch, Process
from isthmus.transports.watchdog import Watchdog
from isthmus.types import Call, Collect
from isthmus.wire.codec import identify, one_line, parse
from isthmus.wire.envelope import Batch, Envelope, Kind, notification_message

_log: Final = logging.getLogger("isthmus.back")

_Waiting = tuple[Call, asyncio.Future[None]]


class Starter:
    """Starts processes of one back, not more often than its crashes allow."""

    def __init__(self, launch: Launch, bounds: limits.Limits, watchdog: Watchdog) -> None:
        self.launch = launch
        self._limits = bounds
        self._watchdog = watchdog
        self._backoff = Backoff()

    async def start(self, listener: "_Pipe") -> Process:
        """A fresh process.

        Raises:
            BackUnavailable: it can't be started.
        """
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._backoff.wait(now()))
        listener.began = now()
        return await Process.start(self.launch, self._limits, self._watchdog, listener)

    def crashed(self, began: float) -> None:
        """A process of this back died by itself."""
        now = asyncio.get_running_loop().time()
        self._backoff.crashed(now, now - began)


class _Pipe:
    """One process and the requests that wait for it."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter
        self._waiting: Correlator[_Waiting] = Correlator()
        self._process: Process | None = None
        self._stopping = False
        self.began = 0.0
        self.why_lost: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether requests can be written."""
        return self._process is not None and self.why_lost is None

    async def _start(self) -> None:
        self._process = await self._starter.start(self)

    def _write(self, text: bytes) -> None:
        if self._process is None or self.why_lost is not None:
            raise BackUnavailable(self.why_lost or f"{self._starter.launch.name} is not running.")
        self._process.write(one_line(text))

    async def _ask(self, call: Call, text: bytes) -> None:
        """Send a request and wait until it is answered; the caller bounds the wait. Cancelling stops the waiting only."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.expect(call.id, (call, done))
        try:
            self._write(text)
            await done
        finally:
            self._waiting.forget(call.id)

    async def stop(self) -> None:
        """End the process."""
        self._stopping = True
        if self._process is not None:
            await self._process.stop()

    def received(self, envelope: Envelope) -> None:
        """One message of the process."""
        if envelope.kind is Kind.ANSWER:
            waiting = self._waiting.take(envelope.key)
            if waiting is None:
                _log.debug("%s: an answer came that nobody waits for; dropped.", self._starter.launch.name)
                return
            call, done = waiting
            call.answered(envelope, 200)
            if not done.done():
                done.set_result(None)
        elif envelope.kind is Kind.NOTIFICATION:
            self._notified(envelope)
        else:
            self._asked(envelope)

    def received_batch(self, batch: Batch) -> None:
        """A batch is taken apart; only a 2025-03-26 server may send one."""
        for item in batch.items:
            message = parse(item)
            if isinstance(message, Envelope):
                self.received(message)

    def lost(self, why: str) -> None:
        """The process is gone: every request that waits fails now."""
        self.why_lost = why
        if not self._stopping:
            self._starter.crashed(self.began)
        for id, (_, done) in self._waiting:
            self._waiting.take(id)
            if not done.done():
                done.set_exception(BackFault(why))

    def _notified(self, envelope: Envelope) -> None:
        raise NotImplementedError

    def _asked(self, envelope: Envelope) -> None:
        raise NotImplementedError


class StdioSession(_Pipe):
    """A legacy client's own process.

    Args:
        starter: starts processes of the back.
        owner: who gets what the process says outside a call.
    """

    def __init__(self, starter: Starter, owner: SessionOwner) -> None:
        super().__init__(starter)
        self._owner = owner

    async def initialize(self, call: Call, text: bytes) -> None:
        """Start the process and send `initialize`."""
        await self._start()
        await self._ask(call, text)

    def settle(self, version: str) -> None:
        """The negotiated revision is known; on stdio nothing depends on it."""

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
        """End the process."""
        await self.stop()

    def lost(self, why: str) -> None:
        super().lost(why)
        self._owner.lost(why)

    def _notified(self, envelope: Envelope) -> None:
        self._owner.notified(envelope)

    def _asked(self, envelope: Envelope) -> None:
        self._owner.asked(envelope)


class _ModernPipe(_Pipe):
    """A process that modern requests share."""

    def __init__(self, starter: Starter, stray: Callable[[Envelope], None] | None) -> None:
        super().__init__(starter)
        self._stray = stray
        self.logging: Call | None = None

    async def open(self, probe: Call, text: bytes) -> None:
        """Start the process and ask it `server/discover`; a server that stays silent is legacy."""
        await self._start()
        try:
            async with asyncio.timeout(limits.PROBE):
                await self._ask(probe, text)
        except TimeoutError:
            return

    def send(self, text: bytes) -> None:
        """Send a notification."""
        self._write(text)

    async def ask(self, call: Call, text: bytes) -> None:
        """Send a request; a cancelled wait cancels it at the back too."""
        try:
            await self._ask(call, text)
        except (asyncio.CancelledError, TimeoutError):
            if self.is_alive:
                self._write(notification_message(CANCELLED, {"requestId": call.id}))
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
        _log.warning("%s, a modern server, sent a request; it was dropped.", self._starter.launch.name)


class ModernStdio:
    """The modern face of a back that is started as a process.

    Args:
        starter: starts processes of the back.
        stray: where messages go that belong to no call, when there is one client only; None where clients share.
    """

    def __init__(self, starter: Starter, stray: Callable[[Envelope], None] | None) -> None:
        self._starter = starter
        self._stray = stray
        self._pipes: list[_ModernPipe] = []
        self._opening = asyncio.Lock()
        self._free = asyncio.Condition()
        self.is_modern: bool | None = None

    async def call(self, call: Call, request: ModernRequest, probe: Callable[[], tuple[Collect, bytes]]) -> None:
        """Send one modern request; returns when it is answered. Cancelling cancels it at the back too.

        Raises:
            WrongEra: the back is legacy.
            BackUnavailable, BackFault: there is no answer and there will be none.
        """
        wants_logs = self._stray is None and LOG_LEVEL_KEY in request.meta
        pipe = await self._pipe(call if wants_logs else None, probe)
        try:
            if PROGRESS_KEY in request.meta:
                request.meta[PROGRESS_KEY] = Raw(str(call.id).encode())
            await pipe.ask(call, request.write(call.id))
        finally:
            if wants_logs:
                pipe.logging = None
                async with self._free:
                    self._free.notify()

    def send(self, text: bytes) -> None:
        """Send a notification to every process that runs."""
        for pipe in self._pipes:
            if pipe.is_alive:
                pipe.send(text)

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(pipe.stop() for pipe in self._pipes))

    async def _pipe(self, logging_call: Call | None, probe: Callable[[], tuple[Collect, bytes]]) -> _ModernPipe:
        if self.is_modern is False:
            raise self._wrong_era()
        while True:
            async with self._opening:
                self._pipes = [pipe for pipe in self._pipes if pipe.is_alive]
                fitting = [pipe for pipe in self._pipes if logging_call is None or pipe.logging is None]
                if fitting or len(self._pipes) < limits.LOGGING_PROCESSES:
                    pipe = fitting[0] if fitting else await self._open(*probe())
                    pipe.logging = logging_call or pipe.logging
                    return pipe
            async with self._free:
                await self._free.wait()

    async def _open(self, probe: Collect, text: bytes) -> _ModernPipe:
        pipe = _ModernPipe(self._starter, self._stray)
        try:
            await pipe.open(probe, text)
        except BaseException:
            await pipe.stop()
            raise
        if probe.answer is None or not is_modern_answer(probe.answer):
            await pipe.stop()
            self.is_modern = False
            raise self._wrong_era()
        self.is_modern = True
        self._pipes.append(pipe)
        return pipe

    def _wrong_era(self) -> WrongEra:
        return WrongEra(
            f"{self._starter.launch.name} speaks only revisions before 2026-07-28. Open it with initialize."
        )
