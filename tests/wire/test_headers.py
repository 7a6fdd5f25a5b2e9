"""Header values: the specification's own examples, and back again for every text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.limits import ROUTE_LONGEST
from isthmus.wire import headers
from isthmus.wire.headers import decode_value, encode_value, mirrored_lines


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("", ""),
    ],
)
def test_examples(value: str, header: str) -> None:
    """2026-07-28 basic/transports/streamable-http, *Value Encoding*."""
    assert encode_value(value) == header
    assert decode_value(header) == value


@given(st.text())
def test_every_text_comes_back(value: str) -> None:
    assert decode_value(encode_value(value)) == value


@pytest.mark.parametrize(
    "header", ["=?base64?ZWNobw=?=", "=?base64?%%%?=", "=?base64?/w==?=", "é", "a\x01", " a", "=?base64?ZWNobx==x?="]
)
def test_bad_values(header: str) -> None:
    assert decode_value(header) is None


@given(st.text(), st.none() | st.text())
def test_no_text_of_a_client_begins_another_line(method: str, name: str | None) -> None:
    lines = mirrored_lines("2026-07-28", method, name).decode("ascii").split("\r\n")
    said = dict(line.split(": ", 1) for line in lines[:-1])
    assert lines[-1] == "" and len(lines) == (3 if name is None else 4)
    assert said["MCP-Protocol-Version"] == "2026-07-28" and decode_value(said["Mcp-Method"]) == method
    assert name is None or decode_value(said["Mcp-Name"]) == name


@pytest.mark.parametrize("lengths", [(ROUTE_LONGEST + 1, 1), (1, ROUTE_LONGEST + 1)])
def test_lines_that_are_long_are_not_remembered(lengths: tuple[int, int]) -> None:
    method, name = ("x" * length for length in lengths)
    before = headers._write_lines.cache_info().currsize
    lines = mirrored_lines("2026-07-28", method, name)
    assert lines.endswith(f"Mcp-Method: {method}\r\nMcp-Name: {name}\r\n".encode())
    assert headers._write_lines.cache_info().currsize == before
