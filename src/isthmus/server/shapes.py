"""Requests and results as middleware sees them: the SDK's models, lists of components, and back to text.

What a function did not change is written as it came: a model is compared with a copy of itself, a list's items by what
they are.
"""

from typing import Any, Final

from msgspec import Raw

from isthmus.protocol import edits
from isthmus.wire.codec import close_object, decode, encode, open_object
from isthmus.wire.envelope import Members, result_message

_PARAMS: Final = {
    "tools/call": "CallToolRequestParams",
    "resources/read": "ReadResourceRequestParams",
    "prompts/get": "GetPromptRequestParams",
}
_RESULTS: Final = {"resources/read": "ReadResourceResult", "prompts/get": "GetPromptResult"}
_LISTED: Final = {
    "tools/list": ("tools", "Tool"),
    "prompts/list": ("prompts", "Prompt"),
    "resources/list": ("resources", "Resource"),
    "resources/templates/list": ("resourceTemplates", "ResourceTemplate"),
}


class Asked:
    """One request: `message` as functions see it.

    Args:
        method: its method.
        id: its id, as JSON.
        params: its opened parameters.
        is_modern: whether its client is of the modern era, whose results say what they are.
    """

    def __init__(self, method: str, id: bytes | None, params: Members, *, is_modern: bool) -> None:
        self._own: Members = {"resultType": Raw(b'"complete"')} if is_modern else {}
        self.method = method
        self.id = id or b"null"
        self._params = params
        self.message = self._model(params)
        self._was = _copy(self.message)
        self._result = Raw(close_object(self._own))
        self._items: dict[int, bytes] = {}
        self._seen: Any = None
        self._before: Any = None

    def params_of(self, message: Any) -> Members:
        """The parameters that a message stands for."""
        if message == self._was:
            return dict(self._params)
        said = message if isinstance(message, dict) else _plain(message)
        rest = {name: raw for name, raw in self._params.items() if name in ("_meta", "inputResponses", "requestState")}
        return (open_object(encode(said)) or {}) | rest

    def read(self, result: Raw) -> Any:
        """A result as functions see it."""
        self._result = result
        members = open_object(result) or {}
        if self.method in _LISTED:
            seen: Any = self._read_list(members)
            self._before = list(seen)
        elif self.method == "tools/call" and "content" in members:
            seen = _tool_result(decode(result))
            self._before = _copy_result(seen)
        elif self.method in _RESULTS:
            seen = _model(_RESULTS[self.method], decode(result))
            self._before = _copy(seen)
        else:
            seen = self._before = decode(result)
        self._seen = seen
        return seen

    def write(self, result: Any) -> bytes:
        """The text of a result that functions gave."""
        if self.method in _LISTED and isinstance(result, list):
            return self._write_list(result)
        if result is self._seen and _same(result, self._before):
            return bytes(self._result)
        members = open_object(self._result) or {}
        said = result if isinstance(result, dict) else _said(result)
        return close_object(members | (open_object(encode(said)) or {}))

    def failure(self, failed: Exception) -> bytes | None:
        """The answer for an exception that says what a tool failed with; None where it is none of these."""
        from isthmus.exceptions import ToolError

        if self.method != "tools/call" or not isinstance(failed, ToolError):
            return None
        content = [{"type": "text", "text": str(failed)}]
        return result_message(self.id, {"content": content, "isError": True} | self._own)

    def _model(self, params: Members) -> Any:
        shown = {name: decode(raw) for name, raw in params.items() if name not in ("inputResponses", "requestState")}
        name = _PARAMS.get(self.method)
        return _model(name, shown) if name is not None else shown

    def _read_list(self, members: Members) -> list[Any]:
        listed, name = _LISTED[self.method]
        made = []
        for text in edits.items_of(members[listed]) if listed in members else []:
            component = _component(name, _model(name, decode(text)))
            self._items[id(component)] = text
            made.append(component)
        self._kept = made  # so that no other object gets the id of one
        return made

    def _write_list(self, components: list[Any]) -> bytes:
        listed, _ = _LISTED[self.method]
        if components == self._before and all(map(_is, components, self._before)):
            return bytes(self._result)
        texts = [self._items.get(id(each)) or encode(_official(each)) for each in components]
        members = open_object(self._result) or {}
        members[listed] = Raw(b"[" + b",".join(texts) + b"]")
        return close_object(members)


def _model(name: str, said: Any) -> Any:
    from mcp import types

    from isthmus.client.results import readable

    return readable(getattr(types, name).model_validate(said))


def _component(name: str, model: Any) -> Any:
    """A listed thing as a component, which functions may look at and leave out; changed, it is written anew."""
    from isthmus.components.prompts import ProxyPrompt
    from isthmus.components.resources import ProxyResource
    from isthmus.components.templates import ProxyTemplate
    from isthmus.components.tools import ProxyTool

    nobody: Any = None
    makers: dict[str, Any] = {
        "Tool": ProxyTool.from_mcp_tool,
        "Prompt": ProxyPrompt.from_mcp_prompt,
        "Resource": ProxyResource.from_mcp_resource,
        "ResourceTemplate": ProxyTemplate.from_mcp_template,
    }
    return makers[name](nobody, model)


def _official(component: Any) -> Any:
    """A component as lists have it."""
    for name in ("to_mcp_tool", "to_mcp_prompt", "to_mcp_resource", "to_mcp_template"):
        if hasattr(component, name):
            return _plain(getattr(component, name)())
    return _plain(component)


def _tool_result(said: dict[str, Any]) -> Any:
    from isthmus.components.tools import ToolResult

    if said.get("isError"):
        return _model("CallToolResult", said)
    official = _model("CallToolResult", said)
    return ToolResult(official.content, official.structured_content)


def _copy_result(seen: Any) -> Any:
    return _copy(seen) if hasattr(seen, "model_copy") else (list(seen.content), seen.structured_content)


def _same(seen: Any, before: Any) -> bool:
    if isinstance(before, tuple):
        return (list(seen.content), seen.structured_content) == before
    return bool(seen == before)


def _said(result: Any) -> dict[str, Any]:
    if hasattr(result, "model_dump"):
        return _plain(result)
    content = [_plain(block) for block in result.content]
    structured = result.structured_content
    return {"content": content} | ({"structuredContent": structured} if structured is not None else {})


def _plain(model: Any) -> dict[str, Any]:
    said: dict[str, Any] = model.model_dump(by_alias=True, exclude_none=True, mode="json")
    return said


def _copy(value: Any) -> Any:
    import copy

    return value.model_copy(deep=True) if hasattr(value, "model_copy") else copy.deepcopy(value)


def _is(one: Any, other: Any) -> bool:
    return one is other
