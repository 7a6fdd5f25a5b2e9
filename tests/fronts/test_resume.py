"""Streams of legacy sessions over both shells: ids, primers, and what a client gets that comes back after a cut."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from isthmus import limits
from isthmus.limits import Limits
from isthmus.transports.http_front.replay import Replay
from isthmus.types import Port
from isthmus.wire.envelope import notification_message

from .echo import EchoSession
from .raw import Frame, Peer, ask, connected, http, legacy, open_session, post
from .shells import SHELLS, Shell, run, shell, until

both = pytest.mark.parametrize("kind", SHELLS)
OLD = "2025-06-18"
NEW = "2025-11-25"


class Streaming(EchoSession):
    """Answers when it is released; until then tests say on the call's port what they like."""

    async def _do(self, name: str, params: Any, port: Port) -> None:
        if name == "plain":
            return
        if name != "quiet":
            port.stream()
        self.__dict__.setdefault("ports", {})[name] = port
        await self.release.wait()

    def say(self, name: str, text: str) -> None:
        """A log message, on the stream of a call."""
        self.__dict__["ports"][name].notify(notification_message("notifications/message", {"data": text}))


class Client:
    """A legacy client of a shell."""

    def __init__(self, served: Shell, id: str, version: str) -> None:
        self.served = served
        self.id = id
        self.version = version
        self.session = served.relay.sessions[-1]
        self.session.__class__ = Streaming

    @property
    def streaming(self) -> Streaming:
        assert isinstance(self.session, Streaming)
        return self.session

    def call(self, name: str, id: int = 1) -> bytes:
        """A call of a tool."""
        return post(legacy("tools/call", id, name=name), Mcp_Session_Id=self.id, MCP_Protocol_Version=self.version)

    def get(self, last: str | None = None) -> bytes:
        """A GET, resuming or not."""
        return http("GET", Mcp_Session_Id=self.id, Accept="text/event-stream", Last_Event_ID=last)

    @asynccontextmanager
    async def calling(self, name: str, id: int = 1) -> AsyncIterator[Peer]:
        """A connection on which a call runs."""
        async with connected(self.served.port) as peer:
            peer.send(self.call(name, id))
            await until(lambda: name in self.session.began)
            yield peer

    @asynccontextmanager
    async def resuming(self, last: str | None) -> AsyncIterator[Peer]:
        """A connection with a GET that was accepted."""
        async with connected(self.served.port) as peer:
            peer.send(self.get(last))
            assert (await peer.head())[0] == 200
            yield peer

    async def cut(self, peer: Peer) -> None:
        """Break a connection; returns when it has been noticed."""
        streams = [kept for kept in self.served.handler._sessions[self.id].replay.tracks.values() if kept.is_open]
        peer.leave()
        await until(lambda: not all(stream.is_open for stream in streams))


@asynccontextmanager
async def client_of(kind: str, version: str = NEW, bounds: Limits | None = None) -> AsyncIterator[Client]:
    """A shell and a session."""
    async with shell(kind, bounds) as served:
        yield Client(served, await open_session(served.port, version), version)


def said(frame: Frame | None) -> Any:
    """What an event says: a log message's text, or the id that it answers."""
    assert frame is not None and frame.data
    message = json.loads(frame.data)
    return message["id"] if "id" in message else message["params"]["data"]


async def to_end(peer: Peer) -> list[Any]:
    """All that still comes on a stream, without primers."""
    frames = []
    while (frame := await peer.frame()) is not None:
        if frame.data:
            frames.append(said(frame))
    return frames


@both
def test_ids_and_primers(kind: str) -> None:
    """ "the ID MUST be globally unique across all streams within that session"; the first event primes the client."""

    async def scenario() -> None:
        async with client_of(kind) as client, client.resuming(None) as get:
            ids = [(await get.frame() or pytest.fail()).id]
            client.session.strays.notify(notification_message("notifications/message", {"data": "stray"}))
            ids.append((await get.frame() or pytest.fail()).id)
            async with client.calling("a", 1) as first, client.calling("b", 2) as second:
                for peer in (first, second):
                    status, headers = await peer.head()
                    assert (status, headers["content-type"]) == (200, "text/event-stream")
                    primer = await peer.frame()  # before the call says anything
                    assert primer is not None and primer.data == ""
                    assert primer.retry == str(int(limits.RETRY_TOLD * 1000))
                    ids.append(primer.id)
                client.streaming.say("a", "one")
                ids.append((await first.frame() or pytest.fail()).id)
                client.session.release.set()
                for peer in (first, second):
                    ids.append((await peer.frame() or pytest.fail()).id)
                    assert await peer.frame() is None
            assert all(ids) and len(set(ids)) == len(ids) == 7

    run(scenario)


@both
@pytest.mark.parametrize("version", ["2025-03-26", OLD])
def test_older_clients_get_ids_and_no_primer(kind: str, version: str) -> None:
    """Their SDKs take an event without data for a broken message."""

    async def scenario() -> None:
        async with client_of(kind, version) as client:
            async with client.resuming(None) as get, client.calling("a") as peer:
                client.session.strays.notify(notification_message("notifications/message", {"data": "stray"}))
                frames = [await get.frame()]
                client.streaming.say("a", "one")
                await peer.head()
                frames.append(await peer.frame())
                await client.cut(peer)
            assert [said(frame) for frame in frames] == ["stray", "one"]
            last = (frames[1] or pytest.fail()).id
            async with client.resuming(last) as peer:
                client.session.release.set()
                frame = await peer.frame()
                assert said(frame) == 1 and frame is not None and frame.retry is None
                assert await peer.frame() is None

    run(scenario)


@both
def test_answers_without_a_stream_and_modern_streams_have_no_ids(kind: str) -> None:
    from .raw import call, modern_post

    async def scenario() -> None:
        async with client_of(kind) as client:
            plain = await ask(client.served.port, client.call("plain", 4))
            assert (plain.headers["content-type"], plain.json["id"]) == ("application/json", 4)
            kept = client.served.handler._sessions[client.id].replay
            assert not kept.tracks
            stream = await ask(client.served.port, modern_post(call("noisy", 5)))
            assert b"id:" not in stream.body.replace(b'"id":', b"") and b"retry:" not in stream.body

    run(scenario)


@both
def test_a_call_that_takes_its_time_becomes_a_stream(kind: str) -> None:
    """Though the back does not stream: so that it can be resumed."""

    async def scenario() -> None:
        async with client_of(kind) as client:
            async with client.calling("quiet", 7) as peer:
                async with asyncio.timeout(limits.KEEP_ALIVE_COMMENT / 2):  # when any call would become one
                    assert (await peer.head())[1]["content-type"] == "text/event-stream"
                    primer = await peer.frame()
                assert primer is not None and primer.id is not None and primer.data == ""
                await client.cut(peer)
            client.session.release.set()
            async with client.resuming(primer.id) as peer:
                assert await to_end(peer) == [7]

    run(scenario)


@both
def test_a_call_goes_on_and_its_stream_is_resumed(kind: str) -> None:
    """What came while the client was away, then what comes, then the end: each once."""

    async def scenario() -> None:
        async with client_of(kind) as client:
            async with client.calling("a", 7) as peer:
                await peer.head()
                await peer.frame()
                client.streaming.say("a", "heard")
                last = await peer.frame()
                client.streaming.say("a", "unheard")
                await client.cut(peer)
            client.streaming.say("a", "away")
            assert last is not None and said(last) == "heard"
            async with client.resuming(last.id) as peer:
                assert [said(await peer.frame()) for _ in range(2)] == ["unheard", "away"]
                client.streaming.say("a", "live")
                assert said(await peer.frame()) == "live"
                client.session.release.set()
                assert await to_end(peer) == [7]
            assert (client.session.cancelled, client.session.finished) == ([], ["a"])

    run(scenario)


@both
def test_an_answer_that_was_cut_is_fetched_later(kind: str) -> None:
    """As often as it takes, and the session waits for it; after that 204 says that no more comes."""

    async def scenario() -> None:
        async with client_of(kind, bounds=Limits(session_idle=0.01)) as client:
            async with client.calling("a", 7) as peer:
                await peer.head()
                primer = await peer.frame()
                await client.cut(peer)
            client.session.release.set()
            await until(lambda: client.session.finished == ["a"])
            assert client.served.handler.tick(asyncio.get_running_loop().time() + 60) == []
            assert primer is not None
            for _ in range(2):
                async with client.resuming(primer.id) as peer:
                    answer = await peer.frame() or pytest.fail()
                    assert said(answer) == 7
                    assert await peer.frame() is None
            over = await ask(client.served.port, client.get(answer.id), "GET")
            assert (over.status, over.body) == (204, b"")
            ended: list[Any] = list(client.served.handler.tick(asyncio.get_running_loop().time() + 60))
            assert ended == [client.session]

    run(scenario)


@both
def test_an_answer_nobody_fetches_is_forgotten(kind: str) -> None:
    async def scenario() -> None:
        async with client_of(kind, bounds=Limits(session_idle=0.01)) as client:
            async with client.calling("a", 7) as peer:
                await peer.head()
                primer = await peer.frame()
                await client.cut(peer)
            client.session.release.set()
            await until(lambda: client.session.finished == ["a"])
            handler = client.served.handler
            kept = handler._sessions[client.id].replay
            later = asyncio.get_running_loop().time() + limits.REPLAY_TIME
            kept.expire(later + 1)
            refused = await ask(client.served.port, client.get((primer or pytest.fail()).id), "GET")
            assert refused.status == 400 and "Last-Event-ID" in refused.json["error"]["message"]
            ended: list[Any] = list(handler.tick(later + 1))
            assert ended == [client.session]
            assert handler._kept.used == 0

    run(scenario)


@both
def test_nothing_of_another_stream_or_session_is_replayed(kind: str) -> None:
    """Row 46."""

    async def scenario() -> None:
        async with client_of(kind) as client:
            other = Client(client.served, await open_session(client.served.port), NEW)
            async with client.resuming(None) as get, client.calling("a", 1) as first, client.calling("b", 2) as second:
                await get.frame()
                client.session.strays.notify(notification_message("notifications/message", {"data": "stray"}))
                await get.frame()
                for peer in (first, second):
                    await peer.head()
                primer = await first.frame()
                client.streaming.say("a", "of a")
                client.streaming.say("b", "of b")
                await client.cut(first)
                last = (primer or pytest.fail()).id
                async with client.resuming(last) as peer:
                    assert said(await peer.frame()) == "of a"
                    client.session.release.set()
                    assert await to_end(peer) == [1]
                other.session.release.set()
                for number in range(3):  # it has streams of the same numbers
                    assert b"id: " in (await ask(other.served.port, other.call("a", number))).body
                for stranger in (last, "1-1", "x", "-", f"{last}-1", "a" * 300, f"{last}9", f"{(last or '')[:-1]}0"):
                    response = await ask(other.served.port, other.get(stranger), "GET")
                    assert response.status == 400 and "of a" not in response.body.decode()
                unborn = (last or "").rpartition("-")[0] + "-99"
                assert (await ask(client.served.port, client.get(unborn), "GET")).status == 400

    run(scenario)


@both
def test_the_session_s_own_stream_is_resumed_and_replaced(kind: str) -> None:
    """Row 45: without an id the second GET is refused and the first untouched, with one it takes over."""

    async def scenario() -> None:
        async with client_of(kind) as client, client.resuming(None) as first:
            strays = client.session.strays

            def tell(text: str) -> None:
                strays.notify(notification_message("notifications/message", {"data": text}))

            primer = await first.frame()
            tell("one")
            assert said(await first.frame()) == "one"
            assert (await ask(client.served.port, client.get(), "GET")).status == 409
            tell("two")
            two = await first.frame()
            assert said(two) == "two"
            async with client.resuming((primer or pytest.fail()).id) as second:
                assert await first.frame() is None
                assert [said(await second.frame()) for _ in range(2)] == ["one", "two"]
                tell("three")
                assert said(await second.frame()) == "three"
                await client.cut(second)
            tell("four")  # waits for whoever comes
            async with client.resuming((two or pytest.fail()).id) as third:
                assert [said(await third.frame()) for _ in range(2)] == ["three", "four"]
                await client.cut(third)
            tell("five")
            async with client.resuming(None) as fourth:
                await until(lambda: strays.is_open)
                assert said(await fourth.frame()) == "five"

    run(scenario)


@both
def test_a_stream_is_taken_over_before_the_cut_is_noticed(kind: str) -> None:
    """The client knows first; the connection that is left can serve something else."""

    async def scenario() -> None:
        async with client_of(kind) as client, client.calling("a", 7) as old:
            await old.head()
            primer = await old.frame()
            client.streaming.say("a", "one")
            assert said(await old.frame()) == "one"
            async with client.resuming((primer or pytest.fail()).id) as new:
                assert await to_end(old) == []
                assert (await old.ask(client.call("plain", 8))).json["id"] == 8
                assert said(await new.frame()) == "one"
                client.streaming.say("a", "two")
                client.session.release.set()
                assert await to_end(new) == ["two", 7]
            assert (await old.ask(client.call("plain", 9))).json["id"] == 9

    run(scenario)


@both
def test_a_stream_that_is_cut_again_and_again(kind: str) -> None:
    """Each time the client has an id to come back with, though nothing has been said since."""

    async def scenario() -> None:
        async with client_of(kind) as client:
            async with client.calling("a", 7) as peer:
                await peer.head()
                last = (await peer.frame() or pytest.fail()).id
                await client.cut(peer)
            for _ in range(3):
                async with client.resuming(last) as peer:
                    primer = await peer.frame()
                    assert primer is not None and primer.data == "" and primer.id != last
                    last = primer.id
                    await client.cut(peer)
            async with client.resuming(last) as peer:
                client.session.release.set()
                assert await to_end(peer) == [7]

    run(scenario)


@both
def test_a_cancelled_call_s_stream_is_over(kind: str) -> None:
    """A client that reconnects after its own cancellation is told to stop."""

    async def scenario() -> None:
        async with client_of(kind) as client, client.calling("a", 7) as peer:
            await peer.head()
            last = (await peer.frame() or pytest.fail()).id
            client.streaming.__dict__["ports"]["a"].abandon()
            assert await to_end(peer) == []
            assert (await ask(client.served.port, client.get(last), "GET")).status == 204

    run(scenario)


@both
def test_a_slow_reader_catches_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may wait unread is replayed at the reader's pace, what comes meanwhile after it."""

    async def scenario() -> None:
        async with client_of(kind, bounds=Limits(unread=65536, result=512 * 1024)) as client:
            async with client.calling("a", 7) as peer:
                await peer.head()
                last = (await peer.frame() or pytest.fail()).id
                await client.cut(peer)
            for number in range(100):
                client.streaming.say("a", f"{number}".ljust(100_000))
            async with connected(client.served.port) as peer:
                peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                peer.send(client.get(last))
                await until(lambda: any(each.is_open for each in kept.tracks.values()))
                client.streaming.say("a", "live")
                client.session.release.set()
                await until(lambda: client.session.finished == ["a"])
                peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
                assert (await peer.head())[0] == 200
                heard = await to_end(peer)
                assert [str(each).strip() for each in heard] == [*map(str, range(100)), "live", "7"]

    async def main() -> None:
        await scenario()

    kept: Replay[Any]
    original = Replay.__init__

    def remember(self: Replay[Any], *args: Any) -> None:
        nonlocal kept
        original(self, *args)
        kept = self

    monkeypatch.setattr(Replay, "__init__", remember)
    run(main)


@both
def test_what_is_too_much_goes_oldest_first(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is still sent: an answer is worth more than a gap is harmful."""
    import isthmus.transports.http_front.replay as module

    monkeypatch.setattr(module, "REPLAY_EVENTS", 3)

    async def scenario() -> None:
        async with client_of(kind) as client:
            async with client.calling("a", 7) as peer:
                await peer.head()
                last = (await peer.frame() or pytest.fail()).id
                await client.cut(peer)
            for number in range(5):
                client.streaming.say("a", str(number))
            client.session.release.set()
            await until(lambda: client.session.finished == ["a"])
            assert client.served.handler._sessions[client.id].replay.dropped == 3
            async with client.resuming(last) as peer:
                assert await to_end(peer) == ["3", "4", 7]

    run(scenario)


@both
def test_nothing_is_kept_of_a_session_that_ended(kind: str) -> None:
    async def scenario() -> None:
        async with client_of(kind) as client:
            async with client.calling("a", 7) as peer:
                await peer.head()
                client.streaming.say("a", "one")
                await client.cut(peer)
            handler = client.served.handler
            kept = handler._sessions[client.id].replay
            assert handler._kept.used > 0 and kept.tracks
            deleted = http("DELETE", Mcp_Session_Id=client.id)
            assert (await ask(client.served.port, deleted, "DELETE")).status == 200
            client.streaming.say("a", "two")
            client.session.release.set()
            await until(lambda: client.session.finished == ["a"])
            assert handler._kept.used == 0 and not kept.tracks

    run(scenario)
