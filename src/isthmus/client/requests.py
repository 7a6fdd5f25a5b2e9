"""What a connected client can ask: one method for each request of the protocol, and what is made of the answers."""

import datetime
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from isthmus.exceptions import ToolError
from isthmus.limits import LIST_PAGES
from isthmus.protocol.names import LOG_LEVEL_KEY

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mcp.types import (
        BlobResourceContents,
        CompleteResult,
        Completion,
        GetPromptResult,
        ListPromptsResult,
        ListResourcesResult,
        ListResourceTemplatesResult,
        ListToolsResult,
        LoggingLevel,
        Prompt,
        PromptReference,
        ReadResourceResult,
        Resource,
        ResourceTemplate,
        ResourceTemplateReference,
        TextResourceContents,
        Tool,
    )
    from mcp.types import (
        CallToolResult as McpCallToolResult,
    )

    from isthmus.client.connection import Connection
    from isthmus.client.listening import Listening
    from isthmus.client.progress import ProgressHandler
    from isthmus.client.results import CallToolResult

_log: Final = logging.getLogger("isthmus.client")
T = TypeVar("T")
Meta = Mapping[str, Any]
Seconds = datetime.timedelta | float | int


class Requests(ABC):
    """The requests of a client. Each raises `RuntimeError` if it is not connected, and `McpError` if the
    server, or what is between, answers with an error.

    The forms with `_mcp` give the answer as it came; of a list they ask for one page.
    """

    @property
    @abstractmethod
    def _connection(self) -> "Connection":
        """What is connected.

        Raises:
            RuntimeError: nothing is.
        """

    @property
    @abstractmethod
    def _progress_handler(self) -> "ProgressHandler | None":
        """Who hears of progress if a call names nobody."""

    # -- tools ------------------------------------------------------------------------------------------------------

    async def list_tools(self) -> "list[Tool]":
        """All tools."""
        return await _all(self.list_tools_mcp, "tools")

    async def list_tools_mcp(self, *, cursor: str | None = None) -> "ListToolsResult":
        """One page of the tools: the first, or that of a `next_cursor`."""
        return _readable(await self._connection.sdk.list_tools(cursor=cursor))

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        timeout: Seconds | None = None,
        progress_handler: "ProgressHandler | None" = None,
        raise_on_error: bool = True,
        *,
        meta: Meta | None = None,
    ) -> "CallToolResult":
        """Call a tool.

        Args:
            name: which.
            arguments: its arguments; what is not JSON yet is made so.
            timeout: seconds without any word about the call before it fails.
            progress_handler: hears how far the call is.
            raise_on_error: whether a tool's failure raises, instead of being a result with `is_error`.
            meta: what stands in the request's `_meta`.

        Raises:
            ToolError: the tool failed.
        """
        from isthmus.client.results import CallToolResult

        got = await self.call_tool_mcp(name, arguments or {}, progress_handler, timeout, meta=meta)
        if got.is_error and raise_on_error:
            raise ToolError(_first_text(got, name))
        data = None if got.is_error or not got.structured_content else await self._data(name, got.structured_content)
        return CallToolResult(
            content=got.content,
            structured_content=got.structured_content,
            data=data,
            is_error=bool(got.is_error),
            meta=got.meta,
        )

    async def call_tool_mcp(
        self,
        name: str,
        arguments: dict[str, Any],
        progress_handler: "ProgressHandler | None" = None,
        timeout: Seconds | None = None,
        *,
        meta: Meta | None = None,
    ) -> "McpCallToolResult":
        """Call a tool; the arguments are those of `call_tool`."""
        got = await self._connection.sdk.call_tool(
            name,
            arguments,
            read_timeout_seconds=seconds(timeout),
            progress_callback=progress_handler or self._progress_handler,
            meta=self._meta(meta),
        )
        return _readable(got)

    async def _data(self, name: str, structured: dict[str, Any]) -> Any:
        """Structured content as Python's objects, by the tool's output schema; None where it has none that fits."""
        from isthmus.client.shapes import parse

        try:
            schema = await self._output_schema(name)
            if schema is None:
                return None
            if not schema:
                return structured
            if schema.get("x-fastmcp-wrap-result"):
                return parse(schema.get("properties", {}).get("result", {}), structured.get("result"))
            return parse(schema, structured)
        except Exception as error:
            _log.error("The structured content of %r does not fit its output schema: %s", name, error)
            return None

    async def _output_schema(self, name: str) -> Any:
        connection = self._connection
        known: dict[str, Any] = getattr(connection.sdk.session, "_tool_output_schemas", connection.output_schemas)
        if name not in known:
            for tool in await self.list_tools():
                connection.output_schemas[tool.name] = tool.output_schema
            known = {**connection.output_schemas, **known}
        return known.get(name)

    # -- resources --------------------------------------------------------------------------------------------------

    async def list_resources(self) -> "list[Resource]":
        """All resources."""
        return await _all(self.list_resources_mcp, "resources")

    async def list_resources_mcp(self, *, cursor: str | None = None) -> "ListResourcesResult":
        """One page of the resources."""
        return _readable(await self._connection.sdk.list_resources(cursor=cursor))

    async def list_resource_templates(self) -> "list[ResourceTemplate]":
        """All templates of resources."""
        return await _all(self.list_resource_templates_mcp, "resource_templates")

    async def list_resource_templates_mcp(self, *, cursor: str | None = None) -> "ListResourceTemplatesResult":
        """One page of the templates."""
        return _readable(await self._connection.sdk.list_resource_templates(cursor=cursor))

    async def read_resource(self, uri: Any) -> "list[TextResourceContents | BlobResourceContents]":
        """The contents of a resource.

        Args:
            uri: a text, or a URL object of pydantic.

        Raises:
            ValueError: it is no URI.
        """
        return (await self.read_resource_mcp(uri)).contents

    async def read_resource_mcp(self, uri: Any) -> "ReadResourceResult":
        """The answer to a reading of a resource; `uri` as for `read_resource`."""
        return _readable(await self._connection.sdk.read_resource(_uri(uri), meta=self._meta(None)))

    async def subscribe_resource(self, uri: Any) -> None:
        """Have the message handler hear when a resource changes; `uri` as for `read_resource`."""
        from isthmus.client.listening import subscribe

        await subscribe(self._connection, _uri(uri))

    async def unsubscribe_resource(self, uri: Any) -> None:
        """End that."""
        from isthmus.client.listening import unsubscribe

        await unsubscribe(self._connection, _uri(uri))

    def listen(
        self,
        *,
        tools_list_changed: bool = False,
        prompts_list_changed: bool = False,
        resources_list_changed: bool = False,
        resource_subscriptions: Sequence[str] = (),
    ) -> "AbstractAsyncContextManager[Listening]":
        """Listen for changes, in servers of any revision.

        Args:
            tools_list_changed: whether to hear that there are other tools.
            prompts_list_changed: the same of prompts.
            resources_list_changed: the same of resources.
            resource_subscriptions: URIs of resources whose changes to hear of.

        Returns:
            what, entered, gives an async iterator of the SDK's events: `ToolsListChanged()`, `ResourceUpdated(uri)`, …
        """
        from isthmus.client.listening import Wanted, listen

        wanted: Wanted = {
            "tools_list_changed": tools_list_changed,
            "prompts_list_changed": prompts_list_changed,
            "resources_list_changed": resources_list_changed,
            "resource_subscriptions": resource_subscriptions,
        }
        return listen(self._connection, wanted)

    # -- prompts ----------------------------------------------------------------------------------------------------

    async def list_prompts(self) -> "list[Prompt]":
        """All prompts."""
        return await _all(self.list_prompts_mcp, "prompts")

    async def list_prompts_mcp(self, *, cursor: str | None = None) -> "ListPromptsResult":
        """One page of the prompts."""
        return _readable(await self._connection.sdk.list_prompts(cursor=cursor))

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> "GetPromptResult":
        """A prompt's messages. Arguments that are no texts are sent as their JSON text."""
        return await self.get_prompt_mcp(name, arguments)

    async def get_prompt_mcp(self, name: str, arguments: dict[str, Any] | None = None) -> "GetPromptResult":
        """The same."""
        from pydantic_core import to_json

        texts = {
            key: each if isinstance(each, str) else to_json(each).decode() for key, each in (arguments or {}).items()
        }
        got = await self._connection.sdk.get_prompt(name, texts if arguments else None, meta=self._meta(None))
        return _readable(got)

    async def complete(
        self,
        ref: "ResourceTemplateReference | PromptReference",
        argument: dict[str, str],
        context_arguments: dict[str, str] | None = None,
    ) -> "Completion":
        """What an argument of a prompt or template may be.

        Args:
            ref: the prompt or template.
            argument: its `name`, and the `value` so far.
            context_arguments: arguments that are known already.
        """
        return (await self.complete_mcp(ref, argument, context_arguments)).completion

    async def complete_mcp(
        self,
        ref: "ResourceTemplateReference | PromptReference",
        argument: dict[str, str],
        context_arguments: dict[str, str] | None = None,
    ) -> "CompleteResult":
        """The whole answer to a completion; the arguments are those of `complete`."""
        return _readable(await self._connection.sdk.complete(ref, argument, context_arguments))

    # -- the session ------------------------------------------------------------------------------------------------

    async def ping(self) -> bool:
        """Whether the server answers. There is no ping in a modern session: `server/discover` stands for it."""
        connection = self._connection
        session = connection.sdk.session
        if connection.is_modern:
            await session.send_discover(connection.sdk.protocol_version)
        else:
            await session.send_ping()
        return True

    async def cancel(self, request_id: str | int, reason: str | None = None) -> None:
        """Tell the server that the answer to a request is not wanted any more; who waits for it gets a `McpError`.

        Args:
            request_id: the SDK's, of this client's session. To cancel a call of one's own, cancel its task.
            reason: for the server's log.
        """
        from mcp.types import CancelledNotification, CancelledNotificationParams

        params = CancelledNotificationParams(request_id=request_id, reason=reason)
        connection = self._connection
        await connection.sdk.session.send_notification(CancelledNotification(params=params))
        connection.end_request(request_id)

    async def progress(
        self, progress_token: str | int, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell the server how far the answer to a question of its is; a modern server does not want to know."""
        from mcp.types import ProgressNotification, ProgressNotificationParams

        connection = self._connection
        if not connection.is_modern:
            params = ProgressNotificationParams(
                progress_token=progress_token, progress=progress, total=total, message=message
            )
            await connection.sdk.session.send_notification(ProgressNotification(params=params))

    async def set_logging_level(self, level: "LoggingLevel") -> None:
        """Say from which level on the server is to send log messages; a modern one is told with each request."""
        from mcp.types import EmptyResult, SetLevelRequest, SetLevelRequestParams

        connection = self._connection
        if connection.is_modern:
            connection.level = level
        else:
            request = SetLevelRequest(params=SetLevelRequestParams(level=level))
            await connection.sdk.session.send_request(request, EmptyResult)

    async def send_roots_list_changed(self) -> None:
        """Tell the server that the roots are others; a modern one asks for them each time, and is not told."""
        from mcp.types import RootsListChangedNotification

        connection = self._connection
        if not connection.is_modern:
            await connection.sdk.session.send_notification(RootsListChangedNotification())

    def _meta(self, meta: Meta | None) -> Any:
        """The `_meta` of a request; with the log level, where each request says it."""
        level = self._connection.level
        if level is None:
            return None if meta is None else dict(meta)
        return {LOG_LEVEL_KEY: level, **(meta or {})}


async def _all(ask: Callable[..., Awaitable[Any]], member: str) -> list[Any]:
    """The items of all pages of a list; `limits.LIST_PAGES` at most."""
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(LIST_PAGES):
        page = await ask(cursor=cursor)
        found += getattr(page, member)
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _readable(value: T) -> T:
    from isthmus.client.results import readable

    return readable(value)


def seconds(said: Seconds | None) -> float | None:
    """A duration in seconds."""
    if isinstance(said, datetime.timedelta):
        return said.total_seconds()
    return None if said is None else float(said)


def _uri(said: Any) -> str:
    """A URI as a text.

    Raises:
        ValueError: it is none.
    """
    text = str(said)
    if ":" not in text:
        raise ValueError(f"{text!r} is no URI of a resource. One begins with a scheme, like file:// or data:.")
    return text


def _first_text(got: Any, name: str) -> str:
    """What a tool said of its failure."""
    for block in got.content:
        if block.type == "text":
            return str(block.text)
    return f"The tool {name!r} failed, and did not say why."
