"""Questions of servers to a model: how a user's handler is called, and what it may return."""

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from mcp.client.session import ClientRequestContext, SamplingFnT
from mcp.types import INTERNAL_ERROR, CreateMessageResult, ErrorData, SamplingMessage, TextContent
from mcp.types import CreateMessageRequestParams as SamplingParams

from isthmus.client.results import readable

__all__ = ["SamplingHandler", "SamplingMessage", "SamplingParams", "create_sampling_callback"]

SamplingHandler: TypeAlias = Callable[
    [list[SamplingMessage], SamplingParams, ClientRequestContext],
    str | CreateMessageResult | Awaitable[str | CreateMessageResult],
]
"""Called with the messages, all parameters and the context. A string is the text of the model's answer."""
_MODEL = "isthmus-client"


def create_sampling_callback(handler: SamplingHandler) -> SamplingFnT:
    """The handler as the SDK calls it; what it raises is answered as an error."""

    async def answer(context: ClientRequestContext, params: SamplingParams) -> CreateMessageResult | ErrorData:
        readable(params)
        try:
            result = handler(params.messages, params, context)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            return ErrorData(code=INTERNAL_ERROR, message=str(error))
        if isinstance(result, str):
            content = TextContent(type="text", text=result)
            return CreateMessageResult(role="assistant", model=_MODEL, content=content)
        return result

    return answer
