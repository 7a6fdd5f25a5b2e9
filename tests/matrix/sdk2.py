"""SDK 2.x as a client of either era."""

import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client._input_required import run_input_required_driver
from mcp.client.extension import advertise
from mcp.client.subscriptions import Subscription
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import event_to_notification
from pydantic import BaseModel, TypeAdapter

from .peer import Era, Heard, Json, Peer, PeerError
from .playing import Variant

OBJECT = TypeAdapter(dict[str, Any])
LOG_LEVEL = "io.modelcontextprotocol/logLevel"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
MODERN = "2026-07-28"
KINDS = {"tools": "tools_list_changed", "prompts": "prompts_list_changed", "resources": "resources_list_changed"}


class Request(types.Request[Json | None, str]):
    """A request, as it is."""


class Notification(types.Notification[Json | None, str]):
    """A notification, as it is."""


def dump(model: BaseModel | None) -> Json:
    return {} if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)


class Sdk2(Peer):
    def __init__(self, client: Client, era: Era, heard: Heard, knows: Json) -> None:
        self._session = client.session
        self._client = client
        self.era = era
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
        try:
            result = await self._send(method, params, progress, level, patience)
            if is_driven and result.get("resultType") == "input_required":
                result = await self._drive(result, method, params or {}, progress, level)
            return self._checked(result)
        except MCPError as error:
            raise PeerError(error.error.code, error.error.message, error.error.data) from None
        except BaseExceptionGroup as group:
            _, others = group.split(PeerError)
            if others is not None:
                raise
            raise group.exceptions[0] from None

    def _checked(self, result: Json) -> Json:
        """A result without the one thing that is the proxy's own: it says who answers."""
        meta = result.get("_meta", {})
        assert (SERVER_INFO in meta) == (self.era == "modern"), result
        kept = {key: value for key, value in meta.items() if key != SERVER_INFO}
        rest = {key: value for key, value in result.items() if key != "_meta"}
        return rest | ({"_meta": kept} if kept else {})

    async def _send(
        self, method: str, params: Json | None, progress: bool, level: str | None, patience: float | None = None
    ) -> Json:
        if level is not None:
            params = {**(params or {}), "_meta": {**(params or {}).get("_meta", {}), LOG_LEVEL: level}}
        sent = Request(method=method, params=params)
        on_progress = self._on_progress if progress else None
        result: Json = await self._session.send_request(sent, OBJECT, patience, progress_callback=on_progress)  # type: ignore[type-var]
        return result

    async def _drive(self, first: Json, method: str, params: Json, progress: bool, level: str | None) -> Json:
        async def dispatch(key: str, request: types.InputRequest) -> Any:
            meta = request.params.meta if request.params else None
            context = ClientRequestContext(session=self._session, request_id=key, meta=meta)
            return await self._session.dispatch_input_request(context, request)

        async def retry(answers: Any, state: str | None) -> Any:
            said: Json = {} if state is None else {"requestState": state}
            if answers is not None:
                said["inputResponses"] = {key: dump(answer) for key, answer in answers.items()}
            result = await self._send(method, params | said, progress, level)
            is_asked = result.get("resultType") == "input_required"
            return types.InputRequiredResult.model_validate(result) if is_asked else result

        again = types.InputRequiredResult.model_validate(first)
        final: Json = await run_input_required_driver(again, dispatch=dispatch, retry=retry, max_rounds=20)
        return final

    async def _on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.heard.note("progress", [progress, total, message])

    async def learn_tools(self) -> None:
        cursor = None
        while True:
            page = await self._client.list_tools(cursor=cursor)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def notify(self, method: str, params: Json | None = None) -> None:
        await self._session.send_notification(Notification(method=method, params=params))  # type: ignore[arg-type]

    @asynccontextmanager
    async def listening(self, *uris: str, kinds: tuple[str, ...] = ()) -> AsyncIterator[None]:
        if self.era == "legacy":
            for uri in uris:
                await self.request("resources/subscribe", {"uri": uri})
            yield
            for uri in uris:
                await self.request("resources/unsubscribe", {"uri": uri})
            return
        wanted: Json = {KINDS[kind]: True for kind in kinds}
        async with (
            self._client.listen(resource_subscriptions=list(uris), **wanted) as subscription,
            anyio.create_task_group() as group,
        ):
            group.start_soon(self._hear, subscription)
            yield
            group.cancel_scope.cancel()

    async def _hear(self, subscription: Subscription) -> None:
        async for event in subscription:
            told = dump(event_to_notification(event, {}))
            self.heard.note("changes", [told["method"], told.get("params", {}).get("uri")])


def callbacks(heard: Heard, era: Era, variant: Variant) -> Json:
    async def answer(method: str, params: BaseModel | None, kind: Any) -> Any:
        said = dump(params)
        try:
            return kind.model_validate(await heard.ask(method, said))
        except PeerError as error:
            return types.ErrorData(code=error.code, message=error.message, data=error.data)

    async def elicit(_: Any, params: types.ElicitRequestParams) -> Any:
        return await answer("elicitation/create", params, types.ElicitResult)

    async def sample(_: Any, params: types.CreateMessageRequestParams) -> Any:
        kind = types.CreateMessageResultWithTools if params.tools else types.CreateMessageResult
        return await answer("sampling/createMessage", params, kind)

    async def roots(_: Any) -> Any:
        return await answer("roots/list", None, types.ListRootsResult)

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        heard.note("logs", dump(params))

    async def message(message: object) -> None:
        if isinstance(message, types.Notification):
            told = dump(message)
            if told["method"].endswith(("list_changed", "updated", "elicitation/complete")):
                heard.note("changes", [told["method"], told.get("params", {}).get("uri")])

    told: Json = {"logging_callback": log}
    if era == "legacy":
        told["message_handler"] = message  # modern: the listen streams tell, once
    if variant.is_bare:
        return told
    able = types.SamplingCapability(tools=types.SamplingToolsCapability())
    asked = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    return told | asked | {"sampling_capabilities": able}


@asynccontextmanager
async def connected(server: Any, era: Era, variant: Variant, mode: str | None = None) -> AsyncIterator[Peer]:
    """A client of `server`, a URL, a command or a transport, in an era; `mode` is the SDK's, if not the era's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        heard = Heard()
        info = types.Implementation(name=variant.info, version=f"3.{variant.number}", title="Matrix")
        client = Client(
            server,
            mode=mode or (era if era == "legacy" else MODERN),
            read_timeout_seconds=20,
            client_info=info,
            cache=None,
            extensions=[] if variant.is_bare else [advertise("io.example/lens", {"zoom": 2})],
            **callbacks(heard, era, variant),
        )
        async with AsyncExitStack() as stack:
            await _enter(stack, client, variant)
            told = client.session.initialize_result
            knows = dump(told) if era == "legacy" else await client.session.send_discover(MODERN)
            yield Sdk2(client, era, heard, knows)


async def _enter(stack: AsyncExitStack, client: Client, variant: Variant) -> None:
    """Connect the client; one of an older revision by a handshake of its own, which the SDK has no argument for."""
    if variant.version is None:
        await stack.enter_async_context(client)
        return
    session = await stack.enter_async_context(await client._build_session(stack))
    asked = types.InitializeRequestParams(
        protocol_version=variant.version,
        capabilities=session._build_capabilities(variant.version),
        client_info=session._client_info,
    )
    session.adopt(await session.send_request(types.InitializeRequest(params=asked), types.InitializeResult))
    await session.send_notification(types.InitializedNotification())
    client._session = session
