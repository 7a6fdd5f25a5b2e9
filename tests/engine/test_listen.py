"""`subscriptions/listen`: subscription ids in both directions, and how a subscription ends."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clients import META, ModernClient, gateway, heard, http, run, stdio, until
from tests.engine.http_back import http_back

ID = META + "subscriptionId"
WANTED: dict[str, Any] = {"toolsListChanged": True}
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
CHANGED = "notifications/tools/list_changed"


def ids_of(messages: list[Any]) -> set[Any]:
    return {each["params"]["_meta"][ID] for each in messages if "method" in each}


def test_on_a_shared_process(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio("modern", log)) as proxy:
            client, other = ModernClient(proxy), ModernClient(proxy)
            streams = [client.request("same", "subscriptions/listen", notifications=WANTED)]
            streams.append(other.request("same", "subscriptions/listen", notifications=WANTED))
            streams.append(other.request(7, "subscriptions/listen", notifications=WANTED))
            for stream in streams:
                assert (await stream.box.first(ACKNOWLEDGED))["params"]["notifications"] == WANTED
            assert (await client.request(1, "x/change").result())["told"] == 3
            for stream in streams:
                await stream.box.first(CHANGED)
                assert len(stream.box.messages) == 2
            assert [ids_of(stream.box.messages) for stream in streams] == [{"same"}, {"same"}, {7}]
            await streams[0].cancel()
            sent = [each["id"] for each in heard(log) if each["method"] == "subscriptions/listen"]
            await until(lambda: heard(log)[-1]["method"] == "notifications/cancelled")
            assert heard(log)[-1]["params"]["requestId"] == sent[0]
            assert (await client.request(2, "x/change").result())["told"] == 2
            await client.request(3, "x/end").result()
            for stream, id in ((streams[1], "same"), (streams[2], 7)):
                result = await stream.result()
                assert result["_meta"][ID] == id and stream.box.answers[0]["id"] == id

    run(scenario)


def test_over_http() -> None:
    async def scenario() -> None:
        async with http_back("modern") as back, gateway(http(back.url)) as proxy:
            client, other = ModernClient(proxy), ModernClient(proxy)
            streams = [each.request(1, "subscriptions/listen", notifications=WANTED) for each in (client, other)]
            for stream in streams:
                await stream.box.first(ACKNOWLEDGED)
            first, second = back.listeners
            first.event({"method": CHANGED, "params": {"_meta": {ID: first.message["id"]}}})
            await until(lambda: any(len(stream.box.messages) == 2 for stream in streams))
            assert [ids_of(stream.box.messages) for stream in streams] == [{1}, {1}]
            first.event({"method": "notifications/cancelled"})  # without parameters: nothing to readdress
            first.result(resultType="complete", _meta={ID: first.message["id"]})
            ended = next(stream for stream in streams if len(stream.box.messages) > 1)
            assert (await ended.result())["_meta"][ID] == 1
            open_one = next(stream for stream in streams if stream is not ended)
            assert not open_one.task.done()
            await open_one.cancel()
            await back.until(second.gone.is_set)

    run(scenario)


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_it_is_meant_to_be_silent(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call's deadline is not a subscription's, also after its first message; at the end of its day it ends well."""
    monkeypatch.setattr("isthmus.limits.LISTEN", 0.9)

    async def scenario() -> None:
        async with http_back("modern") as back:
            target = stdio("modern", tmp_path / "log") if kind == "stdio" else http(back.url)
            async with gateway(target, call=0.3) as proxy:
                stream = ModernClient(proxy).request("s", "subscriptions/listen", notifications=WANTED)
                await stream.box.first(ACKNOWLEDGED)
                result = await stream.result()
                assert stream.took > 0.85
                assert result["resultType"] == "complete" and result["_meta"][ID] == "s"
                assert result["_meta"][META + "serverInfo"]["name"] == "isthmus"
                await asyncio.wait([stream.task])

    run(scenario)
