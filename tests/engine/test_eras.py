"""Backs that don't speak the client's era: an error that says so, from which a client that speaks both goes on."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import BackFault, Fault, WrongEra
from tests.engine.clients import SCRIPT, LegacyClient, ModernClient, gateway, heard, http, run, script, stdio
from tests.engine.http_back import Exchange, HttpBack, answer, http_back
from tests.engine.test_relay import BACKS, proxy_to


@BACKS
def test_modern_client_of_a_legacy_back(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log") as (proxy, said):
            client = ModernClient(proxy)
            for n in range(3):
                result = await client.call(n, "echo", of=n).result()
                assert result["echo"] == {"of": n} and result["resultType"] == "complete"
            heard = [each["method"] for each in said()]
            assert heard.count("server/discover") == heard.count("initialize") == 1
            assert all("_meta" not in each["params"] for each in said() if each["method"] == "tools/call")
            assert await (await LegacyClient.open(proxy)).call(1, "echo").result()

    run(scenario)


@BACKS
def test_legacy_client_of_a_modern_back(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "modern", tmp_path / "log") as (proxy, said):
            for _ in range(2):
                client = await LegacyClient.open(proxy)
                result = await client.call(1, "echo", of="legacy").result()
                assert result["echo"] == {"of": "legacy"} and "resultType" not in result
            assert [each["method"] for each in said()].count("initialize") == 1
            assert await ModernClient(proxy).call(1, "echo").result()

    run(scenario)


MODERN_ONLY = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if m["method"] == "server/discover":
        answer = {"result": {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}}
    else:
        answer = {"error": {"code": int(sys.argv[1]), "message": "params._meta must carry a version"}}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **answer}), flush=True)
"""


@pytest.mark.parametrize("code", [-32602, -32600, -32601])
@BACKS
def test_modern_backs_that_judge_initialize_by_their_own_rules(kind: str, code: int) -> None:
    """Not all say -32022: what lacks `_meta` is refused first, and `initialize` is no method."""

    async def handle(back: HttpBack, exchange: Exchange) -> None:
        if exchange.message["method"] == "initialize":
            exchange.json({"id": exchange.message["id"], "error": {"code": code, "message": "no"}}, 400)
        else:
            await answer(back, exchange)

    async def scenario() -> None:
        async with http_back("modern", handle) as back:
            target = http(back.url) if kind == "http" else script(MODERN_ONLY, str(code))
            async with gateway(target) as proxy:
                await LegacyClient.open(proxy)

    run(scenario)


@BACKS
def test_a_legacy_back_that_refuses_initialize_is_not_dead(kind: str, tmp_path: Path) -> None:
    refusing = script(
        "import json, sys\nfor line in sys.stdin:\n    m = json.loads(line)\n"
        "    print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'error': {'code': -32602, 'message': 'Too new'}}))\n"
        "    sys.stdout.flush()\n"
    )

    async def handle(back: HttpBack, exchange: Exchange) -> None:
        exchange.json({"id": exchange.message["id"], "error": {"code": -32602, "message": "Too new"}})

    async def scenario() -> None:
        async with http_back("legacy", handle) as back:
            target = http(back.url) if kind == "http" else refusing
            async with gateway(target) as proxy:
                deaths: list[str] = []
                proxy.back._died = deaths.append
                with pytest.raises(BackFault, match="Too new") as refused:
                    await LegacyClient.open(proxy)
                assert refused.value.code == -32602 and not isinstance(refused.value, WrongEra)
                assert deaths == []

    run(scenario)


def test_a_back_that_answers_the_probe_too_late_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package that is first downloaded takes its time once; that says nothing about its era."""
    monkeypatch.setattr("isthmus.limits.PROBE", 0.4)
    slow = (
        "import os, runpy, sys, time\n"
        "if not os.path.exists(sys.argv[3]):\n    open(sys.argv[3], 'w'); time.sleep(1.2)\n"
        "sys.argv[1:] = sys.argv[1:3]\n"
        f"runpy.run_path({SCRIPT!r}, run_name='__main__')\n"
    )

    async def scenario() -> None:
        async with gateway(script(slow, "modern", str(tmp_path / "log"), str(tmp_path / "once"))) as proxy:
            assert "initialize" in (await ModernClient(proxy).call(1, "echo").error(2))["message"]
            assert await ModernClient(proxy).call(2, "echo").result(2)

    run(scenario)


def test_the_probe_reads_a_stream_to_its_answer() -> None:
    async def handle(back: HttpBack, exchange: Exchange) -> None:
        if exchange.message["method"] == "server/discover":
            exchange.event(None, id="0")
            await exchange.writer.drain()
            exchange.event({"method": "notifications/message", "params": {}})
            exchange.result(resultType="complete", supportedVersions=["2026-07-28"], capabilities={})
        else:
            await answer(back, exchange)

    async def scenario() -> None:
        async with http_back("modern", handle) as back, gateway(http(back.url)) as proxy:
            assert await ModernClient(proxy).call(1, "echo").result()

    run(scenario)


@BACKS
def test_a_back_of_both_eras_serves_both(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "both", tmp_path / "log") as (proxy, _):
            legacy, modern = await LegacyClient.open(proxy), ModernClient(proxy)
            calls = [legacy.call(1, "echo", of="legacy"), modern.call(1, "echo", of="modern")]
            assert [(await each.result())["echo"]["of"] for each in calls] == ["legacy", "modern"]

    run(scenario)


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_the_sdk_client_of_both_eras_is_served_in_the_newer_one(kind: str, tmp_path: Path) -> None:
    """`Client(mode="auto")` of the Python SDK, `isthmus run`, and a server of the older era."""
    from mcp import Client, StdioServerParameters

    log = tmp_path / "log"

    async def scenario() -> None:
        async with http_back("legacy") as back:
            target = [back.url] if kind == "http" else ["--", sys.executable, "-I", "-S", SCRIPT, "legacy", str(log)]
            command = StdioServerParameters(command=sys.executable, args=["-m", "isthmus", "run", *target])
            async with Client(command, mode="auto") as client:
                assert client.protocol_version == "2026-07-28"
                listed: Any = await client.list_tools()
                assert [tool.name for tool in listed.tools] == ["echo"]
            said = heard(log) if kind == "stdio" else [each.message for each in back.heard if each.message]
            methods = [each["method"] for each in said]
            assert methods.index("server/discover") < methods.index("initialize") < methods.index("tools/list")

    run(scenario)


def test_a_session_that_can_not_be_opened_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio("mute", tmp_path / "log"), call=0.3) as proxy:
            with pytest.raises(Fault, match="in time"):
                await LegacyClient.open(proxy)
            opening = asyncio.ensure_future(LegacyClient.open(proxy))
            await asyncio.sleep(0.05)
            opening.cancel()
            await asyncio.wait([opening])

    run(scenario)
