"""Servers that the SDK's own HTTP transports reach, for auth objects and HTTP clients of httpx2.

To the engine it is a channel like one in memory. What the SDK needs to know of a message for its headers is read out of
the message.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from isthmus.limits import OAUTH_LOGIN
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import VERSION_KEY
from isthmus.transports.memory import target_of
from isthmus.transports.target import ChannelTarget
from isthmus.wire.headers import encode_value

_log: Final = logging.getLogger("isthmus.client")


def over_httpx(
    url: str, kind: Literal["http", "sse"], headers: Mapping[str, str], auth: Any, factory: Callable[..., Any] | None
) -> ChannelTarget:
    """A server over the SDK's transport.

    Args:
        url: its endpoint.
        kind: which transport.
        headers: sent with every request.
        auth: an auth object of httpx2, or one of httpx whose `auth_flow` works alike.
        factory: makes the HTTP client, from `headers`, `timeout` and `auth`.
    """
    return target_of(_Remote(url, kind, dict(headers), as_auth(auth), factory or create_mcp_http_client))


async def log_in(url: str, headers: Mapping[str, str], auth: Any) -> None:
    """Have an auth object get what it needs, before anybody waits for an answer.

    Raises:
        RuntimeError: the login failed.
    """
    try:
        async with (
            asyncio.timeout(OAUTH_LOGIN),
            create_mcp_http_client(dict(headers), auth=as_auth(auth)) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}),
        ):
            pass
    except (httpx2.HTTPError, TimeoutError) as error:
        raise RuntimeError(f"The client could not log in at {url}: {error or 'it took too long'}.") from error


class _Remote:
    """What `transports.memory` runs as a server: it hands on what it reads, and what comes back."""

    def __init__(self, url: str, kind: str, headers: dict[str, str], auth: Any, factory: Callable[..., Any]) -> None:
        self.name = urlsplit(url).hostname or url
        self._url = url
        self._kind = kind
        self._headers = headers
        self._auth = auth
        self._factory = factory

    def create_initialization_options(self) -> None:
        """There are none: the server is elsewhere."""

    async def run(self, read: Any, write: Any, options: None) -> None:
        """Pass messages until either side ends."""
        versions: list[str] = []
        async with self._open() as (coming, going), asyncio.TaskGroup() as group:
            ways = [
                group.create_task(_pass_on(read, going, versions)),
                group.create_task(_pass_back(coming, write, versions)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Any, Any]]:
        if self._kind == "sse":
            async with sse_client(
                self._url, self._headers, auth=self._auth, httpx_client_factory=self._factory
            ) as streams:
                yield streams
            return
        async with (
            self._factory(headers=self._headers, timeout=None, auth=self._auth) as client,
            streamable_http_client(self._url, http_client=client) as streams,
        ):
            yield streams[0], streams[1]


async def _pass_on(read: Any, going: Any, versions: list[str]) -> None:
    async for item in read:
        await going.send(_stamped(item, versions))


async def _pass_back(coming: Any, write: Any, versions: list[str]) -> None:
    async for item in coming:
        if isinstance(item, Exception):
            _log.warning("What the server sent can't be read: %s", item)
            continue
        message = item.message
        if isinstance(message, JSONRPCResponse) and isinstance(version := message.result.get("protocolVersion"), str):
            versions[:] = [version]
        await write.send(SessionMessage(message))


def _stamped(item: Any, versions: list[str]) -> SessionMessage:
    """A message with the headers that belong to it: of a modern request its own, else the session's revision."""
    message = item.message
    params = getattr(message, "params", None) or {}
    version = (params.get("_meta") or {}).get(VERSION_KEY)
    if not isinstance(version, str) or not isinstance(message, JSONRPCRequest):
        headers = {"mcp-protocol-version": versions[0]} if versions else None
        return SessionMessage(message, metadata=ClientMessageMetadata(headers=headers) if headers else None)
    headers = {"mcp-protocol-version": version, "mcp-method": message.method}
    name = params.get(row_of(message.method).routed or "")
    if isinstance(name, str):
        headers["mcp-name"] = encode_value(name)
    return SessionMessage(message, metadata=ClientMessageMetadata(headers=headers))


def as_auth(auth: Any) -> httpx2.Auth | None:
    """An auth object as httpx2 knows one.

    Raises:
        TypeError: it is none.
    """
    if auth is None or isinstance(auth, httpx2.Auth):
        return auth
    if callable(getattr(auth, "auth_flow", None)):
        return _Foreign(auth)
    raise TypeError(f"A {type(auth).__name__} is no auth object. Give a token, or an httpx2.Auth.")


class _Foreign(httpx2.Auth):
    """An auth object of httpx, which has the same methods."""

    def __init__(self, auth: Any) -> None:
        self._auth = auth
        self.requires_request_body = getattr(auth, "requires_request_body", False)
        self.requires_response_body = getattr(auth, "requires_response_body", False)

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """What the other object says."""
        flow = self._auth.auth_flow(request)
        sent = next(flow)
        while True:
            response = yield sent
            try:
                sent = flow.send(response)
            except StopIteration:
                return
