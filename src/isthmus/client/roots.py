"""The folders that a client lets servers know of: a list, or a function that gives one."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from mcp.client.session import ClientRequestContext, ListRootsFnT
from mcp.types import INTERNAL_ERROR, ErrorData, ListRootsResult, Root
from pydantic import FileUrl

__all__ = ["RootsHandler", "RootsList", "convert_roots_list", "create_roots_callback"]

RootsList: TypeAlias = list[str] | list[Root] | list[str | Root]
"""Folders: `file:` URIs, or the SDK's `Root`, which has a name beside."""
RootsHandler: TypeAlias = (
    Callable[[ClientRequestContext], RootsList] | Callable[[ClientRequestContext], Awaitable[RootsList]]
)
"""Called with the context each time a server asks."""


def convert_roots_list(roots: Sequence[Any]) -> list[Root]:
    """Texts that are `file:` URIs, and roots, as roots.

    Raises:
        ValueError: one is neither.
    """
    return [_root(each) for each in roots]


def _root(said: Any) -> Root:
    if isinstance(said, Root):
        return said
    if isinstance(said, str | FileUrl):
        return Root(uri=FileUrl(str(said)))
    raise ValueError(f"{said!r} is no root. Give a URI that begins with file://, or a Root.")


def create_roots_callback(handler: RootsList | RootsHandler) -> ListRootsFnT:
    """What the SDK asks for the roots, made of a `handler`: what a function raises is answered as an error.

    Raises:
        ValueError: the list holds what is no root, or it is neither a list nor a function.
    """
    if callable(handler):
        return _from_function(handler)
    if not isinstance(handler, list):
        raise ValueError(f"{handler!r} are no roots. Give a list, or a function that returns one.")
    found = ListRootsResult(roots=convert_roots_list(handler))

    async def answer(context: ClientRequestContext) -> ListRootsResult:
        return found

    return answer


def _from_function(ask: Callable[[ClientRequestContext], Any]) -> ListRootsFnT:
    async def answer(context: ClientRequestContext) -> ListRootsResult | ErrorData:
        try:
            roots = ask(context)
            if inspect.isawaitable(roots):
                roots = await roots
            return ListRootsResult(roots=convert_roots_list(roots))
        except Exception as error:
            return ErrorData(code=INTERNAL_ERROR, message=str(error))

    return answer
