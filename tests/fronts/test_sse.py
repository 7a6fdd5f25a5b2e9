"""The front of HTTP+SSE (2024-11-05 basic/transports), over both shells."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from isthmus import limits
from isthmus.limits import Limits

from .raw import Peer, Response, ask, call, connected, http, initialize, legacy
from .shells import SHELLS, Shell, run, shell, until

pytestmark = pytest.mark.parametrize("kind", SHELLS)
PAGE = "https://app.example"
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Client:
    """A client: its stream, and where it sends messages."""

    def __init__(self, stream: Peer, port: int, endpoint: str) -> None:
        self.stream = stream
        self.port = port
        self.endpoint = endpoint

    @classmethod
    async def open(cls, stream: Peer, port: int, path: str = "/sse") -> "Client":
        stream.send(http("GET", path=path, Accept="text/event-stream"))
        status, headers = await stream.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        first = (await stream.chunk()).decode()
        assert first.startswith("event: endpoint\ndata: messages?session_id=")
        assert first.endswith("\n\n")
        return cls(stream, port, "/" + first.strip().partition("data: ")[2])

    async def post(self, message: Any, **headers: str | None) -> Response:
        return await send(self.port, self.endpoint, message, "POST", **headers)

    async def tell(self, message: Any) -> None:
        response = await self.post(message)
        assert (response.status, response.body) == (202, b"")

    async def ask(self, message: Any) -> Any:
        await self.tell(message)
        return await self.stream.event()


async def send(port: int, target: str, message: Any, verb: str = "POST", **headers: str | None) -> Response:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(port, http(verb, body, path=target, fields=fields), verb)


@asynccontextmanager
async def served(kind: str, bounds: Limits | None = None, **more: Any) -> AsyncIterator[Shell]:
    async with shell(kind, bounds, sse="/sse", **more) as one:
        yield one


@asynccontextmanager
async def session(one: Shell, version: str = "2024-11-05") -> AsyncIterator[Client]:
    """A client that is initialized."""
    async with connected(one.port) as stream:
        client = await Client.open(stream, one.port)
        opened = await client.ask(initialize(version))
        assert (opened["id"], opened["result"]["protocolVersion"]) == (0, version)
        yield client


def tool(name: str, id: Any = 1, **arguments: Any) -> dict[str, Any]:
    return legacy("tools/call", id, name=name, arguments=arguments)


@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-25"])
def test_a_client_is_served_on_its_stream(kind: str, version: str) -> None:
    async def scenario() -> None:
        async with served(kind) as one, session(one, version) as client:
            await client.tell(INITIALIZED)
            answer = await client.ask(tool("noisy", "a"))
            assert (answer["method"], answer["params"]) == ("notifications/progress", {"progress": 1})
            assert (await client.stream.event())["params"] == {"progress": 2}
            assert (await client.stream.event())["id"] == "a"
            await client.tell({"jsonrpc": "2.0", "id": "q", "result": {}})
            (kept,) = one.relay.sessions
            await until(lambda: len(kept.told) == 3)
            assert kept.told == ["notifications/initialized", "tools/call", {"jsonrpc": "2.0", "id": "q", "result": {}}]
            kept.strays.notify(b'{"jsonrpc":"2.0","method":"stray"}')
            assert (await client.stream.event())["method"] == "stray"

    run(scenario)


def test_clients_do_not_meet(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind) as one, session(one) as first, session(one) as second:
            assert first.endpoint != second.endpoint
            assert len(first.endpoint.partition("=")[2]) >= 32
            await first.tell(tool("echo", 1, whose="first"))
            await second.tell(tool("echo", 1, whose="second"))
            for client, whose in ((second, "second"), (first, "first")):
                assert (await client.stream.event())["result"]["said"]["arguments"] == {"whose": whose}

    run(scenario)


def test_a_post_without_a_session_delivers_nothing(kind: str) -> None:
    """Row 69; an id that nobody has is unknown, in whatever form."""

    async def scenario() -> None:
        async with served(kind) as one, session(one) as client:
            id = client.endpoint.partition("=")[2]
            for target in ("/messages", "/messages?session_id=", f"{client.endpoint}&session_id={id}"):
                assert (await send(one.port, target, tool("echo"))).status == 400
            unknown = [await send(one.port, f"/messages?session_id={each}", tool("echo")) for each in ("x", id[:-1])]
            assert [each.status for each in unknown] == [404, 404]
            assert unknown[0].body == unknown[1].body
            assert (await client.post(tool("echo"), Content_Type="text/plain")).status == 415
            assert (await client.post(b"{")).status == 400
            assert one.relay.sessions[0].told == []

    run(scenario)


def test_each_path_has_its_verb(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind) as one, session(one) as client:
            for verb, target, allowed in (
                ("DELETE", client.endpoint, "POST"),
                ("GET", client.endpoint, "POST"),
                ("DELETE", "/sse", "GET"),
                ("POST", "/sse", "GET"),
            ):
                response = await send(one.port, target, b"", verb)
                assert (response.status, response.headers["allow"]) == (405, allowed)
            assert (await client.ask(tool("echo")))["id"] == 1

    run(scenario)


def test_who_may_come_in_is_judged_here_too(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind, origins=(PAGE,)) as one, session(one) as client:
            assert (await client.post(tool("echo"), Host="evil.example")).status == 421
            assert (await client.post(tool("echo"), Origin="https://evil.example")).status == 403
            stream = http("GET", path="/sse", Origin="https://evil.example")
            assert (await ask(one.port, stream, "GET")).status == 403
            allowed = await client.post(tool("echo"), Origin=PAGE)
            assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (202, PAGE)
            asked = await ask(one.port, http("OPTIONS", path=client.endpoint, Origin=PAGE), "OPTIONS")
            assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, PAGE)
            assert (await client.stream.event())["id"] == 1

    run(scenario)


def test_without_it_there_is_nothing(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as one:
            assert (await ask(one.port, http("GET", path="/sse"), "GET")).status == 404

    run(scenario)


def test_a_client_that_leaves_takes_all_with_it(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind) as one, session(one) as client:
            await client.tell(tool("hang"))
            (kept,) = one.relay.sessions
            await until(lambda: kept.began == ["hang"])
            client.stream.leave()
            await until(lambda: len(one.relay.ended) == 1)
            assert kept.cancelled == ["hang"]
            assert (await client.post(tool("echo"))).status == 404

    run(scenario)


def test_an_idle_stream_is_kept_open(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEEP_ALIVE_COMMENT", 0.1)

    async def scenario() -> None:
        async with served(kind) as one, session(one) as client:
            assert await client.stream.event() == ":"
            assert (await client.ask(tool("echo")))["id"] == 1

    run(scenario)


def test_a_stream_on_which_nobody_speaks_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTEN", 0.1)

    async def scenario() -> None:
        async with served(kind) as one, session(one) as client:
            assert await client.stream.event() is None
            await until(lambda: len(one.relay.ended) == 1)

    run(scenario)


def test_a_client_that_reads_nothing_is_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_STALLED", 1.0)

    async def scenario() -> None:
        async with served(kind) as one, session(one) as client:
            client.stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.tell(tool("flood", pieces=2000))
            (kept,) = one.relay.sessions
            await until(lambda: kept.began == ["flood"])
            await asyncio.sleep(0.4)  # what is shown is that nothing more happens
            assert kept.written < 32 * limits.MIB
            await until(lambda: len(one.relay.ended) == 1, 10)

    run(scenario)


def test_a_slow_client_gets_answers_that_are_larger_together(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several of the largest at once are no reason to cut it, as long as it reads and they are not too many."""
    monkeypatch.setattr(limits, "CHANNEL_UNREAD", 8 * limits.MIB)

    async def scenario() -> None:
        async with served(kind, Limits(result=limits.MIB)) as one, session(one) as client:
            transport = client.stream.writer.transport
            transport.pause_reading()  # type: ignore[attr-defined]
            for id in range(6):
                await client.tell(tool("big", id, size=limits.MIB))
            (kept,) = one.relay.sessions
            await until(lambda: len(kept.finished) == 6)
            transport.resume_reading()  # type: ignore[attr-defined]
            assert [(await client.stream.event())["id"] for _ in range(6)] == list(range(6))
            transport.pause_reading()  # type: ignore[attr-defined]
            statuses = [(await client.post(tool("big", id, size=limits.MIB))).status for id in range(20)]
            assert (statuses[0], statuses[-1]) == (202, 404)
            await until(lambda: len(one.relay.ended) == 1)

    run(scenario)


def test_stopping_answers_what_is_in_flight(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind) as one, session(one) as client, connected(one.port) as late:
            await client.tell(tool("hang"))
            (kept,) = one.relay.sessions
            await until(lambda: kept.began == ["hang"])
            one.handler.drain()
            late.send(http("GET", path="/sse"))
            assert (await late.response("GET")).status == 503
            kept.release.set()
            assert (await client.stream.event())["id"] == 1
            assert await client.stream.event() is None
            await until(lambda: len(one.relay.ended) == 1)

    run(scenario)


def test_what_can_not_be_answered_in_time_is_refused(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind, Limits(drain=0.1)) as one, session(one) as client:
            await client.tell(tool("hang"))
            (kept,) = one.relay.sessions
            await until(lambda: kept.began == ["hang"])
            one.handler.drain()
            answer = await client.stream.event()
            assert (answer["id"], answer["error"]["message"]) == (1, "The proxy stopped before the answer came.")

    run(scenario)


def test_clients_are_bounded(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind, Limits(sessions=1)) as one, session(one):
            response = await ask(one.port, http("GET", path="/sse"), "GET")
            assert (response.status, response.headers["retry-after"]) == (503, "5")

    run(scenario)


def test_a_stream_that_is_over_leaves_the_connection_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client's session still says is not written into the next stream on the same connection."""
    monkeypatch.setattr(limits, "LISTEN", 0.1)

    async def scenario() -> None:
        async with served(kind) as one, connected(one.port) as stream:
            client = await Client.open(stream, one.port)
            await client.ask(initialize("2024-11-05"))
            assert await stream.event() is None
            monkeypatch.setattr(limits, "LISTEN", 3600.0)
            client = await Client.open(stream, one.port)
            one.relay.sessions[0].strays.notify(b'{"jsonrpc":"2.0","method":"stray"}')
            assert (await client.ask(initialize("2024-11-05")))["id"] == 0

    run(scenario)


def test_modern_requests_are_served_as_on_any_channel(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind) as one, connected(one.port) as stream:
            client = await Client.open(stream, one.port)
            assert (await client.ask(call("echo", 3, text="x")))["result"]["said"]["arguments"] == {"text": "x"}
            await client.tell(call("hang", 4))
            await until(lambda: one.relay.began == ["echo", "hang"])
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}}
            await client.tell(cancelled)
            await until(lambda: one.relay.cancelled == ["hang"])

    run(scenario)


def test_a_call_that_hangs_keeps_no_other(kind: str) -> None:
    async def scenario() -> None:
        async with served(kind) as one, session(one) as client:
            await client.tell(tool("hang", 1))
            async with asyncio.timeout(2):
                assert (await client.ask(tool("echo", 2)))["id"] == 2
            one.relay.sessions[0].release.set()
            assert (await client.stream.event())["id"] == 1

    run(scenario)
