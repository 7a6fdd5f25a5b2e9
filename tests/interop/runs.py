"""Plays cells: a server's cells one after the other, so that they don't meet in it, and several servers at a time."""

import ctypes
import json
import os
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.conformance.processes import ENDS_WITHIN, ISTHMUS, free_port, wait_for_port

from .features import features
from .peers import HERE, PYTHON, REPOSITORY, ROOT, Cell, Client, Server, Transport

Json = dict[str, Any]
T = TypeVar("T")
CLIENT_TAKES_AT_MOST = 60
AT_A_TIME = 4
INSIDE = str(HERE / "servers" / "inside.py")
PATHS: dict[Transport, str] = {"http": "/mcp", "sse": "/sse"}
PR_SET_CHILD_SUBREAPER = 36


class ClientFailed(Exception):
    """A client program ended without its records."""


class Program:
    """A client program, which holds one conversation after the other."""

    def __init__(self, command: Sequence[str]) -> None:
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `end`
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
        )

    def converse(self, order: Json) -> list[Json]:
        assert self.process.stdin is not None and self.process.stdout is not None
        timer = threading.Timer(CLIENT_TAKES_AT_MOST, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line.endswith("\n"):
            code = self.process.wait(ENDS_WITHIN)
            self.said.seek(0)
            raise ClientFailed(f"it ended with {code}: {line}\n{self.said.read()[-4000:]}")
        records: list[Json] = json.loads(line)
        return records

    def end(self) -> None:
        with self.said, self.process:
            assert self.process.stdin is not None
            with suppress(BrokenPipeError):
                self.process.stdin.close()
            try:
                self.process.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()


class Programs:
    """The client programs of one thread: each is started when it is first needed, and again after a failure."""

    def __init__(self) -> None:
        self.started: dict[tuple[str, ...], Program] = {}

    def converse(self, client: Client, target: Json, steps: list[Json]) -> list[Json]:
        program = self.started.pop(client.command, None) or Program(client.command)
        try:
            records = program.converse({"target": target, "mode": client.mode, "steps": steps})
        except BaseException:
            program.end()
            raise
        self.started[client.command] = program
        return records

    def end(self) -> None:
        for program in self.started.values():
            program.end()


@contextmanager
def listening(command: Sequence[str], port: int, env: dict[str, str], path: str = "/mcp") -> Iterator[str]:
    process = subprocess.Popen(command, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}{path}"
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


class Place:
    """A server, and the proxy in front of it, as they are started for the first cell that needs them."""

    def __init__(self, server: Server, repository: Path, stack: ExitStack) -> None:
        self.server = server
        self.repository = str(repository)
        self.stack = stack
        self.behind = cache(self._behind)
        self.proxied = cache(self._proxied)

    def at_home(self, value: Any) -> Any:
        """The same, with the repository's path where its name stood."""
        return json.loads(json.dumps(value).replace(REPOSITORY, self.repository))

    def _behind(self, back: Transport) -> list[str]:
        """The proxy's target: a command after `--`, a URL, or an object's name after `--memory`."""
        if back == "stdio":
            return ["--", *self.at_home(self.server.stdio)]
        if back == "memory":
            return ["--memory", self.server.name]
        start = self.server.http if back == "http" else self.server.sse
        if start is None:
            raise ValueError(f"{self.server.name} has no {back}")
        port = free_port()
        started = listening(start(port), port, self.server.http_env(port), PATHS[back])
        return [self.stack.enter_context(started)]

    def _proxied(self, front: Transport, back: Transport) -> Json:
        """What a client connects to."""
        target = self.behind(back)
        port = 0 if front in ("stdio", "memory") else free_port()
        if "memory" in (front, back):
            command = [PYTHON, INSIDE, front, str(port), *target]
        else:
            options = {"http": ["--http", str(port)], "sse": ["--http", str(port), "--sse"]}.get(front, [])
            command = [ISTHMUS, "run", *options, *target]
        if not port:
            return {"command": command}
        return {"url": self.stack.enter_context(listening(command, port, {}, PATHS[front]))}

    def direct(self, back: Transport) -> Json:
        """Without the proxy; what is in memory is taken as a command instead."""
        target = self.behind("stdio" if back == "memory" else back)
        return {"url": target[0]} if len(target) == 1 else {"command": target[1:]}


def play_features(place: Place, cell: Cell, programs: Programs) -> list[list[Json]]:
    """The records of each feature's steps."""
    groups = [[step for step, _ in feature.steps] for feature in features(cell)]
    steps = place.at_home([step for group in groups for step in group])
    records = iter(programs.converse(cell.client, place.proxied(cell.front, cell.back), steps))
    return [[next(records) for _ in group] for group in groups]


class Runs(Generic[T]):
    """All the cells of a module, under way, in the order in which they are given."""

    def __init__(self, cells: Iterable[Cell], repository: Path, play: Callable[[Place, Cell, Programs], T]) -> None:
        self.futures: dict[Cell, Future[T]] = {cell: Future() for cell in cells}
        self.repository = repository
        self.play = play
        self.stopping = threading.Event()

    def result(self, cell: Cell, timeout: float) -> T:
        return self.futures[cell].result(timeout)

    @contextmanager
    def under_way(self) -> Iterator["Runs[T]"]:
        by_server: dict[str, list[Cell]] = {}
        for cell in self.futures:
            by_server.setdefault(cell.server.name, []).append(cell)
        groups = deque(by_server.values())
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            workers = [pool.submit(self._play_groups, groups) for _ in range(AT_A_TIME)]
            try:
                yield self
            finally:
                self.stopping.set()
        for worker in workers:
            worker.result()

    def _play_groups(self, groups: deque[list[Cell]]) -> None:
        with ExitStack() as stack:
            programs = Programs()
            stack.callback(programs.end)
            while groups:
                with suppress(IndexError):  # another thread took it
                    self._play_all(groups.popleft(), programs)

    def _play_all(self, group: list[Cell], programs: Programs) -> None:
        with ExitStack() as stack:
            place = Place(group[0].server, self.repository, stack)
            for cell in group:
                if self.stopping.is_set():
                    return
                try:
                    self.futures[cell].set_result(self.play(place, cell, programs))
                except Exception as error:
                    self.futures[cell].set_exception(error)


@contextmanager
def no_process_left(within: float = 5) -> Iterator[None]:
    """Adopt what our children leave behind, and look whether it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(_children())
    yield
    give_up = time.monotonic() + within
    while left := {pid: command for pid, command in _children().items() if pid not in before}:
        if time.monotonic() > give_up:
            raise AssertionError(f"still running: {left}")
        time.sleep(0.05)


def _children() -> dict[int, str]:
    """Our living children and their commands; the dead ones are buried on the way."""
    living: dict[int, str] = {}
    for task in Path("/proc/self/task").iterdir():
        for pid in map(int, (task / "children").read_text().split()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if command:
                living[pid] = command
            else:
                os.waitpid(pid, os.WNOHANG)
    return living
