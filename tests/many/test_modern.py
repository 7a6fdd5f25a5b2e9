"""Modern clients of many backs: what is said together, questions, who they are, cancellation, the short way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.engine.member import Spec
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.many.catalog import Catalog, Item, Shelf, Whole
from isthmus.many.gateway import Many
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.routing.choice import Choice, Edit, Part
from isthmus.routing.face import Face
from isthmus.transports.target import HttpTarget
from tests.engine.clients import Box, ModernClient, envelope, request_text, run, until
from tests.engine.http_back import Exchange, Handle, HttpBack, answer, http_back
from tests.many.servers import Known, absent, heard, launch, many, prefixed, running, said, shown, spec

ERAS = ["legacy", "modern"]
META = "io.modelcontextprotocol/"
FORM: dict[str, Any] = {META + "clientCapabilities": {"elicitation": {}}}
ANSWER = {"action": "accept", "content": {"canary": 1}}


def test_what_each_says_of_itself_is_said_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log), absent("c")) as made:
            found = await ModernClient(made).request(1, "server/discover").result()
            assert found["supportedVersions"] == ["2026-07-28"] and found["resultType"] == "complete"
            assert found["capabilities"]["tools"] == {"listChanged": True}
            assert {"prompts", "resources", "completions", "logging"} <= set(found["capabilities"])
            assert found["instructions"] == "# a\n\nUse a.\n\n# b\n\nUse b."
            assert found["_meta"][META + "serverInfo"]["name"] == "isthmus"
            assert list(found["_meta"]["isthmus/unavailable"]) == ["c"]

    run(scenario)


async def asked(client: ModernClient, name: str) -> tuple[str, dict[str, Any]]:
    """A call that asks: under what, and what its retry says beside the answers."""
    result = await client.call(1, name, meta=FORM).result()
    assert result["resultType"] == "input_required"
    ((key, request),) = result["inputRequests"].items()
    assert request["method"] == "elicitation/create" and request["params"]["message"] == f"{name[0]} asks"
    return key, {each: result[each] for each in ("requestState",) if each in result}


@pytest.mark.parametrize("back", ERAS)
def test_questions_come_from_the_right_back_and_answers_go_there(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec(back, name, log) for name in "ab")) as made:
            client = ModernClient(made)
            open_ = {name: await asked(client, f"{name}_ask") for name in "ab"}
            for name, (key, state) in reversed(open_.items()):
                params = {"name": f"{name}_ask", "arguments": {}, "inputResponses": {key: ANSWER}, **state}
                done = await client.request(2, "tools/call", meta=FORM, **params).result()
                who, answer = json.loads(done["content"][0]["text"])
                assert who == name and answer in (ANSWER, {"one": ANSWER})

    run(scenario)


def test_nobody_else_takes_up_what_somebody_was_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec("legacy", name, log) for name in "ab"), is_local=False) as made:
            alice, bob = Known(made, "alice"), Known(made, "bob")
            key, state = await asked(alice, "a_ask")
            responses = {"inputResponses": {key: ANSWER}, **state}
            for client, name in ((bob, "a_ask"), (alice, "a_echo"), (alice, "b_ask"), (Known(made, None), "a_ask")):
                forged = client.request(2, "tools/call", meta=FORM, name=name, arguments={}, **responses)
                assert "error" in await forged.answer(), (client.principal, name)
            done = await alice.request(3, "tools/call", meta=FORM, name="a_ask", arguments={}, **responses).result()
            assert json.loads(done["content"][0]["text"]) == ["a", ANSWER]

    run(scenario)


def test_principals_have_sessions_of_their_own_at_legacy_backs(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec("legacy", name, log, ttl=60) for name in "ab"), is_local=False) as made:
            alice, bob = Known(made, "alice"), Known(made, "bob")
            await alice.call(1, "a_grow").result()
            assert "a_grown" in shown(await alice.request(2, "tools/list").result())
            assert "a_grown" not in shown(await bob.request(2, "tools/list").result())
            assert "a_grown" in shown(await alice.request(3, "tools/list").result())
            pids = {who.principal: said(await who.call(4, "a_echo").result())["pid"] for who in (alice, bob)}
            assert pids["alice"] != pids["bob"]

    run(scenario)


@pytest.mark.parametrize("back", ERAS)
def test_a_client_that_leaves_cancels_its_call_at_the_back(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(back, "a", log), spec("modern", "b", log)) as made:
            calls = [ModernClient(made).call(1, "a_hang") for _ in range(2)]
            await until(lambda: len(heard(log, "a", "tools/call")) == 2)
            await calls[0].cancel()
            await until(lambda: heard(log, "a", "notifications/cancelled"))
            (one,) = heard(log, "a", "notifications/cancelled")
            assert one["params"]["requestId"] in [each["id"] for each in heard(log, "a", "tools/call")]
            assert not calls[1].task.done() and calls[0].box.answers == []
            await calls[1].cancel()

    run(scenario)


def test_a_client_may_leave_in_every_phase(tmp_path: Path) -> None:
    """While the back is asked its era, while a list is gathered, while a name is looked up, while all are met."""

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("mute", "b", log)) as made:
            client = ModernClient(made)
            exchanges = [
                client.call(1, "b_echo"),
                client.request(2, "tools/list"),
                client.request(3, "resources/read", uri="https://example.com/b"),
                client.request(4, "server/discover"),
                client.request(5, "subscriptions/listen", notifications={"toolsListChanged": True}),
            ]
            await until(lambda: heard(log, "b", "server/discover") and heard(log, "a", "tools/list"))
            for each in exchanges:
                await each.cancel()
            assert [each.box.answers for each in exchanges] == [[]] * 5
            await until(lambda: len(made.tasks) == 0)
            assert said(await client.call(6, "a_echo").result())["from"] == "a"

    run(scenario)


def test_close_ends_what_is_under_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("mute", "b", log), absent("c")) as made:
            client = ModernClient(made)
            exchanges = [
                client.call(1, "a_hang"),
                client.call(2, "b_echo"),
                client.request(3, "tools/list"),
                client.request(4, "subscriptions/listen", notifications={"toolsListChanged": True}),
            ]
            await until(lambda: heard(log, "a", "subscriptions/listen") and heard(log, "a", "tools/list"))
        async with asyncio.timeout(2):
            await asyncio.gather(*(each.task for each in exchanges[:3]), return_exceptions=True)
        await exchanges[3].cancel()
        assert not running(launch("modern", "a", log)) and not running(launch("mute", "b", log))

    run(scenario)


# -- the short way ----------------------------------------------------------------------------------------------------


def remote(back: HttpBack, name: str) -> Spec:
    return Spec(name=name, target=HttpTarget(name, back.url), face=Face(name))


def judged(id: Any, method: str, **params: Any) -> tuple[ModernRequest, dict[str, str]]:
    meta = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    request = judge_modern(envelope(request_text(id, method, {"_meta": meta, **params})), headers)
    assert isinstance(request, ModernRequest), request
    return request, headers


async def express(made: Many, id: Any, method: str, **params: Any) -> tuple[bool, Any]:
    """Whether it went the short way, and the answer."""
    box = Box()
    request, headers = judged(id, method, **params)
    short = made.express(request, box, headers) if made.can_express() else None
    if short is None:
        await made.relay(request, box, headers)
    await box.until(lambda box: box.answers)
    return short is not None, box.answers[0]


def test_a_call_goes_the_short_way_and_is_the_same_call_where_it_can_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            http_back("modern") as one,
            http_back("modern") as two,
            many(remote(one, "a"), remote(two, "b")) as made,
        ):
            was_short = []
            for number in range(4):
                if number == 3:  # the connection that was kept is not to be used any more
                    client = made.members[1].gateway.back.client  # type: ignore[attr-defined]
                    client._idle[0].expires = 0
                params = {"name": "b_echo", "arguments": {"n": number}}
                short, answer = await express(made, number, "tools/call", **params)
                was_short.append(short)
                assert (answer["id"], answer["result"]["echo"]) == (number, {"n": number})
            assert was_short == [False, True, True, False]
            again = {"name": "b_echo", "arguments": {}}
            assert (await express(made, 4, "tools/call", **again))[0]
            # it may be of a call that is parked at a server that is configured no more
            assert not (await express(made, 5, "tools/call", **again, requestState="s"))[0]
            assert {each.headers["mcp-name"] for each in two.heard if "mcp-name" in each.headers} == {"echo"}
            assert not one.messages("tools/call")

    run(scenario)


def test_arguments_are_edited_whichever_way_a_call_goes() -> None:
    async def scenario() -> None:
        choice = Choice(tools=Part(edits=(("echo", Edit(rename="say", hidden=("x",), fixed=(("y", b"2"),))),)))
        async with http_back("modern") as one:
            spec = replace(remote(one, "a"), face=Face("a", choice))
            async with many(spec) as made:
                for number in range(3):
                    _, answer = await express(made, number, "tools/call", name="a_say", arguments={"x": 1, "z": 3})
                    assert answer["result"]["echo"] == {"z": 3, "y": 2}

    run(scenario)


@pytest.mark.parametrize("is_listed", [True, False])
def test_arguments_that_clients_do_not_give_are_mirrored_without_them(is_listed: bool) -> None:
    """A list says which headers there are to be; it is fetched if none has been."""
    names = ("region", "zone", "day")
    schema = {"type": "object", "properties": {each: {"type": "string", "x-mcp-header": each} for each in names}}

    async def handle(back: HttpBack, exchange: Exchange) -> None:
        given = exchange.message["params"].get("arguments", {})
        is_right = given == {each: value for each in names if (value := exchange.headers.get(f"mcp-param-{each}"))}
        if exchange.message["method"] == "tools/call" and not is_right:
            exchange.json({"id": exchange.message["id"], "error": {"code": -32020, "message": "Header mismatch"}}, 400)
        else:
            await answer(back, exchange)

    async def call(made: Many, headers: dict[str, str], **given: str) -> Any:
        request, fixed = judged(1, "tools/call", name="a_echo", arguments=given)
        box, sent = Box(), {f"mcp-param-{name}": value for name, value in headers.items()}
        await made.relay(request, box, fixed | sent)
        return box.answers[0]

    async def scenario() -> None:
        edit = Edit(hidden=("zone",), fixed=(("region", b'"eu"'),))
        face = Face("a", Choice(tools=Part(edits=(("echo", edit),))))
        async with http_back("modern", handle) as back, many(replace(remote(back, "a"), face=face)) as made:
            back.tools = [{"name": "echo", "inputSchema": schema}]
            if is_listed:
                (tool,) = (await ModernClient(made).request(0, "tools/list").result())["tools"]
                assert list(tool["inputSchema"]["properties"]) == ["day"]
            assert (await call(made, {"day": "x"}, day="x"))["result"]["echo"] == {"day": "x", "region": "eu"}
            assert (await call(made, {"region": "us", "zone": "1"}))["result"]["echo"] == {"region": "eu"}
            meddled = await call(made, {"region": "us", "zone": "1"}, region="us", zone="1")
            assert meddled["result"]["echo"] == {"region": "eu"}
            assert (await call(made, {}, day="x"))["error"]["code"] == -32020
            assert (await call(made, {"day": "y"}, day="x"))["error"]["code"] == -32020
            assert len(back.messages("tools/list")) == 1

    run(scenario)


class Lenient:
    """A back that hears a call whatever headers it has; a proxy before it that fixes an argument of its tool.

    Args:
        unlisted: what to do when the tools are asked for, in place of telling them.
    """

    def __init__(self, unlisted: Handle | None = None) -> None:
        self.unlisted = unlisted
        self.sent: list[dict[str, str]] = []
        self.edit = Edit(fixed=(("region", b'"eu"'),))

    async def handle(self, back: HttpBack, exchange: Exchange) -> None:
        if exchange.message["method"] == "tools/call":
            self.sent.append({name: each for name, each in exchange.headers.items() if name.startswith("mcp-param-")})
        elif exchange.message["method"] == "tools/list" and self.unlisted is not None:
            await self.unlisted(back, exchange)
            return
        await answer(back, exchange)

    @asynccontextmanager
    async def open(self, **limits: Any) -> AsyncIterator[tuple[HttpBack, Many]]:
        face = Face("a", Choice(tools=Part(edits=(("echo", self.edit),))))
        async with (
            http_back("modern", self.handle) as back,
            many(replace(remote(back, "a"), face=face, settings=Settings(limits=Limits(**limits)))) as made,
        ):
            properties = {each: {"type": "string", "x-mcp-header": each} for each in ("region", "day")}
            back.tools = [{"name": "echo", "inputSchema": {"type": "object", "properties": properties}}]
            yield back, made

    async def call(self, made: Many, **headers: str) -> Any:
        request, fixed = judged(1, "tools/call", name="a_echo", arguments={"day": "x"})
        box = Box()
        await made.relay(request, box, fixed | {f"mcp-param-{name}": value for name, value in headers.items()})
        return box.answers[0]


def test_a_fixed_argument_is_mirrored_before_any_list() -> None:
    async def scenario() -> None:
        lenient = Lenient()
        async with lenient.open() as (back, made):
            assert (await lenient.call(made, day="y"))["error"]["code"] == -32020
            assert lenient.sent == []
            answers = await asyncio.gather(*(lenient.call(made, day="x") for _ in range(3)))
            assert [each["result"]["echo"] for each in answers] == [{"day": "x", "region": "eu"}] * 3
            assert lenient.sent == [{"mcp-param-day": "x", "mcp-param-region": "eu"}] * 3
            assert len(back.messages("tools/list")) == 1

    run(scenario)


def test_tools_are_fetched_together_and_only_for_an_argument_that_is_edited() -> None:
    async def scenario() -> None:
        lenient = Lenient()
        async with lenient.open() as (back, made):
            answers = await asyncio.gather(*(lenient.call(made, day="x") for _ in range(3)))
            assert all("result" in each for each in answers)
            assert len(back.messages("tools/list")) == 1
        lenient.edit = Edit(rename="other")
        async with lenient.open() as (back, made):
            request, headers = judged(1, "tools/call", name="a_other", arguments={})
            await made.relay(request, Box(), headers)
            assert len(back.messages("tools/call")) == 1 and not back.messages("tools/list")

    run(scenario)


async def _refuse(back: HttpBack, exchange: Exchange) -> None:
    exchange.json({"id": exchange.message["id"], "error": {"code": -32601, "message": "No tools"}}, 404)


async def _break_off(back: HttpBack, exchange: Exchange) -> None:
    exchange.writer.transport.abort()


async def _say_nothing(back: HttpBack, exchange: Exchange) -> None:
    pass


async def _lead_deep(back: HttpBack, exchange: Exchange) -> None:
    cursor = b"[" * 5000 + b"]" * 5000
    exchange.respond(200, b'{"jsonrpc":"2.0","id":%d,"result":{"tools":[],"nextCursor":%b}}' % (
        exchange.message["id"], cursor))  # fmt: skip


@pytest.mark.parametrize("unlisted", [_refuse, _break_off, _say_nothing, _lead_deep])
def test_a_list_that_does_not_come_harms_no_call(unlisted: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.engine.back.LISTING", 0.2)

    async def scenario() -> None:
        lenient = Lenient(unlisted)
        async with lenient.open() as (back, made):
            for _ in range(2):
                assert (await lenient.call(made, day="x"))["result"]["echo"] == {"day": "x", "region": "eu"}
            asked = len(back.messages("tools/list"))
            assert asked == 1 or unlisted is _break_off

    run(scenario)


def test_a_list_that_does_not_come_leaves_time_for_a_short_call() -> None:
    async def scenario() -> None:
        lenient = Lenient(_say_nothing)
        async with lenient.open(call=1) as (_, made):
            assert "result" in await lenient.call(made, day="x")

    run(scenario)


@pytest.mark.parametrize("wrong", [{}, {"mcp-param-day": "y"}])
def test_what_clients_mirror_is_checked_where_a_list_was_fetched_again_for_it(wrong: dict[str, str]) -> None:
    async def handle(back: HttpBack, exchange: Exchange) -> None:
        if exchange.message["method"] == "tools/call" and "mcp-param-day" not in exchange.headers:
            exchange.json({"id": exchange.message["id"], "error": {"code": -32020, "message": "Header mismatch"}}, 400)
        else:
            await answer(back, exchange)

    async def scenario() -> None:
        face = Face("a", Choice(tools=Part(edits=(("echo", Edit(hidden=("zone",))),))))
        async with http_back("modern", handle) as back, many(replace(remote(back, "a"), face=face)) as made:
            properties = {"day": {"type": "string", "x-mcp-header": "Day"}}
            await ModernClient(made).request(0, "tools/list").result()
            back.tools = [{"name": "echo", "inputSchema": {"type": "object", "properties": properties}}]
            request, headers = judged(1, "tools/call", name="a_echo", arguments={"day": "x"})
            box = Box()
            await made.relay(request, box, headers | wrong)
            assert box.answers[0]["error"]["code"] == -32020 and box.status == 400
            assert len(back.messages("tools/call")) == 1

    run(scenario)


def test_a_ready_list_goes_the_short_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec("modern", name, log, TTL=60_000, SCOPE="public") for name in "ab")) as made:
            short, first = await express(made, 1, "tools/list")
            assert not short
            short, again = await express(made, "two", "tools/list")
            assert short and again["id"] == "two" and again["result"]["tools"] == first["result"]["tools"]
            short, _ = await express(made, 3, "vendor/x")
            assert not short
            made.catalog.changed(made.members[0], "tools")
            assert not (await express(made, 4, "tools/list"))[0]

    run(scenario)


def test_what_goes_nowhere_does_not_go_the_short_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with http_back("modern") as one, many(remote(one, "a"), absent("b")) as made:
            await express(made, 1, "tools/call", name="a_echo", arguments={})
            await express(made, 2, "tools/call", name="b_echo", arguments={})
            for number, name in enumerate(("b_echo", "c_echo")):
                short, answer = await express(made, number, "tools/call", name=name, arguments={})
                assert not short and "error" in answer
            assert len(one.messages("tools/call")) == 1

    run(scenario)


# -- what a catalog keeps ---------------------------------------------------------------------------------------------


def test_a_catalog_keeps_so_much_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CATALOG_BYTES", 40_000)

    async def scenario() -> None:
        log = tmp_path / "log"
        env: dict[str, Any] = {"TTL": 60_000, "TOOLS": 10}
        async with many(spec("modern", "a", log, **env), spec("modern", "b", log, **env), is_local=False) as made:
            for number in range(30):
                client = Known(made, f"client {number}")
                for method in ("tools/list", "prompts/list"):
                    await client.request(1, method).result()
            catalog = made.catalog
            for kept in (catalog._shelves, catalog._wholes):
                sizes = [each.size for each in kept._values.values()]
                assert sum(sizes) == kept._size <= limits.CATALOG_BYTES and 2 <= len(sizes) < 30
            before = len(heard(log, "a", "tools/list"))
            for name, times in (("client 29", 0), ("client 0", 1)):
                await Known(made, name).request(1, "tools/list").result()
                assert len(heard(log, "a", "tools/list")) == before + times

    run(scenario)


def test_what_is_larger_than_all_that_is_kept_is_still_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CATALOG_BYTES", 10)
    kept = Catalog(lambda: 0.0)._wholes
    for number in range(3):
        shelf = Shelf([Item("a_x", "x", b"{}" * 100)], 1.0, False)
        kept.put(("tools", "2026-07-28", number), Whole("tools", [("a", shelf)], []))
        assert list(kept._values) == [("tools", "2026-07-28", number)]


def test_lists_of_all_prefixes_are_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        names = [f"s{number}" for number in range(8)]
        async with many(*(spec("modern", name, log) for name in names)) as made:
            got = shown(await ModernClient(made).request(1, "prompts/list").result(), "prompts/list")
            assert got == prefixed(["hello"], *names)

    run(scenario)
