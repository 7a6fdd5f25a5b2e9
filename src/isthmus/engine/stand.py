"""What is done in a client's stead, and the functions that do it.

A `Stand` says for each thing that a server wants of a client whether it goes on to the client, is switched off, or is
done by a function. What is switched off the server is not told of; what a function does it is told that the client
can, whatever the client said. `engine/standin` and `engine/standing` carry it out, an era a file.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final

from msgspec import Raw

from isthmus import limits
from isthmus.engine.tasks import Tasks
from isthmus.errors import Fault
from isthmus.protocol.crossings import legacy_front
from isthmus.protocol.crossings.modern_front import QUESTIONS, why_not_asked
from isthmus.protocol.names import MESSAGE, PROGRESS, PROGRESS_KEY
from isthmus.wire.codec import close_object, decode, encode, open_object
from isthmus.wire.envelope import INTERNAL_ERROR, Envelope, Members, notification_message

_log: Final = logging.getLogger("isthmus.engine")


class Choice(Enum):
    """What a stand does where no function does it."""

    FORWARD = "forward"
    OFF = "off"


FORWARD: Final = Choice.FORWARD
"""The client does it, if it can."""
OFF: Final = Choice.OFF
"""Nobody does it, and the server is not told that anybody could."""


class FrontClient(ABC):
    """The client in front, for a function that stands in for it.

    Args:
        capabilities: what the client said that it can, as it said it.
        level: of the log messages that it wants; None if it wants none.
        token: under which it wants progress; None if it wants none.
    """

    def __init__(self, capabilities: dict[str, Any], level: str | None, token: Raw | None) -> None:
        self.capabilities = capabilities
        self._level = level
        self._token = token

    async def forward(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask the client, as if nobody stood in for it.

        A legacy client is asked while the function waits. A modern client is answered `input_required`, and the
        function is cancelled where it waits; when the client comes back, the function is **called again from its
        start**, and this returns at once what the client answered. So whatever the function does before it asks may be
        done several times, and must lead to the same questions in the same order.

        Args:
            method: `roots/list`, `sampling/createMessage` or `elicitation/create`.
            params: of the question.

        Raises:
            Fault: the client did not say that it can, or answered with an error.
        """
        refused = why_not_asked(method, open_object(encode(params)) or {}, self.capabilities)
        if refused is not None:
            raise Fault(refused[1], code=refused[0])
        return await self._ask(method, params)

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Tell the client: log messages as far as it wants them, progress under its own token, if it wants any."""
        if method == MESSAGE and not self._is_wanted(params.get("level")):
            return
        if method == PROGRESS:
            if self._token is None:
                return
            params = params | {PROGRESS_KEY: self._token}
        self._tell(notification_message(method, params))

    def _is_wanted(self, level: object) -> bool:
        levels = legacy_front.LEVELS
        if self._level not in levels:
            return False
        return level not in levels or levels.index(level) >= levels.index(self._level)

    @abstractmethod
    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask it what it can be asked."""

    @abstractmethod
    def _tell(self, message: bytes) -> None:
        """Send it a notification."""


Ask = Callable[[dict[str, Any], FrontClient], Awaitable[dict[str, Any]]]
"""Answers a question: from its `params` to its result. A `Fault` is the JSON-RPC error that the server gets; any other
exception is an internal error with its text."""
Hear = Callable[[dict[str, Any], FrontClient], Awaitable[None] | None]
"""Hears a notification, given its `params`. Those of one request are heard one after another, before its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Who does what a server wants of a client.

    A function for a question declares the bare capability (`{}`): forms without URLs, sampling without tools. One for
    log messages has the server asked for all of them (`debug`). One for progress has the server asked for it in every
    request in which it may ask questions, too.
    """

    roots: Choice | Ask = FORWARD
    sampling: Choice | Ask = FORWARD
    elicitation: Choice | Ask = FORWARD
    log: Choice | Hear = FORWARD
    progress: Choice | Hear = FORWARD

    @property
    def is_idle(self) -> bool:
        """Whether all of it is the client's own affair."""
        return all(getattr(self, each.name) is FORWARD for each in fields(self))

    @property
    def is_negative(self) -> bool:
        """Whether it has no functions."""
        return all(isinstance(getattr(self, each.name), Choice) for each in fields(self))

    def of(self, method: str) -> Choice | Ask:
        """Who answers a question."""
        stand: Choice | Ask = getattr(self, QUESTIONS[method]) if method in QUESTIONS else FORWARD
        return stand

    def changes(self, capabilities: dict[str, Any]) -> bool:
        """Whether the back is told of other capabilities than a client's own."""
        stands = {name: getattr(self, name) for name in QUESTIONS.values()}
        return any(not isinstance(each, Choice) or (each is OFF and n in capabilities) for n, each in stands.items())

    def declared(self, raw: Raw | None) -> Raw:
        """A client's capabilities, as JSON, as the back is told of them."""
        members = (open_object(raw) if raw is not None else None) or {}
        for name in QUESTIONS.values():
            stand = getattr(self, name)
            if stand is OFF:
                members.pop(name, None)
            elif stand is not FORWARD:
                members[name] = Raw(b"{}")
        return Raw(close_object(members))


def params_of(envelope: Envelope) -> dict[str, Any]:
    """The parameters of a message, decoded; what nests too deeply for that is as good as nothing."""
    try:
        params = decode(envelope.members["params"]) if "params" in envelope.members else {}
    except RecursionError:
        params = {}
    return params if isinstance(params, dict) else {}


def capabilities_in(raw: Raw | None) -> dict[str, Any]:
    """A client's capabilities, decoded.

    Raises:
        RecursionError: they nest too deeply.
    """
    said = decode(raw) if raw is not None else {}
    return said if isinstance(said, dict) else {}


def without_logging(result: Members) -> None:
    """Take `logging` out of the capabilities in an opened result, in place: nobody would hear it."""
    capabilities = open_object(result["capabilities"]) if "capabilities" in result else None
    if capabilities is not None and capabilities.pop("logging", None) is not None:
        result["capabilities"] = Raw(close_object(capabilities))


async def outcome_of(ask: Ask, method: str, params: dict[str, Any], front: FrontClient, wait: float) -> Members:
    """What a function answers: one member, `result` or `error`, as the answer to the question has it.

    Args:
        ask: the function.
        method: of the question.
        params: of the question.
        front: the client.
        wait: how long the function may take, in seconds.
    """
    timeout = asyncio.timeout(wait)
    try:
        async with timeout:
            result: object = await ask(params, front)
        if isinstance(result, dict):
            return {"result": Raw(encode(result))}
        error: dict[str, Any] = {"message": f"The function for {method} returned no dict, but {type(result).__name__}."}
    except Fault as fault:
        error = {"code": fault.code, "message": fault.why} | ({"data": fault.data} if fault.data is not None else {})
    except Exception as failed:
        error = {"message": str(failed) or type(failed).__name__}
        if timeout.expired():
            return too_late(method, wait)
    return {"error": Raw(encode({"code": INTERNAL_ERROR} | error))}


def too_late(method: str, wait: float) -> Members:
    """The outcome of a function that has not answered."""
    why = f"The function for {method} did not answer within {wait:g} s."
    return {"error": Raw(encode({"code": INTERNAL_ERROR, "message": why}))}


class Hearing:
    """The log messages and the progress of one request, or of what belongs to none.

    Args:
        stand: who hears them.
        front: the client.
        tasks: who owns what runs.
        wait: how long the answer may wait for what is still to be heard, in seconds.
    """

    __slots__ = ("_front", "_running", "_stands", "_tasks", "_wait", "_waiting")

    def __init__(self, stand: Stand, front: FrontClient, tasks: Tasks, wait: float) -> None:
        self._stands: dict[str, Choice | Hear] = {MESSAGE: stand.log, PROGRESS: stand.progress}
        self._front = front
        self._tasks = tasks
        self._wait = wait
        self._waiting: deque[Awaitable[None]] = deque()
        self._running: asyncio.Task[None] | None = None

    def take(self, envelope: Envelope) -> bool:
        """Hear a notification, unless it is to be forwarded; whether it was taken."""
        hear = self._stands.get(envelope.method, FORWARD)
        if isinstance(hear, Choice):
            return hear is OFF
        if len(self._waiting) >= limits.UNHEARD:
            _log.warning("%s was dropped: %d wait for the function that hears them.", envelope.method, limits.UNHEARD)
            return True
        try:
            waiting = hear(params_of(envelope), self._front)
        except Exception:
            _log.exception("The function that hears %s failed.", envelope.method)
            return True
        if waiting is not None:
            self._waiting.append(waiting)
            if self._running is None:
                self._running = self._tasks.start(self._run())
        return True

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be heard."""
        return self._running is not None

    async def settle(self) -> None:
        """Wait until all that has been said is heard, or the time for it is over."""
        if self._running is not None:
            heard = asyncio.Event()
            self._waiting.append(_tell(heard))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    await heard.wait()

    def stop(self) -> None:
        """Hear no more."""
        if self._running is not None:
            self._running.cancel()
            self._running = None
        for each in self._waiting:
            if asyncio.iscoroutine(each):
                each.close()
        self._waiting.clear()

    async def _run(self) -> None:
        while self._waiting:
            try:
                async with asyncio.timeout(self._wait):
                    await self._waiting.popleft()
            except Exception:
                _log.exception("A function that hears log messages or progress failed.")
        self._running = None


async def _tell(heard: asyncio.Event) -> None:
    heard.set()
