"""Looking for what comes next instead of sleeping: how long, and when no more."""

import asyncio
import gc
import os
import weakref

import pytest

from isthmus.limits import POLL_CREDIT, POLL_RETRY
from isthmus.transports import busy_poll
from isthmus.transports.busy_poll import BusyPoll, poll_of

MOMENT = 0.001


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(busy_poll, "time", clock)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    return clock


class Turns(asyncio.SelectorEventLoop):
    """A loop that counts what it is to do soon."""

    soon = 0

    def call_soon(self, *args: object, **kwargs: object) -> asyncio.Handle:
        self.soon += 1
        return super().call_soon(*args, **kwargs)  # type: ignore[arg-type]


def run(scenario: "Scenario") -> None:
    with asyncio.Runner(loop_factory=Turns) as runner:
        runner.run(scenario.run())


class Scenario:
    """Writes, and moments that pass."""

    def __init__(self, clock: Clock, seconds: float = MOMENT) -> None:
        self.clock = clock
        self.seconds = seconds
        self.poll = BusyPoll()
        self.looked: list[bool] = []

    async def run(self) -> None:
        self.poll.start(self.seconds)
        await self.play()

    async def play(self) -> None:
        raise NotImplementedError

    async def looks(self) -> bool:
        """Whether the loop goes round by itself."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Turns)
        before = loop.soon
        await asyncio.sleep(0)  # one turn, which is one call of the task itself
        return loop.soon - before > 1

    async def in_vain(self) -> None:
        """A write after which nothing comes."""
        self.poll.wrote()
        self.clock.now += 2 * MOMENT
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_it_looks_for_a_moment_after_a_write_and_no_longer(clock: Clock) -> None:
    class Play(Scenario):
        async def play(self) -> None:
            assert not await self.looks()
            self.poll.wrote()
            assert await self.looks()
            assert await self.looks()
            clock.now += MOMENT * 0.9
            assert await self.looks()
            self.poll.wrote()
            assert await self.looks()
            clock.now += MOMENT * 0.9
            assert await self.looks()
            clock.now += MOMENT
            await self.looks()
            assert not await self.looks()

    run(Play(clock))


def test_it_does_nothing_until_it_is_started_and_on_one_core(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Play(Scenario):
        async def play(self) -> None:
            self.poll.wrote()
            assert not await self.looks()

    run(Play(clock, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    run(Play(clock))


def test_looking_in_vain_ends_but_for_a_try_now_and_then(clock: Clock) -> None:
    class Play(Scenario):
        async def play(self) -> None:
            for _ in range(POLL_CREDIT // 2):
                await self.in_vain()
            tries = 0
            for _ in range(3 * POLL_RETRY):
                self.poll.wrote()
                tries += await self.looks()
                clock.now += 2 * MOMENT
                await self.looks()
            assert tries == 3

    run(Play(clock))


def test_a_try_that_brings_something_has_it_look_again(clock: Clock) -> None:
    class Play(Scenario):
        async def play(self) -> None:
            for _ in range(POLL_CREDIT // 2 + POLL_RETRY - 1):
                await self.in_vain()
            self.poll.wrote()
            assert await self.looks()
            self.poll.wrote()  # which is what it looked for
            await self.looks()
            clock.now += 2 * MOMENT
            await self.looks()
            for _ in range(POLL_RETRY - 1):
                self.poll.wrote()
                assert not await self.looks()  # one that brought something pays for less than one in vain
            self.poll.wrote()
            for _ in range(4):
                assert await self.looks()
                self.poll.wrote()
            await self.looks()
            clock.now += 2 * MOMENT
            await self.looks()
            self.poll.wrote()
            assert await self.looks()

    run(Play(clock))


def test_a_loop_has_one_that_goes_with_it() -> None:
    seen: list[object] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert poll_of(loop) is poll_of(loop)
        seen.append(weakref.ref(loop))

    asyncio.run(scenario())
    gc.collect()
    assert isinstance(seen[0], weakref.ref) and seen[0]() is None
