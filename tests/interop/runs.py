"""Plays cells: each server has a thread, which starts what its cells need, once, and runs client after client."""

import ctypes
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.conformance.processes import ENDS_WITHIN, ISTHMUS, free_port, wait_for_port

from .features import features
from .peers import REPOSITORY, ROOT, Cell, Server, Transport

Json = dict[str, Any]
CLIENT_TAKES_AT_MOST = 60
AT_A_TIME = 4
PR_SET_CHILD_SUBREAPER = 36


class ClientFailed(Exception):
    """A client program ended without its records."""


@contextmanager
def listening(command: Sequence[str], port: int, env: dict[str, str]) -> Iterator[str]:
    process = subprocess.Popen(command, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
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
        """The proxy's target: a command after `--`, or a URL."""
        if back == "stdio":
            return ["--", *self.at_home(self.server.stdio)]
        if self.server.http is None:
            raise ValueError(f"{self.server.name} has no HTTP")
        port = free_port()
        command = self.server.http(port)
        return [self.stack.enter_context(listening(command, port, self.server.http_env(port)))]

    def _proxied(self, front: Transport, back: Transport) -> Json:
        """What a client connects to."""
        target = self.behind(back)
        if front == "stdio":
            return {"command": [ISTHMUS, "run", *target]}
        port = free_port()
        command = [ISTHMUS, "run", "--http", str(port), *target]
        return {"url": self.stack.enter_context(listening(command, port, {}))}

    def direct(self, back: Transport) -> Json:
        target = self.behind(back)
        return {"url": target[0]} if len(target) == 1 else {"command": target[1:]}

    def play(self, cell: Cell) -> list[list[Json]]:
        """The records of each feature's steps."""
        steps = [[step for step, _ in feature.steps] for feature in features(cell)]
        target = self.proxied(cell.front, cell.back)
        order = {
            "target": target,
            "mode": cell.client.mode,
            "steps": self.at_home([step for group in steps for step in group]),
        }
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            cell.client.command,
            input=json.dumps(order),
            env=env,
            capture_output=True,
            text=True,
            timeout=CLIENT_TAKES_AT_MOST,
            check=False,
        )
        if done.returncode != 0:
            raise ClientFailed(f"{cell} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        records = iter(json.loads(done.stdout))
        return [[next(records) for _ in group] for group in steps]


class Runs:
    """All the cells of a module, under way."""

    def __init__(self, cells: Iterable[Cell], repository: Path) -> None:
        self.futures: dict[Cell, Future[list[list[Json]]]] = {cell: Future() for cell in cells}
        self.repository = repository
        self.stopping = threading.Event()

    def result(self, cell: Cell, timeout: float) -> list[list[Json]]:
        return self.futures[cell].result(timeout)

    @contextmanager
    def under_way(self) -> Iterator["Runs"]:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            by_server: Callable[[Cell], str] = lambda cell: cell.server.name  # noqa: E731
            for _, group in groupby(sorted(self.futures, key=by_server), by_server):
                pool.submit(self._play_all, list(group))
            try:
                yield self
            finally:
                self.stopping.set()

    def _play_all(self, group: list[Cell]) -> None:
        with ExitStack() as stack:
            place = Place(group[0].server, self.repository, stack)
            for cell in group:
                if self.stopping.is_set():
                    return
                try:
                    self.futures[cell].set_result(place.play(cell))
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
