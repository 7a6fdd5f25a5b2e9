"""Backs for the tests of processes: small Python scripts, a listener that remembers, and a loop to run on."""

import asyncio
import gc
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from isthmus.limits import Limits
from isthmus.transports.launch import Launch
from isthmus.transports.process import Process
from isthmus.transports.watchdog import Watchdog
from isthmus.wire.codec import close_object, decode
from isthmus.wire.envelope import Batch, Envelope

ECHO = "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line); sys.stdout.buffer.flush()\n"

SAY = (
    "import json, sys\n"
    "def say(**params):\n"
    "    print(json.dumps({'jsonrpc': '2.0', 'method': 'say', 'params': params}), flush=True)\n"
)

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    say(pids=[os.getpid(), child])
while True:
    time.sleep(1)
"""

Scenario = Callable[[Watchdog], Awaitable[None]]
Run = Callable[[Scenario], None]


class Ear:
    """A listener that remembers, and wakes who waits for something."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.whys: list[str] = []
        self._news = asyncio.Event()

    def received(self, envelope: Envelope) -> None:
        self.heard.append(json.loads(close_object(envelope.members)))
        self._news.set()

    def received_batch(self, batch: Batch) -> None:
        self.heard.append([decode(item) for item in batch.items])
        self._news.set()

    def lost(self, why: str) -> None:
        self.whys.append(why)
        self._news.set()

    async def messages(self, count: int = 1) -> list[Any]:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()
        return self.heard

    async def end(self, bound: float = 10) -> str:
        async with asyncio.timeout(bound):
            while not self.whys:
                self._news.clear()
                await self._news.wait()
        return self.whys[0]


def call(number: int, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": "echo", "params": params}


def text(message: Any) -> bytes:
    return json.dumps(message).encode()


def python(script: str, *args: str, **more: Any) -> Launch:
    return Launch("b", (sys.executable, "-I", "-c", script, *args), **more)


@asynccontextmanager
async def running(
    launch: Launch, watchdog: Watchdog, limits: Limits | None = None
) -> AsyncIterator[tuple[Process, Ear]]:
    ear = Ear()
    process = await Process.start(launch, limits or Limits(), watchdog, ear)
    try:
        yield process, ear
    finally:
        await process.stop()
    assert len(ear.whys) == 1


def descriptors() -> set[str]:
    return {
        f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}"
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    }


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool], bound: float = 5) -> None:
    async with asyncio.timeout(bound):
        while not condition():  # noqa: ASYNC110 - the ends of strangers are no events
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module", autouse=True)
def signal_pipe_of_libuv() -> None:
    """libuv makes one pipe for signals, at the first child, and keeps it as long as the process lives."""

    async def first_child() -> None:
        await (await asyncio.create_subprocess_exec("true")).wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(first_child())


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario on either loop: bounded, nothing in the loop's exception handler, no descriptor left."""

    def run(scenario: Scenario) -> None:
        problems: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
            watchdog = Watchdog()
            try:
                async with asyncio.timeout(30):
                    await scenario(watchdog)
            finally:
                await watchdog.close()

        before = descriptors()
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        gc.collect()
        assert problems == []
        assert descriptors() - before == set()

    return run
