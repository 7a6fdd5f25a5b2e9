"""The simplest link: two queues. Whoever breaks a rule overrides what breaks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from isthmus.errors import BackUnavailable
from isthmus.testing import Link
from isthmus.transports.channel import Channel, Listener, hear


class Wire:
    """One connection: the near end is a `Channel`, the far end a `FarEnd`."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.to_far: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.is_alive = True
        self.is_told = False

    # near

    def write(self, message: bytes) -> None:
        if not self.is_alive:
            raise BackUnavailable("The wire is cut.")
        self.to_far.put_nowait(message)

    async def stop(self) -> None:
        self.cut("The wire was cut from here.")

    # far

    async def send(self, message: bytes) -> None:
        if not self.is_told:
            hear(self.listener, message)

    async def receive(self) -> bytes | None:
        return await self.to_far.get()

    async def close(self) -> None:
        self.cut("The wire was cut from there.")

    def cut(self, why: str) -> None:
        self.is_alive = False
        if not self.is_told:
            self.is_told = True
            self.to_far.put_nowait(None)
            self.listener.lost(why)


@asynccontextmanager
async def linked(kind: type[Wire]) -> AsyncIterator[Link]:
    """A link of wires of one kind."""
    accepted: asyncio.Queue[Wire] = asyncio.Queue()

    async def connect(listener: Listener) -> Channel:
        wire = kind(listener)
        accepted.put_nowait(wire)
        return wire

    yield Link(connect, accepted.get)
