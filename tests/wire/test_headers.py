"""Header values: the specification's own examples, and back again for every text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.wire.headers import decode_value, encode_value


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
