"""What the HTTP client says about servers that don't keep to HTTP, or to anything."""

import asyncio
import gc
import socket
import time
import tracemalloc

import pytest

from isthmus.errors import BackFault, BackUnavailable
from isthmus.limits import MIB, RESPONSE_HEAD
from isthmus.transports.http_stream import Connection
from tests.transports.http_peers import (
    OK,
    SSE,
    Peer,
    Reader,
    Runner,
    Script,
    Writer,
    no_proxies,
    part,
    run,
    saying,
    serve,
    use,
)

__all__ = ["no_proxies", "run"]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def closing(*pieces: bytes) -> Script:
    """Answers a request with pieces, and closes."""

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        await part(writer)

    return handler


def endless(start: bytes, piece: bytes) -> Script:
    """Answers a request without end."""

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        writer.write(start)
        try:
            while True:
                writer.write(piece)
                await writer.drain()
        finally:
            peer.gone.set()

    return handler


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (closing(), "before it answered"),
        (closing(b"HTTP/1.1 20"), "middle of its answer"),
        (closing(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), "middle of its answer"),
        (closing(CHUNKED + b"5\r\nhal"), "middle of its answer"),
        (closing(CHUNKED + b"5\r\nwhole\r\n"), "middle of its answer"),
        (closing(b"HTTP/1.1 100 Continue\r\n\r\n"), "middle of its answer"),
        (closing(b"220 smtp.example ESMTP\r\n"), "not HTTP/1.1"),
        (closing(b"\x00\x01\x02" * 100), "not HTTP/1.1"),
        (closing(b"\x15\x03\x01\x00\x02\x02\x46"), "not HTTP/1.1"),
        (closing(b"HTTP/1.1 99 No\r\n\r\n"), "not HTTP/1.1"),
        (closing(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "not HTTP/1.1"),
        (closing(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "not HTTP/1.1"),
        (closing(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "not HTTP/1.1"),
        (closing(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "not HTTP/1.1"),
        (closing(CHUNKED + b"zz\r\n"), "not HTTP/1.1"),
        (closing(CHUNKED + b"1\r\nab\r\n"), "not HTTP/1.1"),
        (closing(CHUNKED + b"fffffffffffffffffff\r\n"), "not HTTP/1.1"),
        (closing(b"HTTP/1.1 101 Other\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nxx"), "another protocol"),
        (closing(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi"), "compressed its answer"),
        (closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi"), "transfer encoding"),
        (closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "transfer encoding"),
        (closing(b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"), "more than 1048576 bytes"),
        (closing(SSE + b"Content-Encoding: br\r\n\r\n"), "compressed its answer"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100), "bytes of headers"),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000), "bytes of headers"),
        (endless(b"HTTP/1.1 200 ", b"y" * 1000), "bytes of headers"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "bytes of headers"),
        (endless(b"", b"\r\n" * 500), "bytes of headers"),
        (endless(CHUNKED + b"1;", b"x" * 1000), "bytes of headers"),
        (endless(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 100), "bytes of headers"),
        (endless(CHUNKED + b"1\r\nx\r\n0\r\nX: ", b"y" * 1000), "bytes of headers"),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000), "more than 1048576 bytes"),
        (endless(CHUNKED, b"a\r\n0123456789\r\n" * 1000), "more than 1048576 bytes"),
        (endless(b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 70_000) + b"\r\n", b"x" * 9999), "bytes of headers"),
    ],
)
def test_faults_of_the_back(handler: Script, says: str, run: Runner) -> None:
    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            started = time.monotonic()
            with pytest.raises(BackFault, match=says) as caught:
                await client.request("POST", b"", b"{}", repeatable=True)
            assert time.monotonic() - started < 1
            assert caught.value.why.startswith("notes ") and caught.value.why.endswith(".")
            assert peer.connections == 1 and client.statistics()[:2] == (0, 0)
            await asyncio.wait_for(peer.gone.wait(), 2) if "endless" in handler.__qualname__ else None

    run(scenario)


def test_a_head_within_the_bound_is_read(run: Runner) -> None:
    async def scenario() -> None:
        answer = OK.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * (RESPONSE_HEAD - 200) + b"\r\n\r\n")
        async with serve(saying(answer)) as peer, use(peer.url) as client:
            assert (await client.request("POST", b"", b"{}")).body == b"{}"

    run(scenario)


def test_half_a_json_body_is_not_this_clients_matter(run: Runner) -> None:
    async def scenario() -> None:
        answer = OK.replace(b"Length: 2\r\n\r\n{}", b'Length: 5\r\n\r\n{"a":')
        async with serve(saying(answer)) as peer, use(peer.url) as client:
            assert (await client.request("POST", b"", b"{}")).body == b'{"a":'

    run(scenario)


def test_a_server_that_closes_after_accepting(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        writer.transport.abort()

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            for _ in range(20):
                with pytest.raises(BackFault, match="before it answered"):
                    await client.request("POST", b"", b"{}")
            assert client.statistics()[:2] == (0, 0)

    run(scenario)


def test_a_reset_in_the_middle_of_a_big_request(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await reader.read(1000)
        writer.transport.abort()

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            with pytest.raises(BackFault, match="closed the connection"):
                await client.request("POST", b"", bytes(32 * MIB))

    run(scenario)


def test_nobody_listens(run: Runner) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        async with use(f"http://127.0.0.1:{port}/mcp?secret") as client:
            with pytest.raises(BackUnavailable) as caught:
                await client.request("POST", b"", b"{}")
            assert caught.value.why == (
                f"Could not connect to notes at http://127.0.0.1:{port}: Connection refused; "
                "check that it is running and that its URL is right."
            )
            assert isinstance(caught.value.__cause__, OSError)
            assert client.statistics() == (0, 0, 0, 0)

    run(scenario)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".example"])
def test_a_name_without_address(host: str, run: Runner) -> None:
    async def scenario() -> None:
        async with use(f"http://{host}/mcp") as client:
            with pytest.raises(BackUnavailable, match=f"Could not connect to notes at http://{host}: "):
                await client.request("POST", b"", b"{}")

    run(scenario) if len(host) < 60 else None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_connecting_is_bounded(scheme: str, run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.watch(reader)

    async def scenario() -> None:
        async with serve(handler) as peer:
            port = peer.port
            with socket.socket() as full:
                if scheme == "http":
                    full.bind(("127.0.0.1", 0))
                    full.listen(0)
                    port = full.getsockname()[1]
                plugs = [socket.socket() for _ in range(3)]
                for plug in plugs:
                    plug.setblocking(False)
                    plug.connect_ex(("127.0.0.1", port))
                async with use(f"{scheme}://127.0.0.1:{port}/", connect=0.3) as client:
                    started = time.monotonic()
                    with pytest.raises(BackUnavailable, match=r"Could not connect to notes at .* within 0.3 s"):
                        await client.request("POST", b"", b"{}")
                    assert 0.25 < time.monotonic() - started < 1
                    call = asyncio.ensure_future(client.request("POST", b"", b"{}"))
                    await asyncio.sleep(0.05)
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await call
                    assert client.statistics()[:2] == (0, 0)
                for plug in plugs:
                    plug.close()

    run(scenario)


@pytest.mark.parametrize(
    ("pieces", "before"),
    [
        ((SSE + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n", b"8\r\ndata"), 1),
        ((SSE + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n",), 1),
        ((SSE + b"Content-Length: 100\r\n\r\ndata: a\n\n",), 1),
        ((SSE + b"Transfer-Encoding: chunked\r\n\r\n",), 0),
        ((SSE + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n", b"bad\r\n"), 1),
    ],
)
def test_a_stream_that_is_cut(pieces: tuple[bytes, ...], before: int, run: Runner) -> None:
    async def scenario() -> None:
        async with serve(closing(*pieces)) as peer, use(peer.url) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None
            if before:
                assert [event.data for event in await stream.events()] == [b"a"]
            with pytest.raises(BackFault, match=r"middle of its answer|not HTTP"):
                await stream.events()
            assert client.statistics()[:2] == (0, 0)

    run(scenario)


def test_a_stream_without_framing_that_is_reset(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await reader.read(10)  # the rest of the request stays unread: closing is then a reset
        writer.write(SSE + b"\r\ndata: a\n\n")
        await writer.drain()
        await peer.gone.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None and len(await stream.events()) == 1
            peer.gone.set()
            with pytest.raises(BackFault, match="middle of its answer"):
                await stream.events()

    run(scenario)


def test_an_event_without_end(run: Runner) -> None:
    async def scenario() -> None:
        async with serve(endless(SSE + b"\r\ndata: ", b"x" * 10_000)) as peer, use(peer.url) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None
            with pytest.raises(BackFault, match="notes sent an event of more than 1048576 bytes"):
                await stream.events()
            assert await stream.events() == []
            await asyncio.wait_for(peer.gone.wait(), 2)
            assert client.statistics()[:2] == (0, 0)

    run(scenario)


@pytest.mark.parametrize("piece", [b"id:1\n\n" * 2000, b"data: 1\n\n" * 2000, b"\n" * 9000, b"data:\n" * 2000])
def test_a_flood_of_events_takes_bounded_memory(piece: bytes, run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        writer.write(SSE + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(2000):
            writer.write(b"".join(b"2\r\n%b\r\n" % piece[at : at + 2] for at in range(0, len(piece), 2)))
            await writer.drain()

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None
            (connection,) = client._sockets
            tracemalloc.start()
            try:
                while not connection._paused:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                for _ in range(20):
                    await asyncio.sleep(0.005)
                assert tracemalloc.get_traced_memory()[1] < 16 * MIB
            finally:
                tracemalloc.stop()
            stream.close()

    run(scenario)


def test_a_slow_stream_is_waited_for(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        for byte in SSE + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        await peer.watch(reader)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            stream = (await client.request("POST", b"", b"{}")).stream
            assert stream is not None
            assert [event.data for event in await stream.events()] == [b"a"]
            assert await stream.events() == []
            assert client.statistics()[:2] == (1, 0)

    run(scenario)


def test_words_of_a_server_that_was_not_asked(run: Runner) -> None:
    """HAProxy says 408 on an idle connection before it closes it; that is nobody's answer."""

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        if await peer.read(reader):
            writer.write(OK)
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n")
            await peer.watch(reader)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            for _ in range(2):
                assert (await client.request("POST", b"", b"{}")).status == 200
                await asyncio.sleep(0.05)
                assert client.statistics().idle == 0
            assert peer.connections == 2

    run(scenario)


def test_cancelling_at_every_turn_leaks_nothing(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        number = peer.connections
        while await peer.read(reader):
            writer.write(SSE + b"Content-Length: 9\r\n\r\n" + b"data: a\n\n" if number % 2 else OK)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            for turns in range(60):
                call = asyncio.ensure_future(client.request("POST", b"", b"{}"))
                for _ in range(turns % 20):
                    await asyncio.sleep(0)
                call.cancel()
                done = await asyncio.gather(call, return_exceptions=True)
                stream = getattr(done[0], "stream", None)
                if stream is not None:
                    stream.close()
                assert client.statistics().used == 0
            assert client.statistics().idle <= 1

    run(scenario)


def test_nothing_but_counting_is_needed_to_free_a_connection(run: Runner) -> None:
    """Cycles would keep sockets and bodies until the collector comes by."""

    async def scenario() -> None:
        for handler in (saying(OK), closing(), closing(b"nonsense\r\n"), closing(SSE + b"\r\ndata: a\n\n")):
            gc.collect()
            gc.disable()
            try:
                async with serve(handler) as peer, use(peer.url) as client:
                    try:
                        response = await client.request("POST", b"", b"{}")
                        if response.stream is not None:
                            await response.stream.events()
                        del response
                    except BackFault:
                        pass
                for _ in range(3):
                    await asyncio.sleep(0)
                assert [thing for thing in gc.get_objects() if type(thing) is Connection] == []
            finally:
                gc.enable()

    run(scenario)
