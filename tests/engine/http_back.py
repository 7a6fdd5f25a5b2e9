"""A back on HTTP, in the test's own loop: a small server whose tools do what their names say, in either era."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

META = "io.modelcontextprotocol/"
Handle = Callable[["HttpBack", "Exchange"], Awaitable[None]]


class Exchange:
    """One request that came, and the way to answer it."""

    def __init__(self, verb: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        self.verb = verb
        self.headers = headers
        self.body = body
        self.message: dict[str, Any] = json.loads(body) if body else {}
        self.writer = writer
        self.gone = asyncio.Event()
        self.streams = False

    def respond(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        self.writer.write(head.encode() + body)

    def json(self, message: Any, status: int = 200, **headers: str) -> None:
        self.respond(status, json.dumps({"jsonrpc": "2.0", **message}).encode(), **headers)

    def result(self, **members: Any) -> None:
        answer = {"id": self.message["id"], "result": members}
        if self.streams:
            self.event(answer)
            self.end()
        else:
            self.json(answer)

    def begin(self) -> None:
        self.streams = True
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def event(self, message: Any, id: str | None = None, retry: int | None = None) -> None:
        if not self.streams:
            self.begin()
        text = "" if message is None else json.dumps({"jsonrpc": "2.0", **message})
        lines = (f"id: {id}\n" if id is not None else "") + (f"retry: {retry}\n" if retry is not None else "")
        self.chunk(f"{lines}data: {text}\n\n".encode())

    def end(self) -> None:
        self.chunk(b"")

    def cut(self) -> None:
        self.writer.transport.abort()


class HttpBack:
    """`heard` are the exchanges in their order; `gets` the open GET streams; `asked` who asked what of the client."""

    def __init__(self, era: str, handle: Handle | None) -> None:
        self.era = era
        self.handle = handle or answer
        self.heard: list[Exchange] = []
        self.news = asyncio.Event()
        self.gets: list[Exchange] = []
        self.listeners: list[Exchange] = []
        self.asked: dict[Any, Exchange] = {}
        self.sessions: set[str] = set()
        self.tools: list[Any] = [{"name": "echo", "inputSchema": {"type": "object"}}]
        self.most_open = 0
        self.port = 0
        self._minted = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def mint(self) -> str:
        self._minted += 1
        self.sessions.add(f"s{self._minted}")
        return f"s{self._minted}"

    def messages(self, method: str) -> list[dict[str, Any]]:
        return [each.message for each in self.heard if each.message.get("method") == method]

    async def until(self, condition: Callable[[], Any], within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def restart(self) -> None:
        """What clients see when the server dies and is started again."""
        self.sessions.clear()
        self.gets.clear()
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.most_open = max(self.most_open, len(self._writers))
        running: Exchange | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    first, *lines = head.split("\r\n")
                    headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines if line)}
                    body = await reader.readexactly(int(headers.get("content-length", "0")))
                    running = Exchange(first.split()[0], headers, body, writer)
                    self.heard.append(running)
                    self.news.set()
                    tasks.append(asyncio.ensure_future(self.handle(self, running)))
        finally:
            if running is not None:
                running.gone.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._writers.discard(writer)
            self.news.set()
            writer.transport.abort()


@asynccontextmanager
async def http_back(era: str = "legacy", handle: Handle | None = None) -> AsyncIterator[HttpBack]:
    back = HttpBack(era, handle)
    server = await asyncio.start_server(back.serve, "127.0.0.1", 0)
    back.port = server.sockets[0].getsockname()[1]
    try:
        yield back
    finally:
        server.close()
        back.restart()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while back._writers:
                    back.news.clear()
                    await back.news.wait()


async def answer(back: HttpBack, exchange: Exchange) -> None:
    """What the back does by itself."""
    message = exchange.message
    method = message.get("method", "")
    is_modern = exchange.headers.get("mcp-protocol-version", "") > "2026"
    if exchange.verb in ("GET", "DELETE"):
        await _on_session(back, exchange)
    elif is_modern and back.era == "legacy":
        exchange.json({"id": None, "error": {"code": -32600, "message": "Bad Request: No valid session"}}, 400)
    elif not is_modern and back.era == "modern":
        error = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": ["2026-07-28"]}}
        exchange.json({"id": message.get("id"), "error": error}, 400)
    elif method == "initialize":
        info = {"name": "the back", "version": "9"}
        version = message["params"]["protocolVersion"]
        capabilities = {"tools": {"listChanged": True}, "experimental": {"x/y": {"deep": 1}}}
        members = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}
        exchange.json({"id": message["id"], "result": members}, mcp_session_id=back.mint())
    elif not is_modern and exchange.headers.get("mcp-session-id") not in back.sessions:
        exchange.json({"id": "server-error", "error": {"code": -32600, "message": "Session not found"}}, 404)
    elif "method" not in message:
        exchange.respond(202, b"")
        waiting = back.asked.pop(message["id"], None)
        if waiting is not None:
            waiting.result(answered=message.get("result"), refused=message.get("error"))
    elif "id" not in message:
        exchange.respond(202, b"")
    else:
        await _request(back, exchange, method)


async def _on_session(back: HttpBack, exchange: Exchange) -> None:
    if exchange.headers.get("mcp-session-id") not in back.sessions:
        exchange.respond(404, b"")
    elif exchange.verb == "DELETE":
        back.sessions.discard(exchange.headers["mcp-session-id"])
        exchange.respond(200, b"")
    else:
        exchange.begin()
        back.gets.append(exchange)
        back.news.set()


async def _request(back: HttpBack, exchange: Exchange, method: str) -> None:
    message = exchange.message
    if method == "tools/call":
        await _call(back, exchange, message["params"]["name"], message["params"].get("arguments", {}))
    elif method == "server/discover":
        exchange.result(resultType="complete", supportedVersions=["2026-07-28"], capabilities={"tools": {}})
    elif method == "tools/list":
        exchange.result(tools=back.tools)
    elif method == "subscriptions/listen":
        meta = {META + "subscriptionId": message["id"]}
        params = {"_meta": meta, "notifications": message["params"]["notifications"]}
        exchange.event({"method": "notifications/subscriptions/acknowledged", "params": params})
        back.listeners.append(exchange)
    elif method.startswith("x/"):
        exchange.result(heard=message["params"])
    elif method in ("logging/setLevel", "resources/subscribe", "ping"):
        exchange.result()
    else:
        exchange.json({"id": message["id"], "error": {"code": -32601, "message": "Method not found"}}, 404)


async def _call(back: HttpBack, exchange: Exchange, name: str, given: dict[str, Any]) -> None:
    if name == "echo":
        exchange.result(echo=given)
    elif name == "die":
        back.restart()
    elif name in ("tick", "count"):
        token = exchange.message["params"]["_meta"]["progressToken"]
        for number in range(1, given["times"] + 1):
            exchange.event({"method": "notifications/progress", "params": {"progressToken": token, "progress": number}})
            await asyncio.sleep(given.get("each", 0))
        if name == "count":
            exchange.result(counted=given["times"], of=given.get("of"))
    elif name == "ask":
        id = given.pop("id", f"q{len(back.asked) + 1}")
        back.asked[id] = exchange
        method = given.pop("method", "elicitation/create")
        exchange.event({"id": id, "method": method, "params": given})
    elif name != "hang":
        exchange.json({"id": exchange.message["id"], "error": {"code": -32602, "message": "Unknown tool"}})


def param_of(head: str, name: str) -> str | None:
    found = re.search(rf"^{name}: (.*)$", head, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else None
