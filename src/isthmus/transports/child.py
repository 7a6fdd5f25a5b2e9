"""A child, its three pipes and its process group, on any loop.

`spawn` is `loop.subprocess_exec` for a `SubprocessProtocol`, with three differences that matter for a back. Under
uvloop (0.23) a child keeps second copies of its pipes and whatever else of ours is inheritable, so it is never seen to
close its stdout; and a file that is no program is handed to a shell. asyncio before 3.12 spends a thread on every
child. Here the child is `subprocess.Popen`'s (everything closed, vfork, execve) and its end is read from a pidfd. On
Windows, where all that does not apply, it is the loop's `subprocess_exec`.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Final, cast

from isthmus.limits import STOP_KILL

_POLL: Final = 0.05


async def spawn(
    protocol: asyncio.SubprocessProtocol, argv: Sequence[str], env: Mapping[str, str], cwd: str | None
) -> None:
    """Start a child that leads a process group, and introduce it to `protocol`.

    Also when this was cancelled the protocol may have heard `connection_made`, and is to end the child.

    Raises:
        OSError: it could not be started.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        await loop.subprocess_exec(
            lambda: protocol,
            *argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    else:
        connecting = asyncio.ensure_future(_Child(loop, protocol, _popen(argv, env, cwd)).connect())
        try:
            await asyncio.shield(connecting)
        except asyncio.CancelledError:
            await asyncio.wait([connecting], timeout=STOP_KILL)  # a few turns of the loop; uvloop can't break it off
            raise


def _popen(argv: Sequence[str], env: Mapping[str, str], cwd: str | None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        argv,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )


class _Child(asyncio.SubprocessTransport):
    """What `subprocess_exec` would have made. Callbacks come at once, not by way of the loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.SubprocessProtocol, popen: "subprocess.Popen[bytes]"
    ) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._popen = popen
        self._pipes: dict[int, asyncio.BaseTransport] = {}
        self._open = {0, 1, 2}
        self._early: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = []
        self._pidfd = -1
        self._is_finished = False

    async def connect(self) -> None:
        popen = self._popen
        files = cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", (popen.stdin, popen.stdout, popen.stderr))
        fd = -1
        try:
            for fd, file in enumerate(files):
                connect: Any = self._loop.connect_read_pipe if fd else self._loop.connect_write_pipe
                self._pipes[fd], _ = await connect(lambda fd=fd: _Pipe(self, fd), file)
        except BaseException:
            Group(popen.pid).signal(signal.SIGKILL)
            for file in files[fd + 1 :]:
                file.close()
            for pipe in self._pipes.values():
                pipe.close()
            with suppress(subprocess.TimeoutExpired):
                popen.wait(_POLL)
            raise
        self._protocol.connection_made(self)
        early, self._early = self._early or [], None
        for callback, args in early:
            callback(*args)
        self._watch()

    def get_pid(self) -> int:
        return self._popen.pid

    def get_returncode(self) -> int | None:
        return self._popen.returncode

    def get_pipe_transport(self, fd: int) -> asyncio.BaseTransport | None:
        return self._pipes.get(fd)

    def send_signal(self, signal: int) -> None:
        self._popen.send_signal(signal)

    def terminate(self) -> None:
        self._popen.terminate()

    def kill(self) -> None:
        self._popen.kill()

    def close(self) -> None:
        """Close the pipes, and kill the child if it is still there."""
        for pipe in self._pipes.values():
            pipe.close()
        if self._popen.returncode is None:
            self._popen.kill()

    def call(self, callback: Callable[..., None], *args: Any) -> None:
        """A callback of the protocol, which must hear of the connection first."""
        if self._early is None:
            callback(*args)
        else:
            self._early.append((callback, args))

    def disconnect(self, fd: int, error: Exception | None) -> None:
        self._open.discard(fd)
        self.call(self._protocol.pipe_connection_lost, fd, error)
        self.call(self._finish)

    def _watch(self) -> None:
        """Wait for the end: by a pidfd, and where there is none (not Linux, no descriptors left) by looking."""
        if sys.platform == "linux":
            with suppress(OSError):
                self._pidfd = os.pidfd_open(self._popen.pid)
                self._loop.add_reader(self._pidfd, self._reap)
                return
        self._reap()

    def _reap(self) -> None:
        if self._popen.poll() is None:
            if self._pidfd < 0:
                self._loop.call_later(_POLL, self._reap)
            return
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._protocol.process_exited()
        self._finish()

    def _finish(self) -> None:
        if not self._open and self._popen.returncode is not None and not self._is_finished:
            self._is_finished = True
            self._protocol.connection_lost(None)


class _Pipe(asyncio.Protocol):
    """One of the three."""

    __slots__ = ("_child", "_fd", "_protocol")

    def __init__(self, child: _Child, fd: int) -> None:
        self._child = child
        self._fd = fd
        self._protocol = child._protocol

    def data_received(self, data: bytes) -> None:
        self._child.call(self._protocol.pipe_data_received, self._fd, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._child.disconnect(self._fd, exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class Group:
    """A process group, by the pid of its leader.

    A group's number belongs to it until its last process is reaped (setpgid(2), fork(2)). So it may be signalled until
    `is_empty` was True once after the leader was reaped, and never again.
    """

    __slots__ = ("_living", "pgid")

    def __init__(self, pgid: int) -> None:
        self.pgid = pgid
        self._living = 0

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                os.kill(self.pgid, number)
            else:
                os.killpg(self.pgid, number)

    def is_empty(self) -> bool:
        """Whether nothing lives in it; to be asked when the leader was reaped.

        A dead process that nobody reaps does not count, where there is a /proc to see it: an orphan falls to process
        1, which in a container is often a program that does not know of its duty, or is this one.
        """
        if sys.platform == "win32":
            return True
        with suppress(ChildProcessError):
            while os.waitpid(-self.pgid, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(self.pgid, 0)
        except (ProcessLookupError, PermissionError):  # EPERM: what is left is another user's; nothing can be done
            return True
        if not os.path.exists("/proc/self/stat"):
            return False
        if self._living and _group_of(self._living) == self.pgid:
            return False
        self._living = next((pid for pid in _pids() if _group_of(pid) == self.pgid), 0)
        return not self._living


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _group_of(pid: int) -> int:
    """The process group of what lives, else 0; proc_pid_stat(5): pid (name) state ppid pgrp."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, _, pgrp = file.read().rpartition(b")")[2].split()[:3]
    except (OSError, ValueError):
        return 0
    return 0 if state in b"ZX" else int(pgrp)
