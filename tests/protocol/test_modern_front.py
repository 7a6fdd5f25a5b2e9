"""A modern client before a legacy back: what each message becomes (`crossings.md`, *park*)."""

import json
from typing import Any

import pytest
from msgspec import Raw

from isthmus.protocol.crossings import modern_front
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.protocol.versions import LEGACY
from isthmus.wire.codec import close_object, encode, open_object, parse
from isthmus.wire.envelope import Envelope, Members

META = "io.modelcontextprotocol/"
TASKS: dict[str, Any] = {META + "tasks": {}}
INFO = Raw(b'{"name":"isthmus","version":"0"}')


def judged(text: bytes) -> ModernRequest:
    envelope = parse(text)
    assert isinstance(envelope, Envelope), envelope
    made = judge_modern(envelope, None)
    assert isinstance(made, ModernRequest), made
    return made


def request(method: str = "tools/call", *, meta: Any = None, capabilities: Any = None, **params: Any) -> ModernRequest:
    said = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": capabilities or {}}
    params = {"_meta": {**said, **(meta or {})}, **params}
    return judged(json.dumps({"jsonrpc": "2.0", "id": "a", "method": method, "params": params}).encode())


def opened(value: Any) -> Members:
    members = open_object(json.dumps(value).encode())
    assert members is not None
    return members


def plain(value: Any) -> Any:
    return json.loads(encode(value))


# -- who the client is -----------------------------------------------------------------------------------------------


def test_each_request_says_what_initialize_is_told() -> None:
    said = {"roots": {}, "elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "experimental": {"x": 1}}
    info = {"name": "c", "version": "1", "title": "C"}
    asked = request(meta={META + "clientInfo": info}, capabilities=said, name="t")
    assert plain(modern_front.initialize_params(asked)) == {
        "protocolVersion": "2025-11-25",
        "capabilities": said,
        "clientInfo": info,
    }


def test_a_client_without_a_name() -> None:
    info = plain(modern_front.initialize_params(request(name="t")))["clientInfo"]
    assert info["name"] and "version" in info


def test_what_a_legacy_back_is_not_told() -> None:
    """Tasks don't cross, and nobody knows when a modern client's roots change."""
    said = {"tasks": {"list": {}}, "extensions": {"com.example/ui": {}, **TASKS}, "roots": {"listChanged": True}}
    assert modern_front.capabilities_of(request(capabilities=said, name="t")) == {
        "extensions": {"com.example/ui": {}},
        "roots": {},
    }
    assert modern_front.capabilities_of(request(capabilities={"extensions": TASKS}, name="t")) == {}


@pytest.mark.parametrize(
    ("capabilities", "can"),
    [
        ({}, False),
        ({"experimental": {}, "extensions": {}}, False),
        ({"roots": {}}, True),
        ({"sampling": {}}, True),
        ({"elicitation": {}}, True),
    ],
)
def test_who_can_be_asked(capabilities: Any, can: bool) -> None:
    assert modern_front.can_be_asked(capabilities) is can


# -- requests --------------------------------------------------------------------------------------------------------


def test_a_request_loses_what_only_modern_ones_have_and_keeps_the_rest() -> None:
    text = (
        b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t","arguments":{"n":1.50,"m":1e2},'
        b'"inputResponses":{},"requestState":"s","x":[1.0],"_meta":{"progressToken":"p","traceparent":"00","own":1.0,'
        b'"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},'
        b'"io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/logLevel":"debug",'
        b'"io.modelcontextprotocol/subscriptionId":1}},"odd":{"y":1.0}}'
    )
    asked = judged(text)
    made = modern_front.legacy_request(asked, 41)
    sent = close_object(made.members)
    assert made.key == 41 and made.id == b"41"
    for kept in (b'"arguments":{"n":1.50,"m":1e2}', b'"x":[1.0]', b'"own":1.0', b'"odd":{"y":1.0}'):
        assert kept in sent
    assert json.loads(sent) == {
        "jsonrpc": "2.0",
        "id": 41,
        "method": "tools/call",
        "params": {
            "name": "t",
            "arguments": {"n": 1.5, "m": 100.0},
            "x": [1.0],
            "_meta": {"traceparent": "00", "own": 1.0, "progressToken": 41},
        },
        "odd": {"y": 1.0},
    }
    again = modern_front.legacy_request(asked, 42)  # the first is left as it is: the call may be repeated
    assert json.loads(close_object(again.members))["params"]["_meta"]["progressToken"] == 42


def test_meta_that_was_only_hop_by_hop_goes_altogether() -> None:
    made = modern_front.legacy_request(request("tools/list"), 1)
    assert json.loads(close_object(made.members))["params"] == {}


# -- results ---------------------------------------------------------------------------------------------------------


def discovered(initialized: Any, info: Raw | None = None) -> Any:
    return plain(modern_front.discover_result(opened(initialized), info))


def test_discover_is_answered_from_initialize() -> None:
    capabilities = {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "logging": {},
        "completions": {},
        "experimental": {"x": {}},
        "extensions": {"com.example/ui": {}},
    }
    initialized = {
        "protocolVersion": "2025-06-18",
        "capabilities": capabilities | {"tasks": {"list": {}}},
        "serverInfo": {"name": "theirs", "version": "2"},
        "instructions": "Ask nicely.",
    }
    assert discovered(initialized) == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
        "instructions": "Ask nicely.",
        "_meta": {META + "serverInfo": {"name": "theirs", "version": "2"}},
    }
    assert discovered(initialized, INFO)["_meta"] == {META + "serverInfo": plain(INFO)}
    assert discovered({})["capabilities"] == {} and "_meta" not in discovered({})


@pytest.mark.parametrize("version", LEGACY)
def test_completions_of_a_revision_that_could_not_say_so(version: str) -> None:
    for offer in ("prompts", "resources", "tools"):
        capabilities = discovered({"protocolVersion": version, "capabilities": {offer: {}}})["capabilities"]
        assert ("completions" in capabilities) == (version == "2024-11-05" and offer != "tools")


CACHEABLE = ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"]


@pytest.mark.parametrize("method", [*CACHEABLE, "tools/call", "prompts/get", "completion/complete", "x/unknown"])
def test_a_result_gets_what_modern_ones_have(method: str) -> None:
    members = opened({"x": 1, "_meta": {"own": 1}, "resultType": "odd"})
    modern_front.modern_result(method, members, INFO)
    cached = {"ttlMs": 0, "cacheScope": "private"} if method in CACHEABLE else {}
    meta = {"own": 1, META + "serverInfo": plain(INFO)}
    assert plain(members) == {"x": 1, "resultType": "complete", "_meta": meta} | cached


def test_a_result_that_says_how_long_it_holds_keeps_it() -> None:
    members = opened({"tools": [], "ttlMs": 9, "cacheScope": "public"})
    modern_front.modern_result("tools/list", members, None)
    assert plain(members) == {"tools": [], "ttlMs": 9, "cacheScope": "public", "resultType": "complete"}


def test_no_tool_says_how_it_takes_a_task() -> None:
    text = b'{"tools":[{"name":"a","execution":{"taskSupport":"required"},"x":1.0},{"name":"b","y":1e2},7]}'
    members = open_object(text)
    assert members is not None
    modern_front.modern_result("tools/list", members, None)
    assert bytes(members["tools"]) == b'[{"name":"a","x":1.0},{"name":"b","y":1e2},7]'


def error(code: Any, **more: Any) -> Any:
    return plain(modern_front.modern_error(opened({"code": code, "message": "No.", **more})))


def test_a_resource_that_is_not_there() -> None:
    assert error(-32002, data={"uri": "u"}) == {"code": -32602, "message": "No.", "data": {"uri": "u"}}


@pytest.mark.parametrize("code", [-32023, -32042, -32050, -32099])
def test_a_code_that_2026_has_no_meaning_for_is_an_internal_error(code: int) -> None:
    was = {"code": code, "message": "No.", "data": [1]}
    assert error(code, data=[1]) == {"code": -32603, "message": "No.", "data": was}


@pytest.mark.parametrize("code", [-32020, -32021, -32022, -32600, -32601, -32602, -32603, -32700, -32000, -32019, 7])
def test_other_errors_pass(code: int) -> None:
    assert error(code, data=[1]) == {"code": code, "message": "No.", "data": [1]}


# -- questions -------------------------------------------------------------------------------------------------------


def why_not(method: str, capabilities: Any, **params: Any) -> int | None:
    refused = modern_front.why_not_asked(method, opened(params), capabilities)
    assert refused is None or refused[1].endswith(".")
    return refused[0] if refused is not None else None


@pytest.mark.parametrize("method", list(modern_front.QUESTIONS))
def test_what_the_client_did_not_declare_is_no_method_of_it(method: str) -> None:
    others: dict[str, Any] = {
        name: {} for name in modern_front.QUESTIONS.values() if name != modern_front.QUESTIONS[method]
    }
    assert why_not(method, {}) == why_not(method, others) == -32601
    assert why_not(method, others | {modern_front.QUESTIONS[method]: {}}) is None


def test_what_no_client_is_asked() -> None:
    everything: dict[str, Any] = {name: {} for name in modern_front.QUESTIONS.values()}
    for method in ("ping", "tools/call", "tasks/get", "x/unknown", ""):
        assert why_not(method, everything) == -32601


@pytest.mark.parametrize(
    ("declared", "form", "url"),
    [
        ({}, None, -32602),
        ({"form": {}}, None, -32602),
        ({"url": {}}, -32602, None),
        ({"form": {}, "url": {}}, None, None),
        (7, None, -32602),
    ],
)
def test_the_modes_of_elicitation(declared: Any, form: int | None, url: int | None) -> None:
    """ "An empty object is equivalent to declaring support for form mode only" (2025-11-25 client/elicitation)."""
    capabilities = {"elicitation": declared}
    assert why_not("elicitation/create", capabilities) == form
    assert why_not("elicitation/create", capabilities, mode="form") == form
    assert why_not("elicitation/create", capabilities, mode="url") == url
    assert why_not("elicitation/create", {"elicitation": {"form": {}, "url": {}}}, mode="odd") == -32602
    assert why_not("elicitation/create", {"elicitation": {"form": {}, "url": {}}}, mode=["odd"]) == -32602


@pytest.mark.parametrize("member", ["tools", "toolChoice"])
def test_sampling_with_tools(member: str) -> None:
    assert why_not("sampling/createMessage", {"sampling": {}}, **{member: []}) == -32602
    assert why_not("sampling/createMessage", {"sampling": {"tools": {}}}, **{member: []}) is None


def test_input_required_asks_exactly_what_the_back_asked() -> None:
    text = (
        b'{"message":"\\u0061","n":1e400,"elicitationId":"e","task":{"ttl":1},'
        b'"_meta":{"progressToken":3,"traceparent":"00"}}'
    )
    params = open_object(text)
    assert params is not None
    questions = {
        "k1": ("elicitation/create", params),
        "k2": ("roots/list", {}),
        "k3": ("sampling/createMessage", opened({"_meta": {"progressToken": 1}})),
    }
    result = encode(modern_front.input_required(questions, "sealed", INFO))
    assert b'"message":"\\u0061","n":1e400' in result
    assert json.loads(result.replace(b"1e400", b"1")) == {
        "resultType": "input_required",
        "inputRequests": {
            "k1": {
                "method": "elicitation/create",
                "params": {"message": "a", "n": 1, "_meta": {"traceparent": "00"}},
            },
            "k2": {"method": "roots/list"},
            "k3": {"method": "sampling/createMessage", "params": {}},
        },
        "requestState": "sealed",
        "_meta": {META + "serverInfo": plain(INFO)},
    }
    assert "_meta" not in modern_front.input_required({}, "sealed", None)


# -- answers ---------------------------------------------------------------------------------------------------------


def test_the_answers_of_a_retry() -> None:
    assert modern_front.read_answers(request(name="t")) == {}
    answers = modern_front.read_answers(request(name="t", inputResponses={"k": {"action": "accept"}, "other": {}}))
    assert answers is not None and plain(answers) == {"k": {"action": "accept"}, "other": {}}


@pytest.mark.parametrize("malformed", [None, 7, [], "x", {"k": 7}, {"k": None}, {"a": {}, "k": []}, {"k": "x"}])
def test_answers_that_are_none(malformed: Any) -> None:
    assert modern_front.read_answers(request(name="t", inputResponses=malformed)) is None


# -- URLs that an error demands ---------------------------------------------------------------------------------------


def demand(error: Any) -> list[tuple[str, Any]]:
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode()
    envelope = parse(text)
    assert isinstance(envelope, Envelope)
    return [(id, plain(params)) for id, params in modern_front.urls_of(envelope)]


def test_the_urls_that_an_error_demands() -> None:
    one = {"mode": "url", "elicitationId": "e1", "url": "https://x", "message": "?"}
    two = {"mode": "url", "url": "https://y"}
    error = {"code": modern_front.URL_REQUIRED, "message": "m", "data": {"elicitations": [one, two, 7]}}
    assert demand(error) == [("e1", one), ("", two)]


@pytest.mark.parametrize("data", [None, 7, [], {}, {"elicitations": 7}, {"elicitations": {}}, {"elicitations": []}])
def test_errors_that_demand_none(data: Any) -> None:
    assert demand({"code": -32042, "message": "m", "data": data}) == []
    assert demand({"code": -32042, "message": "m"}) == [] == demand(7)


@pytest.mark.parametrize(
    ("capabilities", "can"),
    [
        ({}, False),
        ({"elicitation": {}}, False),
        ({"elicitation": {"form": {}}}, False),
        ({"elicitation": 7}, False),
        ({"elicitation": {"url": {}}}, True),
    ],
)
def test_who_can_open_urls(capabilities: Any, can: bool) -> None:
    assert modern_front.can_open_urls(capabilities) is can
