"""A modern client's call in which functions answer what the back asks for.

A call that ends with `input_required` is answered by functions as far as they are to, and sent again; the client sees
what is left, if anything. Nothing is kept for it meanwhile: what the functions answered goes to the client sealed in
the `requestState`, with the back's own, and comes back with the retry (2026-07-28 basic/patterns/mrtr).
"""

import asyncio
import copy
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from isthmus import limits
from isthmus.engine.parking import Refusing, owner_of
from isthmus.engine.stand import (
    FORWARD,
    OFF,
    Ask,
    Choice,
    FrontClient,
    Hearing,
    capabilities_in,
    outcome_of,
    too_late,
    without_logging,
)
from isthmus.errors import BackFault, Fault, FrontFault
from isthmus.protocol.crossings import legacy_front, modern_front
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CAPABILITIES_KEY, LOG_LEVEL_KEY, PROGRESS_KEY
from isthmus.protocol.parking import NONCE_BYTES, Seal, digest
from isthmus.types import Port, Through
from isthmus.wire.codec import close_object, decode, encode, one_line, open_object, parse, parse_own, string
from isthmus.wire.envelope import INVALID_PARAMS, Envelope, Members, result_message

if TYPE_CHECKING:
    from isthmus.engine.standin import StandIn

_INPUT_REQUIRED: Final = b"input_required"


class _Waiting(msgspec.Struct, array_like=True):
    """A question of the back's that a function has yet to answer, and what the client answered to the function."""

    method: str
    params: Raw
    heard: list[Raw]


class _Round(msgspec.Struct):
    """What came of an `input_required` so far: what is sealed into the `requestState` of a client.

    Attributes:
        principal: whose it is.
        digest: what its request asks for.
        expires: until when it may come back, on the loop's clock.
        state: the back's own `requestState`, if it gave one.
        answers: what goes to the back, by key.
        refusals: what goes to the back as errors, where it can take them.
        waiting: what a function has yet to answer.
        rest: of the back's result, what is neither a question nor its state.
    """

    principal: str
    digest: str
    expires: float
    state: str | None
    answers: dict[str, Raw]
    refusals: dict[str, Raw]
    waiting: dict[str, _Waiting]
    rest: dict[str, Raw]


def state_below(seal: Seal, state: str | None) -> str | None:
    """The back's own state, where it is sealed into one of ours; else the state itself."""
    said = seal.unlock(state) if state is not None else None
    return msgspec.json.decode(said, type=_Round).state if said is not None else state


class _Client(FrontClient):
    """The client, which can't be asked in the middle of a call: it has answered before, or is shown the question."""

    def __init__(self, call: "StoodCall", heard: list[Raw]) -> None:
        super().__init__(call.capabilities, call.level, call.token)
        self._port = call.port
        self._heard = iter(heard)
        self.asked: asyncio.Future[tuple[str, dict[str, Any]]] = asyncio.get_running_loop().create_future()

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = next(self._heard, None)
        if answer is not None:
            result: dict[str, Any] = decode(answer)
            return result
        if not self.asked.done():
            self.asked.set_result((method, params))
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # ends by cancellation

    def _tell(self, message: bytes) -> None:
        self._port.notify(message)


class _Run:
    """A function at work on a question."""

    def __init__(self, call: "StoodCall", waiting: _Waiting, ask: Ask) -> None:
        self.front = _Client(call, waiting.heard)
        self._ask = ask
        self._waiting = waiting
        self.wait = call.owner.limits.answer_wait
        self.outcome = too_late(waiting.method, self.wait)
        self.task = call.owner.tasks.start(self._work())

    async def _work(self) -> None:
        method = self._waiting.method
        try:
            params = decode(self._waiting.params)
        except RecursionError:
            params = {}
        self.outcome = await outcome_of(self._ask, method, params, self.front, self.wait)


class _Holding(Through):
    """The way back of one round (`types.Port`): its answer is kept, until it is known whether the client gets it."""

    def __init__(self, port: Port, hearing: Hearing) -> None:
        super().__init__(port)
        self._hearing = hearing
        self.answered: tuple[bytes, int] | None = None

    def notify(self, message: bytes) -> None:
        envelope = parse(message)
        if not isinstance(envelope, Envelope) or not self._hearing.take(envelope):
            self._port.notify(message)

    def answer(self, message: bytes, status: int) -> None:
        self.answered = message, status


class StoodCall:
    """A modern client's request, through the rounds that it does not see.

    Args:
        owner: who stands in.
        request: the client's request, which says from now on what the back is to be told of the client.
        port: the way back.
    """

    def __init__(self, owner: "StandIn", request: ModernRequest, port: Port) -> None:
        self.owner = owner
        self.port = port
        self.capabilities = capabilities_in(request.meta.get(CAPABILITIES_KEY))
        self.level = string(request.meta.get(LOG_LEVEL_KEY))
        self.token = request.meta.get(PROGRESS_KEY)
        self._request = request
        self._shown: Members = {}
        """What of a round is the client's to answer."""
        self._hearing = Hearing(owner.stand, _Client(self, []), owner.tasks, owner.limits.answer_wait)
        owner.edit(request)

    async def run(self, headers: Mapping[str, str] | None, task: asyncio.Task[None] | None) -> None:
        """Send the request, as often as functions answer what the back asks for, until there is an answer.

        Raises:
            Fault: what ends the call.
        """
        try:
            await self._run(headers, task)
        except Fault:
            await self._hearing.settle()
            raise
        finally:
            self._hearing.stop()

    async def _run(self, headers: Mapping[str, str] | None, task: asyncio.Task[None] | None) -> None:
        current = self._redeemed()
        for _ in range(limits.ROUNDS + 1):
            if current is not None and await self._answer(current):
                return
            holding = _Holding(self.port, self._hearing)
            await self.owner.below.relay(self._next(current), holding, headers, task)
            if holding.answered is None:
                return
            current = self._read(holding.answered[0])
            if current is None:
                await self._hearing.settle()
                self.port.answer(self._final(holding.answered[0]), holding.answered[1])
                return
        held = self.owner.below.parked(current.state) if current is not None else None
        if held is not None:
            held.drop()
        raise BackFault(f"The server asked in {limits.ROUNDS} rounds and would ask again. It may loop.")

    # -- rounds -----------------------------------------------------------------------------------------------------

    def _next(self, current: _Round | None) -> ModernRequest:
        """The request to send next; the client's own stays as it is, since what sends it may change it."""
        own = self._request
        request = copy.copy(own)
        if current is not None and current.refusals:
            request = Refusing.of(own, current.refusals)
        request.envelope = copy.copy(own.envelope)
        request.envelope.members = copy.copy(own.envelope.members)
        request.params, request.meta = copy.copy(own.params), copy.copy(own.meta)
        if current is not None:
            request.envelope.is_plain = False
            state = Raw(encode(current.state)) if current.state is not None else None
            legacy_front.retry(request, current.answers, state)
        return request

    def _read(self, message: bytes) -> _Round | None:
        """What an answer asks functions for; None if it is the client's.

        Raises:
            BackFault: it asks for what is switched off.
        """
        if not self._request.row.may_ask or (_INPUT_REQUIRED not in message and b"\\u" not in message):
            return None
        members = parse_own(message).members
        result = open_object(members["result"]) if "result" in members else None
        if result is None or legacy_front.result_kind(result) != "input_required":
            return None
        asked, waiting = result.pop("inputRequests", Raw(b"{}")), dict[str, _Waiting]()
        self._shown = open_object(asked) or {}
        for key, raw in list(self._shown.items()):
            question = open_object(raw) or {}
            method = string(question.get("method")) or ""
            stand = self.owner.stand.of(method)
            if stand is OFF:
                raise BackFault(f"The server asked for {method}, which it was not told that the client can.")
            if stand is not FORWARD:
                waiting[key] = _Waiting(method, question.get("params", Raw(b"{}")), [])
                del self._shown[key]
        if not waiting:
            return None
        state = string(result.pop("requestState", None))
        expires = asyncio.get_running_loop().time() + self.owner.limits.parked
        asks = digest(self._request.row.name, self._request.params)
        return _Round(owner_of(self._request), asks, expires, state, {}, {}, waiting, dict(result))

    def _redeemed(self) -> _Round | None:
        """What is sealed into the state that the client came back with; None where that is the back's own, or none.

        Raises:
            FrontFault: it can't be redeemed, with a sentence that says why.
        """
        request = self._request
        state = string(request.params.get("requestState"))
        said = self.owner.seal.unlock(state) if state is not None else None
        if said is None:
            return None
        current = msgspec.json.decode(said, type=_Round)
        answers = modern_front.read_answers(request)
        why = ""
        if answers is None:
            raise FrontFault('"inputResponses" must be an object of objects.', code=INVALID_PARAMS)
        if current.principal != owner_of(request):
            why = "it belongs to somebody else"
        elif current.digest != digest(request.row.name, request.params):
            why = "it belongs to a request with another method or other parameters"
        elif asyncio.get_running_loop().time() >= current.expires:
            why = "it has expired"
        if why:
            raise FrontFault(f"The requestState can't be redeemed: {why}. Make the call anew.", code=INVALID_PARAMS)
        for key, raw in answers.items():
            if key in current.waiting:
                current.waiting[key].heard.append(raw)
            else:
                current.answers.setdefault(key, raw)
        return current

    async def _answer(self, current: _Round) -> bool:
        """Have functions answer a round; whether the client has been answered, and nothing is to be sent.

        Raises:
            Fault: a function failed, and the back can't be told.
        """
        shown = self._shown | await self._work(current)
        if current.refusals and not self.owner.below.holds(current.state):
            error = decode(next(iter(current.refusals.values())))
            raise Fault(error["message"], code=error["code"], data=error.get("data"))
        if not shown:
            return False
        await self._hearing.settle()
        state = self.owner.seal.lock(msgspec.json.encode(current), secrets.token_bytes(NONCE_BYTES))
        result = current.rest | {"inputRequests": Raw(close_object(shown)), "requestState": Raw(encode(state))}
        self.port.answer(one_line(result_message(self._request.envelope.id or b"null", result)), 200)
        return True

    async def _work(self, current: _Round) -> Members:
        """Have all functions of a round work at once; what some of them ask the client, by key."""
        runs = {}
        asked: Members = {}
        held = self.owner.below.parked(current.state)
        if held is not None:
            held.attend()
        try:
            for key, waiting in current.waiting.items():
                ask = self.owner.stand.of(waiting.method)
                assert not isinstance(ask, Choice)
                runs[key] = _Run(self, waiting, ask)
            for key, run in runs.items():
                either: tuple[asyncio.Future[Any], ...] = run.task, run.front.asked
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=run.wait)
                if not run.task.done() and run.front.asked.done():
                    method, params = run.front.asked.result()
                    asked[key] = Raw(encode({"method": method, "params": params}))
                    continue
                del current.waiting[key]
                if "result" in run.outcome:
                    current.answers[key] = run.outcome["result"]
                else:
                    current.refusals[key] = run.outcome["error"]
        except asyncio.CancelledError:
            if held is not None:
                held.drop()
            raise
        finally:
            for run in runs.values():
                run.task.cancel()
        if held is not None and (asked or self._shown):
            held.leave()
        return asked

    def _final(self, message: bytes) -> bytes:
        """The final answer; what the back can is less where something is switched off."""
        if self._request.row.name != "server/discover" or self.owner.stand.log is not OFF:
            return message
        envelope = parse_own(message)
        result = open_object(envelope.members["result"]) if "result" in envelope.members else None
        if result is None:
            return message
        without_logging(result)
        envelope.members["result"] = Raw(close_object(result))
        return one_line(close_object(envelope.members))
