"""All that a server says beside answers, for handlers that want to hear it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from mcp import types

from isthmus.client.results import readable

__all__ = ["Message", "MessageHandler", "MessageHandlerT", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """A request of the server; the handler of its kind answers it, whoever else hears of it."""

    request: types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest


Message: TypeAlias = Question | types.ServerNotification | Exception
"""What a server says beside answers, or what failed in hearing it."""
MessageHandlerT: TypeAlias = Callable[[Any], Awaitable[None]]
"""Called with each `Message`."""


class MessageHandler:
    """Hears everything; override what matters. Each method is given the `message` that it is for."""

    async def __call__(self, message: Message) -> None:
        """Called with each message."""
        await self.dispatch(message)

    async def dispatch(self, message: Message) -> None:
        """Hand a message to those methods that are for it."""
        await self.on_message(message)
        if isinstance(message, Exception):
            await self.on_exception(message)
        elif isinstance(message, Question):
            await self.on_request(message)
            await self._dispatch_request(message.request)
        else:
            await self.on_notification(message)
            await self._dispatch_notification(message)

    async def _dispatch_request(self, request: Any) -> None:
        match request:
            case types.ListRootsRequest():
                await self.on_list_roots(request)
            case types.CreateMessageRequest():
                await self.on_create_message(request)

    async def _dispatch_notification(self, notification: types.ServerNotification) -> None:
        match notification:
            case types.CancelledNotification():
                await self.on_cancelled(notification)
            case types.ProgressNotification():
                await self.on_progress(notification)
            case types.LoggingMessageNotification():
                await self.on_logging_message(notification)
            case types.ToolListChangedNotification():
                await self.on_tool_list_changed(notification)
            case types.ResourceListChangedNotification():
                await self.on_resource_list_changed(notification)
            case types.PromptListChangedNotification():
                await self.on_prompt_list_changed(notification)
            case types.ResourceUpdatedNotification():
                await self.on_resource_updated(notification)

    async def on_message(self, message: Message) -> None:
        """Anything."""

    async def on_request(self, message: Question) -> None:
        """A question of the server."""

    async def on_ping(self, message: types.PingRequest) -> None:
        """Never called: pings are answered below, by the connection that they test."""

    async def on_list_roots(self, message: types.ListRootsRequest) -> None:
        """The server asks for the roots."""

    async def on_create_message(self, message: types.CreateMessageRequest) -> None:
        """The server asks a model."""

    async def on_notification(self, message: types.ServerNotification) -> None:
        """Any notification."""

    async def on_exception(self, message: Exception) -> None:
        """What came could not be read, or the connection failed."""

    async def on_progress(self, message: types.ProgressNotification) -> None:
        """A call is so far."""

    async def on_logging_message(self, message: types.LoggingMessageNotification) -> None:
        """The server logs."""

    async def on_tool_list_changed(self, message: types.ToolListChangedNotification) -> None:
        """There are other tools than before."""

    async def on_resource_list_changed(self, message: types.ResourceListChangedNotification) -> None:
        """There are other resources than before."""

    async def on_prompt_list_changed(self, message: types.PromptListChangedNotification) -> None:
        """There are other prompts than before."""

    async def on_resource_updated(self, message: types.ResourceUpdatedNotification) -> None:
        """A resource that is subscribed to changed."""

    async def on_cancelled(self, message: types.CancelledNotification) -> None:
        """Never called: the connection itself ends what the server cancels."""


def heard_by(handler: MessageHandlerT) -> Callable[[Any], Awaitable[None]]:
    """The handler as the SDK calls it."""

    async def heard(message: Any) -> None:
        await handler(readable(message))

    return heard
