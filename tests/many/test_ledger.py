"""Many clients of both eras with the same ids: one answer for each request, and nothing of anybody else in it."""

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.clients import Box, Exchange, LegacyClient, run
from tests.many.servers import Known, absent, many, spec

CLIENTS = ("legacy one", "legacy two", "modern one", "modern two")
BACKS = ("a", "b", "c", "gone")
STEPS = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(CLIENTS), st.sampled_from([f"{back}_echo" for back in BACKS])),
    st.tuples(st.just("call"), st.sampled_from(CLIENTS), st.sampled_from(["a_die", "b_grow", "c_grow", "nobody_echo"])),
    st.tuples(st.just("list"), st.sampled_from(CLIENTS), st.sampled_from(["tools/list", "resources/list"])),
    st.tuples(st.just("read"), st.sampled_from(CLIENTS), st.sampled_from(["note://a/x", "https://example.com/b"])),
    st.tuples(st.just("cancel"), st.sampled_from(CLIENTS), st.just("")),
    st.tuples(st.just("reload"), st.sampled_from(["without b", "another c", "all"]), st.just("")),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=5, max_size=25))
def test_every_request_has_one_answer_with_nothing_of_anybody_else(steps: list[tuple[str, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        run(lambda: _play(Path(folder) / "log", steps))


async def _play(log: Path, steps: list[tuple[str, str, str]]) -> None:
    a, b, c = spec("legacy", "a", log), spec("modern", "b", log, TTL=60_000), spec("legacy", "c", log, ttl=60)
    every = {
        "all": [a, b, c, absent("gone")],
        "without b": [a, c, absent("gone")],
        "another c": [a, b, spec("modern", "c", log), absent("gone")],
    }
    async with many(*every["all"], is_local=False) as made:
        clients: dict[str, Any] = {
            who: await LegacyClient.open(made) if who.startswith("legacy") else Known(made, who) for who in CLIENTS
        }
        boxes: dict[str, list[Box]] = {who: [each.strays] if "legacy" in who else [] for who, each in clients.items()}
        open_: list[tuple[str, Exchange]] = []
        left: list[tuple[Exchange, int]] = []
        for number, (what, who, of) in enumerate(steps):
            if what == "reload":
                made.reload(every[who])
            elif what == "cancel":
                mine = [each for each in open_ if each[0] == who and not each[1].task.done()]
                for each in mine[:1]:
                    open_.remove(each)
                    await each[1].cancel()
                    left.append((each[1], len(each[1].box.answers)))  # an answer may have crossed the cancellation
            else:
                id = sum(each[0] == who for each in open_) + len(left) + 1  # the same few for everybody
                client = clients[who]
                if what == "call":
                    exchange = client.call(id, of, meta={"progressToken": 1}, canary=f"canary of {who}", step=number)
                elif what == "list":
                    exchange = client.request(id, of)
                else:
                    exchange = client.request(id, "resources/read", uri=of)
                open_.append((who, exchange))
                boxes[who].append(exchange.box)
            await asyncio.sleep(0)
        for _, exchange in open_:
            await exchange.answer(within=20)
        assert all(len(each.box.answers) == before <= 1 for each, before in left)
        for who, theirs in boxes.items():
            text = json.dumps([box.messages for box in theirs])
            assert [other for other in CLIENTS if other != who and f"canary of {other}" in text] == []
