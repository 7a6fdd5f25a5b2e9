"""A legacy client's session with many backs: questions, cancellation, levels, subscriptions, and its end."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus.engine.member import Spec
from isthmus.routing.face import Face
from isthmus.transports.launch import Launch
from isthmus.transports.target import HttpTarget
from tests.engine.clients import Box, Exchange, LegacyClient, run, until
from tests.engine.http_back import http_back
from tests.many.servers import OWN_TOOLS, absent, heard, launch, many, methods, prefixed, running, said, shown, spec

ERAS = ["legacy", "modern"]
ELICIT = "elicitation/create"
FORM: dict[str, Any] = {"elicitation": {}}
CANCELLED = "notifications/cancelled"
PROGRESS = "notifications/progress"


def text(result: Any) -> Any:
    return json.loads(result["content"][0]["text"])


def test_what_each_says_of_itself_is_said_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            opened = (await LegacyClient.open(made, version="2025-06-18")).opened["result"]
            assert opened["protocolVersion"] == "2025-06-18"
            assert opened["serverInfo"]["name"] == "isthmus"
            assert opened["capabilities"]["tools"] == {"listChanged": True}
            assert opened["capabilities"]["resources"]["subscribe"] is True
            assert {"prompts", "completions", "logging"} <= set(opened["capabilities"])
            assert opened["instructions"] == "# a\n\nUse a.\n\n# b\n\nUse b."

    run(scenario)


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_revision_is_served(version: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            client = await LegacyClient.open(made, version=version)
            result = await client.request(1, "tools/list").result()
            assert shown(result) == prefixed(OWN_TOOLS, "a", "b")
            assert (await client.request(2, "ping").result()) == {}
            assert heard(log, "a", "ping") == []

    run(scenario)


@pytest.mark.parametrize("eras", [("legacy", "legacy"), ("modern", "modern"), ("legacy", "modern")])
def test_both_may_ask_at_once_and_each_gets_its_answer(eras: tuple[str, str], tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec(era, name, log) for era, name in zip(eras, "ab", strict=True))) as made:
            client = await LegacyClient.open(made, **FORM)
            calls = {name: client.call(name, f"{name}_ask") for name in "ab"}
            asked = {name: await call.box.first(ELICIT) for name, call in calls.items()}
            assert asked["a"]["id"] != asked["b"]["id"]
            for name in "ba":
                assert asked[name]["params"]["message"] == f"{name} asks"
                await client.reply(asked[name]["id"], result={"action": "accept", "content": {"by": name}})
            for name, call in calls.items():
                who, answer = text(await call.result())
                assert who == name and answer in (
                    {"action": "accept", "content": {"by": name}},
                    {"one": {"action": "accept", "content": {"by": name}}},
                )

    run(scenario)


def test_progress_of_an_answer_goes_to_who_asked_and_to_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            client = await LegacyClient.open(made, **FORM)
            calls = {name: client.call(name, f"{name}_ask", token=1) for name in "ab"}
            asked = {name: (await call.box.first(ELICIT)) for name, call in calls.items()}
            tokens = {name: each["params"]["_meta"]["progressToken"] for name, each in asked.items()}
            assert tokens["a"] != tokens["b"]
            for number, token in enumerate((tokens["b"], "1", 77, None, tokens["a"])):
                await client.notify(PROGRESS, progressToken=token, progress=number)
            for name in "ab":
                await client.reply(asked[name]["id"], result={"action": "decline"})
                await calls[name].result()
                await client.notify(PROGRESS, progressToken=tokens[name], progress=9)  # nobody waits any more
                await client.call(name, f"{name}_echo").result()
            told = {name: [each["params"] for each in heard(log, name, PROGRESS)] for name in "ab"}
            assert told["a"] == [{"progressToken": 1, "progress": 4}]
            assert told["b"] == [{"progressToken": 1, "progress": 0}]

    run(scenario)


def test_one_server_keeps_its_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log, prefix=None)) as made:
            client = await LegacyClient.open(made, **FORM)
            call = client.call(1, "ask", token="its own")
            asked = await call.box.first(ELICIT)
            assert asked["params"]["_meta"] == {"progressToken": "its own"}
            await client.notify(PROGRESS, progressToken="its own", progress=1)
            await client.reply(asked["id"], result={"action": "decline"})
            await call.result()
            assert [each["params"]["progressToken"] for each in heard(log, "a", PROGRESS)] == ["its own"]

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_questions_go_to_whose_call_asked_and_nobody_else_can_answer(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "a", log), spec("modern", "b", log)) as made:
            mine, other = [await LegacyClient.open(made, **FORM) for _ in range(2)]
            call, theirs = mine.call(1, "a_ask"), other.call(1, "a_echo", canary="theirs")
            id = (await call.box.first(ELICIT))["id"]
            await other.reply(id, result={"action": "accept", "content": {"forged": True}})
            for wrong in (None, "q", id + 1000):
                await mine.reply(wrong, result={"action": "accept", "content": {"forged": True}})
            assert said(await theirs.result())["given"] == {"canary": "theirs"}
            assert not call.box.answers and methods(theirs.box.messages) == []
            assert ELICIT not in methods(other.strays.messages)
            await mine.reply(id, result={"action": "decline"})
            assert "forged" not in json.dumps(await call.result())

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_what_is_cancelled_is_cancelled_at_its_back(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "a", log), spec("modern", "b", log)) as made:
            clients = [await LegacyClient.open(made) for _ in range(2)]
            calls = [client.call(7, "a_hang") for client in clients]
            await until(lambda: len(heard(log, "a", "tools/call")) == 2)
            await clients[0].notify(CANCELLED, requestId=7)
            await until(lambda: heard(log, "a", CANCELLED))
            await asyncio.wait([calls[0].task])
            assert calls[0].box.is_abandoned and not calls[0].box.answers
            ids = {each["id"] for each in heard(log, "a", "tools/call")}
            (one,) = heard(log, "a", CANCELLED)
            assert one["params"]["requestId"] in ids
            assert not calls[1].task.done()
            assert said(await clients[0].call(7, "a_echo").result())["from"] == "a"  # the id is free again
            await clients[1].notify(CANCELLED, requestId=7)
            await asyncio.wait([calls[1].task])

    run(scenario)


async def cancelled(client: LegacyClient, exchange: Exchange, id: Any) -> None:
    await client.notify(CANCELLED, requestId=id)
    async with asyncio.timeout(2):
        await asyncio.wait([exchange.task])
    assert exchange.box.is_abandoned and not exchange.box.answers


def test_it_can_be_cancelled_before_it_is_at_any_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("mute", "b", log, deadline=0.2)) as made:
            client = await LegacyClient.open(made)
            made.members[1].answered()  # it is tried again
            opening = client.call(1, "b_echo")
            await asyncio.sleep(0)
            await cancelled(client, opening, 1)

    run(scenario)


def test_a_list_can_be_cancelled_while_it_is_gathered(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("legacy", "b", log, MUTE="tools/list")) as made:
            client = await LegacyClient.open(made)
            listing = client.request(0, "tools/list")
            seeking = client.request(1, "resources/read", uri="https://example.com/b")
            await until(lambda: heard(log, "b", "tools/list"))
            for wrong in (None, 1.5, {"a": 1}, "0"):
                await client.notify(CANCELLED, requestId=wrong)
            assert (await seeking.result())["contents"][0]["text"] == "https://example.com/b of b"
            assert not listing.task.done()
            await cancelled(client, listing, 0)

    run(scenario)


def test_an_id_is_not_used_twice_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            client = await LegacyClient.open(made)
            hanging = client.call(1, "a_hang")
            await until(lambda: heard(log, "a", "tools/call"))
            assert "in flight" in (await client.call(1, "b_echo").error())["message"]
            assert said(await client.call("1", "b_echo").result())["from"] == "b"
            await cancelled(client, hanging, 1)

    run(scenario)


def test_the_level_is_told_to_all_and_to_those_that_are_opened_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            first, client = [await LegacyClient.open(made) for _ in range(2)]  # the first one met both
            await client.call(1, "a_echo").result()
            assert await client.request(2, "logging/setLevel", level="error").result() == {}
            assert [each["params"] for each in heard(log, "a", "logging/setLevel")] == [{"level": "error"}]
            assert heard(log, "b", "logging/setLevel") == []
            await client.call(3, "b_echo").result()
            assert [each["params"] for each in heard(log, "b", "logging/setLevel")] == [{"level": "error"}]
            for wrong in ("loud", None, 3):
                error = await client.request(4, "logging/setLevel", level=wrong).error()
                assert error["code"] == -32602 and "emergency" in error["message"]
            assert len(heard(log, "a", "logging/setLevel")) == 1
            assert first.strays.messages == []

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_resources_are_watched_at_their_back_and_no_more(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "a", log), spec("modern", "b", log)) as made:
            clients = [await LegacyClient.open(made) for _ in range(2)]
            for number, client in enumerate(clients):
                assert await client.request(1, "resources/subscribe", uri=f"note://a/{number}").result() == {}
                updated = await client.strays.first("notifications/resources/updated")
                assert updated["params"]["uri"] == f"note://a/{number}"
            await clients[0].request(2, "resources/unsubscribe", uri="note://a/0").result()
            for number, client in enumerate(clients):
                uris = {each["params"].get("uri") for each in client.strays.messages if "uri" in each.get("params", {})}
                assert uris == {f"note://a/{number}"}
            assert heard(log, "b", "resources/subscribe") == []

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_updates_are_spelled_as_the_client_spelled_what_it_subscribed_to(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "Ab", log), spec("legacy", "b", log, UNKNOWN="resources/subscribe")) as made:
            client = await LegacyClient.open(made)
            assert await client.request(1, "resources/subscribe", uri="note://aB/x").result() == {}
            assert (await client.strays.first("notifications/resources/updated"))["params"]["uri"] == "note://aB/x"
            for number, uri in enumerate(("note://ab/x", "note://b/refused"), 2):
                await client.request(number, "resources/subscribe", uri=uri).answer()
            assert [*client.session._watched._shown.values()] == ["note://ab/x"]  # type: ignore[attr-defined]

    run(scenario)


def test_what_the_client_announces_is_announced_to_every_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log), absent("c")) as made:
            client = await LegacyClient.open(made, roots={"listChanged": True})
            await client.notify("notifications/roots/list_changed")
            await until(lambda: all(heard(log, name, "notifications/roots/list_changed") for name in "ab"))
            for name in "ab":
                order = methods(heard(log, name))
                assert order.index("notifications/initialized") < order.index("notifications/roots/list_changed")

    run(scenario)


def test_the_end_of_a_session_ends_its_processes_and_no_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        targets = [launch("legacy", name, log) for name in "ab"]
        async with many(*(spec("legacy", name, log) for name in "ab")) as made:
            clients = [await LegacyClient.open(made) for _ in range(2)]
            pids = {
                name: [said(await client.call(1, f"{name}_echo").result())["pid"] for client in clients]
                for name in "ab"
            }
            assert all(len(set(each)) == 2 for each in pids.values())
            hanging = clients[0].call(2, "a_hang")
            await until(lambda: any(each["params"]["name"] == "hang" for each in heard(log, "a", "tools/call")))
            await made.end_session(clients[0].session)
            await asyncio.wait([hanging.task])
            await until(lambda: [running(each) for each in targets] == [[pids[name][1]] for name in "ab"], 5)
            assert said(await clients[1].call(1, "a_echo").result())["pid"] == pids["a"][1]

    run(scenario)


def test_who_leaves_while_the_session_opens_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("mute", "a", log), spec("legacy", "b", log, SLOW=0.3)) as made:
            opening = asyncio.ensure_future(LegacyClient.open(made))
            await until(lambda: heard(log, "a", "initialize"))
            opening.cancel()
            await asyncio.wait([opening])
            assert not made.sessions
            await until(lambda: not any(running(launch(era, n, log)) for era, n in (("mute", "a"), ("legacy", "b"))))

    run(scenario)


def test_a_back_that_lost_its_session_gets_another_and_the_client_keeps_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with http_back("legacy") as back:
            remote = Spec(name="b", target=HttpTarget("b", back.url), face=Face("b"))
            async with many(spec("legacy", "a", log), remote) as made:
                client = await LegacyClient.open(made)
                assert (await client.call(1, "b_echo", x=1).result())["echo"] == {"x": 1}
                back.restart()
                for number in (2, 3):  # the connection, then the session
                    lost = client.call(number, "b_echo")
                    await lost.error()
                    assert lost.box.status == 200  # 404 would have the client begin a new session
                assert (await client.call(3, "b_echo", x=3).result())["echo"] == {"x": 3}
                assert said(await client.call(4, "a_echo").result())["from"] == "a"

    run(scenario)


def test_a_back_that_died_is_started_again_for_the_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            client = await LegacyClient.open(made)
            pid = said(await client.call(1, "a_echo").result())["pid"]
            await client.call(2, "a_die").error()
            assert said(await client.call(3, "a_echo").result())["pid"] != pid

    run(scenario)


def test_one_server_gets_the_clients_words_as_they_are(tmp_path: Path) -> None:
    """Also the answer to `initialize` is the back's own, with what nobody here knows."""

    async def scenario() -> None:
        back = (
            "import sys\n"
            "for line in sys.stdin:\n"
            "    if '\"initialize\"' in line:\n"
            '        print(\'{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","x":1.50,'
            '"capabilities":{"own":{}},"serverInfo":{"name":"b","version":"1"}}}\', flush=True)\n'
            "    elif 'vendor' in line:\n"
            '        print(\'{"jsonrpc":"2.0","id":2,"result":{"got": 1.50,  "uri":"note://here"}}\', flush=True)\n'
        )
        target = Launch("b", (sys.executable, "-I", "-S", "-c", back))
        async with many(Spec(name="b", target=target, face=Face(None))) as made:
            client = await LegacyClient.open(made, version="2025-11-25")
            assert client.opened["result"]["capabilities"] == {"own": {}}
            assert client.opened["result"]["protocolVersion"] == client.session.version == "2025-06-18"
            call = client.request("v", "vendor/x")
            await call.result()
            assert b'"result":{"got": 1.50,  "uri":"note://here"}' in call.box.raw[-1]

    run(scenario)


def test_notifications_come_with_the_session_they_belong_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            clients: list[LegacyClient] = [await LegacyClient.open(made) for _ in range(2)]
            strays: list[Box] = [client.strays for client in clients]
            await clients[0].call(1, "a_grow").result()
            await strays[0].first("notifications/tools/list_changed")
            await clients[1].call(1, "a_echo").result()
            assert strays[1].messages == []

    run(scenario)
