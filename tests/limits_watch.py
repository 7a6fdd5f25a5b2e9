"""Finds waits on a peer that have no limit.

Every task of the loop gets a coroutine that drives the real one and looks at each of its suspensions. A suspension is
*limited* if something that is bound to happen ends it:

* an `asyncio.timeout` with a moment is around it in the same task, or the engine's `Deadlines` watches the task;
* it is a sleep, or an `asyncio.wait` with a timeout;
* it waits for another task of the loop, which is watched itself.

All else must be on `ALLOWED`, each with the reason why it is no wait on a peer. Only suspensions below a function of
isthmus count.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import isthmus
from isthmus.engine.deadlines import Deadlines
from isthmus.types import Call

ALLOWED: Final = {
    "ChannelFront.serve": "waits for the client to leave or the proxy to be told to stop",
    "Inbox.receive": "the MCP SDK's own task, in this process, waits for what comes next",
    "connect_to.<locals>.run": "a server object's own waits, in the session's task, which `stop` cancels",
    "_SharedLifespan.__aenter__": "a server object's own start, in the session's task, which `stop` cancels",
    "_SharedLifespan._hold": "holds up what a server's sessions share until the last of them has ended",
    "Output.open": "connects a pipe that is already open",
    "_open_input": "connects a pipe that is already open",
    "_Child.connect": "connects the pipes of a child of our own, which are open",
}
_HOME: Final = str(Path(isthmus.__file__).parent)


class Watch:
    """What was found: `unlimited` names each wait without a limit by its function, file and line."""

    def __init__(self) -> None:
        self.unlimited: set[str] = set()
        self.seen: set[str] = set()
        self.limits: dict[asyncio.Task[Any], list[asyncio.Timeout]] = {}
        self.watched: dict[asyncio.Task[Any], int] = {}

    def inspect(self, task: "asyncio.Task[Any]", coroutine: Coroutine[Any, Any, Any], awaited: object) -> None:
        """Judge one suspension."""
        frames = list(_frames(coroutine))
        ours = [frame for frame in frames if frame.f_code.co_filename.startswith(_HOME)]
        if not ours:
            return
        frame = ours[-1]
        name = frame.f_code.co_qualname
        self.seen.add(name)
        limited = any(each.when() is not None for each in self.limits.get(task, ()))
        limited = limited or self.watched.get(task, 0) > 0 or _limits_itself(frames, awaited)
        if not limited and name not in ALLOWED:
            self.unlimited.add(f"{name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})")


def _frames(coroutine: Any) -> Generator[FrameType, None, None]:
    """The frames of a suspended coroutine, the outermost first."""
    while coroutine is not None:
        if isinstance(coroutine, _Driven):
            coroutine = coroutine.coroutine
        elif inspect.iscoroutine(coroutine):
            if coroutine.cr_frame is not None:
                yield coroutine.cr_frame
            coroutine = coroutine.cr_await
        elif inspect.isgenerator(coroutine):
            if coroutine.gi_frame is not None:
                yield coroutine.gi_frame
            coroutine = coroutine.gi_yieldfrom
        elif inspect.isasyncgen(coroutine):
            if coroutine.ag_frame is not None:
                yield coroutine.ag_frame
            coroutine = coroutine.ag_await
        else:
            return


def _limits_itself(frames: list[FrameType], awaited: object) -> bool:
    if awaited is None or isinstance(awaited, asyncio.Task):  # sleep(0); a task, which is watched itself
        return True
    if type(awaited).__name__ == "_GatheringFuture":
        return True
    for frame in frames:
        function = frame.f_code.co_qualname
        if function == "sleep" and frame.f_code.co_filename.endswith("asyncio/tasks.py"):
            return True
        if function == "_wait" and frame.f_code.co_filename.endswith("asyncio/tasks.py"):
            waits_for = frame.f_locals.get("fs") or ()
            return frame.f_locals.get("timeout") is not None or all(isinstance(x, asyncio.Task) for x in waits_for)
    return False


class _Driven(Coroutine[Any, Any, Any]):
    """Drives a coroutine on behalf of a task."""

    def __init__(self, watch: Watch, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.watch = watch
        self.coroutine = coroutine

    def send(self, value: Any) -> Any:
        return self._look(self.coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        return self._look(self.coroutine.throw(*error))

    def close(self) -> None:
        self.coroutine.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self.coroutine.__await__()

    def _look(self, awaited: Any) -> Any:
        task = asyncio.current_task()
        if task is not None:
            self.watch.inspect(task, self.coroutine, awaited)
        return awaited


@contextmanager
def _patched(watch: Watch) -> Generator[None, None, None]:
    enter, leave = asyncio.Timeout.__aenter__, asyncio.Timeout.__aexit__
    begin, forget = Deadlines.watch, Deadlines.forget

    async def __aenter__(self: asyncio.Timeout) -> asyncio.Timeout:
        task = asyncio.current_task()
        assert task is not None
        watch.limits.setdefault(task, []).append(self)
        return await enter(self)

    async def __aexit__(self: asyncio.Timeout, *error: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        watch.limits[task].remove(self)
        await leave(self, *error)

    def watch_call(self: Deadlines, call: Call, deadline: float) -> None:
        begin(self, call, deadline)
        assert call.task is not None
        watch.watched[call.task] = watch.watched.get(call.task, 0) + 1

    def forget_call(self: Deadlines, call: Call) -> None:
        forget(self, call)
        if call.task is not None:
            watch.watched[call.task] -= 1

    originals: tuple[tuple[Any, str, Callable[..., Any], Callable[..., Any]], ...] = (
        (asyncio.Timeout, "__aenter__", enter, __aenter__),
        (asyncio.Timeout, "__aexit__", leave, __aexit__),
        (Deadlines, "watch", begin, watch_call),
        (Deadlines, "forget", forget, forget_call),
    )
    for owner, name, _, replacement in originals:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original, _ in originals:
            setattr(owner, name, original)


def watched(scenario: Callable[[], Awaitable[None]]) -> Watch:
    """Run a scenario and look at every suspension of every task but the scenario's own frames."""
    watch = Watch()

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(_Driven(watch, coroutine), loop=loop, **more)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        try:
            await asyncio.get_running_loop().create_task(scenario())  # type: ignore[arg-type]
        finally:
            asyncio.get_running_loop().set_task_factory(None)

    with _patched(watch):
        asyncio.run(main())
    return watch
