"""The edits that a message may get on its way, each at one named path. Everything else of it stays as it came."""

from typing import Final

from msgspec import Raw

from isthmus.protocol.names import PROGRESS_KEY, SERVER_INFO_KEY, SUBSCRIPTION_KEY
from isthmus.protocol.param_headers import ANNOTATION, Mirrored, read_schema
from isthmus.wire.codec import close_object, decode, encode, identify, open_object
from isthmus.wire.envelope import Envelope, Members

_ANNOTATION: Final = ANNOTATION.encode()


def with_id(envelope: Envelope, id: bytes) -> bytes:
    """The message under another id. Path: `id`."""
    envelope.members["id"] = Raw(id)
    return close_object(envelope.members)


def set_server_info(envelope: Envelope, info: Raw) -> None:
    """Say who answers. Path: `result._meta["io.modelcontextprotocol/serverInfo"]`."""
    result = _result(envelope)
    if result is not None:
        meta = _meta(result)
        if meta is not None:
            meta[SERVER_INFO_KEY] = info
            _put(envelope, "result", result, meta)


def set_subscription(envelope: Envelope, id: bytes) -> None:
    """Say whose subscription it is. Path: `(params|result)._meta["io.modelcontextprotocol/subscriptionId"]`."""
    where = "params" if envelope.method else "result"
    body = open_object(envelope.members[where]) if where in envelope.members else None
    meta = _meta(body) if body is not None else None
    if body is not None and meta is not None and SUBSCRIPTION_KEY in meta:
        meta[SUBSCRIPTION_KEY] = Raw(id)
        _put(envelope, where, body, meta)


def subscription_of(envelope: Envelope) -> int | str | None:
    """Which subscription a notification belongs to."""
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    meta = open_object(params["_meta"]) if params is not None and "_meta" in params else None
    raw = meta.get(SUBSCRIPTION_KEY) if meta is not None else None
    return identify(raw) if raw is not None else None


def set_param(envelope: Envelope, name: str, value: bytes) -> None:
    """Replace one member of the parameters. Paths: `params.requestId`, `params.progressToken`."""
    params = open_object(envelope.members["params"])
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


def set_member(envelope: Envelope, name: str, value: Raw) -> None:
    """Replace one member of a result. Path: `result.serverInfo` of `initialize`."""
    result = _result(envelope)
    if result is not None:
        result[name] = value
        envelope.members["result"] = Raw(close_object(result))


def read_tools(envelope: Envelope) -> tuple[dict[str, tuple[Mirrored, ...]], dict[str, str]]:
    """What a `tools/list` result says of mirrored parameters: the tools that have any, and the invalid ones with why.

    Invalid tools are taken out of the result ("the client MUST exclude the invalid tool from the result of
    `tools/list`", basic/transports/streamable-http, *Schema Extension*). Path: `result.tools`.
    """
    raw = envelope.members.get("result")
    if raw is None or _ANNOTATION not in bytes(raw):
        return {}, {}
    result = open_object(raw)
    tools = decode(result["tools"]) if result is not None and "tools" in result else None
    if result is None or not isinstance(tools, list):
        return {}, {}
    mirrored: dict[str, tuple[Mirrored, ...]] = {}
    invalid: dict[str, str] = {}
    for tool in tools:
        if isinstance(tool, dict) and isinstance(tool.get("name"), str):
            read = read_schema(tool.get("inputSchema"))
            if isinstance(read, str):
                invalid[tool["name"]] = read
            else:
                mirrored[tool["name"]] = read
    if invalid:
        kept = [each for each in _items(result["tools"]) if _name_of(each) not in invalid]
        result["tools"] = Raw(b"[" + b",".join(kept) + b"]")
        envelope.members["result"] = Raw(close_object(result))
    return mirrored, invalid


def _items(raw: Raw) -> list[bytes]:
    import msgspec

    try:
        return [bytes(item) for item in msgspec.json.decode(raw, type=list[Raw])]
    except (msgspec.DecodeError, RecursionError):
        return [encode(item) for item in decode(raw)]


def _name_of(raw: bytes) -> str | None:
    tool = open_object(raw)
    name = decode(tool["name"]) if tool is not None and "name" in tool else None
    return name if isinstance(name, str) else None


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
