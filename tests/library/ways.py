"""What the library's tests share: a back that asks for everything, and a user in front who answers and takes notes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import uvicorn

from isthmus import Client, Context, FastMCP
from isthmus.transports.http_front.serve import bind
from tests.many.servers import SCRIPT

MODES: Final = ("legacy", "modern")
every_mode = pytest.mark.parametrize("mode", MODES)
"""The eras that the client in front speaks."""
every_era = pytest.mark.parametrize("era", MODES)
"""The eras that the back speaks."""
SURVEY: Final = str(Path(__file__).parents[1] / "engine" / "survey_back.py")
"""A back that says what it was told of its client; see there."""


def play(script: Coroutine[Any, Any, None], within: float = 20) -> None:
    """Run a test's script, for so many seconds at most."""

    async def bounded() -> None:
        async with asyncio.timeout(within):
            await script

    asyncio.run(bounded())


def command(back: str, era: str, log: Path) -> list[str]:
    """A fake back on stdio, which starts fast."""
    return [sys.executable, "-I", "-S", back, era, str(log)]


def heard(log: Path, method: str | None = None) -> list[tuple[int, Any]]:
    """What fake backs heard: their process, and the message; if one is named, of that method alone."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    said = [(pid, json.loads(line)) for pid, line in lines]
    return [(pid, each) for pid, each in said if method in (None, each.get("method"))]


def small(era: str, log: Path) -> list[str]:
    """A back whose `echo` says which process it is (`tests/many/back.py`)."""
    return [sys.executable, "-I", "-S", SCRIPT, era, "back", str(log)]


async def pid_of(client: Client[Any]) -> int:
    """The process that a call of `small` came to."""
    called = await client.call_tool("echo")
    return int(json.loads(text_of(called.content[0]))["pid"])


def text_of(content: Any) -> str:
    """The text of a block."""
    assert content.type == "text"
    return str(content.text)


@asynccontextmanager
async def over_http(server: FastMCP, **more: Any) -> AsyncIterator[str]:
    """A server over HTTP, on this loop; its URL."""
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        served = uvicorn.Server(uvicorn.Config(server.http_app(**more), log_level="warning", lifespan="on"))
        serving = asyncio.ensure_future(served.serve([bound]))
        try:
            async with asyncio.timeout(10):
                while not served.started:  # noqa: ASYNC110 uvicorn has no event for it
                    await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            served.should_exit = True
            await serving


def features(name: str = "back") -> FastMCP:
    """A back with a tool for each thing that a server may want of a client, and one component of each kind."""
    server = FastMCP(name)

    @server.tool
    async def roots(context: Context) -> list[str]:
        return [str(root.uri) for root in await context.list_roots()]

    @server.tool
    async def sample(context: Context) -> str:
        answer = await context.sample("How many?", system_prompt="Be short.", max_tokens=7)
        return str(answer.text)

    @server.tool
    async def elicit(context: Context) -> str:
        answer = await context.elicit("Your name?", response_type=str)
        return f"{answer.action} {getattr(answer, 'data', None)}"

    @server.tool
    async def log(context: Context) -> str:
        await context.warning("It is late.", logger_name="clock", extra={"hour": 23})
        return "logged"

    @server.tool
    async def progress(context: Context) -> str:
        for step in (1, 2, 3):
            await context.report_progress(step, 3, f"step {step}")
        return "done"

    _plain(server)
    return server


def _plain(server: FastMCP) -> None:
    @server.tool
    def add(a: int, b: int = 2) -> int:
        """Adds two numbers."""
        return a + b

    @server.resource("data://fixed", name="fixed")
    def fixed() -> str:
        return "fixed"

    @server.resource("data://{name}/made", name="made")
    def made(name: str) -> str:
        return f"made for {name}"

    @server.prompt
    def greet(name: str) -> str:
        """Greets."""
        return f"Say hello to {name}."


class User:
    """Who sits in front: answers what is asked, and remembers everything."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.logged: list[Any] = []
        self.steps: list[Any] = []
        self.changes: list[str] = []
        self._news = asyncio.Event()

    def client(self, server: Any, mode: Any = "auto", **more: Any) -> Client[Any]:
        """A client of a server with all handlers; those given as None are left out."""
        given = {
            "roots": self._roots,
            "sampling_handler": self._sample,
            "elicitation_handler": self._elicit,
            "log_handler": self._log,
            "progress_handler": self._progress,
            "message_handler": self._message,
        }
        return Client(server, mode=mode, **(given | more))

    async def until_changed(self, kind: str) -> None:
        """Wait for the next notification that a list is other than before."""
        while kind not in self.changes:
            self._news.clear()
            await self._news.wait()
        self.changes.clear()

    async def _roots(self, context: Any) -> list[str]:
        self.asked.append("roots")
        return ["file:///home/user"]

    async def _sample(self, messages: Any, params: Any, context: Any) -> str:
        self.asked.append(f"sample {messages[0].content.text} {params.systemPrompt} {params.maxTokens}")
        return "seven"

    async def _elicit(self, message: str, response_type: Any, params: Any, context: Any) -> Any:
        self.asked.append(f"elicit {message}")
        return response_type(value="Alice")

    async def _log(self, message: Any) -> None:
        self.logged.append((message.level, message.logger, message.data))

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.steps.append((progress, total, message))

    async def _message(self, message: Any) -> None:
        method = getattr(message, "method", "")
        if method.endswith("/list_changed"):
            self.changes.append(method.split("/")[1])
            self._news.set()
