"""Faults of backs on HTTP: rows F1 to F5, F7 to F9, F15 and F16 of the hardening tables."""

import asyncio
import itertools
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest

from isthmus.engine.gateway import Gateway
from tests.engine.clients import LegacyClient, ModernClient, gateway, http, run
from tests.engine.http_back import Exchange, HttpBack, answer, http_back

ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])


async def client_of(proxy: Gateway, era: str) -> LegacyClient | ModernClient:
    return ModernClient(proxy) if era == "modern" else await LegacyClient.open(proxy)


async def others_are_served(proxy: Gateway, era: str) -> None:
    """After every row: a second client is served."""
    exchange = (await client_of(proxy, era)).call(1, "echo", who="second")
    assert (await exchange.result(2))["echo"] == {"who": "second"}


def on_call(what: Callable[[HttpBack, Exchange], Any]) -> Callable[[HttpBack, Exchange], Awaitable[None]]:
    """A back that does `what` when the tool `odd` is called, and answers all else."""

    async def handle(back: HttpBack, exchange: Exchange) -> None:
        if exchange.message.get("params", {}).get("name") == "odd":
            outcome = what(back, exchange)
            if outcome is not None:
                await outcome
        else:
            await answer(back, exchange)

    return handle


@ERAS
def test_f1_back_dies_in_the_middle_of_two_calls(era: str) -> None:
    async def scenario() -> None:
        async with http_back(era) as back, gateway(http(back.url)) as proxy:
            client = await client_of(proxy, era)
            if isinstance(client, LegacyClient):
                await client.request(1, "logging/setLevel", level="debug").result()
                await client.request(2, "resources/subscribe", uri="a://b").result()
            waiting = client.call(3, "hang")
            await back.until(lambda: any(m["params"]["name"] == "hang" for m in back.messages("tools/call")))
            dying = client.call(4, "die")
            for exchange in (waiting, dying):
                assert "closed the connection" in (await exchange.error(1))["message"]
            before = len(back.heard)
            if era == "modern":
                assert await client.call(5, "echo", n=1).result(2)
            else:  # its session is gone: the next call may not be repeated by us, but the one after finds a new one
                lost = client.call(5, "echo", n=1)
                assert "no longer knows this session" in (await lost.error(1))["message"] and lost.box.status == 404
                assert (await client.call(6, "echo", n=1).result(2))["echo"] == {"n": 1}
                said = [each.message.get("method") for each in back.heard[before:] if each.verb == "POST"]
                assert said == [
                    "tools/call",
                    "initialize",
                    "notifications/initialized",
                    "logging/setLevel",
                    "resources/subscribe",
                    "tools/call",
                ]
            assert len([m for m in back.messages("tools/call") if m["params"]["name"] in ("hang", "die")]) == 2
            await others_are_served(proxy, era)

    run(scenario)


def test_f15_lost_session_is_opened_again_and_what_may_be_repeated_is(tmp_path: object) -> None:
    async def scenario() -> None:
        async with http_back() as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy)
            back.sessions.clear()
            assert "tools" in await client.request(1, "tools/list").result(2)
            assert len(back.messages("initialize")) == 2
            await others_are_served(proxy, "legacy")

    run(scenario)


def test_f15_a_session_that_is_lost_again_at_once_is_not_opened_for_ever() -> None:
    async def scenario() -> None:
        async def forget(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message.get("method") == "tools/list":
                back.sessions.clear()
            await answer(back, exchange)

        async with http_back("legacy", forget) as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy)
            refused = await client.request(1, "tools/list").error(2)
            assert "no longer knows this session" in refused["message"]
            assert len(back.messages("tools/list")) == len(back.messages("initialize")) == 2
            await others_are_served(proxy, "legacy")

    run(scenario)


def test_f15_a_lost_session_is_noticed_on_its_get_stream() -> None:
    """Then the next call goes to a new session, though it may not be repeated; what the old one asked is withdrawn."""

    async def scenario() -> None:
        async with http_back() as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy, roots={})
            await client.request(1, "logging/setLevel", level="debug").result()
            await back.until(lambda: back.gets)
            back.gets[0].event({"id": 41, "method": "roots/list"}, id="9", retry=50)
            await client.strays.first("roots/list")
            before = len(back.heard)
            back.sessions.clear()
            back.gets[0].end()
            await client.strays.first("notifications/cancelled")
            assert (await client.call(2, "echo", n=1).result(2))["echo"] == {"n": 1}
            said = [each.message.get("method") for each in back.heard[before:] if each.verb == "POST"]
            assert said == ["initialize", "notifications/initialized", "logging/setLevel", "tools/call"]

    run(scenario)


def test_f15_a_session_lost_in_the_middle_of_a_call() -> None:
    """Its stream is cut, and resuming finds no session: what may be repeated is asked again in a new one."""

    async def scenario() -> None:
        asked: list[Exchange] = []

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            is_first = not asked and exchange.message.get("method") == "tools/list"
            if is_first or exchange.message.get("params", {}).get("name") == "odd":
                asked.append(exchange)
                exchange.event(None, id="1", retry=50)
                back.sessions.clear()
                exchange.cut()
            else:
                await answer(back, exchange)

        async with http_back("legacy", handle) as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy)
            assert "tools" in await client.request(1, "tools/list").result(3)
            assert len(back.messages("initialize")) == 2
            lost = client.call(2, "odd")
            assert "no longer knows this session" in (await lost.error(3))["message"]
            assert len([m for m in back.messages("tools/call") if m["params"]["name"] == "odd"]) == 1
            await others_are_served(proxy, "legacy")

    run(scenario)


@pytest.mark.parametrize("how", ["open", "begun", "cut"])
def test_an_answer_on_the_get_stream_reaches_the_call_that_waits(how: str) -> None:
    """Servers put it there when a call's own stream broke. It is given once, and nobody else's is given at all."""

    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message.get("params", {}).get("name") != "odd":
                if exchange.verb == "GET" and "last-event-id" in exchange.headers:
                    exchange.respond(503, b"")
                    return
                await answer(back, exchange)
                return
            if how != "open":
                exchange.event({"method": "notifications/x"}, id="e/1", retry=50)
            if how == "cut":
                exchange.cut()
            asked.append(exchange)
            back.news.set()

        asked: list[Exchange] = []
        async with http_back("legacy", handle) as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy)
            await back.until(lambda: back.gets)
            odd = client.call(1, "odd")
            await back.until(lambda: asked)
            result = {"id": asked[0].message["id"], "result": {"on": "GET"}}
            back.gets[0].event({"id": 4711, "result": {"stolen": 1}})
            back.gets[0].event(result)
            assert await odd.result(2) == {"on": "GET"}
            back.gets[0].event(result)
            if how == "begun":
                asked[0].event({"id": asked[0].message["id"], "result": {"on": "POST"}})
            await others_are_served(proxy, "legacy")
            assert len(odd.box.answers) == 1 and client.strays.answers == []
            assert "stolen" not in json.dumps(odd.box.messages)

    run(scenario)


@ERAS
def test_f2_hang_ends_at_the_deadline_and_the_back_hears_of_it(era: str) -> None:
    async def scenario() -> None:
        async with http_back(era) as back, gateway(http(back.url), call=0.4) as proxy:
            client = await client_of(proxy, era)
            await client.call(1, "echo").result()
            hanging = client.call(2, "hang")
            await hanging.error()
            assert 0.35 < hanging.took < 0.8
            (sent,) = [each for each in back.heard if each.message.get("params", {}).get("name") == "hang"]
            if era == "modern":
                await back.until(sent.gone.is_set, 0.3)
                assert back.messages("notifications/cancelled") == []
            else:
                await back.until(lambda: back.messages("notifications/cancelled"))
                assert back.messages("notifications/cancelled")[0]["params"]["requestId"] == sent.message["id"]
            await others_are_served(proxy, era)

    run(scenario)


@ERAS
def test_f2_back_that_hangs_at_everything(era: str) -> None:
    """The cancellation can't be delivered either; the error does not wait for it."""

    async def scenario() -> None:
        deaf = False

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if not deaf:
                await answer(back, exchange)

        async with http_back(era, handle) as back, gateway(http(back.url), call=0.4) as proxy:
            client = await client_of(proxy, era)
            await client.call(1, "echo").result()
            deaf = True
            hanging = client.call(2, "hang")
            await hanging.error()
            assert 0.35 < hanging.took < 0.7
            deaf = False
            await others_are_served(proxy, era)

    run(scenario)


@ERAS
def test_f3_progress_extends_the_idle_deadline_but_not_the_absolute_one(era: str) -> None:
    async def scenario() -> None:
        async with http_back(era) as back, gateway(http(back.url), call=0.4, call_most=1.0) as proxy:
            client = await client_of(proxy, era)
            await client.call(1, "echo").result()
            ticking = client.call(2, "tick", meta={"progressToken": "t"}, each=0.1, times=100)
            await ticking.error()
            assert 0.9 < ticking.took < 1.4
            await others_are_served(proxy, era)

    run(scenario)


@ERAS
def test_f4_half_open_connection(era: str) -> None:
    """It is accepted by the kernel and nobody ever answers: the read deadline, and the socket is closed."""

    async def scenario() -> None:
        with closing(socket.socket()) as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            listening.setblocking(False)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
            async with gateway(http(url), call=0.4) as proxy:
                began = asyncio.get_running_loop().time()
                if era == "modern":
                    await ModernClient(proxy).call(1, "echo").error()
                else:
                    with pytest.raises(Exception, match="in time"):
                        await LegacyClient.open(proxy)
                assert asyncio.get_running_loop().time() - began < 0.7
                accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
                with closing(accepted):
                    async with asyncio.timeout(1):
                        while await asyncio.get_running_loop().sock_recv(accepted, 65536):
                            pass

    run(scenario)


def test_f4_connection_that_is_never_accepted() -> None:
    async def scenario() -> None:
        with closing(socket.socket()) as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            fillers = [socket.socket() for _ in range(3)]
            for each in fillers:
                each.setblocking(False)
                each.connect_ex(address)
            async with gateway(http(f"http://127.0.0.1:{address[1]}/mcp"), connect=0.3) as proxy:
                exchange = ModernClient(proxy).call(1, "echo")
                await exchange.error()
                assert 0.25 < exchange.took < 0.9
            for each in fillers:
                each.close()

    run(scenario)


def test_f5_stream_cut_after_an_event_id_is_resumed() -> None:
    """ "GET, `Last-Event-ID`, `retry`", and not only once: the server may be away for a while."""

    async def scenario() -> None:
        gets: list[tuple[float, str]] = []
        asked: list[Exchange] = []

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            now = asyncio.get_running_loop().time()
            if exchange.message.get("params", {}).get("name") == "odd":
                asked.append(exchange)
                exchange.event(None, id="e/1", retry=150)
                exchange.cut()
                gets.append((now, ""))
            elif exchange.verb == "GET" and "last-event-id" in exchange.headers:
                gets.append((now, exchange.headers["last-event-id"]))
                if len(gets) < 4:
                    exchange.respond(503, b"")
                elif len(gets) == 4:
                    exchange.event(None, id="e/2", retry=60)
                    exchange.end()
                else:
                    exchange.event({"id": asked[0].message["id"], "result": {"resumed": True}}, id="e/3")
                    exchange.end()
            else:
                await answer(back, exchange)

        async with http_back("legacy", handle) as back, gateway(http(back.url)) as proxy:
            client = await LegacyClient.open(proxy)
            assert (await client.call(1, "odd").result(3)) == {"resumed": True}
            assert len(asked) == 1
            assert [id for _, id in gets] == ["", "e/1", "e/1", "e/1", "e/2"]
            pauses = [after - before for (before, _), (after, _) in itertools.pairwise(gets)]
            assert min(pauses[:3]) >= 0.149 and 0.059 <= pauses[3] < 0.149
            await others_are_served(proxy, "legacy")

    run(scenario)


def test_f5_resuming_ends_with_the_deadline_or_a_refusal() -> None:
    async def scenario() -> None:
        status = 503

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message.get("params", {}).get("name") == "odd":
                exchange.event(None, id="1", retry=0)
                exchange.cut()
            elif exchange.verb == "GET" and "last-event-id" in exchange.headers:
                exchange.respond(status, b"")
            else:
                await answer(back, exchange)

        async with http_back("legacy", handle) as back, gateway(http(back.url), call=0.6) as proxy:
            client = await LegacyClient.open(proxy)
            waiting = client.call(1, "odd")
            await waiting.error(2)
            assert 0.5 < waiting.took < 0.9
            assert len([each for each in back.heard if each.verb == "GET"]) < 20  # retry: 0 does not make us spin
            status = 405
            refused = client.call(2, "odd")
            assert "405" in (await refused.error(1))["message"]
            await others_are_served(proxy, "legacy")

    run(scenario)


@ERAS
@pytest.mark.parametrize("end", ["cut", "end"])
def test_f5_other_streams_that_end_without_answer_are_errors(end: str, era: str) -> None:
    async def scenario() -> None:
        def odd(back: HttpBack, exchange: Exchange) -> None:
            exchange.event({"method": "notifications/x"}, id="7" if era == "modern" else None)
            getattr(exchange, end)()

        async with http_back(era, on_call(odd)) as back, gateway(http(back.url)) as proxy:
            client = await client_of(proxy, era)
            await client.call(1, "odd").error(1)
            assert len([m for m in back.messages("tools/call") if m["params"]["name"] == "odd"]) == 1
            await others_are_served(proxy, era)

    run(scenario)


BODIES = {
    "500": (500, b"", "text/plain", "HTTP 500"),
    "502 html": (502, b"<html><h1>Bad Gateway</h1></html>", "text/html", "HTTP 502"),
    "500 json": (500, b'{"oops": true}', "application/json", "HTTP 500"),
    "garbage": (200, b"\x00\xff garbage", "application/json", "no MCP answer"),
    "half": (200, b'{"jsonrpc":"2.0","id":1,"resu', "application/json", "no MCP answer"),
    "deep": (200, b"[" * 100_000, "application/json", "no MCP answer"),
    "wrong id": (200, b'{"jsonrpc":"2.0","id":987654,"result":{"stolen":1}}', "application/json", "another request"),
    "batch without": (200, b'[{"jsonrpc":"2.0","id":9,"result":{"stolen":1}}]', "application/json", "no MCP answer"),
    "a request": (200, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', "application/json", "no MCP answer"),
    "empty": (200, b"", "application/json", "no MCP answer"),
    "202": (202, b"", "application/json", "HTTP 202"),
    "event garbage": (200, b"data: {half\n\n", "text/event-stream", "before its answer"),
    "event wrong id": (200, b'data: {"jsonrpc":"2.0","id":99,"result":{}}\n\n', "text/event-stream", "before its"),
    "progress of nothing": (
        200,
        b'data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n',
        "text/event-stream",
        "befo",
    ),
}


@ERAS
@pytest.mark.parametrize("case", BODIES)
def test_f7_f8_f9_what_is_no_answer_is_an_error_at_once(case: str, era: str) -> None:
    status, body, kind, says = BODIES[case]

    async def scenario() -> None:
        handle = on_call(lambda back, exchange: exchange.respond(status, body, kind))
        async with http_back(era, handle) as back, gateway(http(back.url)) as proxy:
            client = await client_of(proxy, era)
            odd = client.call(1, "odd", meta={"progressToken": 5})
            error = await odd.error(1)
            assert says in error["message"] and "back" in error["message"]
            assert "stolen" not in json.dumps(odd.box.messages)
            await others_are_served(proxy, era)

    run(scenario)


@ERAS
def test_f16_client_leaves_in_the_middle_of_a_call(era: str) -> None:
    """Modern: the connection to the back is closed. (What a legacy front does: `test_commands`.)"""

    async def scenario() -> None:
        async with http_back(era) as back, gateway(http(back.url)) as proxy:
            client = await client_of(proxy, era)
            await client.call(1, "echo").result()
            hanging = client.call(2, "hang")
            await back.until(lambda: back.heard[-1].message.get("params", {}).get("name") == "hang")
            began = asyncio.get_running_loop().time()
            sent = back.heard[-1]
            await hanging.cancel()
            await back.until(sent.gone.is_set, 0.1)
            assert asyncio.get_running_loop().time() - began < 0.1
            assert hanging.box.messages == []
            await others_are_served(proxy, era)

    run(scenario)
