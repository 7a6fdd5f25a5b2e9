"""Connections: order, keeping alive, ending, slow clients. What uvicorn decides is run on our protocol class alone."""

import asyncio
import os
import socket

import pytest

from isthmus import limits
from isthmus.limits import Limits
from isthmus.transports.http_front.protocol import FrontProtocol

from .raw import MODERN, ask, call, connected, http, is_served, modern_post
from .shells import SHELLS, run, shell, until

QUICK = Limits(header_time=0.3, body_time=0.3, keep_alive=0.3)
both = pytest.mark.parametrize("kind", SHELLS)
ours = pytest.mark.parametrize("kind", ["protocol"])


@ours
def test_pipelined_requests_are_answered_in_order(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            names = ["hang", "echo", "noisy", "echo", "big"]
            requests = [modern_post(call(name, id, size=9)) for id, name in enumerate(names)]
            peer.send(b"".join(requests))
            await until(lambda: served.relay.began)
            served.relay.release.set()
            for id, name in enumerate(names):
                response = await peer.response()
                answer = response.events[-1] if name == "noisy" else response.json
                assert answer["id"] == id

    run(scenario)


@ours
def test_a_broken_request_is_refused_in_its_turn(kind: str) -> None:
    """What was asked before it is answered before it."""

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            peer.send(modern_post(call("hang", 1)) + modern_post(call("echo", 2)) + b"nonsense\r\n\r\n")
            await until(lambda: served.relay.began)
            served.relay.release.set()
            assert [(await peer.response()).json["id"] for _ in range(2)] == [1, 2]
            last = await peer.response()
            assert (last.status, last.headers["connection"]) == (400, "close")
            assert await peer.ended() == b""

    run(scenario)


@ours
def test_a_body_that_arrives_while_another_is_answered(kind: str) -> None:
    """Its bytes are no head's, and its time begins when its turn comes."""

    async def scenario() -> None:
        async with shell(kind, Limits(body_time=5, keep_alive=0.1)) as served, connected(served.port) as peer:
            second = modern_post(call("echo", 2, text="x" * 100_000))
            peer.send(modern_post(call("hang", 1)) + second[:500])
            await until(lambda: served.relay.began)
            served.relay.release.set()
            assert (await peer.response()).json["id"] == 1
            for at in range(500, len(second), 20_000):
                peer.send(second[at : at + 20_000])
                await asyncio.sleep(0.3)  # so that it comes in pieces, over a tick of the front's clock
            assert (await peer.response()).json["id"] == 2

    run(scenario)


@both
def test_bytes_one_at_a_time(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for id in (1, 2):
                for byte in modern_post(call("echo", id)):
                    peer.send(bytes([byte]))
                    await asyncio.sleep(0)
                assert (await peer.response()).json["id"] == id

    run(scenario)


@both
def test_connection_close(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            response = await peer.ask(modern_post(call("echo"), Connection="close"))
            assert (response.status, response.headers["connection"]) == (200, "close")
            assert await peer.ended() == b""

    run(scenario)


@both
@pytest.mark.parametrize("name", ["echo", "noisy"])
def test_http_1_0(kind: str, name: str) -> None:
    """One response, not chunked, and the connection is closed whatever it asks for."""

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            keep = {} if kind == "asgi" else {"Connection": "keep-alive"}  # uvicorn takes it at its word
            data = modern_post(call(name), **keep).replace(b"HTTP/1.1", b"HTTP/1.0")
            response = await peer.ask(data)
            is_chunked = kind == "asgi" and name != "echo"  # uvicorn's mistake
            assert (response.status, "transfer-encoding" in response.headers) == (200, is_chunked)
            assert b'"id":1' in response.body
            assert await peer.ended() == b""

    run(scenario)


@both
def test_head_has_no_body(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            response = await peer.ask(http("HEAD"), "HEAD")
            assert (response.status, response.headers["allow"]) == (405, "GET, POST, DELETE")
            assert int(response.headers["content-length"]) > 0
            assert (await peer.ask(modern_post(call("echo", 2)))).json["id"] == 2

    run(scenario)


@both
def test_expect_100_continue(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            head, body = modern_post(call("echo", 3), Expect="100-continue").split(b"\r\n\r\n")
            assert (await peer.ask(head + b"\r\n\r\n")).status == 100
            assert (await peer.ask(body)).json["id"] == 3
            assert (await peer.ask(modern_post(call("echo", 4)))).json["id"] == 4

    run(scenario)


@ours
def test_expect_100_continue_waits_its_turn(kind: str) -> None:
    """It never stands within another response; and none is sent for a body that is refused."""

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            head, body = modern_post(call("echo", 3), Expect="100-continue").split(b"\r\n\r\n")
            peer.send(modern_post(call("hang", 2)) + head + b"\r\n\r\n")
            await until(lambda: served.relay.began)
            served.relay.release.set()
            assert (await peer.response()).json["id"] == 2
            assert (await peer.response()).status == 100
            assert (await peer.ask(body)).json["id"] == 3
            large = http("POST", Content_Length=str(5 * limits.MIB), Expect="100-continue")
            assert (await peer.ask(large)).status == 413

    run(scenario)


@ours
def test_an_upgrade_is_ignored(kind: str) -> None:
    """RFC 9110 §7.8; Java's client asks for h2c in its first request."""

    async def scenario() -> None:
        async with shell(kind) as served:
            for connection, upgrade in (("Upgrade, HTTP2-Settings", "h2c"), ("Upgrade", "websocket")):
                async with connected(served.port) as peer:
                    response = await peer.ask(modern_post(call("echo", 5), Connection=connection, Upgrade=upgrade))
                    assert (response.status, response.json["id"]) == (200, 5)
                    get = await peer.ask(http("GET", Connection=connection, Upgrade=upgrade))
                    assert (get.status, get.headers["content-type"]) == (400, "application/json")
                    assert (await peer.ask(modern_post(call("echo", 6)))).json["id"] == 6

    run(scenario)


@ours
@pytest.mark.parametrize("sent", [b"", b"POST /mcp HTTP/1.1\r\nHo", b"\r\n"], ids=["nothing", "half a head", "a line"])
def test_slow_heads(kind: str, sent: bytes) -> None:
    """Rows 18 and 20. uvicorn has no such bound."""

    async def scenario() -> None:
        async with shell(kind, QUICK) as served, connected(served.port) as peer:
            peer.send(sent)
            rest = await peer.ended(3)
            assert rest.startswith(b"HTTP/1.1 408 ") if sent.strip() else rest == b""
            assert await is_served(served.port)

    run(scenario)


@ours
def test_a_head_in_a_trickle(kind: str) -> None:
    """Row 18: what counts is the whole, not each byte."""

    async def scenario() -> None:
        async with shell(kind, QUICK) as served, connected(served.port) as peer:
            peer.send(b"POST /mcp HTTP/1.1\r\n")
            ended = asyncio.ensure_future(peer.ended())
            async with asyncio.timeout(3):
                while not ended.done():
                    peer.send(b"X: y\r\n")
                    await asyncio.sleep(0.05)
            assert (await ended).startswith(b"HTTP/1.1 408 ")

    run(scenario)


@both
def test_a_body_in_a_trickle(kind: str) -> None:
    """Row 19."""

    async def scenario() -> None:
        async with shell(kind, QUICK) as served, connected(served.port) as peer:
            peer.send(http("POST", Content_Length="1000"))
            head = asyncio.ensure_future(peer.head())
            async with asyncio.timeout(3):
                while not head.done():
                    peer.send(b" ")
                    await asyncio.sleep(0.05)
            status, headers = await head
            assert (status, headers["connection"]) == (408, "close")
            assert await is_served(served.port)

    run(scenario)


@ours
def test_an_idle_connection_is_closed(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind, QUICK) as served, connected(served.port) as peer:
            assert (await peer.ask(modern_post(call("echo")))).status == 200
            assert await peer.ended(3) == b""

    run(scenario)


@ours
@pytest.mark.parametrize("size", [5_000_000, 12 * limits.MIB])
def test_an_unread_answer_is_not_kept_for_ever(kind: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not below the mark at which writing pauses, and not above. uvicorn waits for ever."""
    monkeypatch.setattr(limits, "WRITE_STALLED", 0.3)

    async def scenario() -> None:
        async with shell(kind) as served:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.setblocking(False)
                before = _sockets()
                await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", served.port))
                deaf.send(modern_post(call("big", size=size), Connection="close"))
                await until(lambda: served.relay.finished)
                assert _sockets() == before + 1
                await until(lambda: _sockets() == before)

    run(scenario)


def _sockets() -> int:
    """How many this process has open."""
    names = os.listdir("/proc/self/fd")
    return sum(_is_socket(name) for name in names)


def _is_socket(name: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    except FileNotFoundError:
        return False


@ours
def test_a_client_that_goes_on_sending_is_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused half read may be sent on for a while, not for ever."""
    monkeypatch.setattr(limits, "LINGER", 0.2)

    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            response = await peer.ask(http("POST", Content_Length=str(5 * limits.MIB)))
            assert response.status == 413
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(4):
                    while True:
                        peer.send(b" " * 1000)
                        await peer.writer.drain()
                        await asyncio.sleep(0.02)

    run(scenario)


@ours
def test_leaving_ends_what_was_asked_behind_it(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            async with connected(served.port) as peer:
                peer.send(modern_post(call("hang")))
                await until(lambda: served.relay.began)
                peer.writer.write_eof()
                await until(lambda: served.relay.cancelled == ["hang"])
            response = await ask(served.port, http("GET", MCP_Protocol_Version=MODERN))
            assert response.status == 405

    run(scenario)


@ours
def test_other_forms_of_a_target(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served, connected(served.port) as peer:
            whole = modern_post(call("echo")).replace(b" /mcp ", b" http://127.0.0.1/mcp?a=b ")
            assert (await peer.ask(whole)).status == 200
            assert (await peer.ask(http("GET", path="/other"))).status == 404
            assert (await peer.ask(http("OPTIONS", path="*"))).status == 404

    run(scenario)


@ours
def test_what_is_said_at_once_is_an_event_a_write(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head with the first, the end with the last: some clients lose progress that they read with the answer."""
    written: list[bytes] = []
    uncork = FrontProtocol.uncork

    def remember(self: FrontProtocol) -> None:
        written.extend([self._held] if self._held else [])
        uncork(self)

    monkeypatch.setattr(FrontProtocol, "uncork", remember)

    async def scenario() -> None:
        async with shell(kind) as served:
            response = await ask(served.port, modern_post(call("noisy")))
            assert [each.get("params", {}).get("progress") for each in response.events] == [1, 2, None]
        assert [text.count(b"data: ") for text in written] == [1, 1, 1]
        assert written[0].startswith(b"HTTP/1.1 200") and written[-1].endswith(b"0\r\n\r\n")

    run(scenario)
