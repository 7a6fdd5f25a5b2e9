"""A client made of bytes: requests are spelled out, responses are read as they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

MODERN = "2026-07-28"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
META = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}
BOTH = "application/json, text/event-stream"


def request(method: str, id: Any = 1, meta: Any = META, **params: Any) -> dict[str, Any]:
    """A modern request."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": meta}}


def call(name: str, id: Any = 1, **arguments: Any) -> dict[str, Any]:
    """A modern call of a tool."""
    return request("tools/call", id, name=name, arguments=arguments)


def legacy(method: str, id: Any = 1, **params: Any) -> dict[str, Any]:
    """A legacy request."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def initialize(version: str = "2025-11-25") -> dict[str, Any]:
    """A legacy client's first request."""
    return legacy("initialize", 0, protocolVersion=version, capabilities={}, clientInfo={"name": "c", "version": "1"})


def mirrored(message: dict[str, Any]) -> dict[str, str]:
    """The headers that a modern request carries."""
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": str(message["method"])}
    params = message.get("params", {})
    name = params.get("name", params.get("uri"))
    return headers | ({"Mcp-Name": name} if isinstance(name, str) else {})


Fields = dict[str, str | None]


def http(
    verb: str,
    body: bytes = b"",
    path: str = "/mcp",
    version: str = "1.1",
    fields: Fields | None = None,
    **headers: str | None,
) -> bytes:
    """A request's bytes; in names of headers _ stands for -, and None leaves a usual one out."""
    usual: Fields = {"Host": "127.0.0.1", "Accept": BOTH}
    if body or verb == "POST":
        usual |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    usual |= (fields or {}) | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in usual.items() if value is not None)
    return f"{verb} {path} HTTP/{version}\r\n{lines}\r\n".encode("latin-1") + body


def post(message: Any, **headers: str | None) -> bytes:
    """A POST of a legacy message, or of anything."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return http("POST", body, fields={name.replace("_", "-"): value for name, value in headers.items()})


def modern_post(message: dict[str, Any], **headers: str | None) -> bytes:
    """A POST of a modern request with the headers that mirror it, some replaced."""
    both: dict[str, str | None] = {name.replace("-", "_"): value for name, value in mirrored(message).items()}
    return post(message, **(both | headers))


class Response(NamedTuple):
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The body's events."""
        return [json.loads(line[6:]) for line in self.body.split(b"\n") if line.startswith(b"data: ")]


class Frame(NamedTuple):
    """One event: its text, and the fields that it has."""

    text: str
    data: str | None
    id: str | None
    retry: str | None


class Peer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        """A response's status and headers, by lower-case name."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    async def response(self, verb: str = "POST") -> Response:
        """The next whole response."""
        status, headers = await self.head()
        body = b""
        if verb == "HEAD" or status in (100, 204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while piece := await self.chunk():
                body += piece
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Response(status, headers, body)

    async def chunk(self) -> bytes:
        """The next chunk of a streaming response; empty at its end."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        piece = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return piece

    async def event(self) -> Any:
        """The next event's message, or a comment's text, of a streaming response; None at its end."""
        while (event := await self.frame()) is not None:
            if event.data:
                return json.loads(event.data)
            if event.id is None:
                return event.text
        return None

    async def frame(self) -> "Frame | None":
        """The next event of a streaming response, whatever it holds; None at its end."""
        while b"\n\n" not in self._rest:
            piece = await self.chunk()
            if not piece:
                return None
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\n\n")
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in text.decode().split("\n"))}
        return Frame(text.decode(), fields.get("data"), fields.get("id"), fields.get("retry"))

    async def ask(self, data: bytes, verb: str = "POST") -> Response:
        """Send a request and read its response."""
        self.send(data)
        return await self.response(verb)

    async def ended(self, bound: float = 5.0) -> bytes:
        """What still comes until the server closes; a reset counts as closing."""
        try:
            async with asyncio.timeout(bound):
                return await self.reader.read()
        except ConnectionError:
            return b""

    def leave(self) -> None:
        """Close at once."""
        self.writer.transport.abort()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Peer]:
    """A connection, closed at the end."""
    async with asyncio.timeout(5):
        for attempt in range(100):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
                break
            except ConnectionRefusedError:
                if attempt == 99:
                    raise
                await asyncio.sleep(0.02)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


async def ask(port: int, data: bytes, verb: str = "POST") -> Response:
    """One request on a connection of its own."""
    async with connected(port) as peer:
        return await peer.ask(data, verb)


async def open_session(port: int, version: str = "2025-11-25") -> str:
    """A legacy session's id."""
    response = await ask(port, post(initialize(version)))
    assert response.status == 200, response
    return response.headers["mcp-session-id"]


async def is_served(port: int) -> bool:
    """Whether another client is served within a second."""
    async with asyncio.timeout(1):
        response = await ask(port, modern_post(call("echo", 99)))
    return response.status == 200 and response.json["id"] == 99
