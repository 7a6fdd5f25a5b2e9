"""A back's process: what is heard of it, how it ends, what is left of it (nothing)."""

import asyncio
import logging
import os
import signal
import time
import tracemalloc
from pathlib import Path

import pytest

from isthmus.errors import BackFault, BackUnavailable
from isthmus.limits import LAST_WORDS, MIB, STDERR_KEPT, STOP_EOF, STOP_TERM, Limits
from isthmus.transports import process as module
from isthmus.transports.launch import Launch
from isthmus.transports.watchdog import Watchdog
from tests.transports.process_peers import (
    ECHO,
    SAY,
    STUBBORN,
    Run,
    call,
    is_there,
    python,
    run,
    running,
    signal_pipe_of_libuv,
    text,
    until,
)

__all__ = ["run", "signal_pipe_of_libuv"]

# What is heard.


def test_messages_come_back_in_order(run: Run) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(ECHO), watchdog) as (process, ear):
            for number in range(500):
                process.write(text(call(number, text="ä\u2028 ☃")))
            assert await ear.messages(500) == [call(number, text="ä\u2028 ☃") for number in range(500)]
            assert process.noise == 0
        assert ear.whys == ["The back 'b' was stopped."]

    run(scenario)


def test_large_message(run: Run) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(ECHO), watchdog) as (process, ear):
            process.write(text(call(1, text="x" * 12 * MIB)))
            await process.drain()
            assert len((await ear.messages())[0]["params"]["text"]) == 12 * MIB

    run(scenario)


def test_batch_and_crlf(run: Run) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(ECHO), watchdog) as (process, ear):
            process.write(text([call(1), call(2)]) + b"\r")
            process.write(b"")
            process.write(text(call(3)))
            assert await ear.messages(2) == [[call(1), call(2)], call(3)]
            assert process.noise == 0

    run(scenario)


def test_noise_is_skipped_counted_and_warned_of_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    noise = [b"Server listening", b"{", b"\xff\xfe", b'{"a":1}', b"17", b'{"jsonrpc":"2.0","id":null,"method":"x"}']

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(ECHO), watchdog) as (process, ear):
            for line in noise:
                process.write(line)
            process.write(text(call(1)))
            assert await ear.messages() == [call(1)]
            assert process.noise == len(noise)

    with caplog.at_level(logging.INFO, "isthmus.back.b"):
        run(scenario)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "listening" not in caplog.text


def test_overlong_line_is_skipped(run: Run) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(ECHO), watchdog, Limits(line=1000)) as (process, ear):
            process.write(text(call(1, text="x" * 100_000)))
            process.write(text(call(2)))
            assert await ear.messages() == [call(2)]
            assert process.noise == 1

    run(scenario)


@pytest.mark.parametrize(("tail", "heard", "noise"), [("{}", 1, 0), ("{", 0, 1)])
def test_last_line_without_its_end(run: Run, tail: str, heard: int, noise: int) -> None:
    rest = text({"jsonrpc": "2.0", "method": "bye", "params": {}}).decode()
    script = f"import sys; sys.stdout.write({rest if tail == '{}' else rest[:-4]!r})"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            assert "ended with exit status 0" in await ear.end()
            assert (len(ear.heard), process.noise) == (heard, noise)

    run(scenario)


def test_paused_back_waits(run: Run) -> None:
    script = SAY + "for n in range(5000): say(n=n, text='x' * 1000)\nsay(n='end')\nsys.stdin.read()"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            await ear.messages()
            process.pause_reading()
            process.pause_reading()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await ear.messages(5001)
            process.resume_reading()
            process.resume_reading()
            assert (await ear.messages(5001))[-1]["params"] == {"n": "end"}

    run(scenario)


def test_what_a_paused_back_said_last_is_heard(run: Run) -> None:
    script = SAY + "import os\nsay(n=1); sys.stdin.readline(); say(n=2); os._exit(3)"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            await ear.messages()
            process.pause_reading()
            process.write(b"{}")
            assert "exit status 3" in await ear.end(1)
            assert [message["params"]["n"] for message in ear.heard] == [1, 2]

    run(scenario)


# stderr.


def test_stderr_is_logged_line_by_line(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    script = (
        "import sys; e = sys.stderr.buffer; e.write(b'one\\r\\n\\ntw\\xffo\\n' + b'y' * 20000 + b'\\n3'); e.flush();"
        "import os; os.close(2); sys.stdin.read()"
    )

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, _):
            await until(lambda: len(caplog.records) == 4)
            assert process.is_alive

    with caplog.at_level(logging.INFO, "isthmus.back.b"):
        run(scenario)
    assert [record.getMessage() for record in caplog.records] == ["one", "tw\ufffdo", "y" * 8192 + " …", "3"]
    assert {record.levelname for record in caplog.records} == {"INFO"}


@pytest.mark.parametrize("unit", ["x", "x" * 100 + "\\n"])
def test_burst_on_stderr(run: Run, unit: str) -> None:
    """F14: 4 MB are read though nobody is interested, and little of it is kept."""
    script = (
        SAY + f"sys.stderr.write('{unit}' * (4_000_000 // len('{unit}'))); sys.stderr.flush(); say(); sys.stdin.read()"
    )

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (_, ear):
            await ear.messages()
            current, peak = tracemalloc.get_traced_memory()
            assert current < MIB
            assert peak < 2 * MIB

    tracemalloc.start()
    try:
        run(scenario)
    finally:
        tracemalloc.stop()
    stderr = module._Stderr(logging.getLogger("isthmus.back.quiet"))
    stderr.feed(b"z" * MIB)
    stderr.feed(b"z" * 10)
    assert len(stderr._tail) == STDERR_KEPT


# Its end.


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        ("sys.exit(3)", "The back 'b' ended with exit status 3; the last it said on stderr: Error: no token"),
        ("os.kill(os.getpid(), 9)", "The back 'b' was killed by SIGKILL; the last it said on stderr: Error: no token"),
        (
            "os.closerange(0, 3), os._exit(0)",
            "The back 'b' ended with exit status 0; the last it said on stderr: Error: no token",
        ),
        (
            "os.close(1), time.sleep(60)",
            "The back 'b' closed its stdout but did not end, so it is stopped;"
            " the last it said on stderr: Error: no token",
        ),
    ],
)
def test_crash(run: Run, last: str, sentence: str) -> None:
    script = (
        SAY + "import os, time\nsay(n=1)\nsys.stdin.readline()\nsay(n=2)\n"
        f"sys.stderr.write('\\x1b[31mError:\\x1b[0m no token\\n\\n'); sys.stderr.flush()\n{last}\n"
    )

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            await ear.messages()
            process.write(b"{}")
            await ear.messages(2)
            begun = time.monotonic()
            assert await ear.end() == sentence
            assert time.monotonic() - begun < 1
            assert not process.is_alive
            with pytest.raises(BackUnavailable, match="The back 'b'"):
                process.write(text(call(1)))
            await process.drain()
            process.pause_reading()
            process.resume_reading()
        assert not is_there(process.pid)

    run(scenario)


def test_back_that_is_dead_at_once(run: Run) -> None:
    """Its pipes may have closed before `start` has connected all of them, and what it said must still be heard."""
    said = b'{"jsonrpc":"2.0","method":"say"}'

    async def one(watchdog: Watchdog) -> None:
        async with running(Launch("b", ("/bin/echo", said.decode())), watchdog) as (_, ear):
            begun = time.monotonic()
            assert "ended with exit status 0" in await ear.end()
            assert time.monotonic() - begun < LAST_WORDS / 2
            assert len(ear.heard) == 1

    async def scenario(watchdog: Watchdog) -> None:
        for _ in range(20):
            await asyncio.gather(*(one(watchdog) for _ in range(5)))

    run(scenario)


def test_long_last_words_are_cut_and_silence_is_named(run: Run) -> None:
    async def scenario(watchdog: Watchdog) -> None:
        async with running(python("import sys; sys.exit('x' * 5000)"), watchdog) as (_, ear):
            assert (await ear.end()).endswith("stderr: " + "x" * 299 + "…")
        async with running(python("import os; os._exit(1)"), watchdog) as (_, ear):
            assert (await ear.end()).endswith("it said nothing on stderr, so run it by hand to see why.")

    run(scenario)


def test_stdin_that_breaks_is_an_end(run: Run) -> None:
    """EPIPE reaches the listener, not the loop's exception handler."""
    script = SAY + "import os, time\nos.close(0); say()\ntime.sleep(60)"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            await ear.messages()
            for _ in range(10):
                try:
                    process.write(b"x" * MIB)
                except BackUnavailable:
                    break
                await asyncio.sleep(0)
            assert "closed its stdin but did not end" in await ear.end(1)

    run(scenario)


def test_stdin_that_is_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STDIN_QUEUE", 3 * MIB)
    monkeypatch.setattr(module, "WRITE_STALLED", 0.05)
    monkeypatch.setattr(module, "STOP_EOF", 0.05)

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python("import time; time.sleep(60)"), watchdog) as (process, ear):
            await process.drain()
            process.write(b"x" * MIB)
            process.write(b"x" * MIB)
            with pytest.raises(BackFault, match="'b' did not read"):
                await process.drain()
            with pytest.raises(BackUnavailable, match="'b' reads nothing, 3 MiB wait for it"):
                process.write(b"x" * 2 * MIB)
            assert process.is_alive
            assert ear.whys == []
            waiter = asyncio.ensure_future(process.drain())
        await waiter

    run(scenario)


def test_drain_ends_when_there_is_room(run: Run) -> None:
    script = SAY + "say(); sys.stdin.readline(); say(); sys.stdin.read()"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            await ear.messages()
            process.write(b"x" * 8 * MIB)
            await process.drain()
            await ear.messages(2)

    run(scenario)


def test_back_that_leaves_on_eof_is_not_signalled(run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "left"
    script = SAY + f"say(); sys.stdin.read(); say(last=1); open({str(mark)!r}, 'w').close()"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            await ear.messages()
            begun = time.monotonic()
            await asyncio.gather(process.stop(), process.stop())
            assert time.monotonic() - begun < STOP_EOF / 2
            assert mark.exists()
            assert ear.heard[-1]["params"] == {"last": 1}
            assert watchdog._groups == set()

    run(scenario)


def test_stubborn_group_is_gone_after_stop(run: Run) -> None:
    """F24: EOF and SIGTERM are ignored, by the grandchild too."""

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(SAY + STUBBORN), watchdog) as (process, ear):
            pids = (await ear.messages())[0]["params"]["pids"]
            assert watchdog._groups == {process.pid}
            begun = time.monotonic()
            await process.stop()
            assert STOP_EOF + STOP_TERM <= time.monotonic() - begun < STOP_EOF + STOP_TERM + 1
            assert [pid for pid in pids if is_there(pid)] == []
            assert watchdog._groups == set()

    run(scenario)


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_grandchild_that_outlives_its_parent(run: Run, how: str) -> None:
    script = (
        SAY + "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nchild = os.fork()\n"
        "if child:\n    say(pid=child); sys.stdin.readline(); os._exit(1)\ntime.sleep(60)"
    )

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            pid = (await ear.messages())[0]["params"]["pid"]
            begun = time.monotonic()
            if how == "crash":
                process.write(b"{}")
                assert "exit status 1" in await ear.end(1)  # though the grandchild holds stdout
                assert is_there(pid)
                assert watchdog._groups == {process.pid}
            else:
                await process.stop()
            await until(lambda: not is_there(pid) and watchdog._groups == set())
            assert STOP_TERM <= time.monotonic() - begun < STOP_TERM + 1

    run(scenario)


def test_escaped_grandchild_delays_nobody(run: Run) -> None:
    """What left the group holds the pipes; it is out of reach, and must not be waited for."""
    script = (
        SAY + "import os, time\npid = os.fork()\nif pid:\n    say(pid=pid); os.read(0, 3); os._exit(0)\n"
        "os.setsid(); time.sleep(60)"
    )

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script), watchdog) as (process, ear):
            pid = (await ear.messages())[0]["params"]["pid"]
            await until(lambda: os.getpgid(pid) == pid)
            begun = time.monotonic()
            try:
                process.write(b"{}")
                process.write(b"x" * 4 * MIB)
                await ear.end(1)
                await process.stop()
            finally:
                os.kill(pid, signal.SIGKILL)
            assert time.monotonic() - begun < STOP_EOF

    run(scenario)


def test_cancelled_stop_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_EOF", 0.05)
    monkeypatch.setattr(module, "STOP_TERM", 0.05)

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(SAY + STUBBORN), watchdog) as (process, ear):
            pids = (await ear.messages())[0]["params"]["pids"]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await process.stop()
            await ear.end()
            await until(lambda: not any(map(is_there, pids)))

    run(scenario)
