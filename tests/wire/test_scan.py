"""The slow scanner agrees with the standard library on what is JSON, and with msgspec on members."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.wire.scan import ScanError, names_are_plain, scan_items, scan_members
from tests.property.json_text import OBJECTS


@settings(max_examples=300, deadline=None)
@given(text=OBJECTS)
def test_it_reads_every_object(text: str) -> None:
    members = scan_members(text.encode())
    expected = json.loads(text)
    assert {name: json.loads(bytes(value)) for name, value in members.items()} == expected


@settings(max_examples=500, deadline=None)
@given(text=OBJECTS, at=st.integers(0, 200), piece=st.sampled_from(list('{}[],:"0-.eE+tfn\\ \x01a')))
def test_it_refuses_what_the_standard_library_refuses(text: str, at: int, piece: str) -> None:
    at = min(at, len(text))
    broken = (text[:at] + piece + text[at:]).encode()
    try:
        value = json.loads(broken, parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        value = None
    if isinstance(value, dict):
        scan_members(broken)
    else:
        with pytest.raises(ScanError):
            scan_members(broken)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"a"}', b'{"a":1', b'{"a":1,}', b'{"a":01}', b'{"a":1}x', b"{,}", b'{"a":1 2}']
)
def test_refusals(text: bytes) -> None:
    with pytest.raises(ScanError):
        scan_members(text)


def test_plain_names() -> None:
    members = scan_members(b'{ "a" : 1 , "b":"\\\\" }')
    assert names_are_plain(b'{ "a" : 1 , "b":"\\\\" }', members)
    assert not names_are_plain(b'{"\\u0061":1}', scan_members(b'{"\\u0061":1}'))
    assert not names_are_plain(b'{"a":2,"a":1}', scan_members(b'{"a":2,"a":1}'))
    assert names_are_plain(b"{}", scan_members(b"{}"))


def test_items_as_they_are_spelled() -> None:
    assert scan_items(b' [ 1.0 ,{"a":"\\ud800", "a":2} ,[] ] ') == [b"1.0", b'{"a":"\\ud800", "a":2}', b"[]"]
    assert scan_items(b"[]") == []
    for text in (b"{}", b"[1,]", b"[1] 2", b"[1", b""):
        with pytest.raises(ScanError):
            scan_items(text)
