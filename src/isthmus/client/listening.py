"""What changes at a server: in a modern session a stream for it, in an older one notifications that come unasked.

Both are read as the SDK's events (`ToolsListChanged`, `ResourceUpdated`, …). An event says that something is no longer
as it was read, so one that waits already is not told twice.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypedDict

from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import event_from_wire, event_matches
from mcp.types import (
    EmptyResult,
    SubscribeRequest,
    SubscribeRequestParams,
    SubscriptionFilter,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)

from isthmus.limits import CLIENT_OPEN, RETRY_GET

if TYPE_CHECKING:
    from mcp.shared.subscriptions import ServerEvent

    from isthmus.client.connection import Connection

_log: Final = logging.getLogger("isthmus.client")


class Wanted(TypedDict, total=False):
    """What to listen for; see `Client.listen`."""

    tools_list_changed: bool
    prompts_list_changed: bool
    resources_list_changed: bool
    resource_subscriptions: Sequence[str]


class Listening(Protocol):
    """A stream of events, read with `async for`; `honored` is what of the wanted the server sends."""

    honored: SubscriptionFilter

    def __aiter__(self) -> "AsyncIterator[ServerEvent]":
        """Itself."""

    async def __anext__(self) -> "ServerEvent":
        """The next event."""


class Heard:
    """Events out of an older session's notifications (`Listening`)."""

    def __init__(self, honored: SubscriptionFilter) -> None:
        self.honored = honored
        self._uris = frozenset(honored.resource_subscriptions or ())
        self._pending: dict[ServerEvent, None] = {}
        self._news = asyncio.Event()
        self._is_over = False

    def hear(self, notification: Any) -> None:
        """A notification came; those that are no events are of no concern."""
        params = notification.params.model_dump(by_alias=True, mode="json") if notification.params is not None else {}
        event = event_from_wire(notification.method, params)
        if event is not None and event_matches(self.honored, self._uris, event):
            self._pending[event] = None
            self._news.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        self._news.set()

    def __aiter__(self) -> "AsyncIterator[ServerEvent]":
        return self

    async def __anext__(self) -> "ServerEvent":
        while not self._pending:
            if self._is_over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        event = next(iter(self._pending))
        del self._pending[event]
        return event


@asynccontextmanager
async def listen(connection: "Connection", wanted: Wanted) -> AsyncIterator[Listening]:
    """Listen until the context is left; see `Client.listen`.

    Raises:
        McpError: the server refused.
    """
    if connection.is_modern:
        async with connection.sdk.listen(**wanted) as subscription:
            yield subscription
        return
    uris = list(wanted.get("resource_subscriptions", ()))
    heard = Heard(_honored(connection, wanted, uris))
    connection.listeners.add(heard)
    try:
        for uri in uris:
            await subscribe(connection, uri)
        yield heard
    finally:
        heard.end()
        connection.listeners.discard(heard)
        await _unsubscribe_all(connection, uris)


async def _unsubscribe_all(connection: "Connection", uris: Iterable[str]) -> None:
    if connection.is_closing:
        return
    for uri in uris:
        try:
            await unsubscribe(connection, uri)
        except MCPError as error:
            _log.info("The server did not end the subscription of %s: %s", uri, error)


def _honored(connection: "Connection", wanted: Wanted, uris: list[str]) -> SubscriptionFilter:
    """What of the wanted an older server announces."""
    said: Any = {}
    for kind in ("tools", "prompts", "resources"):
        capability = getattr(connection.sdk.server_capabilities, kind)
        if wanted.get(f"{kind}_list_changed") and capability is not None and capability.list_changed:
            said[f"{kind}_list_changed"] = True
    return SubscriptionFilter(**said, resource_subscriptions=uris or None)


async def subscribe(connection: "Connection", uri: str) -> None:
    """Have the message handler hear of a resource's changes.

    Raises:
        McpError: the server refused.
    """
    if not connection.is_modern:
        request = SubscribeRequest(params=SubscribeRequestParams(uri=uri))
        await connection.sdk.session.send_request(request, EmptyResult)
    elif uri not in connection.watching:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.watching[uri] = connection.tasks.start(_watch(connection, {"resource_subscriptions": [uri]}, ready))
        async with asyncio.timeout(CLIENT_OPEN):
            await ready


async def unsubscribe(connection: "Connection", uri: str) -> None:
    """End that; nothing happens if there is nothing to end.

    Raises:
        McpError: the server refused.
    """
    if not connection.is_modern:
        request = UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri))
        await connection.sdk.session.send_request(request, EmptyResult)
    elif uri in connection.watching:
        watching = connection.watching.pop(uri)
        watching.cancel()
        await asyncio.wait([watching])


def watch_lists(connection: "Connection") -> None:
    """Have the message handler hear of other tools, prompts and resources, as it does in older sessions unasked."""
    wanted: Wanted = {}
    capabilities = connection.sdk.server_capabilities
    if capabilities.tools is not None and capabilities.tools.list_changed:
        wanted["tools_list_changed"] = True
    if capabilities.prompts is not None and capabilities.prompts.list_changed:
        wanted["prompts_list_changed"] = True
    if capabilities.resources is not None and capabilities.resources.list_changed:
        wanted["resources_list_changed"] = True
    if wanted:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ready.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        connection.tasks.start(_watch(connection, wanted, ready))


async def _watch(connection: "Connection", wanted: Wanted, ready: "asyncio.Future[None]") -> None:
    """Keep a stream open; what comes on it goes to the message handler by itself. One that breaks is opened again."""
    try:
        while True:
            try:
                async with connection.sdk.listen(**wanted) as events:
                    if not ready.done():
                        ready.set_result(None)
                    async for _ in events:
                        pass
            except SubscriptionLost as error:
                _log.info("A subscription was lost, and is opened again: %s", error)
            await asyncio.sleep(RETRY_GET)
    except Exception as error:
        if not ready.done():
            ready.set_exception(error)
        else:
            _log.warning("The server does not let itself be listened to any more: %s", error)
    finally:
        ready.cancel()
