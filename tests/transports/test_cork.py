"""Writes at the end of a loop's turn: one after the other, and none for another's sake left out."""

import asyncio
import gc
import logging
import weakref

import pytest

from isthmus.transports.cork import cork_of


class Writer:
    def __init__(self, written: list[str], name: str, fails: bool = False) -> None:
        self._written = written
        self._name = name
        self._fails = fails

    def uncork(self) -> None:
        if self._fails:
            raise RuntimeError("no")
        self._written.append(self._name)


def test_what_fails_leaves_the_others_to_write(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        written: list[str] = []
        cork = cork_of(asyncio.get_running_loop())
        for writer in (Writer(written, "a"), Writer(written, "b", fails=True), Writer(written, "c")):
            cork.hold(writer)
        assert written == []
        await asyncio.sleep(0)
        assert written == ["a", "c"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert [record.message for record in caplog.records] == [
        "A connection could not be written to; this is a bug of isthmus."
    ]


def test_a_loop_has_one_that_goes_with_it() -> None:
    seen: list[object] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert cork_of(loop) is cork_of(loop)
        seen.append(cork_of(loop))
        seen.append(weakref.ref(loop))

    asyncio.run(scenario())
    asyncio.run(scenario())
    assert seen[0] is not seen[2]
    gc.collect()
    assert isinstance(seen[1], weakref.ref) and seen[1]() is None
