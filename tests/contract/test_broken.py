"""That every rule can fail: a wire that breaks it, and the sentence that says so."""

import asyncio
import json
from collections.abc import Callable
from typing import ClassVar

import pytest

from isthmus.testing import RULES, check_transport
from isthmus.transports.channel import Listener, hear

from .wires import Wire, linked


def check(kind: type[Wire], rule: str | None = None, **terms: object) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            rules = None if rule is None else [rule]
            await check_transport(lambda: linked(kind), rules=rules, **{"seconds": 0.5, **terms})  # type: ignore[arg-type]

    asyncio.run(main())


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_good_wire(era: str) -> None:
    check(Wire, era=era, seconds=10)


BROKEN: list[tuple[str, str, type[Wire]]] = []


def breaks(rule: str, says: str) -> Callable[[type[Wire]], type[Wire]]:
    """Registers a wire with the rule it breaks and what is said then."""

    def register(kind: type[Wire]) -> type[Wire]:
        BROKEN.append((rule, says, kind))
        return kind

    return register


@breaks("whole", "there was nothing for .* the answer|There was nothing for 0.5 s where a call at the far end was due")
class Loses64K(Wire):
    def write(self, message: bytes) -> None:
        if len(message) < 65_536:
            super().write(message)


@breaks("whole", "In the result of a call, 1048584 bytes, byte 1000000 begins")
class CutsResults(Wire):
    async def send(self, message: bytes) -> None:
        value = json.loads(message)
        content = value.get("result", {}).get("structuredContent", {})
        if "v" in content:
            content["v"] = content["v"][: 1_000_000 - 6]
            message = json.dumps(value, separators=(",", ":")).encode()
        await super().send(message)


@breaks("whole", "The far end received what is no message")
class CutsMessages(Wire):
    def write(self, message: bytes) -> None:
        super().write(message[:65_000])


@breaks("exact", "In the arguments of a call")
class Respells(Wire):
    def write(self, message: bytes) -> None:
        super().write(
            json.dumps(json.loads(message), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        )


@breaks("exact", "In the result of a call")
class ReadsLatin(Wire):
    async def send(self, message: bytes) -> None:
        await super().send(message.decode("latin-1").encode())


@breaks("order", "The client heard of the progress 200 messages out of 200, and from the 8. on")
class Swaps(Wire):
    held: bytes | None = None

    async def send(self, message: bytes) -> None:
        if b'"progress":7' in message and self.held is None:
            self.held = message
            return
        await super().send(message)
        if self.held not in (None, b""):
            held, self.held = self.held or b"", b""
            await super().send(held)


@breaks("order", "The client heard of the progress 201 messages out of 200")
class Doubles(Wire):
    async def send(self, message: bytes) -> None:
        await super().send(message)
        if b'"progress":199' in message:
            await super().send(message)


@breaks("order", "The server heard 200 messages out of 200, and from the 9. on")
class SwapsThere(Wire):
    held = b""

    def write(self, message: bytes) -> None:
        if b'"progress":8}' in message:
            self.held = message
            return
        super().write(message)
        if self.held:
            held, self.held = self.held, b""
            super().write(held)


@breaks("order", "What was sent before the answer came after it|The client heard of the progress 199")
class AnswersFirst(Wire):
    held = b""

    async def send(self, message: bytes) -> None:
        if b'"progress":199' in message:
            self.held = message
        else:
            await super().send(message)
            if self.held:
                await super().send(self.held)


@breaks("many", "Call 100 was answered with what belongs to call 1|Call 1 was answered with what belongs to call 100")
class AnswersTheOldest(Wire):
    """Gives each answer the id of the call that has waited longest."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self.ids: list[int] = []

    def write(self, message: bytes) -> None:
        value = json.loads(message)
        if "id" in value:
            self.ids.append(value["id"])
        super().write(message)

    async def send(self, message: bytes) -> None:
        value = json.loads(message)
        if "id" in value:
            value["id"] = self.ids.pop(0)
        await super().send(json.dumps(value).encode())


@breaks("many", "Call 1 was answered 2 times")
class AnswersTwice(Wire):
    async def send(self, message: bytes) -> None:
        await super().send(message)
        if '"of":1}' in message.decode():
            await super().send(message)


@breaks("apart", "A client got the answer to the other's call|There was nothing")
class Mixes(Wire):
    """Gives every message to the client that came last."""

    latest: Listener | None = None

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        Mixes.latest = listener

    async def send(self, message: bytes) -> None:
        assert self.latest is not None
        hear(self.latest, message)


@breaks("apart", "A client got the answer to the other's call")
class Exchanges(Wire):
    """Keeps one list of calls for all clients, by ids that are theirs."""

    asked: ClassVar[dict[int, bytes]] = {}

    def write(self, message: bytes) -> None:
        if b'"n":' in message:
            self.asked[1] = message[message.index(b'"n":') + 4 :][:1]
        super().write(message)

    async def send(self, message: bytes) -> None:
        if b'"of":' in message:
            at = message.index(b'"of":') + 5
            message = message[:at] + self.asked[1] + message[at + 1 :]
        await super().send(message)


@breaks("many", "<answer .*> has no result.structuredContent.of: .*gone")
class LosesResults(Wire):
    async def send(self, message: bytes) -> None:
        await super().send(message.replace(b'"of"', b'"gone"'))


@breaks("order", "A batch was received, and none was sent")
class Batches(Wire):
    async def send(self, message: bytes) -> None:
        await super().send(message)
        if b'"progress":7,' in message or b'"progress":7}' in message:
            await super().send(b"[" + message + b"]")


@breaks("questions", "In a question, 43 bytes, byte 12 begins")
class RespellsQuestions(Wire):
    async def send(self, message: bytes) -> None:
        await super().send(message.replace("é".encode(), b"\\u00e9"))


@breaks("questions", "The server, waiting for answers to \\['q1', 'q2'\\], received <notification")
class TurnsAnswersIntoNotes(Wire):
    def write(self, message: bytes) -> None:
        is_answer = b'"result":' in message
        super().write(b'{"jsonrpc":"2.0","method":"notifications/answer"}' if is_answer else message)


@breaks("questions", "In an answer, .* begins")
class ExchangesAnswers(Wire):
    def write(self, message: bytes) -> None:
        for one, other in ((b'"id":"q2"', b'"id":"q1"'), (b'"id":"q1"', b'"id":"q2"')):
            if one in message:
                super().write(message.replace(one, other))
                return
        super().write(message)


@breaks("questions", "There was nothing for 0.5 s where the second of two questions was due")
class DropsQuestions(Wire):
    async def send(self, message: bytes) -> None:
        if b"elicitation/create" not in message:
            await super().send(message)


@breaks("questions", "The server, waiting for answers to .*, received <answer|In an answer")
class MixesAnswers(Wire):
    def write(self, message: bytes) -> None:
        super().write(message.replace(b'"id":"q2"', b'"id":"q1"'))


@breaks("cancel", "There was nothing for 0.5 s where the cancellation at the far end was due")
class DropsCancellations(Wire):
    def write(self, message: bytes) -> None:
        if b"cancelled" not in message:
            super().write(message)


@breaks("cancel", "received .* about 77")
class CancelsAnother(Wire):
    def write(self, message: bytes) -> None:
        super().write(message.replace(b'"requestId":1', b'"requestId":77'))


@breaks("cancel", "The cancelled call was answered")
class AnswersTheCancelled(Wire):
    async def send(self, message: bytes) -> None:
        if b'"id":2' in message:
            await super().send(message.replace(b'"id":2', b'"id":1'))
        await super().send(message)


@breaks("end", "There was nothing for 0.5 s where word of the end")
class NeverTells(Wire):
    def cut(self, why: str) -> None:
        self.is_alive = False


@breaks("end", "lost was called 2 times")
class TellsTwice(Wire):
    def cut(self, why: str) -> None:
        super().cut(why)
        self.listener.lost(why)


@breaks("end", "What is said about it is no sentence: \\['EOF'\\]")
class Mumbles(Wire):
    def cut(self, why: str) -> None:
        super().cut("EOF")


@breaks("end", "After lost the channel says that it is alive")
class Undead(Wire):
    def cut(self, why: str) -> None:
        super().cut(why)
        self.is_alive = True


@breaks("end", "After lost, write takes a message")
class SwallowsAfterTheEnd(Wire):
    def write(self, message: bytes) -> None:
        if self.is_alive:
            super().write(message)


@breaks("end", "There was nothing for 0.5 s where the answer to call 0 was due")
class BreaksForGood(Wire):
    """After the first end, what is opened leads nowhere."""

    ends = 0

    async def close(self) -> None:
        BreaksForGood.ends += 1
        await super().close()

    def write(self, message: bytes) -> None:
        if not self.is_alive or not BreaksForGood.ends:
            super().write(message)


@breaks("stop", "There was nothing for 0.5 s where stop's return was due")
class NeverStops(Wire):
    async def stop(self) -> None:
        await super().stop()
        await asyncio.Event().wait()


@breaks("stop", "There was nothing for 0.5 s where stop's return was due")
class StopsOnce(Wire):
    has_stopped = False

    async def stop(self) -> None:
        if self.has_stopped:
            await asyncio.Event().wait()
        self.has_stopped = True
        await super().stop()


@breaks("stop", "There was nothing for 0.5 s where a call of lost, which stop causes too")
class StopsInSilence(Wire):
    async def stop(self) -> None:
        self.is_alive = False
        self.to_far.put_nowait(None)


@breaks("stop", "There was nothing for 0.5 s where the end at the far end was due")
class LeavesWithoutAWord(Wire):
    async def receive(self) -> bytes | None:
        return await super().receive() or await asyncio.Future[bytes]()


@breaks("busy", "After (stop|lost), <notification notifications/progress id=None> was received")
class TalksOn(Wire):
    async def send(self, message: bytes) -> None:
        hear(self.listener, message)


@breaks("busy", "There was nothing for 0.5 s where stop's return was due")
class WaitsForSilence(Wire):
    async def stop(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize(("rule", "says", "kind"), BROKEN, ids=[kind.__name__ for _, _, kind in BROKEN])
def test_a_broken_wire(rule: str, says: str, kind: type[Wire]) -> None:
    with pytest.raises(AssertionError, match=f"^{rule}: .*({says})"):
        check(kind, rule)


def test_every_rule_can_break() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


def test_a_transport_that_may_respell() -> None:
    class Inexact(Respells):
        async def send(self, message: bytes) -> None:
            await super().send(json.dumps(json.loads(message)).encode())

    check(Inexact, exact=False, seconds=10)
