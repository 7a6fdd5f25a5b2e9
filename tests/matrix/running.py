"""Puts a column together, plays rows in it, and compares what is seen with what is seen without a proxy."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mcp import StdioServerParameters
from mcp.client.sse import sse_client

from isthmus import FastMCP
from tests.conformance.processes import ENDS_WITHIN, ISTHMUS, ROOT, free_port, wait_for_port

from .columns import Column, Sdk, Transport
from .playing import Outcome, difference, play_all
from .sdk2 import connected
from .server2 import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .book import Row
    from .peer import Era

LEGACY_PYTHON: Final = str(ROOT / ".venvs" / "legacy" / "bin" / "python")
PROGRAM_TAKES_AT_MOST: Final = 90
Server = Callable[[], Any]
"""Gives what a client connects to, anew for each: a URL, a command, or what the SDK takes for a transport."""


class Programs:
    """The server programs that listen, each started when it is first needed, and what is seen without a proxy."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._urls: dict[tuple[str, str], str] = {}
        self.direct: dict[tuple[Era, Sdk], dict[str, Outcome]] = {}

    def close(self) -> None:
        self._stack.close()

    def url(self, transport: Transport, era: str) -> str:
        """Where the server of an era listens."""
        key = (transport, era)
        if key not in self._urls:
            port = free_port()
            self._stack.enter_context(running([*server(transport, era), str(port)], port))
            self._urls[key] = f"http://127.0.0.1:{port}/" + ("sse" if transport == "sse" else "mcp")
        return self._urls[key]


@contextmanager
def running(command: Sequence[str], port: int) -> "Iterator[None]":
    """A program that listens on a port, until the context is left."""
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_WITHIN)
        process.kill()
        process.wait()


def server(transport: Transport, era: str) -> list[str]:
    """The command of the server of an era, or of both: SDK 1.30 for the legacy one."""
    if era == "legacy":
        return [LEGACY_PYTHON, "-m", "tests.matrix.server1", transport, era]
    return [sys.executable, "-m", "tests.matrix.server2", transport, era]


@asynccontextmanager
async def facing(column: Column, programs: Programs) -> AsyncIterator[Server]:
    """What clients of the column connect to."""
    if column.front is None:
        direct = server("stdio", column.server) if column.back == "stdio" else programs.url(column.back, column.server)
        yield lambda: direct
    elif column.front == "memory":
        proxy = FastMCP.as_proxy(_target(column, programs), isolation="session")
        yield proxy.memory
    elif column.front == "stdio":
        command = _run(column, programs)
        yield lambda: command
    else:
        port = free_port()
        with running(_run(column, programs, port), port):
            yield lambda: f"http://127.0.0.1:{port}/" + ("sse" if column.front == "sse" else "mcp")


def _run(column: Column, programs: Programs, port: int | None = None) -> list[str]:
    """The command that starts the proxy of a column: on stdio, or on a port."""
    if column.back == "memory":
        front = ["stdio", column.server] if port is None else ["http", column.server, str(port)]
        return [sys.executable, "-m", "tests.matrix.inside", *front]
    options = [] if port is None else ["--http", str(port), "--sse"]
    if column.back == "stdio":
        return [ISTHMUS, "run", *options, "--", *server("stdio", column.server)]
    return [ISTHMUS, "run", *options, programs.url(column.back, column.server)]


def _target(column: Column, programs: Programs) -> Any:
    if column.back == "memory":
        return build(column.server)
    return server("stdio", column.server) if column.back == "stdio" else programs.url(column.back, column.server)


async def play_column(column: Column, rows: "Sequence[Row]", programs: Programs) -> dict[str, Outcome]:
    """What is seen in a column, in each row."""
    async with facing(column, programs) as there:
        if column.sdk == "1.30":
            return await _play_program(there(), rows)
        mode = "auto" if column.eras == ("modern", "modern") and column.server == "dual" else None
        return await play_all(lambda variant: connected(_transport(there()), column.client, variant, mode), rows)


def _transport(there: Any) -> Any:
    """What the client of SDK 2.x takes."""
    if isinstance(there, list):
        return StdioServerParameters(command=there[0], args=there[1:], cwd=ROOT, env=dict(os.environ))
    return sse_client(there) if isinstance(there, str) and there.endswith("/sse") else there


async def _play_program(there: Any, rows: "Sequence[Row]") -> dict[str, Outcome]:
    """Have a client of SDK 1.30 play rows, in a process of its own."""
    order = json.dumps({"target": there, "rows": [row.key for row in rows]}) + "\n"
    process = await asyncio.create_subprocess_exec(
        LEGACY_PYTHON, "-m", "tests.matrix.sdk1", stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    async with asyncio.timeout(PROGRAM_TAKES_AT_MOST):
        said, _ = await process.communicate(order.encode())
    return {key: Outcome(**outcome) for key, outcome in json.loads(said).items()}


async def directly(column: Column, rows: "Sequence[Row]", programs: Programs) -> dict[str, Outcome]:
    """What each row sees with no proxy between, in the client's era: with a server of both eras, over HTTP."""
    known = programs.direct.setdefault((column.client, column.sdk), {})
    straight = Column(None, "http", column.client, "dual", column.sdk)
    missing = [row for row in rows if row.key not in known and row.impossible(straight) is None]
    if missing:
        known |= await play_column(straight, missing, programs)
    return known


def possible(column: Column, rows: "Sequence[Row]") -> "list[Row]":
    """The rows that can be in a column; SDK 1.30 has no way to ask for an older revision."""
    found = [row for row in rows if row.impossible(column) is None]
    return [row for row in found if column.sdk == "2.x" or "version" not in row.variant]


async def play(column: Column, rows: "Sequence[Row]", programs: Programs) -> dict[str, Outcome]:
    """Play a column: what became of each of its cells."""
    played = possible(column, rows)
    expected = await directly(column, played, programs)
    outcomes = await play_column(column, played, programs)
    return {row.key: _judged(row, outcomes[row.key], expected.get(row.key), column) for row in played}


def _judged(row: "Row", outcome: Outcome, direct: Outcome | None, column: Column) -> Outcome:
    """An outcome, failed if what was seen is not what is to be seen."""
    instead = row.instead.get(column.eras) if column.server != "dual" else None
    if outcome.failure or (direct is None and instead is None):
        return outcome
    if instead is not None:
        return replace(outcome, failure=difference(instead[0], outcome.seen))
    if direct is not None and direct.failure:
        return replace(outcome, failure=f"without a proxy: {direct.failure}")
    return replace(outcome, failure=difference(direct.seen if direct is not None else None, outcome.seen))
