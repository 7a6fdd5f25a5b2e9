"""`Client`: a client of any MCP server, for programs. It speaks to the relay, in memory, as the SDK's client."""

import asyncio
import copy
import logging
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, overload

from isthmus.client.connection import Connection, How, Mode, connect
from isthmus.client.handlers import Handlers
from isthmus.client.requests import Requests, Seconds, seconds
from isthmus.client.transports import ClientTransport, infer_transport
from isthmus.engine.tasks import Tasks
from isthmus.limits import CLIENT_CALL

if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp.types import Implementation, InitializeResult

    from isthmus.client.elicitation import ElicitationHandler as ElicitationHandler
    from isthmus.client.logging import LogHandler as LogHandler
    from isthmus.client.messages import MessageHandler as MessageHandler
    from isthmus.client.messages import MessageHandlerT
    from isthmus.client.progress import ProgressHandler as ProgressHandler
    from isthmus.client.results import CallToolResult as CallToolResult
    from isthmus.client.roots import RootsHandler as RootsHandler
    from isthmus.client.roots import RootsList as RootsList
    from isthmus.client.sampling import SamplingHandler as SamplingHandler
    from isthmus.run import Served

_log: Final = logging.getLogger("isthmus.client")
_NOT_CONNECTED: Final = "The client is not connected. Use it inside 'async with client:'."

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    TransportT = TypeVar("TransportT", bound=ClientTransport, covariant=True, default=ClientTransport)
else:
    from typing import TypeVar

    TransportT = TypeVar("TransportT", bound=ClientTransport, covariant=True)


@dataclass(slots=True)
class _Life:
    """What is a client's own while it lives; `new` makes another."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    tasks: Tasks = field(default_factory=Tasks)
    users: int = 0
    connection: Connection | None = None
    running: "asyncio.Task[None] | None" = None
    ending: asyncio.Event = field(default_factory=asyncio.Event)


class Client(Requests, Generic[TransportT]):
    """A client of one server, or of many behind one face.

    It is connected inside `async with client:`; that may be nested, and entered again after it was left.

    Args:
        transport: a URL; the path of a `.py` or `.js` file; a command with its arguments as a list; a server object of
            the SDK or a `FastMCP`; a dict or an `MCPConfig` of servers; or a transport object.
        roots: folders the server may know of: URIs, or a function that gives them.
        sampling_handler: answers the server's questions to a model; see `isthmus.client.sampling`.
        elicitation_handler: answers its questions to the user; see `isthmus.client.elicitation`.
        log_handler: hears its log messages; without one they go to Python's logging.
        message_handler: hears everything beside answers.
        progress_handler: hears how far calls are, unless a call has its own.
        timeout: seconds without any word about a request before it fails.
        init_timeout: seconds for connecting; 0 for an hour.
        client_info: who the client says it is.
        auth: for a URL: a token, `"oauth"`, or an auth object of httpx2.
        mode: the revisions it speaks: `legacy` up to 2025-11-25, `modern` from 2026-07-28 on, or `auto`, as the server
            does. All work with every server; what differs is how things are said.

    Raises:
        ConfigError, ValueError: the transport is none of these, or `mode` is not.
    """

    @overload
    def __init__(
        self: "Client[TransportT]",
        transport: TransportT,
        roots: "RootsList | RootsHandler | None" = None,
        sampling_handler: "SamplingHandler | None" = None,
        elicitation_handler: "ElicitationHandler[Any] | None" = None,
        log_handler: "LogHandler | None" = None,
        message_handler: "MessageHandlerT | None" = None,
        progress_handler: "ProgressHandler | None" = None,
        timeout: Seconds | None = None,
        init_timeout: Seconds | None = None,
        client_info: "Implementation | None" = None,
        auth: "Literal['oauth'] | str | Any | None" = None,
        *,
        mode: Mode = "auto",
    ) -> None: ...

    @overload
    def __init__(
        self: "Client[ClientTransport]",
        transport: object,
        roots: "RootsList | RootsHandler | None" = None,
        sampling_handler: "SamplingHandler | None" = None,
        elicitation_handler: "ElicitationHandler[Any] | None" = None,
        log_handler: "LogHandler | None" = None,
        message_handler: "MessageHandlerT | None" = None,
        progress_handler: "ProgressHandler | None" = None,
        timeout: Seconds | None = None,
        init_timeout: Seconds | None = None,
        client_info: "Implementation | None" = None,
        auth: "Literal['oauth'] | str | Any | None" = None,
        *,
        mode: Mode = "auto",
    ) -> None: ...

    def __init__(  # noqa: PLR0913
        self,
        transport: Any,
        roots: "RootsList | RootsHandler | None" = None,
        sampling_handler: "SamplingHandler | None" = None,
        elicitation_handler: "ElicitationHandler[Any] | None" = None,
        log_handler: "LogHandler | None" = None,
        message_handler: "MessageHandlerT | None" = None,
        progress_handler: "ProgressHandler | None" = None,
        timeout: Seconds | None = None,
        init_timeout: Seconds | None = None,
        client_info: "Implementation | None" = None,
        auth: "Literal['oauth'] | str | Any | None" = None,
        *,
        mode: Mode = "auto",
    ) -> None:
        if mode not in ("auto", "legacy", "modern"):
            raise ValueError(f"There is no mode {mode!r}; there are 'auto', 'legacy' and 'modern'.")
        self.transport: TransportT = infer_transport(transport)
        if auth is not None:
            self.transport._set_auth(auth)
        self.handlers = Handlers(
            roots=roots,
            sampling=sampling_handler,
            elicitation=elicitation_handler,
            log=log_handler,
            message=message_handler,
            progress=progress_handler,
        )
        opening = seconds(init_timeout)
        self._how = How(
            mode=mode,
            info=client_info,
            timeout=seconds(timeout),
            init_timeout=CLIENT_CALL if opening == 0 else opening,
        )
        self._life = _Life()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.transport!r}{' connected' if self.is_connected() else ''}>"

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def source(self) -> Any:
        """What it connects to: a target or a plan of the engine, or a server object of this library."""
        return self.transport.source

    @property
    def relay(self) -> "Served | None":
        """What stands before the server while the client is connected, and what proxies may use; None otherwise."""
        return self._life.connection.relay if self._life.connection is not None else None

    @property
    def session(self) -> "ClientSession":
        """The SDK's session.

        Raises:
            RuntimeError: the client is not connected.
        """
        return self._connection.sdk.session

    @property
    def initialize_result(self) -> "InitializeResult":
        """What the server said of itself when it was connected to.

        Raises:
            RuntimeError: the client is not connected.
        """
        from isthmus.client.results import readable

        return readable(self._connection.initialize_result())

    def is_connected(self) -> bool:
        """Whether it is connected."""
        return self._life.connection is not None

    @property
    def _connection(self) -> Connection:
        if self._life.connection is None:
            raise RuntimeError(_NOT_CONNECTED)
        return self._life.connection

    @property
    def _progress_handler(self) -> "ProgressHandler | None":
        return self.handlers.progress

    # -- handlers ---------------------------------------------------------------------------------------------------

    def set_roots(self, roots: "RootsList | RootsHandler") -> None:
        """Give it other roots, from when it connects next."""
        self.handlers = replace(self.handlers, roots=roots)

    def set_sampling_callback(self, sampling_callback: "SamplingHandler") -> None:
        """Give it another sampling handler, from when it connects next."""
        self.handlers = replace(self.handlers, sampling=sampling_callback)

    def set_elicitation_callback(self, elicitation_callback: "ElicitationHandler[Any]") -> None:
        """Give it another elicitation handler, from when it connects next."""
        self.handlers = replace(self.handlers, elicitation=elicitation_callback)

    # -- life -------------------------------------------------------------------------------------------------------

    def new(self) -> "Client[TransportT]":
        """Another client of the same server, with the same handlers, not connected."""
        other = copy.copy(self)
        other._life = _Life()
        return other

    async def __aenter__(self) -> "Client[TransportT]":
        life = self._life
        async with life.lock:
            if life.connection is None:
                await self._open()
            life.users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        life = self._life
        async with life.lock:
            life.users = max(0, life.users - 1)
            if not life.users and not self.transport.keeps_open:
                await self._end()

    async def close(self) -> None:
        """End the connection, whoever is inside it, and what the transport keeps alive."""
        async with self._life.lock:
            self._life.users = 0
            await self._end()
        await self.transport.close()

    async def _open(self) -> None:
        """Connect, in a task of its own: what the SDK enters must be left in the same task.

        Raises:
            RuntimeError: there is no connection to be had.
        """
        life = self._life
        await self._end()
        life.ending = asyncio.Event()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        life.running = life.tasks.start(self._run(ready, life.ending))
        try:
            await ready
        except asyncio.CancelledError:
            life.running.cancel()
            raise

    async def _end(self) -> None:
        life = self._life
        running, life.running = life.running, None
        if running is not None and running.get_loop() is asyncio.get_running_loop():
            life.ending.set()
            await asyncio.wait([running])
        life.connection = None

    async def _run(self, ready: "asyncio.Future[None]", ending: asyncio.Event) -> None:
        """Hold the connection until it is to end."""
        life = self._life
        try:
            await self.transport.prepare()
            async with connect(self.source, replace(self._how, handlers=self.handlers)) as connection:
                life.connection = connection
                if not ready.done():
                    ready.set_result(None)
                await ending.wait()
        except Exception as error:
            if ready.done():
                _log.warning("The connection of %r failed: %s", self, error)
            else:
                ready.set_exception(error)
        finally:
            if life.ending is ending:
                life.connection = None
            ready.cancel()


_ELSEWHERE: Final = {
    "CallToolResult": "results",
    "ElicitationHandler": "elicitation",
    "LogHandler": "logging",
    "MessageHandler": "messages",
    "ProgressHandler": "progress",
    "RootsHandler": "roots",
    "RootsList": "roots",
    "SamplingHandler": "sampling",
}
"""Names that FastMCP has in this module too, by the module of ours that has them."""


def __getattr__(name: str) -> object:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(f"isthmus.client.{_ELSEWHERE[name]}"), name)
    raise AttributeError(f"module 'isthmus.client.client' has no attribute {name!r}")
