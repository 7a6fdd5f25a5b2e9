"""Backs in memory that do nothing until the script says so, and a loop whose clock the script moves."""

import asyncio
import gc
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from isthmus.transports.channel import Listener, hear
from isthmus.transports.target import ChannelTarget
from tests.engine.clients import Box, _boxes

TURNS = 40
"""Turns of the loop in which everything in memory is done that follows from one thing."""


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock can be moved on."""

    moved = 0.0

    def time(self) -> float:
        return super().time() + self.moved


async def settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def advance(seconds: float) -> None:
    """Let time pass, and do what is due."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.moved += seconds
    await settle()


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on such a loop; nothing may be logged as an error, and no request be answered twice."""
    problems: list[Any] = []
    errors = _Errors()
    _boxes.clear()
    logging.getLogger("isthmus").addHandler(errors)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        await scenario()

    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())
    finally:
        logging.getLogger("isthmus").removeHandler(errors)
    gc.collect(0)
    assert problems == []
    assert errors.records == []
    assert [box.raw for box in _boxes if len(box.answers) > 1] == []


class Wire:
    """One channel to a fake back (`transports.channel.Channel`)."""

    def __init__(self, back: "FakeBack", listener: Listener) -> None:
        self._back = back
        self._listener = listener
        self.is_alive = True

    def write(self, message: bytes) -> None:
        if self.is_alive:
            self._back.received(self, json.loads(message))

    async def stop(self) -> None:
        self.crash()

    def crash(self) -> None:
        if self.is_alive:
            self.is_alive = False
            self._listener.lost("The back is gone.")

    def say(self, **message: Any) -> None:
        text = json.dumps({"jsonrpc": "2.0", **message}).encode()
        asyncio.get_running_loop().call_soon(self._deliver, text)

    def _deliver(self, text: bytes) -> None:
        if self.is_alive:
            assert hear(self._listener, text) is None


class Asked:
    """A question of a fake back, which names the client that it is meant for."""

    def __init__(self, id: str, text: str) -> None:
        self.id = id
        self.text = text
        self.answers: list[Any] = []
        self.is_withdrawn = False


class Called:
    """A call at a fake back."""

    def __init__(self, wire: Wire, message: Any) -> None:
        self.wire = wire
        self.id = message["id"]
        self.message = message
        self.tag: str = message["params"]["arguments"]["tag"]
        self.is_over = False
        self.demanded: str | None = None
        self.questions: list[Asked] = []

    @property
    def is_live(self) -> bool:
        """Whether the back owes an answer."""
        return not self.is_over and self.wire.is_alive


class FakeBack:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.heard: list[Any] = []
        self.calls: list[Called] = []
        self.target = ChannelTarget("back", self._connect)

    async def _connect(self, listener: Listener) -> Wire:
        wire = Wire(self, listener)
        self.wires.append(wire)
        return wire

    def live(self) -> list[Called]:
        return [call for call in self.calls if call.is_live]

    def received(self, wire: Wire, message: Any) -> None:
        self.heard.append(message)
        method = message.get("method")
        if method == "tools/call":
            self.calls.append(Called(wire, message))
        elif method == "notifications/cancelled":
            for call in self.calls:
                if call.wire is wire and call.id == message["params"]["requestId"]:
                    call.is_over = True
        elif method is None:
            self.answered(wire, message)
        elif "id" in message:
            self.asked(wire, message)

    def asked(self, wire: Wire, message: Any) -> None:
        raise NotImplementedError

    def answered(self, wire: Wire, message: Any) -> None:
        pytest.fail(f"a back that asks nothing was answered: {message}")


class LegacyBack(FakeBack):
    """Asks in the middle of its calls."""

    def asked(self, wire: Wire, message: Any) -> None:
        if message["method"] == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}}, "serverInfo": {}}
            wire.say(id=message["id"], result=result)
        elif message["method"] == "server/discover":
            wire.say(id=message["id"], error={"code": -32601, "message": "What?"})
        else:
            wire.say(id=message["id"], result={"tools": []})

    def answered(self, wire: Wire, message: Any) -> None:
        found = [q for call in self.calls if call.wire is wire for q in call.questions if q.id == message["id"]]
        assert len(found) == 1 and not found[0].is_withdrawn, message
        found[0].answers.append(message)

    def ask(self, call: Called, n: int, method: str = "elicitation/create") -> None:
        question = Asked(f"q{n}", f"{call.tag}/{n}")
        call.questions.append(question)
        call.wire.say(id=question.id, method=method, params={"message": question.text})

    def withdraw(self, call: Called) -> None:
        for question in call.questions:
            if not question.answers and not question.is_withdrawn:
                question.is_withdrawn = True
                call.wire.say(method="notifications/cancelled", params={"requestId": question.id})
                return

    def finish(self, call: Called) -> None:
        call.is_over = True
        call.wire.say(id=call.id, result={"content": [], "tag": call.tag})

    def demand(self, call: Called, n: int) -> None:
        """The user must open a URL before the call is made again."""
        call.is_over = True
        call.demanded = f"e{n}"
        url = {"mode": "url", "message": f"{call.tag}/{n}", "url": "https://x", "elicitationId": call.demanded}
        call.wire.say(id=call.id, error={"code": -32042, "message": "URL", "data": {"elicitations": [url]}})

    def complete(self) -> None:
        """The users have done what the URLs were for."""
        for call in self.calls:
            if call.demanded is not None:
                call.wire.say(method="notifications/elicitation/complete", params={"elicitationId": call.demanded})


class ModernBack(FakeBack):
    """Asks by answering. `states` is what each call was last told to bring back."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, tuple[list[str], str | None]] = {}

    def asked(self, wire: Wire, message: Any) -> None:
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        if message["method"] == "server/discover":
            wire.say(id=message["id"], result=result)
        else:
            wire.say(id=message["id"], error={"code": -32601, "message": "What?"})

    def ask(self, call: Called, keys: list[str], state: str | None) -> None:
        call.is_over = True
        self.states[call.tag] = keys, state
        requests = {key: {"method": "elicitation/create", "params": {"message": f"{call.tag}/{key}"}} for key in keys}
        result = {"resultType": "input_required"} | ({"inputRequests": requests} if keys else {})
        wire, id = call.wire, call.id
        wire.say(id=id, result=result | ({"requestState": state} if state is not None else {}))

    def finish(self, call: Called) -> None:
        call.is_over = True
        call.wire.say(id=call.id, result={"resultType": "complete", "content": [], "tag": call.tag})


def answered(box: Box) -> Any:
    """The one answer that there is so far, or None."""
    assert len(box.answers) <= 1, box.answers
    return box.answers[0] if box.answers else None
