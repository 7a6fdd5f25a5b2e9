"""What is left of the backs when the proxy is killed: nothing."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isthmus.transports import watchdog as module
from isthmus.transports.watchdog import Watchdog

SOURCE = Path(module.__file__).parents[2]

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(os.getpid(), child, flush=True)
LEADER
while True:
    time.sleep(1)
"""
"""A group that ignores EOF and SIGTERM, grandchild and all."""

PROXY = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from isthmus.limits import Limits
from isthmus.transports.process import Launch, Process
from isthmus.transports.watchdog import Watchdog
class Ear:
    def lost(self, why): print(why, file=sys.stderr)
async def main():
    watchdog = Watchdog()
    pids = []
    for script in sys.argv[2:]:
        back = await Process.start(Launch("b", (sys.executable, "-I", "-c", script)), Limits(), watchdog, Ear())
        pids.append(back.pid)
    print(watchdog._helper.pid, *pids, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], bound: float = 5) -> None:
    end = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < end, "It did not come about."
        time.sleep(0.005)


def members(pgid: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            state, _, group = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == pgid and state not in "ZX":
            found.append(int(name))
    return found


@contextmanager
def group(leader: str = "") -> Iterator[int]:
    """A stubborn group, as the proxy's child; `leader` is what its leader does in the end."""
    script = STUBBORN.replace("LEADER", leader)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            if members(process.pid):
                os.killpg(process.pid, signal.SIGKILL)


def helper_of(watchdog: Watchdog) -> int:
    assert watchdog._helper is not None
    return watchdog._helper.pid


def close(watchdog: Watchdog) -> None:
    asyncio.run(asyncio.wait_for(watchdog.close(), 10))


def is_ready(pid: int) -> bool:
    """Whether the helper's Python has got as far as to ignore SIGTERM."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigIgn"], 16) >> (signal.SIGHUP - 1) & 1)


def test_proxy_is_killed(tmp_path: Path) -> None:
    """F25: two backs that ignore everything; one has lost its leader. And who reads the proxy sees its end."""
    log = tmp_path / "log"
    log.touch()
    inherited = os.open(log, os.O_RDONLY)
    orphaned = STUBBORN.replace("LEADER", "if child:\n    os.close(1); time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-I", "-c", PROXY, str(SOURCE), STUBBORN.replace("LEADER", ""), orphaned],
        stdout=subprocess.PIPE,
        pass_fds=[inherited],
    ) as proxy:
        os.close(inherited)
        assert proxy.stdout is not None
        helper, *backs = map(int, proxy.stdout.readline().split())
        until(lambda: all(len(members(back)) == 2 for back in backs))
        os.kill(backs[1], signal.SIGKILL)
        until(lambda: len(members(backs[1])) == 1)
        for fd in os.listdir(f"/proc/{helper}/fd"):
            target = os.readlink(f"/proc/{helper}/fd/{fd}")
            assert target.startswith("pipe:") if fd == "0" else target == "/dev/null"
        assert os.getpgid(helper) == helper
        begun = time.monotonic()
        proxy.kill()
        assert proxy.stdout.read() == b""
        until(lambda: not any(members(back) for back in backs) and not is_there(helper), 5)
        assert time.monotonic() - begun < 5


def test_nothing_is_started_before_it_is_needed() -> None:
    watchdog = Watchdog()
    watchdog.remove(12345)
    watchdog.add(0)
    watchdog.add(1)
    assert watchdog._helper is None
    close(watchdog)


def test_close_ends_what_is_known_and_spares_what_was_removed() -> None:
    watchdog = Watchdog()
    with group() as known, group() as removed, group("if child: os._exit(0)") as orphaned:
        for pgid in (known, removed, orphaned):
            watchdog.add(pgid)
        watchdog.remove(removed)
        helper = helper_of(watchdog)
        close(watchdog)
        close(watchdog)
        assert not is_there(helper)
        assert members(known) == members(orphaned) == []
        assert len(members(removed)) == 2


def test_signals_of_a_terminal_do_not_end_it() -> None:
    watchdog = Watchdog()
    with group() as known:
        watchdog.add(known)
        helper = helper_of(watchdog)
        until(lambda: is_ready(helper))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(helper, number)
        watchdog.add(os.getpid() + 1_000_000_000)  # no such group; the helper must not mind
        assert helper_of(watchdog) == helper
        close(watchdog)
        until(lambda: not members(known))


def test_killed_helper_is_replaced_by_one_that_knows_everything(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog()
    with group() as first, group() as second:
        watchdog.add(first)
        helper = helper_of(watchdog)
        os.kill(helper, signal.SIGKILL)
        until(lambda: not is_there(helper))
        watchdog.add(second)
        assert helper_of(watchdog) != helper
        assert f"The watchdog process {helper} is gone or stuck" in caplog.text
        assert len(members(first)) == 2
        close(watchdog)
        assert members(first) == members(second) == []


def test_killed_helper_without_groups_is_not_replaced() -> None:
    watchdog = Watchdog()
    with group() as only:
        watchdog.add(only)
        helper = helper_of(watchdog)
        os.kill(helper, signal.SIGKILL)
        until(lambda: not is_there(helper))
        watchdog.remove(only)
        assert watchdog._helper is None
        close(watchdog)
        assert len(members(only)) == 2


def test_stuck_helper_blocks_nobody_and_kills_nobody() -> None:
    """Its pipe fills; it is replaced, and must not take the closing of its pipe for the end of the proxy."""
    watchdog = Watchdog()
    with group() as known:
        watchdog.add(known)
        helper = helper_of(watchdog)
        os.kill(helper, signal.SIGSTOP)
        for _ in range(20_000):
            watchdog.add(2_000_000_000)
            if helper_of(watchdog) != helper:
                break
        assert helper_of(watchdog) != helper
        until(lambda: not watchdog._sweep())
        assert len(members(known)) == 2
        close(watchdog)
        assert members(known) == []


def test_close_of_a_stuck_helper_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_KILL", 1.05)
    watchdog = Watchdog()
    with group() as known:
        watchdog.add(known)
        helper = helper_of(watchdog)
        os.kill(helper, signal.SIGSTOP)
        close(watchdog)
        assert not is_there(helper)


@pytest.mark.parametrize("python", ["/no/such/python", ""])
def test_without_python_there_is_a_warning(
    python: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    watchdog = Watchdog()
    with caplog.at_level(logging.WARNING):
        watchdog.add(2_000_000_000)
    assert "backs may outlive a proxy that is killed" in caplog.text
    watchdog.remove(2_000_000_000)
    close(watchdog)
