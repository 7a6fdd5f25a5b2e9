"""A back that has only HTTP+SSE: how it is found, what counts when it isn't, and what its end does to a session.

2025-11-25 basic/transports, *Backwards Compatibility*; 2026-07-28 basic/transports/streamable-http, *HTTP+SSE*.
"""

import asyncio
import json
from typing import Any

import pytest

from isthmus.errors import Fault
from isthmus.transports.target import HttpTarget
from tests.limits_watch import watched
from tests.transports.http_peers import SSE, Peer, Reader, Writer, part, serve

from .clients import LegacyClient, gateway, run

NOTHING = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<no>"
STRANGER = {"jsonrpc": "2.0", "error": {"code": -32600, "message": "POST is not served here."}}


def refusal(status: int, body: Any = None) -> bytes:
    text = json.dumps(body).encode() if body is not None else b"<html>"
    kind = "application/json" if body is not None else "text/html"
    return f"HTTP/1.1 {status} No\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


class Older:
    """A server that has HTTP+SSE at /mcp, one stream at a time; to other POSTs there it says `refused`."""

    def __init__(self, refused: bytes = NOTHING, has_stream: bool = True) -> None:
        self.refused = refused
        self.has_stream = has_stream
        self.stream: Writer | None = None
        self.told: list[Any] = []
        self.requests: list[str] = []

    async def __call__(self, peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            verb, target, _ = peer.heads[-1].split(" ", 2)
            self.requests.append(f"{verb} {target}")
            if verb == "GET" and self.has_stream:
                self.stream = writer
                writer.write(SSE + b"Connection: close\r\n\r\nevent: endpoint\ndata: /messages\n\n")
                await peer.watch(reader)
                return
            if target != "/messages":
                writer.write(self.refused)
                continue
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            message = json.loads(peer.bodies[-1])
            self.told.append(message.get("method"))
            await self.take(message)

    async def take(self, message: Any) -> None:
        if "id" not in message:
            return
        if message.get("params", {}).get("name") == "cut":
            assert self.stream is not None
            await part(self.stream)
            return
        result: Any = {"content": []}
        if message["method"] == "initialize":
            result = {"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "o", "version": "1"}}
        self.say({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def say(self, message: Any) -> None:
        assert self.stream is not None
        self.stream.write(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")


def at(peer: Peer, kind: Any = "auto") -> HttpTarget:
    return HttpTarget("back", peer.url, kind=kind)


@pytest.mark.parametrize("refused", [refusal(400), refusal(404), refusal(405), refusal(422), refusal(405, STRANGER)])
def test_a_server_with_nothing_else_is_found_and_remembered(refused: bytes) -> None:
    async def scenario() -> None:
        older = Older(refused)
        async with serve(older) as peer, gateway(at(peer)) as made:
            client = await LegacyClient.open(made)
            assert client.opened["result"]["protocolVersion"] == "2024-11-05"
            assert await client.call(1, "x").result() == {"content": []}
            assert made.back.is_sse
            assert made.back.is_modern is False
            assert older.requests[:3] == ["POST /mcp", "GET /mcp", "POST /messages"]
            await made.end_session(client.session)
            await LegacyClient.open(made)
            assert older.requests.count("POST /mcp") == 1
            assert older.told[:3] == ["initialize", "notifications/initialized", "tools/call"]

    run(scenario)


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        (refusal(404), "back answered HTTP 404 (text/html) with what is no MCP answer. Check the path of its URL."),
        (refusal(400, STRANGER), "POST is not served here."),
    ],
)
def test_where_there_is_no_stream_either_the_first_fault_counts(refused: bytes, says: str) -> None:
    async def scenario() -> None:
        older = Older(refused, has_stream=False)
        async with serve(older) as peer, gateway(at(peer)) as made:
            with pytest.raises(Fault) as caught:
                await LegacyClient.open(made)
            assert caught.value.why == says
            assert older.requests[:2] == ["POST /mcp", "GET /mcp"]
            assert not made.back.is_sse

    run(scenario)


ANSWERED = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Not this way."}}


@pytest.mark.parametrize("refused", [refusal(401), refusal(403), refusal(429), refusal(500), refusal(400, ANSWERED)])
def test_what_says_nothing_of_the_transport_is_no_reason_to_look_further(refused: bytes) -> None:
    async def scenario() -> None:
        older = Older(refused)
        async with serve(older) as peer, gateway(at(peer)) as made:
            with pytest.raises(Fault):
                await LegacyClient.open(made)
            assert "GET /mcp" not in older.requests

    run(scenario)


def test_a_target_may_say_what_it_is() -> None:
    async def scenario() -> None:
        older = Older()
        async with serve(older) as peer:
            async with gateway(at(peer, "http")) as made:
                with pytest.raises(Fault, match="HTTP 404"):
                    await LegacyClient.open(made)
            assert "GET /mcp" not in older.requests
            older.requests.clear()
            async with gateway(at(peer, "sse")) as made:
                assert made.back.is_modern is False
                await LegacyClient.open(made)
            assert older.requests[:2] == ["GET /mcp", "POST /messages"]

    run(scenario)


def test_a_stream_that_is_cut_fails_the_call_and_the_next_one_opens_another() -> None:
    async def scenario() -> None:
        older = Older()
        async with serve(older) as peer, gateway(at(peer)) as made:
            client = await LegacyClient.open(made)
            await client.request(5, "logging/setLevel", level="info").result()
            cut = client.call(1, "cut")
            error = await cut.error()
            assert error["message"] == "back ended its stream of events, and with it the session."
            assert cut.took < 1
            assert await client.call(2, "x").result() == {"content": []}
            begun = ["initialize", "notifications/initialized", "logging/setLevel", "tools/call"]
            assert older.told == begun + begun
            assert older.requests.count("GET /mcp") == 2

    run(scenario)


def test_a_question_and_its_answer_pass() -> None:
    async def scenario() -> None:
        older = Older()
        answers: asyncio.Queue[Any] = asyncio.Queue()

        async def take(message: Any) -> None:
            if "method" in message and message["method"] == "tools/call":
                token = message["params"]["_meta"]["progressToken"]
                older.say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
                older.say({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {}})
                answers.put_nowait(message["id"])
            elif "method" in message:
                await Older.take(older, message)
            else:
                older.say({"jsonrpc": "2.0", "id": await answers.get(), "result": {"heard": message}})

        older.take = take  # type: ignore[method-assign]
        async with serve(older) as peer, gateway(at(peer)) as made:
            client = await LegacyClient.open(made, sampling={})
            calling = client.call(1, "ask", meta={"progressToken": "t"})
            question = await calling.box.first("sampling/createMessage")
            await client.reply(question["id"], result={"said": 1})
            result = await calling.result()
            assert result == {"heard": {"jsonrpc": "2.0", "id": "q", "result": {"said": 1}}}

    run(scenario)


def test_every_wait_on_such_a_server_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation() -> None:
        older = Older()
        async with serve(older) as peer, gateway(at(peer), call=0.3) as made:
            client = await LegacyClient.open(made)
            await client.call(1, "x").result()
            await client.call(2, "cut").error()
            await client.call(3, "x").result()
            await asyncio.wait([client.call(4, "hang").task], timeout=0.05)

    async def scenario() -> None:
        async with asyncio.timeout(20):
            await asyncio.ensure_future(conversation())

    watch = watched(scenario)
    assert watch.unlimited == set()
    assert {"SseChannel._hear", "SseChannel._send_all"} & {name.partition(" ")[0] for name in watch.seen}
    monkeypatch.setattr("isthmus.transports.sse_back.asyncio.timeout", lambda _: asyncio.timeouts.Timeout(None))
    assert watched(scenario).unlimited
