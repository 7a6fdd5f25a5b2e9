"""What looking for the next message costs a process whose back is slow, by its CPU time."""

import os
from pathlib import Path

import pytest

from .backs import Running, isthmus
from .raw import call, connected, modern_post
from .shells import run

CALLS = 20


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def slow_calls(proxy: Running) -> float:
    """The CPU time of calls that take 20 ms each, one after the other."""
    async with connected(proxy.port) as peer:
        peer.send(modern_post(call("echo")))
        await peer.response()
        before = cpu_seconds(proxy.process.pid)
        for number in range(CALLS):
            peer.send(modern_post(call("sleep", number, seconds=0.02)))
            assert (await peer.response()).status == 200
        return cpu_seconds(proxy.process.pid) - before


@pytest.mark.skipif(os.cpu_count() == 1, reason="with one core nothing is looked for")
def test_slow_calls_are_slept_through_unless_they_are_not_to_be() -> None:
    took: dict[str, float] = {}

    async def scenario() -> None:
        for options in ((), ("--busy-poll", "0"), ("--busy-poll", "1000000")):
            async with isthmus("--http", "0", *options) as proxy:
                took[" ".join(options)] = await slow_calls(proxy)

    run(scenario)
    always = took.pop("--busy-poll 1000000")
    assert always > 0.1
    assert all(some < always / 2 for some in took.values()), took


@pytest.mark.parametrize("odd", ["-1", "1.5", "soon"])
def test_a_time_that_is_none(odd: str) -> None:
    async def scenario() -> None:
        async with isthmus("--busy-poll", odd) as proxy:
            code, _, err = await proxy.end()
            assert code == 2
            assert err == f"isthmus: argument --busy-poll: {odd!r} is no whole number from 0 on. See isthmus --help.\n"

    run(scenario)
