"""A front on a channel, before a relay that breaks its contract: whoever asked is answered all the same."""

import json
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

import pytest

from isthmus.engine.tasks import Tasks
from isthmus.limits import Limits
from isthmus.transports.channel_front import ChannelFront
from isthmus.wire.codec import parse
from tests.engine.clients import run, until

if TYPE_CHECKING:
    from isthmus.types import Relay

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}


class Broken:
    """A relay of which everything fails in a way that it may not."""

    limits = Limits()

    def relay(self, *_: object) -> Coroutine[Any, Any, None]:
        return self._fail()

    async def open_session(self, *_: object) -> None:
        await self._fail()

    async def _fail(self) -> None:
        raise LookupError("not foreseen")


class Written(list[Any]):
    """An outlet."""

    def write(self, message: bytes) -> None:
        self.append(json.loads(message))

    async def drain(self) -> None:
        """Everything is read."""


@pytest.mark.parametrize("is_modern", [True, False])
def test_what_fails_unforeseen_is_answered(is_modern: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        tasks, out = Tasks(), Written()
        front = ChannelFront(cast("Relay", Broken()), tasks.start, out)

        def ask(id: int, method: str, params: dict[str, Any]) -> None:
            message = parse(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode())
            front.take(message)

        if is_modern:
            ask(1, "tools/list", {"_meta": META})
            ask(2, "tools/list", {"_meta": META})
        else:
            ask(1, "initialize", INITIALIZE)
            ask(2, "tools/list", {})
        await until(lambda: len(out) == 2)
        assert [each["id"] for each in out] == [1, 2]
        assert all("See its log." in each["error"]["message"] for each in out)
        front.end()
        await front.serve()

    run(scenario)
    assert "LookupError: not foreseen" in caplog.text
