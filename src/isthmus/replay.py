"""A relay without a back: it answers from a recording (`recording.Recording`).

Ids, progress tokens and subscription ids are those of the client that asks now. A recorded question is asked under an
id of its own, and what follows it waits for the answer, whatever that is. Of the time that passed then `REPLAY_PAUSE`
is waited at most: some clients lose what comes together with the answer.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from math import inf
from typing import Any, Final

from isthmus.engine.tasks import Tasks
from isthmus.errors import Fault
from isthmus.limits import LISTEN, REPLAY_PAUSE, Limits
from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import CANCELLED, PROGRESS, PROGRESS_KEY
from isthmus.protocol.subscriptions import closing_message
from isthmus.protocol.versions import ASSUMED, Era
from isthmus.recording import Cue, Recording, Said, retold
from isthmus.types import Port, Session, Strays, refuse_twice
from isthmus.wire.codec import close_object, identify, one_line, open_object, string
from isthmus.wire.envelope import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Envelope,
    Kind,
    error_message,
    result_message,
)

_STATUS: Final = {METHOD_NOT_FOUND: 404}


class _Live:
    """A call of now: where its messages go, under which id and token."""

    __slots__ = ("id", "port", "row", "token")

    def __init__(self, envelope: Envelope, port: Port) -> None:
        self.id = envelope.id or b"null"
        self.port = port
        self.row = row_of(envelope.method)
        params = open_object(envelope.members["params"]) if "params" in envelope.members else None
        meta = open_object(params["_meta"]) if params is not None and "_meta" in params else None
        token = meta.get(PROGRESS_KEY) if meta is not None else None
        self.token = bytes(token) if token is not None else None


class Replay:
    """Answers the requests of fronts; see `types.Relay`."""

    def __init__(self, recording: Recording, bounds: Limits) -> None:
        self.limits = bounds
        self.tasks = Tasks()
        self._recording = recording
        self._live: dict[int | None, _Live] = {}
        self._questions: Correlator[asyncio.Future[None]] = Correlator()

    def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[Any, Any, None]:
        return self.answer(request.envelope, Era.MODERN, port, port)

    def express(self, request: ModernRequest, port: Port, headers: Mapping[str, str]) -> Callable[[], None] | None:
        """Everything goes the long way."""
        return None

    def is_named(self, via: str) -> bool:
        """It sends nothing."""
        return False

    def can_express(self) -> bool:
        return False

    async def notify(self, envelope: Envelope, version: str) -> None:
        """What was said after a notification went to no call, so in this era to nobody."""

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        cue = self._recording.take(envelope, Era.LEGACY)
        if cue is None:
            raise Fault(self._recording.explain(envelope, Era.LEGACY))
        answers = [(at, retold(said)) for at, said in enumerate(cue.said)]
        found = [(at, each) for at, each in answers if each.kind is Kind.ANSWER]
        if not found:
            raise Fault("The recording ends before the answer to initialize.")
        at, answer = found[0]
        if "error" in answer.members:
            raise _fault_of(answer)
        result = open_object(answer.members["result"]) or {}
        session = ReplaySession(self, strays, string(result.get("protocolVersion")) or ASSUMED)
        session.early = [said for place, said in enumerate(cue.said) if place != at]
        return session, one_line(edits.with_id(answer, envelope.id or b"null"))

    async def end_session(self, session: Session) -> None:
        await session.close()

    async def close(self) -> None:
        """End what is still going on."""
        await self.tasks.close()

    def find(self, envelope: Envelope) -> Cue | None:
        """What was said to a legacy client's notification."""
        return self._recording.take(envelope, Era.LEGACY)

    def answered(self, envelope: Envelope) -> None:
        """A client answered a question."""
        waiting = self._questions.take(envelope.key)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def answer(self, envelope: Envelope, era: Era, port: Port, strays: Port) -> None:
        """Answer one request as it was answered then."""
        cue = self._recording.take(envelope, era)
        live = _Live(envelope, port)
        if cue is None:
            if envelope.method == "ping":
                port.answer(result_message(live.id, {}), 200)
                return
            code = INVALID_PARAMS if self._recording.has(era, envelope.method) else METHOD_NOT_FOUND
            why = self._recording.explain(envelope, era)
            port.answer(error_message(live.id, code, why), _STATUS.get(code, 200) if era is Era.MODERN else 200)
            return
        self._live[cue.call] = live
        try:
            is_answered = await self._say(cue.said, live, strays, cue.call)
            if not is_answered:
                await self._end(live)
        finally:
            if self._live.get(cue.call) is live:
                del self._live[cue.call]

    async def say_early(self, said: list[Said], strays: Port) -> None:
        """What was said outside any call."""
        await self._say(said, None, strays, None)

    async def _say(self, lines: list[Said], own: _Live | None, strays: Port, call: int | None) -> bool:
        """Say it again; whether the own call was answered by it."""
        is_answered = False
        for said in lines:
            await asyncio.sleep(min(said.pause, REPLAY_PAUSE))
            envelope = retold(said)
            is_own = own is not None and said.call == call
            live = own if is_own else self._live.get(said.call) if said.call is not None else None
            port = live.port if live is not None else strays
            if said.call is not None and live is None:
                continue
            if envelope.kind is Kind.ANSWER and live is not None:
                self._finish(envelope, live, said.status)
                is_answered = is_answered or is_own
            elif envelope.kind is Kind.REQUEST:
                await self._ask(envelope, port, is_awaited=is_own)
            elif _readdress(envelope, live):
                port.notify(one_line(close_object(envelope.members)))
        if own is not None and not is_answered:
            await own.port.drain()
        return is_answered

    def _finish(self, envelope: Envelope, live: _Live, status: int) -> None:
        if live.row.is_endless:
            edits.set_subscription(envelope, live.id)
        live.port.answer(one_line(edits.with_id(envelope, live.id)), status)

    async def _ask(self, envelope: Envelope, port: Port, *, is_awaited: bool) -> None:
        """A question under an id of its own; one in a call is waited for."""
        id = self._questions.mint()
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._questions.expect(id, answered)
        port.notify(one_line(edits.with_id(envelope, b"%d" % id)))
        if is_awaited:
            try:
                async with asyncio.timeout(self.limits.answer_wait):
                    await answered
            except TimeoutError:
                self._questions.forget(id)

    async def _end(self, live: _Live) -> None:
        """The recording has no answer: the client cancelled it then, or listened to the end."""
        if live.row.is_endless:
            await asyncio.sleep(LISTEN)
            live.port.answer(closing_message(live.id), 200)
            return
        await asyncio.sleep(self.limits.call)
        why = "The recording ends before the answer to this request."
        live.port.answer(error_message(live.id, INVALID_REQUEST, why), 200)


class ReplaySession:
    """A legacy client's session; see `types.Session`."""

    heard_since = inf

    def __init__(self, replay: Replay, strays: Port, version: str) -> None:
        self.version = version
        self.early: list[Said] = []
        self._replay = replay
        self._strays = strays
        self._calls: dict[int | str | None, tuple[asyncio.Task[None], Port]] = {}

    async def request(self, envelope: Envelope, port: Port) -> None:
        key = envelope.key
        if key in self._calls:
            refuse_twice(envelope.id, port)
            return
        work = self._replay.tasks.start(self._replay.answer(envelope, Era.LEGACY, port, self._strays))
        self._calls[key] = (work, port)
        work.add_done_callback(lambda _: self._calls.pop(key, None))
        await asyncio.wait([work])

    async def notify(self, envelope: Envelope) -> None:
        if envelope.method == CANCELLED:
            raw = edits.param(envelope, "requestId")
            work, port = self._calls.get(identify(raw) if raw is not None else None, (None, None))
            if work is not None and port is not None:
                port.abandon()
                work.cancel()
            return
        early, self.early = self.early, []
        cue = self._replay.find(envelope)
        said = early + (cue.said if cue is not None else [])
        if said:
            self._replay.tasks.start(self._replay.say_early(said, self._strays))

    async def answer(self, envelope: Envelope) -> None:
        self._replay.answered(envelope)

    async def close(self) -> None:
        for work, _ in list(self._calls.values()):
            work.cancel()


def _readdress(envelope: Envelope, live: _Live | None) -> bool:
    """Make a notification one of the call of now; whether it is still worth sending."""
    if envelope.method == CANCELLED:
        return False  # of a question then, whose id is not that of the question now
    if live is None:
        return True
    if envelope.method == PROGRESS:
        if live.token is None:
            return False
        edits.set_param(envelope, PROGRESS_KEY, live.token)
    elif live.row.is_endless:
        edits.set_subscription(envelope, live.id)
    return True


def _fault_of(answer: Envelope) -> Fault:
    error = open_object(answer.members["error"]) or {}
    code = identify(error["code"]) if "code" in error else None
    why = string(error.get("message")) or "The server refused initialize."
    return Fault(why, code=code if isinstance(code, int) else -32603)
