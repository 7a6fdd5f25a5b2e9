"""Tools made of other tools: with other names, texts and arguments."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict, cast

from mcp.types import ToolAnnotations  # noqa: TC002
from pydantic import Field
from typing_extensions import Unpack

from isthmus.components.component import Kind, NotSet, NotSetT
from isthmus.components.functions import adapter_of, refuse_unknown
from isthmus.components.tools import ProxyTool, Serializer, Tool, ToolResult


@dataclass(kw_only=True)
class ArgTransform:
    """What is changed of one argument; what is not given stays.

    `name`, `description` (None for none), `default`, `type`, `examples`: instead of its own. `hide`: clients neither
    see nor give it; it then has its `default`, or what `default_factory` gives at each call. `required`: True for an
    argument that has to be given.

    Raises:
        ValueError: these contradict each other.
    """

    name: str | NotSetT | None = NotSet
    description: str | NotSetT | None = NotSet
    default: Any = NotSet
    default_factory: "Callable[[], Any] | NotSetT" = NotSet
    type: Any = NotSet
    hide: bool = False
    required: "Literal[True] | NotSetT" = NotSet
    examples: Any = NotSet

    def __post_init__(self) -> None:
        has_default, has_factory = self.default is not NotSet, self.default_factory is not NotSet
        if has_default and has_factory:
            raise ValueError("Give either default or default_factory, not both.")
        if has_factory and not self.hide:
            raise ValueError("default_factory is for a hidden argument: clients can't be told what it will give.")
        if self.required is not NotSet and (self.required is not True or has_default or has_factory or self.hide):
            raise ValueError("required=True is for an argument that is neither hidden nor has a default value.")

    def value(self) -> Any:
        """What the hidden argument has in a call; `...` if it is not given."""
        return self.default_factory() if callable(self.default_factory) else self.default


class ToolChanges(TypedDict, total=False):
    """What of a tool can be other than of the one it runs."""

    name: str | None
    title: "str | NotSetT | None"
    description: "str | NotSetT | None"
    tags: set[str] | None
    annotations: "ToolAnnotations | NotSetT | None"
    output_schema: "dict[str, Any] | bool | NotSetT | None"
    serializer: "Serializer | NotSetT | None"
    meta: "dict[str, Any] | NotSetT | None"
    enabled: bool | None
    transform_args: dict[str, ArgTransform] | None


class TransformedTool(Tool):
    """A tool that runs another one (`parent_tool`), with other arguments (`transform_args`, by the other's names)."""

    kind: ClassVar[Kind] = "tools"

    parent_tool: Tool = Field(exclude=True)
    transform_args: dict[str, ArgTransform] = Field(default_factory=dict, exclude=True)

    @classmethod
    def from_tool(cls, tool: Tool, **changes: Unpack[ToolChanges]) -> "TransformedTool":
        """A tool that runs another one.

        Args:
            tool: the other one.
            changes: its `name`, `title`, `description`, `tags`, `annotations`, `output_schema`, `serializer`, `meta` or
                `enabled`, and in `transform_args` by the argument's name what is changed of it.

        Raises:
            TypeError: there is no such change; what FastMCP calls `transform_fn` is none here.
            ValueError: there is no such argument, two get one name, or a hidden one needs a value.
        """
        refuse_unknown(changes, ToolChanges)
        arguments = changes.pop("transform_args", None) or {}
        properties = tool.parameters.get("properties", {})
        if unknown := sorted(set(arguments) - set(properties)):
            raise ValueError(f"The tool {tool.name!r} has no argument {unknown[0]!r}; it has {sorted(properties)}.")
        if changes.get("output_schema") is False:
            changes["output_schema"] = None
        given = {name: value for name, value in changes.items() if value is not NotSet}
        for name in ("name", "tags", "enabled"):
            if given.get(name, NotSet) is None:
                del given[name]
        fields = {name: getattr(tool, name) for name in Tool.model_fields} | given
        fields["parameters"] = _transformed(tool, arguments)
        made = cls(parent_tool=tool, transform_args=dict(arguments), **cast(Any, fields))
        made._mirror = tool.mirror if tool.mirror is not None and _is_edit(arguments) else None
        return made

    @property
    def hidden(self) -> dict[str, Any]:
        """The hidden arguments and what they are fixed to; `...` for those that are not given at all."""
        own = {name: each.default for name, each in self.transform_args.items() if each.hide}
        parent = self.parent_tool
        return {**(parent.hidden if isinstance(parent, ProxyTool | TransformedTool) else {}), **own}

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Run the other tool.

        Raises:
            TypeError: an argument is missing, or is none.
            ToolError: the tool says that it failed.
        """
        own = {_name(each, name): name for name, each in _each_argument(self.parent_tool, self.transform_args)}
        if unknown := sorted(set(arguments) - set(own)):
            raise TypeError(f"There is no argument {unknown[0]!r}; there are {sorted(own)}.")
        if missing := sorted(set(self.parameters.get("required", ())) - set(arguments)):
            raise TypeError(f"The argument {missing[0]!r} is missing.")
        defaults = {name: each["default"] for name, each in self.parameters["properties"].items() if "default" in each}
        given = {own[name]: value for name, value in {**defaults, **arguments}.items()}
        hidden = {name: each.value() for name, each in self.transform_args.items() if each.hide}
        return await self.parent_tool.run(
            given | {name: value for name, value in hidden.items() if value is not NotSet}
        )


def _is_edit(arguments: dict[str, ArgTransform]) -> bool:
    """Whether all of it is to hide arguments or fix them, which a proxy can do by itself."""
    return all(each == ArgTransform(hide=True, default=each.default) for each in arguments.values())


def _each_argument(tool: Tool, arguments: dict[str, ArgTransform]) -> Iterator[tuple[str, ArgTransform]]:
    """The arguments that clients see, by the tool's own names."""
    for name in tool.parameters.get("properties", {}):
        change = arguments.get(name) or ArgTransform()
        if not change.hide:
            yield name, change


def _name(change: ArgTransform, own: str) -> str:
    return change.name if isinstance(change.name, str) else own


def _transformed(tool: Tool, arguments: dict[str, ArgTransform]) -> dict[str, Any]:
    """The schema of a tool's arguments after the changes."""
    needed = set(tool.parameters.get("required", ()))
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, change in arguments.items():
        if change.hide and name in needed and change.default is NotSet and change.default_factory is NotSet:
            raise ValueError(f"The tool {tool.name!r} needs the argument {name!r}: hide it with a default.")
    for own, change in _each_argument(tool, arguments):
        name = _name(change, own)
        if name in properties:
            raise ValueError(f"Two arguments of {tool.name!r} would be called {name!r}.")
        properties[name] = _property(tool.parameters["properties"][own], change)
        is_needed = change.required is True or (own in needed and change.default is NotSet)
        required += [name] if is_needed else []
    schema = {**tool.parameters, "properties": properties}
    return {**schema, "required": required} if required or "required" in schema else schema


def _property(schema: Any, change: ArgTransform) -> dict[str, Any]:
    edited = dict(schema) if isinstance(schema, dict) else {}
    if change.description is None or change.required is True:
        edited.pop("description" if change.description is None else "default", None)
    if change.required is True:
        edited.pop("default", None)
    for key, value in (("description", change.description), ("default", change.default), ("examples", change.examples)):
        if value is not NotSet and not (key == "description" and value is None):
            edited[key] = value
    if change.type is not NotSet:
        edited.update(adapter_of(change.type).json_schema())
    return edited
