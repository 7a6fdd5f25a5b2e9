"""Modern clients of a legacy back where one of them is odd, or leaves at an odd moment."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.clients import META, ModernClient, gateway, heard, http, run, stdio, until
from tests.engine.http_back import Exchange, HttpBack, answer, http_back

ASKABLE: dict[str, Any] = {META + "clientCapabilities": {"elicitation": {}}}


def test_a_client_that_leaves_while_its_answer_is_on_its_way() -> None:
    """The back does not even take the answer: the call is cancelled there, and the session is free again."""
    held: list[Exchange] = []

    async def handle(back: HttpBack, exchange: Exchange) -> None:
        if exchange.verb == "POST" and "method" not in exchange.message:
            held.append(exchange)
        else:
            await answer(back, exchange)

    async def scenario() -> None:
        async with http_back("legacy", handle) as back, gateway(http(back.url)) as proxy:
            client = ModernClient(proxy)
            asked = await client.call(1, "ask", meta=ASKABLE).result()
            answers = {key: {"action": "accept"} for key in asked["inputRequests"]}
            retry = client.request(
                *(2, "tools/call"),
                meta=ASKABLE,
                name="ask",
                arguments={},
                requestState=asked["requestState"],
                inputResponses=answers,
            )
            await until(lambda: held)
            await retry.cancel()
            await back.until(lambda: back.messages("notifications/cancelled"))
            (call,) = back.messages("tools/call")
            assert back.messages("notifications/cancelled")[0]["params"]["requestId"] == call["id"]
            assert await client.call(3, "echo", meta=ASKABLE).result()
            assert " 0 held" in repr(proxy._pool)

    run(scenario)


def test_a_client_that_leaves_before_its_call_was_sent() -> None:
    """While the back is asked which of its tools must be tasks: the call is never made."""
    lists: list[Exchange] = []

    async def handle(back: HttpBack, exchange: Exchange) -> None:
        if exchange.message.get("method") == "tools/list":
            lists.append(exchange)
        elif exchange.message.get("method") == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "tasks": {}}, "serverInfo": {}}
            exchange.json({"id": exchange.message["id"], "result": result}, mcp_session_id=back.mint())
        else:
            await answer(back, exchange)

    async def scenario() -> None:
        async with http_back("legacy", handle) as back, gateway(http(back.url)) as proxy:
            client = ModernClient(proxy)
            leaving = client.call(1, "echo", meta=ASKABLE)
            await until(lambda: lists)
            await leaving.cancel()
            lists[0].result(tools=[])
            assert await client.call(2, "echo", meta=ASKABLE, of=2).result()
            assert [each["params"]["arguments"] for each in back.messages("tools/call")] == [{"of": 2}]

    run(scenario)


@pytest.mark.parametrize("mode", [["form"], {"url": 1}, 7, None, "odd"])
def test_a_question_of_an_odd_mode_is_refused(mode: object) -> None:
    async def scenario() -> None:
        async with http_back("legacy") as back, gateway(http(back.url)) as proxy:
            result = await ModernClient(proxy).call(1, "ask", meta=ASKABLE, mode=mode).result()
            assert result["refused"]["code"] == -32602

    run(scenario)


def test_a_call_that_asks_nothing_passes(tmp_path: Path) -> None:
    """Its progress has the client's token; questions are refused, logs dropped; who leaves cancels it at the back."""

    async def scenario() -> None:
        log = tmp_path / "log"
        async with gateway(stdio("legacy", log)) as proxy:
            client = ModernClient(proxy)
            call = client.call(1, "count", meta={"progressToken": "mine"}, times=3)
            assert (await call.result())["resultType"] == "complete"
            told = [each["params"] for each in call.box.messages[:-1]]
            assert [(each["progressToken"], each["progress"]) for each in told] == [("mine", n) for n in (1, 2, 3)]
            assert (await client.call(2, "ask").result())["refused"]["code"] == -32601
            assert (await client.call(3, "ask", method="ping").result())["answered"] == {}
            assert (await client.call(4, "withdraw").result())["withdrawn"] is True
            logging = client.call(5, "log", of="me", times=2)
            await logging.result()
            assert len(logging.box.messages) == 1
            hanging = client.call(6, "hang")
            await until(lambda: [each for each in heard(log) if each.get("params", {}).get("name") == "hang"])
            await hanging.cancel()
            await until(lambda: heard(log)[-1]["method"] == "notifications/cancelled")
            hung, cancelled = heard(log)[-2:]
            assert cancelled["params"]["requestId"] == hung["id"] and not hanging.box.messages
            assert (await client.call(7, "echo").result())["pid"]  # the session is free again
            assert "0 held, 0 shared" in repr(proxy._pool)

    run(scenario)
