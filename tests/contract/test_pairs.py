"""Every front before every back, in both eras, by the contract that a user's own transport is checked by."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from isthmus.engine.tasks import Tasks
from isthmus.testing import RULES, Era, Link, check_transport
from isthmus.transports import sse_back
from isthmus.transports.channel import Channel, Listener
from isthmus.transports.http_client import HttpClient
from isthmus.transports.launch import Launch
from isthmus.transports.process import Process
from isthmus.transports.target import ChannelTarget
from isthmus.transports.watchdog import Watchdog

from .backs import BACKS
from .fronts import BOUNDS, FRONTS

ERAS: tuple[Era, ...] = ("legacy", "modern")
NOT_MODERN = {"sse": "HTTP+SSE is the transport of 2024-11-05; in 2026-07-28 there are stdio and streamable HTTP."}
CELLS = [
    (front, back, era)
    for front in FRONTS
    for back in BACKS
    for era in ERAS
    if era == "legacy" or not NOT_MODERN.keys() & {front, back}
]
PLAYED = [(*cell, rule) for cell in CELLS for rule in RULES if cell[-1] in RULES[rule].eras]


@asynccontextmanager
async def pair(front: str, back: str) -> AsyncIterator[Link]:
    async with BACKS[back]() as (target, accept), FRONTS[front](target) as connect:
        yield Link(connect, accept)


def play(check: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await check

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


@pytest.mark.parametrize(("front", "back", "era", "rule"), PLAYED)
def test_a_pair(front: str, back: str, era: Era, rule: str) -> None:
    """In memory the SDK rebuilds messages; over streamable HTTP every message of a client travels alone."""

    terms = {"exact": "memory" not in (front, back), "ordered": "http" not in (front, back)}
    play(check_transport(lambda: pair(front, back), era=era, rules=[rule], **terms))


@asynccontextmanager
async def bare(back: str) -> AsyncIterator[Link]:
    """A back's channels without a proxy: what a user checks of his own."""
    tasks, watchdog, client = Tasks(), Watchdog(), None
    async with BACKS[back]() as (target, accept):
        if isinstance(target, ChannelTarget):
            connect = target.connect
        elif isinstance(target, Launch):
            launch = target

            async def connect(listener: Listener) -> Channel:
                return await Process.start(launch, BOUNDS, watchdog, listener)
        else:
            client = HttpClient(target.url, name="back", limits=BOUNDS)
            http = client

            async def connect(listener: Listener) -> Channel:
                return await sse_back.connect(http, "back", BOUNDS, listener, tasks.start)

        try:
            yield Link(connect, accept)
        finally:
            await tasks.close()
            await watchdog.close()
            if client is not None:
                await client.close()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("back", ["stdio", "sse", "memory"])
def test_a_channel(back: str, rule: str) -> None:
    """Streamable HTTP is no channel: its back is driven request by request."""
    play(check_transport(lambda: bare(back), exact=back != "memory", rules=[rule]))
