"""Functions of users: what their signatures say, and how they are called."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from pydantic import ConfigDict, TypeAdapter, create_model

from isthmus.components.context import Context, get_context

Function = Callable[..., Any]


def name_of(fn: Function, given: str | None) -> str:
    """The name of a function's component.

    Raises:
        ValueError: it is a lambda and none was given.
    """
    name = given or getattr(fn, "__name__", None) or type(fn).__name__
    if name == "<lambda>":
        raise ValueError("A lambda has no name of its own: give name= as well.")
    return str(name)


def callable_of(fn: Function) -> Function:
    """What is called: an object's `__call__`, a static method's function."""
    called = fn.__func__ if isinstance(fn, staticmethod) else fn
    return called if inspect.isroutine(called) else called.__call__  # type: ignore[operator]


def refuse_variadic(fn: Function, what: str, *, keywords: bool = False) -> None:
    """Refuse what takes any number of arguments.

    Args:
        fn: the function.
        what: what it was to become, in the plural.
        keywords: whether `**` may stand there.

    Raises:
        ValueError: it does.
    """
    kinds = {each.kind for each in inspect.signature(fn).parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        raise ValueError(f"Functions with *args can't be {what}: name the arguments one by one.")
    if inspect.Parameter.VAR_KEYWORD in kinds and not keywords:
        raise ValueError(f"Functions with **kwargs can't be {what}: name the arguments one by one.")


def refuse_unknown(given: Mapping[str, object], known: type) -> None:
    """Refuse keywords that a `TypedDict` of keywords does not have, as Python does with those of a signature.

    Raises:
        TypeError: there is one.
    """
    names = get_type_hints(known)
    if unknown := sorted(given.keys() - names.keys()):
        raise TypeError(
            f"There is no {unknown[0]}= here; there are {', '.join(sorted(names))} beside the arguments named."
        )


def hints_of(fn: Function) -> dict[str, Any]:
    """The annotations, resolved as far as they can be."""
    target = getattr(fn, "__func__", fn)
    try:
        return get_type_hints(target, include_extras=True)
    except Exception:
        return dict(getattr(target, "__annotations__", {}))


def context_parameter(fn: Function) -> str | None:
    """The parameter that is annotated as a `Context`."""
    hints = hints_of(fn)
    return next((name for name, hint in hints.items() if name != "return" and _is_context(hint)), None)


def _is_context(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(map(_is_context, get_args(hint)))
    if origin is Annotated:
        return _is_context(get_args(hint)[0])
    return hint == "Context" or (inspect.isclass(hint) and issubclass(hint, Context))


def arguments_of(fn: Function, excluded: Sequence[str] = ()) -> FuncMetadata:
    """How a function's arguments are checked: with none but those it has.

    Raises:
        mcp.server.mcpserver.exceptions.InvalidSignature: no schema can be made of them.
    """
    said = func_metadata(fn, skip_names=excluded, structured_output=False)
    model = said.arg_model
    described = {
        name: (Annotated[field.annotation, *field.metadata], _described(field))
        for name, field in model.model_fields.items()
        if field.description is None and any(isinstance(each, str) for each in field.metadata)
    }
    if described:
        model = create_model(model.__name__, __base__=model, **described)  # type: ignore[call-overload]
    model.model_config = ConfigDict(**{**model.model_config, "extra": "forbid"})
    model.model_rebuild(force=True)
    said.arg_model = model
    return said


def _described(field: Any) -> Any:
    """A field whose annotation has a bare text (`Annotated[int, "the width"]`), with that as its description."""
    from copy import copy

    described = copy(field)
    described.description = next(each for each in field.metadata if isinstance(each, str))
    return described


def schema_of(said: FuncMetadata) -> dict[str, Any]:
    """The arguments' JSON schema, for people and models: without what only repeats the function's name."""
    schema = said.arg_model.model_json_schema(by_alias=True)
    for needless in ("title", "additionalProperties", "description"):
        schema.pop(needless, None)
    return schema


@cache
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """What checks values of a type."""
    return TypeAdapter(kind)


async def call(fn: Function, arguments: dict[str, Any]) -> Any:
    """Call it, on the event loop, with the current `Context` where it asks for one."""
    name = context_parameter(fn)
    if name is not None and name not in arguments:
        arguments = {**arguments, name: get_context()}
    result = fn(**arguments)
    return await result if inspect.isawaitable(result) else result
