"""What the HTTP client does with servers that keep to HTTP."""

import asyncio
import socket
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.responses import Response as Reply
from starlette.routing import Route

from isthmus.errors import BackFault, ConfigError
from isthmus.limits import MIB, Limits
from isthmus.transports import http_response
from isthmus.transports.http_client import HttpClient
from isthmus.version import __version__
from tests.transports.http_peers import (
    OK,
    SSE,
    Peer,
    Reader,
    Runner,
    Script,
    Writer,
    no_proxies,
    run,
    saying,
    serve,
    until,
    use,
)

__all__ = ["no_proxies", "run"]


# The request


def test_post_is_written_whole(run: Runner) -> None:
    async def scenario() -> None:
        async with serve(saying(OK)) as peer, use(peer.url + "?a=1#f", headers=[("X-Key", " k ")]) as client:
            response = await client.request("POST", b"Mcp-Method: ping\r\n", b'{"a":1}')
            assert (response.status, response.body, response.stream) == (200, b"{}", None)
            assert response.headers == {"content-type": "application/json", "content-length": "2"}
            assert peer.bodies == [b'{"a":1}']
            assert peer.heads[0].split("\r\n") == [
                "POST /mcp?a=1 HTTP/1.1",
                f"Host: 127.0.0.1:{peer.port}",
                f"User-Agent: isthmus/{__version__}",
                "Accept-Encoding: identity",
                f"Via: 1.1 {client.via}",
                "X-Key: k",
                "Accept: application/json, text/event-stream",
                "Content-Type: application/json",
                "Mcp-Method: ping",
                "Content-Length: 7",
                "",
                "",
            ]

    run(scenario)


def test_get_and_delete_have_no_body(run: Runner) -> None:
    async def scenario() -> None:
        async with serve(saying(OK)) as peer, use(peer.url) as client:
            await client.request("GET", b"")
            await client.request("DELETE", b"")
            assert "Accept: text/event-stream\r\n" in peer.heads[0]
            assert peer.heads[1].startswith("DELETE /mcp HTTP/1.1\r\n")
            assert "Content-Length" not in peer.heads[0] + peer.heads[1]

    run(scenario)


def test_user_agent_and_host_may_be_set_and_accept_may_not(run: Runner) -> None:
    async def scenario() -> None:
        headers = [("user-agent", "me/1"), ("Host", "inside"), ("accept", "text/html"), ("content-type", "text/plain")]
        async with serve(saying(OK)) as peer, use(peer.url, headers=headers) as client:
            await client.request("POST", b"", b"{}")
            assert "user-agent: me/1\r\n" in peer.heads[0] and "Host: inside\r\n" in peer.heads[0]
            assert "isthmus/" not in peer.heads[0] and "text/html" not in peer.heads[0]
            assert "text/plain" not in peer.heads[0] and "127.0.0.1" not in peer.heads[0]

    run(scenario)


@pytest.mark.parametrize(
    "header",
    [("X", "secret\r\nY: z"), ("X", "secret\n"), ("X Y", "a"), ("", "a"), ("X", "sécret"), ("Content-Length", "5")],
)
def test_header_that_cannot_be_sent(header: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        HttpClient("http://host/", name="notes", headers=[header], limits=Limits())
    assert "notes" in str(caught.value) and "cret" not in str(caught.value)


# The response


def test_repeated_headers_are_joined_and_names_lowered(run: Runner) -> None:
    async def scenario() -> None:
        answer = b"HTTP/1.1 401 X\r\nWWW-Authenticate: a\r\nWww-authenticate: b\r\nX:\r\nContent-Length: 0\r\n\r\n"
        async with serve(saying(answer)) as peer, use(peer.url) as client:
            response = await client.request("POST", b"", b"{}")
            assert response.headers == {"www-authenticate": "a, b", "x": "", "content-length": "0"}

    run(scenario)


@pytest.mark.parametrize(
    ("answer", "body", "is_kept"),
    [
        (b"/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nh\r\n1\r\ni\r\n0\r\nT: 1\r\n\r\n", b"hi", True),
        (b"/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\n" + OK, b"{}", True),
        (b"/1.1 204 No\r\n\r\n", b"", True),
        (b"/1.1 304 Same\r\nContent-Length: 50\r\n\r\n", b"", True),
        (b"/1.1 202 Yes\r\nContent-Length: 0\r\n\r\n", b"", True),
        (b"/1.1 202 Yes\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", True),
        (b"/1.1 202 Yes\r\n\r\n", b"", False),
        (b"/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", b"<html>", True),
        (b"/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"/1.1 404 No\r\nContent-Type: text/event-stream\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", b"hi", False),
        (b"/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", b"hi", False),
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_framing(answer: bytes, body: bytes, is_kept: bool, step: int, run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            text = b"HTTP" + answer
            for at in range(0, len(text), step):
                writer.write(text[at : at + step])
                await asyncio.sleep(0)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            for _ in range(2):
                response = await client.request("POST", b"", b"{}")
                assert f" {response.status}".encode() in answer
                assert (response.body, response.stream) == (body, None) and "link" not in response.headers
                if step == 1:
                    await asyncio.sleep(0.05)  # what comes too late is a surplus too
            assert peer.connections == (1 if is_kept else 2)
            assert client.statistics()[:2] == (int(is_kept), 0)

    run(scenario)


def test_body_until_the_connection_closes(run: Runner) -> None:
    async def scenario() -> None:
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000
        async with serve(saying(answer, close=True)) as peer, use(peer.url) as client:
            assert (await client.request("POST", b"", b"{}")).body == b"x" * 100_000
            assert client.statistics() == (0, 0, 1, 0)

    run(scenario)


@pytest.mark.parametrize("how", ["length", "chunked", "tiny"])
def test_big_bodies(how: str, run: Runner) -> None:
    size = MIB // 4 if how == "tiny" else 16 * MIB
    payload = bytes(range(256)) * (size // 256)

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            if how == "length":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + payload)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                step = 2 if how == "tiny" else 77_777
                for at in range(0, size, step):
                    piece = payload[at : at + step]
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                writer.write(b"0\r\n\r\n")
            await writer.drain()

    async def scenario() -> None:
        async with serve(handler, limit=1 << 25) as peer, use(peer.url, result=size) as client:
            for _ in range(2):
                response = await client.request("POST", b"", payload)
                assert response.body == payload
                assert peer.bodies.pop() == payload
            assert peer.connections == 1

    run(scenario)


def test_a_body_in_tiny_pieces_takes_little_memory(run: Runner) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 131_072 + b"0\r\n\r\n"

    async def scenario() -> None:
        async with serve(saying(answer)) as peer, use(peer.url) as client:
            tracemalloc.start()
            try:
                assert len((await client.request("POST", b"", b"{}")).body) == 262_144
                assert tracemalloc.get_traced_memory()[1] < 4 * MIB
            finally:
                tracemalloc.stop()

    run(scenario)


def test_answer_before_the_request_was_written(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        peer.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await peer.gone.wait()

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            response = await client.request("POST", b"", bytes(32 * MIB))
            assert (response.status, response.body) == (413, b"no")
            assert client.statistics().idle == 0, "the rest of the request still waits on that connection"
            peer.gone.set()

    run(scenario)


# Server-sent events


def test_events_and_reuse_after_the_end(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            writer.write(SSE.replace(b"text/event-stream", b"Text/Event-Stream ; charset=utf-8"))
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            for text in (b"id: 1\ndata: a\n\nda", b"ta: b\n\n", b"data: c\n\n"):
                writer.write(b"%x\r\n%b\r\n" % (len(text), text))
                await asyncio.sleep(0.01)
            writer.write(b"0\r\n\r\n")

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            for _ in range(3):
                response = await client.request("POST", b"", b"{}")
                assert response.stream is not None and response.body == b""
                seen = []
                while events := await response.stream.events():
                    seen += events
                assert [event.data for event in seen] == [b"a", b"b", b"c"] and seen[0].id == "1"
                assert await response.stream.events() == []
                response.stream.close()
            assert client.statistics() == (1, 0, 1, 2)
            assert peer.connections == 1

    run(scenario)


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 9\r\n"])
def test_events_of_streams_that_are_not_chunked(framing: bytes, run: Runner) -> None:
    async def scenario() -> None:
        answer = SSE + framing + b"\r\ndata: a\n\n"
        async with serve(saying(answer, close=True)) as peer, use(peer.url) as client:
            stream = (await client.request("GET", b"")).stream
            assert stream is not None
            assert [event.data for event in await stream.events()] == [b"a"]
            assert await stream.events() == []

    run(scenario)


def test_closing_a_stream_is_seen_by_the_back(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        writer.write(SSE + b"Transfer-Encoding: chunked\r\n\r\n3\r\n:\n\n\r\n")
        await peer.watch(reader)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None
            waiting = asyncio.ensure_future(stream.events())
            await asyncio.sleep(0.02)
            assert not waiting.done(), "a comment is no event"
            for _ in range(2):
                stream.close()
            assert await waiting == []
            await asyncio.wait_for(peer.gone.wait(), 2)
            assert client.statistics()[:2] == (0, 0)

    run(scenario)


def test_a_stream_that_nobody_reads_is_paused(run: Runner) -> None:
    sent = 0

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        nonlocal sent
        while await peer.read(reader):
            writer.write(SSE + b"Transfer-Encoding: chunked\r\n\r\n")
            text = b"data: " + b"x" * 9_992 + b"\n\n"
            for _ in range(4_000):
                writer.write(b"%x\r\n%b\r\n" % (len(text), text))
                await writer.drain()
                sent += len(text)
            writer.write(b"0\r\n\r\n")

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None
            (connection,) = client._sockets
            await until(lambda: connection._paused)
            assert MIB <= stream._size < 1.5 * MIB
            await asyncio.sleep(0.2)
            assert sent < 20 * MIB, "the back was not made to wait"
            count = 0
            while events := await stream.events():
                count += len(events)
            assert count == 4_000
            assert client.statistics().idle == 1 and not connection._paused
            assert (await client.request("POST", b"", b"{}")).stream is not None, "still paused"
            assert peer.connections == 1

    run(scenario)


def test_a_stream_that_ends_while_it_is_paused(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_response, "STREAM_QUEUE", 5)

    async def scenario() -> None:
        async with serve(saying(SSE + b"Content-Length: 9\r\n\r\ndata: a\n\n")) as peer, use(peer.url) as client:
            for _ in range(3):
                assert (await client.request("POST", b"", b"{}")).stream is not None
                await until(lambda: client.statistics().idle == 1)
            assert peer.connections == 1

    run(scenario)


def test_events_longer_than_half_the_queue(run: Runner) -> None:
    async def scenario() -> None:
        text = b"data: " + b"x" * (3 * MIB) + b"\n\n"
        answer = SSE + b"Content-Length: %d\r\n\r\n" % len(text) + text
        async with serve(saying(answer)) as peer, use(peer.url, result=8 * MIB) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None
            assert [len(event.data) for event in await stream.events()] == [3 * MIB]
            assert await stream.events() == []

    run(scenario)


# Redirects


def redirecting(status: int, location: str, last: str = "/there") -> Script:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            if f" {last} " in peer.heads[-1]:
                writer.write(OK)
            else:
                place = location.replace("PORT", str(peer.port)).encode()
                writer.write(b"HTTP/1.1 %d Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, place))

    return handler


@pytest.mark.parametrize("location", ["/there", "there", "//127.0.0.1:PORT/there", "http://127.0.0.1:PORT/there#f"])
@pytest.mark.parametrize(("verb", "status"), [("POST", 307), ("POST", 308), ("GET", 301), ("GET", 302), ("GET", 303)])
def test_redirects_within_the_origin(verb: str, status: int, location: str, run: Runner) -> None:
    async def scenario() -> None:
        async with serve(redirecting(status, location)) as peer, use(peer.url) as client:
            response = await client.request(verb, b"X-Mine: 1\r\n", b"{}" if verb == "POST" else b"")
            assert response.status == 200
            assert peer.heads[1].startswith(f"{verb} /there HTTP/1.1\r\n") and "X-Mine: 1" in peer.heads[1]
            assert peer.bodies == [b"{}" if verb == "POST" else b""] * 2
            assert peer.connections == 1

    run(scenario)


@pytest.mark.parametrize(
    ("verb", "status", "location", "says"),
    [
        ("POST", 307, "/mcp", "4 times in a row"),
        ("POST", 302, "/there", "status 302"),
        ("POST", 307, "http://u:secret@127.0.0.1:PORT/there", "Authorization header"),
        ("POST", 307, "http://127.0.0.1:1/there?secret", "another origin, http://127.0.0.1:1,"),
        ("POST", 307, "https://127.0.0.1:PORT/there", "another origin, https://127.0.0.1:"),
        ("GET", 301, "http://localhost:PORT/there", "another origin, http://localhost:"),
        ("GET", 303, "file:///etc/passwd", "http:// or https://"),
    ],
)
def test_redirects_that_are_not_followed(verb: str, status: int, location: str, says: str, run: Runner) -> None:
    async def scenario() -> None:
        async with serve(redirecting(status, location)) as peer, use(peer.url) as client:
            with pytest.raises(BackFault, match=says) as caught:
                await client.request(verb, b"")
            assert "notes" in caught.value.why and "secret" not in caught.value.why
            assert len(peer.heads) == (4 if "4 times" in says else 1)
            assert client.statistics()[:2] == (1, 0)

    run(scenario)


def test_other_statuses_of_the_3xx_are_answers(run: Runner) -> None:
    async def scenario() -> None:
        for status, more in ((300, b"Location: /x\r\n"), (307, b"")):
            answer = b"HTTP/1.1 %d Go\r\n%bContent-Length: 0\r\n\r\n" % (status, more)
            async with serve(saying(answer)) as peer, use(peer.url) as client:
                assert (await client.request("POST", b"", b"{}")).status == status

    run(scenario)


# A real server


@pytest.fixture
def uvicorn_port() -> Iterator[int]:
    async def answer(request: Request) -> Reply:
        body = await request.body()
        if request.method == "DELETE":
            return Reply(status_code=202)
        if request.method == "GET" or b"stream" in body:
            return StreamingResponse(stream(), media_type="text/event-stream")
        return JSONResponse({"size": len(body)})

    async def stream() -> AsyncIterator[str]:
        for number in range(100):
            yield f"event: message\r\ndata: {number}\r\n\r\n"

    app = Starlette(routes=[Route("/mcp", answer, methods=["GET", "POST", "DELETE"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        yield sock.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def test_uvicorn_and_starlette(run: Runner, uvicorn_port: int) -> None:
    async def scenario() -> None:
        async with use(f"http://127.0.0.1:{uvicorn_port}/mcp") as client:

            async def call(size: int) -> None:
                assert (await client.request("POST", b"", b"x" * size)).body == b'{"size":%d}' % size
                stream = (await client.request("POST", b"", b"stream")).stream
                assert stream is not None
                seen = []
                while events := await stream.events():
                    seen += [event.data for event in events]
                assert seen == [b"%d" % number for number in range(100)]

            await asyncio.gather(*(call(size) for size in (0, 1, 1000, 100_000, MIB, 3 * MIB)))
            assert (await client.request("DELETE", b"")).status == 202
            statistics = client.statistics()
            assert statistics.opened == 6 and statistics.idle == 6 and statistics.used == 0

    run(scenario)
