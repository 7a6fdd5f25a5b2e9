"""What `isthmus.wire.codec` calls lossless, over legal and odd JSON."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.protocol.edits import ServerInfo, with_id, with_server_info
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.wire.codec import parse
from isthmus.wire.envelope import Envelope
from tests.property.json_text import OBJECTS, SPACES, STRINGS, VALUES, tokens, write_object

_RESERVED = {"jsonrpc", "id", "method", "params", "result", "error"}
_UNKNOWN = st.lists(st.tuples(STRINGS.filter(lambda name: json.loads(name) not in _RESERVED), VALUES), max_size=3)
_META = (
    '"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"x":[1.0]}'
)


def collapsed(members: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of a member that is repeated in an opened object the last is left, where the first stood."""
    last: dict[str, tuple[str, str]] = {}
    for name, value in members:
        last[json.loads(name)] = (name, value)
    return list(last.values())


def same(sent: bytes, expected: str) -> None:
    assert tokens(sent) == tokens(expected.encode())


@settings(max_examples=400, deadline=None)
@given(unknown=_UNKNOWN, params=OBJECTS, space=SPACES, order=st.randoms(use_true_random=False))
def test_a_request_keeps_every_token_but_its_id(
    unknown: list[tuple[str, str]], params: str, space: str, order: random.Random
) -> None:
    members = [('"jsonrpc"', '"2.0"'), ('"id"', '"\\u0061b"'), ('"method"', '"x/y"'), ('"params"', params), *unknown]
    order.shuffle(members)
    message = parse(write_object(members, space).encode())
    assert isinstance(message, Envelope), message
    assert message.key == "ab"
    expected = [(name, "7" if name == '"id"' else value) for name, value in collapsed(members)]
    same(with_id(message, b"7"), write_object(expected, ""))


@settings(max_examples=400, deadline=None)
@given(unknown=_UNKNOWN, result=VALUES, space=SPACES)
def test_an_answer_keeps_every_token_but_its_id(unknown: list[tuple[str, str]], result: str, space: str) -> None:
    members = [('"result"', result), *unknown, ('"jsonrpc"', '"2.0"'), ('"id"', "1e0")]
    message = parse(write_object(members, space).encode())
    assert isinstance(message, Envelope), message
    assert message.key == 1
    expected = [(name, '"a"' if name == '"id"' else value) for name, value in collapsed(members)]
    same(with_id(message, b'"a"'), write_object(expected, ""))


@settings(max_examples=300, deadline=None)
@given(params=_UNKNOWN, meta=_UNKNOWN, space=SPACES)
def test_a_judged_request_keeps_params_and_meta(
    params: list[tuple[str, str]], meta: list[tuple[str, str]], space: str
) -> None:
    own = [tuple(pair.split(":", 1)) for pair in _META.split(",", 1)]
    all_meta = [*meta, *((name, value) for name, value in own)]
    all_params = [
        *[each for each in params if json.loads(each[0]) != "_meta"],
        ('"_meta"', write_object(all_meta, space)),
    ]
    members = [
        ('"jsonrpc"', '"2.0"'),
        ('"id"', "1"),
        ('"method"', '"any"'),
        ('"params"', write_object(all_params, space)),
    ]
    message = parse(write_object(members, space).encode())
    assert isinstance(message, Envelope), message
    judged = judge_modern(message, None)
    assert isinstance(judged, ModernRequest), judged
    expected_params = collapsed([*all_params[:-1], ('"_meta"', write_object(collapsed(all_meta), ""))])
    expected = [*members[:3], ('"params"', write_object(expected_params, ""))]
    same(judged.write(1), write_object(expected, ""))


@settings(max_examples=300, deadline=None)
@given(result=_UNKNOWN, space=SPACES)
def test_who_answers_is_all_that_a_result_gets(result: list[tuple[str, str]], space: str) -> None:
    result = [each for each in result if json.loads(each[0]) != "_meta"]
    text = write_object([('"jsonrpc"', '"2.0"'), ('"id"', "1"), ('"result"', write_object(result, space))], space)
    message = parse(text.encode())
    assert isinstance(message, Envelope), message
    info = ServerInfo("i")
    written = parse(with_server_info(message, b"7", info))
    assert isinstance(written, Envelope)
    assert (written.key, list(written.members)) == (7, list(message.members))
    added = ('"_meta"', '{"io.modelcontextprotocol/serverInfo":' + bytes(info.raw).decode() + "}")
    raw = tokens(bytes(written.members["result"]))
    as_opened = tokens(write_object([*collapsed(result), added], "").encode())
    as_it_was = tokens(write_object([*result, added], "").encode())
    assert raw in (as_opened, as_it_was)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(VALUES.map(str.encode), st.binary(max_size=60)))
def test_nothing_makes_the_parser_raise(text: bytes) -> None:
    for candidate in (text, b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + text + b"}", b"[" + text + b"]"):
        parse(candidate)
