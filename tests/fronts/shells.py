"""The two shells of the HTTP front, served in this process: our protocol class, and the application in Starlette."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import Mount

from isthmus.limits import Limits
from isthmus.transports.http_front.access import Access
from isthmus.transports.http_front.asgi import AsgiFront
from isthmus.transports.http_front.guard import Guard
from isthmus.transports.http_front.handler import Handler
from isthmus.transports.http_front.serve import Stopping, bind, serve
from isthmus.transports.http_front.sse import SseFront

from .echo import EchoRelay

SHELLS = ("protocol", "asgi")
BOUND = 30.0


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Play a scenario on the loop that the command uses, within a bound."""

    async def bounded() -> None:
        async with asyncio.timeout(BOUND):
            await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def until(so: Callable[[], object], bound: float = 5.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(bound):
        while not so():  # noqa: ASYNC110  # what is waited for is not ours to signal
            await asyncio.sleep(0.005)


class Owner:
    """Starts tasks and remembers how they failed."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task."""
        task = asyncio.get_running_loop().create_task(work)
        self.running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)


@dataclass
class Shell:
    """One endpoint that is being served."""

    kind: str
    port: int
    relay: EchoRelay
    handler: Handler
    stop: Callable[[], None]
    serving: "asyncio.Task[None]"
    owner: Owner
    sessions: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def shell(
    kind: str,
    bounds: Limits | None = None,
    origins: tuple[str, ...] = (),
    access: Access | None = None,
    sse: str | None = None,
) -> AsyncIterator[Shell]:
    """Serve an echo at /mcp, and at `sse` if given, until the context ends; what still runs or failed is an error."""
    bounds = bounds or Limits()
    relay, owner = EchoRelay(bounds), Owner()
    older = SseFront(relay, owner.start, sse) if sse is not None else None
    handler = Handler(relay, Guard((), origins), access=access, sse=older)
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    if kind == "protocol":
        stopping = Stopping()
        stop = stopping.stop
        serving = owner.start(serve(bound, handler, bounds, owner.start, relay.end_session, stopping))
    else:
        server = _Uvicorn(handler, bounds)
        stop = server.stop
        serving = owner.start(server.serve([bound]))
    served = Shell(kind, port, relay, handler, stop, serving, owner)
    try:
        yield served
    finally:
        handler.drain()
        relay.release.set()
        for session in relay.sessions:
            session.release.set()
        stop()
        stop()
        async with asyncio.timeout(5):
            await serving
        for task in list(owner.running):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    failures = [each for each in owner.failures if str(each) != "a bug"]
    assert not failures, failures


class _Uvicorn(uvicorn.Server):
    """uvicorn with its own httptools protocol, Starlette and our application in it."""

    def __init__(self, handler: Handler, bounds: Limits) -> None:
        front = AsgiFront(handler.handle, bounds, handler.tick)
        app = Starlette(routes=[Mount("/", app=front)])
        super().__init__(uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


@contextmanager
def shell_in_thread(kind: str, bounds: Limits | None = None) -> Iterator[Shell]:
    """A shell for many tests, on a loop of its own."""
    ready, kept = threading.Event(), list[Any]()

    async def main() -> None:
        async with shell(kind, bounds) as served:
            over = asyncio.Event()
            kept.extend((served, asyncio.get_running_loop(), over))
            ready.set()
            await over.wait()

    def play() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            kept.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=play)
    thread.start()
    assert ready.wait(10) and len(kept) == 3, kept
    served, loop, over = kept
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        assert not thread.is_alive() and len(kept) == 3, kept[3:]
