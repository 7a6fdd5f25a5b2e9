"""A modern client before a legacy back: its call is parked while the back's question is with it.

A legacy server asks in the middle of a call; a modern client is answered `input_required` and calls again (2026-07-28
basic/patterns/mrtr). So the proxy keeps the back's call open between the client's two calls. What each message becomes
is here; where it waits is the engine's.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Raw

from isthmus.protocol.edits import items_of
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import (
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LOG_LEVEL_KEY,
    MISSING_CAPABILITY,
    PROGRESS_KEY,
    SERVER_INFO_KEY,
    SUBSCRIPTION_KEY,
    TASKS_EXTENSION,
    VERSION_KEY,
)
from isthmus.protocol.versions import LEGACY, MODERN
from isthmus.wire.codec import close_object, decode, encode, open_object, string
from isthmus.wire.envelope import INTERNAL_ERROR, INVALID_PARAMS, Envelope, Kind, Members

URL_REQUIRED: Final = -32042
"""A legacy back's "URL elicitation required" (2025-11-25 client/elicitation)."""
QUESTIONS: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""What a legacy back may ask in the middle of a call, and the capability that a client declares for it."""

ELICITATION_COMPLETE: Final = "notifications/elicitation/complete"
"""A legacy back's word that the user is done with a URL; modern clients don't know it."""

MISSING_URL: Final[dict[str, Any]] = {
    "code": MISSING_CAPABILITY,
    "why": "The server needs the user to open a URL first; declare elicitation.url to be asked.",
    "data": {"requiredCapabilities": {"elicitation": {"url": {}}}},
}
"""The error for a client that can't open a URL which its call needs."""

_RESOURCE_NOT_FOUND: Final = -32002
_UNDEFINED: Final = range(-32099, -32022)
"""Codes that MCP keeps for itself and 2026-07-28 gives no meaning."""
_HOP_BY_HOP: Final = (VERSION_KEY, CLIENT_INFO_KEY, CAPABILITIES_KEY, LOG_LEVEL_KEY, SUBSCRIPTION_KEY, PROGRESS_KEY)
_CACHEABLE: Final = frozenset(
    {"server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
)
_NOT_FOR_A_MODERN_CLIENT: Final = ("elicitationId", "task")


def initialize_params(request: ModernRequest) -> dict[str, Any]:
    """What a modern client says of itself in each request, as the parameters of `initialize`."""
    return {
        "protocolVersion": LEGACY[-1],
        "capabilities": capabilities_of(request),
        "clientInfo": request.meta.get(CLIENT_INFO_KEY) or {"name": "unknown", "version": ""},
    }


def capabilities_of(request: ModernRequest) -> dict[str, Any]:
    """A modern client's capabilities as a legacy server reads them; tasks don't cross."""
    said = decode(request.meta[CAPABILITIES_KEY])
    capabilities: dict[str, Any] = dict(said) if isinstance(said, dict) else {}
    capabilities.pop("tasks", None)
    if "roots" in capabilities:
        capabilities["roots"] = {}  # nobody tells the back when they change
    extensions = capabilities.get("extensions")
    if isinstance(extensions, dict) and TASKS_EXTENSION in extensions:
        capabilities["extensions"] = {name: value for name, value in extensions.items() if name != TASKS_EXTENSION}
        if not capabilities["extensions"]:
            del capabilities["extensions"]
    return capabilities


def can_be_asked(capabilities: Mapping[str, Any]) -> bool:
    """Whether a client with these capabilities may be asked anything."""
    return any(name in capabilities for name in QUESTIONS.values())


def why_not_asked(method: str, params: Members, capabilities: Mapping[str, Any]) -> tuple[int, str] | None:
    """Why a client may not be shown a question, as a JSON-RPC error for the back; None if it may.

    Args:
        method: of the question.
        params: its opened parameters.
        capabilities: the client's.
    """
    needed = QUESTIONS.get(method)
    if needed is None or needed not in capabilities:
        return -32601, f"Method not found: the client does not support {method}."
    declared = capabilities[needed]
    declared = declared if isinstance(declared, dict) else {}
    if method == "elicitation/create":
        mode = string(params["mode"]) if "mode" in params else "form"
        if mode not in declared and not (mode == "form" and not declared):
            return INVALID_PARAMS, f"The client does not support elicitation in the mode {mode!r}."
    elif method == "sampling/createMessage" and "tools" not in declared and params.keys() & {"tools", "toolChoice"}:
        return INVALID_PARAMS, "The client does not support sampling with tools."
    return None


def legacy_request(request: ModernRequest, id: int) -> Envelope:
    """A modern client's request as a legacy one.

    Args:
        request: the request, which is left as it is.
        id: its id, and its progress token if it wants progress, among those who share the session.
    """
    params: Members = dict(request.params)
    meta = {name: value for name, value in request.meta.items() if name not in _HOP_BY_HOP}
    token = Raw(b"%d" % id)
    if PROGRESS_KEY in request.meta:
        meta[PROGRESS_KEY] = token
    params.pop("_meta", None)
    for name in ("inputResponses", "requestState"):
        params.pop(name, None)
    if meta:
        params["_meta"] = Raw(close_object(meta))
    members = dict(request.envelope.members)
    members["id"] = token
    if params or "params" in members:
        members["params"] = Raw(close_object(params))
    return Envelope(Kind.REQUEST, members, request.row.name, bytes(token), id)


def discover_result(initialized: Members, own_info: Raw | None) -> dict[str, Any]:
    """The result of `server/discover` for what a back answered to `initialize`.

    Args:
        initialized: the opened result of `initialize`.
        own_info: the proxy's own `serverInfo`; None for the back's.
    """
    capabilities = decode(initialized["capabilities"]) if "capabilities" in initialized else {}
    if isinstance(capabilities, dict):
        capabilities.pop("tasks", None)
        if string(initialized.get("protocolVersion")) == LEGACY[0] and capabilities.keys() & {"prompts", "resources"}:
            capabilities.setdefault("completions", {})  # 2024-11-05 had the method, and no capability for it
    result = {
        "resultType": "complete",
        "supportedVersions": list(MODERN),
        "capabilities": capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
    }
    if "instructions" in initialized:
        result["instructions"] = initialized["instructions"]
    info = own_info or initialized.get("serverInfo")
    return result | ({"_meta": {SERVER_INFO_KEY: info}} if info is not None else {})


def modern_result(method: str, result: Members, info: Raw | None) -> None:
    """Make a legacy result a modern one, in place.

    Args:
        method: of the request that it answers.
        result: the opened result.
        info: who answers.
    """
    result["resultType"] = Raw(b'"complete"')
    if method in _CACHEABLE:
        result.setdefault("ttlMs", Raw(b"0"))
        result.setdefault("cacheScope", Raw(b'"private"'))
    if info is not None:
        meta = (open_object(result["_meta"]) if "_meta" in result else None) or {}
        result["_meta"] = Raw(close_object(meta | {SERVER_INFO_KEY: info}))
    if method == "tools/list" and "tools" in result and b'"execution"' in bytes(result["tools"]):
        tools = [_without_execution(item) for item in items_of(result["tools"])]
        result["tools"] = Raw(b"[" + b",".join(tools) + b"]")


def modern_error(error: Members) -> Members:
    """A legacy error as one of 2026-07-28."""
    code = decode(error["code"]) if "code" in error else None
    if code == _RESOURCE_NOT_FOUND:
        return error | {"code": Raw(encode(INVALID_PARAMS))}
    if code in _UNDEFINED:
        why = string(error.get("message")) or "The back failed."
        return {
            "code": Raw(encode(INTERNAL_ERROR)),
            "message": Raw(encode(why)),
            "data": Raw(close_object(error)),
        }
    return error


def input_required(questions: Mapping[str, tuple[str, Members]], state: str, info: Raw | None) -> dict[str, Any]:
    """The result that asks a client.

    Args:
        questions: method and opened parameters of each question, by the key it is asked under.
        state: the sealed `requestState`.
        info: who answers.
    """
    requests = {key: _input_request(method, params) for key, (method, params) in questions.items()}
    meta = {"_meta": {SERVER_INFO_KEY: info}} if info is not None else {}
    return {"resultType": "input_required", "inputRequests": requests, "requestState": state} | meta


def read_answers(request: ModernRequest) -> dict[str, Raw] | None:
    """The client's answers by key; none where it sends none, None where they are no answers."""
    if "inputResponses" not in request.params:
        return {}
    answers = open_object(request.params["inputResponses"])
    if answers is None or any(bytes(value)[:1] != b"{" for value in answers.values()):
        return None
    return dict(answers)


def without_urls(params: bytes, version: str | None) -> bytes | None:
    """The parameters to initialize a back with again that reads `elicitation` without a form as one with it.

    Before 2025-11-25 the capability had no members, so that any of it meant forms.

    Args:
        params: what it was initialized with.
        version: the revision that it answered.

    Returns:
        None where nothing was misread.
    """
    if version is None or version >= LEGACY[-1]:
        return None
    said = decode(params)
    capabilities = said.get("capabilities") if isinstance(said, dict) else None
    if not isinstance(capabilities, dict):
        return None
    declared = capabilities.get("elicitation")
    if not isinstance(declared, dict) or not declared or "form" in declared:
        return None
    kept = {name: value for name, value in capabilities.items() if name != "elicitation"}
    return encode(said | {"capabilities": kept})


def can_open_urls(capabilities: Mapping[str, Any]) -> bool:
    """Whether a client with these capabilities can be asked to open a URL."""
    declared = capabilities.get("elicitation")
    return isinstance(declared, dict) and "url" in declared


def may_demand_urls(message: bytes) -> bool:
    """Whether an answer is worth being opened for `URL_REQUIRED`, which few are."""
    return b'"error"' in message and b"32042" in message


def urls_of(answer: Envelope) -> list[tuple[str, Members]]:
    """The URL elicitations that a `-32042` demands: `elicitationId` and opened parameters of each."""
    error = open_object(answer.members["error"])
    data = open_object(error["data"]) if error is not None and "data" in error else None
    items = items_of(data["elicitations"]) if data is not None and "elicitations" in data else []
    opened = [members for members in map(open_object, items) if members is not None]
    return [(string(each.get("elicitationId")) or "", each) for each in opened]


def _input_request(method: str, params: Members) -> dict[str, Any]:
    kept = {name: value for name, value in params.items() if name not in _NOT_FOR_A_MODERN_CLIENT}
    meta = open_object(kept["_meta"]) if "_meta" in kept else None
    if meta is not None and PROGRESS_KEY in meta:
        del meta[PROGRESS_KEY]
        kept.pop("_meta")
        if meta:
            kept["_meta"] = Raw(close_object(meta))
    return {"method": method, "params": kept} if kept or method != "roots/list" else {"method": method}


def _without_execution(item: bytes) -> bytes:
    """Tasks don't cross, so no tool says how it takes one."""
    tool = open_object(item)
    if tool is None or tool.pop("execution", None) is None:
        return item
    return close_object(tool)
