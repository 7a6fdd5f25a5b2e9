"""Prompts: of functions, and mirrored ones."""

import inspect
import json
from typing import Any, ClassVar, Literal, TypedDict, cast

import pydantic_core
from mcp.types import ContentBlock, PromptMessage, TextContent
from mcp.types import Prompt as OfficialPrompt
from mcp.types import PromptArgument as OfficialArgument
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Unpack

from isthmus.client.results import readable
from isthmus.components.component import Caller, Component, Kind, tags_of
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
from isthmus.exceptions import PromptError


def Message(
    content: str | ContentBlock, role: Literal["user", "assistant"] | None = None, **fields: Any
) -> PromptMessage:
    """A message of a prompt: a text or a content block, of the user if no role is given.

    `fields` are more of the SDK's `PromptMessage`.
    """
    block = TextContent(type="text", text=content) if isinstance(content, str) else content
    return PromptMessage(role=role or "user", content=block, **fields)


class PromptArgument(BaseModel):
    """An argument of a prompt."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What it is called.")
    description: str | None = Field(default=None, description="What it is for.")
    required: bool = Field(default=False, description="Whether it has to be given.")


class PromptFields(TypedDict, total=False):
    """What can be said of a prompt beside its name, title, description and tags."""

    enabled: bool | None
    meta: dict[str, Any] | None


class Prompt(Component):
    """A prompt. A class of your own has an `async def render(self, arguments)` that gives messages."""

    kind: ClassVar[Kind] = "prompts"

    arguments: list[PromptArgument] | None = Field(default=None, description="What it can be given.")

    @staticmethod
    def from_function(
        fn: Function,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        tags: set[str] | None = None,
        **fields: Unpack[PromptFields],
    ) -> "FunctionPrompt":
        """A function as a prompt; see `FunctionPrompt.from_function`."""
        return FunctionPrompt.from_function(fn, name, title, description, tags, **fields)

    async def render(self, arguments: dict[str, Any] | None = None) -> list[PromptMessage]:
        """The messages.

        Raises:
            PromptError: they can't be made.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an `async def render(self, arguments)`.")

    def to_mcp_prompt(self, *, include_fastmcp_meta: bool | None = None, **overrides: Any) -> OfficialPrompt:
        """It as clients are told of it; see `Tool.to_mcp_tool`."""
        fields = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "arguments": [OfficialArgument(**each.model_dump()) for each in self.arguments or ()],
            "_meta": self.get_meta(include_fastmcp_meta),
        }
        return readable(OfficialPrompt(**cast(Any, fields | overrides)))


class FunctionPrompt(Prompt):
    """A function (`fn`) as a prompt."""

    fn: Function = Field(exclude=True)

    @classmethod
    def from_function(
        cls,
        fn: Function,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        tags: set[str] | None = None,
        **fields: Unpack[PromptFields],
    ) -> "FunctionPrompt":
        """A function as a prompt: it gives a text, a `Message`, something that becomes JSON, or a list of such.

        Clients give texts; for an argument that is annotated as something else, the text is read as JSON.

        Args:
            fn: the function, sync or async. An argument annotated `Context` is given it.
            name: the function's own, if not given.
            title: for people.
            description: the docstring, if not given.
            tags: words that servers choose by.
            fields: `enabled`, `meta`.

        Raises:
            ValueError: the function takes any number of arguments, or is a nameless lambda.
        """
        refuse_unknown(fields, PromptFields)
        refuse_variadic(fn, "prompts")
        called = callable_of(fn)
        enabled = fields.get("enabled")
        return cls(
            fn=called,
            name=name_of(fn, name),
            title=title,
            description=description or inspect.getdoc(fn),
            arguments=_arguments(called),
            tags=tags or set(),
            enabled=True if enabled is None else enabled,
            meta=fields.get("meta"),
        )

    async def render(self, arguments: dict[str, Any] | None = None) -> list[PromptMessage]:
        """The messages that the function gives.

        Raises:
            ValueError: an argument is missing.
            PromptError: an argument is not what the function takes, or what it gives is no message.
        """
        given = arguments or {}
        if missing := sorted({each.name for each in self.arguments or () if each.required} - set(given)):
            raise ValueError(f"The prompt {self.name!r} needs the argument {missing[0]!r}.")
        hints = hints_of(self.fn)
        values = {name: self._read(name, value, hints.get(name, str)) for name, value in given.items()}
        result = await call(self.fn, values)
        return [_message(each) for each in (result if isinstance(result, list | tuple) else [result])]

    def _read(self, name: str, value: Any, kind: Any) -> Any:
        if kind is str or not isinstance(value, str):
            return value
        adapter = adapter_of(kind)
        try:
            return adapter.validate_json(value)
        except ValueError:
            pass
        try:
            return adapter.validate_python(value)
        except ValueError as error:
            raise PromptError(f"The argument {name!r} of the prompt {self.name!r} is not {kind}: {error}") from error


class ProxyPrompt(Prompt):
    """A prompt of a server behind a proxy. It can't be changed; its `copy()` can, and renders the same one."""

    @classmethod
    def from_mcp_prompt(cls, client: Caller, mcp_prompt: OfficialPrompt, member: object = None) -> "ProxyPrompt":
        """A prompt as it is listed; see `ProxyTool.from_mcp_tool`."""
        return cls(
            name=mcp_prompt.name,
            title=mcp_prompt.title,
            description=mcp_prompt.description,
            arguments=[
                PromptArgument(name=each.name, description=each.description, required=bool(each.required))
                for each in mcp_prompt.arguments or ()
            ],
            meta=mcp_prompt.meta,
            tags=set(tags_of(mcp_prompt.meta)),
        )._reflect(mcp_prompt.name, client, member)

    async def render(self, arguments: dict[str, Any] | None = None) -> list[PromptMessage]:
        """The messages, from where the prompt is."""
        if (mirror := self._mirror) is None:
            raise RuntimeError(f"The prompt {self.name!r} is of no server: make it with ProxyPrompt.from_mcp_prompt.")
        async with mirror.caller as client:
            return list((await client.get_prompt(mirror.own, arguments)).messages)


def _arguments(fn: Function) -> list[PromptArgument]:
    context = context_parameter(fn)
    said = arguments_of(fn, (context,) if context is not None else ())
    schema, hints = schema_of(said), hints_of(fn)
    return [
        PromptArgument(
            name=name,
            description=_described(each.get("description"), hints.get(name, str)),
            required=name in schema.get("required", ()),
        )
        for name, each in schema.get("properties", {}).items()
    ]


def _described(description: str | None, kind: Any) -> str | None:
    """What is said of an argument: for one that is no text, also of which JSON it has to be the text."""
    if kind is str:
        return description
    schema = json.dumps(adapter_of(kind).json_schema(), separators=(",", ":"))
    note = f"Give it as the JSON text of a value that matches {schema}"
    return f"{description}\n\n{note}" if description else note


def _message(given: Any) -> PromptMessage:
    if isinstance(given, PromptMessage):
        return given
    return Message(given if isinstance(given, str) else pydantic_core.to_json(given, fallback=str).decode())
