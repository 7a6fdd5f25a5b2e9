"""Tools: of functions, mirrored ones, and ones with other arguments than the tool they run."""

import inspect
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, cast

import pydantic_core
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.server.mcpserver.utilities.types import Audio, Image
from mcp.types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from mcp.types import Tool as OfficialTool
from pydantic import BaseModel, Field, PrivateAttr, PydanticUserError
from typing_extensions import Unpack

from isthmus.client.results import readable
from isthmus.components.component import Caller, Component, Kind, NotSet, NotSetT, tags_of
from isthmus.components.functions import (
    Function,
    adapter_of,
    arguments_of,
    call,
    callable_of,
    context_parameter,
    hints_of,
    name_of,
    refuse_unknown,
    refuse_variadic,
    schema_of,
)
from isthmus.exceptions import ToolError

if TYPE_CHECKING:
    from isthmus.components.transform import ToolChanges, TransformedTool

Serializer = Callable[[Any], str]
_WRAPPED = "x-fastmcp-wrap-result"
"""On an output schema: what the tool gives is no object, and is found under `result`."""


class ToolFields(TypedDict, total=False):
    """What can be said of a tool beside its name, title, description and tags."""

    annotations: ToolAnnotations | None
    exclude_args: list[str] | None
    output_schema: "dict[str, Any] | bool | NotSetT | None"
    serializer: Serializer | None
    meta: dict[str, Any] | None
    enabled: bool | None


class ToolResult:
    """What a tool gives.

    Args:
        content: content blocks, or anything that becomes some.
        structured_content: an object, or what becomes one as JSON.

    Raises:
        ValueError: neither is given, or the structured content is no object.
    """

    def __init__(self, content: Any = None, structured_content: Any = None) -> None:
        if content is None and structured_content is None:
            raise ValueError("A ToolResult needs content, structured_content, or both.")
        self.content: list[ContentBlock] = content_of(structured_content if content is None else content)
        self.structured_content: dict[str, Any] | None = None
        if structured_content is not None:
            plain = pydantic_core.to_jsonable_python(structured_content)
            if not isinstance(plain, dict):
                raise ValueError(
                    f"Structured content is an object, not {type(plain).__name__}: give {{'result': value}} instead."
                )
            self.structured_content = plain

    def to_mcp_result(self) -> "list[ContentBlock] | tuple[list[ContentBlock], dict[str, Any]]":
        """The content, and the structured content with it if there is any."""
        return self.content if self.structured_content is None else (self.content, self.structured_content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolResult) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"ToolResult(content={self.content!r}, structured_content={self.structured_content!r})"


class Tool(Component):
    """A tool. A class of your own has an `async def run(self, arguments)` that gives a `ToolResult`."""

    kind: ClassVar[Kind] = "tools"

    parameters: dict[str, Any] = Field(description="The JSON schema of the arguments.")
    output_schema: dict[str, Any] | None = Field(default=None, description="The JSON schema of what it gives.")
    annotations: ToolAnnotations | None = Field(default=None, description="What clients should know of its effects.")
    serializer: Serializer | None = Field(default=None, description="Makes a text of what is none.")

    @staticmethod
    def from_function(
        fn: Function,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        tags: set[str] | None = None,
        **fields: Unpack[ToolFields],
    ) -> "FunctionTool":
        """A function as a tool; see `FunctionTool.from_function`."""
        return FunctionTool.from_function(fn, name, title, description, tags, **fields)

    @classmethod
    def from_tool(cls, tool: "Tool", **changes: "Unpack[ToolChanges]") -> "TransformedTool":
        """Another tool that runs this one; see `transform.TransformedTool.from_tool`."""
        from isthmus.components.transform import TransformedTool

        return TransformedTool.from_tool(tool, **changes)

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Run it with arguments.

        Raises:
            ToolError: it says that it failed.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an `async def run(self, arguments)`.")

    def to_mcp_tool(self, *, include_fastmcp_meta: bool | None = None, **overrides: Any) -> OfficialTool:
        """It as clients are told of it.

        Args:
            include_fastmcp_meta: whether the tags stand in its `_meta`; they do.
            overrides: fields of the official model to set otherwise.
        """
        fields = {
            "name": self.name,
            "title": self.title or (self.annotations.title if self.annotations is not None else None),
            "description": self.description,
            "input_schema": self.parameters,
            "output_schema": self.output_schema,
            "annotations": self.annotations,
            "_meta": self.get_meta(include_fastmcp_meta),
        }
        return readable(OfficialTool(**cast(Any, fields | overrides)))


class FunctionTool(Tool):
    """A function (`fn`) as a tool."""

    fn: Function = Field(exclude=True)

    _said: FuncMetadata | None = PrivateAttr(default=None)
    _excluded: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def from_function(
        cls,
        fn: Function,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        tags: set[str] | None = None,
        **fields: Unpack[ToolFields],
    ) -> "FunctionTool":
        """A function as a tool. Its arguments are checked by their annotations; one annotated `Context` is given it.

        Args:
            fn: the function, sync or async.
            name: the function's own, if not given.
            title: for people.
            description: the docstring, if not given.
            tags: words that servers choose by.
            fields: `annotations`; `exclude_args`, names of arguments with a default that clients neither see nor give;
                `output_schema`, of what it gives (by its annotation, if not given; None or False for none);
                `serializer`; `meta`; `enabled`.

        Raises:
            ValueError: the function takes any number of arguments, is a nameless lambda, an excluded argument has no
                default, or the output schema is not of an object.
        """
        refuse_unknown(fields, ToolFields)
        refuse_variadic(fn, "tools")
        excluded = _check_excluded(fn, fields.get("exclude_args") or [])
        called = callable_of(fn)
        if (context := context_parameter(called)) is not None:
            excluded = (*excluded, context)
        said = arguments_of(called, excluded)
        output = fields.get("output_schema", NotSet)
        enabled = fields.get("enabled")
        tool = cls(
            fn=called,
            name=name_of(fn, name),
            title=title,
            description=description or inspect.getdoc(fn),
            parameters=schema_of(said),
            output_schema=output_schema_of(called) if output is NotSet else _check_output(output),
            annotations=fields.get("annotations"),
            tags=tags or set(),
            serializer=fields.get("serializer"),
            meta=fields.get("meta"),
            enabled=True if enabled is None else enabled,
        )
        tool._said, tool._excluded = said, excluded
        return tool

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Call the function with arguments.

        Raises:
            pydantic.ValidationError: they are not what it takes.
            Exception: whatever the function raises.
        """
        if self._said is None:
            name = context_parameter(self.fn)
            self._said = arguments_of(self.fn, (name,) if name is not None else ())
        result = await call(self.fn, self._said.validate_arguments(arguments))
        return result_of(result, self.output_schema, self.serializer)


class ProxyTool(Tool):
    """A tool of a server behind a proxy. It can't be changed; its `copy()` can, and calls the same tool."""

    hidden: dict[str, Any] = Field(default_factory=dict, description="Arguments that clients neither see nor give.")

    @classmethod
    def from_mcp_tool(cls, client: Caller, mcp_tool: OfficialTool, member: object = None) -> "ProxyTool":
        """A tool as it is listed.

        Args:
            client: what reaches the server that has it.
            mcp_tool: the listed tool.
            member: kept in the `mirror`.
        """
        return cls(
            name=mcp_tool.name,
            title=mcp_tool.title,
            description=mcp_tool.description,
            parameters=mcp_tool.input_schema,
            output_schema=mcp_tool.output_schema,
            annotations=readable(mcp_tool.annotations),
            meta=mcp_tool.meta,
            tags=set(tags_of(mcp_tool.meta)),
        )._reflect(mcp_tool.name, client, member, "annotations", "output_schema", "parameters")

    def hide(self, *names: str) -> Self:
        """Take arguments (by their `names`) from what clients see and may give; the tool gets none. Of a copy only.

        Raises:
            ValueError: there is no such argument, or the tool needs it.
        """
        needed = [name for name in names if name in self.parameters.get("required", ())]
        if needed:
            raise ValueError(f"The tool {self.name!r} needs the argument {needed[0]!r}: give it a value with fix().")
        return self._cover(dict.fromkeys(names, NotSet))

    def fix(self, **values: Any) -> Self:
        """Let the tool always get these values, which clients then neither see nor give. Of a copy only.

        Raises:
            ValueError: there is no such argument.
        """
        return self._cover(values)

    def _cover(self, arguments: dict[str, Any]) -> Self:
        properties = self.parameters.get("properties", {})
        for name in arguments:
            if name not in properties and name not in self.hidden:
                raise ValueError(f"The tool {self.name!r} has no argument {name!r}; it has {sorted(properties)}.")
        self.hidden = {**self.hidden, **arguments}
        self.parameters = covered(self.parameters, arguments)
        return self

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Call the tool where it is.

        Raises:
            ToolError: it answered with an error.
        """
        mirror = self._mirror
        if mirror is None:
            raise RuntimeError(f"The tool {self.name!r} is of no server: make it with ProxyTool.from_mcp_tool.")
        given = {name: value for name, value in arguments.items() if name not in self.hidden}
        fixed = {name: value for name, value in self.hidden.items() if value is not NotSet}
        async with mirror.caller as client:
            result: CallToolResult = await client.call_tool_mcp(mirror.own, {**given, **fixed})
        if result.is_error:
            texts = [each.text for each in result.content if isinstance(each, TextContent)]
            raise ToolError("\n".join(texts) or f"The tool {self.name!r} failed and did not say why.")
        return ToolResult(result.content, result.structured_content)


def covered(parameters: dict[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    """The schema of arguments without those that are hidden."""
    kept = {name: each for name, each in parameters.get("properties", {}).items() if name not in hidden}
    schema = {**parameters, "properties": kept}
    if "required" in parameters:
        schema["required"] = [name for name in parameters["required"] if name not in hidden]
    return schema


# -- what functions give ----------------------------------------------------------------------------------------------


def content_of(value: Any, serializer: Serializer | None = None) -> list[ContentBlock]:
    """A value as content blocks: blocks as they are, a text as it is, all else as JSON in one text.

    In a list or tuple, what are no blocks make one text together, which stands first.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        return [_block(value, serializer)]
    blocks = [_block(each, serializer) for each in value if _is_block(each)]
    others = [each for each in value if not _is_block(each)]
    return [_block(others, serializer), *blocks] if others else blocks


def _is_block(value: Any) -> bool:
    return isinstance(value, ContentBlock | Image | Audio)


def _block(value: Any, serializer: Serializer | None) -> ContentBlock:
    if isinstance(value, Image):
        return value.to_image_content()
    if isinstance(value, Audio):
        return value.to_audio_content()
    if isinstance(value, ContentBlock):
        return value
    if not isinstance(value, str):
        value = serializer(value) if serializer is not None else pydantic_core.to_json(value, fallback=str).decode()
    return TextContent(type="text", text=value)


def result_of(value: Any, schema: dict[str, Any] | None, serializer: Serializer | None) -> ToolResult:
    """What a function gave, as what its tool gives: structured too by the output schema, or where it is an object."""
    if isinstance(value, ToolResult):
        return value
    if isinstance(value, CallToolResult):
        return ToolResult(value.content, value.structured_content)
    structured: Any = None
    if schema is not None:
        structured = {"result": value} if schema.get(_WRAPPED) else value
    elif isinstance(value, dict | BaseModel) or hasattr(value, "__dataclass_fields__"):
        structured = _object_of(value)
    return ToolResult(content_of(value, serializer), structured)


def _object_of(value: Any) -> dict[str, Any] | None:
    try:
        plain = pydantic_core.to_jsonable_python(value)
    except pydantic_core.PydanticSerializationError:
        return None
    return plain if isinstance(plain, dict) else None


def output_schema_of(fn: Function) -> dict[str, Any] | None:
    """The schema of what a function is annotated to return; None where that says nothing, or is content blocks.

    What is no object stands under `result` in one, which the schema says.
    """
    hint = hints_of(fn).get("return", Any)
    if hint in (Any, None, type(None), ...) or isinstance(hint, str) or _mentions_content(hint):
        return None
    try:
        schema = adapter_of(hint).json_schema(mode="serialization")
    except (PydanticUserError, TypeError, NameError):
        return None
    if schema.get("type") == "object":
        return schema
    shared = schema.pop("$defs", None)
    wrapped = {"type": "object", "properties": {"result": schema}, "required": ["result"], _WRAPPED: True}
    return wrapped | ({"$defs": shared} if shared else {})


def _mentions_content(hint: Any) -> bool:
    if inspect.isclass(hint) and issubclass(hint, (ContentBlock, Image, Audio, ToolResult, CallToolResult)):
        return True
    return any(_mentions_content(each) for each in getattr(hint, "__args__", ()))


def _check_excluded(fn: Function, names: list[str]) -> tuple[str, ...]:
    parameters = inspect.signature(fn).parameters
    for name in names:
        if name not in parameters:
            raise ValueError(f"exclude_args names {name!r}, which is no argument of the function.")
        if parameters[name].default is inspect.Parameter.empty:
            raise ValueError(f"exclude_args names {name!r}, which needs a default value then.")
    return tuple(names)


def _check_output(schema: Any) -> dict[str, Any] | None:
    if schema is None or schema is False:
        return None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise ValueError('An output schema is of an object: it has "type": "object". Put other things into one.')
    return schema
