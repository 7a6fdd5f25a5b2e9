"""A legacy client's session with a modern back: the proxy asks on the back's behalf.

The back knows no session; what belongs to one (the level, the subscriptions, the questions that are out) is kept here.
What each message becomes is `protocol/crossings/legacy_front`; what is done when is the machine in `protocol/asking`.
"""

import asyncio
import logging
import secrets
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Raw

from isthmus import limits
from isthmus.engine import modern
from isthmus.engine.listening import Listening
from isthmus.engine.modern import ModernCall
from isthmus.errors import BackFault, Fault
from isthmus.protocol import edits
from isthmus.protocol.asking import MOVES, Do, Event, State
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.crossings import legacy_front
from isthmus.protocol.crossings.legacy_front import Client, Question, Round
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import CANCELLED, HEADER_MISMATCH, INITIALIZED
from isthmus.protocol.versions import Era
from isthmus.transports.http_back import error_code
from isthmus.types import Port, Strays, refuse_twice
from isthmus.wire.codec import close_object, decode, identify, one_line, open_object, string
from isthmus.wire.envelope import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Envelope,
    Members,
    error_message,
    notification_message,
    request_message,
    result_message,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from isthmus.engine.back import Back

_log: Final = logging.getLogger("isthmus.engine")

# Named here because to look a member of an Enum up takes longer than what is done with it, in every call.
_FIRST: Final = Do.SEND, State.CALLED
_ANSWERS: Final = Do.GIVE, Do.RETURN, Do.FAIL
_FINISHED: Final = Event.FINISHED
_OVER: Final = State.OVER


class AskedCall(ModernCall):
    """A legacy client's request at a modern back, through all its rounds: the machine of `protocol/asking`."""

    __slots__ = ("_version", "answers", "due", "pause", "port", "request", "round", "rounds", "said", "state", "urls")

    round: Round
    """What the last round asks for, if it asks."""
    answers: dict[str, Raw]
    """What the client answered to it."""

    def __init__(self, back: "Back", request: ModernRequest, port: Port, version: str) -> None:
        super().__init__(back, request, port)
        self.port = port
        self.request = request
        self._version = version
        self.due, self.state = _FIRST
        """What the task of the call is to do next, if that is of its acts."""
        self.said: Members | None = None
        """The `input_required` result that answered the last round, until the next is sent."""
        self.rounds = 0
        self.pause = limits.ROUND_WAIT
        self.urls: list[str] = []
        """The `elicitationId` of each URL that the user agreed to open."""

    def move(self, event: Event) -> Do:
        """What is to be done now that this has happened."""
        do, after = MOVES[self.state][event]
        if after is not self.state:
            self.due, self.state = do, after
        else:
            assert do is not Do.BUG, f"{event} in {after}"
        return do

    def begin_round(self) -> None:
        """Another round: another request to the back, with what came of the one before."""
        self.id = self.back.ids.mint()
        self.said = None
        legacy_front.retry(self.request, self.answers, self.round.state)

    def answered(self, envelope: Envelope, status: int) -> None:
        result = open_object(envelope.members["result"]) if "result" in envelope.members else None
        self.back.has_answered = True
        if result is None:
            self._refused(envelope)
            return
        kind = legacy_front.result_kind(result)
        if kind == "input_required":
            self.said = result
        elif kind == "complete":
            if self.row.name == "tools/list":
                self.back.learn_tools(envelope)
                result = open_object(envelope.members["result"]) or result
            legacy_front.legacy_result(self.row.name, result, self._version)
            envelope.members["result"] = Raw(close_object(result))
            self.finish(_FINISHED, one_line(edits.with_id(envelope, self.front_id)))
        else:
            self.fail(BackFault(f"{self.back.name} gave a result of the kind {kind!r}, which nobody declared."))

    def finish(self, event: Event, message: bytes) -> None:
        """The final answer, if there was none; given after what has to be said before it."""
        if self.move(event) in _ANSWERS:
            self.is_answered = True
            for id in self.urls:
                self.port.notify(notification_message("notifications/elicitation/complete", {"elicitationId": id}))
            self.port.answer(message, 200)

    def fail(self, fault: Fault) -> None:
        self.finish(Event.FAILED, error_message(self.front_id, fault.code, fault.why, fault.data))

    def _refused(self, envelope: Envelope) -> None:
        if self.remakes_headers and error_code(envelope) == HEADER_MISMATCH:
            self.mismatched = True
            return
        error = open_object(envelope.members["error"]) if "error" in envelope.members else None
        if error is not None:
            error = legacy_front.legacy_error(error, self.row.name, self.request.name)
            envelope.members["error"] = Raw(close_object(error))
        self.finish(_FINISHED, one_line(edits.with_id(envelope, self.front_id)))


class _Asked(NamedTuple):
    """A round's questions that are with the client, by id; `settled` is done when none is waited for."""

    call: AskedCall
    out: dict[int, Question]
    settled: "asyncio.Future[None]"


class AskingSession:
    """One legacy client of a modern back (`types.Session`).

    Args:
        back: the back.
        client: what the client said of itself.
        strays: where messages go that belong to no call.
        discovered: the opened result of the back's `server/discover`.
        forwarded: lines of the client's headers for every request.
    """

    def __init__(self, back: "Back", client: Client, strays: Strays, discovered: Members, forwarded: bytes) -> None:
        self._back = back
        self._forwarded = forwarded
        self._client = client
        self.version = client.version
        self._calls: dict[int | str, AskedCall] = {}
        self._questions: Correlator[Callable[[Envelope], None]] = Correlator()
        self._level = legacy_front.LEVEL_UNSAID
        offers = decode(discovered["capabilities"]) if "capabilities" in discovered else {}
        self.is_logging = isinstance(offers, dict) and "logging" in offers
        """Whether the back is told from which level on its log messages are wanted."""
        self._listening = Listening(back, legacy_front.meta_of(client), strays, offers, forwarded)
        self._own: dict[str, Callable[[Envelope], Awaitable[None]]] = {
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }
        self._acts = {Do.SEND: self._send, Do.ASK: self._ask, Do.REST: self._rest}
        """What the task of a call does, and waits for; each ends with a move."""

    @property
    def heard_since(self) -> float:
        """How long its lists are good says the back itself."""
        return inf

    async def request(self, envelope: Envelope, port: Port) -> None:
        """Take one request to the back and its answer to `port`."""
        key = envelope.key if envelope.key is not None else 0
        if key in self._calls:
            refuse_twice(envelope.id, port)
        elif envelope.method in self._own:
            await self._answer_own(envelope, port)
        elif envelope.method.startswith("tasks/") and Era.LEGACY in row_of(envelope.method).eras:
            why = f"Method not found: {envelope.method}. The server's tasks are of another era; calls are plain ones."
            port.answer(error_message(envelope.id, METHOD_NOT_FOUND, why), 200)
        else:
            await self._call(key, envelope, port)

    async def notify(self, envelope: Envelope) -> None:
        """Heed a notification of the client; a modern back has to be told nothing."""
        if envelope.method == CANCELLED:
            raw = edits.param(envelope, "requestId")
            key = identify(raw) if raw is not None else None
            call = self._calls.get(key) if key is not None else None
            if call is not None and call.move(Event.LEFT) is Do.CANCEL and call.task is not None:
                call.task.cancel()
        elif envelope.method == INITIALIZED:
            self._listening.begin()

    async def answer(self, envelope: Envelope) -> None:
        """Take the client's answer to a question; an answer to nothing is dropped, counted."""
        heed = self._questions.take(envelope.key)
        if heed is not None:
            heed(envelope)

    async def close(self) -> None:
        """The client is gone."""
        self._listening.close()
        for call in self._calls.values():
            if call.task is not None:
                call.task.cancel()

    # -- what the proxy answers itself ------------------------------------------------------------------------------

    async def _answer_own(self, envelope: Envelope, port: Port) -> None:
        id = envelope.id or b"null"
        try:
            async with asyncio.timeout(self._back.limits.call):
                await self._own[envelope.method](envelope)
        except TimeoutError:
            why = f"{self._back.name} did not take {envelope.method} in time. Try again."
            port.answer(error_message(id, INTERNAL_ERROR, why), 200)
        except Fault as fault:
            port.answer(error_message(id, fault.code, fault.why, fault.data), fault.status)
        else:
            port.answer(result_message(id, {}), 200)

    async def _ping(self, envelope: Envelope) -> None:
        """A modern back has no ping; the proxy is alive."""

    async def _set_level(self, envelope: Envelope) -> None:
        level = string(edits.param(envelope, "level"))
        if level not in legacy_front.LEVELS:
            known = ", ".join(legacy_front.LEVELS)
            raise Fault(f"There is no log level {level!r}; there are {known}.", code=INVALID_PARAMS)
        self._level = level

    async def _subscribe(self, envelope: Envelope) -> None:
        await self._listening.subscribe(_uri_of(envelope))

    async def _unsubscribe(self, envelope: Envelope) -> None:
        await self._listening.unsubscribe(_uri_of(envelope))

    # -- what goes to the back --------------------------------------------------------------------------------------

    async def _call(self, key: int | str, envelope: Envelope, port: Port) -> None:
        back = self._back
        request = legacy_front.modern_request(envelope, self._client, self._level if self.is_logging else None)
        request.forwarded = self._forwarded
        call = self._calls[key] = AskedCall(back, request, port, self.version)
        call.task = asyncio.current_task()
        now = back.deadlines.now()
        call.expires = now + back.limits.call_most
        back.deadlines.watch(call, now + back.limits.call)
        if back.client is None:
            port.stream(is_chosen=False)
        try:
            await modern.settle(back, call, self._rounds(call))
        except asyncio.CancelledError:
            if call.due is not Do.CANCEL or call.task is None or call.task.uncancel() > 0:
                raise
            port.abandon()
        finally:
            del self._calls[key]

    async def _rounds(self, call: AskedCall) -> None:
        """Send the call, and do what the machine says until it is over."""
        await self._send(call)
        while call.state is not _OVER:
            await self._acts[call.due](call)

    async def _send(self, call: AskedCall) -> None:
        """One round of the call at the back."""
        if call.said is not None:
            call.begin_round()
        await modern.send(self._back, call, call.request, None)
        if call.said is not None:
            call.move(self._read(call, call.said))
        elif not call.is_answered:
            raise BackFault(f"{self._back.name} gave no answer to {call.row.name}. Try again.")

    def _read(self, call: AskedCall, said: Members) -> Event:
        """What a result that asks for input is to the machine.

        Raises:
            BackFault: what can't be asked, or may not be, or not so often.
        """
        name = self._back.name
        if not call.row.may_ask:
            raise BackFault(f"{name} asked for input in the middle of {call.row.name}, which it may not.")
        ids = {key: secrets.token_urlsafe(12) for key in legacy_front.keys_of(said)}
        read = legacy_front.read_round(said, self._client, ids)
        if isinstance(read, str):
            raise BackFault(f"{name} asked for what can't be asked: {read}.")
        call.round, call.answers = read, {}
        if not read.questions:
            return Event.DEFERRED
        call.rounds += 1
        if call.rounds > limits.ROUNDS:
            raise BackFault(f"{name} asked in {limits.ROUNDS} rounds and would ask again. It may loop.")
        return Event.ASKED

    async def _rest(self, call: AskedCall) -> None:
        await asyncio.sleep(call.pause)
        call.pause = min(2 * call.pause, limits.ROUND_WAIT_MOST)
        call.move(Event.RESTED)

    async def _ask(self, call: AskedCall) -> None:
        """Put all questions of a round to the client; the deadlines of the call rest meanwhile."""
        back, began = self._back, self._back.deadlines.now()
        back.deadlines.forget(call)
        out = {self._questions.mint(): question for question in call.round.questions}
        asked = _Asked(call, out, asyncio.get_running_loop().create_future())
        for id, question in out.items():
            self._questions.expect(id, partial(self._replied, asked, id))
            call.port.notify(request_message(str(id).encode(), question.method, question.params))
        try:
            async with asyncio.timeout(back.limits.answer_wait):
                await asked.settled
        except TimeoutError:
            raise Fault("The client did not answer the server's question in time.") from None
        finally:
            self._withdraw(asked)
            now = back.deadlines.now()
            call.expires += now - began
            back.deadlines.watch(call, min(now + back.limits.call, call.expires))

    def _replied(self, asked: _Asked, id: int, envelope: Envelope) -> None:
        """The client answered a question. An error can't be said in `inputResponses`: it ends the call."""
        call, question = asked.call, asked.out.pop(id)
        if "error" in envelope.members:
            self._withdraw(asked)
            call.finish(Event.REFUSED, one_line(edits.with_id(envelope, call.front_id)))
        elif call.move(Event.ANSWERED if asked.out else Event.COMPLETED) is not Do.LATE:
            result = call.answers[question.key] = envelope.members["result"]
            if question.url_id is not None and edits.is_accepted(result):
                call.urls.append(question.url_id)
        if not asked.out and not asked.settled.done():
            asked.settled.set_result(None)

    def _withdraw(self, asked: _Asked) -> None:
        """Take back what is still out."""
        for id in asked.out:
            self._questions.forget(id)
            why = {"requestId": id, "reason": "The call has ended."}
            asked.call.port.notify(notification_message(CANCELLED, why))
        asked.out.clear()


async def open_session(
    back: "Back", initialize: Envelope, strays: Strays, forwarded: bytes
) -> tuple[AskingSession, bytes]:
    """A legacy client's session with a modern back, and the answer to its `initialize`.

    `forwarded`: lines of the client's headers, which go on to the back with every request.

    Raises:
        Fault: the back can't be asked what it is.
    """
    client = legacy_front.read_client(initialize)
    discovered = await _discover(back, client, forwarded)
    info = back.server_info.raw if back.server_info is not None else None
    result = legacy_front.initialize_result(discovered, client, info)
    session = AskingSession(back, client, strays, discovered, forwarded)
    return session, one_line(result_message(initialize.id or b"null", result))


async def _discover(back: "Back", client: Client, forwarded: bytes) -> Members:
    """The opened result of the back's `server/discover`, in the name of a client.

    Raises:
        Fault: there is none.
    """
    answer = await back.discover(legacy_front.meta_of(client), forwarded)
    result = open_object(answer.members["result"]) if "result" in answer.members else None
    if result is None:
        error: Any = decode(answer.members["error"]) if "error" in answer.members else {}
        said = error.get("message") if isinstance(error, dict) else None
        raise BackFault(f"{back.name} did not say what it is: {said}", data=error)
    return result


def _uri_of(envelope: Envelope) -> str:
    uri = string(edits.param(envelope, "uri"))
    if uri is None:
        raise Fault('"params.uri" must be a string.', code=INVALID_PARAMS)
    return uri
