"""A legacy client before a modern back: what each message becomes (`crossings.md`, *ask on its behalf*)."""

import json
from typing import Any

import pytest

from isthmus.protocol.crossings import legacy_front
from isthmus.protocol.crossings.legacy_front import Client, Round
from isthmus.protocol.versions import LEGACY
from isthmus.wire.codec import close_object, encode, open_object, parse
from isthmus.wire.envelope import Envelope, Members

META = "io.modelcontextprotocol/"
TASKS: dict[str, Any] = {META + "tasks": {}}
FORM = {"type": "object", "properties": {"name": {"type": "string"}}}


def request(method: str, **params: Any) -> Envelope:
    envelope = parse(json.dumps({"jsonrpc": "2.0", "id": 3, "method": method, "params": params}).encode())
    assert isinstance(envelope, Envelope)
    return envelope


def client(version: str = "2025-11-25", **capabilities: Any) -> Client:
    info = {"name": "c", "version": "1"}
    return legacy_front.read_client(
        request("initialize", protocolVersion=version, capabilities=capabilities, clientInfo=info)
    )


def opened(value: Any) -> Members:
    members = open_object(json.dumps(value).encode())
    assert members is not None
    return members


def plain(value: Any) -> Any:
    return json.loads(encode(value))


# -- initialize ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", LEGACY)
def test_a_known_revision_is_agreed_to(version: str) -> None:
    assert legacy_front.negotiate(version) == version


@pytest.mark.parametrize("version", ["2026-07-28", "2099-01-01", "1", "", None])
def test_another_is_answered_with_the_newest_legacy_one(version: str | None) -> None:
    assert legacy_front.negotiate(version) == "2025-11-25"


def test_a_client_s_capabilities_in_modern_form() -> None:
    said: dict[str, Any] = {
        "roots": {"listChanged": True},
        "sampling": {"tools": {}},
        "elicitation": {"form": {}, "url": {}},
        "tasks": {"list": {}},
        "experimental": {"x": {"y": 1}},
        "extensions": {"com.example/ui": {"z": []}, **TASKS},
    }
    read = client(**said)
    assert read.capabilities == {
        "roots": {},
        "sampling": {"tools": {}},
        "elicitation": {"form": {}, "url": {}},
        "experimental": {"x": {"y": 1}},
        "extensions": {"com.example/ui": {"z": []}},
    }
    assert plain(read.raw_capabilities) == read.capabilities
    assert plain(read.raw_info) == {"name": "c", "version": "1"}
    assert client(extensions=TASKS).capabilities == {}


@pytest.mark.parametrize("params", [None, {}, {"capabilities": 7}, {"capabilities": None, "protocolVersion": 1}])
def test_a_client_that_says_nothing_of_itself(params: Any) -> None:
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    if params is not None:
        message["params"] = params
    envelope = parse(json.dumps(message).encode())
    assert isinstance(envelope, Envelope)
    read = legacy_front.read_client(envelope)
    assert read.capabilities == {} and read.version == "2025-11-25" and read.raw_info is None
    assert set(legacy_front.meta_of(read)) == {META + "protocolVersion", META + "clientCapabilities"}


def test_initialize_is_answered_from_what_the_back_says_of_itself() -> None:
    discovered = opened(
        {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {
                "tools": {"listChanged": True},
                "resources": {"subscribe": True, "listChanged": True},
                "logging": {},
                "completions": {},
                "tasks": {},
                "experimental": {"x": {}},
                "extensions": {"com.example/ui": {}, **TASKS},
            },
            "instructions": "Ask nicely.",
            "ttlMs": 1,
            "cacheScope": "public",
            "_meta": {META + "serverInfo": {"name": "theirs", "version": "2"}},
        }
    )
    result = plain(legacy_front.initialize_result(discovered, client("2025-03-26"), None))
    assert result == {
        "protocolVersion": "2025-03-26",
        "capabilities": {
            "tools": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "logging": {},
            "completions": {},
            "experimental": {"x": {}},
            "extensions": {"com.example/ui": {}},
        },
        "serverInfo": {"name": "theirs", "version": "2"},
        "instructions": "Ask nicely.",
    }
    own = opened({"i": {"name": "isthmus", "version": "0"}})["i"]
    assert plain(legacy_front.initialize_result(discovered, client(), own))["serverInfo"]["name"] == "isthmus"
    bare = plain(legacy_front.initialize_result({}, client(), None))
    assert bare["capabilities"] == {} and bare["serverInfo"]["name"] and "instructions" not in bare


# -- requests --------------------------------------------------------------------------------------------------------


def test_a_request_gets_the_three_keys_and_keeps_the_rest() -> None:
    text = (
        b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t","arguments":{"n":1.50,"m":1e2},'
        b'"task":{"ttl":1},"inputResponses":{},"requestState":"s","x":[1.0],'
        b'"_meta":{"progressToken":7,"traceparent":"00","io.modelcontextprotocol/logLevel":"debug","own":1.0}}}'
    )
    envelope = parse(text)
    assert isinstance(envelope, Envelope)
    made = legacy_front.modern_request(envelope, client(roots={}), "warning")
    written = made.write(9)
    assert b'"arguments":{"n":1.50,"m":1e2}' in written and b'"x":[1.0]' in written and b'"own":1.0' in written
    message = json.loads(written)
    meta = message["params"].pop("_meta")
    assert message == {
        "jsonrpc": "2.0",
        "id": 9,
        "method": "tools/call",
        "params": {"name": "t", "arguments": {"n": 1.5, "m": 100.0}, "x": [1.0]},
    }
    assert meta == {
        "progressToken": 7,
        "traceparent": "00",
        "own": 1.0,
        META + "protocolVersion": "2026-07-28",
        META + "clientCapabilities": {"roots": {}},
        META + "clientInfo": {"name": "c", "version": "1"},
        META + "logLevel": "warning",
    }
    assert made.name == "t" and made.row.name == "tools/call"


def test_a_request_without_parameters_is_one_too() -> None:
    envelope = parse(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
    assert isinstance(envelope, Envelope)
    message = json.loads(legacy_front.modern_request(envelope, client(), None).write(2))
    assert set(message["params"]) == {"_meta"} and META + "logLevel" not in message["params"]["_meta"]


def test_a_retry_carries_this_round_s_answers_and_state_and_no_others() -> None:
    made = legacy_front.modern_request(request("tools/call", name="t", arguments={}), client(), None)
    raw = open_object(b'{"r":{"action":"accept","n":1.0},"s":"st\\u0061te"}')
    assert raw is not None
    legacy_front.retry(made, {"k": raw["r"]}, raw["s"])
    text = made.write(2)
    assert b'"inputResponses":{"k":{"action":"accept","n":1.0}}' in text
    assert b'"requestState":"st\\u0061te"' in text  # byte for byte
    legacy_front.retry(made, {}, raw["s"])
    assert b"inputResponses" not in made.write(3) and b"requestState" in made.write(3)
    legacy_front.retry(made, {"k": raw["r"]}, None)
    assert b"inputResponses" in made.write(4) and b"requestState" not in made.write(4)


# -- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({}, "complete"),
        ({"resultType": "complete"}, "complete"),
        ({"resultType": "input_required"}, "input_required"),
        ({"resultType": "task"}, "task"),
        ({"resultType": 7}, None),
    ],
)
def test_the_kind_of_a_result(result: Any, kind: str | None) -> None:
    assert legacy_front.result_kind(opened(result)) == kind


def legacy(method: str, result: Any, version: str = "2025-11-25") -> Any:
    members = opened(result)
    legacy_front.legacy_result(method, members, version)
    return json.loads(close_object(members))


def test_what_only_modern_results_have_goes() -> None:
    info = {META + "serverInfo": {"name": "theirs"}}
    whole = {"resultType": "complete", "ttlMs": 5, "cacheScope": "public", "x": 1}
    assert legacy("tools/list", whole | {"_meta": info | {"own": 1}}) == {"x": 1, "_meta": {"own": 1}}
    assert legacy("tools/list", whole | {"_meta": info}) == {"x": 1}


@pytest.mark.parametrize("version", LEGACY)
def test_an_output_schema_is_an_object_s_or_none(version: str) -> None:
    kept = {"name": "a", "outputSchema": {"type": "object", "properties": {}}}
    none: dict[str, Any] = {"name": "b"}
    schemas: list[Any] = [{"type": "array"}, {"type": ["object", "null"]}, {"anyOf": []}, True, {}]
    others = [{"name": f"c{n}", "outputSchema": each, "x": n} for n, each in enumerate(schemas)]
    result = legacy("tools/list", {"tools": [kept, none, *others], "nextCursor": "n"}, version)
    dropped = [{"name": f"c{n}", "x": n} for n in range(len(schemas))]
    assert result == {"tools": [kept, none, *dropped], "nextCursor": "n"}


@pytest.mark.parametrize("value", [[1, 2], "text", 7, None, True, 1.5])
def test_structured_content_that_is_no_object_becomes_text_once(value: Any) -> None:
    image = {"type": "image", "data": "", "mimeType": "image/png"}
    result = legacy("tools/call", {"content": [image], "structuredContent": value})
    assert "structuredContent" not in result and result["content"][0] == image
    assert [json.loads(each["text"]) for each in result["content"][1:]] == [value]
    said = {"type": "text", "text": json.dumps(value)}
    assert legacy("tools/call", {"content": [said], "structuredContent": value}) == {"content": [said]}
    assert len(legacy("tools/call", {"structuredContent": value})["content"]) == 1


def test_a_string_in_structured_content_may_stand_as_it_is() -> None:
    """A text block that *is* the string holds it: `"yes"` need not be said again with quotes around it."""
    said = {"type": "text", "text": "yes"}
    assert legacy("tools/call", {"content": [said], "structuredContent": "yes"}) == {"content": [said]}


def test_structured_content_that_is_an_object_stays() -> None:
    assert legacy("tools/call", {"content": [], "structuredContent": {"a": [1]}}) == {
        "content": [],
        "structuredContent": {"a": [1]},
    }
    text = b'{"content":[],"structuredContent": {"a":1.0}}'
    members = open_object(text)
    assert members is not None
    legacy_front.legacy_result("tools/call", members, "2025-11-25")
    assert b'{"a":1.0}' in close_object(members)


# -- errors ----------------------------------------------------------------------------------------------------------


def error(code: int, method: str = "tools/call", uri: str | None = None, **more: Any) -> Any:
    members = opened({"code": code, "message": "No.", **more})
    return json.loads(close_object(legacy_front.legacy_error(members, method, uri)))


@pytest.mark.parametrize("code", [-32020, -32022])
def test_what_only_the_proxy_can_have_done_wrong_is_an_internal_error(code: int) -> None:
    was = {"code": code, "message": "No.", "data": {"supported": []}}
    assert error(code, data={"supported": []}) == {"code": -32603, "message": "No.", "data": was}


def test_a_resource_that_is_not_there() -> None:
    uri = "file:///a"
    assert error(-32602, "resources/read", uri, data={"uri": uri})["code"] == -32002
    assert error(-32602, "resources/read", uri, data={"uri": "file:///b"})["code"] == -32602
    assert error(-32602, "resources/read", uri, data="x")["code"] == -32602
    assert error(-32602, "resources/read", uri)["code"] == -32602
    assert error(-32602, "tools/call", None, data={"uri": uri})["code"] == -32602


@pytest.mark.parametrize("code", [-32021, -32601, -32603, -32700, -32000, -32042, 1])
def test_other_errors_pass(code: int) -> None:
    assert error(code, data=[1]) == {"code": code, "message": "No.", "data": [1]}


# -- questions -------------------------------------------------------------------------------------------------------


def ask(of: Client, **requests: Any) -> Round | str:
    members = opened({"resultType": "input_required", "inputRequests": requests, "requestState": "s"})
    return legacy_front.read_round(members, of, {key: f"id-{key}" for key in requests})


def asked(of: Client, method: str, **params: Any) -> Any:
    read = ask(of, k={"method": method, "params": params})
    assert isinstance(read, Round), read
    (question,) = read.questions
    assert (question.key, question.method) == ("k", method)
    return plain(question.params)


def refused(of: Client, method: str, **params: Any) -> str:
    read = ask(of, k={"method": method, "params": params})
    assert isinstance(read, str), read
    return read


ALL: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}


def test_all_questions_of_a_round_are_asked() -> None:
    read = ask(
        client(**ALL),
        a={"method": "roots/list"},
        b={"method": "elicitation/create", "params": {"message": "?", "requestedSchema": FORM}},
        c={"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
    )
    assert isinstance(read, Round)
    assert [(each.key, each.method) for each in read.questions] == [
        ("a", "roots/list"),
        ("b", "elicitation/create"),
        ("c", "sampling/createMessage"),
    ]
    assert read.state is not None and plain(read.state) == "s"


def test_a_round_may_hold_only_a_state() -> None:
    read = legacy_front.read_round(opened({"requestState": "s"}), client(), {})
    assert isinstance(read, Round) and read.questions == [] and read.state is not None
    asks = opened({"inputRequests": {"k": {"method": "roots/list"}}})
    read = legacy_front.read_round(asks, client(roots={}), {})
    assert isinstance(read, Round) and read.state is None and len(read.questions) == 1


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({}, "neither"),
        ({"inputRequests": {}}, "neither"),
        ({"inputRequests": [], "requestState": "s"}, "no object"),
        ({"inputRequests": {}, "requestState": 7}, "no string"),
        ({"inputRequests": {"k": 7}, "requestState": "s"}, "no server may ask"),
        ({"inputRequests": {"k": {}}, "requestState": "s"}, "no server may ask"),
        ({"inputRequests": {"k": {"method": 1}}, "requestState": "s"}, "no server may ask"),
        ({"inputRequests": {"k": {"method": "tools/call"}}, "requestState": "s"}, "'tools/call'"),
        ({"inputRequests": {"k": {"method": "ping"}}, "requestState": "s"}, "'ping'"),
        ({"inputRequests": {"k": {"method": "roots/list", "params": []}}, "requestState": "s"}, "no parameters"),
    ],
)
def test_what_can_t_be_asked_is_said(result: Any, why: str) -> None:
    read = legacy_front.read_round(opened(result), client(**ALL), {})
    assert isinstance(read, str) and why in read


@pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage", "roots/list"])
def test_what_the_client_did_not_declare_is_not_asked(method: str) -> None:
    assert "did not declare" in refused(client(), method)
    others = {name: value for name, value in ALL.items() if name != legacy_front._NEEDS[method]}
    assert "did not declare" in refused(client(**others), method)


def test_one_that_can_t_be_asked_spoils_the_round() -> None:
    read = ask(client(roots={}), a={"method": "roots/list"}, b={"method": "elicitation/create"})
    assert isinstance(read, str)


def test_a_url_gets_an_id_where_the_client_s_revision_has_it() -> None:
    params = {"mode": "url", "message": "?", "url": "https://x"}
    read = ask(client(**ALL), k={"method": "elicitation/create", "params": params})
    assert isinstance(read, Round)
    assert read.questions[0].url_id == "id-k"
    assert plain(read.questions[0].params) == params | {"elicitationId": "id-k"}
    assert "URL" in refused(client(elicitation={}), "elicitation/create", **params)
    assert "URL" in refused(client(elicitation={"form": {}}), "elicitation/create", **params)
    for version in LEGACY[:-1]:
        assert "URL" in refused(client(version, **ALL), "elicitation/create", **params)


def test_a_form_is_for_clients_that_have_forms() -> None:
    form = {"message": "?", "requestedSchema": FORM}
    able: list[dict[str, Any]] = [{}, {"form": {}}, {"form": {}, "url": {}}]
    for declared in able:
        assert asked(client(elicitation=declared), "elicitation/create", **form) == form
    assert "form" in refused(client(elicitation={"url": {}}), "elicitation/create", **form)
    assert asked(client(**ALL), "elicitation/create", mode="form", **form) == form | {"mode": "form"}


def test_forms_before_2025_11_25() -> None:
    """No `mode`; titled choices are `enum` with `enumNames`; a choice of several can't be said."""
    titled = {"type": "string", "title": "T", "oneOf": [{"const": "r", "title": "Red"}, {"const": "g"}]}
    plain_choice = {"type": "string", "enum": ["a", "b"]}
    several = {"type": "array", "items": {"type": "string", "enum": ["a"]}}
    schema = {"type": "object", "properties": {"c": titled, "d": plain_choice}, "required": ["c"]}
    new = {"mode": "form", "message": "?", "requestedSchema": schema}
    older = {"type": "string", "title": "T", "enum": ["r", "g"], "enumNames": ["Red", "g"]}
    for version in LEGACY[:-1]:
        params = asked(client(version, elicitation={}), "elicitation/create", **new)
        assert params == {
            "message": "?",
            "requestedSchema": schema | {"properties": {"c": older, "d": plain_choice}},
        }
        many = {"type": "object", "properties": {"m": several}}
        why = refused(client(version, elicitation={}), "elicitation/create", message="?", requestedSchema=many)
        assert "'m'" in why and "several" in why
    assert asked(client(elicitation={}), "elicitation/create", **new) == new


@pytest.mark.parametrize("schema", [None, 7, {}, {"properties": 3}, {"properties": {"a": 1, "b": {"oneOf": 2}}}])
def test_odd_schemas_pass_before_2025_11_25(schema: Any) -> None:
    params = asked(client("2025-06-18", elicitation={}), "elicitation/create", message="?", requestedSchema=schema)
    assert params["requestedSchema"] == schema


def test_a_form_without_a_schema_gets_none() -> None:
    params = asked(client("2025-06-18", elicitation={}), "elicitation/create", message="?")
    assert params == {"message": "?"}


def test_one_block_per_message_before_2025_11_25() -> None:
    text, image = {"type": "text", "text": "a"}, {"type": "image", "data": "", "mimeType": "i"}
    messages = [{"role": "user", "content": [text, image]}, {"role": "assistant", "content": text}]
    single = [
        {"role": "user", "content": text},
        {"role": "user", "content": image},
        {"role": "assistant", "content": text},
    ]
    for version in LEGACY:
        params = asked(client(version, sampling={}), "sampling/createMessage", messages=messages, maxTokens=9)
        assert params == {"messages": messages if version == LEGACY[-1] else single, "maxTokens": 9}


@pytest.mark.parametrize("member", ["tools", "toolChoice"])
def test_sampling_with_tools_is_for_those_who_declared_it(member: str) -> None:
    params: dict[str, Any] = {"messages": [], "maxTokens": 1, member: []}
    assert asked(client(sampling={"tools": {}}), "sampling/createMessage", **params) == params
    assert "tools" in refused(client(sampling={}), "sampling/createMessage", **params)
    assert "tools" in refused(client("2025-06-18", sampling={"tools": {}}), "sampling/createMessage", **params)


def test_a_question_that_needs_no_change_passes_as_it_came() -> None:
    """Lossless: the spelling of numbers is the back's."""
    result = (
        b'{"resultType":"input_required","requestState":"s","inputRequests":{"k":{"method":"elicitation/create",'
        b'"params":{"message":"\\u0061","requestedSchema":{"type":"object","properties":{"n":{"maximum":1e400}}}}}}}'
    )
    members = open_object(result)
    assert members is not None
    read = legacy_front.read_round(members, client(elicitation={}), {})
    assert isinstance(read, Round)
    sent = encode(read.questions[0].params)
    assert b'"maximum":1e400' in sent and b'"\\u0061"' in sent
