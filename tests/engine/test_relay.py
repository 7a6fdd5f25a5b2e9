"""What the straight relay does to any message: ids, tokens, logs, unknown things, identity (crossings.md, rules)."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from isthmus.engine.gateway import Gateway
from tests.engine.clients import META, LegacyClient, ModernClient, gateway, heard, http, processes, run, stdio, until
from tests.engine.http_back import Exchange, HttpBack, answer, http_back

ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])
BACKS = pytest.mark.parametrize("kind", ["stdio", "http"])
LOGS = {META + "logLevel": "info"}


@asynccontextmanager
async def proxy_to(kind: str, era: str, log: Path, **options: Any) -> AsyncIterator[tuple[Gateway, Any]]:
    """A gateway in front of either fake, and what gives the messages that the fake heard."""
    if kind == "stdio":
        async with gateway(stdio(era, log), **options) as proxy:
            yield proxy, lambda: heard(log)
    else:
        async with http_back(era) as back, gateway(http(back.url), **options) as proxy:
            yield proxy, lambda: [each.message for each in back.heard if each.message]


async def client_of(proxy: Gateway, era: str) -> LegacyClient | ModernClient:
    return ModernClient(proxy) if era == "modern" else await LegacyClient.open(proxy)


@pytest.mark.parametrize("across", [False, True])
@BACKS
def test_only_a_back_on_a_channel_leaves_the_form_of_a_legacy_answer_open(
    kind: str, across: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "modern" if across else "legacy", tmp_path / "log") as (proxy, _):
            client = await LegacyClient.open(proxy)
            plain, streamed = client.call(1, "echo"), client.call(2, "count", meta={"progressToken": 1}, times=1)
            await plain.result()
            await streamed.result()
            assert plain.box.streams == ([False] if kind == "stdio" else [])
            assert streamed.box.streams == [kind == "http"]

    run(scenario)


SPELLINGS = [b"1", b"1.0", b"1e2", b'"1"', b'"\\u0041"', b"0", b"-7", b"9" * 30, b"9" * 500, b'""']


@ERAS
@BACKS
def test_ids_are_our_own_and_come_back_as_they_were_spelled(kind: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, era, tmp_path / "log") as (proxy, said):
            client = await client_of(proxy, era)
            for spelled in SPELLINGS:
                if era == "modern":
                    meta = json.dumps({META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}})
                    params = f'{{"name": "echo", "arguments": {{}}, "_meta": {meta}}}'
                else:
                    params = '{"name": "echo"}'
                text = b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":%b}' % (spelled, params.encode())
                exchange = client.send(text)
                await exchange.result()
                assert b'"id":' + spelled + b"," in exchange.box.raw[-1]
            ids = [each["id"] for each in said() if "id" in each]
            assert all(type(id) is int for id in ids)
            assert len(set(ids)) == len(ids)

    run(scenario)


@ERAS
@BACKS
def test_two_clients_with_the_same_ids_and_tokens(kind: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, era, tmp_path / "log") as (proxy, _):
            clients = [await client_of(proxy, era) for _ in range(2)]
            for number in range(10):
                meta = {"progressToken": "same" if number % 2 else 7}
                calls = [each.call(number, "count", meta=meta, times=5, of=n) for n, each in enumerate(clients)]
                for n, call in enumerate(calls):
                    assert (await call.result())["of"] == n
                    progress = [each["params"] for each in call.box.messages if "method" in each]
                    assert [each["progress"] for each in progress] == [1, 2, 3, 4, 5]
                    assert {each["progressToken"] for each in progress} == {meta["progressToken"]}
            if kind == "stdio" and era == "modern":
                assert len(processes(tmp_path / "log")) == 1

    run(scenario)


@ERAS
@BACKS
def test_what_nobody_knows_passes_token_for_token(kind: str, era: str, tmp_path: Path) -> None:
    odd = '"x/why":{"big":123456789012345678901234567890,"f":1.50,"u":"\\u00e9\\ud800","n":[null,{ }]}'

    async def scenario() -> None:
        async with proxy_to(kind, era, tmp_path / "log") as (proxy, said):
            client = await client_of(proxy, era)
            own = f'"{META}protocolVersion":"2026-07-28","{META}clientCapabilities":{{}},' if era == "modern" else ""
            params = f'{{"a":1.0,"_meta":{{{own}"traceparent":"00-1","com.example/k":[1.0]}},{odd}}}'
            exchange = client.send(f'{{"jsonrpc":"2.0","id":4,"method":"x/echo","params":{params}}}'.encode())
            result = await exchange.result()
            sent = next(each for each in said() if each.get("method") == "x/echo")
            assert json.dumps(sent["params"]) == json.dumps(json.loads(params)) == json.dumps(result["heard"])

    run(scenario)


def test_a_legacy_message_keeps_its_bytes(tmp_path: Path) -> None:
    text = b'{"jsonrpc":"2.0","extra":[1.0,1e400],"id":"a","method":"x/echo","params":{"n":1.50,"u":"\\u00e9"}}'

    async def scenario() -> None:
        async with gateway(stdio("legacy", tmp_path / "log")) as proxy:
            client = await LegacyClient.open(proxy)
            await client.send(text).result()
            line = json.loads((tmp_path / "log").read_text().splitlines()[-1])[1].encode()
            own = json.loads(line)["id"]
            assert line == text.replace(b'"id":"a"', b'"id":%d' % own)

    run(scenario)


@BACKS
def test_notifications_of_any_kind_pass(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log") as (proxy, said):
            client = await LegacyClient.open(proxy)
            await client.notify("notifications/roots/list_changed")
            await client.notify("notifications/x/odd", deep={"a": [1]})
            await client.call(1, "echo").result()
            methods = [each["method"] for each in said()]
            assert methods[-3:-1] == ["notifications/roots/list_changed", "notifications/x/odd"]

    run(scenario)


@BACKS
def test_modern_notifications_pass_but_never_a_cancellation(kind: str, tmp_path: Path) -> None:
    """A client's request id means somebody else's request at the back."""

    async def scenario() -> None:
        async with proxy_to(kind, "modern", tmp_path / "log") as (proxy, said):
            client, other = ModernClient(proxy), ModernClient(proxy)
            await client.call(1, "echo").result()
            hanging = other.call(2, "hang")
            await client.notify("notifications/x/odd", deep={"a": 1})
            for id in range(10):
                await client.notify("notifications/cancelled", requestId=id)
            await client.call(3, "echo").result()
            methods = [each["method"] for each in said()]
            assert "notifications/x/odd" in methods and "notifications/cancelled" not in methods
            await hanging.cancel()

    run(scenario)


@pytest.mark.parametrize("keeps", [False, True])
@ERAS
@BACKS
def test_identity_and_capabilities(kind: str, era: str, keeps: bool, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, era, tmp_path / "log", keeps_identity=keeps) as (proxy, said):
            if era == "modern":
                meta = {META + "clientCapabilities": {"elicitation": {}, "extensions": {"x/y": {"z": 1}}}}
                result = await ModernClient(proxy).request(1, "server/discover", meta=meta).result()
                info = result.get("_meta", {}).get(META + "serverInfo", {}).get("name")
                told = [each["params"]["_meta"] for each in said() if each["method"] == "server/discover"][-1]
                assert told[META + "clientCapabilities"] == meta[META + "clientCapabilities"]
            else:
                client = await LegacyClient.open(proxy, elicitation={}, experimental={"x/y": {"z": 1}})
                result = client.opened["result"]
                info = result["serverInfo"]["name"]
                (told,) = [each["params"] for each in said() if each["method"] == "initialize"]
                assert told["capabilities"] == {"elicitation": {}, "experimental": {"x/y": {"z": 1}}}
                assert told["clientInfo"] == {"name": "a client", "version": "1"}
                assert result["capabilities"]["experimental"] == {"x/y": {"deep": 1}}
            if kind == "http" and era == "modern" and keeps:
                assert info is None  # this back says nothing of itself
            else:
                assert info == ("the back" if keeps else "isthmus")

    run(scenario)


@BACKS
def test_id_in_flight_twice(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log") as (proxy, _):
            client = await LegacyClient.open(proxy)
            first = client.call(1, "ask")
            await first.box.first("elicitation/create")
            twice = client.send(b'{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"echo"}}')
            assert (await twice.error())["code"] == -32600
            assert twice.box.status == 409
            await client.reply(first.box.messages[0]["id"], result={"action": "accept"})
            assert (await first.result())["answered"] == {"action": "accept"}
            assert await client.call(1, "echo").result()

    run(scenario)


def test_modern_clients_may_share_an_id() -> None:
    async def scenario() -> None:
        async with http_back("modern") as back, gateway(http(back.url)) as proxy:
            client = ModernClient(proxy)
            calls = [client.call(1, "count", meta={"progressToken": 1}, times=3, of=n) for n in range(5)]
            assert [(await each.result())["of"] for each in calls] == [0, 1, 2, 3, 4]

    run(scenario)


@BACKS
def test_legacy_client_cancels(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, "legacy", tmp_path / "log") as (proxy, said):
            client = await LegacyClient.open(proxy)
            bystander = client.call(0, "ask")
            await bystander.box.first("elicitation/create")
            hanging = client.call("mine", "hang")
            (sent,) = await until(lambda: [m for m in said() if m.get("params", {}).get("name") == "hang"])
            nobodys: list[Any] = [None, True, "another", {}]
            for id in nobodys:  # and 0 is not meant by any of them
                await client.notify("notifications/cancelled", requestId=id)
            await client.notify("notifications/cancelled", requestId="mine", reason="bored")
            await asyncio.wait([hanging.task], timeout=1)
            assert hanging.task.done() and hanging.box.is_abandoned and hanging.box.messages == []
            await client.call("mine", "echo").result()
            (cancelled,) = [each["params"] for each in said() if each["method"] == "notifications/cancelled"]
            assert cancelled == {"requestId": sent["id"], "reason": "bored"}
            assert not bystander.task.done()
            await client.notify("notifications/cancelled", requestId=0)
            await asyncio.wait([bystander.task], timeout=1)

    run(scenario)


def test_requests_do_not_overtake_initialized() -> None:
    """Over HTTP the client's two messages go on two connections; a server refuses what comes before `initialized`."""

    async def scenario() -> None:
        order: list[str] = []
        slow = asyncio.Event()

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            method = exchange.message.get("method", "")
            if method == "notifications/initialized":
                await slow.wait()
            order.extend([method] if method else [])
            await answer(back, exchange)

        async with http_back("legacy", handle) as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy, introduce=False)
            saying = asyncio.ensure_future(client.notify("notifications/initialized"))
            await asyncio.sleep(0)
            call = client.call(1, "echo")
            with pytest.raises(TimeoutError):
                await back.until(lambda: back.messages("tools/call"), 0.2)
            slow.set()
            await call.result()
            await saying
            assert order[:3] == ["initialize", "notifications/initialized", "tools/call"]

    run(scenario)


def test_logs_of_two_modern_calls_never_mix(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio("modern", tmp_path / "log")) as proxy:
            clients = [ModernClient(proxy) for _ in range(6)]
            for _ in range(3):
                calls = [each.call(1, "log", meta=LOGS, times=20, of=n) for n, each in enumerate(clients)]
                quiet = ModernClient(proxy).call(1, "echo")
                for n, call in enumerate(calls):
                    await call.result()
                    data = [each["params"]["data"] for each in call.box.messages if "method" in each]
                    assert data == [f"{n}-{i}" for i in range(20)]
                await quiet.result()
                assert len(quiet.box.messages) == 1

    run(scenario)


def test_logs_of_a_cancelled_call_reach_nobody(tmp_path: Path) -> None:
    """The server goes on about a call that was cancelled, and somebody else's call wants log messages."""

    async def scenario() -> None:
        async with gateway(stdio("modern", tmp_path / "log")) as proxy:
            first = ModernClient(proxy).call(1, "babble", meta=LOGS, of="secret")
            await first.box.first("notifications/message")
            beside = ModernClient(proxy).call(1, "tick", meta={"progressToken": 1}, each=0.01, times=20)
            await beside.box.first("notifications/progress")
            await first.cancel()
            second = ModernClient(proxy).call(1, "log", meta=LOGS, times=20, of="mine")
            await second.result()
            assert "secret" not in str(second.box.messages)
            assert len([each for each in second.box.messages if "method" in each]) == 20
            await beside.cancel()
            await until(lambda: not proxy.back.channels()._retired and not len(proxy.tasks))  # the old process is ended
            assert await ModernClient(proxy).call(1, "echo").result()
            assert len(proxy.back.channels()._pipes) == 1

    run(scenario)


def test_more_logging_calls_than_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits its turn; who gives up waiting takes no turn with him."""
    monkeypatch.setattr("isthmus.limits.LOGGING_CHANNELS", 2)

    async def scenario() -> None:
        async with gateway(stdio("modern", tmp_path / "log"), call=5) as proxy:
            calls = [ModernClient(proxy).call(1, "log", meta=LOGS, times=10, of=n) for n in range(9)]
            await calls[0].box.first("notifications/message")
            await calls[5].cancel()
            assert await ModernClient(proxy).call(1, "echo").result()
            for n, call in enumerate(calls):
                if n != 5:
                    assert (await call.result())["of"] == n
            assert len(processes(tmp_path / "log")) == 2

    run(scenario)


def test_cancelled_while_it_opens_the_process(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio("modern", tmp_path / "log")) as proxy:
            for steps in range(0, 12):
                call = ModernClient(proxy).call(1, "log", meta=LOGS, times=1, of=0)
                for _ in range(steps):
                    await asyncio.sleep(0)
                await call.cancel()
            waiting = [ModernClient(proxy).call(n, "log", meta=LOGS, times=1, of=n) for n in range(4)]
            assert [(await each.result(5))["of"] for each in waiting] == [0, 1, 2, 3]
            assert all(pipe.logging is None for pipe in proxy.back.channels()._pipes)

    run(scenario)


@pytest.mark.parametrize("crash", [True, False])
def test_nothing_is_left_when_it_closes_in_the_middle(crash: bool, tmp_path: Path) -> None:
    """`gateway` asserts that no task and no connection is left; here the processes too."""
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio("both", log)) as proxy:
            client = await LegacyClient.open(proxy)
            calls = [client.call(1, "hang"), ModernClient(proxy).call(1, "hang"), ModernClient(proxy).call(2, "ask")]
            await asyncio.sleep(0.1)
            if crash:
                calls.append(client.call(2, "die"))
        for call in calls:
            await call.error(1)
        assert "has ended" in (await client.call(3, "echo").error(1))["message"]
        for pid in processes(log):
            assert not os.path.exists(f"/proc/{pid}")  # noqa: ASYNC240

    run(scenario)
