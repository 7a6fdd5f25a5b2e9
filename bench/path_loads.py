"""The loads of the paths: wrk for a proxy on HTTP, a window of pipelined calls for one on stdio, both checked.

A round on HTTP is two wrk at once: one that loads, and a small one that reads and checks every answer it gets; with one
connection only the latter. They are ended by SIGINT, upon which wrk says what it has measured: its own clock knows no
half seconds. Answers of 16 MB are fetched by threads of this process, which count and check each.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import re
import select
import signal
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness import BENCH, BenchError, Stage
from servers import META

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from path_targets import Way

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
CLIENT = {"name": "bench", "version": "1"}
PLACE = "@" * 14
WHOLE = 10_000
"""Up to this size an answer's text is compared; of a larger one its end, and the answer's length."""
PATIENCE = 60.0
"""For one answer: that of isthmus to its backs, so that none waits longer than it may."""
ERRORS = ("connect", "read", "write", "status", "timeout", "wrong")
ID = re.compile(rb'"id":\s*"?(\d+)')
ENDS = 400
"""Bytes at each end of an answer within which its id stands."""


@dataclass(frozen=True)
class Sample:
    """What one round of load has measured, by the load's clock."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float = 0.0
    """Of HTTP only."""


def message(method: str, params: dict[str, Any] | None = None, identifier: int | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"jsonrpc": "2.0"}
    if identifier is not None:
        said["id"] = identifier
    return {**said, "method": method, **({"params": params} if params is not None else {})}


def initialize(identifier: int) -> dict[str, Any]:
    return message("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}, identifier)


def call(way: Way, size: int, identifier: int, prefix: str = "") -> dict[str, Any]:
    """A call of the tool that answers with `size` bytes in the path's form."""
    params: dict[str, Any] = {"name": f"{prefix}{way.form}_{size}", "arguments": {"text": "hello"}}
    return message("tools/call", {**params, "_meta": META} if way.era == "modern" else params, identifier)


def mark(size: int) -> str:
    """What stands in every right answer with `size` bytes of text."""
    return "x" * (size - 2 if size <= WHOLE else 0) + 'ok"'


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def check_answer(body: bytes, identifier: int, size: int) -> None:
    """Raise `BenchError` unless this holds the whole result of the call `identifier`."""
    ends = body if len(body) < 2 * ENDS else body[:ENDS] + b" " + body[-ENDS:]
    found = {int(number) for number in ID.findall(ends)}
    if identifier not in found or len(body) < size or mark(size).encode() not in body[-ENDS - WHOLE :]:
        raise BenchError(f"the call {identifier} for {size} bytes was answered with {len(body)} bytes: {body[:300]!r}")


@dataclass
class HttpFace:
    """How a target is spoken to over HTTP: its port, the headers of each of its legacy sessions, and what begins the
    names of its tools; where that is several, calls go to each in turn."""

    stage: Stage
    way: Way
    port: int
    core: int
    sessions: list[dict[str, str]] = field(default_factory=list)
    prefixes: Sequence[str] = ("",)
    started: int = 0

    def prefix(self, number: int) -> str:
        return self.prefixes[number % len(self.prefixes)]

    def headers(self, size: int, session: int = 0) -> dict[str, str]:
        base = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.way.era == "modern":
            name = f"{self.prefix(session)}{self.way.form}_{size}"
            return {**base, "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": name}
        return {**base, **self.sessions[session % len(self.sessions)]} if self.sessions else base

    def post(self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> tuple[Any, bytes]:
        connection.request("POST", "/mcp", body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status not in (200, 202):
            raise BenchError(f"status {response.status}: {answer[:300]!r}")
        return response, answer

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def open(self) -> None:
        """Open the path's legacy sessions, if it has any."""
        while self.way.era == "legacy" and len(self.sessions) < self.way.sessions:
            connection = self.connect()
            try:
                base = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
                response, _ = self.post(connection, compact(initialize(1)), base)
                session = {"MCP-Protocol-Version": LEGACY}
                if identifier := response.getheader("Mcp-Session-Id"):
                    session["Mcp-Session-Id"] = identifier
                self.post(connection, compact(message("notifications/initialized")), {**base, **session})
                self.sessions.append(session)
            finally:
                connection.close()

    def one(self, size: int, identifier: int) -> float:
        """One call, checked, on a connection of its own; the seconds it took without connecting."""
        connection = self.connect()
        try:
            connection.connect()
            return self._one(connection, size, identifier)
        finally:
            connection.close()

    def _one(self, connection: http.client.HTTPConnection, size: int, identifier: int) -> float:
        began = time.perf_counter()
        said = compact(call(self.way, size, identifier, self.prefix(identifier)))
        _, body = self.post(connection, said, self.headers(size, identifier))
        took = time.perf_counter() - began
        check_answer(body, identifier, size)
        return took

    def window(self, size: int, in_flight: int, seconds: float) -> Sample:
        """Load with `in_flight` connections; raises `BenchError` when any answer is an error or a wrong one."""
        file = self.stage.folder / "requests"
        file.write_bytes(b"\0".join(self.requests(size)))
        modes = [("check", 1)] if in_flight == 1 else [("load", in_flight - 1), ("beside", 1)]
        running = [self._start(mode, connections, str(file), mark(size)) for mode, connections in modes]
        time.sleep(seconds)
        for process in running:
            process.send_signal(signal.SIGINT)
        results = [self._result(process) for process in running]
        for process in running:
            self.stage.drop(process)
        if not results[-1]["checked"]:
            raise BenchError("no answer was checked: none came in the round")
        calls = sum(result["calls"] for result in results)
        if sum(result["bytes"] for result in results) < calls * size:
            raise BenchError(f"{calls} answers had fewer than {size} bytes each")
        return Sample(calls, results[0]["duration_us"] / 1e6, results[0]["p50_us"] / 1e3, results[0]["p99_us"] / 1e3)

    def requests(self, size: int) -> list[bytes]:
        """Whole HTTP requests, one for each session and prefix, with `PLACE` instead of an id."""
        return [self._request(size, number) for number in range(max(1, len(self.prefixes), len(self.sessions)))]

    def _request(self, size: int, session: int) -> bytes:
        said = compact(call(self.way, size, 0, self.prefix(session)))
        text = said.replace(b'"id":0', b'"id":' + PLACE.encode(), 1)
        headers = {"Host": f"127.0.0.1:{self.port}", **self.headers(size, session), "Content-Length": str(len(text))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + text

    def _start(self, mode: str, connections: int, file: str, text: str) -> subprocess.Popen[bytes]:
        self.started += 1
        wrk = ["taskset", "-c", str(self.core), "wrk", "-t1", f"-c{connections}", "-d", "600s"]
        tail = ["--timeout", f"{PATIENCE:.0f}s", "-s", str(BENCH / "paths.lua"), f"http://127.0.0.1:{self.port}/mcp"]
        return self.stage.pipe([*wrk, *tail, "--", mode, str(1000 + self.started), file, text], f"wrk-{mode}")

    def _result(self, process: subprocess.Popen[bytes]) -> dict[str, int]:
        try:
            output = process.communicate(timeout=30)[0].decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            raise BenchError("wrk did not end in time") from error
        lines = output.splitlines()
        found = [line for line in lines if line.startswith("RESULT ")]
        if process.returncode != 0 or not found:
            raise BenchError(f"wrk failed: {output[-300:]}")
        result: dict[str, int] = json.loads(found[-1][7:])
        bad = {kind: result[kind] for kind in ERRORS if result[kind]}
        if bad:
            examples = " ".join(line for line in lines if line.startswith("WRONG "))
            raise BenchError(f"errors under load: {bad} {examples}".strip())
        return result

    def together(self, size: int, in_flight: int, each: int = 1) -> Sample:
        """`each` calls after another on as many connections, from the first to the end of the last; all are checked."""
        took: list[float] = []
        failed: list[Exception] = []

        def calls(number: int) -> None:
            connection = self.connect()
            try:
                first = 10_000 + number * each
                took.extend([self._one(connection, size, first + turn) for turn in range(each)])
            except (BenchError, OSError, http.client.HTTPException) as error:
                failed.append(error)
            finally:
                connection.close()

        began = time.perf_counter()
        run_all([functools.partial(calls, number) for number in range(in_flight)])
        seconds = time.perf_counter() - began
        if failed:
            raise BenchError(f"a call for {size} bytes failed: {failed[0]!r}") from failed[0]
        return Sample(len(took), seconds, statistics.median(took) * 1e3)


def run_all(jobs: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2 * PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            raise BenchError(f"calls were not over after {2 * PATIENCE:.0f} s")


class StdioFace:
    """How a target is spoken to over its stdin and stdout."""

    def __init__(self, way: Way, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._way = way
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        self._pieces: list[bytes] = []
        self._next = 10_000
        self._mark = b""

    def open(self) -> None:
        """Shake hands, if the path is legacy."""
        if self._way.era != "legacy":
            return
        self._write(compact(initialize(1)) + b"\n")
        deadline = time.monotonic() + PATIENCE
        while not any(b'"protocolVersion"' in line for line in self._lines(deadline)):
            pass
        self._write(compact(message("notifications/initialized")) + b"\n")

    def one(self, size: int, identifier: int) -> float:
        """One call, checked; the seconds it took."""
        del identifier
        return self.together(size, 1).seconds

    def window(self, size: int, in_flight: int, seconds: float, least: int = 0) -> Sample:
        """Keep `in_flight` calls under way for so long and so many, then wait for the last; each answer is checked."""
        template = compact(call(self._way, size, 0)) + b"\n"
        self._mark = mark(size).encode()
        head, _, tail = template.partition(b'"id":0')
        head += b'"id":'
        sent: dict[int, float] = {}
        took: list[float] = []
        due, calls = in_flight, 0
        began = now = time.perf_counter()
        deadline = time.monotonic() + seconds + PATIENCE
        while True:
            if due:
                fresh = range(self._next, self._next + due)
                self._next += due
                sent.update(dict.fromkeys(fresh, now))
                self._write(b"".join([head + b"%d" % number + tail for number in fresh]))
            if not sent:
                return Sample(calls, now - began, statistics.median(took) * 1e3)
            lines = self._lines(deadline)
            now = time.perf_counter()
            took.extend(now - sent.pop(self._checked(line, size, sent)) for line in lines)
            calls += len(lines)
            due = len(lines) if now - began < seconds else min(len(lines), max(0, least - calls - len(sent)))

    def together(self, size: int, in_flight: int, each: int = 1) -> Sample:
        """`in_flight` times `each` calls, so many at the same time."""
        return self.window(size, in_flight, 0, in_flight * each)

    def _checked(self, line: bytes, size: int, sent: dict[int, float]) -> int:
        ends = line if len(line) < 2 * ENDS else line[:ENDS] + b" " + line[-ENDS:]
        for number in ID.findall(ends):
            if int(number) in sent and len(line) >= size and self._mark in line[-ENDS - WHOLE :]:
                return int(number)
        raise BenchError(f"a call for {size} bytes was answered with {len(line)} bytes: {line[:300]!r}")

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            if not select.select([], [self._in], [], PATIENCE)[1]:
                raise BenchError(f"it read nothing from its stdin for {PATIENCE:.0f} s")
            left = left[os.write(self._in, left[:4096]) :]

    def _lines(self, deadline: float) -> list[bytes]:
        """At least one whole line of its output."""
        while True:
            wait = min(PATIENCE, deadline - time.monotonic())
            if wait <= 0 or not select.select([self._out], [], [], wait)[0]:
                raise BenchError("no answer came in time")
            piece = os.read(self._out, 1 << 20)
            if not piece:
                raise BenchError("it ended")
            if b"\n" not in piece:
                self._pieces.append(piece)
                continue
            *lines, rest = b"".join([*self._pieces, piece]).split(b"\n")
            self._pieces = [rest] if rest else []
            return [line for line in lines if line.strip()]
