"""Isolation: which back session a request gets, for clients of both eras at a legacy back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from isthmus.engine.gateway import Gateway
from isthmus.engine.leasing import LeasingSession
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.pool.policy import Isolation
from tests.engine.clients import LegacyClient, ModernClient, heard, processes, run, stdio, until


@asynccontextmanager
async def isolated(log: Path, isolation: Isolation, era: str = "legacy", **limits: float) -> AsyncIterator[Gateway]:
    made = Gateway(stdio(era, log), Settings(isolation=isolation, limits=Limits(**limits)))  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()
        assert not len(made.tasks)


async def client_of(proxy: Gateway, era: str) -> LegacyClient | ModernClient:
    return await LegacyClient.open(proxy) if era == "legacy" else ModernClient(proxy)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_request_gives_each_request_a_session_that_nobody_used_before(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with isolated(tmp_path / "log", "request") as proxy:
            clients = [await client_of(proxy, era) for _ in range(2)]
            calls = [client.call(n, "echo") for client in clients for n in range(1, 4)]
            pids = [(await each.result())["pid"] for each in calls]
            assert len(set(pids)) == len(pids)
            for pid in pids:
                assert [each["method"] for each in heard(tmp_path / "log", pid)].count("tools/call") == 1

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_session_keeps_one_session_for_each_client(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with isolated(tmp_path / "log", "session") as proxy:
            first, second = [await client_of(proxy, era) for _ in range(2)]
            pids = [(await client.call(n, "echo").result())["pid"] for client in (first, second) for n in (1, 2)]
            assert pids[0] == pids[1] and pids[2] == pids[3]
            assert (pids[0] == pids[2]) == (era == "modern")  # whose clients are one principal

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_shared_is_one_session_for_all(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with isolated(tmp_path / "log", "shared") as proxy:
            clients = [await client_of(proxy, each) for each in (era, "legacy", "modern")]
            calls = [client.call(n, "echo", of=[i, n]) for i, client in enumerate(clients) for n in (1, 2)]
            results = await asyncio.gather(*(each.result() for each in calls))
            assert len({each["pid"] for each in results}) == 1
            assert [each["echo"]["of"] for each in results] == [[i, n] for i in range(3) for n in (1, 2)]

    run(scenario)


def test_an_id_is_taken_and_can_be_cancelled_while_its_request_waits_for_a_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with isolated(tmp_path / "log", "request", warm=0) as proxy:
            client = await LegacyClient.open(proxy)
            await client.call(1, "echo").result()  # which has the session that initialize opened
            first, second = client.call(2, "echo"), client.call(2, "echo")
            assert "in flight" in (await second.error())["message"]
            assert (await first.result())["echo"] == {}
            waiting = client.call(3, "echo")
            await asyncio.sleep(0)
            await client.notify("notifications/cancelled", requestId=3)
            await until(lambda: waiting.box.is_abandoned)
            assert waiting.box.messages == []
            assert (await client.call(3, "echo").result())["echo"] == {}

    run(scenario)


@pytest.mark.parametrize("isolation", ["request", "shared"])
@pytest.mark.parametrize("how", ["notification", "client"])
def test_what_was_asked_in_a_call_that_is_given_up_is_forgotten(how: str, isolation: Isolation, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with isolated(tmp_path / "log", isolation) as proxy:
            client = await LegacyClient.open(proxy, elicitation={})
            session = client.session
            assert isinstance(session, LeasingSession)
            asking = client.call(1, "ask")
            await asking.box.first("elicitation/create")
            assert len(session.questions) == 1
            if how == "notification":
                await client.notify("notifications/cancelled", requestId=1)
                await until(asking.task.done)
            else:
                await asking.cancel()
            assert len(session.questions) == 0

    run(scenario)


def test_progress_of_an_answer_goes_to_the_session_that_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        log, method = tmp_path / "log", "notifications/progress"
        async with isolated(log, "request") as proxy:
            client = await LegacyClient.open(proxy, elicitation={})
            calls = [client.call(n, "ask", message=str(n), _meta={"progressToken": n % 2}) for n in (1, 3)]
            asked = [await each.box.first("elicitation/create") for each in calls]
            tokens = [each["params"]["_meta"]["progressToken"] for each in asked]
            assert len(set(tokens)) == 2
            for token, said in ((tokens[0], "first"), ("other", "lost"), (tokens[1], "second")):
                await client.notify(method, progressToken=token, progress=1, message=said)
            for call, each in zip(calls, asked, strict=True):
                await client.reply(each["id"], result={"action": "decline"})
                await call.result()
            heards = [[each for each in heard(log, pid) if each.get("method") == method] for pid in processes(log)]
            told = [[each["params"]["message"] for each in some] for some in heards if some]
            assert sorted(told) == [["first"], ["second"]]
            assert {each["params"]["progressToken"] for some in heards for each in some} == {1}

    run(scenario)


_ASKABLE: Final[dict[str, Any]] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}


def calls_of(log: Path) -> list[str]:
    """The calls that each process of the back heard of, and which of them were cancelled."""
    calls: list[str] = []
    for pid in processes(log):
        names: dict[int, str] = {}
        for each in heard(log, pid):
            if each.get("method") == "tools/call":
                calls.append(names.setdefault(each["id"], each["params"]["name"]))
            elif each.get("method") == "notifications/cancelled":
                calls.append(f"no {names[each['params']['requestId']]}")
    return calls


@pytest.mark.parametrize("isolation", ["request", "session", "shared"])
def test_a_parked_call_ends_early_for_one_that_waits_for_its_session(isolation: Isolation, tmp_path: Path) -> None:
    """The client gave it up, which nobody tells the proxy, or takes its time: the next call gets its turn."""

    async def scenario() -> None:
        async with isolated(tmp_path / "log", isolation, parked_grace=0.1, back_sessions=1, warm=0) as proxy:
            client = ModernClient(proxy)
            asked = await client.call(1, "ask", meta=_ASKABLE).result()
            assert asked["resultType"] == "input_required"
            waiting = client.call(2, "echo", meta=_ASKABLE, of=2)
            assert (await waiting.result())["echo"] == {"of": 2}
            assert waiting.took >= 0.09
            state = asked["requestState"]
            late = client.request(3, "tools/call", meta=_ASKABLE, name="ask", arguments={}, requestState=state)
            error = await late.error()
            assert error["code"] == -32602 and "expired early, because another call waited" in error["message"]
            assert calls_of(tmp_path / "log") == ["ask", "no ask", "echo"]

    run(scenario)


def test_a_parked_call_that_nobody_waits_for_keeps_its_time(tmp_path: Path) -> None:
    """Nor does one end for a call that shares the session, or that has another."""

    async def scenario() -> None:
        async with isolated(tmp_path / "log", "session", parked_grace=0.01) as proxy:
            client = ModernClient(proxy)
            asked = await client.call(1, "ask", meta=_ASKABLE).result()
            await asyncio.sleep(0.05)
            await client.request(2, "tools/list", meta=_ASKABLE).result()
            await client.call(3, "echo").result()
            retry = {"name": "ask", "arguments": {}, "requestState": asked["requestState"]}
            answers = {key: {"action": "decline"} for key in asked["inputRequests"]}
            done = client.request(4, "tools/call", meta=_ASKABLE, inputResponses=answers, **retry)
            assert (await done.result())["answered"] == {"action": "decline"}

    run(scenario)


def test_a_back_that_opens_no_session_in_time_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with isolated(tmp_path / "log", "session", "mute", call=0.3) as proxy:
            proxy.back.channels().is_modern = False  # which it would take PROBE seconds to find out
            error = await ModernClient(proxy).call(1, "echo").error()
            assert error["message"] == "back did not open a session for tools/call echo in time. Is it running?"

    run(scenario)
