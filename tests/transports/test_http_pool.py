"""Which connection of the HTTP client serves a request, and what becomes of it."""

import asyncio
import socket

import pytest

from isthmus.errors import BackFault, BackUnavailable
from isthmus.transports import http_client
from isthmus.transports.http_client import Response
from isthmus.transports.http_stream import Connection
from tests.transports.http_peers import (
    OK,
    SSE,
    Peer,
    Reader,
    Runner,
    Writer,
    no_proxies,
    run,
    saying,
    serve,
    until,
    use,
)

__all__ = ["no_proxies", "run"]


def test_connections_are_taken_last_in_first_out(run: Runner) -> None:
    async def scenario() -> None:
        async with serve(saying(OK)) as peer, use(peer.url) as client:
            await asyncio.gather(*(client.request("POST", b"", b"{}") for _ in range(5)))
            assert client.statistics() == (5, 0, 5, 0) and peer.connections == 5
            last = client._idle[-1]
            await client.request("POST", b"", b"{}")
            assert client._idle[-1] is last and client.statistics() == (5, 0, 5, 1)

    run(scenario)


def test_calls_wait_in_turn_for_a_connection(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "POOL_CONNECTIONS", 1)
    answered: list[int] = []

    async def scenario() -> None:
        async with serve(saying(OK)) as peer, use(peer.url) as client:

            async def call(number: int) -> None:
                await client.request("POST", b"", b"%d" % number)
                answered.append(number)

            calls = [asyncio.ensure_future(call(number)) for number in range(20)]
            await asyncio.sleep(0)
            calls[5].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(client._queue) == 18
            await asyncio.gather(*calls, return_exceptions=True)
            assert answered == [number for number in range(20) if number != 5]
            assert peer.connections == 1 and not client._queue
            assert client.statistics() == (1, 0, 1, 18)

    run(scenario)


def test_a_lasting_stream_takes_no_slot(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listeners may be many and stay for hours; calls never wait for them."""
    monkeypatch.setattr(http_client, "POOL_CONNECTIONS", 1)

    async def scenario() -> None:
        async with serve(saying(OK)) as peer, use(peer.url) as client:
            for _ in range(3):
                assert (await client.request("GET", b"", lasting=True)).status == 200
            assert client.statistics().used == client.statistics().idle == 0
            assert (await client.request("POST", b"", b"{}")).status == 200
            assert peer.connections == 4
            await client.request("GET", b"", lasting=True)
            assert client.statistics().used == client.statistics().idle == 0

    run(scenario)


def test_a_slot_outlives_a_connection_that_died(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "POOL_CONNECTIONS", 1)

    async def scenario() -> None:
        async with serve(saying(OK, close=True)) as peer, use(peer.url) as client:
            answers = await asyncio.gather(
                *(client.request("POST", b"", b"{}", repeatable=True) for _ in range(5)), return_exceptions=True
            )
            assert [answer.status if isinstance(answer, Response) else answer for answer in answers] == [200] * 5
            assert peer.connections >= 5
            await until(lambda: client.statistics()[:2] == (0, 0))

    run(scenario)


def test_cancelling_whoever_was_just_given_a_connection(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "POOL_CONNECTIONS", 1)

    async def scenario() -> None:
        async with serve(saying(OK)) as peer, use(peer.url) as client:
            first = asyncio.ensure_future(client.request("POST", b"", b"1"))
            second = asyncio.ensure_future(client.request("POST", b"", b"2"))
            third = asyncio.ensure_future(client.request("POST", b"", b"3"))
            await asyncio.sleep(0)
            release = client.release

            def release_and_cancel(connection: Connection) -> None:
                release(connection)
                second.cancel()

            monkeypatch.setattr(client, "release", release_and_cancel)
            assert (await first).status == (await third).status == 200
            with pytest.raises(asyncio.CancelledError):
                await second
            assert client.statistics()[:2] == (1, 0) and peer.bodies == [b"1", b"3"]

    run(scenario)


def test_cancelling_closes_the_connection_at_once(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        await peer.watch(reader)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.request("POST", b"", b"{}")
            await asyncio.wait_for(peer.gone.wait(), 2)
            assert client.statistics() == (0, 0, 1, 0)

    run(scenario)


def test_idle_connections_are_closed(run: Runner) -> None:
    async def scenario() -> None:
        answer = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=2, max=9\r\n\r\n")
        async with serve(saying(answer)) as peer, use(peer.url) as client:
            await asyncio.gather(*(client.request("POST", b"", b"{}") for _ in range(3)))
            loop = asyncio.get_running_loop()
            assert [round(c.expires - loop.time(), 1) for c in client._idle] == [1.0] * 3
            client._idle[0].expires = 0.0
            client._idle[2].expires = 0.0
            await client.request("POST", b"", b"{}")
            assert client.statistics()[:3] == (2, 0, 3), "an expired one was not handed out"
            await until(lambda: client.statistics().idle == 0 and client._sweep is None)
            await asyncio.wait_for(peer.gone.wait(), 2)

    run(scenario)


def test_the_earliest_idle_connection_sets_the_clock(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        number = peer.connections
        while await peer.read(reader):
            writer.write(OK if number == 1 else OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=5\r\n\r\n"))

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            await asyncio.gather(*(client.request("POST", b"", b"{}") for _ in range(2)))
            assert client._sweep is not None
            assert 3 < client._sweep.when() - asyncio.get_running_loop().time() < 4.1

    run(scenario)


def test_a_connection_reset_while_idle_is_not_handed_out(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        writer.write(OK)
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            for _ in range(3):
                await client.request("POST", b"", b"{}")
                await until(lambda: not client._sockets)
                assert client.statistics()[:2] == (0, 0)

    run(scenario)


def test_a_connection_closed_while_idle_is_not_handed_out(run: Runner) -> None:
    async def scenario() -> None:
        answer = OK  # without "Connection: close": the client can't know
        async with serve(saying(answer, close=True)) as peer, use(peer.url) as client:
            for _ in range(3):
                assert (await client.request("POST", b"", b"{}")).status == 200
                await until(lambda: client.statistics().idle == 0)
            assert client.statistics() == (0, 0, 3, 0)

    run(scenario)


@pytest.mark.parametrize("repeatable", [True, False])
def test_the_race_with_a_server_that_closes_an_idle_connection(repeatable: bool, run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        first = peer.connections == 1
        if await peer.read(reader):
            writer.write(OK)
        if await peer.read(reader) and not first:
            writer.write(OK)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            await client.request("POST", b"", b"1")
            if repeatable:
                assert (await client.request("POST", b"", b"2", repeatable=True)).status == 200
                assert peer.bodies == [b"1", b"2", b"2"] and peer.connections == 2
            else:
                with pytest.raises(BackFault, match="notes closed the connection before it answered"):
                    await client.request("POST", b"", b"2")
                assert peer.bodies == [b"1", b"2"]

    run(scenario)


def test_a_fresh_connection_is_not_tried_twice(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            with pytest.raises(BackFault, match="before it answered"):
                await client.request("POST", b"", b"1", repeatable=True)
            assert peer.connections == 1

    run(scenario)


def test_closing_the_client_ends_what_is_in_flight(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "POOL_CONNECTIONS", 2)

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await peer.read(reader)
        if peer.heads[-1].startswith("GET"):
            writer.write(SSE + b"\r\n")
        await peer.watch(reader)

    async def scenario() -> None:
        async with serve(handler) as peer, use(peer.url) as client:
            stream = (await client.request("GET", b"")).stream
            assert stream is not None
            flying = asyncio.ensure_future(client.request("POST", b"", b"{}"))
            waiting = asyncio.ensure_future(client.request("POST", b"", b"{}"))
            await until(lambda: len(peer.heads) == 2)
            await client.close()
            with pytest.raises(BackFault, match="closed from this side"):
                await stream.events()
            with pytest.raises(BackFault, match="closed from this side"):
                await flying
            with pytest.raises(BackUnavailable, match="closed"):
                await waiting
            with pytest.raises(BackUnavailable, match="closed"):
                await client.request("POST", b"", b"{}")
            await client.close()

    run(scenario)
