"""Questions of legacy backs: to whom they go, who may answer, and what becomes of the deadlines meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clients import Box, LegacyClient, gateway, heard, http, run, stdio, until
from tests.engine.http_back import http_back
from tests.engine.test_relay import BACKS, proxy_to

METHODS = pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage", "roots/list"])


async def question(box: Box, method: str = "elicitation/create") -> Any:
    return await box.first(method)


@METHODS
@BACKS
def test_a_question_is_answered(kind: str, method: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log") as (proxy, said):
            client = await LegacyClient.open(proxy, elicitation={}, sampling={}, roots={})
            outcomes: list[dict[str, Any]] = [{"result": {"x": [1]}}, {"error": {"code": -1, "message": "Rejected"}}]
            for n, outcome in enumerate(outcomes):
                call = client.call(n, "ask", method=method, message="?", deep={"a": 1.0})
                asked = await question(call.box, method)
                assert asked["params"] == {"message": "?", "deep": {"a": 1.0}}
                assert type(asked["id"]) is int
                await client.reply(asked["id"], **outcome)
                result = await call.result()
                assert result["answered"] == outcome.get("result") and result["refused"] == outcome.get("error")
            answers = [each["id"] for each in said() if "method" not in each]
            assert all(isinstance(id, str) for id in answers)  # as the back had spelled them

    run(scenario)


@BACKS
def test_answers_to_nothing_are_dropped(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log") as (proxy, said):
            client, other = await LegacyClient.open(proxy), await LegacyClient.open(proxy)
            call = client.call(1, "ask")
            id = (await question(call.box))["id"]
            for wrong in (None, 99, str(id), "q1"):
                await client.reply(wrong, result={"forged": True})
            await other.reply(id, result={"forged": True})
            await client.reply(id, result={"mine": True})
            await client.reply(id, result={"twice": True})
            assert (await call.result())["answered"] == {"mine": True}
            await client.call(2, "echo").result()
            assert [each["result"] for each in said() if "result" in each] == [{"mine": True}]

    run(scenario)


@BACKS
def test_two_questions_at_once(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log") as (proxy, _):
            client = await LegacyClient.open(proxy)
            calls = [client.call(n, "ask", id=f"q-{n}", message=str(n)) for n in range(2)]

            def asked() -> list[Any]:
                return [each for call in calls for each in call.box.messages if "method" in each]

            await until(lambda: len(asked()) == 2)
            for each in reversed(asked()):
                await client.reply(each["id"], result={"to": each["params"]["message"]})
            for n, call in enumerate(calls):
                assert (await call.result())["answered"] == {"to": str(n)}

    run(scenario)


@BACKS
def test_deadlines_pause_while_a_question_is_with_the_client(kind: str, tmp_path: Path) -> None:
    """Both of them; and afterwards both run on: a second hang after the answer still ends."""

    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log", call=0.3, call_most=0.5) as (proxy, _):
            client = await LegacyClient.open(proxy)
            for n in range(2):
                call = client.call(n, "ask")
                id = (await question(call.box))["id"]
                await asyncio.sleep(0.8)
                await client.reply(id, result={"late": n})
                assert (await call.result())["answered"] == {"late": n}
            hanging = client.call(5, "hang")
            await hanging.error()
            assert 0.25 < hanging.took < 0.5

    run(scenario)


def test_progress_does_not_end_the_pause(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio("legacy", tmp_path / "log"), call=0.3) as proxy:
            client = await LegacyClient.open(proxy)
            call = client.call(1, "ask")
            id = (await question(call.box))["id"]
            beside = client.call(2, "tick", meta={"progressToken": 1}, each=0.01, times=2)  # a sign of life, then none
            await beside.box.first("notifications/progress")
            await asyncio.sleep(0.7)
            assert not call.task.done() and not beside.task.done()
            await client.reply(id, result={})
            await call.result()
            await beside.error(1)

    run(scenario)


def test_on_http_only_the_asking_call_is_paused() -> None:
    async def scenario() -> None:
        async with http_back() as back, gateway(http(back.url), call=0.3) as proxy:
            client = await LegacyClient.open(proxy)
            asking, hanging = client.call(1, "ask"), client.call(2, "hang")
            id = (await question(asking.box))["id"]
            await hanging.error()
            assert hanging.took < 0.6 and not asking.task.done()
            await client.reply(id, result={})
            await asking.result()

    run(scenario)


@BACKS
def test_a_question_that_nobody_answers(kind: str, tmp_path: Path) -> None:
    """The back gets an error, the client hears that it is over, and the call goes on to its end."""

    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log", answer_wait=0.3) as (proxy, _):
            client = await LegacyClient.open(proxy)
            call = client.call(1, "ask")
            asked = await question(call.box)
            result = await call.result()
            assert "did not answer in time" in result["refused"]["message"]
            assert 0.25 < call.took < 0.8
            cancelled = (await call.box.first("notifications/cancelled"))["params"]
            assert cancelled["requestId"] == asked["id"]
            await client.reply(asked["id"], result={"late": True})
            assert (await client.call(2, "echo").result())["echo"] == {}

    run(scenario)


def test_the_back_withdraws_its_question(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio("legacy", log)) as proxy:
            client = await LegacyClient.open(proxy)
            call = client.call(1, "withdraw")
            asked = await question(call.box)
            cancelled = await call.box.first("notifications/cancelled")
            assert cancelled["params"] == {"requestId": asked["id"], "reason": "never mind"}
            assert await call.result() == {"withdrawn": True}
            await client.reply(asked["id"], result={"late": True})
            await client.call(2, "echo").result()
            assert not [each for each in heard(log) if "result" in each]

    run(scenario)


def test_the_back_dies_with_a_question_open(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio("legacy", log), answer_wait=5) as proxy:
            client = await LegacyClient.open(proxy)
            call = client.call(1, "ask")
            asked = await question(call.box)
            await client.call(2, "die").error(1)
            await call.error(1)
            assert (await call.box.first("notifications/cancelled"))["params"]["requestId"] == asked["id"]
            await client.reply(asked["id"], result={"late": True})
            await client.request(3, "tools/list").result(2)
            assert not [each for each in heard(log) if each.get("result") == {"late": True}]

    run(scenario)


def test_questions_outside_any_call_stdio(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio("legacy", log, ASKS_AT_ONCE="1")) as proxy:
            client = await LegacyClient.open(proxy, roots={})
            asked = await question(client.strays, "roots/list")
            await client.reply(asked["id"], result={"roots": []})
            await until(lambda: any(each.get("result") == {"roots": []} for each in heard(log)))

    run(scenario)


@pytest.mark.parametrize("is_open", [True, False])
def test_questions_outside_any_call_http(is_open: bool) -> None:
    """On the back's GET stream: it goes where the client hears it, if need be on the stream of a call."""

    async def scenario() -> None:
        async with http_back() as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy, roots={})
            client.strays.is_open = is_open
            await back.until(lambda: back.gets)
            back.gets[0].event({"id": 41, "method": "roots/list"})
            asked = await question(client.strays, "roots/list")
            await client.reply(asked["id"], result={"roots": []})
            await back.until(lambda: any(each.message.get("id") == 41 for each in back.heard))
            hanging = client.call(1, "hang")
            await back.until(lambda: back.heard[-1].message.get("params", {}).get("name") == "hang")
            back.gets[0].event({"id": 42, "method": "roots/list"})
            asked = await question(hanging.box, "roots/list")
            await client.notify("notifications/cancelled", requestId=1)
            await asyncio.wait([hanging.task])
            back.gets[0].event({"id": 43, "method": "ping"})
            if is_open:
                asked = await question(client.strays, "ping")
                await client.reply(asked["id"], result={})
            await back.until(lambda: any(each.message.get("id") == 43 for each in back.heard))

    run(scenario)


def test_the_get_stream_of_a_back() -> None:
    """Opened again after its end, after the last event; never in a loop; ended with a DELETE."""

    async def scenario() -> None:
        async with http_back() as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy)
            await back.until(lambda: back.gets)
            back.gets[0].event({"method": "notifications/tools/list_changed"}, id="9", retry=0)
            back.gets[0].end()
            await client.strays.first("notifications/tools/list_changed")
            for n in range(1, 4):
                await back.until(lambda n=n: len(back.gets) > n)  # type: ignore[misc]
                assert back.gets[n].headers["last-event-id"] == "9"
                back.gets[n].end()
            began = asyncio.get_running_loop().time()
            await back.until(lambda: len(back.gets) > 4)
            assert asyncio.get_running_loop().time() - began > 0.03
            batch = [{"jsonrpc": "2.0", "method": f"notifications/x/{n}"} for n in "ab"]
            back.gets[4].chunk(b"data: " + str(batch).replace("'", '"').encode() + b"\n\n")
            await client.strays.first("notifications/x/b")
            assert proxy.back.client is not None
            await proxy.end_session(client.session)
            await back.until(lambda: back.heard[-1].verb == "DELETE")
            await back.until(back.gets[4].gone.is_set)
            assert back.sessions == set()

    run(scenario)
