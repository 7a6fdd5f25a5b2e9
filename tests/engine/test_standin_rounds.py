"""A modern client's rounds in which functions answer: how many, whose, until when, what the back keeps meanwhile."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.engine.stand import FrontClient, Stand
from tests.engine.clients import heard, run, until
from tests.engine.surveys import ABLE, ASK, MODEL, SAID, SAMPLE, STOOD, Front, standing

BACKS = pytest.mark.parametrize("era", ["legacy", "modern"])


def test_a_call_whose_questions_functions_answer_keeps_its_session(tmp_path: Path) -> None:
    """However long they take: its client is known to be there. Once the client is asked, another call may have it."""
    slow = asyncio.Event()

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        await slow.wait()
        return STOOD

    async def scenario() -> None:
        stand = Stand(elicitation=elicit)
        async with standing("legacy", tmp_path / "log", stand, isolation="session", parked_grace=0.05) as relay:
            first = await Front(relay, "modern", ABLE, {}).begin({"rounds": [{"a": ASK}]}, {})
            await until(lambda: "tools/call" in [each.get("method") for each in heard(tmp_path / "log")])
            second = await Front(relay, "modern", ABLE, {}).begin({}, {})
            await asyncio.sleep(0.3)
            assert not second.task.done()
            slow.set()
            assert (await first.result())["told"]["answers"] == {"a": STOOD}
            assert await second.result()
            third = await Front(relay, "modern", ABLE, {}).begin({"rounds": [{"a": ASK, "s": SAMPLE}]}, {})
            assert (await third.result())["resultType"] == "input_required"
            assert await (await Front(relay, "modern", ABLE, {}).begin({}, {})).result()

    run(scenario)


@BACKS
def test_only_so_many_rounds(era: str, tmp_path: Path) -> None:
    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return STOOD

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            client = Front(relay, "modern", {}, {})
            most = [{str(n): ASK} for n in range(limits.ROUNDS)]
            assert len((await client.told(most))["answers"]) == limits.ROUNDS
            answer = await client.call({"rounds": [*most, {"more": ASK}]})
            assert answer["error"]["code"] == -32603 and "would ask again" in answer["error"]["message"]
            if era == "legacy":
                await until(lambda: "notifications/cancelled" in [e.get("method") for e in heard(tmp_path / "log")])

    run(scenario)


@BACKS
def test_what_functions_answered_is_sealed_to_its_call(era: str, tmp_path: Path) -> None:
    """The client can neither read nor change it, nor use it for another call."""

    async def sample(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return MODEL | {"model": "secret"}

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(sampling=sample)) as relay:
            rounds = {"rounds": [{"a": ASK, "s": SAMPLE}]}
            client = Front(relay, "modern", ABLE, {})
            shown = await (await client.begin(rounds, {})).result()
            assert [each["method"] for each in shown["inputRequests"].values()] == ["elicitation/create"]
            assert "secret" not in json.dumps(shown)
            (key,) = shown["inputRequests"]
            state, answers = shown["requestState"], {key: SAID}
            other = await client.begin({"rounds": []}, {}, requestState=state, inputResponses=answers)
            assert "other parameters" in (await other.error())["message"]
            wrong = await client.begin(rounds, {}, requestState=state, inputResponses={key: 5})
            assert (await wrong.error())["code"] == -32602
            forged = {key: SAID, "s": {"forged": True}}
            told = (await (await client.begin(rounds, {}, requestState=state, inputResponses=forged)).result())["told"]
            assert sorted(told["answers"].values(), key=str) == sorted([SAID, MODEL | {"model": "secret"}], key=str)

    run(scenario)


@BACKS
def test_a_state_expires(era: str, tmp_path: Path) -> None:
    async def sample(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return MODEL

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(sampling=sample), parked=0.05) as relay:
            rounds = {"rounds": [{"a": ASK, "s": SAMPLE}]}
            client = Front(relay, "modern", ABLE, {})
            shown = await (await client.begin(rounds, {})).result()
            await asyncio.sleep(0.06)
            late = await client.begin(rounds, {}, requestState=shown["requestState"], inputResponses={})
            assert "expired" in (await late.error())["message"]

    run(scenario)
