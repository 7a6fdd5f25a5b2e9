"""The relay around a relay that middleware makes: requests pass the functions of users on their way, and so do answers.

Only the request's parameters and the result are read, and only what a function changed is written anew. Messages in the
middle of a call, questions among them, pass as they are.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus.errors import Fault
from isthmus.server.middleware import Middleware, MiddlewareContext
from isthmus.server.shapes import Asked
from isthmus.types import Port, Session, Strays, Through, refuse_twice
from isthmus.wire.codec import close_object, decode, open_object, parse_own, string
from isthmus.wire.envelope import INTERNAL_ERROR, Envelope, Members, error_message, result_message

if TYPE_CHECKING:
    from isthmus.engine.inner import Inner
    from isthmus.protocol.judge import ModernRequest

_log: Final = logging.getLogger("isthmus.server")


class _Held(Through):
    """The way back of a request that middleware sees: the answer is kept, all before it passes (`types.Port`)."""

    def __init__(self, port: Port) -> None:
        super().__init__(port)
        self.message = b""
        self.status = 200
        self.is_abandoned = False

    def answer(self, message: bytes, status: int) -> None:
        self.message, self.status = message, status

    def abandon(self) -> None:
        self.is_abandoned = True


class Refused(Exception):
    """What a back answered with an error; middleware may catch it, or let it pass to the client as it came.

    `message` is the sentence, `code` the JSON-RPC code, `raw` the whole error as it came.
    """

    def __init__(self, raw: Raw) -> None:
        error = open_object(raw) or {}
        self.raw = raw
        self.code = decode(error.get("code", Raw(b"0")))
        self.message = decode(error.get("message", Raw(b'""')))
        super().__init__(str(self.message))


async def pass_through(
    functions: Sequence[Middleware], asked: Asked, port: Port, go: Callable[[Members, Port], Awaitable[None]]
) -> None:
    """Take one request through middleware to the back, and the answer back through it.

    Args:
        functions: the middleware, the first the outermost.
        asked: the request.
        port: the way back to the client.
        go: takes the request on, with the parameters given.
    """
    held = _Held(port)

    async def reach(context: MiddlewareContext[Any]) -> Any:
        held.message = b""
        await go(asked.params_of(context.message), held)
        if not held.message:
            raise Fault(f"Nobody answered {asked.method}. Try again.")
        members = parse_own(held.message).members
        if "error" in members:
            raise Refused(members["error"])
        return asked.read(members["result"])

    chain: Callable[[MiddlewareContext[Any]], Awaitable[Any]] = reach
    for each in reversed(functions):
        chain = _around(each, chain)
    id = asked.id
    try:
        result = await chain(MiddlewareContext(message=asked.message, method=asked.method))
        message = result_message(id, Raw(asked.write(result)))
    except Refused as refused:
        message = b'{"jsonrpc":"2.0","id":' + id + b',"error":' + bytes(refused.raw) + b"}"
    except Fault as fault:
        message = error_message(id, fault.code, fault.why, fault.data)
    except Exception as failed:
        _log.info("A middleware refused %s.", asked.method, exc_info=failed)
        message = asked.failure(failed) or error_message(id, INTERNAL_ERROR, str(failed) or type(failed).__name__)
    if held.is_abandoned:
        port.abandon()
    else:
        port.answer(message, held.status if held.message else 200)


def _around(each: Middleware, inner: Callable[[MiddlewareContext[Any]], Awaitable[Any]]) -> Any:
    async def call(context: MiddlewareContext[Any]) -> Any:
        return await each(context, inner)

    return call


class Between:
    """A relay with middleware before it (`engine.member.Inner`).

    Args:
        below: the relay.
        functions: the middleware; the list may grow.
    """

    def __init__(self, below: "Inner", functions: Sequence[Middleware]) -> None:
        self._below = below
        self._functions = functions
        self.limits = below.limits
        self.tasks = below.tasks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def relay(
        self,
        request: "ModernRequest",
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Take one modern request through the middleware; see `types.Relay`."""
        if not self._functions or request.row.is_endless:
            return self._below.relay(request, port, headers, task)

        async def go(params: Members, held: Port) -> None:
            request.params = params
            if request.row.routed is not None:
                request.name = string(params.get(request.row.routed))
            await self._below.relay(request, held, headers, task)

        asked = Asked(request.row.name, request.envelope.id, request.params, is_modern=True)
        return pass_through(self._functions, asked, port, go)

    def can_express(self) -> bool:
        """Middleware takes a task."""
        return not self._functions and self._below.can_express()

    def express(self, request: "ModernRequest", port: Port, headers: Mapping[str, str]) -> Callable[[], None] | None:
        """Take one modern request without a task, where there is no middleware."""
        return None if self._functions else self._below.express(request, port, headers)

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        """A session for a legacy client, whose requests go through the middleware."""
        session, answer = await self._below.open_session(envelope, strays, headers)
        return _BetweenSession(session, self._functions), answer

    async def end_session(self, session: Session) -> None:
        """A legacy client left."""
        await self._below.end_session(session.below if isinstance(session, _BetweenSession) else session)


class _BetweenSession:
    """A legacy client's session with middleware before it (`types.Session`)."""

    def __init__(self, below: Session, functions: Sequence[Middleware]) -> None:
        self.below = below
        self.version = below.version
        self._functions = functions
        self._running: set[int | str] = set()

    @property
    def heard_since(self) -> float:
        return self.below.heard_since

    async def request(self, envelope: Envelope, port: Port) -> None:
        """Take one request through the middleware."""
        if not self._functions:
            await self.below.request(envelope, port)
            return
        key = envelope.key if envelope.key is not None else 0
        if key in self._running:
            refuse_twice(envelope.id, port)
            return
        self._running.add(key)
        try:
            await pass_through(
                self._functions, _asked(envelope), port, lambda params, held: self._go(envelope, params, held)
            )
        finally:
            self._running.discard(key)

    async def _go(self, envelope: Envelope, params: Members, held: Port) -> None:
        members = dict(envelope.members)
        if params or "params" in members:
            members["params"] = Raw(close_object(params))
        again = Envelope(envelope.kind, members, envelope.method, envelope.id, envelope.key)
        await self.below.request(again, held)

    async def notify(self, envelope: Envelope) -> None:
        """Take a notification on."""
        await self.below.notify(envelope)

    async def answer(self, envelope: Envelope) -> None:
        """Take the answer to a question on."""
        await self.below.answer(envelope)

    async def close(self) -> None:
        """The client is gone."""
        await self.below.close()


def _asked(envelope: Envelope) -> Asked:
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    return Asked(envelope.method, envelope.id, params or {}, is_modern=False)
