"""Parks many calls at a back that costs nothing, resumes them all, and prints what each cost: `CALLS CLIENTS`.

Run in a process of its own, so that nothing else counts. A session of this back is one small object: what a real one
costs the back is the back's own.
"""

import asyncio
import gc
import json
import sys
import tracemalloc
from typing import Any

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.transports.channel import Listener, hear
from isthmus.transports.target import ChannelTarget
from isthmus.wire.codec import parse
from isthmus.wire.envelope import Envelope

META = "io.modelcontextprotocol/"
SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}}


class Session:
    """A session of the back (`transports.channel.Channel`): asks in every call, answers with what it was told."""

    is_alive = True

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._call: Any = None

    def write(self, message: bytes) -> None:
        heard = json.loads(message)
        method = heard.get("method")
        if method == "server/discover":
            self._say(id=heard["id"], error={"code": -32601, "message": "What?"})
        elif method == "initialize":
            self._say(id=heard["id"], result={"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}})
        elif method == "tools/call":
            self._call = heard["id"]
            ask = {"message": heard["params"]["arguments"]["tag"], "requestedSchema": SCHEMA}
            self._say(id=1, method="elicitation/create", params=ask)
        elif method is None:
            self._say(id=self._call, result={"content": [], "said": heard["result"]["content"]["n"]})

    def _say(self, **message: Any) -> None:
        text = json.dumps({"jsonrpc": "2.0", **message}).encode()
        asyncio.get_running_loop().call_soon(hear, self._listener, text)

    async def stop(self) -> None:
        if self.is_alive:
            self.is_alive = False
            self._listener.lost("stopped")


async def connect(listener: Listener) -> Session:
    return Session(listener)


class Reply:
    """The way back to one request: its answer, as a future."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def notify(self, message: bytes) -> None:
        pass

    def answer(self, message: bytes, status: int) -> None:
        self.answered.set_result(json.loads(message))

    def stream(self, is_chosen: bool = True) -> None:
        pass

    def abandon(self) -> None:
        pass

    async def drain(self) -> None:
        pass


async def call(proxy: Gateway, who: str, id: int, tag: str, **more: Any) -> Any:
    """One request of a client to its end."""
    said = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {"elicitation": {}}}
    params = {"_meta": said, "name": "t", "arguments": {"tag": tag}, **more}
    text = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()
    envelope = parse(text)
    assert isinstance(envelope, Envelope)
    judged = judge_modern(envelope, None)
    assert isinstance(judged, ModernRequest)
    judged.principal = who
    reply = Reply()
    await proxy.relay(judged, reply, None)
    answer = await reply.answered
    assert answer["id"] == id and "result" in answer, answer
    return answer["result"]


async def ask(proxy: Gateway, who: str, n: int) -> tuple[str, str]:
    """A call up to its question: the question's key, and the state. The question is the call's own."""
    asked = await call(proxy, who, n, f"call {n}")
    ((key, question),) = asked["inputRequests"].items()
    assert question["params"]["message"] == f"call {n}"
    return key, asked["requestState"]


async def resume(proxy: Gateway, who: str, n: int, key: str, state: str) -> None:
    """The rest of it: what comes back is this very answer."""
    answers = {key: {"action": "accept", "content": {"n": f"answer {n}"}}}
    result = await call(proxy, who, n, f"call {n}", requestState=state, inputResponses=answers)
    assert result["said"] == f"answer {n}", result


async def park_and_resume(proxy: Gateway, calls: int, clients: int) -> tuple[int, float, float]:
    """Bytes that are held while all are parked, and the seconds that each half took."""
    loop = asyncio.get_running_loop()
    gc.collect()
    before, began = tracemalloc.get_traced_memory()[0], loop.time()
    asked = await asyncio.gather(*(ask(proxy, str(n % clients), n) for n in range(calls)))
    parked = loop.time() - began
    gc.collect()
    client = sum(sys.getsizeof(each) + sum(map(sys.getsizeof, each)) for each in asked)
    held = tracemalloc.get_traced_memory()[0] - before - client
    assert f"{calls} held" in repr(proxy._pool), proxy._pool
    began = loop.time()
    await asyncio.gather(*(resume(proxy, str(n % clients), n, *each) for n, each in enumerate(asked)))
    resumed = loop.time() - began
    assert " 0 held" in repr(proxy._pool) and repr(proxy._pool).endswith("0 waiting>"), proxy._pool
    return held, parked, resumed


async def main(calls: int, clients: int) -> None:
    limits = Limits(back_sessions=calls, warm=0)
    proxy = Gateway(ChannelTarget("back", connect), Settings(isolation="request", limits=limits))
    await park_and_resume(proxy, 1, 1)  # what is imported and made once
    _, parked, resumed = await park_and_resume(proxy, calls, clients)
    tracemalloc.start()
    held, _, _ = await park_and_resume(proxy, calls, clients)
    tracemalloc.stop()
    await proxy.close()
    assert not len(proxy.tasks)
    print(json.dumps({"bytes": held // calls, "parked": round(parked, 2), "resumed": round(resumed, 2)}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
