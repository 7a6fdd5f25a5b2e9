"""Who stands in for a client: functions, nobody, or the client itself, in all four pairs of eras."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.engine.gateway import Gateway
from isthmus.engine.stand import OFF, FrontClient, Stand, outcome_of
from isthmus.engine.standin import stand_in
from isthmus.errors import Fault
from isthmus.transports.launch import Launch
from tests.engine.clients import LegacyClient, ModernClient, heard, run, stdio, until
from tests.engine.surveys import ABLE, ASK, MODEL, ROOTS, SAID, SAMPLE, STOOD, Front, shown_methods, standing

PAIRS = pytest.mark.parametrize("front", ["legacy", "modern"])
BACKS = pytest.mark.parametrize("era", ["legacy", "modern"])
ISOLATIONS = pytest.mark.parametrize("isolation", ["session", "request", "shared"])


def test_who_forwards_everything_is_the_relay_itself() -> None:
    async def scenario() -> None:
        made = Gateway(Launch("back", ("true",), {}))
        assert stand_in(made, Stand()) is made
        await made.close()

    run(scenario)


@BACKS
@PAIRS
def test_a_function_answers_and_the_client_hears_nothing(front: str, era: str, tmp_path: Path) -> None:
    """Whatever the client can do; and the back is told that it can."""
    asked: list[Any] = []

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        asked.append((params["message"], client.capabilities))
        return STOOD

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            client = Front(relay, front, {"roots": {}}, {})
            told = await client.told([{"a": ASK}, {"b": ASK}])
            assert told["answers"] == {"a": STOOD, "b": STOOD}
            assert told["capabilities"] == {"roots": {}, "elicitation": {}}
            assert asked == [("Who?", {"roots": {}})] * 2 and client.shown == []

    run(scenario)


@ISOLATIONS
@BACKS
@PAIRS
def test_functions_answer_some_and_the_client_the_rest(front: str, era: str, isolation: Any, tmp_path: Path) -> None:
    async def sample(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return MODEL | {"model": str(params["maxTokens"])}

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(sampling=sample), isolation) as relay:
            client = Front(relay, front, ABLE, {"elicitation/create": SAID, "roots/list": {"roots": []}})
            told = await client.told([{"a": ASK, "s": SAMPLE}, {"r": ROOTS, "t": SAMPLE}])
            made = MODEL | {"model": "5"}
            assert told["answers"] == {"a": SAID, "s": made, "r": {"roots": []}, "t": made}
            assert sorted(shown_methods(client)) == ["elicitation/create", "roots/list"]

    run(scenario)


@BACKS
@PAIRS
def test_what_is_off_the_back_is_not_told_of(front: str, era: str, tmp_path: Path) -> None:
    off = Stand(elicitation=OFF, sampling=OFF, roots=OFF, log=OFF, progress=OFF)

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", off) as relay:
            client = Front(relay, front, ABLE, {})
            answer = await client.call({"says": ["error"], "steps": 2}, level="debug", progressToken=7)
            told = answer["result"]["told"]
            assert (told["capabilities"], told["token"]) == ({}, None)
            assert told["level"] is None
            assert [each for box in client.boxes for each in box.messages if "method" in each] == []
            # it asks all the same
            answer = await client.call({"rounds": [{"a": ASK}]})
            if era == "legacy":
                assert answer["result"]["told"]["answers"]["a"]["error"]["code"] == -32601
            else:
                assert answer["error"]["code"] == -32603
            assert client.shown == []
            assert not [each for each in heard(tmp_path / "log") if each.get("method") == "logging/setLevel"]

    run(scenario)


@BACKS
@PAIRS
def test_without_logs_there_is_no_logging(front: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(log=OFF)) as relay:
            if front == "legacy":
                client = await LegacyClient.open(relay)
                capabilities = client.opened["result"]["capabilities"]
                error = await client.request(5, "logging/setLevel", level="info").error()
                assert error["code"] == -32601
            else:
                capabilities = (await ModernClient(relay).request(1, "server/discover").result())["capabilities"]
            assert capabilities == {"tools": {}}

    run(scenario)


@ISOLATIONS
@BACKS
@PAIRS
def test_functions_hear_logs_and_progress(front: str, era: str, isolation: Any, tmp_path: Path) -> None:
    """All of it, in its order and before the answer, whatever the client wants; one of them is slow."""
    logs: list[Any] = []
    steps: list[Any] = []

    async def hear_log(params: dict[str, Any], client: FrontClient) -> None:
        await asyncio.sleep(0.01)
        logs.append(params["level"])

    def hear_progress(params: dict[str, Any], client: FrontClient) -> None:
        steps.append(params["progress"])

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(log=hear_log, progress=hear_progress), isolation) as relay:
            client = Front(relay, front, {}, {})
            answer = await client.call({"says": ["debug", "error", "info"], "steps": 3})
            assert logs == ["debug", "error", "info"] and steps == [1, 2, 3]
            assert answer["result"]["told"]["level"] == "debug"
            await client.call({"says": ["info"], "steps": 1}, level="error", progressToken=4)
            assert logs[3:] == ["info"] and steps[3:] == [1]
            assert [each for box in client.boxes for each in box.messages if "method" in each] == []

    run(scenario)


@BACKS
@PAIRS
def test_functions_tell_the_client_what_it_wants_to_hear(front: str, era: str, tmp_path: Path) -> None:
    def hear_log(params: dict[str, Any], client: FrontClient) -> None:
        client.notify("notifications/message", params | {"data": "heard"})

    async def hear_progress(params: dict[str, Any], client: FrontClient) -> None:
        client.notify("notifications/progress", {"progress": params["progress"], "total": 9})

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(log=hear_log, progress=hear_progress)) as relay:
            client = Front(relay, front, {}, {})
            await client.call({"says": ["debug", "error"], "steps": 1}, level="warning", progressToken=4)
            assert client.heard("notifications/message") == [{"level": "error", "data": "heard"}]
            assert client.heard("notifications/progress") == [{"progress": 1, "total": 9, "progressToken": 4}]
            await client.call({"steps": 1})
            assert len(client.heard("notifications/progress")) == 1

    run(scenario)


@BACKS
@PAIRS
def test_a_function_asks_the_client_after_all(front: str, era: str, tmp_path: Path) -> None:
    """Twice, beside a question that the client answers itself. For a modern client it begins anew each time."""
    begun: list[str] = []

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        begun.append(params["message"])
        first = await client.forward("elicitation/create", params | {"message": "Really?"})
        assert first == SAID
        second = await client.forward("sampling/createMessage", SAMPLE["params"])  # type: ignore[arg-type]
        return {"action": "accept", "content": {"model": second["model"]}}

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            said = {"elicitation/create": SAID, "sampling/createMessage": MODEL, "roots/list": {"roots": []}}
            client = Front(relay, front, ABLE, said)
            told = await client.told([{"a": ASK, "r": ROOTS}])
            model = {"action": "accept", "content": {"model": "m"}}
            assert told["answers"] == {"a": model, "r": {"roots": []}}
            methods = shown_methods(client)
            assert sorted(methods) == ["elicitation/create", "roots/list", "sampling/createMessage"]
            shown = [each for entry in client.shown for each in entry.values()]
            (form,) = [each for each in shown if each["method"] == "elicitation/create"]
            assert form["params"]["message"] == "Really?"
            assert begun == ["Who?"] * (1 if front == "legacy" else 3)

    run(scenario)


@BACKS
@PAIRS
def test_a_function_asks_a_client_that_can_not_be_asked(front: str, era: str, tmp_path: Path) -> None:
    """It never declared that, or not in that form."""

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        codes = []
        for method, more in (("sampling/createMessage", {}), ("elicitation/create", {"mode": "url"}), ("ping", {})):
            try:
                await client.forward(method, params | more)
            except Fault as fault:
                codes.append(fault.code)
        return {"action": "decline", "content": {"codes": codes}}

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            client = Front(relay, front, {"elicitation": {}}, {})
            told = await client.told([{"a": ASK}])
            assert told["answers"]["a"]["content"] == {"codes": [-32601, -32602, -32601]}
            assert client.shown == []

    run(scenario)


FAILURES = [
    (Fault("Not today.", code=-7, data={"a": 1}), {"code": -7, "message": "Not today.", "data": {"a": 1}}),
    (ValueError("nobody there"), {"code": -32603, "message": "nobody there"}),
    (KeyError(), {"code": -32603, "message": "KeyError"}),
]


@pytest.mark.parametrize(("raised", "error"), FAILURES)
@BACKS
@PAIRS
def test_a_function_fails(front: str, era: str, raised: Exception, error: Any, tmp_path: Path) -> None:
    """A legacy back is told; to a modern one no error can be said, so it is the call's."""

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        raise raised

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            client = Front(relay, front, {}, {})
            answer = await client.call({"rounds": [{"a": ASK}]})
            if era == "legacy":
                assert answer["result"]["told"]["answers"] == {"a": {"error": error}}
            else:
                assert answer["error"] == error

    run(scenario)


@BACKS
@PAIRS
def test_a_function_that_never_answers(front: str, era: str, tmp_path: Path) -> None:
    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        await asyncio.get_running_loop().create_future()
        return {}

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit), answer_wait=0.3) as relay:
            answer = await Front(relay, front, {}, {}).call({"rounds": [{"a": ASK}]})
            error = answer["result"]["told"]["answers"]["a"]["error"] if era == "legacy" else answer["error"]
            assert error["code"] == -32603
            assert "did not answer" in error["message"]

    run(scenario)


def test_a_function_is_told_from_one_that_fails_by_a_timeout_of_its_own() -> None:
    async def fails(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        raise TimeoutError("the model is busy")

    async def hangs(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        await asyncio.get_running_loop().create_future()
        return {}

    async def scenario() -> None:
        client: Any = None
        said = [json.loads(bytes((await outcome_of(ask, "x", {}, client, 0.05))["error"])) for ask in (fails, hangs)]
        assert [each["message"] for each in said] == [
            "the model is busy",
            "The function for x did not answer within 0.05 s.",
        ]

    run(scenario)


def test_a_question_that_the_back_withdraws_ends_its_function(tmp_path: Path) -> None:
    states: list[str] = []

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        states.append("begun")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            states.append("ended")
        return {}

    async def scenario() -> None:
        made = Gateway(stdio("legacy", tmp_path / "log"))
        relay = stand_in(made, Stand(elicitation=elicit))
        client = await LegacyClient.open(relay)
        call = client.call(1, "withdraw")
        assert (await call.result())["withdrawn"]
        await until(lambda: states in ([], ["begun", "ended"]))
        assert call.box.messages == call.box.answers
        await made.close()
        assert len(made.tasks) == 0

    run(scenario)


@BACKS
@PAIRS
def test_a_function_that_gives_no_result(front: str, era: str, tmp_path: Path) -> None:
    async def elicit(params: dict[str, Any], client: FrontClient) -> Any:
        return [object()]

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            answer = await Front(relay, front, {}, {}).call({"rounds": [{"a": ASK}]})
            error = answer["result"]["told"]["answers"]["a"]["error"] if era == "legacy" else answer["error"]
            assert "no dict, but list" in error["message"]

    run(scenario)


@BACKS
@PAIRS
def test_a_client_that_leaves_ends_the_function(front: str, era: str, tmp_path: Path) -> None:
    """And the call at the back, where it is open."""
    states: list[str] = []

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        states.append("begun")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            states.append("ended")
        return {}

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            client = Front(relay, front, {}, {})
            exchange = await client.begin({"rounds": [{"a": ASK}]}, {})
            await until(lambda: states)
            if client.legacy is not None:
                await client.legacy.notify("notifications/cancelled", requestId=1)
            else:
                await exchange.cancel()
            await until(lambda: states == ["begun", "ended"])
            await asyncio.wait([exchange.task])
            assert exchange.box.answers == []
            if era == "legacy":
                await until(lambda: "notifications/cancelled" in [e.get("method") for e in heard(tmp_path / "log")])
            assert (await client.call({}))["result"]["told"]["answers"] == {}

    run(scenario)


@BACKS
def test_a_function_that_asks_is_ended_with_its_question(era: str, tmp_path: Path) -> None:
    """A legacy client that cancels its call hears that nobody waits for the answer any more."""

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return await client.forward("elicitation/create", params)

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            client = await LegacyClient.open(relay, elicitation={})
            call = client.call(1, "survey", rounds=[{"a": ASK}])
            question = await call.box.first("elicitation/create")
            await client.notify("notifications/cancelled", requestId=1)
            withdrawn = await call.box.first("notifications/cancelled")
            assert withdrawn["params"]["requestId"] == question["id"]
            await client.reply(question["id"], result=SAID)
            assert await client.call(2, "survey").result()

    run(scenario)


@BACKS
def test_a_client_that_refuses_a_functions_question(era: str, tmp_path: Path) -> None:
    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        try:
            return await client.forward("elicitation/create", params)
        except Fault as fault:
            return {"action": "cancel", "content": {"code": fault.code, "why": fault.why, "data": fault.data}}

    async def scenario() -> None:
        async with standing(era, tmp_path / "log", Stand(elicitation=elicit)) as relay:
            said = {"error": {"code": -1, "message": "No.", "data": 3}}
            told = await Front(relay, "legacy", ABLE, {"elicitation/create": said}).told([{"a": ASK}])
            assert told["answers"]["a"]["content"] == {"code": -1, "why": "No.", "data": 3}

    run(scenario)


@PAIRS
def test_what_needs_nothing_passes_as_it_came(front: str, tmp_path: Path) -> None:
    """A state of the back's own stays its own where no function has answered."""

    async def sample(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return MODEL

    async def scenario() -> None:
        async with standing("modern", tmp_path / "log", Stand(sampling=sample)) as relay:
            client = Front(relay, front, ABLE, {"elicitation/create": SAID})
            assert (await client.told([{"a": ASK}]))["answers"] == {"a": SAID}
            assert front == "legacy" or json.loads(client.states[0])["round"] == 1
            assert not relay.can_express()

    run(scenario)


def test_a_legacy_client_whose_roots_are_stood_in_for_changes_none(tmp_path: Path) -> None:
    async def roots(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return {"roots": [{"uri": "file:///here"}]}

    async def scenario() -> None:
        async with standing("legacy", tmp_path / "log", Stand(roots=roots)) as relay:
            client = Front(relay, "legacy", {"roots": {"listChanged": True}}, {})
            told = await client.told([{"r": ROOTS}])
            assert told["answers"]["r"] == {"roots": [{"uri": "file:///here"}]}
            assert told["capabilities"] == {"roots": {}}
            assert client.legacy is not None
            await client.legacy.notify("notifications/roots/list_changed")
            await client.told([])
            assert "notifications/roots/list_changed" not in [each.get("method") for each in heard(tmp_path / "log")]

    run(scenario)
