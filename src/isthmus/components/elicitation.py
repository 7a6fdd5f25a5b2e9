"""Forms that a function has a client's user fill in."""

import inspect
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeVar, get_origin

from mcp.server.elicitation import CancelledElicitation as CancelledElicitation
from mcp.server.elicitation import DeclinedElicitation as DeclinedElicitation
from mcp.types import ElicitResult
from pydantic import BaseModel, TypeAdapter

T = TypeVar("T")
_PLAIN: Final = ("string", "number", "integer", "boolean")


class AcceptedElicitation(BaseModel, Generic[T]):
    """The user answered: `action` is `accept`, and `data` the answer."""

    action: Literal["accept"] = "accept"
    data: T


@dataclass
class ScalarElicitationType(Generic[T]):
    """The form of one plain answer."""

    value: T


class Form:
    """What is asked for, as a schema, and how the answer becomes a value of it.

    Args:
        wanted: as for `Context.elicit`.

    Raises:
        TypeError: a form can't have such fields.
        ValueError: a choice is not among texts.
    """

    def __init__(self, wanted: Any) -> None:
        self._adapter: TypeAdapter[Any] | None = None
        self._is_scalar = False
        self.schema: dict[str, Any] = {"type": "object", "properties": {}}
        if wanted is None:
            return
        if isinstance(wanted, list):
            if not all(isinstance(each, str) for each in wanted):
                raise ValueError(f"What to choose from must be a list of texts, not {wanted!r}.")
            wanted = Literal[tuple(wanted)]
        self._is_scalar = _is_scalar(wanted)
        asked: Any = ScalarElicitationType[wanted] if self._is_scalar else wanted
        self._adapter = TypeAdapter(asked)
        self.schema = self._adapter.json_schema()
        if self._is_scalar:
            self.schema = {key: each for key, each in self.schema.items() if key not in ("title", "description")}
        check_schema(self.schema)

    def read(self, result: ElicitResult) -> Any:
        """The client's answer as a value.

        Raises:
            ValueError: it is not of the type that was asked for.
        """
        if result.action == "decline":
            return DeclinedElicitation()
        if result.action == "cancel":
            return CancelledElicitation()
        if self._adapter is None:
            if result.content:
                raise ValueError(f"The client was asked for yes or no, and answered with {list(result.content)} too.")
            return AcceptedElicitation[dict[str, Any]](data={})
        value = self._adapter.validate_python(result.content)
        return AcceptedElicitation[Any](data=value.value if self._is_scalar else value)


def _is_scalar(wanted: Any) -> bool:
    is_enum = inspect.isclass(wanted) and issubclass(wanted, Enum)
    return wanted in (bool, int, float, str) or get_origin(wanted) is Literal or is_enum


def check_schema(schema: dict[str, Any]) -> None:
    """Refuse what the protocol has no form for: anything but an object of plain fields and choices.

    Raises:
        TypeError: the schema is of something else.
    """
    if schema.get("type") != "object":
        raise TypeError(f"A form is an object of plain fields; this is {schema.get('type') or 'something else'}.")
    for name, field in schema.get("properties", {}).items():
        if not _is_plain(field, schema.get("$defs", {})):
            raise TypeError(
                f"A form can't have the field {name!r}: fields are texts, numbers, booleans, or choices among them; "
                "objects and lists have to be asked for one by one."
            )


def _is_plain(field: Any, shared: dict[str, Any]) -> bool:
    if "const" in field or "enum" in field:
        return True
    if "$ref" in field:
        return _is_plain(shared.get(field["$ref"].removeprefix("#/$defs/"), {}), {})
    if arms := [*field.get("oneOf", ()), *field.get("anyOf", ())]:
        return all(each.get("type") == "null" or _is_plain(each, shared) for each in arms)
    kind = field.get("type")
    kinds = [each for each in kind if each != "null"] if isinstance(kind, list) else [kind]
    if kinds == ["array"]:
        return "enum" in field.get("items", {})
    return bool(kinds) and all(each in _PLAIN for each in kinds)
