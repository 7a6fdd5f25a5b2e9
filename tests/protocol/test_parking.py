"""The sealed state of a parked call, and what tells one request from another."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.protocol.parking import NONCE_BYTES, Seal, Ticket, digest
from isthmus.wire.codec import open_object

SEAL = Seal(b"k" * 32)
TICKET = Ticket("call", 2, "principal", "digest", 1234.5)
NONCE = b"n" * NONCE_BYTES
STATE = SEAL.close(TICKET, NONCE)


def test_what_was_sealed_is_read() -> None:
    assert SEAL.open(STATE) == TICKET
    assert Seal(b"k" * 32).open(STATE) == TICKET  # another process with the same key


def test_what_it_says_can_t_be_read_from_it() -> None:
    raw = base64.urlsafe_b64decode(STATE + "==")
    for secret in (b"call", b"principal", b"digest", b"1234"):
        assert secret not in raw and secret.decode() not in STATE
    assert SEAL.close(TICKET, b"m" * NONCE_BYTES)[16:] != STATE[16:]


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_every_size_of_key(bits: int) -> None:
    seal = Seal(b"k" * (bits // 8))
    assert seal.open(seal.close(TICKET, NONCE)) == TICKET


def test_another_key_reads_nothing() -> None:
    assert Seal(b"j" * 32).open(STATE) is None


FORGED = [
    "",
    "A",
    "AA",
    "A" * 16,
    "A" * 64,
    "not base64!",
    "é" * 40,
    "\ud800" * 40,
    "=" * 40,
    json.dumps(TICKET),
    base64.urlsafe_b64encode(json.dumps(TICKET).encode()).decode(),
    STATE + "A",
    STATE + "=",
    STATE + "\n",
    " " + STATE,
    STATE * 2,
]


@pytest.mark.parametrize("text", FORGED)
def test_what_was_never_sealed_is_nothing(text: str) -> None:
    assert SEAL.open(text) is None


@pytest.mark.parametrize("length", range(len(STATE)))
def test_what_was_cut_off_is_nothing(length: int) -> None:
    assert SEAL.open(STATE[:length]) is None
    assert SEAL.open(STATE[len(STATE) - length :]) is None


def test_any_other_character_anywhere_is_noticed() -> None:
    """Also in the last one, of which not all bits are used."""
    for place, was in enumerate(STATE):
        for other in "AQgwBZaz09-_+/ =":
            if other != was:
                assert SEAL.open(STATE[:place] + other + STATE[place + 1 :]) is None, (place, other)


def test_what_was_sealed_and_is_no_ticket_is_nothing() -> None:
    """With a key that others use too."""
    for content in (b"", b"[]", b'{"a":1}', b'["a",1,"b","c"]', b'["a","1","b","c",1.0]', b"\xff"):
        sealed = SEAL._cipher.encrypt(NONCE, content, None)
        assert SEAL.open(base64.urlsafe_b64encode(NONCE + sealed).decode().rstrip("=")) is None


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=120))
def test_no_text_makes_it_raise(text: str) -> None:
    assert SEAL.open(text) is None


# -- the digest ------------------------------------------------------------------------------------------------------


def of(text: str, method: str = "tools/call") -> str:
    params = open_object(text.encode())
    assert params is not None, text
    return digest(method, params)


PARAMS = '{"name":"t","arguments":{"a":[1,{"x":null,"y":"z"}],"b":1.5}}'


@pytest.mark.parametrize(
    "same",
    [
        '{"arguments":{"b":1.5,"a":[1,{"y":"z","x":null}]},"name":"t"}',
        ' { "name" : "t" ,\n "arguments" : { "a" : [ 1 , { "x" : null , "y" : "z" } ] , "b" : 1.5 } } ',
        '{"\\u006eame":"\\u0074","arguments":{"a":[1,{"x":null,"y":"\\u007a"}],"b":1.50}}',
        PARAMS[:-1] + ',"_meta":{"progressToken":1},"inputResponses":{"k":{}},"requestState":"s"}',
        PARAMS[:-1] + ',"_meta":7,"inputResponses":7,"requestState":7}',
    ],
)
def test_the_same_request_however_it_is_written(same: str) -> None:
    assert of(same) == of(PARAMS)


@pytest.mark.parametrize(
    "other",
    [
        '{"name":"u","arguments":{"a":[1,{"x":null,"y":"z"}],"b":1.5}}',
        '{"name":"t","arguments":{"a":[2,{"x":null,"y":"z"}],"b":1.5}}',
        '{"name":"t","arguments":{"a":["1",{"x":null,"y":"z"}],"b":1.5}}',
        '{"name":"t","arguments":{"a":[true,{"x":null,"y":"z"}],"b":1.5}}',
        '{"name":"t","arguments":{"a":[{"x":null,"y":"z"},1],"b":1.5}}',
        '{"name":"t","arguments":{"a":[1,{"x":false,"y":"z"}],"b":1.5}}',
        '{"name":"t","arguments":{"a":[1,{"y":"z"}],"b":1.5}}',
        '{"name":"t","arguments":{"a":[1,{"x":null,"y":"Z"}],"b":1.5}}',
        '{"name":"t","arguments":{"a":[1,{"x":null,"y":"z"}],"b":1.5,"_meta":{}}}',
        '{"name":"t","arguments":{"a":[1,{"x":null,"y":"z"}]},"b":1.5}',
        '{"name":"t"}',
        PARAMS[:-1] + ',"more":null}',
    ],
)
def test_another_request_is_another(other: str) -> None:
    assert of(other) != of(PARAMS)


def test_another_method_is_another_request() -> None:
    assert of(PARAMS, "prompts/get") != of(PARAMS)


@pytest.mark.parametrize("value", ["9" * 6000, "1e400", '"\\ud800"', "[" * 450 + "]" * 450])
def test_odd_values_have_a_digest_too(value: str) -> None:
    text = '{"name":"t","arguments":{"a":%s}}'
    assert of(text % value) == of(text % value) != of(text % '"other"')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=6,
)


def shuffled(value: Any, draw: Any) -> Any:
    if isinstance(value, dict):
        return {name: shuffled(value[name], draw) for name in draw(st.permutations(list(value)))}
    return [shuffled(each, draw) for each in value] if isinstance(value, list) else value


@settings(max_examples=200, deadline=None)
@given(data=st.data(), arguments=st.dictionaries(st.text(max_size=3), JSON, max_size=4), other=JSON)
def test_order_of_members_never_matters_and_values_always_do(data: Any, arguments: dict[str, Any], other: Any) -> None:
    one = of(json.dumps({"arguments": arguments}))
    assert of(json.dumps({"arguments": shuffled(arguments, data.draw)})) == one
    is_same = json.dumps(other, sort_keys=True) == json.dumps(arguments, sort_keys=True)
    assert (of(json.dumps({"arguments": other})) == one) == is_same
