"""Crossings where a back reads capabilities otherwise, is lost under a listener, or may be remembered."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clients import LegacyClient, ModernClient, gateway, heard, http, run, script, stdio
from tests.engine.http_back import http_back

OLD = """
import json, os, sys
for line in sys.stdin:
    m = json.loads(line)
    with open(sys.argv[1], "a") as log:
        log.write(line)
    if m["method"] == "server/discover":
        answer = {"error": {"code": -32601, "message": "Method not found"}}
    elif m["method"] == "initialize":
        answer = {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {}}}
    else:
        answer = {"result": {"tools": []}}
    if "id" in m:
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **answer}), flush=True)
"""


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"url": {}}, [{"elicitation": {"url": {}}, "roots": {}}, {"roots": {}}]),
        ({"form": {}, "url": {}}, [{"elicitation": {"form": {}, "url": {}}, "roots": {}}]),
        ({}, [{"elicitation": {}, "roots": {}}]),
    ],
)
def test_a_client_without_forms_is_no_client_with_forms(declared: Any, told: list[Any], tmp_path: Path) -> None:
    """Before 2025-11-25 any `elicitation` meant forms: the back is opened again without it."""

    async def scenario() -> None:
        async with gateway(script(OLD, str(tmp_path / "log"))) as proxy:
            capabilities = {"elicitation": declared, "roots": {}}
            meta = {"io.modelcontextprotocol/clientCapabilities": capabilities}
            assert (await ModernClient(proxy).request(1, "tools/list", meta=meta).result())["tools"] == []
        heard = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [each["params"]["capabilities"] for each in heard if each["method"] == "initialize"] == told
        assert [each["method"] for each in heard].count("notifications/initialized") == 1

    run(scenario)


def test_who_listens_hears_of_each_kind_of_change_when_a_back_was_lost(tmp_path: Path) -> None:
    """Nobody knows what changed while the session was gone; it is opened again without waiting for a call."""

    async def scenario() -> None:
        async with gateway(stdio("legacy", tmp_path / "log")) as proxy:
            client = ModernClient(proxy)
            listening = client.request(1, "subscriptions/listen", notifications={"toolsListChanged": True})
            await listening.box.first("notifications/subscriptions/acknowledged")
            await client.call(2, "die").error()
            await listening.box.first("notifications/tools/list_changed")
            assert not [each for each in listening.box.messages if "prompts" in each["method"]]
            assert [each["method"] for each in heard(tmp_path / "log")].count("initialize") == 2
            await listening.cancel()

    run(scenario)


PUBLIC = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    with open(sys.argv[1], "a") as log:
        log.write(line)
    if m["method"] == "initialize":
        answer = {"error": {"code": -32022, "message": "Unsupported protocol version"}}
    else:
        answer = {"result": {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {},
                             "ttlMs": int(sys.argv[2]), "cacheScope": sys.argv[3]}}
    if "id" in m:
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **answer}), flush=True)
"""


@pytest.mark.parametrize(("ttl", "scope", "times"), [(60_000, "public", 1), (60_000, "private", 3), (0, "public", 3)])
def test_what_a_modern_back_is_is_remembered_as_long_as_it_says(
    ttl: int, scope: str, times: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with gateway(script(PUBLIC, str(tmp_path / "log"), str(ttl), scope)) as proxy:
            for _ in range(3):
                await LegacyClient.open(proxy)
        said = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        asked = [each for each in said if each["method"] == "server/discover"]
        assert len(asked) == times + 1  # the first finds out that it is modern

    run(scenario)


def test_who_listens_hears_of_changes_when_the_stream_of_them_was_interrupted() -> None:
    """A stream without ids of events can't be resumed: what was said meanwhile is lost, and so is announced."""

    async def scenario() -> None:
        async with http_back("legacy") as back, gateway(http(back.url)) as proxy:
            listening = ModernClient(proxy).request(1, "subscriptions/listen", notifications={"toolsListChanged": True})
            await listening.box.first("notifications/subscriptions/acknowledged")
            await back.until(lambda: back.gets)
            back.gets[0].cut()
            await listening.box.first("notifications/tools/list_changed")
            assert len(back.gets) == 2 and len(back.messages("initialize")) == 1
            await listening.cancel()

    run(scenario)
