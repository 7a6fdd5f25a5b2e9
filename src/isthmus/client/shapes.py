"""From a JSON schema to a type of Python: objects become dataclasses, all else what pydantic can validate.

Values are made by `parse`; handlers of elicitations get the type itself. A schema that says nothing of a value gives
`Any`: it is then left as it came.
"""

import copy
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, ForwardRef, Literal, Union

from pydantic import AliasChoices, AnyUrl, ConfigDict, Field, TypeAdapter, create_model

_SIMPLE: Final[dict[str, Any]] = {"boolean": bool, "null": type(None)}
_FORMATS: Final[dict[str, Any]] = {"date-time": datetime, "uri": AnyUrl}
_TEXT: Final = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_COUNT: Final = {"minItems": "min_length", "maxItems": "max_length"}
_NUMBER: Final = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}


def type_of(schema: Mapping[str, Any]) -> Any:
    """The type that a schema describes.

    An object with properties is a dataclass, called by the schema's `title` or else `Root`, whose optional fields are
    None if they have no default; with properties and `additionalProperties: true`, a model of pydantic, which keeps the
    others. An object without properties is a dict. The same schema gives the same type.
    """
    return _types(json.dumps(schema))[0]


def parse(schema: Mapping[str, Any], value: Any) -> Any:
    """A JSON value as an object of the schema's type.

    Raises:
        ValueError: it is none.
    """
    return _types(json.dumps(schema))[1].validate_python(value)


def to_json(value: Any) -> Any:
    """A value as JSON would hold it; a dataclass without its fields that are None by default."""
    from pydantic_core import to_jsonable_python

    if isinstance(value, list | tuple | set):
        return [to_json(each) for each in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return to_jsonable_python(value)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if content is not None or field.default is dataclasses.MISSING:
            found[field.metadata.get("alias", field.name)] = to_json(content)
    return found


@cache
def _types(schema: str) -> tuple[Any, TypeAdapter[Any]]:
    document = json.loads(schema)
    kind = _Builder(document).kind_of(document)
    return kind, TypeAdapter(kind)


class _Builder:
    """Makes the types of one schema document."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._making: list[tuple[str, str]] = []
        self._made: dict[str, Any] = {}

    def kind_of(self, schema: Any) -> Any:
        """The type of a schema within the document."""
        if not isinstance(schema, Mapping) or not schema:
            return Any
        if "$ref" in schema:
            return self.kind_of(self._resolve(str(schema["$ref"])))
        if "const" in schema:
            return _one_of([schema["const"]])
        if "enum" in schema:
            return _one_of(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return _union([self.kind_of(each) for each in schema[key]])
        if isinstance(schema.get("type"), list):
            return _union([self.kind_of({**schema, "type": each}) for each in schema["type"]])
        return self._by_type(schema)

    def _resolve(self, reference: str) -> Any:
        """What a reference within the document means; {} if it leads nowhere, or out of it."""
        found: Any = self._document
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key, {}) if isinstance(found, Mapping) else {}
        return found if not (isinstance(found, Mapping) and found.get("$ref") == reference) else {}

    def _by_type(self, schema: Mapping[str, Any]) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "")
        if kind == "string":
            return _FORMATS.get(schema.get("format", "")) or _bounded(str, schema, _TEXT)
        if kind in ("integer", "number"):
            return _bounded(int if kind == "integer" else float, schema, _NUMBER)
        if kind == "array":
            return self._array(schema)
        return self._object(schema) if kind == "object" else _SIMPLE.get(kind, Any)

    def _array(self, schema: Mapping[str, Any]) -> Any:
        items = schema.get("items", {})
        each: Any = _union([self.kind_of(one) for one in items]) if isinstance(items, list) else self.kind_of(items)
        is_set = schema.get("uniqueItems") is True and isinstance(each, type) and issubclass(each, str | int | float)
        return _bounded((set if is_set else list).__class_getitem__(each), schema, _COUNT)

    def _object(self, schema: Mapping[str, Any]) -> Any:
        others = schema.get("additionalProperties")
        if not schema.get("properties"):
            return dict.__class_getitem__((str, self.kind_of(others) if isinstance(others, Mapping) else Any))
        key = json.dumps(schema, sort_keys=True)
        if key in self._made:
            return self._made[key]
        for at, (made, name) in enumerate(reversed(self._making)):
            if made == key:  # itself again: pydantic knows a class by its name while it reads the class's own fields
                return ForwardRef(name) if at == 0 else Any
        name = python_name(str(schema.get("title") or "Root"))
        self._making.append((key, name))
        try:
            fields = [(own, *self._field(schema, own)) for own in schema["properties"]]
        finally:
            self._making.pop()
        self._made[key] = _open_model(name, fields) if others is True else _dataclass(name, fields)
        return self._made[key]

    def _field(self, schema: Mapping[str, Any], own: str) -> tuple[Any, Any]:
        """A property's type and its default, `...` where it must be given."""
        said = schema["properties"][own]
        kind = self.kind_of(said)
        if isinstance(said, Mapping) and "default" in said:
            return kind, said["default"]
        return (kind, ...) if own in schema.get("required", ()) else (_union([kind, type(None)]), None)


def _dataclass(name: str, members: Sequence[tuple[str, Any, Any]]) -> type:
    fields: list[tuple[str, Any, Any]] = []
    for own, kind, default in members:
        how: dict[str, Any] = {"metadata": {"alias": own}}
        if isinstance(default, dict | list):
            how["default_factory"] = lambda made=default: copy.deepcopy(made)
        elif default is not ...:
            how["default"] = default
        if python_name(own) != own:
            kind = Annotated[kind, Field(validation_alias=AliasChoices(own, python_name(own)))]
        fields.append((python_name(own), kind, dataclasses.field(**how)))
    return dataclasses.make_dataclass(name, fields, kw_only=True)


def _open_model(name: str, members: Sequence[tuple[str, Any, Any]]) -> type:
    fields: dict[str, Any] = {}
    for own, kind, default in members:
        alias = AliasChoices(own, python_name(own))
        fields[python_name(own)] = (kind, Field(default, validation_alias=alias, serialization_alias=own))
    made: type = create_model(name, __config__=ConfigDict(extra="allow"), **fields)
    return made


def _union(kinds: Sequence[Any]) -> Any:
    return Union[tuple(kinds)] if kinds else Any  # noqa: UP007


def _one_of(values: Any) -> Any:
    """`Literal`, or anything where a value is one that it can't hold."""
    if not isinstance(values, list) or not values or any(isinstance(value, dict | list | float) for value in values):
        return Any
    return Literal[tuple(values)]


def _bounded(base: Any, schema: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    said = {names[key]: schema[key] for key in names if key in schema}
    return Annotated[base, Field(**said)] if said else base


def python_name(text: str) -> str:
    """A text as an identifier of Python, as FastMCP makes them."""
    name = re.sub(r"_+", "_", re.sub(r"[^0-9a-zA-Z_]", "_", text))
    if not re.match(r"[a-zA-Z_]", text):
        name = re.sub(r"_+", "_", f"field_{name}")
    return name if text.endswith("_") else name.rstrip("_")
