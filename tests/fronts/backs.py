"""Backs for whole processes: one small server of both eras on stdio, and the command in front of it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ISTHMUS = str(Path(sys.executable).parent / "isthmus")

BACK = """
import json, os, sys, threading, time

lock = threading.Lock()

def say(message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\\n")
        sys.stdout.flush()

def serve(message):
    method, params, id = message["method"], message.get("params", {}), message["id"]
    result = {"resultType": "complete", "said": params.get("arguments")}
    if method == "server/discover":
        result |= {"supportedVersions": ["2026-07-28"], "capabilities": {}}
    elif method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {},
                  "serverInfo": {"name": "back", "version": "1"}}
    elif method == "tools/list":
        schema = {"type": "object", "properties": {"place": {"type": "string", "x-mcp-header": "Place"}}}
        result["tools"] = [{"name": "echo", "inputSchema": schema}]
    elif method == "subscriptions/listen":
        key = "io.modelcontextprotocol/subscriptionId"
        say({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {"_meta": {key: id}}})
        return
    elif params.get("name") == "sleep":
        time.sleep(params["arguments"]["seconds"])
    elif params.get("name") == "big":
        result["said"] = "x" * params["arguments"]["size"]
    elif params.get("name") == "die":
        os._exit(3)
    elif method != "tools/call":
        say({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}})
        return
    say({"jsonrpc": "2.0", "id": id, "result": result})

seen = []
for line in sys.stdin:
    message = json.loads(line)
    seen.append(message.get("method"))
    if message.get("params", {}).get("name") == "seen":
        say({"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", "said": seen}})
    elif "id" in message and "method" in message:
        threading.Thread(target=serve, args=(message,), daemon=True).start()
os._exit(0)  # a thread that holds stdout's lock would keep the interpreter from ending
"""


class Running:
    """A process that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0

    def line(self, message: bytes) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(message + b"\n")

    def close(self) -> None:
        """End its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def read(self) -> bytes:
        """Its next line."""
        assert self.process.stdout is not None
        return await self.process.stdout.readline()

    async def end(self, bound: float = 10) -> tuple[int, str, str]:
        """Its code, and what it still said on stdout and stderr."""
        assert self.process.stdout is not None and self.process.stderr is not None
        async with asyncio.timeout(bound):
            out, err = await asyncio.gather(self.process.stdout.read(), self.process.stderr.read())
            return await self.process.wait(), out.decode(), err.decode()


@asynccontextmanager
async def isthmus(*arguments: str, back: str = BACK, stdin: int = asyncio.subprocess.PIPE) -> AsyncIterator[Running]:
    """`isthmus run` in front of a back; with `--http 0`, when it listens."""
    pipe = asyncio.subprocess.PIPE
    command = [ISTHMUS, "run", *arguments, "--", sys.executable, "-c", back]
    process = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=pipe, stderr=pipe, limit=1 << 26)
    running = Running(process)
    try:
        if "--http" in arguments:
            assert process.stderr is not None
            told = (await process.stderr.readline()).decode()
            running.port = int(told.rpartition(":")[2].partition("/")[0])
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            stat = (each / "stat").read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat[1]) == pid and stat[0] != "Z":
            found += [int(each.name), *children_of(int(each.name))]
    return found
