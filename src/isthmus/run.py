"""Assembly: a target, a front, and the loop that serves until it is told to stop."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.engine.tasks import Tasks
from isthmus.errors import ConfigError, Fault
from isthmus.many.plan import Plan
from isthmus.transports.busy_poll import poll_of
from isthmus.transports.target import Target
from isthmus.types import Relay

if TYPE_CHECKING:
    import socket

    from isthmus.engine.inner import Inner
    from isthmus.record import Recorder
    from isthmus.tap import RecordedRelay
    from isthmus.transports.http_front.access import Access
    from isthmus.transports.http_front.handler import Handler
    from isthmus.wire.envelope import Envelope


_log: Final = logging.getLogger("isthmus")
_GARBAGE: Final = 20_000
"""Containers more alive than at the last look before garbage is looked for: thousands of calls in flight are none."""


class Served(Relay, Protocol):
    """What fronts are put before: a relay with an owner for its tasks."""

    tasks: Tasks


@dataclass(frozen=True, slots=True)
class HttpPlace:
    """Where an HTTP front listens, and who may come in.

    `host` is an address, or `unix:` and the path of a Unix socket. `sse` is the path of the stream of HTTP+SSE, if
    clients of that are to be served too.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    path: str = "/mcp"
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    access: "Access | None" = None
    sse: str | None = None

    @property
    def is_unix(self) -> bool:
        """Whether the front listens on a Unix socket."""
        return self.host.startswith("unix:")

    @property
    def is_local(self) -> bool:
        """Whether whoever gets in without a token is the user of this machine.

        Who is called by other names than loopback's is called by others too, through what stands in front.
        """
        from isthmus.transports.http_front.guard import is_loopback

        return self.access is None and not self.allow_hosts and (self.is_unix or is_loopback(self.host))

    def url(self, bound: "socket.socket") -> str:
        """What clients write to reach the listening socket, without a path."""
        if self.is_unix:
            from urllib.parse import quote

            return f"http+unix://{quote(bound.getsockname(), safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{bound.getsockname()[1]}"

    def check(self) -> None:
        """Refuse what can't be reached, and what would let everybody in by accident.

        Raises:
            ConfigError: the path is none, or an address beyond loopback comes without the hosts that may be used there.
        """
        from isthmus.transports.http_front.guard import is_loopback

        for path in (self.path, self.sse or "/sse"):
            if not path.startswith("/") or any(mark in path for mark in "?# "):
                raise ConfigError(f"The path {path!r} must begin with a slash, and hold no space, '?' or '#'.")
        if self.sse is not None:
            from isthmus.transports.http_front.sse import message_path

            taken = (self.path, self.sse, message_path(self.sse))
            if len(set(taken)) < len(taken):
                raise ConfigError(
                    f"Streamable HTTP is at {taken[0]}, HTTP+SSE at {taken[1]} and {taken[2]}: all must differ. "
                    "Choose another path."
                )
        if not self.is_unix and not is_loopback(self.host) and not self.allow_hosts:
            raise ConfigError(
                f"Listening on {self.host} lets others in. Name the hosts that they may use: --allow-host HOST, "
                "allow_hosts=[…] from Python, or * for any."
            )


def run_loop(main: Coroutine[Any, Any, int], poll: float = 0.0) -> int:
    """Run `main` on uvloop where there is one, on asyncio's own loop elsewhere.

    Args:
        main: gives the exit code.
        poll: seconds to look for what comes next after a write, before the loop sleeps (`transports.busy_poll`).
    """
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    factory = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        poll_of(runner.get_loop()).start(poll)
        return runner.run(main)


async def serve_stdio(
    source: Target | Plan,
    stdout: int,
    settings: Settings,
    recorder: "Recorder | None" = None,
) -> int:
    """Serve one client on stdin and `stdout` until it leaves.

    Returns:
        1 if the target never answered or the client had to be given up because it does not read, else 0.
    """
    from isthmus.transports.stdio_front import StdioFront

    deaths: list[str] = []

    def stray(envelope: "Envelope") -> None:
        if tapped is None:
            front.stray(envelope)
        else:
            tapped.stray(envelope, front.stray)

    def died(why: str) -> None:
        deaths.append(why)
        front.end()

    gateway = open_relay(source, settings, stray=stray, died=died)
    tapped = _recorded(gateway, recorder)
    front = StdioFront(tapped or gateway, gateway.tasks.start)
    try:
        if await _has_begun(gateway, source, front.stop):
            await front.serve(sys.stdin.fileno(), stdout)
    except Fault as fault:
        deaths.append(fault.why)
    finally:
        await gateway.close()
    ends = deaths or [front.why_lost]
    if ends[0]:
        sys.stderr.write(f"isthmus: {ends[0]}\n")
    return 1 if ends[0] else 0


async def serve_http(
    source: Target | Plan,
    bound: "socket.socket",
    place: HttpPlace,
    settings: Settings,
    recorder: "Recorder | None" = None,
) -> int:
    """Serve clients over HTTP on a listening socket until a signal comes; 0, or 1 without a server that is needed."""
    from isthmus.transports.http_front.serve import Stopping, serve

    gateway = open_relay(source, replace(settings, is_local=place.is_local), died=warn_once())
    relay = _recorded(gateway, recorder) or gateway
    handler = make_handler(relay, place)
    stopping = Stopping()
    try:
        if await _has_begun(gateway, source, stopping.stop):
            await serve(bound, handler, settings.limits, relay.tasks.start, relay.end_session, stopping)
    except Fault as fault:
        sys.stderr.write(f"isthmus: {fault.why}\n")
        return 1
    finally:
        await gateway.close()
    return 0


def open_relay(
    source: Target | Plan,
    settings: Settings,
    *,
    stray: "Callable[[Envelope], None] | None" = None,
    died: Callable[[str], None] | None = None,
) -> "Inner":
    """What takes messages on: the gateway of one server, or of many.

    Args:
        source: the server, or the many.
        settings: how it stands before them.
        stray: where a modern channel's messages go that belong to no call, if there is one client only.
        died: called with the sentence when a single server fails before it has ever answered.
    """
    if not isinstance(source, Plan):
        return Gateway(source, settings, stray=stray, died=died)
    from isthmus.many.gateway import Many

    many = Many(source.specs, settings, stray=stray, died=died)
    return many if source.attach is None else source.attach(many)


async def begin(relay: "Inner", source: Target | Plan) -> None:
    """Read a plan again from now on when it changes, and wait for its servers that are needed.

    Raises:
        Fault: a server that is needed is not there.
    """
    if not isinstance(source, Plan):
        return
    from isthmus.many.gateway import Many
    from isthmus.many.reload import follow

    if not isinstance(relay, Many):
        return
    follow(relay, source)
    await relay.start()


async def _has_begun(relay: "Inner", source: Target | Plan, stop: Callable[[], object]) -> bool:
    """The same, unless a signal comes first; whether the front is to serve. A signal ends that, too, by `stop`.

    Raises:
        Fault: a server that is needed is not there.
    """
    waiting = asyncio.timeout(None)

    def end() -> None:
        stop()
        with suppress(RuntimeError):  # nothing is waited for any more
            waiting.reschedule(asyncio.get_running_loop().time())

    end_on_signals(end)
    try:
        async with waiting:
            await begin(relay, source)
    except TimeoutError:
        return False
    return True


def warn_once() -> Callable[[str], None]:
    """What tells the operator that the back fails before it has ever answered: once, clients are told each time."""
    warned: list[str] = []

    def died(why: str) -> None:
        if not warned:
            warned.append(why)
            _log.warning("%s", why)

    return died


def _recorded(gateway: "Inner", recorder: "Recorder | None") -> "RecordedRelay | None":
    """What stands around the gateway of one server where all is recorded."""
    if recorder is None or not isinstance(gateway, Gateway):
        return None
    from isthmus.tap import record

    return record(gateway, recorder)


def make_handler(relay: "Served", place: HttpPlace) -> "Handler":
    """What answers a place's requests. On a Unix socket every Host is as good as loopback's: no web page gets there."""
    from isthmus.transports.http_front.guard import Guard
    from isthmus.transports.http_front.handler import Handler

    sse = None
    if place.sse is not None:
        from isthmus.transports.http_front.sse import SseFront

        sse = SseFront(relay, relay.tasks.start, place.sse)
    hosts = place.allow_hosts or (("*",) if place.is_unix else ())
    return Handler(relay, Guard(hosts, place.allow_origins), place.path, place.access, sse)


@asynccontextmanager
async def serve_memory(source: Target | Plan, settings: Settings) -> AsyncIterator[tuple[Any, Any]]:
    """Serve one client in this process on the streams that this gives, until the context is left.

    Raises:
        ConfigError: the MCP SDK is not installed.
    """
    async with open_memory(source, settings) as (_, streams):
        yield streams


@asynccontextmanager
async def open_memory(source: Target | Plan, settings: Settings) -> "AsyncIterator[tuple[Inner, tuple[Any, Any]]]":
    """The same, for who wants more of the relay than its streams: both.

    Raises:
        ConfigError: the MCP SDK is not installed.
        Fault: a server that is needed is not there.
    """
    from isthmus.transports.memory import MemoryFront, finish

    def stray(envelope: "Envelope") -> None:
        front.stray(envelope)

    gateway = open_relay(source, settings, stray=stray)
    front = MemoryFront(gateway, gateway.tasks.start)
    gateway.tasks.start(front.serve())
    try:
        await begin(gateway, source)
        yield gateway, front.streams
    finally:
        front.leave()
        await finish(gateway.close())


def end_on_signals(end: Any) -> None:
    """SIGINT, SIGTERM and SIGHUP end the front in good order, where the platform has them."""
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(getattr(signal, name), end)
