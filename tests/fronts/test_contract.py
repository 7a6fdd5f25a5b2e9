"""What the handler does for well-behaved clients of both eras, over both shells."""

import asyncio
from typing import Any

import pytest

from isthmus import limits
from isthmus.errors import Fault
from isthmus.limits import Limits

from .echo import EchoSession
from .raw import (
    MODERN,
    ask,
    call,
    connected,
    http,
    initialize,
    is_served,
    legacy,
    modern_post,
    open_session,
    post,
    request,
)
from .shells import SHELLS, run, shell, until

pytestmark = pytest.mark.parametrize("kind", SHELLS)
PAGE = "https://app.example"
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def in_session(message: Any, id: str, **headers: str | None) -> bytes:
    return post(message, Mcp_Session_Id=id, MCP_Protocol_Version="2025-11-25", **headers)


def listen(id: str) -> bytes:
    return http("GET", Mcp_Session_Id=id, Accept="text/event-stream")


def stray(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","method":"stray","params":{"n":%d}}' % number


def test_a_modern_answer(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            response = await ask(served.port, modern_post(call("echo", "a", text="hé")))
            assert (response.status, response.headers["content-type"]) == (200, "application/json")
            assert response.json["id"] == "a"
            assert response.json["result"]["said"]["arguments"] == {"text": "hé"}
            assert {"date", "content-length"} <= set(response.headers)
            assert not {"vary", "access-control-allow-origin", "mcp-session-id"} & set(response.headers)

    run(scenario)


def test_notifications_come_before_the_answer(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            response = await ask(served.port, modern_post(call("noisy", 5)))
            assert response.headers["content-type"] == "text/event-stream"
            assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == (
                "no-cache, no-transform",
                "no",
            )
            steps = [each["params"]["progress"] for each in response.events[:-1]]
            assert (steps, response.events[-1]["id"]) == ([1, 2], 5)
            plain = await ask(served.port, modern_post(call("noisy", 5), Accept="application/json"))
            assert (plain.headers["content-type"], plain.json["id"]) == ("application/json", 5)

    run(scenario)


def test_equal_ids_of_two_modern_calls(kind: str) -> None:
    """Row 39, modern: both are answered."""

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as first:
            first.send(modern_post(call("hang", 1)))
            await until(lambda: served.relay.began)
            assert (await ask(served.port, modern_post(call("echo", 1)))).status == 200
            served.relay.release.set()
            assert (await first.response()).json["id"] == 1

    run(scenario)


def test_a_modern_notification(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            told = {"jsonrpc": "2.0", "method": "notifications/x"}
            response = await ask(served.port, post(told, MCP_Protocol_Version=MODERN))
            assert (response.status, response.body) == (202, b"")
            await until(lambda: served.relay.told == ["notifications/x"])

    run(scenario)


def test_a_legacy_session(kind: str) -> None:
    """From initialize to DELETE; afterwards the id means nothing any more."""

    async def scenario() -> None:
        async with shell(kind) as served:
            opened = await ask(served.port, post(initialize()))
            assert (opened.status, opened.json["result"]["protocolVersion"]) == (200, "2025-11-25")
            id = opened.headers["mcp-session-id"]
            session = served.relay.sessions[0]
            answer = {"jsonrpc": "2.0", "id": 4, "result": {"ok": True}}
            async with connected(served.port) as peer:
                for told in (INITIALIZED, answer):
                    response = await peer.ask(in_session(told, id))
                    assert (response.status, response.body) == (202, b"")
                assert (await peer.ask(in_session(legacy("tools/list", 7), id))).json["id"] == 7
                await until(lambda: session.told == ["notifications/initialized", answer, "tools/list"])
                noisy = await peer.ask(in_session(legacy("tools/call", 8, name="noisy"), id))
                assert [each.get("id") for each in noisy.events] == [None, None, 8]
                again = (await peer.ask(in_session(initialize(), id))).json
                assert again["error"]["code"] == -32600
                assert (await peer.ask(http("DELETE", Mcp_Session_Id=id))).status == 200
                assert (await peer.ask(in_session(legacy("tools/list"), id))).status == 404
                assert (await peer.ask(http("DELETE", Mcp_Session_Id=id))).status == 404
                assert (await peer.ask(listen(id))).status == 404
            assert served.relay.ended == [session]

    run(scenario)


def test_initialized_reaches_the_back_before_its_202(kind: str) -> None:
    """A request that follows may rely on it."""

    class Slow(EchoSession):
        async def notify(self, envelope: Any) -> None:
            await self.release.wait()
            await super().notify(envelope)

    async def scenario() -> None:
        async with shell(kind) as served:
            id = await open_session(served.port)
            session = served.relay.sessions[0]
            session.__class__ = Slow
            async with connected(served.port) as peer:
                peer.send(in_session(INITIALIZED, id))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await peer.head()
                session.release.set()
                assert (await peer.response()).status == 202
            assert session.told == ["notifications/initialized"]

    run(scenario)


def test_a_session_that_can_not_be_opened(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            served.relay.refusal = Fault("The back is not there.", status=502)
            response = await ask(served.port, post(initialize()))
            assert (response.status, response.json["id"], response.json["error"]["message"]) == (
                502,
                0,
                "The back is not there.",
            )
            assert "mcp-session-id" not in response.headers

    run(scenario)


def test_too_many_sessions(kind: str) -> None:
    """Row F21."""

    async def scenario() -> None:
        async with shell(kind, Limits(sessions=1, session_idle=0.01)) as served:
            await open_session(served.port)
            response = await ask(served.port, post(initialize()))
            assert (response.status, response.headers["retry-after"]) == (503, "5")
            over = served.handler.tick(asyncio.get_running_loop().time() + 1)
            assert over == served.relay.sessions
            await open_session(served.port)

    run(scenario)


def test_a_session_with_a_call_or_a_stream_is_not_idle(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind, Limits(session_idle=0.01)) as served:
            busy, hearing = await open_session(served.port), await open_session(served.port)
            async with connected(served.port) as first, connected(served.port) as second:
                first.send(in_session(legacy("tools/call", name="hang"), busy))
                second.send(listen(hearing))
                await second.head()
                await until(lambda: served.relay.sessions[0].began)
                later = asyncio.get_running_loop().time() + 14
                assert served.handler.tick(later) == []

    run(scenario)


def test_what_comes_before_the_stream_waits_for_it(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            id = await open_session(served.port)
            strays = served.relay.sessions[0].strays
            for number in range(limits.PENDING_STRAYS + 2):
                strays.notify(stray(number))
            assert [strays.is_open] == [False]
            async with connected(served.port) as peer:
                peer.send(listen(id))
                await peer.head()
                heard = [(await peer.event())["params"]["n"] for _ in range(limits.PENDING_STRAYS)]
                assert heard == list(range(2, limits.PENDING_STRAYS + 2))
                assert strays.is_open
                strays.notify(stray(0))
                assert (await peer.event())["params"]["n"] == 0

    run(scenario)


def test_a_stream_can_be_opened_again(kind: str) -> None:
    """As soon as the client has left, and what ends the old one leaves the new one alone."""

    async def scenario() -> None:
        async with shell(kind) as served:
            id = await open_session(served.port)
            strays = served.relay.sessions[0].strays
            for number in range(5):
                async with connected(served.port) as peer:
                    peer.send(listen(id))
                    assert (await peer.head())[0] == 200
                    strays.notify(stray(number))
                    assert (await peer.event())["params"]["n"] == number
                    peer.leave()
                await until(lambda: not strays.is_open)

    run(scenario)


def test_a_stream_ends_with_its_session(kind: str) -> None:
    """And its task with it."""

    async def scenario() -> None:
        async with shell(kind) as served:
            id = await open_session(served.port)
            async with connected(served.port) as peer:
                peer.send(listen(id))
                await peer.head()
                before = len(asyncio.all_tasks())
                assert (await ask(served.port, http("DELETE", Mcp_Session_Id=id))).status == 200
                assert await peer.event() is None
                assert (await peer.ask(modern_post(call("echo")))).status == 200
            await until(lambda: len(asyncio.all_tasks()) < before)

    run(scenario)


def test_pages_of_an_allowed_origin(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind, origins=(PAGE,)) as served:
            wanted = "content-type, mcp-session-id"
            preflight = http("OPTIONS", Origin=PAGE, Access_Control_Request_Headers=wanted)
            asked = await ask(served.port, preflight, "OPTIONS")
            assert asked.status == 204
            for response in (asked, await ask(served.port, post(initialize(), Origin=PAGE))):
                assert response.headers["access-control-allow-origin"] == PAGE
                assert response.headers["access-control-expose-headers"] == "Mcp-Session-Id, WWW-Authenticate"
                assert response.headers["vary"] == "Origin"
            assert asked.headers["access-control-allow-methods"] == "GET, POST, DELETE"
            assert asked.headers["access-control-allow-headers"] == wanted
            stream = await ask(served.port, modern_post(call("noisy"), Origin=PAGE))
            assert stream.headers["access-control-allow-origin"] == PAGE
            other = await ask(served.port, http("OPTIONS", Origin="https://other.example"), "OPTIONS")
            assert (other.status, "access-control-allow-origin" in other.headers) == (403, False)
            local = await ask(served.port, http("OPTIONS", Origin="http://localhost:3000"), "OPTIONS")
            assert (local.status, "access-control-allow-origin" in local.headers) == (405, False)

    run(scenario)


@pytest.mark.parametrize("stream", ["GET", "POST"])
def test_idle_streams_are_kept_open(kind: str, stream: str) -> None:
    """By a comment every 15 s."""

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            now = asyncio.get_running_loop().time()
            if stream == "GET":
                peer.send(listen(await open_session(served.port)))
            else:
                peer.send(modern_post(request("subscriptions/listen", 3)))
            await peer.head()
            if stream == "POST":
                assert (await peer.event())["method"] == "notifications/subscriptions/acknowledged"
            for seconds in (14, 15.1, 16, 30.2):
                served.handler.tick(now + seconds + 0.5)
            assert [await peer.event(), await peer.event()] == [":", ":"]
            assert await is_served(served.port)

    run(scenario)


def test_a_slow_call_becomes_a_stream(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer, connected(served.port) as plain:
            peer.send(modern_post(call("hang", 6)))
            plain.send(modern_post(call("hang", 7), Accept="application/json"))
            await until(lambda: len(served.relay.began) == 2)
            served.handler.tick(asyncio.get_running_loop().time() + 15)
            status, headers = await peer.head()
            assert (status, headers["content-type"]) == (200, "text/event-stream")
            assert await peer.event() == ":"
            served.relay.release.set()
            assert (await peer.event())["id"] == 6
            assert await peer.event() is None
            assert (await plain.response()).json["id"] == 7

    run(scenario)


def test_leaving_cancels_a_modern_call_and_no_legacy_one(kind: str) -> None:
    """Row F16."""

    async def scenario() -> None:
        async with shell(kind) as served:
            id = await open_session(served.port)
            session = served.relay.sessions[0]
            async with connected(served.port) as modern, connected(served.port) as old:
                modern.send(modern_post(call("hang")))
                old.send(in_session(legacy("tools/call", name="hang"), id))
                await until(lambda: served.relay.began and session.began)
                old.leave()
                modern.leave()
                await until(lambda: served.relay.cancelled == ["hang"], 0.1)
            assert await is_served(served.port)
            assert session.cancelled == []
            session.release.set()
            await until(lambda: session.finished == ["hang"])

    run(scenario)


def test_a_reader_at_a_standstill_is_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row F18: little waits for it, and not for long."""
    monkeypatch.setattr(limits, "WRITE_STALLED", 0.5)

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            peer.send(modern_post(call("flood", pieces=1000)))
            await until(lambda: served.relay.cancelled == ["flood"])
            assert served.relay.written < 16 * limits.MIB
            assert await is_served(served.port)

    run(scenario)


def test_a_slow_reader_gets_everything(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            peer.send(modern_post(call("flood", 9, pieces=200)))
            await peer.head()
            for _ in range(200):
                assert len((await peer.event())["params"]["data"]) == 64 * 1024
            assert (await peer.event())["id"] == 9

    run(scenario)


@pytest.mark.parametrize("size", [0, 70_000, 3 * limits.MIB])
def test_bodies_of_any_size(kind: str, size: int) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            for id in (1, 2):
                response = await peer.ask(modern_post(call("echo", id, text="x" * size)))
                assert len(response.json["result"]["said"]["arguments"]["text"]) == size

    run(scenario)


def test_a_bug_of_ours_is_a_500(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            response = await ask(served.port, modern_post(call("fail")))
            assert (response.status, response.json["error"]["code"]) == (500, -32603)
            assert "bug" not in response.json["error"]["message"]
            assert await is_served(served.port)

    run(scenario)


def test_listening_ends_with_a_result(kind: str) -> None:
    """2026-07-28 basic/patterns/subscriptions, Graceful Closure."""

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer, connected(served.port) as old:
            peer.send(modern_post(request("subscriptions/listen", "l-1")))
            old.send(listen(await open_session(served.port)))
            await peer.head()
            await old.head()
            assert (await peer.event())["method"] == "notifications/subscriptions/acknowledged"
            served.handler.drain()
            key = "io.modelcontextprotocol/subscriptionId"
            ended = {"resultType": "complete", "_meta": {key: "l-1"}}
            assert await peer.event() == {"jsonrpc": "2.0", "id": "l-1", "result": ended}
            assert await peer.event() is None
            assert await old.event() is None
            assert (await ask(served.port, post(initialize()))).status == 503
            await until(lambda: served.relay.cancelled == ["subscriptions/listen"])

    run(scenario)
