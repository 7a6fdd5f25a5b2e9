"""Whatever stands in a configuration, it works or is refused with a sentence; and what works, the schema takes."""

import copy
import json
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus.config.explain import explain
from isthmus.config.keys import RECORDS
from isthmus.config.load import Config, from_mapping
from isthmus.config.schema import schema
from isthmus.config.show import shown
from isthmus.errors import ConfigError
from isthmus.masking import MASK

FULL: Final[dict[str, Any]] = {
    "$schema": "x",
    "inputs": [{"id": "i", "type": "promptString", "default": "d"}],
    "isthmus": {
        "name": "n",
        "longest": 40,
        "isolation": "session",
        "limits": {"call": 3, "body": 9},
        "forward_headers": ["X-B"],
    },
    "mcpServers": {
        "a": {"command": "c", "args": ["x", "${input:i}"], "env": {"A": "${B:-c}"}, "cwd": "/", "timeout": 5000},
        "b": {
            "url": "https://h.test/p?token=x",
            "headers": {"Authorization": "Bearer ${T:-t}"},
            "transport": "sse",
            "isthmus": {
                "prefix": "p",
                "tools": {
                    "allow": ["*"],
                    "deny": ["d"],
                    "items": {
                        "t": {"rename": "u", "arguments": {"x": {"fixed": {"y": "${Z:-z}"}}, "h": {"hidden": True}}}
                    },
                },
                "resources": {"items": {"data://x": {"description": "d"}}},
                "ttl": 1,
                "forward_headers": ["X-A"],
            },
        },
        "off": {"command": "${NOWHERE}", "disabled": True},
    },
}  # fmt: skip
KEYS: Final = sorted({key for record in RECORDS for key in record.keys})
TEXTS: Final = (
    st.sampled_from([*KEYS, "http://x", "unix:/x#/y", "${A}", "${A:-b}", "a_b", "", "*", "\0", "sse"]) | st.text()
)
LEAVES: Final = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES: Final = st.recursive(
    LEAVES, lambda inside: st.lists(inside, max_size=3) | st.dictionaries(TEXTS, inside, max_size=3)
)
VALIDATOR: Final = jsonschema.Draft7Validator(schema())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside another."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inside for place in places(each, (*path, key)))]


PLACES: Final = places(FULL)[1:]


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """The full configuration with a few values replaced, added under a key, or taken out."""
    value = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(PLACES))
        holder: Any = value
        try:
            for key in path:
                holder = holder[key]
            match draw(st.integers(0, 2)):
                case 0:
                    holder[last] = draw(VALUES)
                case 1:
                    del holder[last]
                case _:
                    holder[draw(TEXTS)] = draw(VALUES)
        except (KeyError, IndexError, TypeError):
            continue
    return value


def work(value: Any) -> Config | None:
    try:
        return from_mapping(value, environ={"A": "a"})
    except ConfigError as error:
        assert str(error)
        return None


def assert_again(found: Config) -> None:
    """What is shown can be read, once there are URLs and files again in place of secret ones, and is the same."""
    again = json.loads(json.dumps(shown(found)))
    for server in again["mcpServers"].values():
        server.pop("envFile", None)
        if server.get("url") == MASK:
            server["url"] = "http://x"
    text = json.dumps(again).replace("${", "$${")
    same = from_mapping(json.loads(text), environ={})
    assert [(spec.name, spec.face.prefix, spec.ttl, spec.settings.limits) for spec in same.specs] == [
        (spec.name, spec.face.prefix, spec.ttl, spec.settings.limits) for spec in found.specs
    ]


@given(st.dictionaries(TEXTS, VALUES) | VALUES | changed())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_it_works_or_is_refused(value: Any) -> None:
    found = work(value)
    if found is None:
        return
    VALIDATOR.validate(json.loads(json.dumps(value)))
    for name in ("p_u", "data://p/x", "https://x", "nothing"):
        assert explain(found, name)[1]
    assert_again(found)


def test_the_full_one_works() -> None:
    found = work(FULL)
    assert found is not None
    VALIDATOR.validate(FULL)
    assert from_mapping(shown(found), environ={}).specs[1].face == found.specs[1].face or MASK in json.dumps(
        shown(found)
    )


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(schema())


@pytest.mark.parametrize(
    "wrong",
    [
        {"mcpServer": {}},
        {"mcpServers": {"a": {"comand": "x"}}},
        {"mcpServers": {"a": {}}},
        {"mcpServers": {"a": {"command": ""}}},
        {"mcpServers": {"a": {"command": "x", "timeout": 60}}},
        {"mcpServers": {"a": {"command": "x", "isthmus": {"warm": 1.5}}}},
        {"mcpServers": {"a": {"command": "x", "isthmus": {"isolation": "none"}}}},
    ],
)
def test_the_schema_refuses_what_is_refused(wrong: Any) -> None:
    assert not VALIDATOR.is_valid(wrong)
