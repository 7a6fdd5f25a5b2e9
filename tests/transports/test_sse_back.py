"""The back of HTTP+SSE against hand-written servers: where messages go, in which order, and how a stream ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from isthmus.errors import BackUnavailable
from isthmus.limits import Limits
from isthmus.transports import sse_back
from isthmus.transports.http_client import HttpClient
from isthmus.transports.sse_back import SseChannel
from isthmus.wire.codec import close_object
from isthmus.wire.envelope import Batch, Envelope

from .http_peers import SSE, Peer, Reader, Runner, Script, Writer, no_proxies, part, run, serve, until

__all__ = ["no_proxies", "run"]
HEAD = SSE + b"Connection: close\r\n\r\n"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 8\r\n\r\nAccepted"
ENDPOINT = b"event: endpoint\ndata: /messages?id=1\n\n"
CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.ends: list[str] = []

    def received(self, envelope: Envelope) -> None:
        assert not self.ends
        self.messages.append(json.loads(close_object(envelope.members)))

    def received_batch(self, batch: Batch) -> None:
        self.messages.append([json.loads(item) for item in batch.items])

    def lost(self, why: str) -> None:
        self.ends.append(why)


def event(data: bytes) -> bytes:
    return b"event: message\ndata: " + data + b"\n\n"


def note(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","method":"n","params":{"n":%d}}' % number


def streaming(
    *pieces: bytes,
    posts: Callable[[Peer, int], Awaitable[bytes]] | None = None,
    over: asyncio.Event | None = None,
    cut: bool = False,
) -> Script:
    """A server whose stream says `pieces` and ends with `over`; `posts` answers the POST of a number, from 0 on."""

    async def script(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            if peer.heads[-1].startswith("GET"):
                writer.write(HEAD if not cut else SSE + b"Content-Length: 9999\r\n\r\n")
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                if over is None:
                    await peer.watch(reader)
                else:
                    await over.wait()
                    await part(writer)
                return
            number = sum(head.startswith("POST") for head in peer.heads) - 1
            writer.write(await posts(peer, number) if posts is not None else ACCEPTED)

    return script


@asynccontextmanager
async def opened(script: Script, **limits: Any) -> AsyncIterator[tuple[Peer, SseChannel, Heard]]:
    """A channel to a server, and what it hears; nothing may be left of it."""
    heard, tasks = Heard(), set[asyncio.Task[None]]()

    def start(work: Any) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        return task

    async with serve(script) as peer:
        bounds = Limits(**limits)
        client = HttpClient(peer.url, name="notes", headers=[("X-Key", "k")], limits=bounds)
        try:
            channel = await sse_back.connect(client, "notes", bounds, heard, start)
            yield peer, channel, heard
            await channel.stop()
            assert len(heard.ends) == 1
            done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
            assert not [each for each in done if isinstance(each, Exception)]
        finally:
            await client.close()
            assert client.statistics()[:2] == (0, 0)


def posts_of(peer: Peer) -> list[tuple[str, bytes]]:
    return [
        (head.split()[1], body) for head, body in zip(peer.heads, peer.bodies, strict=True) if head.startswith("POST")
    ]


@pytest.mark.parametrize(
    ("named", "target"),
    [
        ("/messages?id=1", "/messages?id=1"),
        ("messages/?id=1", "/messages/?id=1"),
        ("?id=1", "/mcp?id=1"),
        ("http://127.0.0.1:{port}/deep/m?id=1", "/deep/m?id=1"),
    ],
)
def test_messages_go_where_the_endpoint_event_says(run: Runner, named: str, target: str) -> None:
    async def script(peer: Peer, reader: Reader, writer: Writer) -> None:
        said = b"event: endpoint\ndata: " + named.format(port=peer.port).encode() + b"\n\n"
        await streaming(said)(peer, reader, writer)

    async def scenario() -> None:
        async with opened(script) as (peer, channel, _):
            channel.write(CALL)
            await until(lambda: len(posts_of(peer)) == 1)
            assert posts_of(peer) == [(target, CALL)]
            get, post = peer.heads
            assert "Accept: text/event-stream\r\n" in get
            assert "X-Key: k\r\n" in get
            assert "Content-Type: application/json\r\n" in post
            assert "X-Key: k\r\n" in post

    run(scenario)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (
            streaming(b"event: endpoint\ndata: http://elsewhere.example/m\n\n"),
            "another origin, http://elsewhere.example",
        ),
        (streaming(b"event: endpoint\ndata: https://127.0.0.1/m\n\n"), "another origin, https://127.0.0.1"),
        (streaming(b"event: endpoint\ndata: ftp://x/m\n\n"), "wants messages at a URL that must begin with http"),
        (streaming(event(note(1)) + ENDPOINT), "without saying where messages are to be sent"),
        (streaming(b": hello\n\n"), "did not say within"),
    ],
)
def test_a_stream_that_names_no_usable_endpoint(
    run: Runner, script: Script, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse_back, "SSE_ENDPOINT", 0.5)

    async def scenario() -> None:
        async with serve(script) as peer:
            client = HttpClient(peer.url, name="notes", limits=Limits())
            heard = Heard()
            with pytest.raises(BackUnavailable, match=says):
                await sse_back.connect(client, "notes", Limits(), heard, asyncio.ensure_future)
            async with asyncio.timeout(5):
                await peer.gone.wait()
            assert (len(peer.heads), heard.messages, heard.ends) == (1, [], [])
            await client.close()

    run(scenario)


def test_what_is_no_stream_is_told_with_its_status(run: Runner) -> None:
    async def script(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope")

    async def scenario() -> None:
        with pytest.raises(BackUnavailable, match=r"notes answered a GET with HTTP 404 and no stream of events"):
            async with opened(script):
                pass

    run(scenario)


def test_messages_are_heard_in_their_order(run: Runner) -> None:
    """What stands in one piece with the endpoint too; comments, other events and what is no message are skipped."""
    batch = b"[" + note(3) + b"," + note(4) + b"]"
    pieces = (
        ENDPOINT + event(note(1)) + b": ping\n\n",
        b"event: ping\ndata: {}\n\n" + event(b"no JSON") + b"data: " + note(2) + b"\r\n\r\n",
        event(batch)[:9],
        event(batch)[9:],
    )

    async def scenario() -> None:
        async with opened(streaming(*pieces)) as (_, _, heard):
            await until(lambda: len(heard.messages) == 3)
            one, two, several = heard.messages
            assert [one["params"], two["params"]] == [{"n": 1}, {"n": 2}]
            assert [each["params"] for each in several] == [{"n": 3}, {"n": 4}]

    run(scenario)


def test_a_post_waits_for_the_one_before(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_back, "POST_IN_TURN", 5.0)

    async def scenario() -> None:
        answered = asyncio.Event()

        async def posts(peer: Peer, number: int) -> bytes:
            if number == 0:
                await answered.wait()
            return ACCEPTED

        async with opened(streaming(ENDPOINT, posts=posts)) as (peer, channel, _):
            for number in range(4):
                channel.write(note(number))
            await until(lambda: len(posts_of(peer)) == 1)
            await asyncio.sleep(0.05)  # what is shown is that nothing happens
            assert len(posts_of(peer)) == 1
            answered.set()
            await until(lambda: len(posts_of(peer)) == 4)
            assert [body for _, body in posts_of(peer)] == [note(number) for number in range(4)]

    run(scenario)


def test_a_post_that_is_answered_late_does_not_keep_the_others(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that answer the POST of a call when the call is done wait for the answer to a question meanwhile."""
    monkeypatch.setattr(sse_back, "POST_IN_TURN", 0.05)

    async def scenario() -> None:
        asked = asyncio.Event()

        async def posts(peer: Peer, number: int) -> bytes:
            if number == 0:
                await asked.wait()
            else:
                asked.set()
            return ACCEPTED

        async with opened(streaming(ENDPOINT, posts=posts)) as (peer, channel, heard):
            channel.write(CALL)
            channel.write(b'{"jsonrpc":"2.0","id":"q","result":{}}')
            await until(lambda: len(posts_of(peer)) == 2)
            await until(asked.is_set)
            assert heard.messages == []

    run(scenario)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (b"404 Not Found", "notes refused a message with HTTP 404. Try again"),
        (b"401 Unauthorized", "notes refused a message with HTTP 401. It wants credentials"),
        (b"500 Oops", "notes refused a message with HTTP 500."),
    ],
)
def test_a_call_whose_post_is_refused_is_answered(run: Runner, status: bytes, says: str) -> None:
    async def posts(peer: Peer, number: int) -> bytes:
        return b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"

    async def scenario() -> None:
        async with opened(streaming(ENDPOINT, posts=posts)) as (peer, channel, heard):
            channel.write(NOTE)
            channel.write(CALL)
            await until(lambda: len(heard.messages) == 1)
            (answer,) = heard.messages
            assert (answer["id"], answer["error"]["code"]) == (7, -32603)
            assert answer["error"]["message"].startswith(says)
            assert len(posts_of(peer)) == 2
            assert channel.is_alive

    run(scenario)


def test_a_call_whose_post_is_cut_is_answered(run: Runner) -> None:
    async def posts(peer: Peer, number: int) -> bytes:
        raise ConnectionError

    async def scenario() -> None:
        async with opened(streaming(ENDPOINT, posts=posts)) as (_, channel, heard):
            channel.write(CALL)
            await until(lambda: len(heard.messages) == 1)
            assert heard.messages[0]["id"] == 7
            assert "notes closed the connection" in heard.messages[0]["error"]["message"]

    run(scenario)


@pytest.mark.parametrize("cut", [False, True])
def test_the_end_of_the_stream_is_the_end_of_the_channel(run: Runner, cut: bool) -> None:
    async def scenario() -> None:
        over, hanging = asyncio.Event(), asyncio.Event()

        async def posts(peer: Peer, number: int) -> bytes:
            await hanging.wait()
            return ACCEPTED

        script = streaming(ENDPOINT, event(note(1)), posts=posts, over=over, cut=cut)
        async with opened(script) as (peer, channel, heard):
            channel.write(CALL)
            await until(lambda: len(posts_of(peer)) == 1)
            over.set()
            await until(lambda: len(heard.ends) == 1)
            said = "in the middle of its answer" if cut else "notes ended its stream of events"
            assert said in heard.ends[0]
            assert not channel.is_alive
            with pytest.raises(BackUnavailable, match="notes has just ended its stream"):
                channel.write(CALL)
            assert len(heard.messages) == 1

    run(scenario)


def test_stopping_closes_the_stream(run: Runner) -> None:
    async def scenario() -> None:
        async with opened(streaming(ENDPOINT)) as (peer, channel, heard):
            await channel.stop()
            async with asyncio.timeout(5):
                await peer.gone.wait()
            await channel.stop()
            assert heard.ends == ["The stream of events of notes was closed from this side."]

    run(scenario)


def test_what_waits_to_be_sent_is_bounded(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_back, "STDIN_QUEUE", 3 * len(CALL))

    async def scenario() -> None:
        async def posts(peer: Peer, number: int) -> bytes:
            await asyncio.Event().wait()
            return ACCEPTED

        async with opened(streaming(ENDPOINT, posts=posts)) as (_, channel, _):
            for _ in range(3):
                channel.write(CALL)
            with pytest.raises(BackUnavailable, match="notes takes no messages"):
                channel.write(CALL)
            assert channel.is_alive

    run(scenario)
