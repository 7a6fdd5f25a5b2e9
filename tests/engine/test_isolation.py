"""Isolation: which back session a request gets, for clients of both eras at a legacy back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.pool.policy import Isolation
from tests.engine.clients import LegacyClient, ModernClient, heard, run, stdio, until


@asynccontextmanager
async def isolated(log: Path, isolation: Isolation, warm: int = 1) -> AsyncIterator[Gateway]:
    made = Gateway(stdio("legacy", log), Settings(isolation=isolation, limits=Limits(warm=warm)))
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
