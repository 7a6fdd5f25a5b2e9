"""The official models under both names; structured content as Python's objects."""

import copy
import dataclasses
import datetime
import pickle
from typing import Any

import pytest
from mcp import types
from pydantic import BaseModel, ValidationError

from isthmus.client.results import readable
from isthmus.client.shapes import parse, python_name, to_json, type_of

TOOL = {"name": "a", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


def listed() -> Any:
    return readable(types.ListToolsResult.model_validate({"tools": [TOOL], "nextCursor": "2"}))


def test_both_names_all_the_way_down() -> None:
    result = listed()
    assert result.nextCursor == result.next_cursor == "2"
    assert result.tools[0].inputSchema is result.tools[0].input_schema
    assert result.tools[0].annotations.readOnlyHint is True
    assert result.root is result
    with pytest.raises(AttributeError, match="outputShema"):
        _ = result.tools[0].outputShema


def test_it_stays_the_official_model() -> None:
    result = listed()
    official = types.ListToolsResult.model_validate({"tools": [TOOL], "nextCursor": "2"})
    assert isinstance(result, types.ListToolsResult)
    assert isinstance(result.tools[0], types.Tool)
    assert result == official
    assert official == result
    assert result != listed().model_copy(update={"next_cursor": "3"})
    assert repr(result) == repr(official)
    assert result.model_dump_json(by_alias=True) == official.model_dump_json(by_alias=True)
    assert types.ListToolsResult(tools=result.tools).tools[0] == official.tools[0]
    assert readable(result) is result


def test_copies_keep_both_names() -> None:
    for other in (copy.deepcopy(listed()), pickle.loads(pickle.dumps(listed())), listed().model_copy()):
        assert other == listed()
        assert other.tools[0].inputSchema == {"type": "object"}


def test_json_in_a_model_is_left_alone() -> None:
    schema = {"inputSchema": {"input_schema": 1}}
    tool: Any = readable(types.Tool(name="a", input_schema=schema))
    assert tool.inputSchema is tool.input_schema
    assert tool.inputSchema == schema


@pytest.mark.parametrize(
    "name",
    [name for name in dir(types) if name.endswith(("Result", "Params", "Content", "Tool", "Prompt", "Resource"))],
)
def test_every_official_model_can_have_both(name: str) -> None:
    kind = getattr(types, name)
    if not isinstance(kind, type) or not issubclass(kind, BaseModel):
        return
    model: Any = readable(kind.model_construct())
    for field, info in kind.model_fields.items():
        if info.alias and not info.is_required():
            assert getattr(model, info.alias) == getattr(model, field)


PERSON = {
    "type": "object",
    "title": "Person",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "first-seen": {"type": "string", "format": "date-time"},
        "friends": {"type": "array", "items": {"$ref": "#"}},
        "size": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Size"}]},
        "kind": {"enum": ["a", "b"], "default": "a"},
    },
    "required": ["name"],
    "$defs": {"Size": {"type": "object", "properties": {"cm": {"type": "number", "maximum": 300}}, "required": ["cm"]}},
}


def test_objects_are_dataclasses() -> None:
    value = {"name": "Ada", "first-seen": "2025-01-02T03:04:05Z", "friends": [{"name": "Bea"}], "size": {"cm": 170}}
    ada = parse(PERSON, value)
    assert dataclasses.is_dataclass(type(ada))
    assert type(ada).__name__ == "Person"
    assert type(ada) is type_of(PERSON)
    assert ada.first_seen == datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert (ada.friends[0].name, ada.friends[0].kind, ada.friends[0].size) == ("Bea", "a", None)
    assert ada.size.cm == 170
    assert to_json(ada) == {**value, "kind": "a", "friends": [{"name": "Bea", "kind": "a"}]}
    assert to_json(type_of(PERSON)(name="Ada")) == {"name": "Ada", "kind": "a"}


@pytest.mark.parametrize("wrong", [{}, {"name": ""}, {"name": "x", "kind": "c"}, {"name": "x", "size": {"cm": 301}}])
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(PERSON, wrong)


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({}, {"a": [1]}, {"a": [1]}),
        ({"type": "integer"}, 3, 3),
        ({"type": ["integer", "null"]}, None, None),
        ({"const": "x"}, "x", "x"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ["a", "b"], {"a", "b"}),
        ({"type": "object"}, {"a": 1}, {"a": 1}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": 1}),
        ({"$ref": "#/nowhere"}, 1, 1),
        ({"enum": [1.5, {}]}, {}, {}),
        ({"oneOf": [{"type": "string"}, {"type": "boolean"}]}, True, True),
    ],
)
def test_other_values(schema: dict[str, Any], value: Any, expected: Any) -> None:
    assert parse(schema, value) == expected


def test_objects_with_other_members_keep_them() -> None:
    schema = {"type": "object", "properties": {"a-b": {"type": "integer"}}, "additionalProperties": True}
    got = parse(schema, {"a-b": 1, "c": 2})
    assert (got.a_b, got.c) == (1, 2)


def test_types_that_hold_one_another_end_somewhere() -> None:
    schema = {
        "$ref": "#/$defs/A",
        "$defs": {
            "A": {"type": "object", "title": "A", "properties": {"b": {"$ref": "#/$defs/B"}}},
            "B": {"type": "object", "title": "B", "properties": {"a": {"$ref": "#/$defs/A"}}},
        },
    }
    assert parse(schema, {"b": {"a": {"b": None}}}).b.a == {"b": None}


@pytest.mark.parametrize(
    ("text", "name"), [("a-b", "a_b"), ("1st", "field_1st"), ("a__", "a_"), ("a b ", "a_b"), ("", "field")]
)
def test_names_become_identifiers(text: str, name: str) -> None:
    assert python_name(text) == name
