"""Clients in the test's own process: they hand the gateway what a front would, and collect what comes back."""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.transports.launch import Launch
from isthmus.transports.target import HttpTarget, Target
from isthmus.types import Relay, Session
from isthmus.wire.codec import parse
from isthmus.wire.envelope import Envelope

META = "io.modelcontextprotocol/"
SCRIPT = str(Path(__file__).with_name("stdio_back.py"))
_boxes: list["Box"] = []


def run(scenario: Callable[[], Coroutine[Any, Any, None]], within: float = 30) -> None:
    """Run a scenario; nothing may reach the loop's exception handler, and no request may be answered twice."""
    problems: list[dict[str, Any]] = []
    _boxes.clear()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        async with asyncio.timeout(within):
            await scenario()

    asyncio.run(main())
    gc.collect()
    assert problems == []
    assert [box.raw for box in _boxes if len(box.answers) > 1] == []


def stdio(era: str, log: Path, **env: str) -> Launch:
    """The fake back of `stdio_back.py`."""
    return Launch("back", (sys.executable, "-I", "-S", SCRIPT, era, str(log)), env)


def http(url: str) -> HttpTarget:
    return HttpTarget("back", url)


def script(text: str, *args: str) -> Launch:
    """A back that is a few lines of Python."""
    return Launch("back", (sys.executable, "-I", "-S", "-c", text, *args))


def heard(log: Path, pid: int | None = None) -> list[Any]:
    """What the processes of `stdio_back.py` heard, or one of them."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [json.loads(text) for who, text in lines if pid is None or who == pid]


def processes(log: Path) -> list[int]:
    """The processes that heard something, in the order of their first words."""
    return list(dict.fromkeys(json.loads(line)[0] for line in log.read_text().splitlines())) if log.exists() else []


async def until(condition: Callable[[], Any], within: float = 10) -> Any:
    """Wait for what no event of this process announces."""
    async with asyncio.timeout(within):
        while not (outcome := condition()):  # noqa: ASYNC110 - other processes' doings are no events
            await asyncio.sleep(0.002)
    return outcome


class Box:
    """A way back: keeps what is sent, as it was sent and as JSON, and tells who waits for it."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.messages: list[Any] = []
        self.answers: list[Any] = []
        self.status = 0
        self.streams: list[bool] = []
        self.is_abandoned = False
        self.is_open = True
        self.opened: Callable[[], object] | None = None
        self._news = asyncio.Event()
        _boxes.append(self)

    def notify(self, message: bytes) -> None:
        assert b"\n" not in message
        self.raw.append(message)
        self.messages.append(json.loads(message))
        self._news.set()

    def answer(self, message: bytes, status: int) -> None:
        self.answers.append(json.loads(message))
        self.status = status
        self.notify(message)

    def stream(self, is_chosen: bool = True) -> None:
        self.streams.append(is_chosen)

    def abandon(self) -> None:
        self.is_abandoned = True

    async def drain(self) -> None:
        """Reads at once."""

    async def until(self, condition: Callable[["Box"], Any], within: float = 10) -> None:
        async with asyncio.timeout(within):
            while not condition(self):
                self._news.clear()
                await self._news.wait()

    async def first(self, method: str) -> Any:
        """The first message with this method."""
        await self.until(lambda box: any(each.get("method") == method for each in box.messages))
        return next(each for each in self.messages if each.get("method") == method)


class Exchange:
    """A request on its way: its box and its task."""

    def __init__(self, work: Callable[[Box], Awaitable[None]]) -> None:
        self.box = Box()
        self.began = asyncio.get_running_loop().time()
        self.took = 0.0
        self.task = asyncio.ensure_future(self._work(work))

    async def _work(self, work: Callable[[Box], Awaitable[None]]) -> None:
        await work(self.box)

    async def answer(self, within: float = 10) -> Any:
        """The one answer; measures the time until it came."""
        await self.box.until(lambda box: box.answers, within)
        self.took = asyncio.get_running_loop().time() - self.began
        async with asyncio.timeout(2):
            await asyncio.wait([self.task])
        assert len(self.box.answers) == 1
        return self.box.answers[0]

    async def result(self, within: float = 10) -> Any:
        answer = await self.answer(within)
        assert "result" in answer, answer
        return answer["result"]

    async def error(self, within: float = 10) -> Any:
        answer = await self.answer(within)
        assert "error" in answer, answer
        return answer["error"]

    async def cancel(self) -> None:
        """The client leaves: what a front does then."""
        self.task.cancel()
        await asyncio.wait([self.task])


def request_text(id: Any, method: str, params: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def envelope(text: bytes) -> Envelope:
    parsed = parse(text)
    assert isinstance(parsed, Envelope), parsed
    return parsed


class ModernClient:
    """A client of 2026-07-28."""

    def __init__(self, gateway: Relay) -> None:
        self.gateway = gateway

    def send(self, text: bytes, headers: Mapping[str, str] | None = None) -> Exchange:
        judged = judge_modern(envelope(text), headers)
        assert isinstance(judged, ModernRequest), judged
        return Exchange(lambda box: self.gateway.relay(judged, box, headers))

    def request(self, id: Any, method: str, /, *, meta: dict[str, Any] | None = None, **params: Any) -> Exchange:
        said = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}, **(meta or {})}
        return self.send(request_text(id, method, {"_meta": said, **params}))

    def call(self, id: Any, name: str, /, *, meta: dict[str, Any] | None = None, **arguments: Any) -> Exchange:
        return self.request(id, "tools/call", meta=meta, name=name, arguments=arguments)

    async def notify(self, method: str, **params: Any) -> None:
        text = json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()
        await self.gateway.notify(envelope(text), "2026-07-28")


class LegacyClient:
    """A client with a session."""

    def __init__(self, session: Session, strays: Box, opened: Any) -> None:
        self.session = session
        self.strays = strays
        self.opened = opened

    @classmethod
    async def open(
        cls, gateway: Relay, *, version: str = "2025-11-25", introduce: bool = True, **capabilities: Any
    ) -> "LegacyClient":
        info = {"name": "a client", "version": "1"}
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": info}
        strays = Box()
        session, answer = await gateway.open_session(envelope(request_text(0, "initialize", params)), strays)
        client = cls(session, strays, json.loads(answer))
        if introduce:
            await client.notify("notifications/initialized")
        return client

    def send(self, text: bytes) -> Exchange:
        parsed = envelope(text)
        return Exchange(lambda box: self.session.request(parsed, box))

    def request(self, id: Any, method: str, /, **params: Any) -> Exchange:
        return self.send(request_text(id, method, params))

    def call(self, id: Any, name: str, /, *, meta: dict[str, Any] | None = None, **arguments: Any) -> Exchange:
        return self.request(id, "tools/call", name=name, arguments=arguments, **({"_meta": meta} if meta else {}))

    async def notify(self, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})}
        await self.session.notify(envelope(json.dumps(message).encode()))

    async def reply(self, id: Any, **outcome: Any) -> None:
        await self.session.answer(envelope(json.dumps({"jsonrpc": "2.0", "id": id, **outcome}).encode()))


@asynccontextmanager
async def gateway(target: Target, *, keeps_identity: bool = False, **limits: Any) -> AsyncIterator[Gateway]:
    """A gateway that afterwards must have left nothing."""
    made = Gateway(target, Settings(limits=Limits(**limits), keeps_identity=keeps_identity))
    try:
        yield made
    finally:
        await made.close()
        assert len(made.tasks) == 0
        if made.back.client is not None:
            assert made.back.client.statistics()[:2] == (0, 0)
