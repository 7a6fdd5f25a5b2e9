"""What a crossing costs: plain calls per CPU second through the engine, over a back in memory that costs little.

Prints the rate of each pair of eras through the engine alone and through the whole command (HTTP front, stdio back),
with the ratio of each crossing to the straight path of its back, and what a session for every request adds to the time
of a call over stdio while its spares keep up. `--brief` takes seconds, leaves the command out, and prints the ratios as
JSON.
"""

import asyncio
import http.client
import itertools
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness import ISTHMUS, Stage, cpu_seconds, free_port, two_cores
from servers import wait_ready

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.transports.channel import Listener
from isthmus.transports.launch import Launch
from isthmus.transports.target import ChannelTarget
from isthmus.wire.codec import parse
from isthmus.wire.envelope import Envelope

META = "io.modelcontextprotocol/"
CALLS = 3200
TOGETHER = 32
"""Calls in flight, so that a turn of the loop serves more than one, as it does under load."""
ROUNDS = 7
ERAS = ("legacy", "modern")
_HELLO = {
    "legacy": {"initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {}}},
    "modern": {
        "server/discover": {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
        }
    },
}
_RESULT = {
    "legacy": b'"result":{"content":[{"type":"text","text":"a short answer"}]}}',
    "modern": b'"result":{"resultType":"complete","content":[{"type":"text","text":"a short answer"}]}}',
}
STDIO = str(Path(__file__).with_name("stdio_back.py"))


class Echo:
    """A channel to a back of one era that answers at once."""

    is_alive = True

    def __init__(self, era: str, listener: Listener) -> None:
        self._era = era
        self._listener = listener

    def write(self, message: bytes) -> None:
        heard = parse(message)
        assert isinstance(heard, Envelope)
        if heard.id is not None:
            answer = _RESULT[self._era]
            if heard.method != "tools/call":
                result = _HELLO[self._era].get(heard.method)
                said: Any = {"result": result} if result else {"error": {"code": -32601, "message": "What?"}}
                answer = json.dumps(said).encode()[1:]
            text = b'{"jsonrpc":"2.0","id":' + heard.id + b"," + answer
            asyncio.get_running_loop().call_soon(self._answer, text)

    def _answer(self, text: bytes) -> None:
        answer = parse(text)
        assert isinstance(answer, Envelope)
        self._listener.received(answer)

    async def stop(self) -> None:
        if self.is_alive:
            self.is_alive = False
            self._listener.lost("stopped")


class Sink:
    """A way back that counts."""

    opened: Callable[[], object] | None

    answers = 0
    is_open = True

    def __init__(self) -> None:
        self.opened = None

    def notify(self, message: bytes) -> None:
        pass

    def answer(self, message: bytes, status: int) -> None:
        assert b'"result"' in message, message
        self.answers += 1

    def stream(self, is_chosen: bool = True) -> None:
        pass

    def abandon(self) -> None:
        pass

    async def drain(self) -> None:
        pass


Call = Callable[[], Awaitable[None]]


def gateway(era: str) -> Gateway:
    """A gateway before a back of an era."""

    async def connect(listener: Listener) -> Echo:
        return Echo(era, listener)

    return Gateway(ChannelTarget("back", connect), Settings())


def _text(id: int, **meta: Any) -> bytes:
    params: dict[str, Any] = {"name": "echo", "arguments": {"text": "a short text", "n": 1}}
    if meta:
        params["_meta"] = meta
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()


def _hello() -> bytes:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}).encode()


async def client(proxy: Gateway, era: str, sink: Sink) -> Call:
    """What makes one call of a client of an era."""
    if era == "modern":
        text = _text(7, **{META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}})

        async def modern() -> None:
            envelope = parse(text)
            assert isinstance(envelope, Envelope)
            judged = judge_modern(envelope, None)
            assert isinstance(judged, ModernRequest)
            await proxy.relay(judged, sink, None)

        return modern
    opening = parse(_hello())
    assert isinstance(opening, Envelope)
    session, _ = await proxy.open_session(opening, sink)
    ids = itertools.count(1)
    text = _text(7)

    async def legacy() -> None:
        envelope = parse(text.replace(b'"id": 7', b'"id": %d' % next(ids)))
        assert isinstance(envelope, Envelope)
        await session.request(envelope, sink)

    return legacy


async def crossings(calls: int = CALLS, rounds: int = ROUNDS) -> dict[tuple[str, str], float]:
    """Calls per CPU second of each pair of front and back: the best of several rounds, taken in turns."""
    best: dict[tuple[str, str], float] = {}
    proxies = {(front, back): gateway(back) for front in ERAS for back in ERAS}
    sink = Sink()
    clients = {pair: await client(proxy, pair[0], sink) for pair, proxy in proxies.items()}
    for _ in range(rounds):
        for pair, call in clients.items():
            before = sink.answers
            began = time.process_time()
            for _ in range(calls // TOGETHER):
                await asyncio.gather(*(call() for _ in range(TOGETHER)))
            took = time.process_time() - began
            assert sink.answers - before == calls
            best[pair] = max(best.get(pair, 0.0), calls / took)
    for proxy in proxies.values():
        await proxy.close()
    return best


def ratios(best: dict[tuple[str, str], float]) -> dict[str, float]:
    """Each crossing beside the straight path of its back: what the proxy would cost had the client the back's era."""
    return {
        "legacy front, modern back": best["legacy", "modern"] / best["modern", "modern"],
        "modern front, legacy back": best["modern", "legacy"] / best["legacy", "legacy"],
    }


async def isolations(calls: int = 60, pause: float = 0.1) -> dict[str, float]:
    """The p50 of a call over stdio, in seconds, with a session for each client and with one for each request.

    Args:
        calls: how many, one after another.
        pause: between them, in which the spares keep up.
    """
    launch = Launch("back", (sys.executable, "-I", "-S", STDIO, "legacy"))
    kinds: dict[str, Settings] = {
        "session": Settings(isolation="session"),
        "request": Settings(isolation="request", limits=Limits(warm=2)),
    }
    proxies = {kind: Gateway(launch, settings) for kind, settings in kinds.items()}
    sink = Sink()
    clients = {kind: await client(proxy, "modern", sink) for kind, proxy in proxies.items()}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for n in range(calls + 3):
        for kind, call in clients.items():
            began = time.perf_counter()
            await call()
            if n >= 3:
                times[kind].append(time.perf_counter() - began)
            await asyncio.sleep(pause)
    for proxy in proxies.values():
        await proxy.close()
    return {kind: statistics.median(each) for kind, each in times.items()}


def _post(connection: http.client.HTTPConnection, era: str, body: bytes, session: str | None) -> str | None:
    """One request; the session that the answer names."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers["MCP-Protocol-Version"] = "2026-07-28" if era == "modern" else "2025-11-25"
    if era == "modern":
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "echo"}
    if session is not None:
        headers["Mcp-Session-Id"] = session
    connection.request("POST", "/mcp", body, headers)
    response = connection.getresponse()
    answer = response.read()
    assert response.status < 300 and b'"error"' not in answer, answer
    return response.headers.get("Mcp-Session-Id")


def _load(port: int, era: str, calls: int) -> None:
    """Calls of one client on one connection."""
    connection, session = http.client.HTTPConnection("127.0.0.1", port, timeout=20), None
    body = _text(7)
    if era == "modern":
        body = _text(7, **{META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}})
    else:
        session = _post(connection, era, _hello(), None)
        _post(connection, era, b'{"jsonrpc":"2.0","method":"notifications/initialized"}', session)
    for _ in range(calls):
        _post(connection, era, body, session)
    connection.close()


def command(calls: int = 800, clients: int = 4) -> dict[tuple[str, str], float]:
    """Calls per CPU second of `isthmus run` itself, for each pair of eras: the best of several rounds, in turns."""
    best: dict[tuple[str, str], float] = {}
    core, _ = two_cores()
    with Stage() as stage, ThreadPoolExecutor(clients) as pool:
        proxies: dict[str, tuple[int, Any]] = {}
        for back in ERAS:
            port = free_port()
            line = [str(ISTHMUS), "run", "--http", f"127.0.0.1:{port}", "--", sys.executable, "-I", "-S", STDIO, back]
            process = stage.start(f"{back} back", line, core)
            wait_ready(stage, f"{back} back", process, port)
            proxies[back] = port, process
        for round in range(ROUNDS):
            for front, back in itertools.product(ERAS, ERAS):
                port, process = proxies[back]
                began = cpu_seconds(process.pid)
                list(pool.map(lambda _, port=port, front=front: _load(port, front, calls), range(clients)))
                if round:
                    rate = calls * clients / (cpu_seconds(process.pid) - began)
                    best[front, back] = max(best.get((front, back), 0.0), rate)
    return best


def show(what: str, best: dict[tuple[str, str], float]) -> None:
    """Print the rates and ratios of all pairs."""
    print(what)
    for (front, back), rate in best.items():
        print(f"  {front:6} front, {back:6} back: {rate:8,.0f} calls per CPU second ({1e6 / rate:.0f} µs)")
    for name, ratio in ratios(best).items():
        print(f"  {name}: {ratio:.2f} × straight")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:] == ["--brief"]:
        p50 = asyncio.run(isolations(calls=15))
        print(json.dumps(ratios(asyncio.run(crossings(640, 3))) | {"isolation": p50["request"] / p50["session"]}))
        return
    show("the engine alone", asyncio.run(crossings()))
    show("isthmus run --http, a server on stdio", command())
    p50 = asyncio.run(isolations())
    print(f"stdio, a session for each client: p50 {p50['session'] * 1e6:.0f} µs")
    print(f"stdio, one for each request:      p50 {p50['request'] * 1e6:.0f} µs")
    print(f"ratio: {p50['request'] / p50['session']:.2f}")


if __name__ == "__main__":
    main()
