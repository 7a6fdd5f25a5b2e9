"""Memory, front and back: a client of the MCP SDK and a server object of it, in this process and on this loop.

Both are given a pair of streams, as the SDK's own transports make them. What the SDK reads is a queue that the proxy
fills without waiting; what it writes goes on at once, so there is no task between it and the proxy.

The SDK rebuilds messages, so here and nowhere else bytes are not kept: what it writes is spelled its own way, and what
pydantic can't read it refuses. This is the one transport that imports the SDK and anyio, and only inside functions:
who needs no memory does not pay for it.
"""

import asyncio
import contextvars
import importlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Final, NamedTuple

from isthmus.errors import BackUnavailable, ConfigError
from isthmus.limits import CHANNEL_UNREAD, MIB, STDERR_SAID, STDIN_QUEUE, STOP_EOF, STOP_TERM, WRITE_STALLED
from isthmus.transports.channel import Channel, Connect, Listener, hear
from isthmus.transports.channel_front import ChannelFront
from isthmus.transports.target import ChannelTarget
from isthmus.types import Relay
from isthmus.wire.codec import parse
from isthmus.wire.envelope import INTERNAL_ERROR, Envelope, Kind, error_message

_REFUSED: Final = (
    "The MCP SDK can't read this message: in memory there are no lone surrogates, no nesting beyond pydantic's, and no "
    "ids but integers and text. Use stdio or HTTP for it."
)


class _Sdk(NamedTuple):
    """What is needed of the SDK that is installed."""

    read: Callable[[bytes], Any]
    closed: type[Exception]
    broken: type[Exception]
    end: type[Exception]
    shield: Callable[[], AbstractContextManager[object]]


@cache
def _sdk() -> _Sdk:
    """The SDK of version 2, or of version 1, whose envelope is a class where the other has an adapter.

    Raises:
        ConfigError: there is none.
    """
    try:
        import anyio
        from mcp.shared.message import SessionMessage
    except ImportError as error:
        raise ConfigError(f"Memory needs the MCP SDK: pip install mcp. ({error})") from None
    message: Any = importlib.import_module("mcp.types").JSONRPCMessage
    validate: Callable[[bytes], Any]
    if hasattr(message, "model_validate_json"):
        validate = message.model_validate_json
    else:
        from mcp_types import jsonrpc_message_adapter

        validate = jsonrpc_message_adapter.validate_json
    return _Sdk(
        lambda text: SessionMessage(validate(text)),
        anyio.ClosedResourceError,
        anyio.BrokenResourceError,
        anyio.EndOfStream,
        lambda: anyio.CancelScope(shield=True),
    )


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end, though a cancel scope of anyio around it has been cancelled; `work` is bounded."""
    with _sdk().shield():
        await work


class _Stream:
    """What the SDK's streams have in common: they are closed by leaving a context."""

    async def aclose(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Inbox(_Stream):
    """What the SDK reads: messages in their order, then the end.

    Args:
        closed: called when the SDK has closed it and reads no more.
    """

    def __init__(self, closed: Callable[[], None]) -> None:
        self._sdk = _sdk()
        self._closed = closed
        self._queue: deque[tuple[Any, int]] = deque()
        self._news = asyncio.Event()
        self._read = asyncio.Event()
        self._is_ended = False
        self._is_closed = False
        self.waiting = 0
        """Bytes that were put and not yet read."""

    def put(self, text: bytes) -> None:
        """One message more, unless there are to be none.

        Raises:
            ValueError: the SDK can't read it.
        """
        if not self._is_ended and not self._is_closed:
            self._queue.append((self._sdk.read(text), len(text)))
            self.waiting += len(text)
            self._news.set()

    def end(self) -> None:
        """Nothing is put any more; idempotent."""
        self._is_ended = True
        self._news.set()

    async def wait_read(self) -> None:
        """Wait until something was read; the caller bounds that."""
        self._read.clear()
        await self._read.wait()

    async def receive(self) -> Any:
        """The next message."""
        while not self._queue:
            if self._is_closed:
                raise self._sdk.closed
            if self._is_ended:
                raise self._sdk.end
            self._news.clear()
            await self._news.wait()
        item, size = self._queue.popleft()
        self.waiting -= size
        self._read.set()
        return item

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._queue.clear()
            self.waiting = 0
            self._news.set()
            self._read.set()
            self._closed()

    def __aiter__(self) -> "Inbox":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except self._sdk.end:
            raise StopAsyncIteration from None


class Outbox(_Stream):
    """What the SDK writes.

    Args:
        hear: takes each message, as it is sent.
        closed: called when the SDK has closed it and writes no more.
    """

    def __init__(self, hear: Callable[[bytes], None], closed: Callable[[], None]) -> None:
        self._sdk = _sdk()
        self._hear = hear
        self._closed = closed
        self._is_closed = False
        self._is_broken = False

    def shut(self) -> None:
        """Nobody hears any more; idempotent."""
        self._is_broken = True

    async def send(self, item: Any) -> None:
        """One message. Others get their turn after each, so that a peer that never stops talking holds nobody up."""
        if self._is_closed:
            raise self._sdk.closed
        if self._is_broken:
            raise self._sdk.broken
        self._hear(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode())
        await asyncio.sleep(0)

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._closed()


_Run = Callable[[Inbox, Outbox], Awaitable[None]]


# -- the back ---------------------------------------------------------------------------------------------------------


def target_of(server: Any) -> ChannelTarget:
    """What a server object means as a target, by its own name; see `connect_to`."""
    return ChannelTarget(_name_of(server), connect_to(server))


def connect_to(server: Any) -> Connect:
    """Opens channels to a server object: each is a session that the server runs in a task of its own.

    The server runs in the context of this call, not of the client whose request opens the channel: what the context
    variables of one client's request say must not reach the calls of the next.

    Args:
        server: an `MCPServer` or a lowlevel `Server` of `mcp`, or a `FastMCP` of fastmcp.

    Raises:
        ConfigError: it is none of these.
    """
    lowlevel = _lowlevel_of(server)
    if lowlevel is None:
        raise ConfigError(
            f"A {type(server).__name__} can't be a target. Give a URL, a .py or .js file, a command as a list, a "
            "ChannelTarget, or a server object of the MCP SDK."
        )
    name, context = _name_of(server), contextvars.copy_context()

    shared = getattr(server, "_lifespan_manager", None)
    lifespan = _SharedLifespan(shared) if callable(shared) else nullcontext()

    async def run(read: Inbox, write: Outbox) -> None:
        async with lifespan:
            await lowlevel.run(read, write, lowlevel.create_initialization_options())

    async def connect(listener: Listener) -> Channel:
        channel = _ServerChannel(name, listener)
        channel.start(run, context.copy())
        return channel

    return connect


def _name_of(server: Any) -> str:
    return str(getattr(server, "name", None) or "server")


def _lowlevel_of(server: Any) -> Any:
    """The object that runs on streams: the one inside a high-level server (the SDK's, FastMCP's), or itself."""
    for each in (getattr(server, "_lowlevel_server", None), getattr(server, "_mcp_server", None), server):
        if callable(getattr(each, "run", None)) and callable(getattr(each, "create_initialization_options", None)):
            return each
    return None


class _SharedLifespan:
    """The lifespan of a server that has one for all its sessions, as FastMCP's do.

    FastMCP takes it down with the session that brought it up, whatever others there are. So it is up in a task of its
    own, from the first session to the end of the last.

    Args:
        make: the server's context manager.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._make = make
        self._sessions = 0
        self._is_up: asyncio.Future[None]
        self._is_over: asyncio.Event
        self._holding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        while self._holding is not None and not self._sessions:  # it is being taken down
            await asyncio.wait([self._holding])
        self._sessions += 1
        if self._holding is None:
            loop = asyncio.get_running_loop()
            self._is_up, self._is_over = loop.create_future(), asyncio.Event()
            self._holding = loop.create_task(self._hold())
        try:
            await asyncio.shield(self._is_up)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        holding = self._holding
        self._leave()
        if not self._sessions and holding is not None:
            await asyncio.wait([holding])

    def _leave(self) -> None:
        self._sessions -= 1
        if not self._sessions:
            self._is_over.set()

    async def _hold(self) -> None:
        try:
            async with self._make():
                self._is_up.set_result(None)
                await self._is_over.wait()
        except Exception as error:
            if self._is_up.done():
                logging.getLogger("isthmus.back").exception("A server's lifespan failed at its end.")
            else:
                self._is_up.set_exception(error)
        finally:
            self._is_up.cancel()
            self._holding = None


class _ServerChannel:
    """A session with a server object, and the task it runs in.

    Args:
        name: the back's.
        listener: who hears it.
    """

    def __init__(self, name: str, listener: Listener) -> None:
        self._name = name
        self._listener = listener
        self._log = logging.getLogger(f"isthmus.back.{name}")
        self._inbox = Inbox(self._end)
        self._outbox = Outbox(self._hear, self._end)
        self._task: asyncio.Task[None] | None = None
        self._cancelling: asyncio.TimerHandle | None = None
        self._why = ""
        self._is_told = False

    def start(self, run: _Run, context: contextvars.Context) -> None:
        """Let the server run; this object owns the task."""
        self._task = asyncio.get_running_loop().create_task(self._run(run), context=context)

    @property
    def is_alive(self) -> bool:
        """See `Channel`."""
        return self._cancelling is None and not self._is_told

    def write(self, message: bytes) -> None:
        """See `Channel`."""
        if not self.is_alive:
            raise BackUnavailable(self._why or f"The back {self._name!r} has just ended; call again.")
        if self._inbox.waiting + len(message) > STDIN_QUEUE:
            raise BackUnavailable(
                f"The back {self._name!r} reads nothing, {STDIN_QUEUE // MIB} MiB wait for it; call later."
            )
        try:
            self._inbox.put(message)
        except ValueError:
            raise BackUnavailable(_REFUSED) from None

    async def stop(self) -> None:
        """See `Channel`. The server is told by the end of its stream, and cancelled if it does not end then."""
        if self.is_alive:
            self._why = f"The back {self._name!r} was stopped."
        self._end()
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait([self._task], timeout=STOP_EOF + STOP_TERM)
        if not self._is_told:
            self._log.warning("The back %r does not let itself be cancelled; it is left to itself.", self._name)
            self._tell()

    async def _run(self, run: _Run) -> None:
        try:
            await run(self._inbox, self._outbox)
        except Exception as error:
            self._log.exception("The back %r failed.", self._name)
            cause: BaseException = error
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            said = " ".join(f"{type(cause).__name__}: {cause}".split())
            self._why = self._why or f"The back {self._name!r} failed with {said[:STDERR_SAID]}"
        finally:
            self._end()
            self._tell()

    def _hear(self, text: bytes) -> None:
        if not self._is_told and (malformed := hear(self._listener, text)) is not None:
            self._log.warning("Skipped what is not a message: %s", malformed.why)

    def _end(self) -> None:
        """Tell the server that nothing more comes, and cancel it if it runs on; idempotent."""
        self._inbox.end()
        if self._cancelling is None and self._task is not None:
            self._cancelling = asyncio.get_running_loop().call_later(STOP_EOF, self._task.cancel)

    def _tell(self) -> None:
        if self._cancelling is not None:
            self._cancelling.cancel()
        if not self._is_told:
            self._is_told = True
            self._outbox.shut()
            self._why = self._why or f"The back {self._name!r} ended its session; the next call opens another."
            self._listener.lost(self._why)


# -- the front --------------------------------------------------------------------------------------------------------


class MemoryFront:
    """Serves one client of the SDK, which is given `streams`: what it reads and what it writes.

    Args:
        relay: what takes the messages on.
        start: starts the task of a request.
    """

    def __init__(self, relay: Relay, start: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]) -> None:
        self._unread = relay.limits.unread
        self._channel = ChannelFront(relay, start, self)
        self._inbox = Inbox(self._channel.leave)
        self._outbox = Outbox(lambda text: self._channel.take(parse(text)), self._channel.end)
        self.streams = (self._inbox, self._outbox)
        self.leave = self._channel.leave
        self.stray = self._channel.stray

    async def serve(self) -> None:
        """Serve until the client closes a stream or `leave`; then its streams end."""
        try:
            await self._channel.serve()
        finally:
            self._outbox.shut()
            self._inbox.end()

    def write(self, message: bytes) -> None:
        """One message for the client; an answer that the SDK can't read becomes an error, so that there is one."""
        try:
            self._inbox.put(message)
        except ValueError:
            answer = parse(message)
            if isinstance(answer, Envelope) and answer.kind is Kind.ANSWER:
                self._inbox.put(error_message(answer.id, INTERNAL_ERROR, _REFUSED))
        if self._inbox.waiting > CHANNEL_UNREAD:
            self._give_up()

    async def drain(self) -> None:
        """Wait until the client has read enough; one that reads nothing for `WRITE_STALLED` seconds is given up."""
        while self._inbox.waiting > self._unread:
            try:
                async with asyncio.timeout(WRITE_STALLED):
                    await self._inbox.wait_read()
            except TimeoutError:
                self._give_up()
                return

    def _give_up(self) -> None:
        self._inbox.end()
        self._channel.leave()
