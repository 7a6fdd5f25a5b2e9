"""A client's handlers as those of a proxy: who answers for the clients in front (`engine.stand`).

A handler is FastMCP's: it takes the SDK's models. While it runs, the client in front can be reached, so that a handler
may do something and then forward after all (`ProxyClient.default_sampling_handler` and its like).
"""

from contextvars import ContextVar  # noqa: TID251 around user code only
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from isthmus.engine.stand import FORWARD, OFF, Choice, FrontClient, Stand
from isthmus.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from isthmus.client.handlers import Handlers

_front: ContextVar[FrontClient | None] = ContextVar("isthmus.front", default=None)


def front_client() -> FrontClient:
    """The client in front of the proxy whose handler runs.

    Raises:
        RuntimeError: no handler of a proxy runs.
    """
    front = _front.get()
    if front is None:
        raise RuntimeError("This forwards to the client of a proxy, and no request of one is being answered here.")
    return front


class _Question(NamedTuple):
    """What a kind of question is called: the parameters' model, and the function that makes a callback of a handler."""

    model: str
    module: str
    create: str


_QUESTIONS: Final = {
    "sampling": _Question("CreateMessageRequestParams", "isthmus.client.sampling", "create_sampling_callback"),
    "elicitation": _Question("ElicitRequestParams", "isthmus.client.elicitation", "create_elicitation_callback"),
    "roots": _Question("", "isthmus.client.roots", "create_roots_callback"),
}


class _Context(NamedTuple):
    """What stands for the SDK's request context where a proxy's handler runs: a question has no session of its own."""

    front: FrontClient
    request_id: str | int = 0
    meta: Any = None
    session: Any = None
    lifespan_context: Any = None


@dataclass(frozen=True, slots=True)
class Answering:
    """A handler of questions as `engine.stand.Ask`. Equal for equal handlers, so that backs are known again."""

    kind: str
    handler: Any

    async def __call__(self, params: dict[str, Any], front: FrontClient) -> dict[str, Any]:
        import importlib

        from mcp import types
        from pydantic import TypeAdapter

        question = _QUESTIONS[self.kind]
        callback: Callable[..., Awaitable[Any]] = getattr(importlib.import_module(question.module), question.create)(
            self.handler
        )
        given = [TypeAdapter(getattr(types, question.model)).validate_python(params)] if question.model else []
        token = _front.set(front)
        try:
            result = await callback(_Context(front), *given)
        finally:
            _front.reset(token)
        said: dict[str, Any] = result.model_dump(by_alias=True, exclude_none=True, mode="json")
        if isinstance(result, types.ErrorData):
            raise Fault(result.message, code=result.code, data=result.data)
        return said


@dataclass(frozen=True, slots=True)
class Hearing:
    """A handler of log messages or of progress as `engine.stand.Hear`."""

    kind: str
    handler: Any

    async def __call__(self, params: dict[str, Any], front: FrontClient) -> None:
        token = _front.set(front)
        try:
            if self.kind == "progress":
                await self.handler(params.get("progress", 0), params.get("total"), params.get("message"))
            else:
                from mcp.types import LoggingMessageNotificationParams

                from isthmus.client.results import readable

                await self.handler(readable(LoggingMessageNotificationParams.model_validate(params)))
        finally:
            _front.reset(token)


def stand_of(handlers: "Handlers", defaults: dict[str, Any], *, is_proxy: bool) -> Stand:
    """Who does what a server behind a proxy wants of a client.

    Args:
        handlers: those of the client that the proxy was made of.
        defaults: the handlers that mean forwarding, by kind.
        is_proxy: whether the client is a `ProxyClient`, for which None means off; for another it says nothing.
    """

    def of(kind: str) -> Any:
        handler = getattr(handlers, kind)
        if handler is None:
            return OFF if is_proxy else FORWARD
        default = defaults.get(kind)
        if handler == default or (not is_proxy and kind in ("log", "progress")):
            return FORWARD
        return Hearing(kind, handler) if kind in ("log", "progress") else Answering(kind, handler)

    kinds: dict[str, Choice | Any] = {
        kind: of(kind) for kind in ("roots", "sampling", "elicitation", "log", "progress")
    }
    return Stand(**kinds)
