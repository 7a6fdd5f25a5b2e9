"""Middleware: functions around every request that a server answers, local or proxied.

A middleware sees what is asked as the SDK's models and may change it, answer in its stead, or change the answer. What
it leaves as it was passes byte for byte.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(kw_only=True, frozen=True)
class MiddlewareContext(Generic[T]):
    """What is asked.

    `message` is the request's parameters as the SDK's model (of lists: the parameters, which may be a cursor), `method`
    its method. `fastmcp_context` is None: what a component is given is made when it is reached. `source` and `type` say
    who sent it and what it is, `timestamp` when it came, in UTC.
    """

    message: T
    fastmcp_context: Any = None
    source: Literal["client", "server"] = "client"
    type: Literal["request", "notification"] = "request"
    method: str | None = None
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))

    def copy(self, **changes: Any) -> "MiddlewareContext[T]":
        """Another one, with `changes` of its fields by their names."""
        return replace(self, **changes)


CallNext = Callable[[MiddlewareContext[Any]], Awaitable[Any]]
"""What a middleware calls to go on; gives the result as a model, or a list of components."""

_HOOKS: Final = {
    "tools/call": "on_call_tool",
    "resources/read": "on_read_resource",
    "prompts/get": "on_get_prompt",
    "tools/list": "on_list_tools",
    "resources/list": "on_list_resources",
    "resources/templates/list": "on_list_resource_templates",
    "prompts/list": "on_list_prompts",
}
"""The hook of each method that has one of its own."""


class Middleware:
    """Base of middleware: what is not overridden lets everything pass.

    For each message `on_message` is called, within it `on_request` or `on_notification`, within that the hook of its
    method, if there is one. Each takes the `context`, which is what is asked, and `call_next`, which goes on with that
    or with another and gives the result; what it returns is the result.
    """

    async def __call__(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """Take one message; gives the result."""
        handler = call_next
        hook = _HOOKS.get(context.method or "")
        if hook is not None:
            handler = partial(getattr(self, hook), call_next=handler)
        outer = self.on_request if context.type == "request" else self.on_notification
        return await self.on_message(context, partial(outer, call_next=handler))

    async def on_message(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """Any message."""
        return await call_next(context)

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """Any request."""
        return await call_next(context)

    async def on_notification(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """Any notification of a client."""
        return await call_next(context)

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """`tools/call`: `message` has `name` and `arguments`; gives a `ToolResult`."""
        return await call_next(context)

    async def on_read_resource(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """`resources/read`: `message` has `uri`; gives the contents."""
        return await call_next(context)

    async def on_get_prompt(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """`prompts/get`: `message` has `name` and `arguments`; gives the SDK's `GetPromptResult`."""
        return await call_next(context)

    async def on_list_tools(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """`tools/list`: gives a list of tools."""
        return await call_next(context)

    async def on_list_resources(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """`resources/list`: gives a list of resources."""
        return await call_next(context)

    async def on_list_resource_templates(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """`resources/templates/list`: gives a list of templates."""
        return await call_next(context)

    async def on_list_prompts(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        """`prompts/list`: gives a list of prompts."""
        return await call_next(context)
