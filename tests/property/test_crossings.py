"""Crossings, whatever comes in whatever order: one final answer, the right client asked, no lease left behind.

Both eras meet fakes in memory that do nothing by themselves; Hypothesis writes the scripts. After each all that is
still open is brought to its end, and then nothing may be left.
"""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus import limits
from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.pool.policy import Isolation, Key
from isthmus.protocol.judge import ModernRequest, judge_modern
from tests.engine.clients import META, Exchange, envelope, request_text
from tests.property.crossing_backs import Called, LegacyBack, advance, answered, play, settle

PARKED = 100.0
CALL = 10_000.0
LIMITS = Limits(parked=PARKED, call=CALL, call_most=CALL, answer_wait=CALL, session_idle=10 * CALL)
CAPABILITIES: dict[str, dict[str, Any]] = {
    "ann": {"elicitation": {"form": {}, "url": {}}, "roots": {}},
    "bob": {"elicitation": {}},
    "cid": {},  # who can't be asked, and so may share
}

ACTS = {
    "call": 6,
    "ask": 6,
    "retry": 6,
    "finish": 3,
    "say": 2,
    "withdraw": 2,
    "leave": 2,
    "crash": 1,
    "demand": 2,
    "complete": 1,
    "wait": 1,
    "linger": 2,
    "partial": 2,
    "strange": 1,
    "malformed": 1,
    "forged": 1,
    "replayed": 1,
    "foreign": 1,
    "mismatched": 1,
}
SCRIPTS = st.lists(
    st.tuples(
        st.sampled_from([act for act, often in ACTS.items() for _ in range(often)]), st.integers(0, 5), st.booleans()
    ),
    min_size=1,
    max_size=40,
)
WHY = {
    "forged": "not made by this proxy, or was changed",
    "replayed": "used already",
    "foreign": "somebody else",
    "mismatched": "another method or other parameters",
    "expired": "it has expired",
    "malformed": "must be an object of objects",
}


class Thread:
    """A call of a modern client with all its retries, as the client sees it."""

    def __init__(self, who: str, tag: str) -> None:
        self.who = who
        self.tag = tag
        self.open: Exchange | None = None
        self.state: str | None = None
        self.used: list[str] = []
        self.asked: dict[str, str] = {}
        self.is_expired = False
        self.is_doubtful = False
        """Whether it may have been ended for another call."""
        self.final: Any = None

    def read(self) -> None:
        """Take in what came."""
        if self.open is None:
            return
        for message in self.open.box.messages:
            if message.get("method") == "notifications/message":
                assert self.who == "ann" and message["params"]["data"] == self.tag
        answer = answered(self.open.box)
        if answer is None:
            return
        self.open = None
        result = answer.get("result", {})
        if result.get("resultType") == "input_required":
            assert CAPABILITIES[self.who].get("elicitation") is not None
            self.state = result["requestState"]
            assert self.state not in self.used
            self.asked = {key: each["params"]["message"] for key, each in result["inputRequests"].items()}
            assert self.asked
            assert {text.split("/")[0] for text in self.asked.values()} == {self.tag}  # no other call's questions
        else:
            self.final, self.state = answer, None
            assert "error" in answer or result["tag"] == self.tag, answer


class Parking:
    """Modern clients of a legacy back."""

    def __init__(self, isolation: Isolation) -> None:
        self.back = LegacyBack()
        self.proxy = Gateway(self.back.target, Settings(limits=LIMITS, isolation=isolation))
        self.threads: list[Thread] = []
        self.number = 0

    async def act(self, act: str, n: int, *, is_quick: bool = False) -> None:
        """Do one thing; the next is done at once if it is quick, else when what belongs together has come."""
        await getattr(self, act, self.misuse)(*([n] if hasattr(self, act) else [act, n]))
        await settle()
        if not is_quick:
            await advance(2 * limits.QUESTIONS_TOGETHER)
        withdrawn = {each.text for call in self.back.calls for each in call.questions if each.is_withdrawn}
        for thread in self.threads:
            was_open = thread.open is not None
            thread.read()
            assert not was_open or not withdrawn & set(thread.asked.values())

    def send(self, thread: Thread, *, who: str | None = None, tag: str | None = None, **params: Any) -> Exchange:
        self.number += 1
        who = who or thread.who
        meta = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": CAPABILITIES[thread.who]}
        if thread.who == "ann":
            meta[META + "logLevel"] = "debug"
        arguments = {"tag": tag or thread.tag}
        text = request_text(self.number, "tools/call", {"name": "t", "arguments": arguments, "_meta": meta, **params})
        judged = judge_modern(envelope(text), None)
        assert isinstance(judged, ModernRequest)
        judged.principal = who
        return Exchange(lambda box: self.proxy.relay(judged, box, None))

    # -- the clients ------------------------------------------------------------------------------------------------

    async def call(self, n: int) -> None:
        self.number += 1
        thread = Thread(list(CAPABILITIES)[n % 3], f"{list(CAPABILITIES)[n % 3]}{self.number}")
        self.threads.append(thread)
        thread.open = self.send(thread)

    async def retry(self, n: int, count: int | None = None, strange: bool = False) -> None:
        parked = [thread for thread in self.threads if thread.state is not None]
        if not parked:
            return
        thread = parked[n % len(parked)]
        given = dict(list(thread.asked.items())[:count])
        answers: dict[str, Any] = {key: {"action": "accept", "content": {"for": text}} for key, text in given.items()}
        if strange:
            answers["nobody asked"] = {"action": "accept", "content": {"for": "nobody"}}
        state, thread.state, thread.asked = thread.state, None, {}
        assert state is not None
        thread.used.append(state)
        thread.open = self.send(thread, requestState=state, inputResponses=answers)
        if thread.is_expired:
            await self.refused(thread.open, "expired")

    async def partial(self, n: int) -> None:
        await self.retry(n, 1)

    async def strange(self, n: int) -> None:
        await self.retry(n, n % 2, strange=True)

    async def leave(self, n: int) -> None:
        waiting = [thread for thread in self.threads if thread.open is not None]
        if waiting:
            thread = waiting[n % len(waiting)]
            assert thread.open is not None
            leaving, thread.open = thread.open, None
            await leaving.cancel()
            await settle()
            assert answered(leaving.box) is None

    async def misuse(self, act: str, n: int) -> None:
        """A retry that is none: it is refused with its reason, nothing reaches the back, and the good one still can."""
        has = [
            each
            for each in self.threads
            if (each.used if act == "replayed" else each.state) and not (each.is_expired or each.is_doubtful)
        ]
        if not has:
            return
        thread = has[n % len(has)]
        state = thread.used[n % len(thread.used)] if act == "replayed" else thread.state
        assert state is not None
        sent: dict[str, Any] = {"inputResponses": {}, "requestState": state}
        if act == "forged":
            place = n * len(state) // 6
            sent["requestState"] = state[:place] + ("A" if state[place] != "A" else "B") + state[place + 1 :]
        elif act == "foreign":
            sent["who"] = "eve"
        elif act == "mismatched":
            sent["tag"] = "other"
        elif act == "malformed":
            sent["inputResponses"] = {"k": [n]}
        await self.refused(self.send(thread, **sent), act)

    async def refused(self, sent: Exchange, why: str) -> None:
        heard = len(self.back.heard)
        await settle()
        answer = answered(sent.box)
        assert answer is not None and answer["error"]["code"] == -32602
        said = answer["error"]["message"]
        assert WHY[why] in said or (why == "replayed" and WHY["expired"] in said), said
        assert len(self.back.heard) == heard

    async def wait(self, n: int) -> None:
        """Longer than a call stays parked."""
        await advance(PARKED + 1)
        for thread in self.threads:
            thread.is_expired |= thread.state is not None

    async def linger(self, n: int = 0) -> None:
        """Longer than a parked call keeps its session from those who wait."""
        before = self.parked()
        await advance(LIMITS.parked_grace + 1)
        for thread in self.threads:
            thread.is_doubtful |= thread.state is not None
        pool = self.proxy._pool
        if pool is not None and pool.isolation != "request":
            assert not {key for key, _ in before & self.parked()} & {each.key for each in pool._state.waiters}

    def parked(self) -> set[tuple[Key, float]]:
        """The sessions that a parked call holds, and since when."""
        slots = self.proxy._pool._state.slots if self.proxy._pool is not None else []
        return {(slot.key, slot.parked_since) for slot in slots if slot.parked_since is not None}

    # -- the back ---------------------------------------------------------------------------------------------------

    def one(self, n: int) -> Called | None:
        live = self.back.live()
        return live[n % len(live)] if live else None

    async def ask(self, n: int) -> None:
        if call := self.one(n):
            self.number += 1
            self.back.ask(call, self.number, "roots/list" if n == 5 and call.tag[:3] == "cid" else "elicitation/create")
            if n % 2:
                self.number += 1
                self.back.ask(call, self.number)

    async def finish(self, n: int) -> None:
        if call := self.one(n):
            self.back.finish(call)

    async def say(self, n: int) -> None:
        if call := self.one(n):
            call.wire.say(method="notifications/message", params={"level": "info", "data": call.tag})

    async def withdraw(self, n: int) -> None:
        if call := self.one(n):
            self.back.withdraw(call)

    async def demand(self, n: int) -> None:
        if call := self.one(n):
            self.number += 1
            self.back.demand(call, self.number)

    async def complete(self, n: int) -> None:
        self.back.complete()

    async def crash(self, n: int) -> None:
        alive = [wire for wire in self.back.wires if wire.is_alive]
        if alive:
            alive[n % len(alive)].crash()
            await self.linger()  # the longest that a back which crashed is left alone

    # -- the end ----------------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Answer all that is asked and called, until nothing is left to do."""
        for _ in range(200):
            busy = bool(self.back.live())
            for call in self.back.live():
                self.back.finish(call)
            await self.act("finish", 0)
            while any(each.state is not None for each in self.threads):
                busy = True
                await self.act("retry", 0)
            await self.act("complete", 0)
            if not busy and all(each.open is None for each in self.threads):
                return
            await advance(CALL / 100)
        pytest.fail("requests stayed open: " + ", ".join(each.tag for each in self.threads if each.open is not None))

    async def check(self) -> None:
        await advance(CALL + 1)  # whatever still waits for something has had enough of it
        pool = self.proxy._pool
        assert "0 opening, 0 held, 0 shared," in repr(pool) and repr(pool).endswith("0 waiting>") if pool else True
        assert self.proxy._visiting is None or not self.proxy._visiting._parked
        for call in self.back.calls:
            for question in call.questions:
                assert len(question.answers) <= 1
                for answer in question.answers:
                    assert "error" in answer or answer["result"]["content"]["for"] == question.text, answer
                    assert "result" not in answer or not call.tag.startswith("cid")
        await self.proxy.close()
        assert len(self.proxy.tasks) == 0 and (pool is None or len(pool) == 0)
        assert not [wire for wire in self.back.wires if wire.is_alive]


@pytest.mark.parametrize("isolation", ["session", "request", "shared"])
@settings(max_examples=200, deadline=None)
@example(
    script=[
        ("call", 0, False),
        *[("ask", 0, False), ("retry", 0, False)] * 2,
        ("ask", 0, False),
        ("replayed", 0, False),
    ]
)
@example(script=[("call", 0, False), ("demand", 0, False), ("retry", 0, False), ("leave", 0, False)])
@given(script=SCRIPTS)
def test_modern_clients_of_a_legacy_back(isolation: Isolation, script: list[tuple[str, int, bool]]) -> None:
    async def scenario() -> None:
        world = Parking(isolation)
        for act, n, is_quick in script:
            await world.act(act, n, is_quick=is_quick)
        await world.end()
        await world.check()

    play(scenario)
