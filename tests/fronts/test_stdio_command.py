"""`isthmus run` on stdio, as a client sees it."""

import asyncio
import json
import os
import pty
import signal
import tty
from pathlib import Path
from typing import Any

import pytest

from .backs import ISTHMUS, isthmus
from .raw import call, initialize, legacy, request
from .shells import run


def spell(message: Any) -> bytes:
    return json.dumps(message).encode()


def peak_of(pid: int) -> int:
    """The most memory that a process has had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize("line", [b"hello", b'{"half":', spell(call("echo", 1.5)), b"\xff\xfe", b"\0" * 9])
def test_bad_lines_do_no_harm(line: bytes) -> None:
    async def scenario() -> None:
        async with isthmus() as proxy:
            proxy.line(line)
            refused = json.loads(await proxy.read())
            assert "id" not in refused and refused["error"]["code"] in (-32700, -32600)
            proxy.line(spell(call("echo", 2, a=1)))
            assert json.loads(await proxy.read())["result"]["said"] == {"a": 1}
            proxy.close()
            assert await proxy.end(3) == (0, "", "")

    run(scenario)


def test_a_line_of_17_mib_is_not_kept() -> None:
    """Row 75, with the usual bound."""

    async def scenario() -> None:
        async with isthmus() as proxy:
            proxy.line(spell(call("echo", 1, text="x" * (17 << 20))))
            refused = json.loads(await proxy.read())
            assert (refused["error"]["code"], "id" in refused) == (-32600, False)
            assert peak_of(proxy.process.pid) < 96 * 1024
            proxy.line(spell(call("echo", 2)))
            assert json.loads(await proxy.read())["id"] == 2

    run(scenario)


@pytest.mark.parametrize("stdin", ["pipe", "terminal"])
def test_it_ends_with_its_input(stdin: str) -> None:
    async def scenario() -> None:
        ours, theirs = pty.openpty() if stdin == "terminal" else (-1, asyncio.subprocess.PIPE)
        if ours >= 0:
            tty.setraw(theirs)
        async with isthmus(stdin=theirs) as proxy:
            if ours >= 0:
                os.close(theirs)
                os.write(ours, spell(call("echo", 1)) + b"\n")
                assert json.loads(await proxy.read())["id"] == 1
                os.close(ours)
            else:
                proxy.line(spell(initialize()))
                assert json.loads(await proxy.read())["id"] == 0
                proxy.close()
            assert await proxy.end(2) == (0, "", "")

    run(scenario)


def test_what_is_in_flight_is_answered_and_a_listener_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with isthmus() as proxy:
            proxy.line(spell(request("subscriptions/listen", "l")))
            assert json.loads(await proxy.read())["method"] == "notifications/subscriptions/acknowledged"
            proxy.line(spell(call("sleep", 2, seconds=3)))
            proxy.close()
            code, out, err = await proxy.end(8)
            assert [json.loads(line)["id"] for line in out.splitlines()] == ["l", 2]
            assert (code, err) == (0, "")

    run(scenario)


def test_a_legacy_call_in_flight_is_answered() -> None:
    async def scenario() -> None:
        async with isthmus() as proxy:
            for message in (initialize(), legacy("tools/call", 1, name="sleep", arguments={"seconds": 3})):
                proxy.line(spell(message))
            proxy.close()
            code, out, err = await proxy.end(8)
            assert [json.loads(line)["id"] for line in out.splitlines()] == [0, 1]
            assert (code, err) == (0, "")

    run(scenario)


@pytest.mark.parametrize("first", [call("echo", 1), initialize()], ids=["modern", "legacy"])
def test_a_target_that_fails_at_first_use(first: dict[str, Any]) -> None:
    """The call is answered with a sentence, and the command ends with 1, though its stdin is open."""

    async def scenario() -> None:
        async with isthmus(back="import sys; sys.exit('no such database')") as proxy:
            proxy.line(spell(first))
            answer = json.loads(await proxy.read())
            assert answer["id"] == first["id"]
            assert "no such database" in answer["error"]["message"]
            code, out, err = await proxy.end(5)
            assert (code, out) == (1, "")
            assert err.startswith("isthmus: ") and "Traceback" not in err

    run(scenario)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("is_used", [False, True], ids=["unused", "used"])
def test_signals(number: int, is_used: bool) -> None:
    async def scenario() -> None:
        async with isthmus() as proxy:
            proxy.line(spell(call("echo", 1)) if is_used else b"hello")
            await proxy.read()
            os.kill(proxy.process.pid, number)
            assert await proxy.end(3) == (0, "", "")

    run(scenario)


def test_a_second_signal_does_not_wait() -> None:
    async def scenario() -> None:
        async with isthmus() as proxy:
            proxy.line(spell(call("echo", 1)))
            await proxy.read()
            proxy.line(spell(call("sleep", 2, seconds=20)))
            proxy.line(spell(call("echo", 3)))
            await proxy.read()
            proxy.close()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await proxy.process.wait()
            os.kill(proxy.process.pid, signal.SIGTERM)
            code, out, err = await proxy.end(5)
            assert (code, json.loads(out)["id"], err) == (0, 2, "")

    run(scenario)


def test_nothing_else_is_printed_on_stdout(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a library prints, from Python or from C, goes to stderr."""
    folder = tmp_path_factory.mktemp("noise")
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'isthmus' in ' '.join(sys.orig_argv[:3]):\n"
        "    import atexit, os, threading\n"
        "    def say():\n"
        "        print('noise', flush=True)\n"
        "        os.write(1, b'noise\\n')\n"
        "    threading.Timer(0.7, say).start()\n"
        "    atexit.register(say)\n"
    )

    async def scenario() -> None:
        environment = {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
        process = await asyncio.create_subprocess_exec(
            ISTHMUS, "run", "http://127.0.0.1:9/mcp", env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b"hello\n")
        assert b"noise" in await process.stderr.readuntil(b"noise\nnoise\n")
        out, err = await process.communicate(b"")
        assert [json.loads(line)["error"]["code"] for line in out.splitlines()] == [-32700]
        assert (process.returncode, err.count(b"noise")) == (0, 2)

    run(scenario)


def test_a_client_that_reads_nothing_of_large_answers() -> None:
    """What waits for it is bounded, and the command ends and says why."""

    async def scenario() -> None:
        async with isthmus() as proxy:
            assert proxy.process.stdout is not None
            proxy.process.stdout._transport.pause_reading()  # type: ignore[attr-defined]
            for id in range(20):
                proxy.line(spell(call("big", id, size=15 << 20)))
            async with asyncio.timeout(20):
                await proxy.process.wait()
            proxy.process.stdout._transport.resume_reading()  # type: ignore[attr-defined]
            code, _, err = await proxy.end()
            said = [line for line in err.splitlines() if line.startswith("isthmus: ")]
            assert (code, len(said)) == (1, 1), err
            assert said[0].startswith("isthmus: The client does not read its answers and is given up")

    run(scenario)
