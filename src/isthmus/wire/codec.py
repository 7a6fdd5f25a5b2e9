"""Text to envelope and back, without losing anything.

**Lossless.** What leaves is the same sequence of JSON tokens as what came in: the raw text of every scalar (the
spelling of numbers and escapes), the order of members, and whatever is nested below, repeated members included;
white space between members of an object that was opened is free. *Opened* are the envelope and, where a method's row
says that something is routed or judged by it, `params`, `result` and their `_meta`; an opened object is written anew
from its members, so of a member that was repeated in it only the last value is left, which is the one that was
judged. Everything else is copied as bytes. `tests/property/test_lossless.py` checks exactly this paragraph.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from isthmus.wire.envelope import INVALID_REQUEST, PARSE_ERROR, Batch, Envelope, Kind, Malformed, Members
from isthmus.wire.envelope import encode as encode
from isthmus.wire.scan import OddMembers, ScanError, names_are_plain, scan_members

_decode_members: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_string: Final = msgspec.json.Decoder(str).decode
_decode_items: Final = msgspec.json.Decoder(list[Raw]).decode
_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)\Z")
_methods: Final[dict[bytes, str]] = {}
_METHODS_KEPT: Final = 128
_DIGITS: Final = 4300
_NULL: Final = Raw(b"null")
_BRACE: Final = ord("{")
_REFUSED: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_VERSION: Final = Raw(b'"2.0"')


def open_object(raw: Raw | bytes, is_plain: bool = False) -> Members | None:
    """The members of a JSON object by name, each value as raw text; None where `raw` is not an object.

    Args:
        raw: the object's text.
        is_plain: that there is no backslash in it is known (`Envelope.is_plain`), which spares a search for one.
    """
    try:
        members = _decode_members(raw)
        if is_plain:
            return members
    except _REFUSED:
        try:
            return scan_members(bytes(raw))
        except ScanError:
            return None
    text = raw if isinstance(raw, bytes) else bytes(raw)
    return _respelled(text, members)


def close_object(members: Members) -> bytes:
    """The JSON text of opened members; names keep the spelling they came with."""
    if type(members) is OddMembers:
        return members.emit()
    return encode(members)


def close_objects(members: Mapping[str, Any]) -> bytes:
    """The JSON text of opened members of which some are opened objects again; all names are plain."""
    return encode(members)


def decode(raw: Raw | bytes) -> Any:
    """Any JSON value, as Python's; for the small members that are judged. Lone surrogates are kept."""
    try:
        return msgspec.json.decode(raw)
    except _REFUSED:
        return json.loads(bytes(raw), parse_int=_whole)


def _whole(digits: str) -> int | float:
    """An integer, as long as Python makes one of its digits; beyond that it is only known to be large."""
    return int(digits) if len(digits) < _DIGITS else float(digits)


def string(raw: Raw | bytes | None) -> str | None:
    """The text of a JSON string; None for anything else."""
    if raw is None:
        return None
    try:
        return _decode_string(raw)
    except msgspec.ValidationError:
        return None
    except _REFUSED:
        value = json.loads(bytes(raw))
        return value if isinstance(value, str) else None


def parse(text: bytes) -> "Envelope | Batch | Malformed":
    """One JSON-RPC message. Bad input is a value, never an exception.

    Args:
        text: UTF-8 JSON, without framing.
    """
    if not text.isascii() and not _is_utf8(text):
        return Malformed(PARSE_ERROR, "The message is not valid UTF-8.")
    try:
        members: Members = _decode_members(text)
    except _REFUSED as refused:
        return _parse_odd(text, refused)
    if b"\\" in text:
        return _judge(_respelled(text, members), False)
    return _judge(members, True)


def parse_own(text: bytes) -> Envelope:
    """A message that was made or read as an envelope before, as one again."""
    envelope = parse(text)
    assert isinstance(envelope, Envelope)
    return envelope


def identify(raw: Raw | bytes) -> int | str | None:
    """What an id means, for looking it up: a string, or an integer however it is spelled; None if it is neither."""
    token = bytes(raw)
    if token.isdigit() and len(token) < 16:
        return int(token)
    if _INTEGER.match(token):
        return int(token) if len(token) < 400 else token.decode()
    if token[:1] == b'"':
        return string(token)
    return _integral(token)


def one_line(message: bytes) -> bytes:
    """The message without line breaks: between JSON tokens they are white space, inside strings they can't be."""
    if b"\n" in message or b"\r" in message:
        return message.replace(b"\n", b" ").replace(b"\r", b" ")
    return message


def _respelled(text: bytes, members: Members) -> Members:
    """The same members with the spelling of their names, where an escape makes it possible that one is not plain."""
    if b"\\" not in text or names_are_plain(text, members):
        return members
    try:
        return scan_members(text)
    except ScanError:  # deeper than our own bound, though not than msgspec's: the spelling of names is all that is lost
        return members


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _integral(token: bytes) -> int | None:
    """JSON Schema's integer: 1.0 and 1e2 are integers, 1.5 is not (2020-12 validation §6.1.1)."""
    if token[:1] not in b"-0123456789":
        return None
    number = float(token)
    return int(number) if number.is_integer() else None


def _parse_odd(text: bytes, refused: Exception) -> "Envelope | Batch | Malformed":
    lead = text.lstrip(b" \t\r\n")[:1]
    if lead == b"[":
        try:
            return Batch([bytes(item) for item in _decode_items(text)])
        except _REFUSED as error:
            return Malformed(PARSE_ERROR, f"The message is not JSON: {_say(error)}")
    try:
        if lead == b"{":
            return _judge(scan_members(text), False)
        msgspec.json.decode(text, type=Raw)
    except ScanError as error:
        return Malformed(PARSE_ERROR, f"The message is not JSON: {error}.")
    except _REFUSED as error:
        return Malformed(PARSE_ERROR, f"The message is not JSON: {_say(error)}")
    return Malformed(INVALID_REQUEST, f"The message is not a JSON-RPC object: {_say(refused)}")


def _say(error: BaseException) -> str:
    return str(error).rstrip(".") + "."


def _judge(members: Members, is_plain: bool) -> "Envelope | Malformed":
    """Sort the members into a request, a notification or an answer, by JSON-RPC 2.0 §4 and §5 and MCP's basic/index."""
    raw_id, version, raw_method = members.get("id"), members.get("jsonrpc"), members.get("method")
    token: bytes | None = None
    key: int | str | None = None
    if raw_id is not None:
        token = bytes(raw_id)
        key = int(token) if token.isdigit() and len(token) < 16 else identify(token)
        if key is None and not (token == b"null" and "method" not in members):
            return Malformed(INVALID_REQUEST, "An id must be a string or an integer.")
    if version is None or (version != _VERSION and string(version) != "2.0"):
        return Malformed(INVALID_REQUEST, 'The member "jsonrpc" must be "2.0".', token)
    if raw_method is not None:
        method = _method_of(raw_method)
        if method is None:
            return Malformed(INVALID_REQUEST, "A method must be a string.", token)
        params = members.get("params")
        if params is not None and not _is_object_or_null(params):
            return Malformed(INVALID_REQUEST, "Parameters must be an object.", token)
        return Envelope(Kind.NOTIFICATION if token is None else Kind.REQUEST, members, method, token, key, is_plain)
    if ("result" in members) == ("error" in members):
        return Malformed(INVALID_REQUEST, "A message has a method, a result or an error.", token)
    return Envelope(Kind.ANSWER, members, "", token, key, is_plain)


def _method_of(raw: Raw) -> str | None:
    """A method's name; the same few come again and again."""
    text = bytes(raw)
    name = _methods.get(text)
    if name is None:
        name = string(text)
        if name is not None and len(_methods) < _METHODS_KEPT and len(text) < 64:
            _methods[text] = name
    return name


def _is_object_or_null(raw: Raw) -> bool:
    return memoryview(raw)[0] == _BRACE or raw == _NULL
