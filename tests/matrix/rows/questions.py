"""What servers ask in the middle of a call: forms, URLs, the model, the roots."""

import asyncio
from typing import Any

from tests.matrix.book import LEGACY_FRONT, LEGACY_STRAIGHT, MODERN_BACK, MODERN_FRONT, each, row
from tests.matrix.content import PNG, STRING, form, roots, sampling
from tests.matrix.peer import MODEL_SAYS, ROOTS, Json, Peer, PeerError, by_text, outcome, usual
from tests.matrix.reasons import Reason

ELICITATION = "2025-11-25/client/elicitation.mdx"
SAMPLING = "2025-11-25/client/sampling.mdx"
ROOTS_PAGE = "2025-11-25/client/roots.mdx"
MRTR = "2026-07-28/basic/patterns/mrtr.mdx"
NAME: Json = form("Who are you?", name=STRING)
URL: Json = {
    "method": "elicitation/create",
    "params": {"mode": "url", "message": "Open it", "url": "https://example.com/a?b=c", "elicitationId": "e-7"},
}


def answering(**result: Any) -> Any:
    return lambda method, params: result


def unnamed(asked: Json) -> Json:
    """What was asked, without what an `elicitationId` says: it is the server's, the proxy's, or not there."""
    for question in asked["asked"]:
        question["params"].pop("elicitationId", None)
    return asked


# -- forms ------------------------------------------------------------------------------------------------------------


@row("elicitation", "a form, filled in", ELICITATION)
async def accepted(peer: Peer) -> Any:
    seen = await peer.ask_for("asks", rounds=[{"q": NAME}])
    assert seen["result"]["structuredContent"]["rounds"] == [{"q": {"action": "accept", "content": {"name": "Ada"}}}]
    assert len(seen["asked"]) == 1
    return seen


def _action(action: str) -> None:
    @row("elicitation", f"a form: {action}", ELICITATION)
    async def acted(peer: Peer) -> Any:
        peer.heard.answer = answering(action=action)
        seen = await peer.ask_for("asks", rounds=[{"q": NAME}])
        assert seen["result"]["structuredContent"]["rounds"] == [{"q": {"action": action}}]
        return seen


_action("decline")
_action("cancel")


def _shape(shows: str, **fields: Json) -> None:
    @row("elicitation", f"a form with {shows}", ELICITATION)
    async def shaped(peer: Peer) -> Any:
        seen = await peer.ask_for("asks", rounds=[{"q": form("Fill it in", **fields)}])
        assert seen["asked"][0]["params"]["requestedSchema"]["properties"] == fields
        assert seen["result"]["structuredContent"]["rounds"][0]["q"]["content"].keys() == fields.keys()
        return seen


TITLED = [{"const": "r", "title": "Réd"}, {"const": "g", "title": "Green"}]
_shape(
    "every primitive type",
    text={"type": "string", "title": "T", "minLength": 1, "maxLength": 9},
    mail={"type": "string", "format": "email", "default": "a@example.com"},
    whole={"type": "integer", "minimum": 0, "maximum": 10},
    part={"type": "number", "description": "A number"},
    sure={"type": "boolean"},
)
_shape(
    "defaults",
    text={"type": "string", "default": "x"},
    whole={"type": "integer", "default": 30},
    part={"type": "number", "default": 95.5},
    sure={"type": "boolean", "default": False},
    one={"type": "string", "enum": ["a", "b"], "default": "b"},
)
_shape("a choice", one={"type": "string", "enum": ["a", "b"]})
_shape("a choice with titles", one={"type": "string", "oneOf": TITLED})
_shape("a choice with titles, as it was written before", one={"type": "string", "enum": ["a"], "enumNames": ["A"]})
_shape("a choice of several", many={"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "minItems": 1})
_shape("a choice of several with titles", many={"type": "array", "items": {"anyOf": TITLED}})


OLDER = "2025-06-18"
CHOICE: Json = form("Which?", one={"type": "string", "oneOf": TITLED, "title": "One"})
SEVERAL: Json = form("Which?", many={"type": "array", "items": {"type": "string", "enum": ["a", "b"]}})
OLDER_CHOICE = {"type": "string", "title": "One", "enum": ["r", "g"], "enumNames": ["Réd", "Green"]}


@row(
    "elicitation",
    "a choice with titles for a client of 2025-06-18",
    "2025-06-18/client/elicitation.mdx",
    never=each(MODERN_FRONT, Reason.NO_INITIALIZE),
    instead={("legacy", "modern"): ([OLDER_CHOICE, {"one": "r"}], Reason.OLDER_FORMS)},
    version=OLDER,
)
async def older_choice(peer: Peer) -> Any:
    seen = await peer.ask_for("asks", rounds=[{"q": CHOICE}])
    asked = seen["asked"][0]["params"]
    answer = seen["result"]["structuredContent"]["rounds"][0]["q"]["content"]
    return [asked["requestedSchema"]["properties"]["one"], answer]


@row(
    "elicitation",
    "a choice of several for a client of 2025-06-18",
    "2025-06-18/client/elicitation.mdx",
    never=each(MODERN_FRONT, Reason.NO_INITIALIZE) | each(LEGACY_STRAIGHT, Reason.SERVER_S),
    instead={("legacy", "modern"): ({"result": {"error": -32603}, "asked": []}, Reason.OLDER_FORMS)},
    version=OLDER,
)
async def older_several(peer: Peer) -> Any:
    return await peer.ask_for("asks", rounds=[{"q": SEVERAL}])


# -- URLs -------------------------------------------------------------------------------------------------------------


@row("elicitation", "a URL, opened", ELICITATION)
async def opened(peer: Peer) -> Any:
    seen = await peer.ask_for("asks", rounds=[{"q": URL}])
    assert seen["asked"][0]["params"]["url"] == "https://example.com/a?b=c"
    assert seen["result"]["structuredContent"]["rounds"] == [{"q": {"action": "accept"}}]
    return unnamed(seen)


@row("elicitation", "a URL, declined", ELICITATION)
async def not_opened(peer: Peer) -> Any:
    peer.heard.answer = answering(action="decline")
    return unnamed(await peer.ask_for("asks", rounds=[{"q": URL}]))


@row(
    "elicitation",
    "the client learns that it is done at a URL",
    ELICITATION,
    never=each(MODERN_FRONT, Reason.NO_COMPLETE) | each(LEGACY_STRAIGHT, Reason.SERVER_S),
    instead={("legacy", "modern"): (["notifications/elicitation/complete", None], Reason.SAYS_IT_ITSELF)},
)
async def done_at_url(peer: Peer) -> Any:
    await peer.ask_for("asks", rounds=[{"q": URL}])
    await peer.heard.until("changes")
    return peer.heard.changes[0]


WHERE = {"mode": "url", "message": "Sign in", "url": "https://example.com/in"}
ASKED_WHERE = [{"method": "elicitation/create", "params": WHERE}]
SIGNED_IN = {"content": [{"type": "text", "text": "signed in"}], "isError": False, "resultType": "complete"}


@row(
    "elicitation",
    "a URL that the server demands by an error (-32042)",
    ELICITATION,
    never=each(MODERN_BACK, Reason.NO_DEMAND),
    instead={("modern", "legacy"): ({"result": SIGNED_IN, "asked": ASKED_WHERE}, Reason.NO_DEMAND)},
)
async def demanded(peer: Peer) -> Any:
    seen = unnamed(await peer.ask_for("demands"))
    if peer.era == "legacy":
        assert seen["result"]["error"] == -32042
        assert (await peer.call("demands"))["content"][0]["text"] == "signed in"
    return seen


# -- the model and the roots ------------------------------------------------------------------------------------------

TOOL: Json = {"name": "get", "description": "Gets", "inputSchema": {"type": "object"}}
USES = {"type": "tool_use", "id": "t-1", "name": "get", "input": {"a": 1}}
PICTURE = {"role": "user", "content": {"type": "image", "data": PNG, "mimeType": "image/png"}}


def _sampled(shows: str, answer: Json, **more: Any) -> None:
    @row("sampling", shows, SAMPLING)
    async def sampled(peer: Peer) -> Any:
        peer.heard.answer = lambda method, params: answer
        seen = await peer.ask_for("asks", rounds=[{"q": sampling("Capital of France?", **more)}])
        assert {name: seen["asked"][0]["params"][name] for name in more} == more
        told = seen["result"]["structuredContent"]["rounds"][0]["q"]
        assert {name: told[name] for name in answer} == answer
        return seen


_sampled("a question to the model", dict(MODEL_SAYS))
_sampled(
    "with all that can be said of it",
    dict(MODEL_SAYS),
    systemPrompt="Be brief.",
    temperature=0.5,
    stopSequences=["\n"],
    modelPreferences={"hints": [{"name": "small"}], "costPriority": 0.9},
    metadata={"x": [1]},
)
_sampled("with a picture", dict(MODEL_SAYS), messages=[PICTURE])
_sampled("with tools", {**MODEL_SAYS, "content": [USES], "stopReason": "toolUse"}, tools=[TOOL])
_sampled("with tools that must be used", {**MODEL_SAYS, "content": [USES]}, tools=[TOOL], toolChoice={"mode": "auto"})


@row("roots", "the client's roots", ROOTS_PAGE)
async def listed_roots(peer: Peer) -> Any:
    seen = await peer.ask_for("asks", rounds=[{"q": roots()}])
    assert seen["result"]["structuredContent"]["rounds"] == [{"q": ROOTS}]
    return {"result": seen["result"], "asked": [each["method"] for each in seen["asked"]]}


# -- several, and where -----------------------------------------------------------------------------------------------


def _rounds(shows: str, *rounds: Json) -> None:
    @row("questions", shows, MRTR)
    async def asked(peer: Peer) -> Any:
        seen = await peer.ask_for("asks", rounds=list(rounds))
        assert len(seen["asked"]) == sum(map(len, rounds))
        assert len(seen["result"]["structuredContent"]["rounds"]) == len(rounds)
        for question in seen["asked"]:
            question["params"] = question["params"] if question["method"] != "roots/list" else {}
        return seen


_rounds("two at once", {"a": NAME, "b": form("How old?", age={"type": "integer"})})
_rounds("one of each kind at once", {"a": NAME, "b": sampling("Say hi"), "c": roots()})
_rounds("two rounds", {"a": NAME}, {"b": sampling("Greet Ada")})
_rounds("eight rounds", *({"q": form(f"Round {number}", n={"type": "integer"})} for number in range(8)))
_rounds("two rounds with two each", {"a": NAME, "b": sampling("x")}, {"a": roots(), "b": NAME})


@row("questions", "in the middle of a prompt", MRTR)
async def in_prompt(peer: Peer) -> Any:
    result = await peer.request("prompts/get", {"name": "curious"})
    assert "Ada" in result["messages"][0]["content"]["text"]
    return [result, peer.heard.asked]


@row("questions", "in the middle of a resource", MRTR)
async def in_resource(peer: Peer) -> Any:
    result = await peer.request("resources/read", {"uri": "test://curious"})
    assert "Ada" in result["contents"][0]["text"]
    return [result, peer.heard.asked]


COMPLETED = {"completion": {"values": ["-32601"], "hasMore": False}, "resultType": "complete"}


@row(
    "questions",
    "in the middle of another request",
    MRTR,
    never=each(MODERN_BACK, Reason.ONLY_THREE),
    instead={("modern", "legacy"): ([COMPLETED, 0], Reason.ONLY_THREE)},
    unless=lambda column: Reason.UNTOLD if column.client == "modern" and column.back != "http" else None,
)
async def elsewhere(peer: Peer) -> Any:
    ref = {"type": "ref/prompt", "name": "filled"}
    argument = {"name": "city", "value": "ask!"}
    result = await peer.request("completion/complete", {"ref": ref, "argument": argument})
    return [result, len(peer.heard.asked)]


@row("questions", "of five calls at once, each with its own answer", MRTR)
async def five_calls(peer: Peer) -> Any:
    def answer(method: str, params: Json) -> Json:
        return {"action": "accept", "content": {"name": params["message"]}}

    peer.heard.answer = answer
    calls = [peer.call("asks", rounds=[{"q": form(f"You are {number}", name=STRING)}]) for number in range(5)]
    results = await asyncio.gather(*calls)
    names = [each["structuredContent"]["rounds"][0]["q"]["content"]["name"] for each in results]
    assert names == [f"You are {number}" for number in range(5)]
    return by_text(peer.heard.asked)


@row("questions", "then the tool fails", MRTR)
async def then_fails(peer: Peer) -> Any:
    seen = await peer.ask_for("asks", rounds=[{"q": NAME}], fails=True)
    assert seen["result"]["isError"] is True
    return seen


@row("questions", "then the call is refused", MRTR)
async def then_refused(peer: Peer) -> Any:
    seen = await peer.ask_for("asks", rounds=[{"q": NAME}], raises=True)
    assert seen["result"]["error"] == -32602
    return seen


@row("questions", "with progress before and after each round", MRTR)
async def progress(peer: Peer) -> Any:
    given = {"rounds": [{"q": NAME}, {"q": NAME}], "progress": True}
    result = await peer.request("tools/call", {"name": "asks", "arguments": given}, progress=True)
    await peer.heard.until("progress", 4)
    assert [done for done, _, _ in peer.heard.progress] == [1, 2, 3, 4]
    return [result, peer.heard.progress]


@row("questions", "with log messages before each round", MRTR)
async def logs(peer: Peer) -> Any:
    given = {"name": "asks", "arguments": {"rounds": [{"q": NAME}, {"q": NAME}], "logs": True}}
    if peer.era == "legacy":
        await peer.request("logging/setLevel", {"level": "info"})
    result = await peer.request("tools/call", given, level="info" if peer.era == "modern" else None)
    await peer.heard.until("logs", 2)
    return [result, peer.heard.logs]


@row("questions", "a result that asks nothing and wants another call", MRTR)
async def thinks(peer: Peer) -> Any:
    result = await peer.call("thinks")
    assert result["content"][0]["text"] == "thought"
    return [result, peer.heard.asked]


# -- what the client can't or won't -----------------------------------------------------------------------------------


@row(
    "questions",
    "the client answers with an error",
    MRTR,
    instead={("legacy", "modern"): ({"error": -1}, Reason.NO_ERROR)},
    number=3,
    info="one who refuses",
)
async def client_error(peer: Peer) -> Any:
    peer.heard.answer = lambda method, params: PeerError(-1, "The user said no")
    answer = await outcome(peer.call("asks", rounds=[{"q": NAME}]))
    return answer if "error" in answer else answer["structuredContent"]


@row(
    "questions",
    "the client didn't say that it can be asked",
    MRTR,
    instead={
        ("legacy", "modern"): ({"error": -32603}, Reason.ASKS_WHAT_IT_CAN),
        ("modern", "legacy"): ({"rounds": [], "problem": -32601}, Reason.ASKS_WHAT_IT_CAN),
    },
    is_bare=True,
)
async def undeclared(peer: Peer) -> Any:
    answer = await outcome(peer.call("asks", rounds=[{"q": NAME}]))
    assert peer.heard.asked == []
    return answer if "error" in answer else answer["structuredContent"]


# -- the state that a modern client gives back ------------------------------------------------------------------------

ASKS: Json = {"name": "asks", "arguments": {"rounds": [{"a": NAME, "b": form("And?", b=STRING)}]}}
NEVER = each(LEGACY_FRONT, Reason.NO_STATE) | {("modern", "modern"): Reason.MODERN_SERVER_S}


async def parked(peer: Peer, params: Json) -> tuple[Json, Json]:
    """Begin a call that asks: the answers that it needs, and what to call again with."""
    first = await peer.request("tools/call", params, is_driven=False)
    assert first["resultType"] == "input_required"
    answers = {key: usual(each["method"], each["params"]) for key, each in first["inputRequests"].items()}
    return answers, params | {"requestState": first["requestState"]}


async def answered(peer: Peer, params: Json, answers: Json) -> Json:
    """Call again with the answers; where a server asks one after the other, as often as more is asked."""
    result = await again(peer, params, answers)
    for _ in ASKS["arguments"]["rounds"][0]:
        if "inputRequests" in result:
            more = {key: usual(each["method"], each["params"]) for key, each in result["inputRequests"].items()}
            result = await again(peer, params | {"requestState": result["requestState"]}, more)
    return result


async def again(peer: Peer, params: Json, answers: Json) -> Json:
    return await outcome(peer.request("tools/call", params | {"inputResponses": answers}, is_driven=False))


@row("state", "a retry with some of the answers, then the rest", MRTR, never=NEVER)
async def partial(peer: Peer) -> Any:
    answers, retry = await parked(peer, ASKS)
    first, said = next(iter(answers.items()))
    result = await again(peer, retry, {first: said})
    assert len(result["inputRequests"]) == 1
    answers, retry = (
        {key: {"action": "decline"} for key in result["inputRequests"]},
        retry | {"requestState": result["requestState"]},
    )
    result = await again(peer, retry, answers)
    actions = sorted(each["action"] for each in result["structuredContent"]["rounds"][0].values())
    assert actions == ["accept", "decline"]
    return True


@row("state", "answers to what nobody asked are ignored", MRTR, never=NEVER)
async def unknown_keys(peer: Peer) -> Any:
    answers, retry = await parked(peer, ASKS)
    result = await answered(peer, retry, answers | {"who": {"action": "accept", "content": {}}})
    assert result["structuredContent"]["rounds"][0].keys() == {"a", "b"}
    return True


def _changed(state: str) -> str:
    """With another character in its middle."""
    at = len(state) // 2
    return state[:at] + ("B" if state[at] == "A" else "A") + state[at + 1 :]


def _refused(shows: str, spoil: Any) -> None:
    @row("state", f"{shows} is refused, and the right one works then", MRTR, never=NEVER)
    async def refused(peer: Peer) -> Any:
        answers, retry = await parked(peer, ASKS)
        assert (await again(peer, *spoil(retry, answers)))["error"] == -32602
        result = await answered(peer, retry, answers)
        assert result["structuredContent"]["rounds"][0].keys() == {"a", "b"}
        return True


_refused("a forged state", lambda retry, answers: (retry | {"requestState": "forged"}, answers))
_refused(
    "a changed state",
    lambda retry, answers: (retry | {"requestState": _changed(retry["requestState"])}, answers),
)
_refused(
    "other arguments",
    lambda retry, answers: (retry | {"arguments": {"rounds": []}}, answers),
)
_refused("an answer that is none", lambda retry, answers: (retry, dict.fromkeys(answers, 7)))


@row("state", "a state that was used before is refused", MRTR, never=NEVER)
async def replayed(peer: Peer) -> Any:
    answers, retry = await parked(peer, ASKS)
    assert "structuredContent" in await answered(peer, retry, answers)
    return (await again(peer, retry, answers))["error"] == -32602
