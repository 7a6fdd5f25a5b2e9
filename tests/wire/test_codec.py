"""Parsing one message: what is an envelope, what is malformed and how that is answered."""

import json

import pytest

from isthmus.wire.codec import close_object, decode, identify, one_line, open_object, parse, string
from isthmus.wire.envelope import Batch, Envelope, Kind, Malformed, error_message

CALL = b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":1}}'


def parsed(text: bytes) -> Envelope:
    message = parse(text)
    assert isinstance(message, Envelope), message
    return message


@pytest.mark.parametrize(
    ("text", "kind", "method", "id", "key"),
    [
        (CALL, Kind.REQUEST, "m", b"7", 7),
        (b'{"jsonrpc":"2.0","method":"m"}', Kind.NOTIFICATION, "m", None, None),
        (b'{"jsonrpc":"2.0","id":"x","result":{}}', Kind.ANSWER, "", b'"x"', "x"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}', Kind.ANSWER, "", b"null", None),
        (b'{"jsonrpc":"2.0","error":{"code":1,"message":""}}', Kind.ANSWER, "", None, None),
        (b'{"jsonrpc":"2.0","id":1.0,"method":"m"}', Kind.REQUEST, "m", b"1.0", 1),
        (b'{"jsonrpc":"2.0","id":1e2,"method":"m","params":null}', Kind.REQUEST, "m", b"1e2", 100),
        (b'{"jsonrpc":"2.0","id":"\\ud800","method":"m\\u0061"}', Kind.REQUEST, "ma", b'"\\ud800"', "\ud800"),
        (b'\r\n {"jsonrpc":"2\\u002e0","id":1,"method":"tools\\/call"} \n', Kind.REQUEST, "tools/call", b"1", 1),
    ],
)
def test_envelopes(text: bytes, kind: Kind, method: str, id: bytes | None, key: object) -> None:
    message = parsed(text)
    assert (message.kind, message.method, message.id, message.key) == (kind, method, id, key)


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        (b"{not json", -32700, None),
        (b"", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m"} {}', -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":NaN}}', -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\x00"}}', -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}", -32700, None),
        (b"42", -32600, None),
        (b'"x"', -32600, None),
        (b"null", -32600, None),
        (b'{"jsonrpc":"1.0","id":1,"method":"m"}', -32600, b"1"),
        (b'{"id":"q","method":"m"}', -32600, b'"q"'),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":null,"method":"m"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"m"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":{},"method":"m"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', -32600, b"1"),
    ],
)
def test_malformed(text: bytes, code: int, id: bytes | None) -> None:
    message = parse(text)
    assert isinstance(message, Malformed)
    assert (message.code, message.id) == (code, id)
    assert message.why.endswith(".")


def test_an_array_is_a_batch_whatever_is_in_it() -> None:
    for text, count in ((b"[]", 0), (b"[1, " + CALL + b"]", 2)):
        message = parse(text)
        assert isinstance(message, Batch)
        assert len(message.items) == count


def test_nesting_up_to_the_named_limit_passes_where_msgspec_refuses() -> None:
    deep = b'{"a":"\\ud800","b":' + b"[" * 511 + b"]" * 511 + b"}"
    message = parsed(b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + deep + b"}")
    assert bytes(message.members["params"]) == deep
    too_deep = parse(
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"b":"\\ud800","a":' + b"[" * 513 + b"]" * 513 + b"}}"
    )
    assert isinstance(too_deep, Malformed)


def test_repeated_names_collapse_to_the_last_value() -> None:
    message = parsed(b'{"jsonrpc":"2.0","id":1,"method":"a","method":"b","params":{"x":{"k":1,"k":2}}}')
    assert message.method == "b"
    assert close_object(message.members) == b'{"jsonrpc":"2.0","id":1,"method":"b","params":{"x":{"k":1,"k":2}}}'


def test_a_name_keeps_its_spelling() -> None:
    text = b'{"jsonrpc":"2.0","id":1,"m\\u0065thod":"m","\\/x":1.0}'
    assert close_object(parsed(text).members) == text


def test_the_pieces() -> None:
    assert open_object(b"[1]") is None
    assert open_object(b"{") is None
    assert string(b"1") is None
    assert string(None) is None
    assert string(b'"\\ud800"') == "\ud800"
    assert decode(b'{"a":["\\udc00"]}') == {"a": ["\udc00"]}
    assert identify(b"1e400") is None
    assert identify(b"-0") == 0
    assert identify(b"1" * 500) == "1" * 500
    assert one_line(b'{\r\n"a":\n1}') == b'{  "a": 1}'
    assert json.loads(error_message(None, -32700, "é", {"a": 1})) == {
        "jsonrpc": "2.0",
        "error": {"code": -32700, "message": "é", "data": {"a": 1}},
    }


def test_integers_have_no_bound() -> None:
    """Python refuses to make one of more than 4,300 digits; a peer must not learn that the hard way."""
    assert decode(b"1" * 4000) == int("1" * 4000)
    assert decode(b"[" + b"1" * 5000 + b"]") == [float("inf")]
