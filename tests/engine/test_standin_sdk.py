"""Standing in for clients of the Python SDK over HTTP, before its servers of either era over HTTP."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.engine.stand import OFF, FrontClient, Stand
from isthmus.engine.standin import stand_in
from isthmus.run import HttpPlace, make_handler
from isthmus.transports.http_front.serve import Stopping, bind, serve
from tests.conformance.processes import everything, listening
from tests.engine.clients import http, run
from tests.interop.peers import OWN_SDK1, with_port

MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])


@pytest.fixture(scope="module", params=["both eras", "legacy"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with listening(everything if request.param == "both eras" else with_port(*OWN_SDK1)) as listens:
        yield listens


@asynccontextmanager
async def proxy(url: str, stand: Stand) -> AsyncIterator[str]:
    """The proxy's endpoint, somebody standing in behind it."""
    relay = stand_in(Gateway(http(url), Settings(is_local=True)), stand)
    bound, place, stopping = bind("127.0.0.1", 0), HttpPlace(port=0), Stopping()
    handler = make_handler(relay, place)
    end, start = relay.end_session, relay.tasks.start
    serving = asyncio.ensure_future(serve(bound, handler, relay.limits, start, end, stopping))
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"
    finally:
        handler.drain()
        stopping.stop()
        stopping.stop()
        async with asyncio.timeout(10):
            await serving
        await relay.close()


def text_of(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


@MODES
def test_a_real_client_is_stood_in_for(url: str, mode: Any) -> None:
    """Elicitation by a function, sampling by one that asks the client after all, roots by the client, no logs."""
    prompts: list[Any] = []
    logs: list[Any] = []

    async def elicit(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        return {"action": "accept", "content": {"answer": "Ada", "name": "Ada"}}

    async def sample(params: dict[str, Any], client: FrontClient) -> dict[str, Any]:
        prompts.append(params["messages"][0]["content"]["text"])
        answer = await client.forward("sampling/createMessage", params)
        return answer | {"model": f"{answer['model']} of the client"}

    async def clients_model(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        content = types.TextContent(type="text", text="hello")
        return types.CreateMessageResult(role="assistant", content=content, model="model")

    async def clients_roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": "file:///mine"})])

    async def clients_log(params: Any) -> None:
        logs.append(params)

    async def scenario() -> None:
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        told: dict[str, Any] = {"sampling_callback": clients_model, "list_roots_callback": clients_roots}
        level: Any = {"log_level": "debug"} if mode == "auto" else {}
        stand = Stand(elicitation=elicit, sampling=sample, log=OFF)
        told |= {"logging_callback": clients_log} | level
        async with proxy(url, stand) as endpoint, Client(endpoint, mode=mode, **told) as client:
            assert text_of(await client.call_tool("ask")) == "accept: Ada"
            answer = text_of(await client.call_tool("ask_model", {"prompt": "Say hello."}))
            assert answer == "model of the client: hello"
            assert set(prompts) == {"Say hello."}
            assert "file:///mine" in text_of(await client.call_tool("show_roots"))
            await client.call_tool("log_at", {"level": "error", "message": "unheard"})
            assert logs == []

    run(scenario, within=60)
