"""Questions of servers to the user: how a handler is called, and what it may return."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeAlias, TypeVar

from mcp.client.session import ClientRequestContext, ElicitationFnT
from mcp.types import (
    INTERNAL_ERROR,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitRequestURLParams,
    ErrorData,
)
from mcp.types import ElicitResult as McpElicitResult

from isthmus.client.results import readable
from isthmus.client.shapes import to_json, type_of

__all__ = ["ElicitRequestParams", "ElicitResult", "ElicitationHandler", "create_elicitation_callback"]

T = TypeVar("T")


class ElicitResult(McpElicitResult, Generic[T]):
    """What the user answered: `accept` with a content, `decline`, or `cancel`.

    The content may be an object of the response type, a dict, or None.
    """

    content: T | None = None  # type: ignore[assignment]  # wider than the SDK's, which gets it as JSON


ElicitationHandler: TypeAlias = Callable[
    [str, type[T], ElicitRequestParams, ClientRequestContext],
    Awaitable[T | dict[str, Any] | ElicitResult[T | dict[str, Any]] | Any],
]
"""Called with the message, a dataclass for the answer, all parameters and the context.

What it returns is accepted as the answer, unless it is an `ElicitResult`. The dataclass is made from the schema of the
question; None stands in its place where that has no properties, and where the server asks to open a URL.
"""


def create_elicitation_callback(handler: ElicitationHandler[Any]) -> ElicitationFnT:
    """The handler as the SDK calls it; what it raises is answered as an error."""

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> McpElicitResult | ErrorData:
        readable(params)
        try:
            said = await handler(params.message, response_type(params), params, context)
            return _result(said, is_url=isinstance(params, ElicitRequestURLParams))
        except Exception as error:
            return ErrorData(code=INTERNAL_ERROR, message=str(error))

    return answer


def response_type(params: ElicitRequestParams) -> Any:
    """The type of the answer that is asked for; None where nothing is to be said but yes or no."""
    if not isinstance(params, ElicitRequestFormParams) or not params.requested_schema.get("properties"):
        return None
    return type_of(params.requested_schema)


def _result(said: Any, *, is_url: bool) -> McpElicitResult:
    """What the handler returned as the server gets it.

    Raises:
        ValueError: it is no object.
    """
    if not isinstance(said, McpElicitResult):
        said = ElicitResult[Any](action="accept", content=said)
    content = to_json(said.content)
    if not isinstance(content, dict | None):
        raise ValueError(f"The answer to an elicitation must become a JSON object, and {said.content!r} does not.")
    if is_url or said.action != "accept":
        content = None
    return McpElicitResult(action=said.action, content=content)
