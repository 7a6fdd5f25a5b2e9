"""The straight path of the legacy era: one client's session and its own session with the back, message for message.

Because the two sessions belong to each other, names, progress tokens, levels and subscriptions pass as they are; only
ids are the proxy's own on each leg. What a process that died had been told (`initialize`, the log level, the
subscriptions) is said again to the one that replaces it.
"""

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Final

from isthmus.engine.legacy_call import LegacyCall, OwnCall, Question
from isthmus.errors import BackFault, BackUnavailable, CallExpired, Fault, fault_of
from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.names import CANCELLED, INITIALIZED, MESSAGE, PROGRESS
from isthmus.protocol.versions import ASSUMED
from isthmus.transports.http_back import NotStreamable, SessionGone
from isthmus.transports.session import BackSession
from isthmus.types import Port, Strays, refuse_twice
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
    from collections.abc import Callable

    from msgspec import Raw

    from isthmus.engine.back import Back

_log: Final = logging.getLogger("isthmus.engine")


class LegacySession:
    """One legacy client and its own session with the back.

    Args:
        back: the back.
        strays: where messages go that belong to no call.
        forwarded: lines of the client's headers for every request.
    """

    def __init__(self, back: "Back", strays: Strays, forwarded: bytes = b"") -> None:
        self._back = back
        self._forwarded = forwarded
        self._strays = strays
        self._calls: dict[int | str, LegacyCall] = {}
        self._questions: Correlator[Question] = Correlator()
        self._there: BackSession | None = None
        self._is_lost = False
        self._is_initialized = False
        self._is_closed = False
        self._initialize: Envelope | None = None
        self._level: Raw | None = None
        self._subscribed: dict[bytes, Raw] = {}
        self._opening = asyncio.Lock()
        self.ids: Correlator[None] = Correlator()
        self.deadlines = back.deadlines
        self.version = ASSUMED
        self.on_lost: Callable[[], object] | None = None
        """Called when the back's session has ended by itself."""
        self.on_missed: Callable[[], object] | None = None
        """Called when what belongs to no call may have been missed."""

    # -- the client's side ------------------------------------------------------------------------------------------

    async def open(self, envelope: Envelope) -> bytes:
        """Open the back with the client's `initialize`; its answer, for the client.

        Raises:
            Fault: the back can't be opened, or refused.
        """
        self._initialize = envelope
        front_id = envelope.id or b"null"
        answer = await self._open()
        if self._back.server_info is not None:
            edits.set_member(answer, "serverInfo", self._back.server_info.raw)
        return one_line(edits.with_id(answer, front_id))

    async def request(self, envelope: Envelope, port: Port, make: "Callable[..., LegacyCall]" = LegacyCall) -> None:
        """Take one request to the back and its answer to `port`.

        Args:
            envelope: the request.
            port: the way back.
            make: makes the call of this session, the envelope and the port. Unless the call is bound to its task,
                cancelling the task does not cancel it at the back.
        """
        key = envelope.key if envelope.key is not None else 0
        if key in self._calls:
            refuse_twice(envelope.id, port)
            return
        call = self._calls[key] = make(self, envelope, port)
        began = self.deadlines.now()
        call.expires = began + self._back.limits.call_most
        self.deadlines.watch(call, began + self._back.limits.call)
        try:
            self._join(call)
            await self._send(call, envelope)
        except Fault as fault:
            self._back.failed(fault)
            call.fail(fault)
        except asyncio.CancelledError:
            is_ours = call.is_cancelled or call.is_expired
            if not is_ours or call.task is None or call.task.uncancel() > 0:
                if call.is_bound and call.is_open:
                    self._back.tasks.start(self._tell_cancelled(call, "The client left."))
                raise
            if call.is_open:
                waited = self.deadlines.now() - began
                expired = CallExpired(f"{self._back.name} did not answer {call.row.name} within {waited:.0f} s.")
                self._back.expired(expired)
                call.fail(expired)
                self._back.tasks.start(self._tell_cancelled(call, "The proxy's deadline passed."))
        except Exception as error:
            call.fail(fault_of(error))
        finally:
            self.deadlines.forget(call)
            del self._calls[key]
        if call.is_cancelled:
            port.abandon()
        elif not call.is_answered:
            call.fail(BackFault(f"{self._back.name} gave no answer to {call.row.name}. Try again."))

    async def notify(self, envelope: Envelope) -> None:
        """Take a notification of the client to the back."""
        if envelope.method == CANCELLED:
            await self._cancel(envelope)
        elif envelope.method == INITIALIZED:
            await self._introduce(one_line(close_object(envelope.members)))
        else:
            await self._tell(one_line(close_object(envelope.members)))

    async def answer(self, envelope: Envelope) -> None:
        """Take the client's answer to the back's question; an answer to nothing is dropped, counted."""
        question = self._end_question(envelope.key)
        if question is not None and question.there is self._there and not self._is_lost:
            await self._tell(one_line(edits.with_id(envelope, question.id)))

    async def close(self) -> None:
        """The client is gone: end the back's session."""
        self._is_closed = True
        for id, _ in self._questions:
            self._end_question(id)
        if self._there is not None:
            await self._there.close()

    # -- the back's side --------------------------------------------------------------------------------------------

    def notified(self, envelope: Envelope, call: LegacyCall | None = None) -> None:
        """The back sent a notification, on the stream of `call` where its transport tells."""
        if envelope.method == CANCELLED:
            self._withdraw(envelope)
            return
        if envelope.method == PROGRESS:
            call = call or self._call_of_token(envelope)
        for each in (call,) if call is not None else self._calls.values():
            each.extend(self._back.limits.call)
        if envelope.method.endswith("/list_changed"):
            self._back.changed(envelope.method.split("/")[1])
        port = self._port_for(call, envelope.method)
        port.notify(one_line(close_object(envelope.members)))

    def asked(self, envelope: Envelope, call: LegacyCall | None = None) -> None:
        """The back asks the client, on the stream of `call` where its transport tells."""
        there = self._there
        if there is None:
            return
        port = self._port_for(call, envelope.method, asks=True)
        if envelope.method == "ping" and port is self._strays and not self._strays.is_open:
            self._back.tasks.start(self._tell(result_message(envelope.id or b"null", {})))
            return
        id = self._questions.mint()
        wait = self._back.limits.answer_wait
        timer = asyncio.get_running_loop().call_later(wait, self._give_up, id)
        question = Question(there, envelope, port, timer)
        self._questions.expect(id, question)
        if envelope.method != "ping":  # which people don't answer
            question.is_shared = call is None
            question.calls = [call] if call is not None else list(self._calls.values())
            for each in question.calls:
                each.pause(self._longest_pause)
        port.notify(one_line(edits.with_id(envelope, str(id).encode())))

    def lost(self, why: str) -> None:
        """The back's session ended by itself; its questions are withdrawn."""
        self._is_lost = True
        self._back.changed(None)
        for id, question in self._questions:
            self._end_question(id)
            self._port_of(question).notify(notification_message(CANCELLED, {"requestId": id, "reason": why}))
        if self.on_lost is not None and not self._is_closed:
            self.on_lost()

    def unheard(self) -> None:
        """The stream for what belongs to no call has ended; until there is another, changes are not heard of."""
        self._back.changed(None)

    @property
    def heard_since(self) -> float:
        return self._there.heard_since if self._there is not None and not self._is_lost else inf

    def missed(self) -> None:
        """The stream for what belongs to no call was interrupted; what was said meanwhile is lost."""
        self._back.changed(None)
        if self.on_missed is not None:
            self.on_missed()

    async def reopen(self) -> None:
        """Open the back's session again, if it was lost.

        Raises:
            Fault: it can't be.
        """
        await self._ready()

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

    async def _send(self, call: LegacyCall, envelope: Envelope) -> None:
        there = await self._ready()
        if self._back.client is None or self._back.is_sse:
            call.port.stream(is_chosen=False)
        text = edits.with_id(envelope, str(call.id).encode())
        try:
            await there.request(call, text)
        except SessionGone as gone:
            if there is self._there:
                self.lost(gone.why)
            if not call.row.is_repeatable:
                gone.status = 404
                raise
            there = await self._ready()
            await there.request(call, text)

    async def _open(self) -> Envelope:
        envelope = self._initialize
        if envelope is None:
            raise Fault("No initialize was sent; the session can't be opened.", code=INVALID_REQUEST, status=400)
        self._discard()
        call = OwnCall(self, "initialize")
        self._there, self._is_lost = self._back.new_session(self, self._forwarded), False
        there = self._there
        self._back.opening += 1
        try:
            async with asyncio.timeout(self._back.limits.call):
                text = edits.with_id(envelope, str(call.id).encode())
                try:
                    await there.initialize(call, text)
                except NotStreamable as refused:
                    there = await self._fall_back(there, call, text, refused)
                if call.answer is None or "error" in call.answer.members:
                    raise await self._back.refused_initialize(call.answer, self._forwarded)
        except BaseException as error:
            self._discard()
            if isinstance(error, TimeoutError):
                raise BackUnavailable(f"{self._back.name} did not answer initialize in time. Is it running?") from None
            raise
        finally:
            self._back.opening -= 1
        result = open_object(call.answer.members["result"])
        version = string(result["protocolVersion"]) if result is not None and "protocolVersion" in result else None
        self.version = version or ASSUMED
        there.settle(self.version)
        return call.answer

    async def _fall_back(self, there: BackSession, call: OwnCall, text: bytes, refused: NotStreamable) -> BackSession:
        """Open the back over HTTP+SSE; where it hasn't got that either, what it said first counts."""
        older = self._back.older_session(self, self._forwarded)
        if older is not None:
            self._there = older
            try:
                await older.initialize(call, text)
                return older
            except Fault:
                if self._back.is_sse:
                    raise
        if call.answer is None:
            raise refused from None
        return there

    def _discard(self) -> None:
        """The session with the back is of no use; it is ended while nobody waits for it."""
        if self._there is not None:
            self._is_lost = True
            self._back.tasks.start(self._there.close())

    async def _ready(self) -> BackSession:
        """The open session, opened again if the back lost it."""
        if self._there is not None and not (self._is_lost or self._is_closed or self._opening.locked()):
            return self._there
        async with self._opening:
            if self._is_closed:
                raise Fault("This session has ended. Start a new one with initialize.", code=INVALID_REQUEST)
            if self._there is None or self._is_lost:
                await self._open()
                try:
                    await self._repeat()
                except BaseException:
                    self._discard()
                    raise
            assert self._there is not None
            return self._there

    async def _introduce(self, text: bytes) -> None:
        """Take `notifications/initialized` to the back. Requests wait for it: on HTTP they could overtake it."""
        try:
            async with asyncio.timeout(self._back.limits.call), self._opening:
                self._is_initialized = True
                await self._tell(text)
                if self._there is not None and not self._is_lost and not self._is_closed:
                    self._there.listen()
        except TimeoutError:
            _log.info("%s did not take %s in time.", self._back.name, INITIALIZED)

    async def _repeat(self) -> None:
        """Say again what the lost session had been told."""
        there = self._there
        if there is None or not self._is_initialized:
            return
        await there.send(notification_message(INITIALIZED))
        there.listen()
        again = [("logging/setLevel", self._level)] if self._level is not None else []
        again += [("resources/subscribe", params) for params in self._subscribed.values()]
        for method, params in again:
            call = OwnCall(self, method)
            await there.request(call, request_message(str(call.id).encode(), method, params))
            if call.answer is None or "error" in call.answer.members:
                _log.warning("%s, started again, refused %s, which it had accepted.", self._back.name, method)

    async def _tell(self, text: bytes) -> None:
        """Send to the back what wants no answer; a back that is gone is told nothing."""
        if self._there is None or self._is_lost:
            return
        try:
            async with asyncio.timeout(self._back.limits.call):
                await self._there.send(text)
        except (Fault, TimeoutError) as fault:
            _log.info("%s did not take a notification or an answer: %s", self._back.name, fault)

    async def _cancel(self, envelope: Envelope) -> None:
        """The client cancels one of its requests: nothing more is sent for it."""
        raw = edits.param(envelope, "requestId")
        key = identify(raw) if raw is not None else None
        call = self._calls.get(key) if key is not None else None
        if call is None or not call.is_open or call.is_expired:
            return
        call.is_cancelled = True
        if call.task is not None:
            call.task.cancel()
        edits.set_param(envelope, "requestId", str(call.id).encode())
        await self._tell(one_line(close_object(envelope.members)))

    async def _tell_cancelled(self, call: LegacyCall, reason: str) -> None:
        await self._tell(notification_message(CANCELLED, {"requestId": call.id, "reason": reason}))

    def _withdraw(self, envelope: Envelope) -> None:
        """The back withdraws a question."""
        raw = edits.param(envelope, "requestId")
        key = identify(raw) if raw is not None else None
        for id, question in self._questions:
            if question.key == key and question.there is self._there:
                self._end_question(id)
                edits.set_param(envelope, "requestId", str(id).encode())
                self._port_of(question).notify(one_line(close_object(envelope.members)))
                return

    def _give_up(self, id: int) -> None:
        """The client did not answer a question in time."""
        question = self._end_question(id)
        if question is not None:
            why = "The client did not answer in time."
            self._back.tasks.start(self._tell(error_message(question.id, -32603, why)))
            self._port_of(question).notify(notification_message(CANCELLED, {"requestId": id, "reason": why}))

    def _join(self, call: LegacyCall) -> None:
        """A call that begins while a question is with the client may have to wait for it as the others do."""
        if len(self._questions):
            for _, question in self._questions:
                if question.is_shared:
                    question.calls.append(call)
                    call.pause(self._longest_pause)

    def _end_question(self, id: int | str | None) -> Question | None:
        """Forget a question; the time of the calls that waited for it runs on."""
        question = self._questions.take(id)
        if question is not None:
            question.timer.cancel()
            for call in question.calls:
                call.resume(self._back.limits.call)
        return question

    @property
    def _longest_pause(self) -> float:
        return self._back.limits.answer_wait + self._back.limits.call

    def _port_of(self, question: Question) -> Port:
        """Where a question can be withdrawn: the stream it went out on, if that is still open."""
        is_open = any(call.port is question.port and call.is_open for call in self._calls.values())
        return question.port if is_open else self._strays

    def _call_of_token(self, envelope: Envelope) -> LegacyCall | None:
        token = edits.token_of(envelope)
        return next((call for call in self._calls.values() if call.token == token), None) if token is not None else None

    def _port_for(self, call: LegacyCall | None, method: str, *, asks: bool = False) -> Port:
        """Where a message goes whose call the transport doesn't tell.

        A question goes on the stream of the latest request in which one may be asked: a client need not have any
        other stream open. A log message goes there too when only one call can have caused it: lists and the like
        have little to say beside one. The rest goes where messages outside any call go.
        """
        if call is not None:
            return call.port
        if _is_change(method) or (not asks and self._strays.is_open):
            return self._strays
        able = [each for each in self._calls.values() if each.is_open and (each.row.may_ask or not asks)]
        if len(able) > 1 and method == MESSAGE:
            able = [each for each in able if each.row.may_ask]
        if able and (asks or len(able) == 1):
            return able[-1].port
        return self._strays


def _is_change(method: str) -> bool:
    return method.endswith("/list_changed") or method == "notifications/resources/updated"
