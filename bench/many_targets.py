"""Who is measured with many backs: files of servers, isthmus before them, and one who reads lists as fast as it can."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import BENCH, ISTHMUS, BenchError, Stage
from path_loads import LEGACY, MODERN, PLACE, HttpFace, check_answer, compact, initialize, message
from path_memory import cpu_of
from servers import META

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

TOOLS = 100
"""Of each back over HTTP; a back on stdio has 8."""
BASE = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
PATIENCE = 60.0
TTL = 3600
FIRST_CALL = 10**13
"""An id as long as `PLACE`."""
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def prefixes(count: int) -> list[str]:
    """What begins the names of tools behind so many servers; one alone has no prefix."""
    return [f"s{number:03}_" for number in range(count)] if count > 1 else [""]


def http_servers(port: int, count: int, holes: Mapping[int, int]) -> dict[str, Any]:
    """So many endpoints of the back. Of every second the back says how long its lists are good; of the others the file.

    Args:
        port: of the back.
        count: of servers.
        holes: which are black holes, and the port of each.
    """
    servers: dict[str, Any] = {}
    for number in range(count):
        kind = ("fresh", "stale")[number % 2]
        own = {} if kind == "fresh" else {"isthmus": {"ttl": TTL}}
        servers[f"s{number:03}"] = {"url": f"http://127.0.0.1:{holes.get(number, port)}/{kind}/{number}", **own}
    return servers


def stdio_servers(count: int, core: int) -> dict[str, Any]:
    """So many processes, each pinned to a core."""
    arguments = ["-c", str(core), sys.executable, "-I", "-S", str(BENCH / "line_back.py")]
    server = {"command": "taskset", "args": arguments, "isthmus": {"ttl": TTL}}
    return {f"s{number:03}": server for number in range(count)}


def start_isthmus(stage: Stage, name: str, servers: dict[str, Any], port: int, core: int) -> subprocess.Popen[bytes]:
    """isthmus before a file of servers."""
    file = stage.folder / f"{name}.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    return stage.start(name, [str(ISTHMUS), "run", str(file), "--http", str(port)], core)


class Hole:
    """Takes connections, and says nothing on them."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(4096)
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


class Reader:
    """One connection that is kept, in one era; its answers are read whole, into one buffer.

    Args:
        port: of the proxy.
        era: modern or legacy.
    """

    def __init__(self, port: int, era: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(16 << 20)
        self._port = port
        self._headers = {"Host": f"127.0.0.1:{port}", **BASE}
        self._meta: dict[str, Any] = {}
        self._next = 10
        if era == "modern":
            self._headers["MCP-Protocol-Version"] = MODERN
            self._meta = {"_meta": META}
        else:
            self._shake()

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, **params: Any) -> tuple[bytes, float]:
        """The body of the answer, and the seconds from the first byte sent to the last one read."""
        self._next += 1
        said = message(method, {**params, **self._meta}, self._next)
        headers = self._headers | ({"Mcp-Method": method} if self._meta else {})
        if self._meta and "name" in params:
            headers["Mcp-Name"] = params["name"]
        status, body, took = self._exchange(compact(said), headers)
        if status != 200 or b'"id":%d' % self._next not in body[:40] + body[-40:]:
            raise BenchError(f"{method} was answered with {status}: {body[:300]!r}")
        return body, took

    def list(self, count: int) -> float:
        """The seconds that a whole list took; raises `BenchError` when it has not so many tools."""
        body, took = self.ask("tools/list")
        if body.count(b'"inputSchema"') != count or b'"nextCursor"' in body:
            raise BenchError(f"a list of {body.count(b'inputSchema')} tools, not {count}, or on pages: {body[-300:]!r}")
        return took

    def _shake(self) -> None:
        status, body, _ = self._exchange(compact(initialize(1)), self._headers)
        found = re.search(rb"\r\nmcp-session-id: *([^\r]+)\r\n", self._head, re.IGNORECASE)
        if status != 200 or found is None:
            raise BenchError(f"initialize was answered with {status}: {body[:300]!r}")
        self._headers |= {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": found[1].decode()}
        self._exchange(compact(message("notifications/initialized")), self._headers)

    def _exchange(self, text: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, float]:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"POST /mcp HTTP/1.1\r\n{lines}Content-Length: {len(text)}\r\n\r\n".encode() + text
        view = memoryview(self._buffer)
        began = time.perf_counter()
        self._socket.sendall(request)
        got, whole, head = 0, 1, 0
        while got < whole:
            fresh = self._socket.recv_into(view[got:])
            if not fresh:
                raise BenchError("the connection ended in the middle of an answer")
            got += fresh
            if not head and (end := self._buffer.find(b"\r\n\r\n", 0, got)) >= 0:
                head = end + 4
                found = LENGTH.search(self._buffer, 0, head)
                whole = head + (int(found[1]) if found is not None else 0)
            elif not head:
                whole = got + 1
        took = time.perf_counter() - began
        self._head = bytes(view[:head])
        return int(self._buffer[9:12]), bytes(view[head:got]), took


def wait_open(stage: Stage, name: str, process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a port takes connections; raises `BenchError` with what the process said."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
            return
        except ConnectionRefusedError as error:
            if time.monotonic() > deadline or process.poll() is not None:
                raise BenchError(f"{name} does not serve: {stage.log(name)}") from error
        time.sleep(0.002)


class Caller:
    """One connection on which calls are made, each when the one before is answered; every answer is checked."""

    def __init__(self, face: HttpFace, size: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", face.port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = [request.split(PLACE.encode()) for request in face.requests(size)]
        self._size = size
        self._made = 0

    def call(self) -> float:
        """The seconds of one more call, to the next of the tools; raises `BenchError` when it is answered wrongly."""
        self._made += 1
        identifier = FIRST_CALL + self._made
        request = str(identifier).encode().join(self._requests[self._made % len(self._requests)])
        began = time.perf_counter()
        self._socket.sendall(request)
        answer = self._socket.recv(1 << 16)
        while (missing := _missing(answer)) > 0:
            answer += self._socket.recv(missing)
        took = time.perf_counter() - began
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"a call was answered with {answer[:300]!r}")
        check_answer(answer.partition(b"\r\n\r\n")[2], identifier, self._size)
        return took

    def close(self) -> None:
        self._socket.close()


def _missing(answer: bytes) -> int:
    """How many bytes of an answer are still to come, as far as can be said."""
    head, end, body = answer.partition(b"\r\n\r\n")
    found = LENGTH.search(head + b"\r\n")
    if not answer or (end and found is None):
        raise BenchError(f"a call was answered with {answer[:300]!r}")
    return int(found[1]) - len(body) if end and found is not None else 1


@dataclass
class Doing:
    """Something that is done and timed, and the processes whose CPU time it costs."""

    do: Callable[[], float]
    members: list[int]
    took: list[float] = field(default_factory=list)
    """Seconds of each time."""
    cpu: float = 0.0
    """Seconds of all."""


def by_turns(all_: Sequence[Doing], times: int, row: int) -> None:
    """Do each so many times, `row` times before the next has its turn: what else goes on disturbs all alike."""
    for _ in range(times // row):
        for each in all_:
            before = cpu_of(each.members)
            each.took += [each.do() for _ in range(row)]
            each.cpu += cpu_of(each.members) - before
