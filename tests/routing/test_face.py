"""How one server's things look to clients, and how they are named to it."""

import json
from typing import Any

import pytest
from msgspec import Raw

from isthmus.errors import FrontFault
from isthmus.routing.choice import Choice, Edit, Part
from isthmus.routing.face import Face, thing_of
from isthmus.wire.codec import encode, open_object
from isthmus.wire.envelope import Members

_FACE = Face("w")
_TOOL = {
    "name": "get",
    "description": "Gets.",
    "inputSchema": {
        "type": "object",
        "properties": {"day": {"type": "string"}, "unit": {"type": "string"}, "key": {"type": "string"}},
        "required": ["day", "key"],
    },
}


def opened(value: Any) -> Members:
    members = open_object(encode(value))
    assert members is not None
    return members


def edited(edit: Edit, own: str = "get") -> Face:
    return Face("w", Choice(tools=Part(edits=((own, edit),))))


def seen(face: Face, kind: str, item: Any) -> Any:
    found = face.item(kind, encode(item))
    return json.loads(found[1]) if found is not None else None


def answered(method: str, result: Any, face: Face = _FACE) -> Any:
    return json.loads(face.answer(method, encode({"jsonrpc": "2.0", "id": 1, "result": result})))["result"]


def test_things_of_every_kind_get_the_prefix() -> None:
    assert _FACE.shown("tools", "get") == _FACE.shown("prompts", "get") == "w_get"
    assert _FACE.shown("resources", "a://b") == "a://w/b"
    assert _FACE.shown("resourceTemplates", "a://{b}") == "a://w/{b}"
    assert _FACE.own("tools", "get") == "get"


@pytest.mark.parametrize(
    ("kind", "item", "shown", "expected"),
    [
        ("tools", {"name": "a", "title": "A"}, "w_a", {"name": "w_a", "title": "A"}),
        ("prompts", {"arguments": [], "name": "a"}, "w_a", {"arguments": [], "name": "w_a"}),
        ("resources", {"uri": "d://x", "name": "X"}, "d://w/x", {"uri": "d://w/x", "name": "w_X"}),
        ("resources", {"uri": "https://x", "name": "X"}, "https://x", {"uri": "https://x", "name": "w_X"}),
        (
            "resourceTemplates",
            {"uriTemplate": "d://{x}", "name": "X" * 70},
            "d://w/{x}",
            {"uriTemplate": "d://w/{x}", "name": "w_" + "X" * 70},
        ),
        (
            "tools",
            {"name": "a", "_meta": {"ui": {"resourceUri": "ui://x", "more": 1}, "ui/resourceUri": "ui://y"}},
            "w_a",
            {"name": "w_a", "_meta": {"ui": {"resourceUri": "ui://w/x", "more": 1}, "ui/resourceUri": "ui://w/y"}},
        ),
    ],
)
def test_item_is_named_as_clients_know_it(kind: str, item: Any, shown: str, expected: Any) -> None:
    found = _FACE.item(kind, encode(item))
    assert found is not None
    assert (found[0], json.loads(found[1])) == (shown, expected)
    assert list(json.loads(found[1])) == list(item)


def test_item_that_is_none_is_left_out() -> None:
    for text in (b"1", b"{}", b'{"name":1}', b'{"uri":"a://b"}', b"nonsense"):
        assert _FACE.item("tools", text) is None
        assert _FACE.refusal("tools", text) is None


def test_plain_face_changes_nothing() -> None:
    face = Face("")
    assert face.is_plain
    assert (face.prefix, face == Face(None, Choice()), face == _FACE) == (None, True, False)
    text = b'{ "name" : "a", "_meta":{"ui":{"resourceUri":"ui://x"}} }'
    found = face.item("tools", text)
    assert found == ("a", text)
    assert found is not None
    assert found[1] is text
    answer = b'{"jsonrpc":"2.0","id":1,"result":{"contents":[{"uri":"a://b"}]}}'
    assert face.answer("resources/read", answer) is answer
    assert face.notification(answer) is answer


def test_renamed_tool_is_known_by_its_new_name_alone() -> None:
    face = Face("w", Choice(tools=Part(edits=(("get", Edit(rename="fetch", description="New.")),))))
    assert face.shown("tools", "get") == "w_fetch"
    assert (face.own("tools", "fetch"), face.own("tools", "get"), face.own("tools", "other")) == ("get", None, "other")
    assert seen(face, "tools", {"name": "get"}) == {"name": "w_fetch", "description": "New."}
    assert not face.is_plain


def test_renamed_tool_goes_before_one_that_has_the_name_already() -> None:
    face = edited(Edit(rename="fetch"))
    assert face.shown("tools", "fetch") is None
    assert face.item("tools", b'{"name":"fetch"}') is None
    why = "The tool 'fetch' is left out: 'get' was renamed to that. Rename it too, or deny it."
    assert face.refusal("tools", b'{"name":"fetch"}') == why
    prompts = Face("w", Choice(prompts=Part(edits=(("a", Edit(rename="b")),))))
    assert str(prompts.refusal("prompts", b'{"name":"b"}')).startswith("The prompt 'b' is left out: 'a' was")
    swapped = Face(None, Choice(tools=Part(edits=(("a", Edit(rename="b")), ("b", Edit(rename="a"))))))
    assert [swapped.shown("tools", own) for own in "ab"] == ["b", "a"]
    assert [swapped.own("tools", shown) for shown in "ab"] == ["b", "a"]


def test_denied_things_are_neither_shown_nor_found() -> None:
    choice = Choice(tools=Part(allow=("get*",), deny=("get_all",)), resources=Part(allow=("db://{id}",)))
    face = Face("w", choice)
    assert [face.own("tools", name) for name in ("get", "get_all", "set")] == ["get", None, None]
    assert face.item("tools", b'{"name":"set"}') is None
    assert face.refusal("tools", b'{"name":"set"}') is None
    assert face.own("resources", "db://5") == "db://5"
    assert face.own("resources", "db://5/secret") is None
    assert face.shown("resourceTemplates", "db://{id}") == "db://w/{id}"
    assert face.own("prompts", "any") == "any"


def test_resource_is_renamed_without_its_uri() -> None:
    face = Face(None, Choice(resources=Part(edits=(("d://x", Edit(rename="Ex", description="D")),))))
    assert seen(face, "resources", {"uri": "d://x", "name": "X"}) == {"uri": "d://x", "name": "Ex", "description": "D"}
    assert face.own("resources", "d://x") == "d://x"
    text = b'{"uri":"d://y","name":"Y"}'
    found = face.item("resources", text)
    assert found is not None
    assert found[1] is text


def test_hidden_and_fixed_arguments_leave_the_schema_and_the_calls() -> None:
    face = edited(Edit(hidden=("unit",), fixed=(("key", b'"s3"'),)))
    schema = seen(face, "tools", _TOOL)["inputSchema"]
    assert schema == {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
    bare = Face(None, face.choice)
    assert seen(bare, "tools", _TOOL)["inputSchema"] == schema
    params = opened({"name": "w_get", "arguments": {"unit": "K", "day": "x", "key": "mine"}, "other": 1})
    face.call("get", params)
    assert json.loads(encode(params)) == {"name": "get", "arguments": {"day": "x", "key": "s3"}, "other": 1}


def test_call_without_arguments_gets_those_that_are_fixed() -> None:
    face = edited(Edit(hidden=("unit",), fixed=(("key", b"1.0"),)))
    given: dict[str, Any]
    for given in ({}, {"arguments": None}, {"arguments": {}}):
        params = opened({"name": "w_get", **given})
        face.call("get", params)
        assert encode(params) == b'{"name":"get","arguments":{"key":1.0}}'
    params = opened({"name": "w_other"})
    face.call("other", params)
    assert encode(params) == b'{"name":"other"}'
    params = opened({"name": "w_get"})
    edited(Edit(hidden=("unit",))).call("get", params)
    assert encode(params) == b'{"name":"get"}'


@pytest.mark.parametrize("arguments", [1, "x", [["unit", 1]], [], True])
def test_arguments_that_are_no_object_are_refused_where_some_are_fixed_or_hidden(arguments: Any) -> None:
    for edit in (Edit(hidden=("unit",)), Edit(fixed=(("key", b"1"),))):
        with pytest.raises(FrontFault, match=r"'w_get'.* object") as refused:
            edited(edit).call("get", opened({"name": "w_get", "arguments": arguments}))
        assert refused.value.code == -32602
    params = opened({"name": "w_other", "arguments": arguments})
    edited(Edit(hidden=("unit",))).call("other", params)
    assert json.loads(encode(params)) == {"name": "other", "arguments": arguments}


def test_tool_whose_required_argument_is_hidden_is_left_out_and_says_why() -> None:
    face = edited(Edit(hidden=("key", "unit")))
    assert face.item("tools", encode(_TOOL)) is None
    assert str(face.refusal("tools", encode(_TOOL))).startswith(
        "The tool 'get' is left out: it requires the argument 'key'"
    )
    assert edited(Edit(hidden=("unit",))).refusal("tools", encode(_TOOL)) is None
    assert edited(Edit(hidden=("key",), fixed=(("key", b"1"),))).refusal("tools", encode(_TOOL)) is None


@pytest.mark.parametrize(
    "schema", [None, 1, {"properties": 1, "required": {}}, {"required": [1, None]}, {"properties": {}}, []]
)
def test_schema_that_is_none_has_nothing_to_hide(schema: Any) -> None:
    tool = {"name": "get", "inputSchema": schema}
    assert seen(edited(Edit(hidden=("x",), fixed=(("y", b"1"),))), "tools", tool) == tool | {"name": "w_get"}


_LINK = {"type": "resource_link", "name": "x", "uri": "a://b"}
_EMBEDDED = {"type": "resource", "resource": {"uri": "a://c", "text": '"uri":"a://b"'}}
_OTHER = {"type": "text", "text": "a://b", "uri": "a://b", "resource": {"uri": "a://b"}}
_LINK_SHOWN = _LINK | {"uri": "a://w/b"}
_EMBEDDED_SHOWN = {"type": "resource", "resource": {"uri": "a://w/c", "text": '"uri":"a://b"'}}


@pytest.mark.parametrize(
    ("method", "result", "expected"),
    [
        (
            "tools/call",
            {"content": [_OTHER, _LINK, 1, _EMBEDDED], "structuredContent": {"uri": "a://b"}},
            {"content": [_OTHER, _LINK_SHOWN, 1, _EMBEDDED_SHOWN], "structuredContent": {"uri": "a://b"}},
        ),
        (
            "prompts/get",
            {"messages": [{"role": "user", "content": _LINK}, {"role": "user", "content": [_EMBEDDED, _OTHER]}]},
            {
                "messages": [
                    {"role": "user", "content": _LINK_SHOWN},
                    {"role": "user", "content": [_EMBEDDED_SHOWN, _OTHER]},
                ]
            },
        ),
        (
            "resources/read",
            {"contents": [{"uri": "a://b", "text": ""}, {"uri": "https://b", "blob": ""}]},
            {"contents": [{"uri": "a://w/b", "text": ""}, {"uri": "https://b", "blob": ""}]},
        ),
        ("completion/complete", {"completion": {"values": ["a://b"]}}, {"completion": {"values": ["a://b"]}}),
        ("own/method", {"content": [_LINK]}, {"content": [_LINK]}),
        ("tools/call", {"content": _LINK}, {"content": _LINK}),
        ("tools/call", 7, 7),
    ],
)
def test_uris_in_answers_are_those_that_clients_know(method: str, result: Any, expected: Any) -> None:
    assert answered(method, result) == expected


@pytest.mark.parametrize("name", [b'"uri"', b'"\\u0075ri"', b'"u\\u0072\\u0069"', b'"uri" '])
def test_uri_is_found_however_its_name_is_spelled(name: bytes) -> None:
    message = b'{"jsonrpc":"2.0","id":1,"result":{"contents":[{' + name + b':"a:\\/\\/b"}]}}'
    written = message.replace(b'"a:\\/\\/b"', b'"a://w/b"')
    assert _FACE.answer("resources/read", message).replace(b" ", b"") == written.replace(b" ", b"")


def test_uri_of_an_error_is_the_one_that_was_asked_for() -> None:
    error = {"code": -32602, "message": "None.", "data": {"uri": "a://b", "more": 1}}
    message = encode({"jsonrpc": "2.0", "id": 1, "error": error})
    assert json.loads(_FACE.answer("resources/read", message))["error"]["data"] == {"uri": "a://w/b", "more": 1}


def test_uri_with_a_lone_surrogate_is_edited_too() -> None:
    message = b'{"jsonrpc":"2.0","id":1,"result":{"contents":[{"uri":"a://\\ud800"}]}}'
    assert _FACE.answer("resources/read", message) == message.replace(b"a://", b"a://w/")


@pytest.mark.parametrize(
    "message",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a \\u00e9 \\"uri\\" \\n"}]}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"resource_link","uri":"https://x"}]}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"resource","resource":{"uri":5}}],"uri":"a://b"}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":"uri"}}',
        b'[{"uri":1}]',
    ],
)
def test_answer_with_nothing_to_edit_is_the_very_bytes_that_came(message: bytes) -> None:
    assert _FACE.answer("tools/call", message) is message


def test_notification_names_an_updated_resource_as_its_clients_do() -> None:
    updated = b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a://b","_meta":{}}}'
    assert _FACE.notification(updated) == updated.replace(b"a://b", b"a://w/b")
    escaped = updated.replace(b"/updated", b"\\/updat\\u0065d")
    assert _FACE.notification(escaped) == escaped.replace(b"a://b", b"a://w/b")
    acknowledged = (
        b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged",'
        b'"params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a://b",1,"a://c"]}}}'
    )
    assert _FACE.notification(acknowledged) == acknowledged.replace(b"a://", b"a://w/")


@pytest.mark.parametrize(
    "message",
    [
        b'{"jsonrpc":"2.0","method":"notifications/message","params":{"uri":"a://b","data":"\\n /updated"}}',
        b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"mailto:a"}}',
        b'{"jsonrpc":"2.0","method":"notifications/resources/updated"}',
        b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{}}}',
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}',
    ],
)
def test_other_notifications_are_the_very_bytes_that_came(message: bytes) -> None:
    assert _FACE.notification(message) is message


@pytest.mark.parametrize(
    ("method", "params", "thing", "own", "sent"),
    [
        ("tools/call", {"name": "w_a"}, ("tools", "w_a"), "a", {"name": "a"}),
        ("prompts/get", {"name": "w_a", "x": 1}, ("prompts", "w_a"), "a", {"name": "a", "x": 1}),
        ("resources/read", {"uri": "a://w/b"}, ("resources", "a://w/b"), "a://b", {"uri": "a://b"}),
        ("resources/unsubscribe", {"uri": "a://w/b"}, ("resources", "a://w/b"), "a://b", {"uri": "a://b"}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "w_a", "title": "A"}},
            ("prompts", "w_a"),
            "a",
            {"ref": {"type": "ref/prompt", "name": "a", "title": "A"}},
        ),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "a://w/{b}"}},
            ("resourceTemplates", "a://w/{b}"),
            "a://{b}",
            {"ref": {"type": "ref/resource", "uri": "a://{b}"}},
        ),
        ("completion/complete", {"ref": 1}, None, "a", {"ref": 1}),
        ("tools/list", {"name": "a"}, None, "b", {"name": "a"}),
        ("tools/call", {"name": 1}, None, "a", {"name": "a"}),
    ],
)
def test_requests_name_things_as_their_server_does(
    method: str, params: Any, thing: tuple[str, str] | None, own: str, sent: Any
) -> None:
    members = opened(params)
    assert thing_of(method, members) == thing
    _FACE.put(method, own, members)
    assert json.loads(encode(members)) == sent


def test_name_with_a_lone_surrogate_reaches_its_server() -> None:
    params: Members = {"name": Raw(b'"w_\\ud800"')}
    assert thing_of("tools/call", params) == ("tools", "w_\ud800")
    _FACE.call("\ud800", params)
    assert params["name"] == Raw(b'"\\ud800"')
