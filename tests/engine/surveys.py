"""Clients of either era that answer what they are asked, before a back that asks in rounds (`survey_back.py`)."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.engine.stand import Stand
from isthmus.engine.standin import StandIn, stand_in
from isthmus.limits import Limits
from isthmus.pool.policy import Isolation
from isthmus.transports.launch import Launch
from tests.engine.clients import META, Box, Exchange, LegacyClient, ModernClient

BACK = str(Path(__file__).with_name("survey_back.py"))
ABLE: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}
FORM = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
ASK = {"method": "elicitation/create", "params": FORM}
SAMPLE = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}}
ROOTS = {"method": "roots/list"}
SAID = {"action": "accept", "content": {"name": "client"}}
STOOD = {"action": "accept", "content": {"name": "function"}}
MODEL = {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"}


@asynccontextmanager
async def standing(
    era: str, log: Path, stand: Stand, isolation: Isolation = "session", **given: Any
) -> AsyncIterator[StandIn]:
    """Somebody who stands in before a back, who afterwards must have left nothing."""
    target = Launch("back", (sys.executable, "-I", "-S", BACK, era, str(log)), {})
    made = Gateway(target, Settings(limits=Limits(**given), isolation=isolation))
    relay = stand_in(made, stand)
    assert isinstance(relay, StandIn)
    try:
        yield relay
    finally:
        await made.close()
        assert len(made.tasks) == 0


class Front:
    """A client of either era that answers what it is asked by `said`, in one way."""

    def __init__(self, relay: Any, front: str, capabilities: dict[str, Any], said: dict[str, Any]) -> None:
        self.relay = relay
        self.era = front
        self.capabilities = capabilities
        self.said = said
        self.shown: list[Any] = []
        self.states: list[Any] = []
        self.boxes: list[Any] = []
        self.legacy: LegacyClient | None = None

    async def begin(self, arguments: dict[str, Any], meta: dict[str, Any], **more: Any) -> Exchange:
        if self.era == "modern":
            said = {META + "clientCapabilities": self.capabilities} | meta
            client = ModernClient(self.relay)
            exchange = client.request(1, "tools/call", meta=said, name="survey", arguments=arguments, **more)
        else:
            if self.legacy is None:
                self.legacy = await LegacyClient.open(self.relay, **self.capabilities)
            level = meta.pop(META + "logLevel", None)
            if level is not None:
                await self.legacy.request(90, "logging/setLevel", level=level).answer()
            exchange = self.legacy.call(1, "survey", meta=meta or None, **arguments)
        self.boxes.append(exchange.box)
        return exchange

    async def call(self, arguments: dict[str, Any], **meta: Any) -> Any:
        """The answer, after all questions are answered by method."""
        meta = {META + "logLevel" if name == "level" else name: value for name, value in meta.items()}
        exchange = await self.begin(arguments, dict(meta))
        if self.era == "legacy":
            answering = asyncio.ensure_future(self._answer(exchange))
            try:
                return await exchange.answer()
            finally:
                answering.cancel()
        answer = await exchange.answer()
        while answer.get("result", {}).get("resultType") == "input_required":
            self.states.append(answer["result"]["requestState"])
            self.shown.append(answer["result"]["inputRequests"])
            responses = {key: self.said[each["method"]] for key, each in self.shown[-1].items()}
            more = {"requestState": answer["result"]["requestState"], "inputResponses": responses}
            exchange = await self.begin(arguments, dict(meta), **more)
            answer = await exchange.answer()
        return answer

    async def told(self, rounds: list[Any], **meta: Any) -> Any:
        answer = await self.call({"rounds": rounds}, **meta)
        assert "result" in answer, answer
        return answer["result"]["told"]

    async def _answer(self, exchange: Exchange) -> None:
        assert self.legacy is not None
        done = 0
        while True:
            await exchange.box.until(partial(_has_more, done))
            for each in exchange.box.messages[done:]:
                if "method" in each and "id" in each:
                    self.shown.append({"": {"method": each["method"], "params": each.get("params", {})}})
                    said = self.said[each["method"]]
                    error = said.get("error")
                    await self.legacy.reply(each["id"], **({"error": error} if error else {"result": said}))
            done = len(exchange.box.messages)

    def heard(self, method: str) -> list[Any]:
        """What the client was told."""
        boxes = [*self.boxes, *([self.legacy.strays] if self.legacy is not None else [])]
        return [each["params"] for box in boxes for each in box.messages if each.get("method") == method]


def _has_more(than: int, box: Box) -> bool:
    return len(box.messages) > than


def shown_methods(client: Front) -> list[str]:
    return [each["method"] for entry in client.shown for each in entry.values()]
