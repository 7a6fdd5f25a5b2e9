"""Plays rows with clients, whichever SDK those are made with: this runs with SDK 1.30 and 2.x alike."""

import asyncio
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import anyio

from .book import Row
from .peer import Peer

ROW_TAKES_AT_MOST: Final = 8


@dataclass(frozen=True)
class Variant:
    """How a client differs from the usual one, which can be asked everything."""

    version: str | None = None
    """The legacy revision that it asks for, instead of the newest."""
    is_bare: bool = False
    """Whether it can't be asked anything."""
    info: str = "a matrix client"
    number: int = 0
    """Makes one that is another."""


Connect = Callable[[Variant], AbstractAsyncContextManager[Peer]]


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: what was seen, or why it failed."""

    seen: Any = None
    failure: str = ""
    seconds: float = 0.0


async def play_all(connect: Connect, rows: Iterable[Row]) -> dict[str, Outcome]:
    """Play rows one after the other; what became of each."""
    outcomes: dict[str, Outcome] = {}
    try:
        async with AsyncExitStack() as stack:
            outcomes = await play_in(stack, connect, rows)
    except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # so the SDK's clients say that something came when they were left
    return outcomes


async def play_in(stack: AsyncExitStack, connect: Connect, rows: Iterable[Row]) -> dict[str, Outcome]:
    """The same, leaving the clients connected until the stack is left."""
    playing = _Playing(connect, stack)
    return {row.key: await playing.play(row) for row in rows}


class _Playing:
    """The clients of a column, each connected when the first row wants it."""

    def __init__(self, connect: Connect, stack: AsyncExitStack) -> None:
        self._connect = connect
        self._stack = stack
        self._peers: dict[Variant, Peer] = {}
        self._failures = 0

    async def play(self, row: Row) -> Outcome:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ROW_TAKES_AT_MOST):
                peer = await self._peer(Variant(**row.variant))
                began = time.perf_counter()
                peer.heard.begin()
                seen = await row.play(peer)
        except Exception as error:
            self._peers.pop(Variant(**row.variant), None)  # it may be stuck: the next row has another
            self._failures += 1
            return Outcome(failure=_why(error), seconds=time.perf_counter() - began)
        return Outcome(seen, seconds=time.perf_counter() - began)

    async def _peer(self, variant: Variant) -> Peer:
        if variant not in self._peers:
            another = replace(variant, number=variant.number + 1000 * self._failures)
            self._peers[variant] = await self._stack.enter_async_context(self._connect(another))
        return self._peers[variant]


def _why(error: Exception) -> str:
    """What went wrong, and in which line of the row."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error.__cause__, asyncio.CancelledError):  # what a timeout interrupted
        frames += traceback.extract_tb(error.__cause__.__traceback__)
    lines = [each for each in frames if "/rows/" in each.filename]
    where = f"{Path(lines[-1].filename).name}:{lines[-1].lineno} `{lines[-1].line}`" if lines else "connecting"
    return f"{type(error).__name__} {str(error)[:300]!r} at {where}"


def difference(wanted: Any, seen: Any, where: str = "$") -> str:
    """Where two JSON values differ first, and what stands there; empty if they don't."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        keys = [*wanted, *(key for key in seen if key not in wanted)]
        return next(filter(None, (difference(wanted.get(key), seen.get(key), f"{where}.{key}") for key in keys)), "")
    if isinstance(wanted, list) and isinstance(seen, list) and len(wanted) == len(seen):
        pairs = enumerate(zip(wanted, seen, strict=True))
        return next(filter(None, (difference(a, b, f"{where}[{n}]") for n, (a, b) in pairs)), "")
    same = type(wanted) is type(seen) and wanted == seen
    return "" if same else f"{where}: wanted {wanted!r}, saw {seen!r}"
