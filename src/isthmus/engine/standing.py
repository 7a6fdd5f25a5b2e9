"""A legacy client's session in which somebody stands in for the client.

The back's questions are requests here, which a function may answer before the client hears of them. What the session
below is (straight, crossed, leased, of many backs) makes no difference: to it, this is the client.
"""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus.engine.asking import AskingSession
from isthmus.engine.sharing import Box
from isthmus.engine.stand import (
    FORWARD,
    OFF,
    Ask,
    Choice,
    FrontClient,
    Hearing,
    Stand,
    capabilities_in,
    outcome_of,
    params_of,
    without_logging,
)
from isthmus.errors import Fault
from isthmus.protocol import edits
from isthmus.protocol.crossings import legacy_front
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import CANCELLED, INITIALIZED, PROGRESS_KEY
from isthmus.types import Port, Session, Strays, Through
from isthmus.wire.codec import close_object, decode, encode, identify, one_line, open_object, parse, parse_own, string
from isthmus.wire.envelope import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Envelope,
    Kind,
    Members,
    error_message,
    notification_message,
    request_message,
    result_message,
)

if TYPE_CHECKING:
    from isthmus.engine.tasks import Tasks

_ROOTS_CHANGED: Final = "notifications/roots/list_changed"


class _Client(FrontClient):
    """The client, to be asked on one of its streams."""

    def __init__(self, owner: "StandSession", port: Port, token: Raw | None) -> None:
        super().__init__(owner.capabilities, owner.level, token)
        self._owner = owner
        self._port = port

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._owner.ask(method, params, self._port)

    def _tell(self, message: bytes) -> None:
        self._port.notify(message)


class _StandPort(Through):
    """The way back of one request, or of what belongs to none (`types.Port`)."""

    def __init__(self, owner: "StandSession", port: Port, token: Raw | None = None) -> None:
        super().__init__(port)
        self._owner = owner
        self._held: tuple[bytes, int] | None = None
        self.client = _Client(owner, port, token)
        self.hearing = Hearing(owner.stand, self.client, owner.tasks, owner.wait)
        self.answering: set[asyncio.Task[None]] = set()
        """The functions that answer what was asked here."""

    def notify(self, message: bytes) -> None:
        envelope = parse(message)
        if not isinstance(envelope, Envelope) or not self._owner.take(envelope, self):
            self._port.notify(message)

    def answer(self, message: bytes, status: int) -> None:
        if self.hearing.is_busy or self._owner.strays.hearing.is_busy:
            self._held = message, status
        else:
            self._port.answer(message, status)

    def abandon(self) -> None:
        self.stop()
        self._port.abandon()

    async def settle(self) -> None:
        """Give the answer that waits for what was said before it to be heard."""
        if self._held is not None:
            await self.hearing.settle()
            await self._owner.strays.hearing.settle()
            self._port.answer(*self._held)

    def stop(self) -> None:
        """The client left: nobody waits for what is done in its stead."""
        self.hearing.stop()
        for each in self.answering:
            each.cancel()


class _StandStrays(_StandPort):
    """The same for what belongs to no request (`types.Strays`)."""

    def __init__(self, owner: "StandSession", strays: Strays) -> None:
        super().__init__(owner, strays)
        self._strays = strays

    @property
    def is_open(self) -> bool:
        return self._strays.is_open

    @property
    def opened(self) -> Callable[[], object] | None:
        return self._strays.opened

    @opened.setter
    def opened(self, opened: Callable[[], object] | None) -> None:
        self._strays.opened = opened


class StandSession:
    """One legacy client for which somebody stands in (`types.Session`).

    Args:
        stand: who does what.
        initialize: what the client said first.
        strays: where messages go that belong to no request of it.
        tasks: who owns what runs.
        wait: how long a function may take, in seconds.
    """

    version = ""

    def __init__(self, stand: Stand, initialize: Envelope, strays: Strays, tasks: "Tasks", wait: float) -> None:
        self.stand = stand
        self.tasks = tasks
        self.wait = wait
        self.level: str | None = legacy_front.LEVEL_UNSAID
        params = (open_object(initialize.members["params"]) if "params" in initialize.members else None) or {}
        self.capabilities = capabilities_in(params.get("capabilities"))
        params["capabilities"] = stand.declared(params.get("capabilities"))
        initialize.members["params"] = Raw(close_object(params))
        self.initialize = initialize
        self.strays = _StandStrays(self, strays)
        self.session: Session | None = None
        self._answering: dict[int | str, asyncio.Task[None]] = {}
        self._asked: dict[int | str, asyncio.Future[Envelope]] = {}
        self._numbers = itertools.count(1)
        self._has_logs = False

    def begin(self, session: Session, answer: bytes) -> bytes:
        """The session below is open, with this answer to `initialize`; the answer for the client."""
        self.session = session
        self.version = session.version
        if isinstance(session, AskingSession) and self.stand.log is OFF:
            session.is_logging = False
        envelope = parse_own(answer)
        result = open_object(envelope.members["result"]) if "result" in envelope.members else None
        capabilities = open_object(result["capabilities"]) if result is not None and "capabilities" in result else None
        self._has_logs = capabilities is not None and "logging" in capabilities
        if result is None or not self._has_logs or self.stand.log is not OFF:
            return answer
        without_logging(result)
        envelope.members["result"] = Raw(close_object(result))
        return one_line(close_object(envelope.members))

    @property
    def _below(self) -> Session:
        if self.session is None:
            raise Fault("The session is not open yet.")
        return self.session

    @property
    def heard_since(self) -> float:
        return self._below.heard_since

    # -- the client's side ------------------------------------------------------------------------------------------

    async def request(self, envelope: Envelope, port: Port) -> None:
        """Take one request to the back and its answer to `port`."""
        if envelope.method == "logging/setLevel" and self.stand.log is not FORWARD:
            port.answer(self._set_level(envelope), 200)
            return
        standing = _StandPort(self, port, self._token(envelope))
        try:
            await self._below.request(envelope, standing)
            await standing.settle()
        except asyncio.CancelledError:
            standing.stop()
            raise

    async def notify(self, envelope: Envelope) -> None:
        """Take a notification of the client to where it belongs."""
        if envelope.method == _ROOTS_CHANGED and self.stand.roots is not FORWARD:
            return
        await self._below.notify(envelope)
        if envelope.method == INITIALIZED and self._has_logs and not isinstance(self.stand.log, Choice):
            id = encode(f"isthmus-{secrets.token_hex(8)}")
            await self._below.request(parse_own(request_message(id, "logging/setLevel", {"level": "debug"})), Box())

    async def answer(self, envelope: Envelope) -> None:
        """Take the client's answer to where the question came from: to the back, or to a function."""
        asked = self._asked.get(envelope.key) if envelope.key is not None else None
        if asked is None:
            await self._below.answer(envelope)
        elif not asked.done():
            asked.set_result(envelope)

    def stop(self) -> None:
        """The client is gone."""
        self.strays.stop()
        for each in self._answering.values():
            each.cancel()

    async def close(self) -> None:
        """The client is gone: so is the session below."""
        self.stop()
        await self._below.close()

    def _set_level(self, envelope: Envelope) -> bytes:
        """What a client that asks for log messages is told where they don't go to it of themselves."""
        id, level = envelope.id or b"null", string(edits.param(envelope, "level"))
        if self.stand.log is OFF or not self._has_logs:
            return error_message(id, METHOD_NOT_FOUND, "Method not found: there are no log messages here.")
        if level not in legacy_front.LEVELS:
            known = ", ".join(legacy_front.LEVELS)
            return error_message(id, INVALID_PARAMS, f"There is no log level {level!r}; there are {known}.")
        self.level = level
        return result_message(id, {})

    def _token(self, envelope: Envelope) -> Raw | None:
        """The client's own token for progress; in the request there is what the back is to have."""
        if self.stand.progress is FORWARD:
            return None
        params = (open_object(envelope.members["params"]) if "params" in envelope.members else None) or {}
        meta = (open_object(params["_meta"]) if "_meta" in params else None) or {}
        token = meta.get(PROGRESS_KEY)
        if self.stand.progress is OFF and token is not None:
            del meta[PROGRESS_KEY]
        elif self.stand.progress is not OFF and token is None and row_of(envelope.method).may_ask:
            meta[PROGRESS_KEY] = Raw(encode(f"isthmus-{next(self._numbers)}"))
        else:
            return token
        params["_meta"] = Raw(close_object(meta))
        envelope.members["params"] = Raw(close_object(params))
        return token

    # -- the back's side --------------------------------------------------------------------------------------------

    def take(self, envelope: Envelope, port: _StandPort) -> bool:
        """Take what the back says or asks, unless it is the client's; whether it was taken."""
        if envelope.kind is Kind.NOTIFICATION:
            if envelope.method == CANCELLED:
                return self._withdrawn(envelope)
            return port.hearing.take(envelope)
        if envelope.kind is not Kind.REQUEST:
            return False
        ask = self.stand.of(envelope.method)
        if ask is FORWARD:
            return False
        if isinstance(ask, Choice):
            why = f"Method not found: the client does not support {envelope.method}."
            self._reply(error_message(envelope.id, METHOD_NOT_FOUND, why))
            return True
        task = self.tasks.start(self._answer(envelope, ask, port.client))
        key = envelope.key if envelope.key is not None else 0
        self._answering[key] = task
        port.answering.add(task)
        task.add_done_callback(partial(self._answered, envelope, port))
        return True

    async def _answer(self, envelope: Envelope, ask: Ask, client: FrontClient) -> None:
        """Answer a question of the back's in the client's stead."""
        members: Members = {"jsonrpc": Raw(b'"2.0"'), "id": Raw(envelope.id or b"null")}
        members |= await outcome_of(ask, envelope.method, params_of(envelope), client, self.wait)
        await self._below.answer(parse_own(close_object(members)))

    def _answered(self, envelope: Envelope, port: _StandPort, task: "asyncio.Task[None]") -> None:
        """A function has ended; if it was cancelled, the back is told so, in case that it waits."""
        self._answering.pop(envelope.key if envelope.key is not None else 0, None)
        port.answering.discard(task)
        if task.cancelled():
            self._reply(error_message(envelope.id, INTERNAL_ERROR, "The client left before it answered."))

    def _reply(self, message: bytes) -> None:
        self.tasks.start(self._below.answer(parse_own(message)))

    def _withdrawn(self, envelope: Envelope) -> bool:
        """The back withdraws a question; whether it was one that a function answers."""
        raw = edits.param(envelope, "requestId")
        task = self._answering.get(asked_id) if raw is not None and (asked_id := identify(raw)) is not None else None
        if task is not None:
            task.cancel()
        return task is not None

    # -- functions that ask the client after all --------------------------------------------------------------------

    async def ask(self, method: str, params: dict[str, Any], port: Port) -> dict[str, Any]:
        """The client's answer to a function's question; the question is withdrawn if the function is cancelled.

        Raises:
            Fault: the client answered with an error, or not in time.
        """
        id = f"isthmus-{secrets.token_hex(8)}"
        asked = self._asked[id] = asyncio.get_running_loop().create_future()
        port.notify(one_line(request_message(encode(id), method, params)))
        try:
            async with asyncio.timeout(self.wait):
                answer = await asked
        except TimeoutError:
            raise Fault("The client did not answer in time.") from None
        finally:
            del self._asked[id]
            if not asked.done() or asked.cancelled():
                why = {"requestId": id, "reason": "Nobody waits for the answer any more."}
                port.notify(notification_message(CANCELLED, why))
        if "result" in answer.members:
            result = decode(answer.members["result"])
            return result if isinstance(result, dict) else {}
        error = decode(answer.members["error"])
        error = error if isinstance(error, dict) else {}
        code = error.get("code")
        code = code if isinstance(code, int) else INTERNAL_ERROR
        raise Fault(str(error.get("message")), code=code, data=error.get("data"))
