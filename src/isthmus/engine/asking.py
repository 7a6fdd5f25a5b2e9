"""A legacy client's session with a modern back: the proxy asks on the back's behalf.

The back knows no session; what belongs to one (the level, the subscriptions, the questions that are out) is kept here.
What each message becomes is `protocol/crossings/legacy_front`.
"""

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus import limits
from isthmus.engine import modern
from isthmus.engine.listening import Listening
from isthmus.engine.modern import ModernCall
from isthmus.errors import BackFault, Fault
from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.crossings import legacy_front
from isthmus.protocol.crossings.legacy_front import Client, Round
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


class AskedCall(ModernCall):
    """A legacy client's request at a modern back, through all its rounds."""

    __slots__ = ("_method", "_uri", "_version", "is_cancelled", "port", "round", "urls")

    def __init__(self, back: "Back", request: ModernRequest, port: Port, version: str) -> None:
        super().__init__(back, request, port)
        self.port = port
        self._method = request.row.name
        self._uri = request.name if self._method == "resources/read" else None
        self._version = version
        self.round: Members | None = None
        """The `input_required` result that came last, until it is dealt with."""
        self.is_cancelled = False
        self.urls: list[str] = []
        """The `elicitationId` of each URL that the user agreed to open."""

    def begin_round(self) -> None:
        """Another round: another request to the back."""
        self.id = self.back.ids.mint()
        self.round = None

    def answered(self, envelope: Envelope, status: int) -> None:
        result = open_object(envelope.members["result"]) if "result" in envelope.members else None
        if self.is_answered or self.is_cancelled:
            return
        self.back.has_answered = True
        if result is None:
            self._refused(envelope)
            return
        kind = legacy_front.result_kind(result)
        if kind == "input_required":
            self.round = result
        elif kind == "complete":
            if self._method == "tools/list":
                self.back.learn_tools(envelope)
                result = open_object(envelope.members["result"]) or result
            legacy_front.legacy_result(self._method, result, self._version)
            envelope.members["result"] = Raw(close_object(result))
            self.finish(one_line(edits.with_id(envelope, self.front_id)))
        else:
            self.fail(BackFault(f"{self.back.name} gave a result of the kind {kind!r}, which nobody declared."))

    def finish(self, message: bytes) -> None:
        """Give the final answer, after what has to be said before it."""
        self.is_answered = True
        for id in self.urls:
            self.port.notify(notification_message("notifications/elicitation/complete", {"elicitationId": id}))
        self.port.answer(message, 200)

    def _refused(self, envelope: Envelope) -> None:
        if self.remakes_headers and error_code(envelope) == HEADER_MISMATCH:
            self.mismatched = True
            return
        error = open_object(envelope.members["error"]) if "error" in envelope.members else None
        if error is not None:
            error = legacy_front.legacy_error(error, self._method, self._uri)
            envelope.members["error"] = Raw(close_object(error))
        self.finish(one_line(edits.with_id(envelope, self.front_id)))

    def fail(self, fault: Fault) -> None:
        if not self.is_answered and not self.is_cancelled:
            self.finish(error_message(self.front_id, fault.code, fault.why, fault.data))


class AskingSession:
    """One legacy client of a modern back (`types.Session`).

    Args:
        back: the back.
        client: what the client said of itself.
        strays: where messages go that belong to no call.
        discovered: the opened result of the back's `server/discover`.
    """

    def __init__(self, back: "Back", client: Client, strays: Strays, discovered: Members) -> None:
        self._back = back
        self._client = client
        self.version = client.version
        self._calls: dict[int | str, AskedCall] = {}
        self._questions: Correlator[asyncio.Future[Envelope]] = Correlator()
        self._level = legacy_front.LEVEL_UNSAID
        self._offers = decode(discovered["capabilities"]) if "capabilities" in discovered else {}
        self._listening = Listening(back, legacy_front.meta_of(client), strays, self._offers)
        self._own: dict[str, Callable[[Envelope], Awaitable[None]]] = {
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

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
            call = self._calls.get(identify(raw) or 0) if raw is not None else None
            if call is not None and not call.is_answered and call.task is not None:
                call.is_cancelled = True
                call.task.cancel()
        elif envelope.method == INITIALIZED:
            self._listening.begin()

    async def answer(self, envelope: Envelope) -> None:
        """Take the client's answer to a question; an answer to nothing is dropped, counted."""
        waiting = self._questions.take(envelope.key)
        if waiting is not None and not waiting.done():
            waiting.set_result(envelope)

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
        level = self._level if isinstance(self._offers, dict) and "logging" in self._offers else None
        request = legacy_front.modern_request(envelope, self._client, level)
        call = self._calls[key] = AskedCall(back, request, port, self.version)
        call.task = asyncio.current_task()
        now = back.deadlines.now()
        call.expires = now + back.limits.call_most
        back.deadlines.watch(call, now + back.limits.call)
        if back.client is None:
            port.stream(is_chosen=False)
        try:
            await modern.settle(back, call, self._rounds(call, request))
        except asyncio.CancelledError:
            if not call.is_cancelled or call.task is None or call.task.uncancel() > 0:
                raise
            port.abandon()
        finally:
            del self._calls[key]

    async def _rounds(self, call: AskedCall, request: ModernRequest) -> None:
        wait, asked = limits.ROUND_WAIT, 0
        while True:
            await modern.send(self._back, call, request, None)
            if call.round is None:
                return
            if not call.row.may_ask:
                raise BackFault(
                    f"{self._back.name} asked for input in the middle of {call.row.name}, which it may not."
                )
            ids = {key: secrets.token_urlsafe(12) for key in legacy_front.keys_of(call.round)}
            read = legacy_front.read_round(call.round, self._client, ids)
            if isinstance(read, str):
                raise BackFault(f"{self._back.name} asked for what can't be asked: {read}.")
            answers: dict[str, Raw] = {}
            if read.questions:
                asked += 1
                if asked > limits.ROUNDS:
                    raise BackFault(
                        f"{self._back.name} asked in {limits.ROUNDS} rounds and would ask again. It may loop."
                    )
                answers = await self._ask(call, read)
                if call.is_answered:
                    return
            else:
                await asyncio.sleep(wait)
                wait = min(2 * wait, limits.ROUND_WAIT_MOST)
            legacy_front.retry(request, answers, read.state)
            call.begin_round()

    async def _ask(self, call: AskedCall, read: Round) -> dict[str, Raw]:
        """Put all questions of a round to the client, on the stream of its call; its answers by key.

        The deadlines of the call rest meanwhile. An error can't be said in `inputResponses`: it ends the call.
        """
        back, began = self._back, self._back.deadlines.now()
        back.deadlines.forget(call)
        waiting: dict[int, tuple[str, str | None, asyncio.Future[Envelope]]] = {}
        try:
            for question in read.questions:
                id = self._questions.mint()
                future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
                self._questions.expect(id, future)
                waiting[id] = (question.key, question.url_id, future)
                call.port.notify(request_message(str(id).encode(), question.method, question.params))
            async with asyncio.timeout(back.limits.answer_wait):
                return await self._answers(call, waiting)
        except TimeoutError:
            raise Fault("The client did not answer the server's question in time.") from None
        finally:
            for id in waiting:
                if self._questions.find(id) is not None:
                    self._questions.forget(id)
                    why = {"requestId": id, "reason": "The call has ended."}
                    call.port.notify(notification_message(CANCELLED, why))
            now = back.deadlines.now()
            call.expires += now - began
            back.deadlines.watch(call, min(now + back.limits.call, call.expires))

    async def _answers(
        self, call: AskedCall, waiting: dict[int, tuple[str, str | None, "asyncio.Future[Envelope]"]]
    ) -> dict[str, Raw]:
        answers: dict[str, Raw] = {}
        left = {future: (key, url) for key, url, future in waiting.values()}
        while left:
            done, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                key, url = left.pop(future)
                envelope = future.result()
                if "error" in envelope.members:
                    call.finish(one_line(edits.with_id(envelope, call.front_id)))
                    return {}
                answers[key] = envelope.members["result"]
                if url is not None and edits.is_accepted(envelope.members["result"]):
                    call.urls.append(url)
        return answers


async def open_session(back: "Back", initialize: Envelope, strays: Strays) -> tuple[AskingSession, bytes]:
    """A legacy client's session with a modern back, and the answer to its `initialize`.

    Raises:
        Fault: the back can't be asked what it is.
    """
    client = legacy_front.read_client(initialize)
    discovered = await _discover(back, client)
    info = back.server_info.raw if back.server_info is not None else None
    result = legacy_front.initialize_result(discovered, client, info)
    session = AskingSession(back, client, strays, discovered)
    return session, one_line(result_message(initialize.id or b"null", result))


async def _discover(back: "Back", client: Client) -> Members:
    """The opened result of the back's `server/discover`, in the name of a client.

    Raises:
        Fault: there is none.
    """
    answer = await back.discover(legacy_front.meta_of(client))
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
