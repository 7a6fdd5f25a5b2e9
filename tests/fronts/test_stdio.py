"""The stdio front in this process: what it answers to bad lines, and in which order it passes on good ones."""

import asyncio
import fcntl
import json
import os
import pty
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.errors import Fault
from isthmus.limits import Limits
from isthmus.transports.stdio_front import StdioFront

from .echo import EchoRelay
from .raw import call, initialize, legacy, request
from .shells import Owner, run, until

PARSE, INVALID = -32700, -32600
CALL = json.dumps(call("echo", 1)).encode()
HELLO = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Client:
    """The other side of a front: writes lines, reads lines."""

    def __init__(self, relay: EchoRelay, front: StdioFront, write: int, reader: asyncio.StreamReader) -> None:
        self.relay = relay
        self.front = front
        self._write: int | None = write
        self._reader = reader
        self.serving: asyncio.Task[None] | None = None

    def send(self, *messages: Any, end: bytes = b"\n") -> None:
        """Send messages, or lines that are none, in one piece."""
        texts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in messages]
        data = end.join([*texts, b""])
        assert self._write is not None
        assert os.write(self._write, data) == len(data)

    async def read(self) -> Any:
        """The next message."""
        async with asyncio.timeout(5):
            return json.loads(await self._reader.readline())

    def close(self) -> None:
        """Send nothing more."""
        if self._write is not None:
            os.close(self._write)
            self._write = None

    async def end(self, bound: float = 2.0) -> list[Any]:
        """Send nothing more; what still comes."""
        self.close()
        async with asyncio.timeout(bound):
            lines = (await self._reader.read()).splitlines()
            assert self.serving is not None
            await self.serving
        return [json.loads(line) for line in lines]


@asynccontextmanager
async def client(bounds: Limits | None = None, stdin: int | None = None) -> AsyncIterator[Client]:
    """A client over two pipes, or over another stdin and a pipe."""
    relay, owner = EchoRelay(bounds), Owner()
    front = StdioFront(relay, owner.start)
    front_in, write = os.pipe() if stdin is None else (stdin, os.open(os.devnull, os.O_WRONLY))
    if stdin is None:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, limits.MIB)
    read, front_out = os.pipe()
    reader = asyncio.StreamReader(limit=1 << 26)
    pipe = os.fdopen(read, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    it = Client(relay, front, write, reader)
    it.serving = owner.start(front.serve(front_in, front_out))
    try:
        yield it
    finally:
        it.close()
        front.stop()
        front.stop()
        async with asyncio.timeout(5):
            await it.serving
        transport.close()
        if stdin is None:
            os.close(front_in)
        await until(lambda: not owner.running)
    assert not owner.failures, owner.failures


BAD_LINES = [
    ("71 no JSON", b"hello", PARSE),
    ("71 NUL", b'{"jsonrpc":"2.0",\0"id":1,"method":"x"}', PARSE),
    ("71 half an object", b'{"jsonrpc":"2.0","id":1,', PARSE),
    ("72 no UTF-8", CALL.replace(b'"echo"', b'"ec\xffho"'), PARSE),
    ("73 two objects", CALL + CALL, PARSE),
    ("73 two objects, apart", CALL + b" " + CALL, PARSE),
    ("77 id null", json.dumps(call("echo", None)).encode(), INVALID),
    ("77 id 1.5", json.dumps(call("echo", 1.5)).encode(), INVALID),
    ("34 a number", b"42", INVALID),
    ("65 batch", json.dumps([call("echo", 1)]).encode(), INVALID),
]


@pytest.mark.parametrize(("line", "code"), [row[1:] for row in BAD_LINES], ids=[row[0] for row in BAD_LINES])
def test_bad_lines(line: bytes, code: int) -> None:
    async def scenario() -> None:
        async with client() as it:
            it.send(line)
            refused = await it.read()
            assert (refused["error"]["code"], "id" in refused) == (code, False)
            assert it.relay.began == []
            it.send(call("echo", 2))
            assert (await it.read())["id"] == 2

    run(scenario)


def test_older_clients_get_no_unaddressed_error(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with client() as it:
            it.send(initialize("2025-06-18"))
            await it.read()
            it.send(b"hello", legacy("tools/list", 2))
            assert (await it.read())["id"] == 2
        assert "a message was refused" in capfd.readouterr().err

    run(scenario)


def test_a_line_that_is_too_long() -> None:
    """Row 75: it is not kept."""

    async def scenario() -> None:
        async with client(Limits(line=1000)) as it:
            it.send(call("echo", 1, text="x" * 100_000), call("echo", 2))
            refused = await it.read()
            assert (refused["error"]["code"], "id" in refused) == (INVALID, False)
            assert (await it.read())["id"] == 2

    run(scenario)


def test_odd_lines_that_are_good() -> None:
    """Row 76."""

    async def scenario() -> None:
        text = "a\u2028b\u0085c"
        line = json.dumps(call("echo", 1, text=text), ensure_ascii=False).encode()
        async with client() as it:
            it.send(b"", line, b"  ", end=b"\r\n")
            assert (await it.read())["result"]["said"]["arguments"] == {"text": text}
            assert await it.end() == []

    run(scenario)


@pytest.mark.parametrize("rest", [CALL, b'{"half":'], ids=["whole", "half"])
def test_an_end_without_a_line_break(rest: bytes) -> None:
    """Row 79."""

    async def scenario() -> None:
        async with client() as it:
            it.send(rest, end=b"")
            (answer,) = await it.end()
            if rest == CALL:
                assert answer["id"] == 1
            else:
                assert answer["error"]["code"] == PARSE

    run(scenario)


def test_order_is_kept() -> None:
    """Of what comes before the session is open, while it opens, and after."""

    async def scenario() -> None:
        async with client() as it:
            early = [HELLO, legacy("a", 1), {"jsonrpc": "2.0", "method": "b"}, legacy("c", 2)]
            it.send(initialize(), *early)
            assert [(await it.read())["id"] for _ in range(3)] == [0, 1, 2]
            it.send(*(legacy(f"m{n}", n) if n % 2 else {"jsonrpc": "2.0", "method": f"m{n}"} for n in range(100)))
            for n in range(1, 100, 2):
                assert (await it.read())["id"] == n
            told = it.relay.sessions[0].told
            assert told == ["notifications/initialized", "a", "b", "c", *(f"m{n}" for n in range(100))]

    run(scenario)


def test_a_session_that_can_not_be_opened() -> None:
    async def scenario() -> None:
        async with client() as it:
            it.relay.refusal = Fault("The back is not there.")
            it.send(initialize(), HELLO, legacy("tools/list", 1))
            assert (await it.read())["error"]["message"] == "The back is not there."
            assert "The back is not there." in (await it.read())["error"]["message"]
            it.relay.refusal = None
            it.send(initialize(), legacy("tools/list", 2))
            assert [(await it.read())["id"] for _ in range(2)] == [0, 2]

    run(scenario)


def test_requests_out_of_place() -> None:
    async def scenario() -> None:
        async with client() as it:
            it.send(legacy("tools/list", 1), legacy("ping", 2))
            assert [(await it.read())["error"]["code"] for _ in range(2)] == [INVALID, INVALID]
            it.send(initialize(), initialize(), legacy("server/discover", 3))
            answers = {answer["id"]: answer for answer in [await it.read() for _ in range(3)]}
            assert set(answers) == {0, 3}

    run(scenario)


def test_a_modern_call_is_cancelled_by_its_id() -> None:
    """And by nothing else; nothing more is sent for it, and its id is free again."""

    async def scenario() -> None:
        async with client() as it:
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled"}
            it.send(call("hang", 0), call("hang", 1))
            await until(lambda: it.relay.began == ["hang", "hang"])
            it.send(call("echo", 0))
            assert (await it.read())["error"]["code"] == INVALID
            odd: list[Any] = [None, True, "0", {}, 7]
            it.send(cancel, *(cancel | {"params": {"requestId": each}} for each in odd))
            it.send(cancel | {"params": {"requestId": 1.0}})
            await until(lambda: it.relay.cancelled == ["hang"])
            it.send(call("echo", 1))
            assert (await it.read())["id"] == 1
            it.relay.release.set()
            assert (await it.read())["id"] == 0
            assert it.relay.finished == ["echo", "hang"]

    run(scenario)


def test_what_is_in_flight_at_the_end_is_answered() -> None:
    """Listening is answered too: it would never end."""

    async def scenario() -> None:
        async with client() as it:
            it.send(call("hang", 1), request("subscriptions/listen", 2))
            await until(lambda: len(it.relay.began) == 2)
            assert (await it.read())["method"] == "notifications/subscriptions/acknowledged"
            it.close()
            ended = await it.read()
            assert (ended["id"], ended["result"]["resultType"]) == (2, "complete")
            it.relay.release.set()
            assert [each["id"] for each in await it.end()] == [1]

    run(scenario)


def test_what_is_not_answered_in_time_fails() -> None:
    async def scenario() -> None:
        async with client(Limits(drain=0.2)) as it:
            it.send(initialize(), call("hang", 1), legacy("tools/call", 2, name="hang"))
            await it.read()
            answers = await it.end()
            assert {each["id"]: each["error"]["code"] for each in answers} == {1: -32603, 2: -32603}

    run(scenario)


def test_a_second_stop_does_not_wait() -> None:
    async def scenario() -> None:
        async with client() as it:
            it.send(call("hang", 1))
            await until(lambda: it.relay.began)
            it.front.stop()
            it.front.stop()
            assert [each["id"] for each in await it.end()] == [1]

    run(scenario)


def test_batches_of_their_revision() -> None:
    async def scenario() -> None:
        async with client() as it:
            it.send(initialize("2025-03-26"))
            assert (await it.read())["id"] == 0
            it.send([legacy("a", 1), HELLO, legacy("b", 2), {"jsonrpc": "2.0", "id": 3, "method": 5}, [4]])
            answers = await it.read()
            assert len(answers) == 4
            assert {each["id"] for each in answers if "result" in each} == {1, 2}
            it.send([HELLO], legacy("c", 4))
            assert (await it.read())["id"] == 4

    run(scenario)


def test_a_client_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little waits for it, and not for long."""
    monkeypatch.setattr(limits, "WRITE_STALLED", 0.2)
    monkeypatch.setattr(limits, "STOP_EOF", 0.2)

    async def scenario() -> None:
        async with client() as it:
            it._reader._transport.pause_reading()  # type: ignore[attr-defined]
            it.send(call("flood", 1, pieces=1000))
            assert it.serving is not None
            async with asyncio.timeout(3):
                await it.serving
            assert it.relay.cancelled == ["flood"]
            assert it.relay.written < 4 * limits.MIB

    run(scenario)


@pytest.mark.parametrize(
    ("name", "value", "why"), [("CHANNEL_UNREAD", 4 * limits.MIB, "4 MiB wait"), ("WRITE_STALLED", 0.2, "read nothing")]
)
def test_a_client_that_reads_nothing_of_what_nobody_holds_back(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float, why: str
) -> None:
    """Neither without end nor for ever, and the operator is told."""
    monkeypatch.setattr(limits, name, value)

    async def scenario() -> None:
        async with client() as it:
            it._reader._transport.pause_reading()  # type: ignore[attr-defined]
            it.send(*(call("big", id, size=limits.MIB) for id in range(9)))
            assert it.serving is not None
            async with asyncio.timeout(3):
                await it.serving
            assert why in it.front.why_lost

    run(scenario)


def test_a_slow_client_is_asked_for_no_more_than_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much waits, one that reads is served to the end; its next requests are left in its pipe meanwhile."""
    monkeypatch.setattr(limits, "STDIN_QUEUE", 4 * limits.MIB)
    monkeypatch.setattr(limits, "WRITE_STALLED", 0.5)

    async def scenario() -> None:
        async with client() as it:
            reading = it._reader._transport  # type: ignore[attr-defined]
            reading.pause_reading()
            it.send(*(call("big", id, size=limits.MIB) for id in range(9)))
            await until(lambda: len(it.relay.finished) == 9)
            it.send(call("echo", 9))
            fd = reading.get_extra_info("pipe").fileno()
            os.set_blocking(fd, False)
            taken = b""
            while taken.count(b"\n") < 4:  # far longer than WRITE_STALLED, and then still more than a MiB waits
                assert it.relay.began == ["big"] * 9
                with suppress(BlockingIOError):
                    taken += os.read(fd, 100_000)
                await asyncio.sleep(0.02)
            reading.resume_reading()
            it.close()
            async with asyncio.timeout(10):
                taken += await it._reader.read()
            assert [json.loads(line)["id"] for line in taken.splitlines()] == list(range(10))
            assert it.front.why_lost == ""

    run(scenario)


def test_a_slow_client_gets_everything_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it reads on, no time is too long for it."""
    monkeypatch.setattr(limits, "STOP_EOF", 0.2)

    async def scenario() -> None:
        async with client() as it:
            it._reader._transport.pause_reading()  # type: ignore[attr-defined]
            it.send(call("big", 1, size=3 * limits.MIB))
            await until(lambda: it.relay.finished)
            it.close()
            taken = b""
            fd = it._reader._transport.get_extra_info("pipe").fileno()  # type: ignore[attr-defined]
            os.set_blocking(fd, False)
            while not taken.endswith(b"\n"):
                with suppress(BlockingIOError):
                    taken += os.read(fd, 400_000)
                await asyncio.sleep(0.05)
            assert json.loads(taken)["id"] == 1

    run(scenario)


def test_a_client_that_closes_its_ear() -> None:
    """The front ends, though nothing was waiting to be written and stdin is still open."""

    async def scenario() -> None:
        async with client() as it:
            it.send(call("hang", 1))
            await until(lambda: it.relay.began)
            it._reader._transport.close()  # type: ignore[attr-defined]
            assert it.serving is not None
            async with asyncio.timeout(2):
                await it.serving
            assert it.relay.cancelled == ["hang"]

    run(scenario)


def test_stdin_as_a_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "lines"
        path.write_bytes(b"\n".join(json.dumps(call("echo", id, text="x" * 1000)).encode() for id in range(1000)))
        fd = os.open(path, os.O_RDONLY)
        try:
            async with client(stdin=fd) as it:
                assert [each["id"] for each in await it.end()] == list(range(1000))
        finally:
            os.close(fd)

    run(scenario)


def test_stdin_as_a_terminal() -> None:
    """One that is closed says EIO, and that is an end."""

    async def scenario() -> None:
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        try:
            async with client(stdin=theirs) as it:
                os.write(ours, CALL + b"\n")
                assert (await it.read())["id"] == 1
                os.close(ours)
                assert await it.end() == []
        finally:
            os.close(theirs)

    run(scenario)
