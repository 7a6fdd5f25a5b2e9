"""Every path through isthmus, beside the back alone, nginx and the peers: calls/s, CPU per call, memory.

Each proxy has one core alone; the load, the backs and this program have the other. Targets take turns, round by round.
Everything measured goes into docs/performance.md, which is written by nobody else.

Exit status: 0 when both targets are met, 1 when one is missed, 2 when there is no valid measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness import (
    BENCH,
    BenchError,
    Interrupted,
    Stage,
    free_port,
    idle_seconds,
    install_packages,
    two_cores,
)
from path_loads import HttpFace, Sample, StdioFace
from path_memory import cpu_seconds, forget_peaks, peak_bytes, resident_bytes
from path_report import Cell, Outcome, Results, Turn, disturbance, verdict, write
from path_targets import HAS, WAYS, Environments, Way, command, line_back, start_path_back
from servers import start_nginx

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

SMALL = (Cell(100, 1), Cell(100, 16), Cell(100, 128))
LARGE = (Cell(1_000_000, 4), Cell(16_000_000, 1), Cell(16_000_000, 4))
OURS = LARGE[2:]
"""Measured with isthmus and nginx only: the peers would need minutes for it."""
CELLS = {way.key: (SMALL[0], SMALL[2], *LARGE) for way in WAYS} | {"json": (*SMALL, Cell(10_000, 16), *LARGE)}
"""What is measured on each path; all of it on the first only, so that the whole stays bearable."""
ONCE = 10_000_000
"""From this size on a round is one call on each connection at the same time, not a length of time."""
START = 60.0
ROUND = 0.5
ROUND_MOST = 1.5
PROBE = 0.4
FULL = 12
"""A round is ROUND seconds or longer, so that each connection has this many answers: what a proxy has begun when wrk
ends does not count. One that would need more than ROUND_MOST seconds is given a number of calls instead of a time: as
many as it should answer in ROUND_MOST, one on each connection at least."""


@dataclass
class Target:
    """One that is measured on a path, while it runs."""

    name: str
    process: subprocess.Popen[bytes]
    face: HttpFace | StdioFace
    rate: float = 0.0
    base: int = 0
    failed: dict[Cell, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    ways: Sequence[Way]
    names: Sequence[str]
    rounds: int
    load_core: int
    proxy_core: int
    back_port: int
    back: subprocess.Popen[bytes]


def start(stage: Stage, plan: Plan, way: Way, name: str, environments: Environments) -> Target:
    """Start a target of this path; raises `BenchError` when it cannot be."""
    port = plan.back_port if name == "direct" else free_port()
    core = plan.proxy_core
    label = f"{way.key}-{name.replace(', ', '-')}"
    back = [f"http://127.0.0.1:{plan.back_port}/mcp"] if way.back == "http" else line_back(plan.load_core)
    if name == "direct":
        process = plan.back
    elif name == "nginx":
        process = start_nginx(stage, port, plan.back_port, core)
    elif way.front == "http":
        process = stage.start(label, command(name, way, port, back, environments), core)
    else:
        process = stage.pipe(["taskset", "-c", str(core), *command(name, way, port, back, environments)], label)
        return Target(name, process, StdioFace(way, process))
    return Target(name, process, HttpFace(stage, way, port, plan.load_core))


def make_ready(stage: Stage, way: Way, target: Target) -> None:
    """Wait until the target serves, open its sessions, warm it up; raises `BenchError` with what it said."""
    deadline = time.monotonic() + START
    label = f"{way.key}-{target.name.replace(', ', '-')}"
    try:
        while True:
            try:
                target.face.open()
                target.face.one(100, 5)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline or target.process.poll() is not None:
                    raise
                time.sleep(0.1)
        took = [target.face.one(100, 6 + number) for number in range(5)]
        target.rate = 1 / sorted(took)[2]
        load(target, 100, 16)
    except (BenchError, OSError, http.client.HTTPException) as error:
        status = target.process.poll()
        ended = f" (it ended with status {status})" if status is not None else ""
        raise BenchError(f"{str(error) or repr(error)}{ended}; {stage.log(label)}") from error
    target.base = resident_bytes(target.process.pid)


def load(target: Target, size: int, in_flight: int) -> Sample:
    seconds = max(ROUND, FULL * in_flight / target.rate)
    if seconds > ROUND_MOST:
        return target.face.together(size, in_flight, max(1, round(target.rate * ROUND_MOST / in_flight)))
    return target.face.window(size, in_flight, seconds)


def turn(target: Target, cell: Cell, core: int) -> Turn:
    """One round of one target; raises what a load raises."""
    large = cell.size >= ONCE
    if large:
        forget_peaks(target.process.pid)
    cpu, idle, began = cpu_seconds(target.process.pid), idle_seconds(core), time.perf_counter()
    sample = target.face.together(cell.size, cell.in_flight) if large else load(target, cell.size, cell.in_flight)
    cpu, idle = cpu_seconds(target.process.pid) - cpu, idle_seconds(core) - idle
    wall = time.perf_counter() - began
    if not sample.calls:
        raise BenchError("no call was answered in the round")
    rate = sample.calls / sample.seconds
    target.rate = rate
    grown = peak_bytes(target.process.pid) - target.base if large and target.name != "direct" else 0
    memory = grown / cell.in_flight / cell.size
    others = max(0.0, 1 - (cpu * (target.name != "direct") + idle) / wall)
    return Turn(rate, cpu / sample.calls * 1e6, cpu / wall, sample.p50_ms, memory, others)


def estimate(target: Target, cell: Cell) -> None:
    """Learn how long a round must be: from one call where those before were smaller, from a short round where the calls
    before were fewer at a time and say that wrk may not be for this one."""
    if SMALL[0].size < cell.size < ONCE:
        target.rate = 1 / target.face.one(cell.size, 9)
    if cell.size < ONCE and FULL * cell.in_flight / target.rate > ROUND_MOST:
        with contextlib.suppress(BenchError):  # too slow for it
            sample = target.face.window(cell.size, cell.in_flight, PROBE)
            target.rate = max(sample.calls, 1) / sample.seconds


def measure(way: Way, targets: Sequence[Target], plan: Plan, results: Results) -> None:
    for cell in CELLS[way.key]:
        for _ in range(plan.rounds):
            for target in targets:
                if cell in OURS and target.name not in ("isthmus", "nginx"):
                    continue
                outcome = results.setdefault((way.key, cell, target.name), Outcome())
                if outcome.failed:
                    continue
                try:
                    if not outcome.turns:
                        estimate(target, cell)
                    outcome.turns.append(turn(target, cell, plan.proxy_core))
                except (BenchError, OSError, http.client.HTTPException, ValueError) as error:
                    outcome.failed = str(error) or repr(error)
        for target in targets:
            if (way.key, cell, target.name) in results:
                print(f"  {cell} {target.name:17} {results[way.key, cell, target.name]}", flush=True)


def run_way(stage: Stage, plan: Plan, way: Way, environments: Environments, results: Results) -> None:
    print(f"{way.title}", flush=True)
    targets: list[Target] = []
    failed: dict[str, str] = {}
    for name in (name for name in plan.names if way.needs in HAS[name]):
        try:
            targets.append(start(stage, plan, way, name, environments))
        except BenchError as error:
            failed[name] = str(error)
    ready: list[Target] = []
    for target in targets:
        try:
            make_ready(stage, way, target)
            ready.append(target)
        except BenchError as error:
            failed[target.name] = str(error)
    for name, why in failed.items():
        print(f"  {name}: FAILED {why}")
        for cell in CELLS[way.key]:
            results[way.key, cell, name] = Outcome(failed=why)
    measure(way, ready, plan, results)
    for target in targets:
        if target.process is not plan.back:
            stage.drop(target.process)


def run(options: argparse.Namespace) -> int:
    install_packages()
    load_core, proxy_core = two_cores()
    ways = [way for way in WAYS if options.only is None or way.key in options.only]
    names = [name for name in HAS if options.names is None or name in (*options.names, "isthmus")]
    rounds = 1 if options.quick else options.rounds
    environments = Environments()
    versions = environments.versions()
    results: Results = {}
    began = time.monotonic()
    with Stage() as stage:
        os.sched_setaffinity(0, {load_core})
        port = free_port()
        back = start_path_back(stage, port, load_core)
        plan = Plan(ways, names, rounds, load_core, proxy_core, port, back)
        for way in ways:
            run_way(stage, plan, way, environments, results)
    lines, met = verdict(ways, results)
    print("\n".join([*lines, disturbance(results)]))
    if options.output:
        write(options.output, ways, results, versions, rounds, time.monotonic() - began)
        print(f"written: {os.path.relpath(options.output)}")
    return 0 if met else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one round each, nothing written: does it work")
    parser.add_argument("--rounds", type=int, default=3, help="of each target (3)")
    parser.add_argument("--only", nargs="+", choices=[way.key for way in WAYS], help="these paths; nothing written")
    parser.add_argument("--names", nargs="+", choices=list(HAS), help="isthmus and these; nothing written")
    parser.add_argument("--output", help="write there instead of docs/performance.md, whatever was measured")
    options = parser.parse_args()
    if options.output is None and not (options.quick or options.only or options.names):
        options.output = str(BENCH.parent / "docs" / "performance.md")
    try:
        return run(options)
    except BenchError as error:
        print(f"paths: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"paths: stopped by {error}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
