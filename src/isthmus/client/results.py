"""What a client returns and hands to handlers: the official models, on which the names of version 1 can be read too.

The SDK of version 1 calls members as the protocol does (`inputSchema`), that of version 2 as Python does
(`input_schema`). Here an object answers to both: it gets a subclass of its class that looks names up by their alias. It
stays an instance of the official class, equal to the same one without.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from mcp.types import ContentBlock

T = TypeVar("T")


@dataclass
class CallToolResult:
    """What a tool answered.

    `content`: the blocks for a model to read. `structured_content`: the same as an object, if the tool gives one.
    `data`: that as Python's objects, by the tool's output schema; None without structured content. `is_error`: whether
    the tool failed. `meta`: the answer's `_meta`.
    """

    content: "list[ContentBlock]"
    structured_content: dict[str, Any] | None
    data: Any = None
    is_error: bool = False
    meta: dict[str, Any] | None = None

    @property
    def structuredContent(self) -> dict[str, Any] | None:
        """`structured_content`, as the protocol calls it."""
        return self.structured_content

    @property
    def isError(self) -> bool:
        """`is_error`, as the protocol calls it."""
        return self.is_error


def readable(value: T) -> T:
    """The same object; it and all models in it answer to the names of version 1.

    What stands in a model as plain JSON (schemas, structured content, `_meta`) is left as it is.
    """
    if isinstance(value, BaseModel):
        _convert(value)
    elif isinstance(value, list | tuple):
        _each(value)
    return value


def _each(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, BaseModel | list):
            readable(value)


def _convert(model: BaseModel) -> None:
    kind = type(model)
    if "_official" not in kind.__dict__:
        object.__setattr__(model, "__class__", _both_names(kind))
    for value in model.__dict__.values():
        if isinstance(value, BaseModel | list | tuple):
            readable(value)
        elif isinstance(value, dict):
            _each(value.values())


@cache
def _both_names(official: type[BaseModel]) -> type[BaseModel]:
    aliases = {field.alias: name for name, field in official.model_fields.items() if field.alias not in (None, name)}
    aliases["root"] = ""  # unions of version 1 were models around one member
    parent: Callable[[Any, str], Any] | None = getattr(official, "__getattr__", None)

    def look_up(self: Any, name: str) -> Any:
        if name in aliases:
            return getattr(self, aliases[name]) if aliases[name] else self
        if parent is not None:
            return parent(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def is_equal(self: BaseModel, other: object) -> bool:
        return _is_equal(official, self, other)

    def reduce(self: BaseModel) -> Any:
        return _rebuild, (official, self.__getstate__())

    # properties, and not only `__getattr__`: whoever else gave the official models these names is not asked
    named = {alias: property(attrgetter(own)) for alias, own in aliases.items() if own}
    members: dict[str, Any] = named | {
        "__module__": official.__module__,
        "__qualname__": official.__qualname__,
        "__doc__": official.__doc__,
        "__getattr__": look_up,
        "__eq__": is_equal,
        "__hash__": None,
        "__reduce__": reduce,
        "_official": official,
        "model_config": {"defer_build": True},
        "__annotations__": {"_official": "ClassVar[type]"},
    }
    kind: Any = type(official)
    made: type[BaseModel] = kind(official.__name__, (official,), members)
    return made


def _is_equal(official: type[BaseModel], mine: BaseModel, other: object) -> bool:
    if not isinstance(other, official):
        return False
    return bool(mine.__dict__ == other.__dict__ and (mine.model_extra or {}) == (other.model_extra or {}))


def _rebuild(official: type[BaseModel], state: dict[str, Any]) -> BaseModel:
    model = official.__new__(official)
    model.__setstate__(state)
    return readable(model)
