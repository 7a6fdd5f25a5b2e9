"""`Mcp-Param-*`, `Mcp-Name` and `Mcp-Method` towards modern HTTP backs (crossings.md, rule 8)."""

import logging
from typing import Any

import pytest

from tests.engine.clients import META, ModernClient, gateway, http, request_text, run
from tests.engine.http_back import Exchange, HttpBack, answer, http_back


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": properties}, "x/kept": 1.0}


REGION = {"type": "string", "x-mcp-header": "Region"}


def deep(levels: int) -> Any:
    schema: Any = REGION
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_invalid_tools_leave_the_list_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with http_back("modern") as back, gateway(http(back.url)) as proxy:
            bad = {"type": "string", "x-mcp-header": "not a token"}
            object_ = {"type": "object", "x-mcp-header": "X"}
            back.tools = [
                tool("plain"), tool("good", region=REGION), tool("odd", region=bad), tool("worse", o=object_),
                tool("deep", a=deep(150)), {"name": 5, "x-mcp-header": 1}, "no tool",
            ]  # fmt: skip
            with caplog.at_level(logging.WARNING):
                listed = (await ModernClient(proxy).request(1, "tools/list").result())["tools"]
            assert listed[:2] == back.tools[:2] and listed[-2:] == back.tools[-2:]
            assert [each["name"] for each in listed[:-2]] == ["plain", "good", "deep"]
            assert "'odd'" in caplog.text and "'worse'" in caplog.text
            assert set(proxy.back.mirrored) == {"good", "deep"}
            back.tools = [tool("good"), tool("new", region=REGION)]
            await ModernClient(proxy).request(2, "tools/list").result()
            assert set(proxy.back.mirrored) == {"deep", "new"}

    run(scenario)


def test_no_list_makes_it_fail() -> None:
    """Whatever a back says of its tools, the client gets one answer."""
    nested = b'{"properties":{"a":' * 300 + b'{"type":"string","x-mcp-header":"R"}' + b"}}" * 300
    lists = [b'{"x-mcp-header":1}', b"null", b'"x-mcp-header"', b"[[[]]]", b'[{"name":"t","inputSchema":%b}]' % nested]

    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message["method"] == "tools/list":
                tools = lists[int(exchange.message["params"]["n"])]
                body = b'{"jsonrpc":"2.0","id":%d,"result":{"h":"x-mcp-header","tools":%b}}'
                exchange.respond(200, body % (exchange.message["id"], tools))
            else:
                await answer(back, exchange)

        async with http_back("modern", handle) as back, gateway(http(back.url)) as proxy:
            for n in range(len(lists)):
                await ModernClient(proxy).request(n, "tools/list", n=n).result()

    run(scenario)


def test_what_is_remembered_of_tools_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.engine.back.MIRRORED_TOOLS", 5)

    async def scenario() -> None:
        async with http_back("modern") as back, gateway(http(back.url)) as proxy:
            for n in range(4):
                back.tools = [tool(f"t{n}-{i}", region=REGION) for i in range(3)]
                await ModernClient(proxy).request(n, "tools/list").result()
            assert list(proxy.back.mirrored) == ["t2-1", "t2-2", "t3-0", "t3-1", "t3-2"]

    run(scenario)


def headers_of(exchange: Exchange) -> dict[str, str]:
    return {name: value for name, value in exchange.headers.items() if name.startswith("mcp-")}


def test_a_front_without_headers_gets_them_made() -> None:
    async def scenario() -> None:
        async with http_back("modern") as back, gateway(http(back.url)) as proxy:
            client = ModernClient(proxy)
            back.tools = [tool("echo", region=REGION, n={"type": "integer", "x-mcp-header": "N"})]
            await client.request(1, "tools/list").result()
            await client.call(2, "echo", region="Zürich", n=1.0).result()
            sent = headers_of(back.heard[-1])
            assert sent.pop("mcp-param-region").startswith("=?base64?")
            version = {"mcp-protocol-version": "2026-07-28"}
            assert sent == version | {"mcp-method": "tools/call", "mcp-name": "echo", "mcp-param-n": "1"}
            await client.request(3, "x/odd\r\nX-Injected: 1").result()
            assert "x-injected" not in back.heard[-1].headers

    run(scenario)


def test_after_a_mismatch_the_list_is_fetched_and_the_call_repeated_once() -> None:
    async def scenario() -> None:
        calls: list[dict[str, str]] = []

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message["method"] == "tools/call":
                calls.append(headers_of(exchange))
                if exchange.headers.get("mcp-param-region") != exchange.message["params"]["arguments"].get("right"):
                    error = {"code": -32020, "message": "Header mismatch"}
                    exchange.json({"id": exchange.message["id"], "error": error}, 400)
                    return
            await answer(back, exchange)

        async with http_back("modern", handle) as back, gateway(http(back.url)) as proxy:
            back.tools = [tool("echo", region=REGION)]
            await ModernClient(proxy).call(1, "echo", region="eu", right="eu").result()
            assert [each.get("mcp-param-region") for each in calls] == [None, "eu"]
            assert len(back.messages("tools/list")) == 1
            await ModernClient(proxy).call(2, "echo", region="eu", right="eu").result()
            assert len(calls) == 3
            hopeless = ModernClient(proxy).call(3, "echo", region="eu", right="us")
            assert (await hopeless.error())["code"] == -32020 and hopeless.box.status == 400
            assert len(calls) == 5 and len(back.messages("tools/list")) == 2

    run(scenario)


def test_a_front_with_headers_has_its_own_checked_and_relayed() -> None:
    async def scenario() -> None:
        async with http_back("modern") as back, gateway(http(back.url)) as proxy:
            client = ModernClient(proxy)
            back.tools = [tool("echo", region=REGION)]
            await client.request(1, "tools/list").result()
            meta = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}
            params = {"name": "echo", "arguments": {"region": "eu"}, "_meta": meta}
            text = request_text(2, "tools/call", params)
            fixed = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo"}
            good = client.send(text, fixed | {"mcp-param-region": "eu", "mcp-param-other": "ü", "authorization": "x"})
            await good.result()
            sent = back.heard[-1].headers
            assert sent["mcp-param-region"] == "eu" and "mcp-param-other" in sent and "authorization" not in sent
            before = len(back.heard)
            for headers in (fixed, fixed | {"mcp-param-region": "us"}):
                bad = client.send(text, headers)
                assert (await bad.error())["code"] == -32020 and bad.box.status == 400
            assert len(back.heard) == before
            for levels in (200, 480, 900):  # which can be passed on, but not looked into at any depth
                arguments: Any = 1
                for _ in range(levels):
                    arguments = {"a": arguments}
                params["arguments"] = arguments
                await client.send(request_text(3, "tools/call", params), fixed).answer()

    run(scenario)
