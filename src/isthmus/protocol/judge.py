"""The rules that a modern request is judged by before anybody acts on it.

Order: required `_meta`, headers, version, method; parameters are the back's to judge. Sources: 2026-07-28 basic/index
(*Per-request protocol fields*), basic/transports/streamable-http (*Server Validation*), basic/versioning.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from msgspec import Raw

from isthmus.protocol.methods import Method, row_of
from isthmus.protocol.names import (
    CAPABILITIES_KEY,
    HEADER_MISMATCH,
    UNSUPPORTED_VERSION,
    VERSION_KEY,
)
from isthmus.protocol.versions import MODERN, Era
from isthmus.wire.codec import close_object, close_objects, encode, open_object, string
from isthmus.wire.envelope import INVALID_PARAMS, METHOD_NOT_FOUND, Envelope, Kind, Members
from isthmus.wire.headers import decode_value


class Refusal(NamedTuple):
    """Why a request goes no further: the JSON-RPC error and the HTTP status."""

    code: int
    why: str
    status: int
    data: Any = None


class ModernRequest:
    """A modern request that passed: its envelope, and the opened objects it was judged by.

    `name` is what `Mcp-Name` mirrors, where the method has such a member. `principal` is who calls, as a digest, where
    the front knows. `forwarded` are the lines of the client's own headers that go on to the back. `covered` are the
    arguments of a tool that clients neither see nor give, and so can't mirror.
    """

    __slots__ = ("covered", "envelope", "forwarded", "meta", "name", "params", "principal", "row", "version")

    def __init__(
        self, envelope: Envelope, row: Method, params: Members, meta: Members, version: str, name: str | None
    ) -> None:
        self.envelope = envelope
        self.row = row
        self.params = params
        self.meta = meta
        self.version = version
        self.name = name
        self.principal: str | None = None
        self.forwarded = b""
        self.covered: frozenset[str] = frozenset()

    def write(self, id: int) -> bytes:
        """The request under another id, written from the members it was judged by."""
        members = self.envelope.members
        members["id"] = Raw(b"%d" % id)
        if self.envelope.is_plain:
            nested = cast("dict[str, Any]", members)
            nested["params"] = params = cast("dict[str, Any]", self.params)
            params["_meta"] = self.meta
            return close_objects(nested)
        self.params["_meta"] = Raw(close_object(self.meta))
        members["params"] = Raw(close_object(self.params))
        return close_object(members)


_BRACE: Final = ord("{")
_VERSIONS_AS_WRITTEN: Final = {f'"{version}"'.encode(): version for version in MODERN}


def meta_of(params: Members | None) -> Members | None:
    """The opened `_meta` of opened parameters."""
    raw = params.get("_meta") if params is not None else None
    return open_object(raw) if raw is not None else None


def unsupported(requested: str) -> dict[str, Any]:
    """The `data` of the error that says that a modern revision is not spoken here."""
    return {"supported": list(MODERN), "requested": requested}


def make_modern(method: str, meta: Members, params: Members | None = None) -> ModernRequest:
    """A request of the proxy's own.

    Args:
        method: its method.
        meta: the opened `_meta`.
        params: the other parameters, opened.
    """
    members = (params or {}) | {"_meta": Raw(close_object(meta))}
    whole: Members = {"jsonrpc": Raw(b'"2.0"'), "id": Raw(b"0"), "method": Raw(encode(method))}
    whole["params"] = Raw(close_object(members))
    envelope = Envelope(Kind.REQUEST, whole, method, b"0", 0)
    return ModernRequest(envelope, row_of(method), members, dict(meta), MODERN[-1], None)


def judge_modern(envelope: Envelope, headers: Mapping[str, str] | None) -> ModernRequest | Refusal:
    """Whether a modern request may go on.

    Args:
        envelope: a request.
        headers: the HTTP request's headers by lower-case name; None on transports without headers.
    """
    raw_params = envelope.members.get("params")
    is_plain = envelope.is_plain
    params = open_object(raw_params, is_plain) if raw_params is not None else None
    raw_meta = params.get("_meta") if params is not None else None
    meta = open_object(raw_meta, is_plain) if raw_meta is not None else None
    if params is None or meta is None or VERSION_KEY not in meta or not _is_object(meta.get(CAPABILITIES_KEY)):
        return Refusal(
            INVALID_PARAMS, f'"params._meta" must carry "{VERSION_KEY}" and, as an object, "{CAPABILITIES_KEY}".', 400
        )
    raw_version = bytes(meta[VERSION_KEY])
    version = _VERSIONS_AS_WRITTEN.get(raw_version) or string(raw_version)
    if version is None:
        return Refusal(INVALID_PARAMS, f'"{VERSION_KEY}" must be a string.', 400)
    row = row_of(envelope.method)
    name = string(params.get(row.routed)) if row.routed is not None else None
    if headers is not None:
        mismatch = _judge_headers(headers, version, row, name)
        if mismatch is not None:
            return Refusal(HEADER_MISMATCH, mismatch, 400)
    if version not in MODERN:
        return Refusal(UNSUPPORTED_VERSION, "Unsupported protocol version", 400, unsupported(version))
    if Era.MODERN not in row.eras:
        return Refusal(METHOD_NOT_FOUND, f"Method not found: {row.name} is not part of {version}.", 404)
    return ModernRequest(envelope, row, params, meta, version, name)


def _judge_headers(headers: Mapping[str, str], version: str, row: Method, name: str | None) -> str | None:
    """What is wrong with the headers that mirror the body; None if nothing is."""
    said = headers.get("mcp-protocol-version")
    if said != version:
        return _mismatch("MCP-Protocol-Version", said, version)
    said = headers.get("mcp-method")
    if said != row.name:
        return _mismatch("Mcp-Method", said, row.name)
    if row.routed is not None:
        said = headers.get("mcp-name")
        is_same = said == name and said is not None and said.isascii() and not said.startswith("=?")
        if not is_same and (said is None or name is None or decode_value(said) != name):
            return _mismatch("Mcp-Name", said, name)
    return None


def _mismatch(header: str, said: str | None, meant: str | None) -> str:
    if said is None:
        return f"Header mismatch: the {header} header is missing; it must mirror the body."
    if meant is None:
        return f"Header mismatch: the {header} header names something, and the body does not."
    return f"Header mismatch: {header} header value {said[:200]!r} does not match body value {meant[:200]!r}."


def _is_object(raw: Raw | None) -> bool:
    return raw is not None and memoryview(raw)[0] == _BRACE
