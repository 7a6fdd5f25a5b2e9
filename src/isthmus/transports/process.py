"""The process of a stdio back: its start, its three pipes, its end.

**What is heard.** stdout is cut into lines and each line that is a message goes to the listener, in order. Servers
print other things there too ("The server MUST NOT write anything to its stdout that is not a valid MCP message", and
they do): such a line is noise, skipped and counted. stderr is always read, whatever becomes of it, because a server
whose stderr is full stops.

**How it ends.** Two things must happen, each in its own time, before the pipes are closed:

* it is *told*: the listener hears `lost`. That waits for the last words (the rest of stdout, and for the sentence
  stderr's last line and the exit status), but only for `LAST_WORDS`: a grandchild may hold the pipes for ever.
* it is *cleared*: nothing of the process group is left. The ladder leads there, one rung after the other, each only if
  the one before did not do: stdin closed, SIGTERM, SIGKILL. It is the same ladder whether the proxy wants the back to
  stop, its leader died, or it closed stdout and lives on; a leader that is gone needs no first rung.

Ends of pipes and of the leader are events. The end of a group is not, so the ladder looks for it every `_POLL` seconds;
once it is cleared it is never signalled again.
"""

import asyncio
import logging
import re
import signal
import sys
from contextlib import suppress
from typing import Final, cast

from isthmus.errors import BackFault, BackUnavailable
from isthmus.limits import (
    LAST_WORDS,
    MIB,
    NOISE_FIRST,
    STDERR_BYTES,
    STDERR_KEPT,
    STDERR_SAID,
    STDIN_QUEUE,
    STOP_EOF,
    STOP_KILL,
    STOP_TERM,
    WRITE_STALLED,
    Limits,
)
from isthmus.transports.busy_poll import poll_of
from isthmus.transports.channel import Listener
from isthmus.transports.child import Group, spawn
from isthmus.transports.launch import Launch
from isthmus.transports.watchdog import Watchdog
from isthmus.wire.codec import parse, parse_own
from isthmus.wire.envelope import INTERNAL_ERROR, Envelope, Malformed, error_message
from isthmus.wire.lines import LineSplitter, TooLong, framed

_POLL: Final = 0.02
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Process(asyncio.SubprocessProtocol):
    """One child that speaks MCP on stdio, in a process group of its own.

    Attributes:
        name: the back's.
        pid: of the child, and of its process group.
        noise: lines of stdout that were skipped: not a message, or longer than `Limits.line`.
    """

    def __init__(self, name: str, limits: Limits, watchdog: Watchdog, listener: Listener) -> None:
        """For `start`."""
        self.name = name
        self.pid = 0
        self.noise = 0
        self._watchdog = watchdog
        self._listener = listener
        self._log = logging.getLogger(f"isthmus.back.{name}")
        self._loop = asyncio.get_running_loop()
        self._poll = poll_of(self._loop)
        self._bound = limits.line
        self._lines = LineSplitter(self._bound)
        self._stderr = _Stderr(self._log)
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._stdout: asyncio.ReadTransport | None = None
        self._open = {0, 1, 2}
        self._room = asyncio.Event()
        self._room.set()
        self._status: int | None = None
        self._alive = False
        self._why = ""
        self._told = False
        self._has_spoken = False
        self._last_words: asyncio.TimerHandle | None = None
        self._group = Group(0)
        self._last_bytes = limits.line
        self._rungs: list[tuple[signal.Signals, float]] | None = None
        self._has_signalled = False
        self._deadline = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._cleared = False
        self._disconnected = False
        self._ended = asyncio.Event()

    @classmethod
    async def start(cls, launch: Launch, limits: Limits, watchdog: Watchdog, listener: Listener) -> "Process":
        """Start a child; it need not have spoken yet. The listener may hear it before this returns.

        Raises:
            BackUnavailable: it could not be started; the listener hears nothing.
        """
        process = cls(launch.name, limits, watchdog, listener)
        try:
            launch.check()
            await spawn(process, launch.argv, launch.environment(), launch.cwd)
        except (OSError, ValueError) as error:
            raise BackUnavailable(f"The back {launch.name!r} could not be started: {launch.explain(error)}.") from error
        except BaseException:
            await process._abandon()
            raise
        return process

    @property
    def is_alive(self) -> bool:
        """Whether it takes messages: it shows no sign of an end and nobody stopped it."""
        return self._alive

    def write(self, message: bytes) -> None:
        """Send one message, which must have no line breaks (see `codec.one_line`).

        Raises:
            BackUnavailable: the process is ending, or `limits.STDIN_QUEUE` bytes wait for it to read; nothing was sent.
        """
        if not self._alive or self._stdin is None:
            raise BackUnavailable(self._why or f"The back {self.name!r} has just ended; call again.")
        if self._stdin.get_write_buffer_size() + len(message) > STDIN_QUEUE:
            raise BackUnavailable(
                f"The back {self.name!r} reads nothing, {STDIN_QUEUE // MIB} MiB wait for it; call later or restart it."
            )
        for piece in framed(message):
            self._stdin.write(piece)
        self._poll.wrote()

    async def drain(self) -> None:
        """Wait until less than a MiB waits to be read by the process, or it ends.

        Raises:
            BackFault: that took `WRITE_STALLED` seconds.
        """
        try:
            async with asyncio.timeout(WRITE_STALLED):
                await self._room.wait()
        except TimeoutError:
            raise BackFault(
                f"The back {self.name!r} did not read what was sent to it for {WRITE_STALLED:.0f} s; restart it."
            ) from None

    def pause_reading(self) -> None:
        """Hear no more for now but what was read already. A process that ends is read to its end regardless."""
        if self._stdout is not None and self._rungs is None and not self._stdout.is_closing():
            self._stdout.pause_reading()

    def resume_reading(self) -> None:
        """Hear on."""
        if self._stdout is not None and not self._stdout.is_closing():
            self._stdout.resume_reading()

    async def stop(self) -> None:
        """End the process and all of its group; returns when nothing is left, or after `STOP_*` seconds. Idempotent.

        Who cancels this waits no longer; the process is ended all the same.
        """
        if self._alive:
            self._why = f"The back {self.name!r} was stopped."
        self._climb()
        await self._wait_for_end()

    async def _abandon(self) -> None:
        """End what nobody has spoken to yet, without ceremony and without a word to the listener."""
        self._told = True
        self._climb()
        if self._rungs:
            del self._rungs[:-1]
            self._deadline = 0.0
            self._step()
            await self._wait_for_end()

    async def _wait_for_end(self) -> None:
        try:
            async with asyncio.timeout(STOP_EOF + STOP_TERM + STOP_KILL + LAST_WORDS):
                await self._ended.wait()
        except TimeoutError:
            self._log.warning("Process %d of the back %r is still there; it is left to itself.", self.pid, self.name)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        if not self._stdin.is_closing():  # a child may be dead by now
            self._stdin.set_write_buffer_limits(high=MIB, low=MIB // 2)
        self._stdout = cast(asyncio.ReadTransport, self._transport.get_pipe_transport(1))
        self._alive = True
        self._group = Group(self.pid)
        self._watchdog.add(self.pid)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr.feed(data)
            return
        if self._rungs is not None:  # a flood can't outlast its welcome: after the end began one line's worth is heard
            self._last_bytes -= len(data)
            if self._last_bytes < 0:
                return
        for line in self._lines.feed(data):
            self._hear(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            for line in self._lines.finish():
                self._hear(line)
        elif fd == 2:
            self._stderr.finish()
        self._open.discard(fd)
        if fd != 2 or not self._alive:  # to close only stderr is no sign of an end
            self._see_end()

    def process_exited(self) -> None:
        if self._transport is not None:
            self._status = self._transport.get_returncode()
        self._see_end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disconnected = True
        self._close()

    # What is heard.

    def _hear(self, line: bytes | TooLong) -> None:
        if self._told:
            return
        if isinstance(line, TooLong):
            self._skip("longer than the limit for a line", b"")
            if line.answers is not None:
                self._has_spoken = True
                self._listener.received(parse_own(error_message(line.answers, INTERNAL_ERROR, self._too_much())))
            return
        message = parse(line)
        if isinstance(message, Envelope):
            self._has_spoken = True
            self._listener.received(message)
        elif isinstance(message, Malformed):
            self._skip("not a message", line)
        else:
            self._listener.received_batch(message)

    def _too_much(self) -> str:
        return f"{self.name} answered with more than {self._bound} bytes; raise the limit for lines if it may."

    def _skip(self, what: str, line: bytes) -> None:
        self.noise += 1
        level = logging.WARNING if self.noise == 1 else logging.DEBUG
        self._log.log(level, "Skipped a line of the back's stdout that is %s (%d so far).", what, self.noise)
        self._log.debug("It begins with %r.", line[:80])
        if self.noise == NOISE_FIRST and not self._has_spoken:
            self._why = (
                f"The back {self.name!r} printed {NOISE_FIRST:,} lines and none of them is MCP; is it an MCP server, "
                "and started so that it speaks on stdio?"
            )
            self._tell()

    # How it ends.

    def _see_end(self) -> None:
        """A pipe closed, or the leader is gone."""
        self._alive = False
        self._room.set()
        if self._status is not None:
            self._climb()
            if self._open <= {0}:
                self._tell()
        if self._told:
            return
        if self._last_words is None and (self._status is not None or self._rungs is None):
            self._last_words = self._loop.call_later(LAST_WORDS, self._tell)

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        if self._last_words is not None:
            self._last_words.cancel()
        self._why = self._why or self._sentence()
        self._climb()
        self._close()
        self._listener.lost(self._why)

    def _sentence(self) -> str:
        if self._status is None:
            what = f"closed its {'stdin' if 1 in self._open else 'stdout'} but did not end, so it is stopped"
        elif self._status < 0:
            what = f"was killed by {_signal_name(-self._status)}"
        else:
            what = f"ended with exit status {self._status}"
        said = self._stderr.last_line()
        if said:
            tail = f"; the last it said on stderr: {said}"
        elif self.noise and not self._has_spoken:
            tail = "; it printed what is no MCP and said nothing on stderr. Is it an MCP server? Run it by hand to see."
        else:
            tail = "; it said nothing on stderr, so run it by hand to see why."
        return f"The back {self.name!r} {what}{tail}"

    def _climb(self) -> None:
        """Begin with the ladder, or look at once whether the next rung is needed."""
        if self._transport is None or self._stdin is None or self._stdout is None:
            return
        if self._rungs is None:
            self._alive = False
            self._room.set()
            self._rungs = _rungs()
            self._deadline = self._loop.time() + STOP_EOF
            self._stdin.close()
            if not self._stdout.is_closing():
                self._stdout.resume_reading()
        self._step()

    def _step(self) -> None:
        if self._cleared or self._rungs is None:
            return
        if self._look is not None:
            self._look.cancel()
        if self._status is not None and self._group.is_empty():
            self._watchdog.remove(self.pid)
            self._clear()
            return
        is_eof_of_no_use = self._status is not None and not self._has_signalled
        if is_eof_of_no_use or self._loop.time() >= self._deadline:
            if not self._rungs:
                self._give_up()
                return
            number, seconds = self._rungs.pop(0)
            self._has_signalled = True
            self._group.signal(number)
            self._deadline = self._loop.time() + seconds
        self._look = self._loop.call_later(_POLL, self._step)

    def _give_up(self) -> None:
        self._log.warning("Process group %d did not end after SIGKILL; it is left to the watchdog.", self.pid)
        self._clear()
        self._tell()
        self._ended.set()

    def _clear(self) -> None:
        self._cleared = True
        self._close()

    def _close(self) -> None:
        """Close the pipes when both are done: told and cleared."""
        if not self._told or not self._cleared or self._transport is None or self._stdin is None:
            return
        if 0 in self._open and self._stdin.get_write_buffer_size():
            self._stdin.abort()  # close() would wait for somebody to read it
        with suppress(PermissionError):  # asyncio's close() kills once more; a setuid child refuses
            self._transport.close()
        if self._disconnected:
            self._ended.set()


class _Stderr:
    """Logs a stderr line by line, and keeps its tail."""

    __slots__ = ("_is_cut", "_line", "_log", "_tail")

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._line = bytearray()
        self._is_cut = False
        self._tail = bytearray()

    def feed(self, data: bytes) -> None:
        self._tail += data
        del self._tail[:-STDERR_KEPT]
        first, *rest = data.split(b"\n")
        self._grow(first)
        for piece in rest:
            self.finish()
            self._grow(piece)

    def finish(self) -> None:
        text = self._line.decode("utf-8", "replace").rstrip()
        if text:
            self._log.info("%s%s", text, " …" if self._is_cut else "")
        self._line.clear()
        self._is_cut = False

    def last_line(self) -> str:
        """The last line that is not blank, fit for a sentence."""
        for line in reversed(self._tail.decode("utf-8", "replace").splitlines()):
            plain = "".join(c if c.isprintable() else " " for c in _ESCAPES.sub("", line)).strip()
            if plain:
                return plain if len(plain) <= STDERR_SAID else plain[: STDERR_SAID - 1] + "…"
        return ""

    def _grow(self, piece: bytes) -> None:
        room = STDERR_BYTES - len(self._line)
        self._line += piece[:room]
        self._is_cut = self._is_cut or len(piece) > room


def _rungs() -> list[tuple[signal.Signals, float]]:
    """The signals of the ladder, each with the time to wait after it. On Windows SIGTERM is TerminateProcess."""
    if sys.platform == "win32":
        return [(signal.SIGTERM, STOP_KILL)]
    return [(signal.SIGTERM, STOP_TERM), (signal.SIGKILL, STOP_KILL)]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
