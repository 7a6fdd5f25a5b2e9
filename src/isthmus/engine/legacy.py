"""The straight path of the legacy era: one client's session and its own session with the back, message for message.

Because the two sessions belong to each other, names, progress tokens, levels and subscriptions pass as they are; only
ids are the proxy's own on each leg. What a process that died had been told (`initialize`, the log level, the
subscriptions) is said again to the one that replaces it.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Raw

from isthmus.errors import BackFault, BackUnavailable, Fault
from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import CANCELLED, INITIALIZED, PROGRESS, PROGRESS_KEY
from isthmus.protocol.versions import ASSUMED
from isthmus.types import Call, Collect, Port, Strays
from isthmus.wire.codec import close_object, identify, one_line, open_object, string
from isthmus.wire.envelope import (
    INVALID_REQUEST,
    Envelope,
    error_message,
    notification_message,
    request_message,
    result_message,
)

if TYPE_CHECKING:
    from isthmus.engine.gateway import Gateway

_log: Final = logging.getLogger("isthmus.engine")


class BackSession(Protocol):
    """A session with a legacy back, on whatever transport."""

    async def initialize(self, call: Call, text: bytes) -> None:
        """Open it and send `initialize`."""

    def settle(self, version: str) -> None:
        """The negotiated revision is known."""

    async def request(self, call: Call, text: bytes) -> None:
        """Send a request; returns when it is answered."""

    async def send(self, text: bytes) -> None:
        """Send a notification or an answer."""

    def listen(self) -> None:
        """Hear what the back says outside any call."""

    async def close(self) -> None:
        """End it."""


class _Question:
    """A request of the back that waits for the client: its id there, and the session that asked."""

    __slots__ = ("back", "id", "key", "timer")

    def __init__(self, back: BackSession, envelope: Envelope, timer: asyncio.TimerHandle) -> None:
        self.back = back
        self.id: bytes = envelope.id or b"null"
        self.key = envelope.key
        self.timer = timer


class LegacyCall(Call):
    """One request of a legacy client."""

    __slots__ = ("_envelope", "_session", "front_id", "is_answered", "is_cancelled", "port", "task", "token")

    def __init__(self, session: "LegacySession", envelope: Envelope, port: Port) -> None:
        super().__init__(session.ids.mint(), row_of(envelope.method))
        self._session = session
        self._envelope = envelope
        self.front_id: bytes = envelope.id or b"null"
        self.port = port
        self.task = asyncio.current_task()
        self.token = edits.progress_token(envelope)
        self.is_answered = False
        self.is_cancelled = False

    def notified(self, envelope: Envelope) -> None:
        self._session.notified(envelope, self)

    def asked(self, envelope: Envelope) -> None:
        self._session.asked(envelope, self)

    def answered(self, envelope: Envelope, status: int) -> None:
        if self.is_answered or self.is_cancelled:
            return
        self.is_answered = True
        if "result" in envelope.members:
            self._session.remember(self._envelope)
        self.port.answer(one_line(edits.with_id(envelope, self.front_id)), status if status < 300 else 200)

    def fail(self, fault: Fault) -> None:
        """Answer with a fault of ours, unless the call is answered."""
        if not self.is_answered and not self.is_cancelled:
            self.is_answered = True
            self.port.answer(error_message(self.front_id, fault.code, fault.why, fault.data), fault.status)

    async def drain(self) -> None:
        await self.port.drain()


class LegacySession:
    """One legacy client and its own session with the back.

    Args:
        gateway: the back.
        strays: where messages go that belong to no call.
    """

    def __init__(self, gateway: "Gateway", strays: Strays) -> None:
        self._gateway = gateway
        self._strays = strays
        self._calls: dict[int | str, LegacyCall] = {}
        self._questions: Correlator[_Question] = Correlator()
        self._back: BackSession | None = None
        self._is_back_lost = False
        self._is_initialized = False
        self._initialize: Envelope | None = None
        self._level: Raw | None = None
        self._subscribed: dict[bytes, Raw] = {}
        self._opening = asyncio.Lock()
        self.ids: Correlator[None] = Correlator()
        self.version = ASSUMED

    # -- the client's side ------------------------------------------------------------------------------------------

    async def open(self, envelope: Envelope) -> bytes:
        """Open the back with the client's `initialize`; its answer, for the client.

        Raises:
            Fault: the back can't be opened, or refused.
        """
        self._initialize = envelope
        front_id = envelope.id or b"null"
        answer = await self._open()
        if self._gateway.server_info is not None:
            edits.set_member(answer, "serverInfo", self._gateway.server_info)
        return one_line(edits.with_id(answer, front_id))

    async def request(self, envelope: Envelope, port: Port) -> None:
        """Take one request to the back and its answer to `port`. Cancelling the task does not cancel the call there."""
        key = envelope.key if envelope.key is not None else 0
        if key in self._calls:
            why = "A request with this id is still in flight; ids may not be used twice."
            port.answer(error_message(envelope.id, INVALID_REQUEST, why), 409)
            return
        call = self._calls[key] = LegacyCall(self, envelope, port)
        now = asyncio.get_running_loop().time()
        call.expires = now + self._gateway.limits.call_most
        try:
            async with asyncio.timeout(self._gateway.limits.call) as call.timeout:
                back = await self._ready()
                await back.request(call, edits.with_id(envelope, str(call.id).encode()))
        except TimeoutError:
            await self._tell_cancelled(call, "The proxy's deadline passed.")
            waited = asyncio.get_running_loop().time() - now
            call.fail(Fault(f"{self._gateway.name} did not answer {call.row.name} within {waited:.0f} s."))
        except Fault as fault:
            call.fail(fault)
        except asyncio.CancelledError:
            if not call.is_cancelled or call.task is None or call.task.uncancel() > 0:
                raise
            port.abandon()
        finally:
            del self._calls[key]
        if not call.is_answered:
            call.fail(BackFault(f"{self._gateway.name} gave no answer to {call.row.name}. Try again."))

    async def notify(self, envelope: Envelope) -> None:
        """Take a notification of the client to the back."""
        if envelope.method == CANCELLED:
            await self._cancel(envelope)
            return
        if envelope.method == INITIALIZED:
            self._is_initialized = True
        await self._tell(one_line(close_object(envelope.members)))
        if envelope.method == INITIALIZED and self._back is not None:
            self._back.listen()

    async def answer(self, envelope: Envelope) -> None:
        """Take the client's answer to the back's question; an answer to nothing is dropped, counted."""
        question = self._questions.take(envelope.key)
        if question is None:
            return
        question.timer.cancel()
        self._resume_deadlines()
        if question.back is self._back and not self._is_back_lost:
            await self._tell(one_line(edits.with_id(envelope, question.id)))

    async def close(self) -> None:
        """The client is gone: end the back's session."""
        for _, question in self._questions:
            question.timer.cancel()
        if self._back is not None:
            await self._back.close()

    # -- the back's side --------------------------------------------------------------------------------------------

    def notified(self, envelope: Envelope, call: LegacyCall | None = None) -> None:
        """The back sent a notification, on the stream of `call` where its transport tells."""
        if envelope.method == CANCELLED:
            self._withdraw(envelope)
            return
        if envelope.method == PROGRESS:
            call = call or self._call_of_token(envelope)
        for each in (call,) if call is not None else self._calls.values():
            each.extend(self._gateway.limits.call)
        port = self._port_for(call, asks=False, is_change=_is_change(envelope.method))
        port.notify(one_line(close_object(envelope.members)))

    def asked(self, envelope: Envelope, call: LegacyCall | None = None) -> None:
        """The back asks the client, on the stream of `call` where its transport tells."""
        back = self._back
        if back is None:
            return
        port = self._port_for(call, asks=True)
        if envelope.method == "ping" and port is self._strays and not self._strays.is_open:
            self._gateway.tasks.start(self._tell(result_message(envelope.id or b"null", {})))
            return
        id = self._questions.mint()
        wait = self._gateway.limits.answer_wait
        timer = asyncio.get_running_loop().call_later(wait, self._give_up, id)
        self._questions.expect(id, _Question(back, envelope, timer))
        for each in self._calls.values():
            each.expires += wait
            each.extend(wait)
        port.notify(one_line(edits.with_id(envelope, str(id).encode())))

    def lost(self, why: str) -> None:
        """The back's session ended by itself; its questions are withdrawn."""
        self._is_back_lost = True
        for id, question in self._questions:
            self._questions.take(id)
            question.timer.cancel()
            self._strays.notify(notification_message(CANCELLED, {"requestId": id, "reason": why}))

    def remember(self, envelope: Envelope) -> None:
        """The back accepted a request that a process replacing it must hear again."""
        params = envelope.members.get("params")
        if params is None:
            return
        if envelope.method == "logging/setLevel":
            self._level = params
        elif envelope.method == "resources/subscribe":
            self._subscribed[edits.param(envelope, "uri") or b""] = params
        elif envelope.method == "resources/unsubscribe":
            self._subscribed.pop(edits.param(envelope, "uri") or b"", None)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _open(self) -> Envelope:
        envelope = self._initialize
        if envelope is None:
            raise Fault("No initialize was sent; the session can't be opened.", code=INVALID_REQUEST, status=400)
        call = Collect(self.ids.mint(), row_of("initialize"))
        self._back, self._is_back_lost = self._gateway.new_session(self), False
        back = self._back
        try:
            async with asyncio.timeout(self._gateway.limits.call):
                await back.initialize(call, edits.with_id(envelope, str(call.id).encode()))
            if call.answer is None or "error" in call.answer.members:
                raise await self._gateway.refused_initialize(call.answer, envelope)
        except BaseException as error:
            self._is_back_lost = True
            await back.close()
            if isinstance(error, TimeoutError):
                raise BackUnavailable(
                    f"{self._gateway.name} did not answer initialize in time. Is it running?"
                ) from None
            raise
        result = open_object(call.answer.members["result"])
        version = string(result["protocolVersion"]) if result is not None and "protocolVersion" in result else None
        self.version = version or ASSUMED
        back.settle(self.version)
        return call.answer

    async def _ready(self) -> BackSession:
        """The open session, opened again if the back lost it."""
        async with self._opening:
            if self._back is None or self._is_back_lost:
                await self._open()
                await self._repeat()
            assert self._back is not None
            return self._back

    async def _repeat(self) -> None:
        """Say again what the lost session had been told."""
        back = self._back
        if back is None or not self._is_initialized:
            return
        await back.send(notification_message(INITIALIZED))
        back.listen()
        again = [("logging/setLevel", self._level)] if self._level is not None else []
        again += [("resources/subscribe", params) for params in self._subscribed.values()]
        for method, params in again:
            call = Collect(self.ids.mint(), row_of(method))
            await back.request(call, request_message(str(call.id).encode(), method, params))

    async def _tell(self, text: bytes) -> None:
        """Send to the back what wants no answer; a back that is gone is told nothing."""
        if self._back is None or self._is_back_lost:
            return
        try:
            async with asyncio.timeout(self._gateway.limits.call):
                await self._back.send(text)
        except (Fault, TimeoutError) as fault:
            _log.info("%s did not take a notification or an answer: %s", self._gateway.name, fault)

    async def _cancel(self, envelope: Envelope) -> None:
        """The client cancels one of its requests: nothing more is sent for it."""
        raw = edits.param(envelope, "requestId")
        call = self._calls.get(identify(raw) or 0) if raw is not None else None
        if call is None or call.is_answered or call.row.name == "initialize":
            return
        call.is_cancelled = True
        edits.set_param(envelope, "requestId", str(call.id).encode())
        await self._tell(one_line(close_object(envelope.members)))
        if call.task is not None:
            call.task.cancel()

    async def _tell_cancelled(self, call: LegacyCall, reason: str) -> None:
        await self._tell(notification_message(CANCELLED, {"requestId": call.id, "reason": reason}))

    def _withdraw(self, envelope: Envelope) -> None:
        """The back withdraws a question."""
        raw = edits.param(envelope, "requestId")
        key = identify(raw) if raw is not None else None
        for id, question in self._questions:
            if question.key == key and question.back is self._back:
                self._questions.take(id)
                question.timer.cancel()
                self._resume_deadlines()
                edits.set_param(envelope, "requestId", str(id).encode())
                self._port_for(None, asks=True).notify(one_line(close_object(envelope.members)))
                return

    def _give_up(self, id: int) -> None:
        """The client did not answer a question in time."""
        question = self._questions.take(id)
        if question is not None:
            why = "The client did not answer in time."
            self._gateway.tasks.start(self._tell(error_message(question.id, -32603, why)))
            self._port_for(None, asks=True).notify(notification_message(CANCELLED, {"requestId": id, "reason": why}))

    def _resume_deadlines(self) -> None:
        if not len(self._questions):
            for call in self._calls.values():
                call.extend(self._gateway.limits.call)

    def _call_of_token(self, envelope: Envelope) -> LegacyCall | None:
        raw = edits.param(envelope, PROGRESS_KEY)
        token = identify(raw) if raw is not None else None
        return next((call for call in self._calls.values() if call.token == token), None) if token is not None else None

    def _port_for(self, call: LegacyCall | None, *, asks: bool, is_change: bool = False) -> Port:
        """Where a message goes whose call the transport doesn't tell.

        A question goes on the stream of the latest request in which one may be asked: a client need not have any
        other stream open. A log message goes there too when only one call can have caused it. The rest goes where
        messages outside any call go.
        """
        if call is not None:
            return call.port
        if is_change or (not asks and self._strays.is_open):
            return self._strays
        able = [each for each in self._calls.values() if each.row.may_ask or not asks]
        if able and (asks or len(able) == 1):
            return able[-1].port
        return self._strays


def _is_change(method: str) -> bool:
    return method.endswith("/list_changed") or method == "notifications/resources/updated"
