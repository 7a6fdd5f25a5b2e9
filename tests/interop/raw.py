"""A client without a library: JSON-RPC over stdio, HTTP and HTTP+SSE, so that nothing of an answer is lost."""

import http.client
import json
import queue
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

from .peers import Era

Json = dict[str, Any]
ANSWERS_WITHIN = 15
GOES_BY_ITSELF_WITHIN = 2
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
CAPABILITIES = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {"listChanged": True}}
CLIENT_INFO = {"name": "raw", "version": "1.0.0"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT_INFO,
    "io.modelcontextprotocol/clientCapabilities": CAPABILITIES,
}
ROUTED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def parse(text: str | bytes) -> Any:
    """With objects as pairs in their order, so that double names stay, and numbers as they were written."""
    return json.loads(text, object_pairs_hook=tuple, parse_float=_Number, parse_int=_Number)


class _Number(str):
    """A number's own spelling."""


def values(parsed: Any) -> Any:
    """What `parse` made, as plain JSON values: the order of members and the spelling of numbers are lost."""
    match parsed:
        case tuple():
            return {name: values(value) for name, value in parsed}
        case list():
            return [values(each) for each in parsed]
        case _Number():
            return float(parsed)
    return parsed


def member(pairs: Any, name: str) -> Any:
    """The one member of an object that has this name."""
    found = [value for key, value in pairs if key == name]
    assert len(found) == 1, f"{len(found)} members {name} in {pairs}"
    return found[0]


class Raw(ABC):
    """A connection in one of the eras."""

    def __init__(self, era: Era) -> None:
        self.era = era
        self.ids = 0

    @abstractmethod
    def send(self, message: Json) -> Any:
        """Send a message; a request's answer is returned as the pairs that `parse` makes."""

    def open(self) -> Any:
        """What `initialize` or `server/discover` answers."""
        if self.era == "modern":
            return self.ask("server/discover", {})
        params = {"protocolVersion": LEGACY, "capabilities": CAPABILITIES, "clientInfo": CLIENT_INFO}
        answer = self.ask("initialize", params)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def ask(self, method: str, params: Json) -> Any:
        """The answer without its `jsonrpc` and `id`."""
        self.ids += 1
        if self.era == "modern":
            params = {**params, "_meta": META}
        answer = self.send({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params})
        return tuple(pair for pair in answer if pair[0] not in ("jsonrpc", "id"))

    def is_answer(self, message: Any, to: Json) -> bool:
        names = dict(message)
        return "method" not in names and names.get("id") == str(to["id"])


class RawHttp(Raw):
    def __init__(self, era: Era, url: str) -> None:
        super().__init__(era)
        parts = urlsplit(url)
        self.path = parts.path
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWERS_WITHIN)
        self.session: str | None = None

    def send(self, message: Json) -> Any:
        self.connection.request("POST", self.path, json.dumps(message), self._headers(message))
        response = self.connection.getresponse()
        self.session = response.headers.get("Mcp-Session-Id", self.session)
        if "id" not in message:
            response.read()
            return None
        if response.headers.get_content_type() == "application/json":
            return parse(response.read())
        found = None
        for line in response:
            if line.startswith(b"data:") and line[5:].strip():
                event = parse(line[5:])
                found = event if self.is_answer(event, message) else found
        assert found is not None, f"{message} was not answered"
        return found

    def _headers(self, message: Json) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.session is not None:
            headers["Mcp-Session-Id"] = self.session
        if message["method"] != "initialize":
            headers["MCP-Protocol-Version"] = MODERN if self.era == "modern" else LEGACY
        if self.era == "modern":
            headers["Mcp-Method"] = message["method"]
            if message["method"] in ROUTED:
                headers["Mcp-Name"] = message["params"][ROUTED[message["method"]]]
        return headers


class RawStream(Raw):
    """Where everything that the server says comes in one stream, read by a thread."""

    def __init__(self, era: Era) -> None:
        super().__init__(era)
        self.said: queue.Queue[bytes] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @abstractmethod
    def _read(self) -> None:
        """Put what is said into the queue, message by message, to the end."""

    @abstractmethod
    def write(self, message: bytes) -> None: ...

    def send(self, message: Json) -> Any:
        self.write(json.dumps(message).encode())
        while "id" in message:
            heard = parse(self.said.get(timeout=ANSWERS_WITHIN))
            if self.is_answer(heard, message):
                return heard
            self._decline(dict(heard))
        return None

    def _decline(self, heard: Json) -> None:
        """Answer a server's own question, such as for the roots, with an error."""
        if "method" in heard and "id" in heard:
            number = heard["id"]
            given = int(number) if isinstance(number, _Number) else number
            error = {"code": -32601, "message": "Method not found"}
            self.write(json.dumps({"jsonrpc": "2.0", "id": given, "error": error}).encode())


class RawStdio(RawStream):
    def __init__(self, era: Era, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        super().__init__(era)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.put(line)

    def write(self, message: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(message + b"\n")
        self.process.stdin.flush()


class RawSse(RawStream):
    """HTTP+SSE: what the server says comes on a GET, which begins with the place where the client is to POST."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWERS_WITHIN)
        self.listening = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWERS_WITHIN)
        self.listening.request("GET", parts.path, headers={"Accept": "text/event-stream"})
        self.socket = self.listening.sock  # which the response takes away
        self.stream = self.listening.getresponse()
        super().__init__("legacy")
        self.endpoint = urljoin(parts.path, self.said.get(timeout=ANSWERS_WITHIN).decode().strip())

    def _read(self) -> None:
        with suppress(OSError):  # closed, while it waits
            for line in self.stream:
                if line.startswith(b"data:"):
                    self.said.put(line[5:])

    def write(self, message: bytes) -> None:
        self.connection.request("POST", self.endpoint, message, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        assert response.read() is not None and response.status == 202, response.status

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(ANSWERS_WITHIN)
        self.stream.close()
        self.listening.close()
        self.connection.close()


@contextmanager
def started(command: Sequence[str], era: Era) -> Iterator[RawStdio]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        raw = RawStdio(era, process)
        yield raw
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(GOES_BY_ITSELF_WITHIN)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(ANSWERS_WITHIN)
        raw.reader.join(ANSWERS_WITHIN)
        process.stdout.close()


@contextmanager
def connected(target: Json, era: Era) -> Iterator[Raw]:
    if "command" in target:
        with started(target["command"], era) as raw:
            yield raw
    elif urlsplit(target["url"]).path == "/sse":
        with closing(RawSse(target["url"])) as sse_raw:
            yield sse_raw
    else:
        http_raw = RawHttp(era, target["url"])
        try:
            yield http_raw
        finally:
            http_raw.connection.close()
