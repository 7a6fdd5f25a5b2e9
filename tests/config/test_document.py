"""The reader: what it takes beyond JSON, where values stand, and a sentence for all that it does not take."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config.document import Node, of_mapping, parse
from isthmus.errors import ConfigError
from isthmus.limits import CONFIG_BYTES, CONFIG_DEPTH

DEEP = CONFIG_DEPTH + 2


def test_values_know_their_lines() -> None:
    node = parse(b'\xef\xbb\xbf{ // one\n  "a": [\n    1, /* two\n */ "x",\n  ],\r\n  "b":\n null,}\n', "f.json")
    assert node.plain() == {"a": [1, "x"], "b": None}
    a, b = node.value["a"], node.value["b"]
    assert (a.at, a.key_at, b.key_at, b.at) == ("f.json:2", "f.json:2", "f.json:6", "f.json:7")
    assert [each.at for each in a.value] == ["f.json:3", "f.json:4"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(-1e300, 1e300)
    | st.text(st.characters(codec="utf-8")),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(st.characters(codec="utf-8")), inside),
    max_leaves=20,
)


def typed(value: Any) -> Any:
    """The value so that 1, 1.0 and true differ."""
    if isinstance(value, dict):
        return {key: typed(each) for key, each in value.items()}
    return [typed(each) for each in value] if isinstance(value, list) else (type(value), value)


@given(JSON, st.booleans(), st.sampled_from([None, 0, 2]))
def test_json_is_read_as_json_is(value: Any, is_ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    assert typed(parse(text.encode(), "f").plain()) == typed(json.loads(text))
    assert typed(of_mapping(value).plain()) == typed(json.loads(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1: A value was expected here, and there is the end of the file; strings need double quotes."),
        ("{", "1: A key in double quotes or '}' was expected here, and there is the end of the file."),
        ("{'a': 1}", "1: A key in double quotes or '}' was expected here, and there is \"'\"."),
        ("{a: 1}", "1: A key in double quotes or '}' was expected here, and there is 'a'."),
        ('{"a" 1}', "1: A ':' was expected behind the key 'a', and there is '1'."),
        ('{"a": 1\n "b": 2}', "2: A ',' or '}' was expected here, and there is '\"'."),
        ("[1\n\n2]", "3: A ',' or ']' was expected here, and there is '2'."),
        ("[,]", "1: A value was expected here, and there is ','; strings need double quotes."),
        ("[hello]", "1: A value was expected here, and there is 'hello'; strings need double quotes."),
        ("[NaN]", "1: A value was expected here, and there is 'NaN'; strings need double quotes."),
        ("[01]", "1: A value was expected here, and there is '01'; strings need double quotes."),
        ("[1e999]", "1: The number 1e999 is too large."),
        ("{} {}", "1: The end of the file was expected here, and there is '{'."),
        ("{}\n/* no end", "2: The comment that begins here has no end; write */ behind it."),
        ('{"a": 1,\n"b": 2,\n"a": 3}', "3: The key 'a' is there twice, first at f:1; rename or remove one of them."),
        ('["a]', "1: The string that begins here has no end on its line."),
        ('["a\nb"]', "1: In the string here is something that JSON can't have: Invalid control character at."),
        ('["\\x"]', "1: In the string here is something that JSON can't have: Invalid \\escape."),
        ('["\\ud800"]', "1: The string here has half of a surrogate pair; write both or none."),
        ("[" * 500, f"1: It nests deeper than {CONFIG_DEPTH} levels."),
        ("[" * DEEP + "]" * DEEP, f"1: It nests deeper than {CONFIG_DEPTH} levels."),
    ],
)
def test_what_is_no_document(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "f")
    assert str(caught.value).startswith(f"f:{why.rstrip('.')}")


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigError, match=r"^f:2: The file is not UTF-8 here\. Save it as UTF-8\.$"):
        parse(b'{\n"\xff": 1}', "f")
    with pytest.raises(ConfigError, match=r"^f:1: The file has .* at most 4,194,304\.$"):
        parse(b" " * (CONFIG_BYTES + 1), "f")


@given(st.text() | st.text('{}[]",:/*\\u0d8 \n1e-.tfn'))
def test_any_text_is_a_document_or_a_sentence(text: str) -> None:
    try:
        node = parse(text.encode(errors="replace"), "f")
    except ConfigError as error:
        assert str(error).startswith("f:")
    else:
        assert isinstance(node, Node)


@given(st.binary())
def test_any_bytes_are_a_document_or_a_sentence(raw: bytes) -> None:
    try:
        parse(raw, "f")
    except ConfigError as error:
        assert str(error).startswith("f:")


def test_places_in_a_mapping_are_paths() -> None:
    node = of_mapping({"mcpServers": {"a b": {"args": ("x", 1)}}})
    args = node.value["mcpServers"].value["a b"].value["args"]
    assert args.at == 'mcpServers["a b"].args'
    assert args.value[1].at == 'mcpServers["a b"].args[1]'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({1: 2}, "the configuration: The key 1 is no string. Write it as one."),
        ({"a": {"b": object()}}, "a.b: A object has no place in a configuration. Write it as a string."),
        ({"a": math.inf}, "a: inf is no number that JSON has."),
    ],
)
def test_mappings_that_are_none(value: Any, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of_mapping(value)
    assert str(caught.value) == why


def test_a_mapping_that_holds_itself() -> None:
    value: dict[str, Any] = {}
    value["a"] = value
    with pytest.raises(ConfigError, match="nests deeper"):
        of_mapping(value)
