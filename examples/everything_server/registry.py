"""Tools and prompts by name, each declared beside its function."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError, create_model

from .core import Call, NeedsInput, PromptFunction, PromptOutput, ToolFunction, ToolOutput

PASSED_ON = (types.MISSING_REQUIRED_CLIENT_CAPABILITY, types.URL_ELICITATION_REQUIRED)


@dataclass(frozen=True)
class ToolEntry:
    tool: types.Tool
    arguments: type[BaseModel]
    function: ToolFunction

    async def __call__(self, call: Call, arguments: dict[str, Any]) -> types.CallToolResult | types.InputRequiredResult:
        try:
            given = self.arguments.model_validate(arguments)
            values = {name: getattr(given, name) for name in type(given).model_fields}
            return as_result(await self.function(call, **values))
        except NeedsInput as need:
            return need.result
        except MCPError as error:
            if error.error.code in PASSED_ON:
                raise
            return failure(error.error.message)
        except ValidationError as error:
            return failure(str(error))
        except Exception as error:
            return failure(str(error))


@dataclass(frozen=True)
class PromptEntry:
    prompt: types.Prompt
    function: PromptFunction

    async def __call__(
        self, call: Call, arguments: dict[str, str]
    ) -> types.GetPromptResult | types.InputRequiredResult:
        missing = [a.name for a in self.prompt.arguments or [] if a.required and a.name not in arguments]
        if missing:
            raise MCPError(types.INVALID_PARAMS, f"Missing arguments: {', '.join(missing)}")
        try:
            messages = await self.function(call, arguments)
        except NeedsInput as need:
            return need.result
        return types.GetPromptResult(description=self.prompt.description, messages=messages)


TOOLS: dict[str, ToolEntry] = {}
PROMPTS: dict[str, PromptEntry] = {}


def tool(
    *,
    title: str | None = None,
    schema: dict[str, Any] | None = None,
    annotations: types.ToolAnnotations | None = None,
    icons: list[types.Icon] | None = None,
) -> Callable[[ToolFunction], ToolFunction]:
    def register(function: ToolFunction) -> ToolFunction:
        name, description = _named(function)
        hints = get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {}
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
        arguments: type[BaseModel] = create_model(name, **fields)
        declared = types.Tool(
            name=name,
            title=title,
            description=description,
            input_schema=schema or arguments.model_json_schema(),
            output_schema=_output_schema(hints.get("return")),
            annotations=annotations,
            icons=icons,
        )
        TOOLS[name] = ToolEntry(declared, arguments, function)
        return function

    return register


def prompt(*arguments: types.PromptArgument, title: str | None = None) -> Callable[[PromptFunction], PromptFunction]:
    def register(function: PromptFunction) -> PromptFunction:
        name, description = _named(function)
        declared = types.Prompt(name=name, title=title, description=description, arguments=list(arguments) or None)
        PROMPTS[name] = PromptEntry(declared, function)
        return function

    return register


def _output_schema(returned: Any) -> dict[str, Any] | None:
    if not isinstance(returned, type) or not issubclass(returned, BaseModel):
        return None
    if issubclass(returned, types.Result | types.ContentBlock):
        return None
    return returned.model_json_schema()


def _named(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__name__, inspect.getdoc(function) or ""


def failure(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def as_result(output: ToolOutput) -> types.CallToolResult:
    match output:
        case types.CallToolResult():
            return output
        case str():
            return types.CallToolResult(content=[types.TextContent(text=output)])
        case list():
            return types.CallToolResult(content=output)
        case (
            types.TextContent()
            | types.ImageContent()
            | types.AudioContent()
            | types.ResourceLink()
            | types.EmbeddedResource()
        ):
            return types.CallToolResult(content=[output])
        case _:
            text = types.TextContent(text=output.model_dump_json())
            return types.CallToolResult(content=[text], structured_content=output.model_dump(mode="json"))


def said(*contents: types.ContentBlock | str) -> PromptOutput:
    return [
        types.PromptMessage(role="user", content=types.TextContent(text=c) if isinstance(c, str) else c)
        for c in contents
    ]
