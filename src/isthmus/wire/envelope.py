"""The envelope: one JSON-RPC message whose members stay raw text until somebody must look inside."""

import json
from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import Raw

Members = dict[str, Raw]
"""An opened JSON object: names in their order, values as raw text."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

_encode: Final = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """Compact JSON of a Python value; `Raw` parts are copied, lone surrogates are escaped."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode_ascii(value)


def _encode_ascii(value: Any) -> bytes:
    """The same, with each text in ASCII.

    JSON lets an escape name half of a surrogate pair (RFC 8259 §8.2), as a text has it that was cut off inside an
    emoji; UTF-8 has no bytes for it.
    """
    if isinstance(value, str):
        return json.dumps(value).encode()
    if isinstance(value, dict):
        return b"{" + b",".join([_encode_ascii(name) + b":" + _encode_ascii(value[name]) for name in value]) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join([_encode_ascii(item) for item in value]) + b"]"
    return _encode(value)


class Kind(Enum):
    """The three kinds of JSON-RPC message."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    ANSWER = "answer"


class Envelope:
    """One well-formed message.

    `members` is the whole message; whoever changes a member changes what is sent on. `id` is the id's own text,
    `key` what it means (1, 1.0 and 1e0 are one id); both are None for a notification and for an answer to nothing.
    `is_plain`: there is no backslash in all of it, so that every name in it is spelled plainly.
    """

    __slots__ = ("id", "is_plain", "key", "kind", "members", "method")

    def __init__(
        self, kind: Kind, members: Members, method: str, id: bytes | None, key: int | str | None, is_plain: bool = False
    ) -> None:
        self.is_plain = is_plain
        self.kind = kind
        self.members = members
        self.method = method
        self.id = id
        self.key = key

    def __repr__(self) -> str:
        return f"<{self.kind.value} {self.method} id={self.id!r}>"


class Malformed:
    """A message that can't be one: the JSON-RPC code and sentence to answer with, and the id where it could be read."""

    __slots__ = ("code", "id", "why")

    def __init__(self, code: int, why: str, id: bytes | None = None) -> None:
        self.code = code
        self.why = why
        self.id = id

    def __repr__(self) -> str:
        return f"<malformed {self.code} {self.why}>"


class Batch:
    """A JSON array of messages, not yet parsed; legal in revision 2025-03-26 alone."""

    __slots__ = ("items",)

    def __init__(self, items: list[bytes]) -> None:
        self.items = items


def error_message(id: bytes | None, code: int, why: str, data: Any = None) -> bytes:
    """A JSON-RPC error response; without an id where the request's could not be read."""
    body: dict[str, Any] = {"code": code, "message": why}
    if data is not None:
        body["data"] = data
    return b'{"jsonrpc":"2.0",' + (b'"id":' + id + b"," if id is not None else b"") + b'"error":' + encode(body) + b"}"


def result_message(id: bytes, result: Any) -> bytes:
    """A JSON-RPC result response; `result` is a Python value or `Raw`."""
    return b'{"jsonrpc":"2.0","id":' + id + b',"result":' + encode(result) + b"}"


def request_message(id: bytes, method: str, params: Any) -> bytes:
    """A JSON-RPC request; `params` is a Python value or `Raw`."""
    return b'{"jsonrpc":"2.0","id":' + id + b',"method":' + encode(method) + b',"params":' + encode(params) + b"}"


def notification_message(method: str, params: Any = None) -> bytes:
    """A JSON-RPC notification; `params` is a Python value, `Raw` or nothing."""
    tail = b"}" if params is None else b',"params":' + encode(params) + b"}"
    return b'{"jsonrpc":"2.0","method":' + encode(method) + tail
