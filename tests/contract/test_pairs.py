"""Every front before every back, in both eras, by the contract that a user's own transport is checked by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from isthmus.testing import RULES, Era, Link, check_transport

from .backs import BACKS
from .fronts import FRONTS

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


@pytest.mark.parametrize(("front", "back", "era", "rule"), PLAYED)
def test_a_pair(front: str, back: str, era: Era, rule: str) -> None:
    """In memory the SDK rebuilds messages; over streamable HTTP every message of a client travels alone."""

    async def main() -> None:
        async with asyncio.timeout(60):
            await check_transport(
                lambda: pair(front, back),
                era=era,
                exact="memory" not in (front, back),
                ordered="http" not in (front, back),
                rules=[rule],
            )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
