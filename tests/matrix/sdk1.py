"""SDK 1.30 as a client, a program in the environment `legacy`: plays rows, and prints what became of each.

Stdin holds `{"target": a URL or a command, "rows": keys}`; stdout gets an outcome for each key.
"""
# `mcp` is another version here than the one that mypy sees.
# mypy: ignore-errors

import asyncio
import json
import logging
import os
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import timedelta

from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import BaseModel

from .peer import Heard, Json, Peer, PeerError
from .playing import Variant, play_in
from .rows import ROWS


class Anything(BaseModel, extra="allow"):
    """A request, a notification or a result, as it is."""


def dump(model: BaseModel | None) -> Json:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True) if model is not None else {}


class Sdk1(Peer):
    era = "legacy"

    def __init__(self, session: ClientSession, heard: Heard, knows: Json) -> None:
        self._session = session
        self.heard = heard
        self.knows = knows

    async def request(
        self,
        method: str,
        params: Json | None = None,
        *,
        progress: bool = False,
        level: str | None = None,
        patience: float | None = None,
        is_driven: bool = True,
    ) -> Json:
        said = {"method": method} | ({"params": params} if params is not None else {})
        on_progress = self._on_progress if progress else None
        sent = self._session._request_id
        try:
            result = await self._session.send_request(
                Anything.model_validate(said),
                Anything,
                timedelta(seconds=patience) if patience is not None else None,
                progress_callback=on_progress,
            )
        except McpError as error:
            raise PeerError(error.error.code, error.error.message, error.error.data) from None
        except asyncio.CancelledError:  # this SDK tells nobody
            await asyncio.shield(self.notify("notifications/cancelled", {"requestId": sent}))
            raise
        return result.model_dump(mode="json")

    async def _on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.heard.note("progress", [progress, total, message])

    async def notify(self, method: str, params: Json | None = None) -> None:
        said = {"method": method} | ({"params": params} if params is not None else {})
        await self._session.send_notification(Anything.model_validate(said))

    async def learn_tools(self) -> None:
        """Headers repeat nothing in this era."""

    @asynccontextmanager
    async def listening(self, *uris: str, kinds: tuple[str, ...] = ()):  # noqa: ANN201
        for uri in uris:
            await self.request("resources/subscribe", {"uri": uri})
        yield
        for uri in uris:
            await self.request("resources/unsubscribe", {"uri": uri})


def callbacks(heard: Heard, variant: Variant) -> Json:
    async def answer(method: str, params: BaseModel | None, kind):  # noqa: ANN001, ANN202
        try:
            return kind.model_validate(await heard.ask(method, dump(params)))
        except PeerError as error:
            return types.ErrorData(code=error.code, message=error.message, data=error.data)

    async def elicit(_, params):  # noqa: ANN001, ANN202
        return await answer("elicitation/create", params, types.ElicitResult)

    async def sample(_, params):  # noqa: ANN001, ANN202
        kind = types.CreateMessageResultWithTools if params.tools else types.CreateMessageResult
        return await answer("sampling/createMessage", params, kind)

    async def roots(_):  # noqa: ANN001, ANN202
        return await answer("roots/list", None, types.ListRootsResult)

    async def log(params) -> None:  # noqa: ANN001
        heard.note("logs", dump(params))

    async def message(message: object) -> None:
        if isinstance(message, types.ServerNotification):
            told = dump(message.root)
            if told["method"].endswith(("list_changed", "updated", "elicitation/complete")):
                heard.note("changes", [told["method"], told.get("params", {}).get("uri")])

    info = types.Implementation(name=variant.info, version=f"3.{variant.number}", title="Matrix")
    told = {"logging_callback": log, "message_handler": message, "client_info": info}
    if variant.is_bare:
        return told
    able = types.SamplingCapability(tools=types.SamplingToolsCapability())
    asked = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    return told | asked | {"sampling_capabilities": able}


@asynccontextmanager
async def streams(target: str | list[str]):  # noqa: ANN201
    if isinstance(target, list):
        async with stdio_client(StdioServerParameters(command=target[0], args=target[1:])) as (read, write):
            yield read, write
    elif target.endswith("/sse"):
        async with sse_client(target) as (read, write):
            yield read, write
    else:
        async with streamable_http_client(target) as (read, write, *_):
            yield read, write


@asynccontextmanager
async def connected(target: str | list[str], variant: Variant):  # noqa: ANN201
    heard = Heard()
    async with streams(target) as (read, write), ClientSession(read, write, **callbacks(heard, variant)) as session:
        yield Sdk1(session, heard, dump(await session.initialize()))


async def main() -> None:
    order = json.loads(sys.stdin.readline())
    wanted = set(order["rows"])
    rows = [row for row in ROWS if row.key in wanted]
    outcomes = await play_in(AsyncExitStack(), lambda variant: connected(order["target"], variant), rows)
    print(json.dumps({key: asdict(outcome) for key, outcome in outcomes.items()}), flush=True)
    os._exit(0)  # this SDK raises when a client is left while something comes


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main())
