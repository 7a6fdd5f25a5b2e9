"""How long `isthmus run` on stdio takes to answer its first request, against importing what it cannot do without.

By turns: the imports alone (start to end of the process), the back alone and isthmus before that back (start of the
process to the answer to a `tools/call`). The back's own time is subtracted from isthmus's in each turn.

Exit status: 0 when the target is met, 1 when it is missed, 2 when there is no valid measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import selectors
import shlex
import statistics
import sys
import time
from typing import TYPE_CHECKING

from harness import BENCH, ISTHMUS, BenchError, Interrupted, Stage
from servers import call_body

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

TARGET = 3.0
PATIENCE = 20.0
IMPORTS = [sys.executable, "-c", "import asyncio, uvloop, msgspec"]
BACK = [sys.executable, "-I", "-S", str(BENCH / "stdio_back.py")]


def read_line(process: subprocess.Popen[bytes], name: str, stage: Stage) -> bytes:
    """The first line of the child's output, within bounds."""
    assert process.stdout is not None
    line = b""
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise BenchError(f"{name} did not answer within {PATIENCE:.0f} s: {stage.log('pipe')}")
            piece = process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not piece:
                raise BenchError(f"{name} ended without an answer: {stage.log('pipe')}")
            line += piece
    return line


def first_answer(stage: Stage, name: str, command: Sequence[str], identifier: int) -> float:
    """Seconds from the start of the process to the correct answer to its first request."""
    began = time.perf_counter()
    process = stage.pipe(command)
    assert process.stdin is not None
    try:
        process.stdin.write(call_body(identifier) + b"\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        process.wait(PATIENCE)
        raise BenchError(f"{name} ended at its start: {stage.log('pipe')}") from error
    line = read_line(process, name, stage)
    took = time.perf_counter() - began
    stage.drop(process)
    try:
        answer = json.loads(line)
        good = answer["id"] == identifier and answer["result"]["content"] == [{"type": "text", "text": "ok"}]
    except (ValueError, LookupError, TypeError):
        good = False
    if not good:
        raise BenchError(f"{name} answered {line[:500]!r} to the request {identifier}")
    return took


def wait_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a child; `Popen.wait` with a timeout would look for it every 50 ms only."""
    descriptor = os.pidfd_open(process.pid)
    try:
        if not select.select([descriptor], [], [], PATIENCE)[0]:
            raise BenchError(f"the process {process.pid} did not end within {PATIENCE:.0f} s")
    finally:
        os.close(descriptor)


def run_to_end(stage: Stage, command: Sequence[str]) -> float:
    began = time.perf_counter()
    process = stage.pipe(command)
    wait_end(process)
    took = time.perf_counter() - began
    status = process.wait(PATIENCE)
    stage.drop(process)
    if status != 0:
        raise BenchError(f"{shlex.join(command)} ended with status {status}: {stage.log('pipe')}")
    return took


def show(name: str, values: Sequence[float]) -> float:
    middle = statistics.median(values)
    print(f"{name}: median {middle * 1e3:.1f} ms (min {min(values) * 1e3:.1f}, max {max(values) * 1e3:.1f})")
    return middle


def run(options: argparse.Namespace) -> int:
    rounds = 3 if options.quick else options.rounds
    command: list[str] = []
    for word in shlex.split(options.command):
        command += BACK if word == "{back}" else [word]
    imports: list[float] = []
    backs: list[float] = []
    whole: list[float] = []
    if options.quick:
        print("quick: too few turns to be quoted")
    with Stage() as stage:
        for number in range(rounds + 1):
            turn = (
                run_to_end(stage, IMPORTS),
                first_answer(stage, "the back", BACK, 1000 + number),
                first_answer(stage, "isthmus", command, 2000 + number),
            )
            if number == 0:
                continue  # the first turn writes byte code and fills the page cache
            for values, took in zip((imports, backs, whole), turn, strict=True):
                values.append(took)
            texts = (f"{took * 1e3:.1f}" for took in turn)
            print(
                "turn {}: imports {} ms, back alone {} ms, isthmus with back {} ms".format(number, *texts), flush=True
            )
    base = show("imports alone", imports)
    show("back alone", backs)
    show("isthmus with its back", whole)
    own = show("isthmus without its back", [both - back for both, back in zip(whole, backs, strict=True)])
    met = own / base <= TARGET
    print(
        f"isthmus/imports: ratio of medians {own / base:.2f}; target {TARGET:.0f} or less: {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="three turns: does it work, not how fast")
    parser.add_argument("--rounds", type=int, default=9, choices=range(7, 100), metavar="N", help="turns, 7 to 99 (9)")
    default = f"{shlex.quote(str(ISTHMUS))} run -- {{back}}"
    parser.add_argument("--command", default=default, help="the proxy to start; the word {back} is the back's command")
    options = parser.parse_args()
    try:
        return run(options)
    except (BenchError, OSError) as error:
        print(f"startup: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"startup: stopped by {error}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
