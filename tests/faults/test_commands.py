"""Faults around the command itself: rows F16, F24 and F25 of the hardening tables."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clients import META, SCRIPT, heard, run, until

FRONTS = pytest.mark.parametrize("front", ["stdio", "http"])
ISTHMUS = (sys.executable, "-m", "isthmus", "run")

STUBBORN = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
child = os.fork()
if child:
    with open(sys.argv[1], "w") as pids:
        pids.write(f"{os.getpid()} {child}\\n")
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and message["method"] == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
while True:
    time.sleep(1)
"""


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Proxy:
    """`isthmus run` in a process, and one client of it that speaks raw messages."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def initialize(self) -> str:
        """The session's id, over HTTP."""
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        if self.port:
            head, body = await self.post(message)
            assert "result" in json.loads(body)
            return next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("mcp-session-id"))
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        async with asyncio.timeout(10):
            assert "result" in json.loads(await self.process.stdout.readline())
        return ""

    async def send(self, message: Any, **headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = json.dumps(message).encode()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        fixed = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nConnection: close\r\n"
        head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{fixed}Content-Length: {len(body)}\r\n{lines}\r\n"
        writer.write(head.encode() + body)
        return reader, writer

    async def post(self, message: Any, **headers: str) -> tuple[str, bytes]:
        reader, writer = await self.send(message, **headers)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.decode(), body


@asynccontextmanager
async def proxy(front: str, *target: str) -> AsyncIterator[Proxy]:
    port = 0
    if front == "http":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    options = ("--http", str(port)) if port else ()
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*ISTHMUS, *options, "--", *target, stdin=pipe, stdout=pipe)
    try:
        if port:
            await until(lambda: _listens(port))
        yield Proxy(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(10):
            await process.communicate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@FRONTS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_f24_f25_nothing_is_left_of_a_stubborn_back(number: signal.Signals, front: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    async def scenario() -> None:
        async with proxy(front, sys.executable, "-I", "-S", "-c", STUBBORN, str(pids)) as served:
            await served.initialize()
            back, grandchild = map(int, pids.read_text().split())
            assert is_there(back) and is_there(grandchild)
            os.kill(served.process.pid, number)
            began = asyncio.get_running_loop().time()
            await until(lambda: not is_there(back) and not is_there(grandchild))
            took = asyncio.get_running_loop().time() - began
            if number == signal.SIGKILL:
                assert took < 5
            else:
                assert 3.5 < took < 6  # stdin closed, 2 s, SIGTERM, 2 s, SIGKILL
                async with asyncio.timeout(3):
                    assert await served.process.wait() == 0

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_f16_client_of_the_http_front_leaves(era: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    given = {"name": "hang", "arguments": {}}

    async def scenario() -> None:
        async with proxy("http", sys.executable, "-I", "-S", SCRIPT, era, str(log)) as served:
            if era == "modern":
                headers = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "hang"}
                meta = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}
                call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {**given, "_meta": meta}}
            else:
                headers = {"Mcp_Session_Id": await served.initialize()}
                call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": given}
            _, writer = await served.send(call, **headers)
            (sent,) = await until(lambda: [m for m in heard(log) if m.get("params", {}).get("name") == "hang"])
            writer.transport.abort()
            echo = json.loads(json.dumps(call).replace("hang", "echo"))
            if era == "modern":
                await until(lambda: heard(log)[-1]["method"] == "notifications/cancelled", 0.1)
                assert heard(log)[-1]["params"]["requestId"] == sent["id"]
                headers["Mcp_Name"] = "echo"
            else:
                echo["id"] = 6
            _, body = await served.post(echo, **headers)
            assert "echo" in json.loads(body[body.index(b"{") :].splitlines()[0])["result"]
            if era == "legacy":
                assert not [m for m in heard(log) if m["method"] == "notifications/cancelled"]

    run(scenario)
