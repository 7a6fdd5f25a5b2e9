"""`make bench`: the HTTP to HTTP path for small modern calls, isthmus and nginx by turns, each alone on one core.

A round counts only when the proxy's core was at least 90 % busy (CPU time of the proxy / time of the round): only then
is calls/s the proxy's and not the load's, and only then do two proxies work in the same regime. Rounds alternate; what
is compared is each pair.

Exit status: 0 when the target is met, 1 when it is missed, 2 when there is no valid measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import (
    BENCH,
    ISTHMUS,
    BenchError,
    Interrupted,
    Stage,
    cpu_seconds,
    free_port,
    idle_seconds,
    install_packages,
    two_cores,
)
from servers import back_requests, start_back, start_nginx, wait_ready

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = 0.45
BUSY = 0.90
ERRORS = ("connect", "read", "write", "status", "timeout", "wrong")


@dataclass(frozen=True)
class Target:
    """Where the load is sent: the back itself, or a proxy before it."""

    name: str
    port: int
    pid: int


@dataclass(frozen=True)
class Round:
    target: str
    calls: int
    wall: float
    cpu: float
    p50_us: int
    p99_us: int
    checked: int
    others: float  # what other processes took of the proxy's core

    @property
    def rate(self) -> float:
        return self.calls / self.wall

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.calls * 1e6

    @property
    def per_cpu_second(self) -> float:
        return self.calls / self.cpu

    @property
    def busy(self) -> float:
        return self.cpu / self.wall

    @property
    def counts(self) -> bool:
        return self.busy >= BUSY


@dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: int
    connections: int
    budget: float
    load_core: int
    proxy_core: int
    back_port: int


class Load:
    """wrk, twice at once: one process that loads, and a small one that reads and checks every answer it gets."""

    def __init__(self, plan: Plan, stage: Stage) -> None:
        self._plan = plan
        self._stage = stage
        self._processes = 0

    def _start(self, mode: str, shape: Sequence[str], port: int, seconds: int) -> subprocess.Popen[bytes]:
        self._processes += 1
        pin = ["taskset", "-c", str(self._plan.load_core)]
        wrk = ["wrk", *shape, "-d", f"{seconds}s", "--timeout", "5s", "-s", str(BENCH / "post.lua")]
        url = f"http://127.0.0.1:{port}/mcp"
        return self._stage.pipe([*pin, *wrk, url, "--", mode, str(1000 + self._processes)])

    def _result(self, name: str, process: subprocess.Popen[bytes], seconds: int) -> dict[str, int]:
        try:
            output = process.communicate(timeout=seconds + 15)[0].decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"wrk against {name} did not end in time") from error
        lines = output.splitlines()
        found = [line for line in lines if line.startswith("RESULT ")]
        if process.returncode != 0 or not found:
            raise BenchError(f"wrk against {name} failed: {output[-500:]} {self._stage.log('pipe')}")
        result: dict[str, int] = json.loads(found[-1][7:])
        bad = {kind: result[kind] for kind in ERRORS if result[kind]}
        if bad or not result["calls"]:
            examples = " ".join(line for line in lines if line.startswith("WRONG "))
            raise BenchError(f"errors under load against {name}: {bad or 'no call was answered'} {examples}")
        return result

    def round(self, target: Target, seconds: int) -> Round:
        seen = back_requests(self._plan.back_port)
        cpu, idle, began = cpu_seconds(target.pid), idle_seconds(self._plan.proxy_core), time.monotonic()
        shape = ["-t1", f"-c{self._plan.connections}"]
        both = [
            self._start("load", shape, target.port, seconds),
            self._start("check", ["-t1", "-c1"], target.port, seconds - 1),  # so that it never outlasts the load
        ]
        load, check = (self._result(target.name, process, seconds) for process in both)
        cpu, idle = cpu_seconds(target.pid) - cpu, idle_seconds(self._plan.proxy_core) - idle
        others = max(0.0, 1 - (cpu + idle) / (time.monotonic() - began))
        wall = load["duration_us"] / 1e6  # by wrk's clock: without its start
        for process in both:
            self._stage.drop(process)
        calls = load["calls"] + check["calls"]
        passed_on = back_requests(self._plan.back_port) - seen
        if passed_on < calls:
            raise BenchError(f"{target.name} answered {calls} calls, but only {passed_on} requests reached the back")
        if not check["checked"]:
            raise BenchError(f"no answer of {target.name} was checked")
        return Round(target.name, calls, wall, cpu, load["p50_us"], load["p99_us"], check["checked"], others)


def show(number: int, done: Round) -> None:
    if done.target == "direct":
        verdict = "the CPU is the back's"
    else:
        verdict = f"others {done.others:.0%}  "
        verdict += "counted" if done.counts else f"NOT COUNTED: the proxy had its core less than {BUSY:.0%} busy"
    print(
        f"{number:>3} {done.target:8}{done.rate:8.0f} calls/s {done.cpu_us:7.1f} µs CPU/call  busy {done.busy:5.1%}"
        f"  p50 {done.p50_us / 1000:.2f} p99 {done.p99_us / 1000:.2f} ms"
        f"  {done.calls} calls, {done.checked} checked  {verdict}",
        flush=True,
    )


def spread(values: Sequence[float], form: str) -> str:
    low, high = min(values), max(values)
    return f"median {format(statistics.median(values), form)} (min {format(low, form)}, max {format(high, form)})"


def summarize(name: str, rounds: Sequence[Round]) -> None:
    counted = [done for done in rounds if done.counts or name == "direct"]
    if not counted:
        print(f"{name}: no round was counted; CPU per call {spread([done.cpu_us for done in rounds], '.1f')} µs,")
        print(f"  at a busy share of {spread([done.busy for done in rounds], '.0%')}")
        return
    of = "" if name == "direct" else f" of {len(rounds)} rounds, {len(counted)} counted;"
    print(f"{name}:{of} calls/s {spread([done.rate for done in counted], '.0f')};")
    print(f"  CPU per call {spread([done.cpu_us for done in counted], '.1f')} µs", end="")
    print(f"; busy {spread([done.busy for done in counted], '.0%')}")


def measure(plan: Plan, load: Load, direct: Target, proxies: Sequence[Target]) -> list[tuple[Round, ...]]:
    """Rounds by turns until enough turns counted in full, or the time is over; the turns that counted."""
    every: dict[str, list[Round]] = {target.name: [] for target in (direct, *proxies)}
    turns: list[tuple[Round, ...]] = []
    end = time.monotonic() + plan.budget
    number = 0
    while len(turns) < plan.rounds and time.monotonic() < end:
        number += 1
        turn: list[Round] = []
        for target in (direct, *proxies) if number <= plan.rounds else proxies:
            done = load.round(target, plan.seconds)
            every[target.name].append(done)
            show(number, done)
            if target is not direct:
                turn.append(done)
        if all(done.counts for done in turn):
            turns.append(tuple(turn))
    print()
    for name, rounds in every.items():
        summarize(name, rounds)
    return turns


def compare(turns: Sequence[tuple[Round, ...]], wanted: int) -> int:
    """Print each pair's ratio and the headline; the exit status."""
    efficiency: list[float] = []
    for nginx, isthmus in turns:
        ratio = isthmus.per_cpu_second / nginx.per_cpu_second
        efficiency.append(ratio)
        print(f"pair {len(efficiency)}: calls per CPU second {ratio:.3f}, calls/s {isthmus.rate / nginx.rate:.3f}")
    if efficiency:
        print(f"isthmus/nginx calls per CPU second: {spread(efficiency, '.3f')}")
    if len(turns) < wanted:
        raise BenchError(f"only {len(turns)} of {wanted} pairs counted before the time was over: no measurement")
    met = statistics.median(efficiency) >= TARGET
    print(f"target {TARGET} or more: {'met' if met else 'MISSED'}")
    return 0 if met else 1


def run(options: argparse.Namespace) -> int:
    install_packages()
    load_core, proxy_core = two_cores()
    budget = options.budget if options.budget is not None else (60.0 if options.quick else 300.0)
    rounds, seconds = (2, 2) if options.quick else (options.rounds, options.seconds)
    plan = Plan(rounds, seconds, options.connections, budget, load_core, proxy_core, free_port())
    with Stage() as stage:
        os.sched_setaffinity(0, {load_core})
        congestion = "unknown"
        with contextlib.suppress(OSError), open("/proc/sys/net/ipv4/tcp_congestion_control") as setting:
            congestion = setting.read().strip()
        print(
            f"kernel {platform.release()}, Python {platform.python_version()}, TCP {congestion}; load and back on core"
        )
        print(f"  {load_core}, proxy on core {proxy_core}; {plan.connections} + 1 connections, {seconds} s a round")
        if options.quick:
            print("quick: too short to be quoted")
        back = start_back(stage, plan.back_port, load_core)
        wait_ready(stage, "back", back, plan.back_port)
        direct = Target("direct", plan.back_port, back.pid)
        proxies: list[Target] = []
        port = free_port()
        process = start_nginx(stage, port, plan.back_port, proxy_core)
        wait_ready(stage, "nginx", process, port)
        proxies.append(Target("nginx", port, process.pid))
        if not options.baseline:
            port = free_port()
            places = {"back": f"http://127.0.0.1:{plan.back_port}/mcp", "port": str(port)}
            command = [word.format(**places) for word in shlex.split(options.command)]
            process = stage.start("isthmus", command, proxy_core)
            wait_ready(stage, "isthmus", process, port)
            proxies.append(Target("isthmus", port, process.pid))
        load = Load(plan, stage)
        for target in (direct, *proxies):
            load.round(target, 2)  # a warm-up: connections opened, memory grown
        turns = measure(plan, load, direct, proxies)
        if not options.baseline:
            return compare(turns, plan.rounds)
    if len(turns) < plan.rounds:
        raise BenchError(f"only {len(turns)} of {plan.rounds} rounds counted before the time was over")
    print("isthmus: not measured, because --baseline was given")
    return 0


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="two pairs of two seconds: does it work, not how fast")
    parser.add_argument("--baseline", action="store_true", help="only the back and nginx, without isthmus")
    parser.add_argument("--rounds", type=positive, default=5, help="pairs that must count (5)")
    parser.add_argument("--seconds", type=positive, default=3, help="length of a round, 2 at least (3)")
    parser.add_argument("--connections", type=positive, default=120, help="of the load, 127 at most (120)")
    parser.add_argument("--budget", type=float, help="seconds after which no further round begins (300; quick: 60)")
    default = f"{shlex.quote(str(ISTHMUS))} run {{back}} --http {{port}}"
    parser.add_argument("--command", default=default, help="the proxy to measure, with {back} (URL) and {port}")
    options = parser.parse_args()
    if options.connections > 127:
        parser.error("more than 127 connections (one is added for the checks) would not fit nginx's `keepalive 128`")
    if options.seconds < 2:
        parser.error("a round takes 2 seconds at least")
    try:
        return run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"bench: stopped by {error}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
