"""How a back's process is started: what it is given, and what is said when it can't be."""

import asyncio
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.errors import BackUnavailable
from isthmus.limits import MIB, Limits
from isthmus.transports.launch import Launch
from isthmus.transports.process import Process
from isthmus.transports.watchdog import Watchdog
from tests.transports.process_peers import (
    ECHO,
    SAY,
    Ear,
    Run,
    call,
    is_there,
    python,
    run,
    running,
    signal_pipe_of_libuv,
    text,
)

__all__ = ["run", "signal_pipe_of_libuv"]


def test_environment_is_not_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_SECRET", "s")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("TMPDIR", "() { :; }")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    script = SAY + "import os; say(env=dict(os.environ)); sys.stdin.read()"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script, env={"TOKEN": "t=1", "HOME": "/h"}), watchdog) as (_, ear):
            env = (await ear.messages())[0]["params"]["env"]
            assert (env["TOKEN"], env["HOME"], env["LC_TIME"]) == ("t=1", "/h", "C")
            assert env["PATH"] == os.environ["PATH"]
            assert {name for name in env if not name.startswith("LC_")} <= {
                *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TZ", "USER", "TOKEN")
            }

    run(scenario)
    assert "t=1" not in repr(python(script, env={"TOKEN": "t=1"}))


def test_argv_directory_and_descriptors(run: Run, tmp_path: Path) -> None:
    """No shell touches the arguments, and nothing of ours is inherited but the pipes."""
    args = ["$(id)", "`id`", "a b", "; rm -rf x", "*", "", "'\"\\", "é\n"]
    script = SAY + (
        "import os\nsay(argv=sys.argv[1:], cwd=os.getcwd(), group=os.getpgrp(), session=os.getsid(0),"
        " fds=[fd for fd in range(3, 200) if os.path.exists(f'/proc/self/fd/{fd}')]); sys.stdin.read()"
    )

    directory = os.path.realpath(tmp_path)

    async def scenario(watchdog: Watchdog) -> None:
        async with running(python(script, *args, cwd=str(tmp_path)), watchdog) as (process, ear):
            said = (await ear.messages())[0]["params"]
            assert said["argv"] == args
            assert said["cwd"] == directory
            assert said["group"] == said["session"] == process.pid
            assert said["fds"] == []

    run(scenario)


def test_what_can_not_be_started(run: Run, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("echo")
    orphan = tmp_path / "orphan"
    orphan.write_text("#!/no/such/interpreter\n")
    orphan.chmod(0o755)
    blob = tmp_path / "blob"
    blob.write_bytes(b"\x00\x01\x02")
    blob.chmod(0o755)
    cases: list[tuple[Launch, str]] = [
        (Launch("b", ("no-such-command",)), "'no-such-command' is not on the PATH; install it"),
        (Launch("b", ("/no/such",)), "'/no/such' does not exist; install it, or correct the path"),
        (Launch("b", (str(plain),)), "is not executable; make it so with chmod"),
        (Launch("b", (str(tmp_path),)), "is a directory; name the program in it"),
        (Launch("b", (str(orphan),)), "names does not exist; install it"),
        (Launch("b", (str(blob),)), "is no program for this machine"),
        (Launch("b", (sys.executable,), cwd="/no/dir"), "its directory '/no/dir' does not exist; create it"),
        (Launch("b", (sys.executable, "x" * 4 * MIB)), "are too long for the system; shorten them"),
        (Launch("b", ()), "it has no command"),
        (Launch("b", (sys.executable, "a\0b")), "there is a NUL character"),
        (Launch("b", (sys.executable,), env={"A=B": "c"}), "a name with '=' in it"),
    ]

    async def scenario(watchdog: Watchdog) -> None:
        for launch, words in cases:
            ear = Ear()
            with pytest.raises(BackUnavailable) as caught:
                await Process.start(launch, Limits(), watchdog, ear)
            assert caught.value.why.startswith("The back 'b' could not be started: ")
            assert words in caught.value.why
            assert ear.whys == []
        assert watchdog._helper is None

    run(scenario)


def test_no_room_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """F20: fork fails; the sentence names the limit."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    async def scenario() -> None:
        with pytest.raises(BackUnavailable, match=r"allows no more processes now; call again later.*ulimit -u"):
            await Process.start(python(ECHO), Limits(), Watchdog(), Ear())

    monkeypatch.setattr(subprocess, "Popen", refuse)
    asyncio.run(scenario())


@pytest.mark.parametrize("steps", range(8))
def test_cancelled_start_leaves_nothing(run: Run, steps: int, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    async def scenario(watchdog: Watchdog) -> None:
        ear = Ear()
        start = asyncio.ensure_future(Process.start(python(script), Limits(), watchdog, ear))
        for _ in range(steps):
            await asyncio.sleep(0)
        start.cancel()
        await asyncio.wait([start])
        if start.cancelled():
            assert ear.whys == []
        else:
            await start.result().stop()
        assert watchdog._groups == set()
        assert not mark.exists() or not is_there(int(mark.read_text() or 0))

    run(scenario)


def test_node_speaks_too(run: Run) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("There is no node.")
    script = "process.stdin.pipe(process.stdout)"

    async def scenario(watchdog: Watchdog) -> None:
        async with running(Launch("n", (node, "-e", script)), watchdog) as (process, ear):
            process.write(text(call(1)))
            assert await ear.messages() == [call(1)]

    run(scenario)
