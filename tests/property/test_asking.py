"""Legacy clients of a modern back, whatever comes in whatever order (the other way round: `test_crossings.py`)."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import limits
from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from tests.engine.clients import Exchange, LegacyClient
from tests.property.crossing_backs import Called, ModernBack, advance, answered, play, settle

CALL, MOST = 100.0, 100_000.0
LIMITS = Limits(call=CALL, call_most=MOST, answer_wait=1000.0)
ABLE: list[dict[str, Any]] = [{"elicitation": {}}, {"elicitation": {}}, {}]
ACTS = {
    "call": 6,
    "ask": 8,
    "bare": 3,
    "answer": 8,
    "refuse": 2,
    "forge": 2,
    "finish": 3,
    "odd": 1,
    "leave": 2,
    "crash": 1,
    "wait": 1,
    "close": 1,
}
SCRIPTS = st.lists(
    st.tuples(st.sampled_from([act for act, often in ACTS.items() for _ in range(often)]), st.integers(0, 5)),
    min_size=1,
    max_size=40,
)


class Talk:
    """A call of a legacy client, as the client sees it. `out` are the questions that it was asked, by id."""

    def __init__(self, who: int, id: int, tag: str, sent: Exchange) -> None:
        self.who = who
        self.id = id
        self.tag = tag
        self.sent = sent
        self.seen = 0
        self.is_left = False
        self.out: dict[int, str] = {}

    @property
    def is_open(self) -> bool:
        return not self.is_left and not self.sent.box.answers

    def read(self) -> None:
        """Take in what came: questions of this call alone, and withdrawals of those."""
        messages, self.seen = self.sent.box.messages[self.seen :], len(self.sent.box.messages)
        for message in messages:
            if message.get("method") == "elicitation/create":
                assert message["params"]["message"].split("/")[0] == self.tag
                self.out[message["id"]] = message["params"]["message"]
            elif message.get("method") == "notifications/cancelled":
                self.out.pop(message["params"]["requestId"])
        answer = answered(self.sent.box)
        if answer is not None:
            assert not self.out, "what is still asked was not withdrawn"
            assert answer["id"] == self.id
            assert self.sent.box.messages[-1] == answer, "a front passes nothing on after the answer"
            assert "error" in answer or answer["result"] == {"content": [], "tag": self.tag}


class Asking:
    """Three legacy clients of a modern back; one can't be asked."""

    def __init__(self) -> None:
        self.back = ModernBack()
        self.proxy = Gateway(self.back.target, Settings(limits=LIMITS))
        self.clients: list[LegacyClient] = []
        self.talks: list[Talk] = []
        self.number = 0
        self.given: dict[str, dict[str, Any]] = {}
        """What the clients answered to each call's round, by the text of the question."""

    async def open(self) -> None:
        self.clients = [await LegacyClient.open(self.proxy, **each) for each in ABLE]

    async def act(self, act: str, n: int) -> None:
        await getattr(self, act)(n)
        await settle()
        for talk in self.talks:
            talk.read()
        self.check_retries()

    # -- the clients ------------------------------------------------------------------------------------------------

    async def call(self, n: int) -> None:
        self.number += 1
        who = n % len(self.clients)
        tag = f"c{who}n{self.number}"
        sent = self.clients[who].call(self.number, "t", tag=tag)
        self.talks.append(Talk(who, self.number, tag, sent))

    def asked(self, n: int) -> tuple[Talk, int] | None:
        out = [(talk, id) for talk in self.talks for id in talk.out if talk.is_open]
        return out[n % len(out)] if out else None

    async def answer(self, n: int) -> None:
        if found := self.asked(n):
            talk, id = found
            text = talk.out.pop(id)
            self.given.setdefault(talk.tag, {})[text] = {"action": "accept", "content": {"for": text}}
            await self.clients[talk.who].reply(id, result={"action": "accept", "content": {"for": text}})

    async def refuse(self, n: int) -> None:
        """An error can't be said in `inputResponses`: it is the answer of the call."""
        if found := self.asked(n):
            talk, id = found
            talk.out.pop(id)
            heard = len(self.back.heard)
            await self.clients[talk.who].reply(id, error={"code": -7, "message": "no"})
            await settle()
            assert talk.sent.box.answers[0]["error"] == {"code": -7, "message": "no"}
            assert len(self.back.heard) == heard

    async def forge(self, n: int) -> None:
        """An answer to a question of another client's, or to none."""
        heard = len(self.back.heard)
        if found := self.asked(n):
            talk, id = found
            await self.clients[(talk.who + 1) % 3].reply(10_000 + id, result={"forged": True})
            others = {each for other in self.talks if other.who == (talk.who + 1) % 3 for each in other.out}
            if id not in others:
                await self.clients[(talk.who + 1) % 3].reply(id, result={"forged": True})
        await settle()
        assert len(self.back.heard) == heard

    async def leave(self, n: int) -> None:
        waiting = [talk for talk in self.talks if talk.is_open]
        if waiting:
            talk = waiting[n % len(waiting)]
            talk.is_left = True
            await self.clients[talk.who].notify("notifications/cancelled", requestId=talk.id)
            await settle()
            assert not talk.sent.box.answers and talk.sent.task.done()
            talk.out.clear()
            talk.seen = len(talk.sent.box.messages)

    async def close(self, n: int) -> None:
        """A client goes altogether, and another of its kind comes."""
        who = n % 3
        await self.proxy.end_session(self.clients[who].session)
        await settle()
        for talk in self.talks:
            if talk.who == who and talk.is_open:
                talk.is_left = True
                talk.out.clear()
                talk.seen = len(talk.sent.box.messages)
        self.clients[who] = await LegacyClient.open(self.proxy, **ABLE[who])

    async def wait(self, n: int) -> None:
        """Longer than a call may be silent, or than a question may stay unanswered."""
        await advance(1101.0 if n == 0 else CALL + 1)

    # -- the back ---------------------------------------------------------------------------------------------------

    def one(self, n: int) -> Called | None:
        live = self.back.live()
        return live[n % len(live)] if live else None

    async def ask(self, n: int) -> None:
        if call := self.one(n):
            self.number += 1
            keys = [f"{self.number}k{each}" for each in range(1 + n % 3)]
            self.given[call.tag] = {}
            self.back.ask(call, keys, f"s{self.number}" if n % 2 else None)

    async def bare(self, n: int) -> None:
        """A round that asks for nothing: it is repeated with its state after a while."""
        if call := self.one(n):
            self.number += 1
            self.given[call.tag] = {}
            self.back.ask(call, [], f"s{self.number}")
            await settle()
            await advance(limits.ROUND_WAIT_MOST)

    async def odd(self, n: int) -> None:
        """What no back may say in answer to a call."""
        if call := self.one(n):
            call.is_over = True
            odd = [{"resultType": "input_required"}, {"resultType": "odd"}, {"resultType": 7}]
            call.wire.say(id=call.id, result=odd[n % 3])
            await settle()

    async def finish(self, n: int) -> None:
        if call := self.one(n):
            self.back.finish(call)

    async def crash(self, n: int) -> None:
        for wire in self.back.wires:
            wire.crash()
        await advance(31.0)

    # -- what must hold ---------------------------------------------------------------------------------------------

    def check_retries(self) -> None:
        """Each retry brings this round's answers and this round's state, byte for byte, and nothing else."""
        for call in self.back.live():
            params = call.message["params"]
            keys, state = self.back.states.get(call.tag, ([], None))
            assert params.get("requestState") == state
            answers = {f"{call.tag}/{key}": value for key, value in params.get("inputResponses", {}).items()}
            assert answers == (self.given.get(call.tag, {}) if keys else {})
            assert len(answers) == len(keys)

    async def end(self) -> None:
        for _ in range(100):
            for call in self.back.live():
                self.back.finish(call)
            await self.act("answer", 0)
            await advance(limits.ROUND_WAIT_MOST)
            if not any(talk.is_open for talk in self.talks) and not self.back.live():
                break
        else:
            pytest.fail("calls stayed open")
        for client in self.clients:
            assert not client.session._calls and not len(client.session._questions)  # type: ignore[attr-defined]
        await self.proxy.close()
        assert len(self.proxy.tasks) == 0
        assert not [wire for wire in self.back.wires if wire.is_alive]
        for talk in self.talks:
            assert len(talk.sent.box.answers) == (0 if talk.is_left else 1) and talk.sent.task.done()
            assert not any("forged" in json.dumps(each) for each in self.back.heard)


@settings(max_examples=300, deadline=None)
@given(script=SCRIPTS)
def test_legacy_clients_of_a_modern_back(script: list[tuple[str, int]]) -> None:
    async def scenario() -> None:
        world = Asking()
        await world.open()
        for act, n in script:
            await world.act(act, n)
        await world.end()

    play(scenario)
