"""A legacy client before a modern back: the proxy asks on the back's behalf.

A modern server never asks; it answers `input_required` and is called again (2026-07-28 basic/patterns/mrtr). A legacy
client never calls again; it is asked in the middle of its call. So the proxy keeps the client's request open, puts
each of the back's questions to the client as a request of its own, and calls the back again with the answers. What
each message becomes is here; who waits for what is the engine's.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from msgspec import Raw

from isthmus.protocol.edits import items_of
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import (
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    HEADER_MISMATCH,
    LOG_LEVEL_KEY,
    SERVER_INFO_KEY,
    TASKS_EXTENSION,
    UNSUPPORTED_VERSION,
    VERSION_KEY,
)
from isthmus.protocol.versions import LEGACY, MODERN
from isthmus.wire.codec import close_object, decode, encode, open_object, string
from isthmus.wire.envelope import INTERNAL_ERROR, INVALID_PARAMS, Envelope, Members

RESOURCE_NOT_FOUND: Final = -32002
"""What legacy revisions say of a resource that is not there (2025-11-25 server/resources); modern ones -32602."""

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
LEVEL_UNSAID: Final = "info"
"""The level before `logging/setLevel`: "the server MAY decide which messages to send automatically"."""

_NEW_IN_LAST: Final = "2025-11-25"
_COMPLETE: Final = Raw(b'"complete"')
_VERSION: Final = Raw(encode(MODERN[-1]))
_OWN_OF_MODERN: Final = ("resultType", "ttlMs", "cacheScope")
_NEEDS: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
"""The methods that a back may ask for, and the capability that a client must have declared for each."""


class Client(NamedTuple):
    """What a legacy client said of itself at `initialize`.

    `capabilities` are in modern form; `raw_info` and `raw_capabilities` are their JSON texts, for `_meta`.
    """

    version: str
    capabilities: dict[str, Any]
    raw_capabilities: Raw
    raw_info: Raw | None


class Question(NamedTuple):
    """One entry of `inputRequests`, in the form of the client's revision. `url_id` is set where a URL is asked for."""

    key: str
    method: str
    params: Any
    url_id: str | None


class Round(NamedTuple):
    """One `input_required` result: what to ask, and the `requestState` that goes back, as text."""

    questions: list[Question]
    state: Raw | None


def negotiate(requested: str | None) -> str:
    """The revision for a client that asked for one: its own if it is known, else the newest legacy one."""
    return requested if requested in LEGACY else LEGACY[-1]


def read_client(initialize: Envelope) -> Client:
    """What a client says of itself, in modern form: `roots` without `listChanged`, no experimental `tasks`."""
    params = open_object(initialize.members["params"]) if "params" in initialize.members else None
    params = params or {}
    said = decode(params["capabilities"]) if "capabilities" in params else {}
    capabilities = {name: value for name, value in said.items() if name != "tasks"} if isinstance(said, dict) else {}
    if "roots" in capabilities:
        capabilities["roots"] = {}
    _drop_tasks_extension(capabilities)
    version = negotiate(string(params.get("protocolVersion")))
    return Client(version, capabilities, Raw(encode(capabilities)), params.get("clientInfo"))


def initialize_result(discovered: Members, client: Client, own_info: Raw | None) -> dict[str, Any]:
    """The result of `initialize` for what a back's `server/discover` result says.

    Args:
        discovered: the opened result.
        client: whose `initialize` it answers.
        own_info: the proxy's own `serverInfo`; None for the back's.
    """
    capabilities = decode(discovered["capabilities"]) if "capabilities" in discovered else {}
    if isinstance(capabilities, dict):
        capabilities.pop("tasks", None)
        _drop_tasks_extension(capabilities)
    meta = open_object(discovered["_meta"]) if "_meta" in discovered else None
    theirs = meta.get(SERVER_INFO_KEY) if meta is not None else None
    result = {
        "protocolVersion": client.version,
        "capabilities": capabilities,
        "serverInfo": own_info or theirs or {"name": "unknown", "version": ""},
    }
    if "instructions" in discovered:
        result["instructions"] = discovered["instructions"]
    return result


def modern_request(envelope: Envelope, client: Client, level: str | None) -> ModernRequest:
    """A legacy client's request as a modern one.

    Args:
        envelope: the request, whose members become the modern one's.
        client: who asks.
        level: of the log messages that it wants; None for a back that sends none.
    """
    raw = envelope.members.get("params")
    params = (open_object(raw) if raw is not None else None) or {}
    meta = (open_object(params["_meta"]) if "_meta" in params else None) or {}
    meta.update(meta_of(client, level))
    for member in ("inputResponses", "requestState", "task"):
        params.pop(member, None)
    params["_meta"] = Raw(close_object(meta))
    row = row_of(envelope.method)
    name = string(params.get(row.routed)) if row.routed is not None else None
    return ModernRequest(envelope, row, params, meta, MODERN[-1], name)


def meta_of(client: Client, level: str | None = None) -> dict[str, Raw]:
    """The `_meta` of every request in the name of `client`."""
    meta = {VERSION_KEY: _VERSION, CAPABILITIES_KEY: client.raw_capabilities}
    if client.raw_info is not None:
        meta[CLIENT_INFO_KEY] = client.raw_info
    if level is not None:
        meta[LOG_LEVEL_KEY] = Raw(encode(level))
    return meta


def result_kind(result: Members) -> str | None:
    """A result's `resultType`; "complete" where it has none, None for what is no string."""
    raw = result.get("resultType", _COMPLETE)
    return "complete" if raw == _COMPLETE else string(raw)


def legacy_result(method: str, result: Members, version: str) -> None:
    """Bring a final result into the shape of the client's revision, in place."""
    for name in _OWN_OF_MODERN:
        result.pop(name, None)
    if "_meta" in result:
        _drop_server_info(result)
    if method == "tools/call" and "structuredContent" in result:
        _object_content(result)
    elif method == "tools/list" and "tools" in result and b"outputSchema" in bytes(result["tools"]):
        tools = [_object_schema(item) for item in items_of(result["tools"])]
        result["tools"] = Raw(b"[" + b",".join(tools) + b"]")


def legacy_error(error: Members, method: str, uri: str | None) -> Members:
    """A back's error as one of the client's revision.

    Args:
        error: the opened error object.
        method: of the request that it answers.
        uri: that a `resources/read` asked for.
    """
    code = decode(error["code"]) if "code" in error else None
    if code in (HEADER_MISMATCH, UNSUPPORTED_VERSION):
        why = string(error.get("message")) or "The back refused the proxy's request."
        return {"code": _raw(INTERNAL_ERROR), "message": _raw(why), "data": Raw(close_object(error))}
    if code == INVALID_PARAMS and method == "resources/read" and uri is not None:
        data = open_object(error["data"]) if "data" in error else None
        if data is not None and string(data.get("uri")) == uri:
            return error | {"code": _raw(RESOURCE_NOT_FOUND)}
    return error


def read_round(result: Members, client: Client, url_ids: Mapping[str, str]) -> Round | str:
    """What an `input_required` result asks of a client, or why it can't be asked.

    Args:
        result: the opened result.
        client: who would be asked.
        url_ids: an `elicitationId` for each key, for the questions that ask for a URL.
    """
    requests = open_object(result["inputRequests"]) if "inputRequests" in result else {}
    state = result.get("requestState")
    if requests is None:
        return "its inputRequests are no object"
    if not requests and state is None:
        return "it holds neither inputRequests nor a requestState"
    if state is not None and string(state) is None:
        return "its requestState is no string"
    questions = []
    for key, raw in requests.items():
        read = _read_question(key, raw, client, url_ids.get(key))
        if isinstance(read, str):
            return read
        questions.append(read)
    return Round(questions, state)


def retry(request: ModernRequest, answers: Mapping[str, Raw], state: Raw | None) -> None:
    """Make `request` the next round's: this round's answers, and the state if, and only if, this round had one."""
    for name in ("inputResponses", "requestState"):
        request.params.pop(name, None)
    if answers:
        request.params["inputResponses"] = Raw(encode(answers))
    if state is not None:
        request.params["requestState"] = state


def keys_of(result: Members) -> list[str]:
    """The keys under which an `input_required` result asks."""
    requests = open_object(result["inputRequests"]) if "inputRequests" in result else None
    return list(requests or {})


def _read_question(key: str, raw: Raw, client: Client, url_id: str | None) -> Question | str:
    request = open_object(raw)
    method = (string(request.get("method")) if request is not None else None) or ""
    if request is None or method not in _NEEDS:
        return f"it asks for {method!r}, which no server may ask for"
    needed = _NEEDS[method]
    if needed not in client.capabilities:
        return f"it asks for {method}, which the client did not declare"
    params = decode(request["params"]) if "params" in request else {}
    if not isinstance(params, dict):
        return f"its question {key!r} has no parameters"
    if method == "elicitation/create":
        read = _elicitation(key, params, client, url_id)
    elif method == "sampling/createMessage":
        read = _sampling(key, params, client)
    else:
        read = Question(key, method, params, None)
    return read if isinstance(read, str) or not params else _as_it_came(read, params, request["params"])


def _as_it_came(question: Question, params: dict[str, Any], raw: Raw) -> Question:
    """The question with the very text of the parameters that needed no change."""
    texts = open_object(raw) or {}
    kept = {name: texts[name] for name, value in question.params.items() if name in texts and value is params[name]}
    return question._replace(params=question.params | kept)


def _elicitation(key: str, params: dict[str, Any], client: Client, url_id: str | None) -> Question | str:
    declared = client.capabilities.get("elicitation")
    declared = declared if isinstance(declared, dict) else {}
    if params.get("mode") == "url":
        if client.version < _NEW_IN_LAST or "url" not in declared:
            return "it asks the user to open a URL, which the client did not declare"
        return Question(key, "elicitation/create", params | {"elicitationId": url_id}, url_id)
    if declared and "form" not in declared and client.version >= _NEW_IN_LAST:
        return "it asks for a form, which the client did not declare"
    if client.version < _NEW_IN_LAST:
        params = {name: value for name, value in params.items() if name != "mode"}
        if "requestedSchema" in params:
            schema = _older_form(params["requestedSchema"])
            if isinstance(schema, str):
                return schema
            params["requestedSchema"] = schema
    return Question(key, "elicitation/create", params, None)


def _older_form(schema: Any) -> Any:
    """A form's schema before 2025-11-25, or why it can't be said: titled choices were `enum` with `enumNames`."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return schema
    older = {}
    for name, field in properties.items():
        if isinstance(field, dict) and field.get("type") == "array":
            return f"it asks for a choice of several ({name!r}), which the client's revision can't express"
        if isinstance(field, dict) and isinstance(field.get("oneOf"), list):
            choices = [each for each in field["oneOf"] if isinstance(each, dict)]
            field = {member: value for member, value in field.items() if member != "oneOf"}
            field["enum"] = [each.get("const") for each in choices]
            field["enumNames"] = [each.get("title", each.get("const")) for each in choices]
        older[name] = field
    return schema | {"properties": older}


def _sampling(key: str, params: dict[str, Any], client: Client) -> Question | str:
    declared = client.capabilities.get("sampling")
    has_tools = isinstance(declared, dict) and "tools" in declared and client.version >= _NEW_IN_LAST
    if not has_tools and ("tools" in params or "toolChoice" in params):
        return "it asks for sampling with tools, which the client did not declare"
    messages = params.get("messages")
    if client.version < _NEW_IN_LAST and isinstance(messages, list):
        params = params | {"messages": [single for each in messages for single in _single(each)]}
    return Question(key, "sampling/createMessage", params, None)


def _single(message: Any) -> list[Any]:
    """A message of several blocks as messages of one each, which is all that older revisions have."""
    content = message.get("content") if isinstance(message, dict) else None
    return [message | {"content": block} for block in content] if isinstance(content, list) else [message]


def _drop_tasks_extension(capabilities: dict[str, Any]) -> None:
    """Tasks don't cross: neither side is told that the other has them."""
    extensions = capabilities.get("extensions")
    if isinstance(extensions, dict) and TASKS_EXTENSION in extensions:
        extensions.pop(TASKS_EXTENSION)
        if not extensions:
            del capabilities["extensions"]


def _drop_server_info(result: Members) -> None:
    """`serverInfo` in a result's `_meta` is the modern leg's own."""
    meta = open_object(result["_meta"])
    if meta is not None and SERVER_INFO_KEY in meta:
        del meta[SERVER_INFO_KEY]
        if meta:
            result["_meta"] = Raw(close_object(meta))
        else:
            del result["_meta"]


def _object_content(result: Members) -> None:
    """Structured content is an object before 2026: another value becomes a text block unless one holds it already."""
    raw = bytes(result["structuredContent"])
    if raw[:1] == b"{":
        return
    del result["structuredContent"]
    blocks = items_of(result["content"]) if "content" in result else []
    value = decode(raw)
    if not any(_says(block, value) for block in blocks):
        blocks.append(encode({"type": "text", "text": raw.decode("utf-8", "surrogatepass")}))
    result["content"] = Raw(b"[" + b",".join(blocks) + b"]")


def _says(block: bytes, value: Any) -> bool:
    members = open_object(block)
    text = string(members.get("text")) if members is not None else None
    if text is None:
        return False
    said: object = text
    with suppress(ValueError, RecursionError):
        said = decode(text.encode("utf-8", "surrogatepass"))
    return encode(said) == encode(value)


def _object_schema(item: bytes) -> bytes:
    """A tool whose output is no object has no output schema before 2026."""
    tool = open_object(item)
    schema = open_object(tool["outputSchema"]) if tool is not None and "outputSchema" in tool else None
    if tool is None or "outputSchema" not in tool or (schema is not None and string(schema.get("type")) == "object"):
        return item
    del tool["outputSchema"]
    return close_object(tool)


def _raw(value: Any) -> Raw:
    return Raw(encode(value))
