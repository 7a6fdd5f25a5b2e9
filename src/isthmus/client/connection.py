"""A client that is connected: a relay of its own, and before it, in memory, the SDK's client.

The relay crosses the eras, so the SDK's client may speak either. Left to choose, it speaks that of the servers:
a call to a server of an older revision is then no more than that.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from isthmus.client.handlers import Handlers
from isthmus.engine.back import own_meta
from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.engine.tasks import Tasks
from isthmus.errors import Fault
from isthmus.limits import CLIENT_CALL, CLIENT_CALL_MOST, CLIENT_OPEN, PROBE, Limits
from isthmus.many.plan import Plan
from isthmus.protocol.judge import make_modern
from isthmus.run import open_memory
from isthmus.transports.target import Target
from isthmus.wire.codec import encode, open_object
from isthmus.wire.envelope import error_message

if TYPE_CHECKING:
    import mcp
    from mcp.types import Implementation, InitializeResult

    from isthmus.client.listening import Heard
    from isthmus.engine.inner import Inner
    from isthmus.transports.memory import Inbox

Mode = Literal["auto", "legacy", "modern"]
_CANCELLED: Final = 0
"""The code with which servers of SDK 1 answer requests that were cancelled."""
_LIMITS: Final = Limits(call=CLIENT_CALL, call_most=CLIENT_CALL_MOST, warm=0)
_SETTINGS: Final = Settings(isolation="shared", keeps_identity=True, limits=_LIMITS)
"""One session for all who use a client: itself, and proxies that it was given to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a client connects: the era, the handlers, who it says it is, and its times in seconds, None for none."""

    mode: Mode = "auto"
    handlers: Handlers = field(default_factory=Handlers)
    info: "Implementation | None" = None
    timeout: float | None = None
    init_timeout: float | None = None


class Connection:
    """What a connected client has.

    Args:
        relay: what it speaks to.
    """

    def __init__(self, relay: "Inner") -> None:
        self.sdk: mcp.Client
        self._inbox: Inbox
        self.relay = relay
        self.tasks = Tasks()
        self.level: Any = None
        """The level that log messages are wanted from, where each request has to say so."""
        self.watching: dict[str, asyncio.Task[None]] = {}
        """What is subscribed to by a stream of its own, by URI."""
        self.listeners: set[Heard] = set()
        """Who reads an older session's notifications as events."""
        self.output_schemas: dict[str, Any] = {}
        self.is_closing = False

    async def open(self, streams: Any, mode: str, how: How) -> None:
        """Connect the SDK's client to the relay.

        Raises:
            MCPError: the relay refused.
        """
        import mcp

        from isthmus.client.listening import watch_lists

        self._inbox = streams[0]
        callbacks = how.handlers.callbacks()
        callbacks["message_handler"] = self._tee(callbacks.get("message_handler"))
        self.sdk = mcp.Client(
            nullcontext(streams),
            mode=mode,
            read_timeout_seconds=how.timeout,
            client_info=how.info,
            cache=None,
            **callbacks,
        )
        await self.sdk.__aenter__()
        if self.is_modern and how.handlers.log is not None:
            self.level = "debug"
        if self.is_modern and how.handlers.message is not None:
            watch_lists(self)

    async def close(self) -> None:
        """End what belongs to the connection, and the SDK's client; by the task that opened it."""
        self.is_closing = True
        for each in self.listeners:
            each.end()
        await self.tasks.close()
        await self.sdk.__aexit__(None, None, None)

    def end_request(self, id: str | int) -> None:
        """Answer a request that was cancelled: the server owes it no answer any more, and somebody waits for one."""
        self._inbox.put(error_message(encode(id), _CANCELLED, "The request was cancelled."))

    def _tee(self, handler: "Callable[[Any], Awaitable[None]] | None") -> "Callable[[Any], Awaitable[None]]":
        async def hear(message: Any) -> None:
            if not isinstance(message, Exception):
                for each in self.listeners:
                    each.hear(message)
            if handler is not None:
                await handler(message)

        return hear

    @property
    def is_modern(self) -> bool:
        """Whether the client speaks 2026-07-28."""
        return self.sdk.session.discover_result is not None

    def initialize_result(self) -> "InitializeResult":
        """What the server said of itself; of a modern one, in the form of the older revisions."""
        from mcp.types import Implementation, InitializeResult

        session = self.sdk.session
        if session.initialize_result is not None:
            return session.initialize_result
        return InitializeResult(
            protocol_version=self.sdk.protocol_version,
            capabilities=self.sdk.server_capabilities,
            server_info=self.sdk.server_info or Implementation(name="", version=""),
            instructions=self.sdk.instructions,
        )


@asynccontextmanager
async def connect(source: Any, how: How) -> AsyncIterator[Connection]:
    """Connect to a server, or to many, until the context is left.

    Args:
        source: a `Target`, a `Plan`, or a server of ours.
        how: the era, the handlers and the rest.

    Raises:
        RuntimeError: there is no connection to be had; the sentence says why.
    """
    from mcp.shared.exceptions import MCPError

    async with _relay(source) as (relay, streams):
        try:
            async with asyncio.timeout(how.init_timeout or CLIENT_OPEN):
                mode = await _mode(relay, how.mode, is_own=_is_own(source))
                connection = Connection(relay)
                await connection.open(streams, mode, how)
        except TimeoutError:
            raise RuntimeError("The client could not connect: the server did not answer in time.") from None
        except (Fault, MCPError, ExceptionGroup) as error:
            raise RuntimeError(f"The client could not connect: {_cause(error)}") from error
        try:
            if how.mode == "modern" and not connection.is_modern:
                raise RuntimeError("The client could not connect: the server speaks no modern revision.")
            yield connection
        finally:
            await connection.close()


def _cause(error: Exception) -> Exception:
    """The first error of a group of the SDK's tasks."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _relay(source: Any) -> "AbstractAsyncContextManager[tuple[Inner, Any]]":
    """The relay before a source, and the streams that reach it."""
    if _is_own(source):
        return open_memory(source._source(), source._how())
    return open_memory(as_shared(source), _SETTINGS)


def _is_own(source: Any) -> bool:
    """Whether it is a server object of this library, which says itself how it is served."""
    return not isinstance(source, Target | Plan)


def as_shared(source: Target | Plan) -> Target | Plan:
    """The same servers, each with one session for all."""
    if not isinstance(source, Plan):
        return source
    specs = [
        replace(spec, settings=replace(spec.settings, isolation="shared", limits=replace(spec.settings.limits, warm=0)))
        for spec in source.specs
    ]
    return replace(source, specs=tuple(specs))


async def _mode(relay: "Inner", mode: Mode, *, is_own: bool) -> str:
    """What the SDK's client is told: `legacy`, or `auto`, which before a relay is modern."""
    if mode == "legacy":
        return "legacy"
    if mode == "modern" or is_own:
        return "auto"
    spoken = await asyncio.gather(*map(_speaks_modern, _gateways(relay)), return_exceptions=True)
    return "legacy" if False in spoken and True not in spoken else "auto"


def _gateways(relay: "Inner") -> list[Gateway]:
    """Those of single servers, however deep; what is none of ours is left out."""
    if isinstance(relay, Gateway):
        return [relay]
    inner: list[Any] = [member.gateway for member in getattr(relay, "members", ())]
    return [gateway for each in inner for gateway in _gateways(each)]


async def _speaks_modern(gateway: Gateway) -> bool:
    """Whether a server is modern.

    Raises:
        Fault, TimeoutError: it can't be asked.
    """
    if gateway.back.speaks_modern is not None:
        return gateway.back.speaks_modern
    meta = open_object(encode(own_meta("isthmus"))) or {}
    async with asyncio.timeout(PROBE + PROBE):
        return await gateway.back.is_spoken(make_modern("server/discover", meta))
