"""The helper that ends the backs' processes when the proxy can't: killed by SIGKILL, by the OOM killer, by a crash.

It is a process of its own that knows process groups and waits at the end of a pipe. Only the proxy holds the other
end, so the end of the pipe *is* the proxy's death. SIGKILL then reaches every group at once, grandchildren included;
what has left its group with setsid(2) is out of reach. (PR_SET_PDEATHSIG reaches the child alone, and is bound to the
thread that forked.)

Two rules follow from "the end of the pipe kills":

* No one else may hold the pipe's write end: it is close-on-exec from its birth, and the helper takes over nothing.
* A helper that is replaced must be dead before its pipe is closed.
"""

import asyncio
import logging
import os
import subprocess
import sys
from typing import Final

from isthmus.limits import STOP_KILL

_log: Final = logging.getLogger("isthmus.watchdog")

_POLL: Final = 0.01

_SCRIPT: Final = """\
import os, signal, time
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
os.chdir("/")
groups = set()
with open(0, "rb") as pipe:
    for line in pipe:
        if line[-1:] == b"\\n":
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
for _ in range(50):
    for group in list(groups):
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            groups.discard(group)
    if not groups:
        break
    time.sleep(0.02)
os._exit(0)
"""


class Watchdog:
    """Ends process groups when this process is gone, however it went. Does nothing on Windows.

    One for each proxy. The helper starts with the first group, and again if somebody killed it: that is noticed at the
    next `add` or `remove`. Nothing here raises or blocks; a helper that can't be started is a warning in the log.
    """

    __slots__ = ("_groups", "_helper", "_leaving")

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._helper: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []

    def add(self, pgid: int) -> None:
        """From now on the group dies with this process."""
        if pgid > 1:  # killpg(2): 0 is the caller's own group, 1 would be init's
            self._groups.add(pgid)
            self._tell(b"+%d\n" % pgid)

    def remove(self, pgid: int) -> None:
        """Forget a group; at once when its last process is gone, because then its number may be used again."""
        if pgid in self._groups:
            self._groups.discard(pgid)
            self._tell(b"-%d\n" % pgid)

    async def close(self) -> None:
        """End the helper and the groups that it still knows, in at most `STOP_KILL` seconds. Idempotent."""
        self._groups.clear()
        if self._helper is not None and self._helper.stdin is not None:
            self._helper.stdin.close()
            self._leaving.append(self._helper)
            self._helper = None
        loop = asyncio.get_running_loop()
        late, latest = loop.time() + STOP_KILL - 1, loop.time() + STOP_KILL
        while self._sweep() and loop.time() < latest:
            if loop.time() > late:
                for helper in self._leaving:
                    helper.kill()
            await asyncio.sleep(_POLL)

    def _tell(self, line: bytes) -> None:
        if sys.platform == "win32":
            return
        if self._helper is not None:
            if _write(self._helper, line):
                return
            _log.warning("The watchdog process %d is gone or stuck; another one takes its place.", self._helper.pid)
            self._helper.kill()
            self._leaving.append(self._helper)
            self._helper = None
        self._sweep()
        if self._groups:
            self._start()

    def _start(self) -> None:
        """Take on a helper and tell it all groups. A frozen program's `sys.executable` is that program, not Python."""
        if getattr(sys, "frozen", False) or not sys.executable:
            _log.warning("There is no Python to run the watchdog with; backs may outlive a proxy that is killed.")
            return
        try:
            self._helper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _SCRIPT],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                close_fds=True,
            )
        except OSError as error:
            _log.warning("The watchdog could not be started, so backs may outlive a proxy that is killed: %s.", error)
            return
        if sys.platform != "win32" and self._helper.stdin is not None:
            os.set_blocking(self._helper.stdin.fileno(), False)
        for pgid in self._groups:
            _write(self._helper, b"+%d\n" % pgid)

    def _sweep(self) -> bool:
        """Close the pipes of helpers that are dead; whether one is left that is not."""
        for helper in self._leaving[:]:
            if helper.poll() is not None:
                if helper.stdin is not None:
                    helper.stdin.close()
                self._leaving.remove(helper)
        return bool(self._leaving)


def _write(helper: "subprocess.Popen[bytes]", line: bytes) -> bool:
    """Whether the helper took it; a line is shorter than PIPE_BUF, so it is written whole or not at all (pipe(7))."""
    if helper.stdin is None:
        return False
    try:
        return helper.stdin.write(line) is not None
    except OSError:
        return False
