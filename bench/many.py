"""100 backs with 100 tools each behind one isthmus: lists, calls, a back that says nothing, memory, start-up.

isthmus before many has one core alone; the load, the backs and this program have the other. Beside it stand isthmus
before one of these backs, the back alone, and isthmus before the same backs of which one is a black hole; they take
turns, round by round. Everything measured goes into docs/performance-many.md, which is written by nobody else.

Exit status: 0 when all targets are met, 1 when one is missed, 2 when there is no valid measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from environments import python_environment, python_version
from harness import BENCH, ISTHMUS, BenchError, Interrupted, Stage, free_port, install_packages, two_cores
from many_report import Found, Scale, Turn, percentile, tell, verdict, write
from many_targets import (
    BASE,
    TOOLS,
    Caller,
    Doing,
    Hole,
    Reader,
    by_turns,
    http_servers,
    prefixes,
    start_isthmus,
    stdio_servers,
    wait_open,
)
from path_loads import MODERN, HttpFace, compact, message
from path_memory import cpu_seconds, family, resident_bytes
from path_report import plain
from path_targets import Way, start_path_back
from servers import META

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from typing import Any

COUNT = 100
HOLE = 50
"""The server that is a black hole: one in the middle."""
SIZES = (1, 10, 50, 100)
STDIO = 20
LISTS = 200
CALLS = 1000
"""To each target in a round, where one is in flight."""
ROW = 20
"""Calls or lists of one target before the next has its turn."""
SIZE = 100
WINDOW = 0.4
"""Seconds. Short, and many of them: what else a machine does then disturbs all targets alike."""
PEER_PATIENCE = 50.0
LINE_TOOLS = 8
WAYS = {era: Way(f"many-{era}", era, "http", "http", era) for era in ("modern", "legacy")}


@dataclass
class Target:
    """One that is measured, while it runs: how calls go there, and who reads its lists."""

    name: str
    process: subprocess.Popen[bytes]
    faces: dict[str, HttpFace]
    tools: int = 0
    readers: dict[str, Reader] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    stage: Stage
    rounds: int
    load_core: int
    proxy_core: int
    back_port: int
    back: subprocess.Popen[bytes]


def face(plan: Plan, era: str, port: int, names: Sequence[str]) -> HttpFace:
    made = HttpFace(plan.stage, WAYS[era], port, plan.load_core)
    made.prefixes = names
    return made


def begin(plan: Plan, name: str, servers: dict[str, Any], names: Sequence[str], tools: int) -> Target:
    """isthmus before these servers, ready for both eras' calls."""
    port = free_port()
    process = start_isthmus(plan.stage, name, servers, port, plan.proxy_core)
    wait_open(plan.stage, name, process, port)
    faces = {era: face(plan, era, port, names) for era in WAYS}
    return Target(name, process, faces, tools)


def open_readers(target: Target, eras: Sequence[str]) -> dict[str, float]:
    """Have each era read a first list; the seconds that it took."""
    first: dict[str, float] = {}
    for era in eras:
        target.readers[era] = Reader(target.faces[era].port, era)
        first[era] = target.readers[era].list(target.tools)
    return first


def warm(target: Target, eras: Sequence[str]) -> None:
    """One call to each back, and a short load."""
    for era in eras:
        way = target.faces[era]
        way.open()
        for number in range(len(way.prefixes)):
            way.one(SIZE, 10 + number)
        way.window(SIZE, 16, 0.3)


def turn(target: Target, era: str, in_flight: int) -> Turn:
    """One round of calls, by wrk."""
    cpu = cpu_seconds(target.process.pid)
    sample = target.faces[era].window(SIZE, in_flight, WINDOW)
    cpu = cpu_seconds(target.process.pid) - cpu
    return Turn(sample.calls / sample.seconds, cpu / sample.calls * 1e6, sample.p50_ms, sample.p99_ms)


def one_by_one(targets: Sequence[Target], era: str) -> list[Turn]:
    """One round of calls of which one is in flight."""
    callers = [Caller(target.faces[era], SIZE) for target in targets]
    doing = [Doing(each.call, family(target.process.pid)) for each, target in zip(callers, targets, strict=True)]
    by_turns(doing, CALLS, ROW)
    for caller in callers:
        caller.close()
    return [
        Turn(
            1 / statistics.mean(each.took),
            each.cpu / CALLS * 1e6,
            *(percentile(each.took, at) * 1e3 for at in (0.5, 0.99)),
        )
        for each in doing
    ]


def measure(plan: Plan, targets: Sequence[Target], found: Found, eras: Sequence[str]) -> None:
    """Calls and lists of all targets, by turns; the order turns round, too, so that none is always the first."""
    for number in range(plan.rounds):
        turned = targets if number % 2 else targets[::-1]
        for era in eras:
            for target, done in zip(turned, one_by_one(turned, era), strict=True):
                found.calls.setdefault((target.name, era, 1), []).append(done)
            for target in turned:
                found.calls.setdefault((target.name, era, 16), []).append(turn(target, era, 16))
            lists = {
                target.name: Doing(partial(target.readers[era].list, target.tools), [])
                for target in turned
                if era in target.readers
            }
            by_turns(list(lists.values()), LISTS, ROW)
            for name, lister in lists.items():
                found.lists.setdefault((name, era), []).append([took * 1e3 for took in lister.took])


def measure_http(plan: Plan, found: Found) -> None:
    """Many, many with a black hole, one and none, over HTTP."""
    hole = Hole()
    whole = http_servers(plan.back_port, COUNT, {})
    holed = http_servers(plan.back_port, COUNT, {HOLE: hole.port})
    names = prefixes(COUNT)
    some = [name for number, name in enumerate(names) if number != HOLE]
    many = begin(plan, "many", whole, names, COUNT * TOOLS)
    less = begin(plan, "many, one black hole", holed, some, (COUNT - 1) * TOOLS)
    one = begin(plan, "one", http_servers(plan.back_port, 1, {}), prefixes(1), TOOLS)
    only = Target("many, to one", many.process, {era: face(plan, era, many.faces[era].port, names[:1]) for era in WAYS})
    direct = Target("direct", plan.back, {era: face(plan, era, plan.back_port, [""]) for era in WAYS})
    try:
        for target in (many, one, less):
            first = open_readers(target, tuple(WAYS))
            found.first |= {(target.name, era): took for era, took in first.items()}
        found.refused = call_the_hole(less)
        targets = (direct, one, only, many, less)
        for target in targets:
            warm(target, tuple(WAYS))
        measure(plan, targets, found, tuple(WAYS))
    finally:
        for target in (many, one, less):
            plan.stage.drop(target.process)
        hole.close()


def call_the_hole(target: Target) -> tuple[float, str]:
    """How long a call to the black hole takes that lists have found, and what is said to it."""
    name = f"{prefixes(COUNT)[HOLE]}json_100"
    body, took = target.readers["modern"].ask("tools/call", name=name, arguments={"text": "hello"})
    return took, body.decode(errors="replace")


def measure_stdio(plan: Plan, found: Found) -> None:
    """Many processes of older servers, and one, for a client of theirs."""
    many = begin(plan, f"{STDIO} on stdio", stdio_servers(STDIO, plan.load_core), prefixes(STDIO), STDIO * LINE_TOOLS)
    one = begin(plan, "one on stdio", stdio_servers(1, plan.load_core), prefixes(1), LINE_TOOLS)
    try:
        for target in (many, one):
            first = open_readers(target, ("legacy",))
            found.first |= {(target.name, era): took for era, took in first.items()}
            warm(target, ("legacy",))
        measure(plan, (one, many), found, ("legacy",))
    finally:
        for target in (many, one):
            plan.stage.drop(target.process)


def measure_scale(plan: Plan, found: Found) -> None:
    """Memory, and the time from the start of the process, for a growing number of backs."""
    for _ in range(plan.rounds):
        for count in SIZES:
            found.scales.setdefault(count, []).append(scale(plan, count))


def scale(plan: Plan, count: int) -> Scale:
    began = time.perf_counter()
    target = begin(plan, f"scale-{count}", http_servers(plan.back_port, count, {}), prefixes(count), count * TOOLS)
    opened, small = time.perf_counter() - began, resident_bytes(target.process.pid)
    open_readers(target, ("modern",))
    listed, grown = time.perf_counter() - began, resident_bytes(target.process.pid)
    for number in range(count):
        target.faces["modern"].one(SIZE, 10 + number)
    called = resident_bytes(target.process.pid)
    target.readers["modern"].close()
    plan.stage.drop(target.process)
    return Scale(opened, listed, small, grown, called)


def measure_peer(plan: Plan, found: Found) -> None:
    """FastMCP's proxy of several servers, once: one is there, the other says nothing."""
    hole = Hole()
    try:
        python = python_environment("fastmcp")
        found.versions["fastmcp"] = python_version(python, "fastmcp")
        port = free_port()
        urls = [f"http://127.0.0.1:{plan.back_port}/fresh/0", f"http://127.0.0.1:{hole.port}/mcp"]
        command = [str(python / "python"), str(BENCH / "fastmcp_proxy.py"), "many", "modern", f"http:{port}", *urls]
        process = plan.stage.start("fastmcp", command, plan.proxy_core)
        wait_open(plan.stage, "fastmcp", process, port)
        for what in ("tools/list", "tools/call"):
            found.peer[what] = ask_peer(port, what)
        plan.stage.drop(process)
    except (BenchError, OSError) as error:
        found.peer["failed"] = str(error) or repr(error)
    finally:
        hole.close()


def ask_peer(port: int, method: str) -> str:
    """How long the peer took for a list, or for a call to the server that is there."""
    params = {"name": "s0_json_100", "arguments": {"text": "hello"}} if method == "tools/call" else {}
    headers = {**BASE, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if "name" in params:
        headers["Mcp-Name"] = str(params["name"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PEER_PATIENCE)
    began = time.monotonic()
    body = b""
    try:
        connection.request("POST", "/mcp", compact(message(method, {**params, "_meta": META}, 7)), headers)
        response = connection.getresponse()
        while b'"id":7' not in body and time.monotonic() - began < PEER_PATIENCE and (piece := response.read1(1 << 20)):
            body += piece
    except TimeoutError:
        body = b""
    finally:
        connection.close()
    if b'"id":7' not in body:
        return f"no answer within {PEER_PATIENCE:.0f} s"
    what = f"{body.count(b'inputSchema')} tools" if b'"tools"' in body else plain(body.decode(errors="replace"))[:120]
    return f"{what} after {time.monotonic() - began:.1f} s"


def run(options: argparse.Namespace) -> int:
    install_packages()
    load_core, proxy_core = two_cores()
    found = Found()
    found.versions["isthmus"] = python_version(ISTHMUS.parent, "isthmus")
    began = time.monotonic()
    parts = {"http": measure_http, "stdio": measure_stdio, "scale": measure_scale, "peer": measure_peer}
    with Stage() as stage:
        os.sched_setaffinity(0, {load_core})
        port = free_port()
        back = start_path_back(stage, port, load_core)
        plan = Plan(stage, 1 if options.quick else options.rounds, load_core, proxy_core, port, back)
        wait_open(stage, "path-back", back, port)
        for name in options.only or parts:
            print(f"measuring {name}", flush=True)
            parts[name](plan, found)
    lines, met = verdict(found)
    print("\n".join([*tell(found), *lines]))
    if options.output:
        how = {"rounds": plan.rounds, "window": WINDOW, "calls": CALLS, "row": ROW, "lists": LISTS}
        write(options.output, found, time.monotonic() - began, **how)
        print(f"written: {os.path.relpath(options.output)}")
    return 0 if met else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one round each, nothing written: does it work")
    parser.add_argument("--rounds", type=int, default=15, help="of each target (15)")
    parser.add_argument("--only", nargs="+", choices=["http", "stdio", "scale", "peer"], help="these; nothing written")
    parser.add_argument("--output", help="write there instead of docs/performance-many.md, whatever was measured")
    options = parser.parse_args()
    if options.output is None and not (options.quick or options.only):
        options.output = str(BENCH.parent / "docs" / "performance-many.md")
    try:
        return run(options)
    except (BenchError, OSError, http.client.HTTPException) as error:
        print(f"many: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"many: stopped by {error}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
