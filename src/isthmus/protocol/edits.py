"""The edits that a message may get on its way, each at one named path. Everything else of it stays as it came."""

import re
from collections.abc import Container
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw

from isthmus.protocol.names import PROGRESS_KEY, SERVER_INFO_KEY, SUBSCRIPTION_KEY
from isthmus.protocol.param_headers import ANNOTATION, Mirrored, read_schema
from isthmus.version import __version__
from isthmus.wire.codec import close_object, decode, encode, identify, open_object, string
from isthmus.wire.envelope import Envelope, Members
from isthmus.wire.scan import ScanError, scan_items

_ANNOTATION: Final = ANNOTATION.encode()
_META: Final = re.compile(b"_meta")
_ESCAPE: Final = re.compile(rb"\\u")


def with_id(envelope: Envelope, id: bytes) -> bytes:
    """The message under another id. Path: `id`."""
    envelope.members["id"] = Raw(id)
    return close_object(envelope.members)


class ServerInfo:
    """Who answers, as JSON: `raw` the object, `tail` what follows the last member of a result without `_meta`."""

    __slots__ = ("raw", "tail")

    def __init__(self, name: str) -> None:
        self.raw = Raw(encode({"name": name, "version": __version__}))
        self.tail = b',"_meta":{"' + SERVER_INFO_KEY.encode() + b'":' + bytes(self.raw) + b"}}"


server_info: Final = lru_cache(16)(ServerInfo)
"""Who answers, by the name of the proxy: one for all its backs."""


def with_server_info(envelope: Envelope, id: bytes, info: ServerInfo) -> bytes:
    """A result under another id, with who answers. Paths: `id`, `result._meta["io.modelcontextprotocol/serverInfo"]`.

    A result in which no `_meta` stands anywhere, however spelled, gets one as its last member without being opened; in
    its usual place, the last, it is copied once, however large.
    """
    members = envelope.members
    raw = memoryview(members["result"])  # which has no `in`, but can be searched without a copy
    if bytes(raw[:2]) != b'{"' or _META.search(raw) or (not envelope.is_plain and _ESCAPE.search(raw)):
        _open_for(envelope, info)
    elif type(members) is dict and next(reversed(members)) == "result":
        rest = members | {"id": Raw(id)}
        del rest["result"]
        return b"".join((close_object(rest)[:-1], b',"result":', raw[:-1], info.tail, b"}"))
    else:
        members["result"] = Raw(b"".join((raw[:-1], info.tail)))
    return with_id(envelope, id)


def _open_for(envelope: Envelope, info: ServerInfo) -> None:
    result = _result(envelope)
    if result is not None:
        meta = _meta(result)
        if meta is not None:
            meta[SERVER_INFO_KEY] = info.raw
            _put(envelope, "result", result, meta)


def set_subscription(envelope: Envelope, id: bytes) -> None:
    """Say whose subscription it is. Path: `(params|result)._meta["io.modelcontextprotocol/subscriptionId"]`."""
    where = "params" if envelope.method else "result"
    body = open_object(envelope.members[where]) if where in envelope.members else None
    meta = _meta(body) if body is not None else None
    if body is not None and meta is not None and SUBSCRIPTION_KEY in meta:
        meta[SUBSCRIPTION_KEY] = Raw(id)
        _put(envelope, where, body, meta)


def drop_subscription(envelope: Envelope) -> None:
    """Say nothing of a subscription. Path: `params._meta["io.modelcontextprotocol/subscriptionId"]`."""
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    meta = open_object(params["_meta"]) if params is not None and "_meta" in params else None
    if params is not None and meta is not None and meta.pop(SUBSCRIPTION_KEY, None) is not None:
        if meta:
            params["_meta"] = Raw(close_object(meta))
        else:
            del params["_meta"]
        if params:
            envelope.members["params"] = Raw(close_object(params))
        else:
            del envelope.members["params"]


def subscription_of(envelope: Envelope) -> int | str | None:
    """Which subscription a notification belongs to."""
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    meta = open_object(params["_meta"]) if params is not None and "_meta" in params else None
    raw = meta.get(SUBSCRIPTION_KEY) if meta is not None else None
    return identify(raw) if raw is not None else None


def set_param(envelope: Envelope, name: str, value: bytes) -> None:
    """Replace one member of the parameters. Paths: `params.requestId`, `params.progressToken`."""
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    if params is not None:
        params[name] = Raw(value)
        envelope.members["params"] = Raw(close_object(params))


def param(envelope: Envelope, name: str) -> bytes | None:
    """The raw text of one member of the parameters."""
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    raw = params.get(name) if params is not None else None
    return bytes(raw) if raw is not None else None


def progress_token(envelope: Envelope) -> int | str | None:
    """The token under which a request wants progress. The search of the raw text spares opening all the others."""
    raw = envelope.members.get("params")
    if raw is None or PROGRESS_KEY.encode() not in bytes(raw):
        return None
    params = open_object(raw)
    meta = open_object(params["_meta"]) if params is not None and "_meta" in params else None
    token = meta.get(PROGRESS_KEY) if meta is not None else None
    return identify(token) if token is not None else None


def token_of(progress: Envelope) -> int | str | None:
    """The token that a progress notification is for."""
    raw = param(progress, PROGRESS_KEY)
    return identify(raw) if raw is not None else None


def set_progress_token(envelope: Envelope, token: int) -> bytes | None:
    """Replace the token under which a request wants progress, if it does. Path: `params._meta.progressToken`.

    Returns:
        The token that was there; None where there is none.
    """
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    meta = open_object(params["_meta"]) if params is not None and "_meta" in params else None
    if params is None or meta is None or PROGRESS_KEY not in meta:
        return None
    was = bytes(meta[PROGRESS_KEY])
    meta[PROGRESS_KEY] = Raw(b"%d" % token)
    _put(envelope, "params", params, meta)
    return was


def set_meta(envelope: Envelope, key: str, value: bytes) -> None:
    """Say something in the parameters' `_meta`. Path: `params._meta[key]`."""
    params = (open_object(envelope.members["params"]) if "params" in envelope.members else None) or {}
    meta = _meta(params)
    if meta is not None:
        meta[key] = Raw(value)
        _put(envelope, "params", params, meta)


def public_for(envelope: Envelope) -> float:
    """How many seconds an answer is good for everybody (2026-07-28 server/utilities/caching); 0 where it is not."""
    result = _result(envelope)
    if result is None or string(result.get("cacheScope")) != "public" or "ttlMs" not in result:
        return 0.0
    ttl = _decoded(result["ttlMs"])
    return ttl / 1000 if isinstance(ttl, int | float) and not isinstance(ttl, bool) else 0.0


def is_accepted(result: Raw) -> bool:
    """Whether the answer to an elicitation says that the user agreed."""
    members = open_object(result)
    return members is not None and string(members.get("action")) == "accept"


def set_member(envelope: Envelope, name: str, value: Raw) -> None:
    """Replace one member of a result. Path: `result.serverInfo` of `initialize`."""
    result = _result(envelope)
    if result is not None:
        result[name] = value
        envelope.members["result"] = Raw(close_object(result))


def read_tools(
    envelope: Envelope, known: Container[str] = ()
) -> tuple[dict[str, tuple[Mirrored, ...]], dict[str, str]]:
    """What a `tools/list` result says of mirrored parameters: the tools that have any, and the invalid ones with why.

    Invalid tools are taken out of the result ("the client MUST exclude the invalid tool from the result of
    `tools/list`", basic/transports/streamable-http, *Schema Extension*). Path: `result.tools`.

    Args:
        envelope: the answer.
        known: tools that had mirrored parameters before; those that have none any more are in the result with `()`.
    """
    raw = envelope.members.get("result")
    if raw is None or (not known and _ANNOTATION not in bytes(raw)):
        return {}, {}
    result = open_object(raw)
    items = items_of(result["tools"]) if result is not None and "tools" in result else []
    mirrored: dict[str, tuple[Mirrored, ...]] = {}
    invalid: dict[str, str] = {}
    kept = []
    for item in items:
        name, read = _read_tool(item)
        if isinstance(read, str):
            invalid[name] = read
            continue
        kept.append(item)
        if read or name in known:
            mirrored[name] = read
    if invalid and result is not None:
        result["tools"] = Raw(b"[" + b",".join(kept) + b"]")
        envelope.members["result"] = Raw(close_object(result))
    return mirrored, invalid


def items_of(raw: Raw) -> list[bytes]:
    """The raw texts of a list's items; none where it is no list."""
    try:
        return [bytes(item) for item in msgspec.json.decode(raw, type=list[Raw])]
    except (msgspec.DecodeError, RecursionError):
        try:
            return scan_items(bytes(raw))
        except ScanError:
            return []


def _read_tool(item: bytes) -> tuple[str, tuple[Mirrored, ...] | str]:
    """A tool's name and what `read_schema` says of it; what is no tool mirrors nothing."""
    tool = open_object(item)
    name = string(tool["name"]) if tool is not None and "name" in tool else None
    if tool is None or name is None or _ANNOTATION not in item or "inputSchema" not in tool:
        return name or "", ()
    try:
        return name, read_schema(decode(tool["inputSchema"]))
    except RecursionError:
        return name, "its schema nests too deeply"


def _decoded(raw: Raw) -> object:
    try:
        return decode(raw)
    except RecursionError:
        return None


def _result(envelope: Envelope) -> Members | None:
    raw = envelope.members.get("result")
    return open_object(raw) if raw is not None else None


def _meta(body: Members) -> Members | None:
    """The opened `_meta`, an empty one where there is none; None where it is no object and so can't be edited."""
    raw = body.get("_meta")
    return open_object(raw) if raw is not None else {}


def _put(envelope: Envelope, where: str, body: Members, meta: Members) -> None:
    body["_meta"] = Raw(close_object(meta))
    envelope.members[where] = Raw(close_object(body))
